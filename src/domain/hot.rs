//! Agents and merchants: running totals over a large ring, and hourly panes for what its cap pushed out.
//!
//! The totals are a cache: dropping and rebuilding them changes no result. Panes and the memory of evicted
//! originals are state. Each event enters and leaves each window once, so a step in order is amortised
//! O(number of windows); the one at which devices begin to be counted is O(events), once.

use std::{
    collections::{BTreeMap, VecDeque},
    hint::black_box,
};

use bytes::{Buf, BufMut};
use hashbrown::{HashMap, hash_map::Entry};

use super::{
    amount::Currency,
    identity::{Identities, Identity},
    ring::{Event, Ring},
    rules::{Counted, Rules, WINDOWS, WINDOWS_MS},
    stored::{Damaged, Stored, put_length, take_length},
    time::HOUR_MS,
    window::{Windows, only, saturate},
};

/// The first window that panes serve: 24 h. Shorter ones saturate.
pub const FIRST_PANED: usize = 3;

/// Hours that no event time reaches: a pane there is damage, not traffic.
const MOST_HOURS: i64 = 1 << 32;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Running totals as of one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    as_of: i64,
    /// What is counted.
    counted: Counted,
    /// In so many windows, from the shortest on: longer ones are not followed, and nothing of them is told.
    windows: usize,
    /// Per window, the ring index of its oldest event.
    from: [usize; WINDOWS],
    sum: [i128; WINDOWS],
    counterparties: Distinct,
    devices: Distinct,
    places: Distinct,
    /// The time of the newest event of each transaction identity: where the ring has it.
    originals: Map<Identity, i64>,
}

/// How often each identity is in each window that is counted.
#[derive(Clone, Debug)]
struct Distinct {
    counted: [bool; WINDOWS],
    held: Map<Identity, [u32; WINDOWS]>,
    distinct: [u32; WINDOWS],
}

impl Totals {
    /// Builds totals of what is `counted` over `ring`, as of its newest event.
    pub fn build(ring: &Ring, counted: Counted, home: Currency) -> Self {
        let as_of = ring.len().checked_sub(1).map_or(i64::MIN, |newest| ring.time(newest));
        let mut totals = Self {
            as_of,
            counted,
            windows: counted.windows(),
            from: [0; WINDOWS],
            sum: [0; WINDOWS],
            counterparties: Distinct::within(counted.counterparties),
            devices: Distinct::within(counted.devices),
            places: Distinct::within(counted.places),
            originals: Map::default(),
        };
        for (from, length) in totals.from.iter_mut().zip(WINDOWS_MS).take(totals.windows) {
            *from = ring.position_after(as_of.saturating_sub(length));
        }
        for index in 0..ring.len() {
            let event = ring.get(index);
            totals.originals.insert(event.ids.transaction, event.t);
            totals.count_in(&event, totals.from.map(|from| index >= from), home);
        }
        totals
    }

    /// Whether the totals can serve a question as of `a`: not before the last one.
    pub fn reaches(&self, a: i64) -> bool {
        a >= self.as_of
    }

    /// Whether devices are counted wherever they are in `counted`.
    pub fn has_devices(&self, counted: &Counted) -> bool {
        self.counted.devices == counted.devices
    }

    /// From now on devices are counted too, wherever they are in `counted`.
    pub fn count_devices(&mut self, ring: &Ring, counted: &Counted) {
        self.counted.devices = counted.devices;
        self.devices = Distinct::within(counted.devices);
        let longer = self.from.iter_mut().zip(WINDOWS_MS).take(counted.windows()).skip(self.windows);
        longer.for_each(|(from, length)| *from = ring.position_after(self.as_of.saturating_sub(length)));
        self.windows = self.windows.max(counted.windows());
        for (index, event) in ring.range(0..ring.len()).enumerate() {
            self.devices.enter(event.ids.device, self.from.map(|from| index >= from));
        }
    }

    /// Moves every window's start forward to `a`.
    pub fn advance(&mut self, ring: &Ring, a: i64, home: Currency) {
        self.as_of = a;
        for (window, length) in WINDOWS_MS.into_iter().enumerate().take(self.windows) {
            let start = a - length;
            while self.from[window] < ring.len() && ring.time(self.from[window]) <= start {
                self.leave(&ring.get(self.from[window]), window, home);
                self.from[window] += 1;
            }
        }
    }

    /// The windows as of the last advance, with `current` added; `devices` as of [`scan`](super::window::scan).
    pub fn windows(&self, ring: &Ring, current: &Event, devices: Option<[u32; WINDOWS]>, home: Currency) -> Windows {
        let own = i128::from(current.money.summed(home).unwrap_or(0));
        let counterparties = match current.ids.counterparty {
            Identity::ABSENT => self.counterparties.distinct,
            other => self.counterparties.with(other),
        };
        Windows {
            count: only(self.counted.transactions, self.from.map(|from| (ring.len() - from) as u32 + 1)),
            sum: only(self.counted.transactions, self.sum.map(|sum| saturate(sum + own))),
            counterparties,
            devices: devices.unwrap_or_else(|| self.devices.with(current.ids.device)),
            places: self.places.with(current.ids.place),
        }
    }

