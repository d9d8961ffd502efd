//! What is worth knowing of snapshots: their numbers, and their facts.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGaugeVec, Registry};

use super::{
    Fact, Telemetry,
    metrics::{counter, gauge_of, histogram},
};

/// Seconds; from a small partition to a million phones on a slow store.
const SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Snapshots' numbers; a clone counts into the same ones.
#[derive(Clone)]
pub struct SnapshotMetrics {
    age: IntGaugeVec,
    written: IntCounter,
    failed: IntCounter,
    refused: IntCounter,
    bytes: IntCounter,
    seconds: Histogram,
}

impl SnapshotMetrics {
    pub(super) fn new(to: &Registry) -> Self {
        let age = "Seconds since the partition's newest snapshot was begun; 0 while no record came since";
        Self {
            age: gauge_of(to, "sentra_snapshot_age_seconds", age, &["partition"]),
            written: counter(to, "sentra_snapshots_written_total", "Snapshots published"),
            failed: counter(to, "sentra_snapshots_failed_total", "Snapshots begun and not published"),
            refused: counter(to, "sentra_snapshots_refused_total", "Snapshots found and not restored"),
            bytes: counter(to, "sentra_snapshot_bytes_total", "Bytes of published snapshots"),
            seconds: histogram(to, "sentra_snapshot_seconds", "From a snapshot's begin to its publication", SECONDS),
        }
    }

    /// How old a partition's newest snapshot is.
    pub fn age(&self, partition: i32, age: Duration) {
        self.age.with_label_values(&[&partition.to_string()]).set(age.as_secs() as i64);
    }

    /// A partition left this process.
    pub(super) fn partition_gone(&self, partition: i32) {
        // An error says that it never had one.
        let _ = self.age.remove_label_values(&[&partition.to_string()]);
    }
}

/// A snapshot was published: recovery may begin with it.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotWritten {
    /// The partition.
    pub partition: i32,
    /// s1: the next offset when its walk ended.
    pub end: i64,
    /// Phones in it.
    pub phones: u64,
    /// Its size.
    pub bytes: u64,
    /// From its begin to now.
    pub took: Duration,
}

/// A snapshot was begun and not published; the next one is tried when it is due.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotFailed<'a> {
    /// The partition.
    pub partition: i32,
    /// What failed.
    pub why: &'a str,
}

/// A snapshot was found and not restored; an older one is, or the log is replayed.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRefused<'a> {
    /// The partition.
    pub partition: i32,
    /// Its name.
    pub name: &'a str,
    /// Why.
    pub why: &'a str,
}

/// The snapshots cannot be read, and the log alone does not give the state any more: the partition waits.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotsAwaited<'a> {
    /// The partition.
    pub partition: i32,
    /// Why they cannot be read.
    pub why: &'a str,
}

/// A partition's state came from a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRestored {
    /// The partition.
    pub partition: i32,
    /// s0: replay begins here.
    pub from: i64,
    /// s1.
    pub end: i64,
    /// Phones in it.
    pub phones: usize,
    /// How long reading it took.
    pub took: Duration,
}

impl Fact for SnapshotWritten {
    fn emit(self, to: &Telemetry) {
        let Self { partition, end, phones, bytes, took } = self;
        let metrics = &to.metrics.snapshot;
        metrics.written.inc();
        metrics.bytes.inc_by(bytes);
        metrics.seconds.observe(took.as_secs_f64());
        tracing::info!(partition, end, phones, bytes, ms = took.as_millis() as u64, "snapshot written");
    }
}

impl Fact for SnapshotFailed<'_> {
    fn emit(self, to: &Telemetry) {
        to.metrics.snapshot.failed.inc();
        let Self { partition, why } = self;
        tracing::warn!(partition, why, "no snapshot could be written (snapshots.location); verdicts go on");
    }
}

impl Fact for SnapshotRefused<'_> {
    fn emit(self, to: &Telemetry) {
        to.metrics.snapshot.refused.inc();
        let Self { partition, name, why } = self;
        tracing::warn!(partition, name, why, "snapshot not restored");
    }
}

impl Fact for SnapshotsAwaited<'_> {
    fn emit(self, to: &Telemetry) {
        let Self { partition, why } = self;
        let told = format!(
            "snapshots cannot be read ({why}), and the log's head is deleted, so that they are waited for; \
             snapshots.give_up says for how long"
        );
        if to.health.partition_waits(partition, Some(&told)) {
            tracing::warn!(
                partition,
                why,
                "snapshots cannot be read (snapshots.location); the partition waits for them"
            );
        }
    }
}

impl Fact for SnapshotRestored {
    fn emit(self, _: &Telemetry) {
        let Self { partition, from, end, phones, took } = self;
        tracing::info!(partition, from, end, phones, ms = took.as_millis() as u64, "snapshot restored");
    }
}
