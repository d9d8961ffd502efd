//! What is worth knowing of the sink: its numbers, and its facts.
//!
//! Invariant: a database that is away is told once, until it is back; no row's content is ever in a line or a label.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{
    Fact, Telemetry,
    metrics::{added, counter, counters, gauge_of, histogram},
};
use crate::domain::transaction::wire_enum;

wire_enum! {
    /// Why an accepted verdict is not stored.
    Skipped {
        /// Its shape is not one this version knows.
        Unreadable = "unreadable",
        /// It is older than the retention.
        Expired = "expired",
        /// PostgreSQL refuses this very row.
        Refused = "refused",
    }
}

/// What speaks against the sink's readiness while its database is away.
pub const NEEDS_DATABASE: &str = "sink needs PostgreSQL";

/// What speaks against it while another session holds a lock; the database itself is well.
const LOCKED: &str = "sink waits for a lock";

/// Rows; from one payment to the largest batch.
const ROW_BUCKETS: &[f64] = &[1.0, 10.0, 100.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 100_000.0];

/// Seconds; from a small commit to a server that hardly moves.
const COMMIT_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The sink's numbers; a clone counts into the same ones.
#[derive(Clone)]
pub struct SinkMetrics {
    rows: IntCounter,
    skipped: IntCounterVec,
    batch: Histogram,
    commit: Histogram,
    lag: IntGaugeVec,
    resyncs: IntCounter,
    failures: IntCounter,
    missed: IntCounter,
    up: IntGauge,
    refused: IntGauge,
}

impl SinkMetrics {
    pub(super) fn new(to: &Registry) -> Self {
        let lag = "Records between the verdict partition's end and what is stored of it";
        let up = "1 while the sink's database answers";
        let refused = "Verdict partitions the sink stores nothing of until someone acts";
        let skipped = counters(to, "sentra_sink_skipped_total", "Accepted verdicts not stored, by reason", "reason");
        Skipped::ALL.iter().for_each(|reason| drop(skipped.with_label_values(&[reason.as_str()])));
        Self {
            rows: counter(to, "sentra_sink_rows_total", "Verdicts stored"),
            skipped,
            batch: histogram(to, "sentra_sink_batch_rows", "Rows of one transaction", ROW_BUCKETS),
            commit: histogram(
                to,
                "sentra_sink_commit_seconds",
                "From a transaction's begin to its commit",
                COMMIT_BUCKETS,
            ),
            lag: gauge_of(to, "sentra_sink_lag_records", lag, &["partition"]),
            resyncs: counter(to, "sentra_sink_resyncs_total", "Times the sink went back to where the database stands"),
            failures: counter(
                to,
                "sentra_sink_database_failures_total",
                "Times the sink gave its database up and asked anew",
            ),
            missed: counter(
                to,
                "sentra_sink_missed_records_total",
                "Verdict records deleted before the sink first met their partition",
            ),
            up: added(to, IntGauge::new("sentra_sink_database_up", up)),
            refused: added(to, IntGauge::new("sentra_sink_refused_partitions", refused)),
        }
    }

    /// A transaction was committed.
    pub fn committed(&self, rows: usize, took: Duration) {
        self.rows.inc_by(rows as u64);
        self.batch.observe(rows as f64);
        self.commit.observe(took.as_secs_f64());
    }

    /// Accepted verdicts that are not stored.
    pub fn skipped(&self, reason: Skipped, count: u64) {
        self.skipped.with_label_values(&[reason.as_str()]).inc_by(count);
    }

    /// How far a partition's rows are behind its end.
    pub fn lag(&self, partition: i32, records: i64) {
        self.lag.with_label_values(&[&partition.to_string()]).set(records.max(0));
    }

    /// The partition is another sink's now.
    pub fn gone(&self, partition: i32) {
        // An error says that it never had one.
        let _ = self.lag.remove_label_values(&[&partition.to_string()]);
    }
}

/// The database does not do what the sink asks.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseLost<'a> {
    /// Its word, and the way out.
    pub why: &'a str,
    /// Whether that is news.
    pub first: bool,
}

/// The database answers again.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseBack {
    /// Whether it was away.
    pub news: bool,
}

/// The database answers, but another session holds what the sink must lock.
#[derive(Clone, Copy, Debug)]
pub struct SinkLocked<'a> {
    /// Which one, and the way out.
    pub why: &'a str,
}

/// The verdict topic is not to be had.
#[derive(Clone, Copy, Debug)]
pub struct TopicLost<'a> {
    /// The client's word, and the way out.
    pub why: &'a str,
    /// Whether that is news.
    pub first: bool,
}

