//! The five sliding windows (a − W, a] over a phone's events: count, sum, distinct counterparties, devices, places.
//!
//! Here they are recomputed by scanning the ring from its newest event: the whole truth for small rings and for
//! out-of-order events. Large rings keep running totals, which must equal this (`hot`, by property test).

use hashbrown::HashSet;

use super::{
    identity::Identity,
    ring::{Event, Ring},
    rules::{LONGEST_WINDOW_MS, Rules, WINDOWS, WINDOWS_MS},
};

/// What the windows hold as of one moment, shortest window first, the event under judgement included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Transactions.
    pub count: [u32; WINDOWS],
    /// Home-currency minor units, reversals left out; saturates.
    pub sum: [i64; WINDOWS],
    /// Distinct counterparties, where [`Rules::counted`] has them.
    pub counterparties: [u32; WINDOWS],
    /// Distinct devices, likewise; unknown is one.
    pub devices: [u32; WINDOWS],
    /// Distinct places, likewise; unknown is one.
    pub places: [u32; WINDOWS],
}

/// Scans `ring` as of `a` and adds `current`, which counts in every window whatever its own time.
pub fn scan(ring: &Ring, current: &Event, a: i64, rules: &Rules) -> Windows {
    let (home, counted) = (rules.home_currency, &rules.counted);
    let mut counts = [0_u32; WINDOWS];
    let mut sums = [0_i128; WINDOWS];
    let mut counterparties = Distinct::within(&counted.counterparties);
    let mut devices = Distinct::within(&counted.devices);
    let mut places = Distinct::within(&counted.places);
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
    // Ages grow from event to event, and so does the shortest window that holds them.
    let mut window = 0;
    for event in ring.newest_first() {
        let age = a - event.t;
        if age >= LONGEST_WINDOW_MS {
            break;
        }
        if age >= 0 {
            while age >= WINDOWS_MS[window] {
                window += 1;
            }
            add(&event, window);
        }
    }
    Windows {
        count: running(counts),
        sum: running(sums).map(saturate),
        counterparties: only(counted.counterparties, running(counterparties.first_in)),
        devices: only(counted.devices, running(devices.first_in)),
        places: only(counted.places, running(places.first_in)),
    }
}

/// 0 in the windows that are not counted.
pub fn only(counted: [bool; WINDOWS], numbers: [u32; WINDOWS]) -> [u32; WINDOWS] {
    std::array::from_fn(|window| if counted[window] { numbers[window] } else { 0 })
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
struct Distinct {
    /// Nothing that only longer windows hold need be told apart.
    windows: usize,
    first_in: [u32; WINDOWS],
    /// One bit for each identity seen: where it is not set, the identity is new.
    seen: u64,
    few: [Identity; FEW],
    len: usize,
    many: Option<HashSet<Identity, foldhash::fast::RandomState>>,
}

/// The first identities are compared one by one; beyond them a set takes over.
const FEW: usize = 24;

impl Distinct {
    /// None yet; up to the longest of the windows counted.
    fn within(counted: &[bool; WINDOWS]) -> Self {
        let windows = counted.iter().rposition(|counted| *counted).map_or(0, |longest| longest + 1);
        Self { windows, first_in: [0; WINDOWS], seen: 0, few: [Identity::ABSENT; FEW], len: 0, many: None }
    }

    #[inline]
    fn add(&mut self, identity: Identity, window: usize) {
        if window >= self.windows {
            return;
        }
        // Identities are hashes: their low bits are as good as any.
        let bit = 1 << (identity.0 & 63);
        if self.seen & bit != 0 && self.few[..self.len].contains(&identity) {
            return;
        }
        self.seen |= bit;
        if self.len < FEW {
            self.few[self.len] = identity;
            self.len += 1;
        } else if !self.many.get_or_insert_default().insert(identity) {
            return;
        }
        self.first_in[window] += 1;
    }
}
