//! Making the demo's database in a server that has just begun to answer. What stands in it is the migrations' matter.

use tokio_postgres::{NoTls, error::SqlState};

use super::{NAME, PostgresError};

/// Makes the database where it is missing.
pub(super) fn ensure(first_url: &str) -> Result<(), PostgresError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| PostgresError::Database(error.to_string()))?;
    runtime.block_on(create(first_url)).map_err(|error| PostgresError::Database(error.to_string()))
}

async fn create(first_url: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(first_url, NoTls).await?;
    let talk = tokio::spawn(connection);
    let made = client.batch_execute(&format!("CREATE DATABASE {NAME}")).await;
    drop(client);
    // The connection ends with its client; how it ended adds nothing to what the command said.
    let _ = talk.await;
    match made {
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
        other => other,
    }
}
