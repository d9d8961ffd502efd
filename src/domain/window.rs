//! The five sliding windows (a − W, a] over a phone's events: count, sum, distinct counterparties, devices, places.
//!
//! Here they are recomputed by scanning the ring, window by window from the shortest: the whole truth for small rings and for
//! out-of-order events. Large rings keep running totals, which must equal this (`hot`, by property test).

use hashbrown::HashSet;

use super::{
    amount::Currency,
    identity::Identity,
    ring::{Event, Ring},
    rules::{Rules, WINDOWS, WINDOWS_MS, longest},
};

/// What the windows hold as of one moment, shortest window first, the event under judgement included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Transactions, where [`Rules::counted`] has them.
    pub count: [u32; WINDOWS],
    /// Home-currency minor units, likewise, reversals left out; saturates.
    pub sum: [i64; WINDOWS],
    /// Distinct counterparties, likewise.
    pub counterparties: [u32; WINDOWS],
    /// Distinct devices, likewise; unknown is one.
    pub devices: [u32; WINDOWS],
    /// Distinct places, likewise; unknown is one.
    pub places: [u32; WINDOWS],
}

/// Scans `ring` as of `a` and adds `current`, which counts in every window whatever its own time. `devices` is how many each
/// window has in which they are counted, where that is known already.
pub fn scan(ring: &Ring, current: &Event, a: i64, devices: Option<[u32; WINDOWS]>, rules: &Rules) -> Windows {
    let counted = if devices.is_some() { rules.counted.but_devices() } else { rules.counted };
    let mut scan = Scan {
        home: rules.home_currency,
        counts: [0; WINDOWS],
        sums: [0; WINDOWS],
        counterparties: Distinct::within(&counted.counterparties),
        devices: Distinct::within(&counted.devices),
        places: Distinct::within(&counted.places),
    };
    scan.add(0, || std::iter::once(*current));
    let mut until = ring.position_after(a);
    for (window, length_ms) in WINDOWS_MS.iter().enumerate().take(counted.windows()) {
        let from = until - ring.count_after(a - length_ms, until);
        // The shortest windows mostly hold nothing more.
        if from < until {
            scan.add(window, || ring.range(from..until));
            until = from;
        }
    }
    Windows {
        count: only(counted.transactions, running(scan.counts)),
        sum: only(counted.transactions, running(scan.sums).map(saturate)),
        counterparties: only(counted.counterparties, running(scan.counterparties.first_in)),
        devices: devices.unwrap_or_else(|| only(counted.devices, running(scan.devices.first_in))),
        places: only(counted.places, running(scan.places.first_in)),
    }
}

/// What was seen so far, by the shortest window that it was seen in.
struct Scan {
    home: Currency,
    counts: [u32; WINDOWS],
    sums: [i128; WINDOWS],
    counterparties: Distinct,
    devices: Distinct,
    places: Distinct,
}

impl Scan {
    /// Adds the events that `window` holds and no shorter one: what each of them must count is known, and only that is read.
    #[inline]
    fn add<I: Iterator<Item = Event>>(&mut self, window: usize, events: impl Fn() -> I) {
        self.counts[window] += events().count() as u32;
        self.sums[window] += events().map(|event| i128::from(event.money.summed(self.home).unwrap_or(0))).sum::<i128>();
        let others = events().map(|event| event.ids.counterparty);
        self.counterparties.add(window, others.filter(|other| *other != Identity::ABSENT));
        self.devices.add(window, events().map(|event| event.ids.device));
        self.places.add(window, events().map(|event| event.ids.place));
    }
}

/// 0 in the windows that are not counted.
pub fn only<T: Copy + Default>(counted: [bool; WINDOWS], numbers: [T; WINDOWS]) -> [T; WINDOWS] {
    std::array::from_fn(|window| if counted[window] { numbers[window] } else { T::default() })
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
        Self {
            windows: longest(counted),
            first_in: [0; WINDOWS],
            seen: 0,
            few: [Identity::ABSENT; FEW],
            len: 0,
            many: None,
        }
    }

    /// Counts those that are new in `window`; shorter windows were counted before.
    #[inline]
    fn add(&mut self, window: usize, identities: impl Iterator<Item = Identity>) {
        if window < self.windows {
            identities.for_each(|identity| self.first_in[window] += u32::from(self.is_new(identity)));
        }
    }

    #[inline]
    fn is_new(&mut self, identity: Identity) -> bool {
        // Identities are hashes: their low bits are as good as any.
        let bit = 1 << (identity.0 & 63);
        if self.seen & bit != 0 && self.few[..self.len].contains(&identity) {
            return false;
        }
        self.seen |= bit;
        if self.len < FEW {
            self.few[self.len] = identity;
            self.len += 1;
            return true;
        }
        self.many.get_or_insert_default().insert(identity)
    }
}