/// The verdict topic is there again.
#[derive(Clone, Copy, Debug)]
pub struct TopicBack;

/// The database stands elsewhere than this sink thought: another sink wrote, or an older state was restored.
#[derive(Clone, Copy, Debug)]
pub struct SinkMovedBack {
    /// A partition of which that is so.
    pub partition: i32,
    /// Where this sink thought the rows end.
    pub expected: i64,
    /// Where they do.
    pub found: i64,
}

/// A verdict partition is met for the first time, and its head is gone: those verdicts have no rows.
#[derive(Clone, Copy, Debug)]
pub struct SinkMissed {
    /// Which one.
    pub partition: i32,
    /// The first offset that is still there.
    pub before: i64,
}

/// Verdict partitions that the sink stores nothing of until someone acts.
#[derive(Clone, Copy, Debug)]
pub struct SinkRefused<'a> {
    /// How many.
    pub partitions: usize,
    /// The reasons and the ways out; empty where there are none.
    pub why: &'a str,
    /// Whether that is news.
    pub news: bool,
}

/// Day partitions were made or dropped.
#[derive(Clone, Copy, Debug)]
pub struct DaysKept {
    /// How many were made.
    pub made: usize,
    /// How many were dropped by retention.
    pub dropped: usize,
}

/// Day partitions could not be made or dropped.
#[derive(Clone, Copy, Debug)]
pub struct DaysNotKept<'a> {
    /// Why, and the way out.
    pub why: &'a str,
}

impl Fact for DatabaseLost<'_> {
    fn emit(self, to: &Telemetry) {
        to.health.hold(NEEDS_DATABASE, Some(self.why.to_owned()));
        to.metrics.sink.up.set(0);
        to.metrics.sink.failures.inc();
        if self.first {
            tracing::error!(why = self.why, "the sink stores nothing; rows follow by themselves");
        }
    }
}

impl Fact for DatabaseBack {
    fn emit(self, to: &Telemetry) {
        to.health.hold(NEEDS_DATABASE, None);
        to.health.hold(LOCKED, None);
        to.metrics.sink.up.set(1);
        if self.news {
            tracing::info!("the sink's database answers");
        }
    }
}

impl Fact for SinkLocked<'_> {
    fn emit(self, to: &Telemetry) {
        let first = to.health.held(LOCKED).is_none();
        to.health.hold(LOCKED, Some(self.why.to_owned()));
        if first {
            tracing::error!(why = self.why, "the sink waits for a lock; rows follow by themselves");
        }
    }
}

impl Fact for TopicLost<'_> {
    fn emit(self, to: &Telemetry) {
        to.health.hold("sink needs the verdict topic", Some(self.why.to_owned()));
        if self.first {
            tracing::error!(
                why = self.why,
                "the sink reads nothing (kafka.bootstrap_servers, topics.verdicts); trying on"
            );
        }
    }
}

impl Fact for TopicBack {
    fn emit(self, to: &Telemetry) {
        to.health.hold("sink needs the verdict topic", None);
        tracing::info!("the sink's verdict topic is there");
    }
}

impl Fact for SinkMovedBack {
    fn emit(self, to: &Telemetry) {
        to.metrics.sink.resyncs.inc();
        let Self { partition, expected, found } = self;
        tracing::warn!(partition, expected, found, "the database stands elsewhere; storing goes on from there");
    }
}

impl Fact for SinkMissed {
    fn emit(self, to: &Telemetry) {
        to.metrics.sink.missed.inc_by(u64::try_from(self.before).unwrap_or_default());
        let (partition, last) = (self.partition, self.before - 1);
        tracing::warn!(
            partition,
            "records 0 to {last} of this verdict partition were deleted before the sink first met it: they have no rows"
        );
    }
}

impl Fact for SinkRefused<'_> {
    fn emit(self, to: &Telemetry) {
        to.metrics.sink.refused.set(i64::try_from(self.partitions).unwrap_or(i64::MAX));
        to.health.hold("sink", Some(self.why.to_owned()).filter(|why| !why.is_empty()));
        if self.news && self.partitions > 0 {
            tracing::error!(partitions = self.partitions, why = self.why, "verdicts are not stored until someone acts");
        }
    }
}

impl Fact for DaysKept {
    fn emit(self, _: &Telemetry) {
        if self.made + self.dropped > 0 {
            tracing::info!(made = self.made, dropped = self.dropped, "day partitions kept");
        }
    }
}

impl Fact for DaysNotKept<'_> {
    fn emit(self, _: &Telemetry) {
        tracing::warn!(why = self.why, "day partitions could not be kept; tried again later");
    }
}