    /// Takes in `event`, which the ring now holds.
    pub fn inserted(&mut self, event: &Event, ring: &Ring, home: Currency) {
        if event.t > self.as_of {
            self.advance(ring, event.t, home);
        }
        let inside = WINDOWS_MS.map(|length| event.t > self.as_of - length);
        for (from, inside) in self.from.iter_mut().zip(inside).take(self.windows) {
            // What lies before a window's start shifts it.
            *from += usize::from(!inside);
        }
        self.originals.insert(event.ids.transaction, event.t);
        self.count_in(event, inside, home);
    }

    /// Lets go of the ring's oldest event, which the ring no longer holds.
    pub fn removed_oldest(&mut self, event: &Event, home: Currency) {
        for window in 0..self.windows {
            if self.from[window] > 0 {
                self.from[window] -= 1;
            } else {
                self.leave(event, window, home);
            }
        }
        if let Entry::Occupied(newest) = self.originals.entry(event.ids.transaction)
            && *newest.get() == event.t
        {
            newest.remove();
        }
    }

    /// Loads what an event of these identities will meet: the events about to leave windows, and the tables' entries.
    pub fn fetch(&self, ring: &Ring, ids: &Identities) {
        let leaving = self.from.map(|from| if from < ring.len() { ring.time(from) } else { 0 });
        let oldest = if ring.is_empty() { None } else { self.originals.get(&ring.get(0).ids.transaction) };
        let held = self.counterparties.held.get(&ids.counterparty).map(|held| held[0]);
        black_box((leaving, oldest, self.originals.get(&ids.transaction), held));
    }

    /// The newest event of this transaction identity in the ring.
    pub fn original(&self, ring: &Ring, transaction: Identity) -> Option<Event> {
        let t = *self.originals.get(&transaction)?;
        let ties = (0..ring.position_after(t)).rev().map(|index| ring.get(index)).take_while(|event| event.t == t);
        ties.into_iter().find(|event| event.ids.transaction == transaction)
    }

    fn count_in(&mut self, event: &Event, inside: [bool; WINDOWS], home: Currency) {
        let summed = i128::from(event.money.summed(home).unwrap_or(0));
        for (sum, _) in self.sum.iter_mut().zip(inside).filter(|(_, inside)| *inside) {
            *sum += summed;
        }
        if event.ids.counterparty != Identity::ABSENT {
            self.counterparties.enter(event.ids.counterparty, inside);
        }
        self.devices.enter(event.ids.device, inside);
        self.places.enter(event.ids.place, inside);
    }

    fn leave(&mut self, event: &Event, window: usize, home: Currency) {
        self.sum[window] -= i128::from(event.money.summed(home).unwrap_or(0));
        self.counterparties.leave(event.ids.counterparty, window);
        self.devices.leave(event.ids.device, window);
        self.places.leave(event.ids.place, window);
    }
}

impl Distinct {
    fn within(counted: [bool; WINDOWS]) -> Self {
        Self { counted, held: Map::default(), distinct: [0; WINDOWS] }
    }

    fn enter(&mut self, identity: Identity, inside: [bool; WINDOWS]) {
        let inside: [bool; WINDOWS] = std::array::from_fn(|window| inside[window] && self.counted[window]);
        // In no window, it would never leave one: nothing would remove it.
        if inside == [false; WINDOWS] {
            return;
        }
        let held = self.held.entry(identity).or_default();
        for window in 0..WINDOWS {
            if inside[window] {
                self.distinct[window] += u32::from(held[window] == 0);
                held[window] += 1;
            }
        }
    }

    fn leave(&mut self, identity: Identity, window: usize) {
        if !self.counted[window] {
            return;
        }
        let Some(held) = self.held.get_mut(&identity) else { return };
        held[window] -= 1;
        self.distinct[window] -= u32::from(held[window] == 0);
        if *held == [0; WINDOWS] {
            self.held.remove(&identity);
        }
    }

    fn with(&self, identity: Identity) -> [u32; WINDOWS] {
        let held = self.held.get(&identity).copied().unwrap_or_default();
        only(self.counted, std::array::from_fn(|window| self.distinct[window] + u32::from(held[window] == 0)))
    }
}

/// What a ring's cap pushed out: hourly panes for 24 h and 7 d, and originals that duplicates may still name.
#[derive(Clone, Debug, Default)]
pub struct Excess {
    /// Per hour of event time: transactions and summed minor units.
    panes: BTreeMap<i64, (u32, i128)>,
    /// Evicted originals, oldest first: event time, identity, offset.
    evicted: VecDeque<(i64, Identity, i64)>,
    /// The newest evicted event of each transaction identity.
    originals: Map<Identity, Event>,
}

