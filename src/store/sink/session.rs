//! The sink's session with PostgreSQL: where the rows end, and the one transaction that moves rows and positions.
//!
//! Invariant: a batch is written whole, and only where the progress rows are what this sink last saw: a sink that was
//! frozen, or a database that went back in time, is found out before a row is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use tokio_postgres::{Client, Error, Row, Statement, Transaction, error::SqlState, types::ToSql};

use super::{batch::Batch, holders, slot::Progress};
use crate::{
    kafka::tail::Span,
    store::{Database, Purpose, StoreError, copy, days},
};

const BEGIN: &str = "INSERT INTO sentra.sink_progress (topic_id, partition, next_offset, last_source)
    SELECT $1, t.partition, t.next_offset, t.last_source
    FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS t (partition, next_offset, last_source)
    ON CONFLICT (topic_id, partition) DO NOTHING RETURNING partition";
const LOAD: &str = "SELECT partition, log, next_offset, epoch, last_source FROM sentra.sink_progress
    WHERE topic_id = $1 AND partition = ANY($2)";
const LOCK: &str = "SELECT partition, log, next_offset, epoch, last_source FROM sentra.sink_progress
    WHERE topic_id = $1 AND partition = ANY($2) ORDER BY partition FOR UPDATE";
const MOVE: &str = "UPDATE sentra.sink_progress AS s
    SET log = t.log, next_offset = t.next_offset, epoch = t.epoch, last_source = t.last_source, written_at = now()
    FROM unnest($2::int[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS t (partition, log, next_offset, epoch, last_source)
    WHERE s.topic_id = $1 AND s.partition = t.partition";

/// A session with its statements.
pub struct Session {
    client: Client,
    /// Where another session can be had of, and this one's number there.
    database: Database,
    number: i32,
    lock: Statement,
    copy: Statement,
    progress: Statement,
    /// The longest that a transaction may take.
    within: Duration,
    /// Days whose partition this session has seen.
    days: HashSet<days::Day>,
}

/// Where the rows of partitions end.
#[derive(Debug, Default)]
pub struct Found {
    /// By partition.
    pub at: BTreeMap<i32, Progress>,
    /// Those that were met for the first time.
    pub new: BTreeSet<i32>,
}

/// Why a batch was not written, or why that is not known.
#[derive(Debug)]
pub enum WriteError {
    /// The database stands elsewhere.
    Moved {
        /// In this partition.
        partition: i32,
        /// Where this sink thought.
        expected: i64,
        /// Where it does.
        found: i64,
    },
    /// PostgreSQL refuses one of these rows for itself.
    Row(StoreError),
    /// Another session holds the progress rows, or the table.
    Locked(StoreError),
    /// It took too long.
    Slow,
    /// A verdict is stored already, or the log's rows came from another topic: an assertion failed.
    Clash(String),
    /// Anything else; whether it was committed is not known.
    Broken(StoreError),
}

impl Session {
    /// Opens one.
    ///
    /// # Errors
    /// The server is away, not migrated, or refuses.
    pub async fn open(database: &Database, within: Duration) -> Result<Self, StoreError> {
        let client = database.session(Purpose::Sink { within }).await?;
        let number = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        let lock = client.prepare(LOCK).await?;
        let copy = client.prepare(copy::STATEMENT).await?;
        let progress = client.prepare(MOVE).await?;
        Ok(Self { client, database: database.clone(), number, lock, copy, progress, within, days: HashSet::new() })
    }

    /// Where the rows of these partitions end; partitions met for the first time begin where their log does.
    ///
    /// # Errors
    /// The server is away, takes no writes, or refuses.
    pub async fn load(&self, topic: &str, partitions: &[(i32, Span)]) -> Result<Found, StoreError> {
        if partitions.is_empty() {
            // Nothing to learn, but whether it answers and takes writes.
            let state = self.client.query_one("SELECT current_setting('transaction_read_only')::bool", &[]).await?;
            return match state.try_get(0)? {
                true => Err(StoreError::Away(String::from("the server is read-only now"))),
                false => Ok(Found::default()),
            };
        }
        let numbers: Vec<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
        let begins: Vec<Progress> = partitions.iter().map(|(_, span)| Progress::beginning(span.start)).collect();
        let nexts: Vec<i64> = begins.iter().map(|begin| begin.next).collect();
        let lasts: Vec<Option<i64>> = begins.iter().map(|begin| begin.last).collect();
        let new = self.client.query(BEGIN, &[&topic, &numbers, &nexts, &lasts]).await?;
        let rows = self.client.query(LOAD, &[&topic, &numbers]).await?;
        Ok(Found {
            at: rows.iter().map(progress).collect::<Result<_, _>>()?,
            new: new.iter().map(|row| row.get(0)).collect(),
        })
    }

    /// Writes a batch; how long that took.
    ///
    /// # Errors
    /// See [`WriteError`]; but for `Moved`, `Row` and `Clash` it may have been written all the same.
    pub async fn write(&mut self, topic: &str, batch: Batch) -> Result<Duration, WriteError> {
        match tokio::time::timeout(self.within, self.transact(topic, batch)).await {
            Ok(written) => written,
            Err(_) => Err(WriteError::Slow),
        }
    }

    async fn transact(&mut self, topic: &str, batch: Batch) -> Result<Duration, WriteError> {
        for day in &batch.days {
            if !self.days.contains(day) {
                days::make(&self.client, *day).await?;
                self.days.insert(*day);
            }
        }
        let began = Instant::now();
        let Batch { moves, rows, .. } = batch;
        let partitions: Vec<i32> = moves.keys().copied().collect();
        let transaction = self.client.transaction().await?;
        let key: [&(dyn ToSql + Sync); 2] = [&topic, &partitions];
        let locked = transaction.query(&self.lock, &key);
        // A sink that was frozen in the middle of its transaction is not ended by any timeout of the server's.
        let found = holders::waited(&self.database, self.number, self.within / 4, locked).await?;
        let found: BTreeMap<i32, Progress> =
            found.iter().map(progress).collect::<Result<_, _>>().map_err(WriteError::Broken)?;
        for (partition, expected) in moves.iter().map(|(partition, of)| (*partition, &of.from)) {
            if found.get(&partition) != Some(expected) {
                let found = found.get(&partition).map_or(-1, |found| found.next);
                return Err(WriteError::Moved { partition, expected: expected.next, found });
            }
        }
        if !rows.is_empty() {
            copy_in(&transaction, &self.copy, rows).await?;
        }
        let to = || moves.values().map(|of| &of.to);
        let logs: Vec<Option<&str>> = to().map(|to| to.log.as_deref()).collect();
        let nexts: Vec<i64> = to().map(|to| to.next).collect();
        let epochs: Vec<Option<i64>> = to().map(|to| to.epoch).collect();
        let lasts: Vec<Option<i64>> = to().map(|to| to.last).collect();
        transaction.execute(&self.progress, &[&topic, &partitions, &logs, &nexts, &epochs, &lasts]).await?;
        transaction.commit().await?;
        Ok(began.elapsed())
    }
}

async fn copy_in(transaction: &Transaction<'_>, statement: &Statement, rows: copy::Rows) -> Result<(), WriteError> {
    let wanted = rows.len() as u64;
    let sink = transaction.copy_in(statement).await?;
    futures_util::pin_mut!(sink);
    for chunk in rows.chunks() {
        sink.feed(chunk).await?;
    }
    let copied = sink.finish().await?;
    if copied == wanted {
        return Ok(());
    }
    Err(WriteError::Broken(StoreError::Failed(format!("{copied} rows were taken of {wanted}"))))
}

fn progress(row: &Row) -> Result<(i32, Progress), StoreError> {
    let progress =
        Progress { log: row.try_get(1)?, next: row.try_get(2)?, epoch: row.try_get(3)?, last: row.try_get(4)? };
    Ok((row.try_get(0)?, progress))
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked(_) => Self::Locked(error),
            _ => Self::Broken(error),
        }
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => Self::Slow,
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Locked(error.into()),
            Some(&SqlState::UNIQUE_VIOLATION) => Self::Clash(clash(&error)),
            // The value is at fault, or too large for an index.
            Some(code) if code.code().starts_with("22") || code.code().starts_with("54") => Self::Row(error.into()),
            _ => Self::Broken(error.into()),
        }
    }
}

fn clash(error: &Error) -> String {
    match error.as_db_error().and_then(|said| said.constraint()) {
        Some("sink_progress_one_topic_a_log") => String::from(
            "this log's verdicts were stored from another verdict topic, and would be stored twice: give the sink the topic \
             it had, or a database of its own",
        ),
        _ => format!(
            "a verdict is stored already ({}): was sentra.sink_progress changed by hand? Set its next_offset, epoch and \
             last_source to where the rows end, or remove the rows beyond and start the sink anew",
            crate::store::error::describe(error)
        ),
    }
}
