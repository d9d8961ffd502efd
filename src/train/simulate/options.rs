//! What to simulate: size, start, end, shares of fraud, and what happens to records on their way.

use crate::domain::time::MINUTE_MS;

/// 2026-01-12T00:00:00 in Nairobi, a Monday: the default start of simulated time.
pub const DEFAULT_START_MS: i64 = 1_768_165_200_000;

/// As many as make about 400,000 events in 30 days.
pub const DEFAULT_CUSTOMERS: u64 = 2_400;

/// What to simulate. The defaults are about 400,000 events in 30 days.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Names the world; the same seed gives the same bytes.
    pub seed: u64,
    /// Customers, at least 1.
    pub customers: u64,
    /// Agents; every tenth has thousands of events a day.
    pub agents: u64,
    /// Merchants that pay out; every tenth has thousands of events a day.
    pub merchants: u64,
    /// How much.
    pub limit: Limit,
    /// Event time of the start, milliseconds since 1970.
    pub start_ms: i64,
    /// Share of events that are fraud.
    pub fraud_rate: f64,
    /// Share of events that are harmless but look like fraud.
    pub look_alike_rate: f64,
    /// What happens to records on their way.
    pub disorder: Disorder,
    /// Replaces event times, so that records come at a steady rate.
    pub restamp: Option<Restamp>,
}

/// When the simulation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many records; those still under way are not sent.
    Records(u64),
    /// After so many days of event time; those still under way arrive.
    Days(u64),
    /// Never.
    None,
}

/// What happens to records on their way; all shares are 0 by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disorder {
    /// Share of records that arrive late.
    pub late_share: f64,
    /// Mean delay of those.
    pub late_spread_ms: i64,
    /// Share of records that are sent twice.
    pub duplicates: f64,
    /// Share of transactions whose id comes again with another amount.
    pub conflicts: f64,
}

/// Event times at a steady rate instead of the simulated ones.
///
/// Phones are then busier than they would be by as much as the rate exceeds [`super::Simulation::events_a_day`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restamp {
    /// The first record's time.
    pub start_ms: i64,
    /// Records a second, above 0.
    pub per_second: f64,
}

impl Default for Disorder {
    fn default() -> Self {
        Self { late_share: 0.0, late_spread_ms: 10 * MINUTE_MS, duplicates: 0.0, conflicts: 0.0 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::sized(1, DEFAULT_CUSTOMERS)
    }
}

impl Options {
    /// A world of this many customers, with as many agents and merchants as belong to them.
    pub fn sized(seed: u64, customers: u64) -> Self {
        Self {
            seed,
            customers,
            agents: (customers / 250).max(1),
            merchants: (customers / 400).max(1),
            limit: Limit::Records(400_000),
            start_ms: DEFAULT_START_MS,
            fraud_rate: 0.004,
            look_alike_rate: 0.01,
            disorder: Disorder::default(),
            restamp: None,
        }
    }
}
