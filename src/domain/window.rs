//! The five sliding windows (a − W, a] over a phone's events: count, sum, distinct counterparties, devices, places.
//!
//! Here they are recomputed by scanning the ring from its newest event on: the whole truth for small rings and for
//! out-of-order events. Large rings keep running totals, which must equal this (`hot`, by property test).

use super::{
    amount::Currency,
    distinct::Distinct,
    identity::Identity,
    ring::{Event, Ring},
    rules::{Rules, WINDOWS, WINDOWS_MS},
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
    scan.add(0, current);
    let (starts, windows) = (WINDOWS_MS.map(|length| a - length), counted.windows());
    for event in ring.newest_first(a) {
        let window = starts.iter().map(|start| usize::from(event.t <= *start)).sum();
        if window >= windows {
            break;
        }
        scan.add(window, &event);
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
    /// Adds an event that `window` holds and no shorter one; none that was added before is in longer windows alone.
    #[inline(always)]
    fn add(&mut self, window: usize, event: &Event) {
        self.counts[window] += 1;
        self.sums[window] += i128::from(event.money.summed(self.home).unwrap_or(0));
        if event.ids.counterparty != Identity::ABSENT {
            self.counterparties.add(window, event.ids.counterparty);
        }
        self.devices.add(window, event.ids.device);
        self.places.add(window, event.ids.place);
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
