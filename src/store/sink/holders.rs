//! Who stands in the way of a transaction that waits for a lock, and the end of those that are former sinks.
//!
//! Invariant: a session is ended only where it holds what this one waits for, is the same user's and a sink's by its name,
//! and waits for nothing itself. Whatever it had not committed, the next owner reads again: nothing is lost by it.

use std::time::Duration;

use tokio_postgres::{Error, Row};

use crate::store::{Database, Purpose, StoreError};

/// The sessions that session $1 waits for, whether each is one of ours that does not wait in turn, and its end if so.
const CLEAR: &str = "SELECT other.pid, coalesce(other.usename, '')::text, coalesce(other.application_name, ''),
        CASE WHEN other.usename = own.usename AND other.application_name = own.application_name
                  AND other.wait_event_type IS DISTINCT FROM 'Lock'
             THEN pg_terminate_backend(other.pid) ELSE false END
    FROM pg_stat_activity AS own CROSS JOIN LATERAL unnest(pg_blocking_pids(own.pid)) AS blocking (pid)
    JOIN pg_stat_activity AS other ON other.pid = blocking.pid
    WHERE own.pid = $1";

/// Waits for rows that want locks. After `patience` whoever holds them is looked at, and ended where it is a former sink.
///
/// # Errors
/// Where the locks are not had all the same, that names who holds them.
pub(super) async fn waited(
    database: &Database,
    session: i32,
    patience: Duration,
    locked: impl Future<Output = Result<Vec<Row>, Error>>,
) -> Result<Vec<Row>, StoreError> {
    futures_util::pin_mut!(locked);
    if let Ok(found) = tokio::time::timeout(patience, &mut locked).await {
        return Ok(found?);
    }
    // The locks may come meanwhile: then nobody stands in the way any more.
    let (found, holders) = tokio::join!(locked, cleared(database, session));
    match found.map_err(StoreError::from) {
        Err(StoreError::Locked(why)) => Err(StoreError::Locked(match holders {
            Ok(holders) if holders.is_empty() => why,
            Ok(holders) => format!("{} holds what the sink must lock; end that session", holders.join(" and ")),
            Err(error) => format!("{why}; who holds what the sink must lock is not known: {error}"),
        })),
        found => found,
    }
}

/// Ends former sinks that stand in the way; gives the others.
async fn cleared(database: &Database, session: i32) -> Result<Vec<String>, StoreError> {
    let client = database.session(Purpose::Usher).await?;
    let mut others = Vec::new();
    for row in client.query(CLEAR, &[&session]).await? {
        let (number, user, application): (i32, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if row.try_get(3)? {
            tracing::warn!(
                session = number,
                "a frozen sink's session with PostgreSQL held progress rows, and was ended"
            );
        } else {
            others.push(format!("session {number} (user {user}, application {application:?})"));
        }
    }
    Ok(others)
}
