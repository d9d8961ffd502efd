//! Why the database did not do what it was asked, by what the caller must do.

use tokio_postgres::{Error, error::SqlState};

/// A failure of the database; its text never holds the connection string's secrets.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection string cannot be used.
    #[error("sink.database_url: {0}")]
    Url(String),
    /// The server is not reached, ends, or takes no writes; later it may.
    #[error("PostgreSQL (sink.database_url): {0}")]
    Away(String),
    /// The schema is missing or older than this program.
    #[error("the database is not migrated ({0}): run `sentra migrate`")]
    NotMigrated(String),
    /// This user may not do that.
    #[error("PostgreSQL refuses this user: {0}; grant it the roles that `sentra migrate` made (README, Postgres)")]
    Forbidden(String),
    /// Another session holds a lock that is needed.
    #[error("PostgreSQL: {0}")]
    Locked(String),
    /// A statement failed for another reason.
    #[error("PostgreSQL: {0}")]
    Failed(String),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN | &SqlState::INVALID_SCHEMA_NAME)
            | Some(&SqlState::UNDEFINED_FUNCTION) => Self::NotMigrated(text),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(text),
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Locked(text),
            Some(code) if passes(code) => Self::Away(text),
            Some(_) => Self::Failed(text),
            None => Self::Away(text),
        }
    }
}

/// Whether a failure passes by itself: connections, shutdown, resources, a server that became read-only.
fn passes(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "25" | "28" | "3D" | "40" | "53" | "55" | "57" | "58")
}

/// The server's own sentence with its code, or the connection's trouble; no values of rows.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            text
        }
    }
}
