//! The stored verdicts, as handlers ask for them: one place that bounds a question's time and tells why there is no
//! answer.
//!
//! Invariant: a database that is away, or none, is a 503 of its own kind and never a 500; what PostgreSQL said goes to
//! the log, not to the client.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    config::SinkConfig,
    problem::Problem,
    store::{
        StoreError,
        queries::{Reader, Stored},
    },
};

/// Sessions of one process with the database.
const SESSIONS: usize = 8;

/// How long a question may take, waiting for a session included.
const ASK: Duration = Duration::from_secs(6);

/// How long the question whether it answers at all may take.
const PING: Duration = Duration::from_secs(1);

/// How long that answer holds: health is asked by anybody, and must not become a burden.
const FRESH: Duration = Duration::from_secs(1);

/// The stored verdicts, where a database is configured.
pub struct Archive {
    reader: Option<Reader>,
    pinged: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Archive {
    /// For the configured database; none is spoken to yet.
    ///
    /// # Errors
    /// The connection string cannot be used.
    pub fn new(config: &SinkConfig) -> Result<Self, StoreError> {
        let reader = config.database_url.as_ref().map(|url| Reader::new(url, SESSIONS)).transpose()?;
        Ok(Self { reader, pinged: Mutex::default() })
    }

    /// Asks the database.
    ///
    /// # Errors
    /// There is none, it is away, or it takes too long.
    pub async fn ask<'r, T, F>(&'r self, question: impl FnOnce(&'r Reader) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, StoreError>> + 'r,
    {
        let Some(reader) = &self.reader else {
            let detail = "this process has no database (sink.database_url), and stored verdicts are read from there; \
                          set it, or follow the verdict topic";
            return Err(Problem::unavailable("no-database", detail, 60));
        };
        match timeout(ASK, question(reader)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(%error, "serve: stored verdicts cannot be read");
                Err(away())
            }
            Err(_elapsed) => Err(away()),
        }
    }

    /// Whether the database answers, or why not; as of at most a second ago.
    pub async fn ping(&self) -> Result<(), String> {
        let Some(reader) = &self.reader else {
            return Err(String::from("database: sink.database_url is not set"));
        };
        let mut pinged = self.pinged.lock().await;
        if let Some((at, answer)) = &*pinged
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = match timeout(PING, reader.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "serve: the database does not answer");
                Err(String::from(match error {
                    StoreError::NotMigrated(_) => "database: it is not migrated; run `sentra migrate`",
                    StoreError::Forbidden(_) => "database: this user may not read it",
                    _ => "database: it does not answer",
                }))
            }
            Err(_elapsed) => Err(String::from("database: it does not answer")),
        };
        *pinged = Some((Instant::now(), answer.clone()));
        answer
    }
}

fn away() -> Problem {
    let detail = "the database does not answer, so stored verdicts cannot be read; scoring goes on. Ask again later";
    Problem::unavailable("database-away", detail, 5)
}

/// Verdicts as they are, byte for byte but for rounded features.
pub fn raw(stored: &[Stored]) -> Vec<Box<RawValue>> {
    // What the store gives is JSON; anything else would be left out rather than break the answer.
    stored.iter().filter_map(|stored| RawValue::from_string(stored.json()).ok()).collect()
}
