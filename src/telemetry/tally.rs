//! A shard's own counts, plain integers, handed to the shared counters once a turn: the hot path touches no atomic.

use prometheus::{IntCounter, IntCounterVec, local::LocalHistogram};

use super::Metrics;
use crate::domain::{flags::Flags, invalid::InvalidReason, verdict::Kind};

/// Counts of one shard since its last flush.
pub struct Tally {
    kinds: Counts,
    flags: Counts,
    invalid: Counts,
    latency: LocalHistogram,
}

impl Tally {
    /// An empty tally that flushes into these metrics; every label is there from the start, at zero.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            kinds: Counts::new(&metrics.events, Kind::ALL.iter().map(|kind| kind.as_str())),
            flags: Counts::new(&metrics.flags, Flags::ALL.iter().map(|(_, name)| *name)),
            invalid: Counts::new(&metrics.invalid, InvalidReason::ALL.iter().map(|reason| reason.as_str())),
            latency: metrics.latency.local(),
        }
    }

    /// A verdict of this kind, with these flags.
    pub fn verdict(&mut self, kind: Kind, flags: Flags) {
        self.kinds.add(usize::from(kind.code()));
        if flags != Flags::default() {
            for (at, (flag, _)) in Flags::ALL.iter().enumerate() {
                if flags.has(*flag) {
                    self.flags.add(at);
                }
            }
        }
    }

    /// A record that is no transaction (beside its verdict).
    pub fn invalid(&mut self, reason: InvalidReason) {
        self.invalid.add(usize::from(reason.code()));
    }

    /// From a record's timestamp to its verdict; clocks that disagree count as zero.
    pub fn latency_ms(&self, ms: i64) {
        self.latency.observe(ms.max(0) as f64 / 1_000.0);
    }

    /// Hands everything over; call it once a turn.
    pub fn flush(&mut self) {
        self.kinds.flush();
        self.flags.flush();
        self.invalid.flush();
        self.latency.flush();
    }
}

/// One plain count a label, beside the shared counter it goes to.
struct Counts(Vec<(u64, IntCounter)>);

impl Counts {
    fn new(family: &IntCounterVec, labels: impl Iterator<Item = &'static str>) -> Self {
        Self(labels.map(|label| (0, family.with_label_values(&[label]))).collect())
    }

    fn add(&mut self, at: usize) {
        self.0[at].0 += 1;
    }

    fn flush(&mut self) {
        for (count, shared) in self.0.iter_mut().filter(|(count, _)| *count > 0) {
            shared.inc_by(std::mem::take(count));
        }
    }
}
