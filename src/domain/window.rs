//! The five sliding windows (a − W, a] over a phone's events: count, sum, distinct counterparties, devices, places.
//!
//! Here they are recomputed by scanning the ring from its newest event: the whole truth for small rings and for
//! out-of-order events. Large rings keep running totals, which must equal this (`hot`, by property test).

use hashbrown::HashSet;

use super::{
    amount::Currency,
    identity::Identity,
    ring::{Event, Ring},
    rules::{LONGEST_WINDOW_MS, WINDOWS, WINDOWS_MS},
};

/// What the windows hold as of one moment, shortest window first, the event under judgement included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Transactions.
    pub count: [u32; WINDOWS],
    /// Home-currency minor units, reversals left out; saturates.
    pub sum: [i64; WINDOWS],
    /// Distinct counterparties.
    pub counterparties: [u32; WINDOWS],
    /// Distinct devices; unknown is one.
    pub devices: [u32; WINDOWS],
    /// Distinct places; unknown is one.
    pub places: [u32; WINDOWS],
}

/// Scans `ring` as of `a` and adds `current`, which counts in every window whatever its own time.
pub fn scan(ring: &Ring, current: &Event, a: i64, home: Currency) -> Windows {
    let mut counts = [0_u32; WINDOWS];
    let mut sums = [0_i128; WINDOWS];
    let mut counterparties = Distinct::default();
    let mut devices = Distinct::default();
    let mut places = Distinct::default();
    let mut add = |event: &Event, window: usize| {
        counts[window] += 1;
        sums[window] += i128::from(event.money.summed(home).unwrap_or(0));
        if event.ids.counterparty != Identity::ABSENT {
            counterparties.add(event.ids.counterparty, window);
        }
        devices.add(event.ids.device, window);
        places.add(event.ids.place, window);
    };
    add(current, 0);
    for event in ring.newest_first() {
        let age = a - event.t;
        if age >= LONGEST_WINDOW_MS {
            break;
        }
        if age >= 0 {
            add(&event, shortest_window(age));
        }
    }
    Windows {
        count: running(counts),
        sum: running(sums).map(saturate),
        counterparties: running(counterparties.first_in),
        devices: running(devices.first_in),
        places: running(places.first_in),
    }
}

/// The shortest window that holds an event `age` milliseconds old (0 <= age < 7 d).
fn shortest_window(age: i64) -> usize {
    WINDOWS_MS.iter().filter(|length| age >= **length).count()
}

/// A sum as reported: never overflows.
pub fn saturate(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

/// Each window also holds what the shorter ones hold.
fn running<T: Copy + std::ops::AddAssign>(mut per_window: [T; WINDOWS]) -> [T; WINDOWS] {
    for window in 1..WINDOWS {
        let shorter = per_window[window - 1];
        per_window[window] += shorter;
    }
    per_window
}

/// Distinct identities, met newest first: each counts from the shortest window it was first met in.
#[derive(Default)]
struct Distinct {
    first_in: [u32; WINDOWS],
    few: Few,
    many: HashSet<Identity, foldhash::fast::RandomState>,
}

/// The first identities, compared one by one; beyond them a set takes over.
struct Few {
    len: usize,
    seen: [Identity; FEW],
}

const FEW: usize = 24;

impl Default for Few {
    fn default() -> Self {
        Self { len: 0, seen: [Identity::ABSENT; FEW] }
    }
}

impl Distinct {
    fn add(&mut self, identity: Identity, window: usize) {
        if self.few.seen[..self.few.len].contains(&identity) {
            return;
        }
        if self.few.len < FEW {
            self.few.seen[self.few.len] = identity;
            self.few.len += 1;
        } else if !self.many.insert(identity) {
            return;
        }
        self.first_in[window] += 1;
    }
}
