//! The numbers, registered once. Every label is a closed set, a partition or a shard, but for one: the institution of
//! misrouted transactions, which is bounded.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use super::feed::FeedMetrics;
use super::http::HttpMetrics;
use super::sink::SinkMetrics;
use super::snapshot::SnapshotMetrics;
use crate::domain::{history::Footprint, transaction::wire_enum};

wire_enum! {
    /// A step of the shard's turn, timed per batch.
    Stage {
        /// Bytes to rows: decoding, windows, profile, features.
        Step = "step",
        /// Rows to raw scores.
        Score = "score",
        /// Scores to verdicts in the producer's queue: policy, reasons, JSON, hand-over.
        Deliver = "deliver",
        /// All of it, from the batch's last record polled.
        Turn = "turn",
    }
}

wire_enum! {
    /// What a shard's memory holds.
    StatePart {
        /// Events of the windows.
        Ring = "ring",
        /// The running totals that large rings carry beside them.
        Totals = "totals",
        /// What is known of phones beyond the windows.
        Profile = "profile",
    }
}

/// Seconds; the service levels' edges (1 to 200 ms) with microseconds below, for batches.
const STAGE_BUCKETS: &[f64] =
    &[1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.010, 0.025, 0.050, 0.100, 0.200, 1.0];

/// Seconds; the service levels' edges with an outage's length above.
const LATENCY_BUCKETS: &[f64] = &[0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.200, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Seconds; from an empty log to hours of it.
const RECOVER_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

/// How many institutions are told apart in a label; the others are `other`.
const MAX_INSTITUTIONS: usize = 64;

/// An institution id with so many digits could be a phone number, which no label may hold.
const PHONE_LIKE_DIGITS: usize = 7;

/// The numbers; a clone counts into the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(super) events: IntCounterVec,
    pub(super) flags: IntCounterVec,
    pub(super) invalid: IntCounterVec,
    pub(super) latency: Histogram,
    misrouted: IntCounterVec,
    institutions: Arc<Mutex<HashSet<String>>>,
    stages: Vec<Histogram>,
    lag: IntGaugeVec,
    watermark: GaugeVec,
    undelivered: IntGaugeVec,
    undelivered_age: GaugeVec,
    lag_seconds: GaugeVec,
    pub(super) partitions: IntGaugeVec,
    pub(super) broker_up: IntGauge,
    pub(super) epochs_taken: IntCounter,
    pub(super) gaps: IntCounter,
    pub(super) replay_mismatches: IntCounter,
    pub(super) zombies_ignored: IntCounter,
    pub(super) lost_records: IntCounter,
    pub(super) recover: Histogram,
    pub(super) record_crashes: IntCounter,
    pub(super) dead_letters: IntCounter,
    pub(super) dead_letters_cut: IntCounter,
    pub(super) dead_letters_lost: IntCounter,
    phones: IntGaugeVec,
    crowded: IntGaugeVec,
    state_bytes: IntGaugeVec,
    /// The HTTP interface's.
    pub http: HttpMetrics,
    /// The live feed's.
    pub feed: FeedMetrics,
    /// The sink's.
    pub sink: SinkMetrics,
    /// Snapshots'.
    pub snapshot: SnapshotMetrics,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let to = Registry::new();
        let stages = histograms(&to, "sentra_stage_seconds", "Time a batch spent in a stage", STAGE_BUCKETS, "stage");
        let version = gauge_of(&to, "sentra_build_info", "1, with the version as a label", &["version"]);
        version.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let lag = "Records between the partition's end and what was taken from it";
        let seconds = "Greatest event time of the partition, seconds since 1970";
        let mismatches = "Recoveries whose replay came to other features than the log's newest verdict";
        let crowded = "Phones with four fifths of windows.ring_cap events or more";
        let late = "Seconds that the partition's oldest record not yet taken was seen to wait";
        let undelivered_age = "Seconds that the partition's oldest verdict has waited for its acknowledgement";
        Self {
            events: counters(&to, "sentra_events_total", "Verdicts by kind", "kind"),
            flags: counters(&to, "sentra_event_flags_total", "Verdicts by flag", "flag"),
            invalid: counters(&to, "sentra_invalid_total", "Records that are no transaction, by reason", "reason"),
            latency: histogram(&to, "sentra_verdict_latency_seconds", "Record timestamp to verdict", LATENCY_BUCKETS),
            misrouted: counters(&to, "sentra_misrouted_total", "Transactions in a wrong partition", "institution"),
            institutions: Arc::default(),
            stages: Stage::ALL.iter().map(|stage| stages.with_label_values(&[stage.as_str()])).collect(),
            lag: gauge_of(&to, "sentra_lag_records", lag, &["partition"]),
            watermark: seconds_of(&to, "sentra_watermark_seconds", seconds, "partition"),
            undelivered: gauge_of(&to, "sentra_undelivered", "Verdicts not yet acknowledged", &["partition"]),
            undelivered_age: seconds_of(&to, "sentra_undelivered_age_seconds", undelivered_age, "partition"),
            lag_seconds: seconds_of(&to, "sentra_lag_seconds", late, "partition"),
            partitions: gauge_of(&to, "sentra_partitions", "Partitions owned, by state", &["state"]),
            broker_up: added(&to, IntGauge::new("sentra_broker_up", "1 while every shard reaches a broker")),
            epochs_taken: counter(&to, "sentra_epochs_taken_total", "Owner records appended"),
            replay_mismatches: counter(&to, "sentra_replay_mismatches_total", mismatches),
            gaps: counter(&to, "sentra_gaps_total", "Breaks seen in a chain of verdicts"),
            zombies_ignored: counter(&to, "sentra_zombie_verdicts_ignored_total", "Verdicts of past owners ignored"),
            lost_records: counter(&to, "sentra_lost_records_total", "Offsets deleted before they were judged"),
            recover: histogram(
                &to,
                "sentra_recover_seconds",
                "From assignment to the first new verdict",
                RECOVER_BUCKETS,
            ),
            record_crashes: counter(&to, "sentra_record_crashes_total", "Records that the program failed on"),
            dead_letters: counter(&to, "sentra_dead_letters_total", "Dead letters acknowledged"),
            dead_letters_cut: counter(&to, "sentra_dead_letters_cut_total", "Dead letters cut to be acknowledged"),
            dead_letters_lost: counter(&to, "sentra_dead_letters_lost_total", "Dead letters refused for good"),
            crowded: gauge_of(&to, "sentra_phones_near_cap", crowded, &["shard"]),
            phones: gauge_of(&to, "sentra_phones", "Phones in memory", &["shard"]),
            state_bytes: gauge_of(&to, "sentra_state_bytes", "Bytes of state in memory", &["shard", "part"]),
            http: HttpMetrics::new(&to),
            feed: FeedMetrics::new(&to),
            sink: SinkMetrics::new(&to),
            snapshot: SnapshotMetrics::new(&to),
            registry: to,
        }
    }

    /// One batch's time in a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[usize::from(stage.code())].observe(took.as_secs_f64());
    }

    /// A transaction of this institution lay in a wrong partition.
    pub fn misrouted(&self, institution: Option<&str>) {
        self.misrouted.with_label_values(&[self.institution_label(institution)]).inc();
    }

    /// Where a partition stands: records behind its end, and its watermark in milliseconds since 1970.
    pub fn partition_at(&self, partition: i32, lag: i64, watermark_ms: i64) {
        let label = partition.to_string();
        self.lag.with_label_values(&[&label]).set(lag.max(0));
        self.watermark.with_label_values(&[&label]).set(watermark_ms as f64 / 1_000.0);
    }

    /// How many verdicts of a partition are not yet acknowledged.
    pub fn undelivered(&self, partition: i32, verdicts: usize) {
        self.undelivered.with_label_values(&[&partition.to_string()]).set(clamped(verdicts));
    }

    /// How long a partition's oldest unacknowledged verdict, and its oldest record not yet taken, have waited.
    pub fn delays(&self, partition: i32, verdicts: Duration, records: Duration) {
        let label = partition.to_string();
        self.undelivered_age.with_label_values(&[&label]).set(verdicts.as_secs_f64());
        self.lag_seconds.with_label_values(&[&label]).set(records.as_secs_f64());
    }

    /// A partition left this process: its gauges go, for another process reports them now.
    pub fn partition_gone(&self, partition: i32) {
        let label = partition.to_string();
        // An error says that it never had one.
        let _ = self.lag.remove_label_values(&[&label]);
        let _ = self.watermark.remove_label_values(&[&label]);
        let _ = self.undelivered.remove_label_values(&[&label]);
        let _ = self.undelivered_age.remove_label_values(&[&label]);
        let _ = self.lag_seconds.remove_label_values(&[&label]);
        self.snapshot.partition_gone(partition);
    }

    /// What a shard holds in memory.
    pub fn state(&self, shard: usize, phones: usize, held: Footprint) {
        let label = shard.to_string();
        self.phones.with_label_values(&[&label]).set(clamped(phones));
        let Footprint { ring, totals, profile } = held;
        for (part, bytes) in [(StatePart::Ring, ring), (StatePart::Totals, totals), (StatePart::Profile, profile)] {
            self.state_bytes.with_label_values(&[label.as_str(), part.as_str()]).set(clamped(bytes));
        }
    }

    /// How many of a shard's phones have nearly as many events as a ring keeps.
    pub fn crowded(&self, shard: usize, phones: usize) {
        self.crowded.with_label_values(&[&shard.to_string()]).set(clamped(phones));
    }

    /// Whether a metric of that name is registered, with whatever labels.
    #[cfg(test)]
    pub(super) fn knows(&self, name: &str) -> bool {
        let Ok(twin) = IntCounter::new(name, "a twin") else { return false };
        let taken = self.registry.register(Box::new(twin.clone())).is_err();
        if !taken {
            // It was not there before; an error would say that it is not there now.
            let _ = self.registry.unregister(Box::new(twin));
        }
        taken
    }

    /// Prometheus' text format.
    pub(super) fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# metrics cannot be written: {error}\n"),
        }
    }

    /// The first institutions by name, later ones and phone-like ids as `other`.
    fn institution_label<'a>(&self, institution: Option<&'a str>) -> &'a str {
        const OTHER: &str = "other";
        let Some(id) = institution else { return "none" };
        if id.bytes().filter(u8::is_ascii_digit).count() >= PHONE_LIKE_DIGITS {
            return OTHER;
        }
        let mut known = self.institutions.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(id) {
            return id;
        }
        let fits = known.len() < MAX_INSTITUTIONS && known.insert(id.to_owned());
        if fits { id } else { OTHER }
    }
}

fn clamped(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Registers what was built; names and labels are literals of this file, which a test builds.
pub(super) fn added<C: Collector + Clone + 'static>(registry: &Registry, built: prometheus::Result<C>) -> C {
    let collector = built.expect("a metric's name and labels are literals, and well formed");
    registry.register(Box::new(collector.clone())).expect("each metric is registered once, by a name of its own");
    collector
}

pub(super) fn counter(to: &Registry, name: &str, help: &str) -> IntCounter {
    added(to, IntCounter::new(name, help))
}

pub(super) fn counters(to: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    added(to, IntCounterVec::new(Opts::new(name, help), &[label]))
}

pub(super) fn gauge_of(to: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    added(to, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn seconds_of(to: &Registry, name: &str, help: &str, label: &str) -> GaugeVec {
    added(to, GaugeVec::new(Opts::new(name, help), &[label]))
}

pub(super) fn histogram(to: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    added(to, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

pub(super) fn histograms(to: &Registry, name: &str, help: &str, buckets: &[f64], label: &str) -> HistogramVec {
    added(to, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label]))
}
