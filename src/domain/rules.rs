//! The configuration that state depends on (contracts C2 to C4): equal rules and equal logs give equal state.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    amount::Currency,
    features::FEATURE_SET,
    place,
    time::{DAY_MS, HOUR_MS, MINUTE_MS},
};

/// The five window lengths in milliseconds, shortest first: 1 min, 5 min, 1 h, 24 h, 7 d.
pub const WINDOWS_MS: [i64; 5] = [MINUTE_MS, 5 * MINUTE_MS, HOUR_MS, DAY_MS, 7 * DAY_MS];

/// How many windows there are.
pub const WINDOWS: usize = WINDOWS_MS.len();

/// The longest window, 7 d, in milliseconds.
pub const LONGEST_WINDOW_MS: i64 = WINDOWS_MS[WINDOWS - 1];

/// What is counted in which windows, shortest window first; in the others it is told as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Transactions and their sum.
    pub transactions: [bool; WINDOWS],
    /// Counterparties.
    pub counterparties: [bool; WINDOWS],
    /// Devices.
    pub devices: [bool; WINDOWS],
    /// Places.
    pub places: [bool; WINDOWS],
}

impl Counted {
    /// Everything in every window.
    pub const ALL: Self = Self {
        transactions: [true; WINDOWS],
        counterparties: [true; WINDOWS],
        devices: [true; WINDOWS],
        places: [true; WINDOWS],
    };

    /// What the feature set reads (`row` reads no other): what nobody reads is not counted.
    pub const FEATURES: Self = Self {
        transactions: [false, true, true, true, false],
        counterparties: [false, false, false, true, false],
        devices: [false, false, false, false, true],
        places: [false, false, false, true, false],
    };

    /// The same but for devices.
    pub fn but_devices(&self) -> Self {
        Self { devices: [false; WINDOWS], ..*self }
    }

    /// The windows in which anything is counted.
    pub fn anywhere(&self) -> [bool; WINDOWS] {
        let Self { transactions, counterparties, devices, places } = self;
        std::array::from_fn(|at| transactions[at] || counterparties[at] || devices[at] || places[at])
    }

    /// Nothing is counted in longer windows than so many.
    pub fn windows(&self) -> usize {
        longest(&self.anywhere())
    }
}

/// The windows up to the longest in which something is counted.
pub fn longest(counted: &[bool; WINDOWS]) -> usize {
    counted.iter().rposition(|counted| *counted).map_or(0, |longest| longest + 1)
}

/// Everything besides the log that a partition's state and features depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// L: how far behind the watermark an event may be and still enter its windows.
    pub lateness_ms: i64,
    /// How far a timestamp may lead the record's Kafka timestamp; `None` is no bound.
    pub max_future_ms: Option<i64>,
    /// D: how long an original is remembered for its duplicates.
    pub duplicate_ms: i64,
    /// H: how long a silent phone is remembered.
    pub forget_ms: i64,
    /// Local time's offset from UTC, for the features hour and day.
    pub utc_offset_ms: i64,
    /// Whose windows are kept: per phone, or per institution and phone.
    pub scope: Scope,
    /// The most events a phone's ring holds before hourly panes take over.
    pub ring_cap: usize,
    /// What the windows count.
    pub counted: Counted,
    /// The country calling code of national phone forms, without plus.
    pub calling_code: String,
    /// The currency that sums and means are in.
    pub home_currency: Currency,
}

impl Rules {
    /// A hash of everything here that state depends on, and of the places' table: states of equal hashes, at the same
    /// offset of the same log, are equal. What only features read (the local time) is not in it.
    pub fn state_hash(&self) -> u64 {
        let Self { lateness_ms, max_future_ms, duplicate_ms, forget_ms, scope, ring_cap, .. } = self;
        let Self { utc_offset_ms: _, counted: _, calling_code, home_currency, .. } = self;
        let told = format!(
            "{lateness_ms} {max_future_ms:?} {duplicate_ms} {forget_ms} {scope:?} {ring_cap} {calling_code} {home_currency:?} {}",
            place::TABLE
        );
        xxh3_64(told.as_bytes())
    }

    /// A hash of what features depend on beyond state.
    pub fn features_hash(&self) -> u64 {
        xxh3_64(format!("{FEATURE_SET} {}", self.utc_offset_ms).as_bytes())
    }
}

/// Whose windows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One history a phone, over all institutions.
    Network,
    /// One history a phone and institution.
    Institution,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            lateness_ms: DAY_MS,
            max_future_ms: Some(5 * MINUTE_MS),
            duplicate_ms: DAY_MS,
            forget_ms: 180 * DAY_MS,
            utc_offset_ms: 3 * HOUR_MS,
            scope: Scope::Network,
            ring_cap: 32_768,
            counted: Counted::FEATURES,
            calling_code: String::from("254"),
            home_currency: Currency::KES,
        }
    }
}
