//! Questions to the stored verdicts: what the HTTP interface answers from the database.
//!
//! Invariant: every answer is bounded, newest first, and of rows that the reader's rule accepted; nothing is written.

use deadpool_postgres::{Object, Pool};
use tokio_postgres::{Row, types::ToSql};

use super::{Database, Purpose, StoreError, cursor::Cursor, verdict::StoredVerdict};
use crate::{
    config::Secret,
    domain::{policy::RiskLevel, time::EventTimeMs},
};

/// The most rows one question gives.
pub const MOST_ROWS: usize = 500;

/// A stored verdict and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its fields.
    pub verdict: StoredVerdict<'static>,
    /// The record's timestamp in the verdict topic.
    pub recorded_at: EventTimeMs,
    /// The record's offset in the verdict topic; its partition is the source's.
    pub verdict_offset: i64,
    /// The value itself, where the columns would not give it back whole.
    raw: Option<String>,
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The rows, newest first.
    pub items: Vec<Stored>,
    /// For the next page; `None` where nothing older was left.
    pub next: Option<Cursor>,
}

/// Asks the database; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    pool: Pool,
}

impl Stored {
    /// The verdict as JSON of contract C5.
    pub fn json(&self) -> String {
        // A verdict has nothing that JSON cannot hold: its parts came from JSON, or are numbers.
        self.raw.clone().unwrap_or_else(|| serde_json::to_string(&self.verdict).expect("a verdict is JSON"))
    }

    fn cursor(&self) -> Cursor {
        let source = &self.verdict.source;
        Cursor {
            recorded_at_ms: self.recorded_at.0,
            log: source.log.0.clone().into_owned(),
            partition: source.partition,
            offset: source.offset,
        }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let recorded_ms: i64 = row.try_get("recorded_ms")?;
        Ok(Self {
            verdict: StoredVerdict::from_row(row)?,
            recorded_at: EventTimeMs(recorded_ms),
            verdict_offset: row.try_get("verdict_offset")?,
            raw: row.try_get("raw")?,
        })
    }
}

impl Reader {
    /// A reader of at most `sessions` sessions at a time; none is made before the first question.
    ///
    /// # Errors
    /// The connection string cannot be used.
    pub fn new(url: &Secret, sessions: usize) -> Result<Self, StoreError> {
        Ok(Self { pool: Database::new(url)?.pool(Purpose::App, sessions)? })
    }

    /// Whether the database answers and has the schema.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.session().await?.query("SELECT FROM sentra.verdicts LIMIT 0", &[]).await?;
        Ok(())
    }

    /// The verdict of one input record.
    ///
    /// # Errors
    /// The database is away, not migrated, or refuses.
    pub async fn verdict(&self, log: &str, partition: i32, source_offset: i64) -> Result<Option<Stored>, StoreError> {
        let rest = "WHERE log = $1 AND partition = $2 AND source_offset = $3 LIMIT 1";
        Ok(self.ask(rest, &[&log, &partition, &source_offset]).await?.pop())
    }

    /// The verdicts of a transaction id, newest first: ids repeat.
    ///
    /// # Errors
    /// The database is away, not migrated, or refuses.
    pub async fn verdicts_of_transaction(&self, id: &str, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let rest = "WHERE transaction_id = $1 ORDER BY day DESC, recorded_at DESC, source_offset DESC LIMIT $2";
        self.ask(rest, &[&id, &bounded(limit)]).await
    }

    /// The verdicts of a phone, newest first.
    ///
    /// # Errors
    /// The database is away, not migrated, or refuses.
    pub async fn phone(&self, phone: &str, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let rest = "WHERE phone_number = $1 ORDER BY day DESC, recorded_at DESC, source_offset DESC LIMIT $2";
        self.ask(rest, &[&phone, &bounded(limit)]).await
    }

    /// The verdicts of one partition's log from a source offset on, in its order.
    ///
    /// # Errors
    /// The database is away, not migrated, or refuses.
    pub async fn partition(
        &self,
        log: &str,
        partition: i32,
        from: i64,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let rest = "WHERE log = $1 AND partition = $2 AND source_offset >= $3 ORDER BY source_offset LIMIT $4";
        self.ask(rest, &[&log, &partition, &from, &bounded(limit)]).await
    }

    /// Verdicts of this level or above (never LOW), recorded since then, newest first; a cursor goes on below a page.
    ///
    /// # Errors
    /// The database is away, not migrated, or refuses.
    pub async fn alerts(
        &self,
        level: RiskLevel,
        since: Option<EventTimeMs>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let levels: Vec<&str> =
            RiskLevel::ALL.iter().filter(|each| each.code() >= level.code()).map(|each| each.as_str()).collect();
        let since_ms = since.map_or(0, |since| since.0.max(0));
        let limit = limit.clamp(1, MOST_ROWS);
        // One row more tells whether there is a next page.
        let more = bounded(limit) + 1;
        let order = "ORDER BY day DESC, recorded_at DESC, log DESC, partition DESC, source_offset DESC";
        let alerts =
            "WHERE risk_level <> 'LOW' AND risk_level = ANY($1) AND recorded_at >= to_timestamp($2::float8 / 1000)
             AND day >= (to_timestamp($2::float8 / 1000) AT TIME ZONE 'UTC')::date";
        let since_ms = since_ms as f64;
        let mut items = match cursor {
            None => self.ask(&format!("{alerts} {order} LIMIT $3"), &[&levels, &since_ms, &more]).await?,
            Some(Cursor { recorded_at_ms, log, partition, offset }) => {
                let below = "AND day <= (to_timestamp($4::float8 / 1000) AT TIME ZONE 'UTC')::date
                     AND (recorded_at, log, partition, source_offset) < (to_timestamp($4::float8 / 1000), $5, $6, $7)";
                let at_ms = *recorded_at_ms as f64;
                self.ask(
                    &format!("{alerts} {below} {order} LIMIT $3"),
                    &[&levels, &since_ms, &more, &at_ms, log, partition, offset],
                )
                .await?
            }
        };
        let next = if items.len() > limit {
            items.truncate(limit);
            items.last().map(Stored::cursor)
        } else {
            None
        };
        Ok(Page { items, next })
    }

    async fn ask(&self, rest: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Stored>, StoreError> {
        let session = self.session().await?;
        // Few texts, all of this file's making: the statements stay prepared.
        let statement = session.prepare_cached(&format!("{SELECT} {rest}")).await?;
        session.query(&statement, parameters).await?.iter().map(Stored::read).collect()
    }

    async fn session(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }
}

/// What of a row a question reads; numbers and times in forms that need no conversion by a library.
const SELECT: &str = "SELECT transaction_id, risk_score, risk_level, velocity, amount_anomaly, device_new,
    location_change, recommendation, processing_time_ms, kind, duplicate_of, reasons::text AS reasons, phone_number,
    institution_id, (amount * 100)::bigint AS amount_minor, currency,
    (extract(epoch FROM event_time) * 1000)::bigint AS event_ms,
    (extract(epoch FROM decided_at) * 1000000)::bigint AS decided_us, model_name, model_version, policy_version, flags,
    log, partition, source_offset, previous_offset, epoch, features, feature_digest, schema_version,
    raw::text AS raw, (extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_ms, verdict_offset
    FROM sentra.verdicts";

fn bounded(limit: usize) -> i64 {
    limit.clamp(1, MOST_ROWS) as i64
}
