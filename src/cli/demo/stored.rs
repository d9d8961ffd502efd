//! How far the sink has come, as the database itself tells: the traffic waits for it, or the embedded broker would
//! delete verdicts that are not stored yet.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio_postgres::{Client, NoTls};

use super::{CliError, Progress};

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The verdicts of this log that are settled in the database; owner records count too, a few at each start.
const SETTLED: &str = "SELECT coalesce(sum(next_offset), 0)::bigint FROM sentra.sink_progress WHERE log = $1";

/// Asks until the stop. Where the database is away the count stands still, and so does the traffic.
pub(super) fn run(url: &str, log: &str, progress: &Progress, stop: &AtomicBool) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client: Option<Client> = None;
        while !stop.load(Ordering::Relaxed) {
            if client.is_none() {
                client = connect(url).await;
            }
            if let Some(asked) = &client {
                match asked.query_one(SETTLED, &[&log]).await.and_then(|row| row.try_get::<_, i64>(0)) {
                    Ok(settled) => progress.stored.store(u64::try_from(settled).unwrap_or(0), Ordering::Relaxed),
                    Err(error) => {
                        tracing::debug!(%error, "the sink's progress cannot be read; asked again");
                        client = None;
                    }
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    Ok(())
}

async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    // It ends with its client; what went wrong is told by the next question.
    tokio::spawn(async { drop(connection.await) });
    Some(client)
}
