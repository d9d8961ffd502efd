//! Telemetry: log lines, metrics, health. What is worth observing is a named fact ([`facts`]), which emits its log
//! line, metric and health change together; the hot path counts in plain integers ([`Tally`]) and hands them over
//! once a turn.
//!
//! Invariant: labels are closed or bounded sets, and no phone number is ever in a label or a log line. Telemetry
//! decides nothing: scoring never waits for it and never reads it.

mod delay;
pub mod facts;
mod feed;
mod health;
mod http;
mod log;
mod metrics;
mod panics;
mod server;
pub mod sink;
pub mod snapshot;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;

pub use delay::{Delay, UNDELIVERED_FOR};
pub use facts::Fact;
pub use feed::FeedMetrics;
pub use health::{Health, Loop, PartitionState, Reason, STUCK_AFTER, TOPICS, VERDICT_TAIL};
pub use log::{LogError, init_log};
pub use metrics::{Metrics, Stage, StatePart};
pub use server::{ListenError, Server};
pub use tally::Tally;

/// Metrics and health together, as every part of the process holds them; cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    /// The numbers.
    pub metrics: Metrics,
    /// Alive and ready, or why not.
    pub health: Health,
}

impl Telemetry {
    /// Telemetry of a process with that many shards, all of them still to join.
    pub fn new(shards: usize) -> Self {
        Self { metrics: Metrics::new(), health: Health::new(shards) }
    }

    /// Makes a fact known: log line, metric and health in one.
    pub fn emit(&self, fact: impl Fact) {
        fact.emit(self);
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.health.measure(&self.metrics);
        self.metrics.render()
    }
}