impl Excess {
    /// Takes an event that the cap pushed out of the ring.
    pub fn take(&mut self, event: &Event, home: Currency) {
        let pane = self.panes.entry(event.t.div_euclid(HOUR_MS)).or_default();
        pane.0 += 1;
        pane.1 += i128::from(event.money.summed(home).unwrap_or(0));
        let position = self.evicted.partition_point(|(t, ..)| *t <= event.t);
        self.evicted.insert(position, (event.t, event.ids.transaction, event.offset));
        let newest = self.originals.entry(event.ids.transaction).or_insert(*event);
        if newest.t <= event.t {
            *newest = *event;
        }
    }

    /// Forgets panes that ended at or before `expired`, and originals of that age or `forgotten`'s.
    pub fn prune(&mut self, expired: i64, forgotten: i64) {
        while let Some(pane) = self.panes.first_entry() {
            if (pane.key() + 1) * HOUR_MS > expired {
                break;
            }
            pane.remove();
        }
        while let Some(&(_, transaction, offset)) = self.evicted.front().filter(|(t, ..)| *t <= forgotten) {
            self.evicted.pop_front();
            if self.originals.get(&transaction).is_some_and(|newest| newest.offset == offset) {
                self.originals.remove(&transaction);
            }
        }
    }

    /// Whether nothing is held any more.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty() && self.evicted.is_empty()
    }

    /// Adds the panes that overlap (a − W, a] to the 24 h and 7 d windows; true when there were any.
    pub fn add_to(&self, windows: &mut Windows, a: i64, rules: &Rules) -> bool {
        if self.panes.is_empty() {
            return false;
        }
        let mut any = false;
        for (window, length) in WINDOWS_MS.into_iter().enumerate().skip(FIRST_PANED) {
            let first = (a - length).div_euclid(HOUR_MS);
            let overlapping = self.panes.range(first..=a.div_euclid(HOUR_MS));
            let (count, sum) = overlapping
                .fold((0_u32, 0_i128), |(count, sum), (_, pane)| (count.saturating_add(pane.0), sum + pane.1));
            if rules.counted.transactions[window] {
                windows.count[window] = windows.count[window].saturating_add(count);
                windows.sum[window] = saturate(i128::from(windows.sum[window]) + sum);
            }
            any |= count > 0;
        }
        any
    }

    /// The newest evicted event of this transaction identity.
    pub fn original(&self, transaction: Identity) -> Option<Event> {
        self.originals.get(&transaction).copied()
    }
}

impl Stored for Excess {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, self.panes.len());
        for (hour, (count, sum)) in &self.panes {
            out.put_i64_le(*hour);
            out.put_u32_le(*count);
            out.put_i128_le(*sum);
        }
        put_length(out, self.evicted.len());
        for (t, transaction, offset) in &self.evicted {
            out.put_i64_le(*t);
            out.put_u64_le(transaction.0);
            out.put_i64_le(*offset);
        }
        let mut originals: Vec<&Event> = self.originals.values().collect();
        originals.sort_unstable_by_key(|event| event.offset);
        put_length(out, originals.len());
        originals.iter().for_each(|event| event.put(out));
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let mut excess = Self::default();
        for _ in 0..take_length(from, 28)? {
            let hour = from.try_get_i64_le()?;
            if excess.panes.last_key_value().is_some_and(|(last, _)| *last >= hour) || hour.abs() > MOST_HOURS {
                return Err(Damaged("hourly panes are out of order"));
            }
            excess.panes.insert(hour, (from.try_get_u32_le()?, from.try_get_i128_le()?));
        }
        for _ in 0..take_length(from, 24)? {
            let (t, transaction) = (from.try_get_i64_le()?, Identity(from.try_get_u64_le()?));
            if excess.evicted.back().is_some_and(|(last, ..)| *last > t) {
                return Err(Damaged("evicted events are out of order"));
            }
            excess.evicted.push_back((t, transaction, from.try_get_i64_le()?));
        }
        for _ in 0..take_length(from, 56)? {
            let event = Event::take(from)?;
            excess.originals.insert(event.ids.transaction, event);
        }
        Ok(excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_window_leaves_nothing_behind() {
        let mut distinct = Distinct::within([true; WINDOWS]);
        distinct.enter(Identity(7), [false; WINDOWS]);
        assert!(distinct.held.is_empty());
        distinct.enter(Identity(7), [false, false, false, false, true]);
        assert_eq!(distinct.with(Identity(8)), [1, 1, 1, 1, 2]);
        distinct.leave(Identity(7), WINDOWS - 1);
        assert!(distinct.held.is_empty());
    }
}
