//! Agents and merchants: running totals over a large ring.
//!
//! They are a cache: dropping and rebuilding them changes no result. Each event enters and leaves each window once, so a step in
//! order is amortised O(number of windows); the one at which devices begin to be counted is O(events), once.

use std::hint::black_box;

use hashbrown::{HashMap, hash_map::Entry};

use super::{
    amount::Currency,
    identity::{Identities, Identity},
    ring::{Event, Ring},
    rules::{Counted, WINDOWS, WINDOWS_MS},
    window::{Windows, only, saturate},
};

/// Originals that are forgotten together.
const FORGOTTEN_AT_ONCE: usize = 32;

pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Running totals as of one moment.
#[derive(Clone, Debug)]
pub struct Totals {
    as_of: i64,
    /// The windows of which transactions and their sums are told.
    transactions: [bool; WINDOWS],
    /// The windows in which anything is counted: no other is followed, and nothing of it is told.
    followed: [bool; WINDOWS],
    /// Per followed window, the ring index of its oldest event.
    from: [usize; WINDOWS],
    sum: [i128; WINDOWS],
    counterparties: Distinct,
    devices: Distinct,
    places: Distinct,
    /// The ring index from which on originals are held: duplicates may name them still, but for a few of the oldest.
    remembered: usize,
    /// Of those, the time of the newest event of each transaction identity: where the ring has it.
    originals: Map<Identity, i64>,
}

/// How often each identity is in each window that is counted.
#[derive(Clone, Debug)]
struct Distinct {
    counted: [bool; WINDOWS],
    held: [Map<Identity, u32>; WINDOWS],
}

impl Totals {
    /// Builds totals of what is `counted` over `ring`, as of its newest event.
    pub fn build(ring: &Ring, counted: Counted, home: Currency) -> Self {
        let as_of = ring.len().checked_sub(1).map_or(i64::MIN, |newest| ring.time(newest));
        let mut totals = Self {
            as_of,
            transactions: counted.transactions,
            followed: [false; WINDOWS],
            from: [0; WINDOWS],
            sum: [0; WINDOWS],
            counterparties: Distinct::within(counted.counterparties),
            devices: Distinct::within(counted.devices),
            places: Distinct::within(counted.places),
            remembered: 0,
            originals: Map::default(),
        };
        totals.start(ring, counted.anywhere());
        for index in 0..ring.len() {
            let event = ring.get(index);
            totals.originals.insert(event.ids.transaction, event.t);
            totals.count_in(&event, totals.holding(index), home);
        }
        totals
    }

    /// Whether the totals can serve a question as of `a`: not before the last one.
    pub fn reaches(&self, a: i64) -> bool {
        a >= self.as_of
    }

    /// Whether devices are counted wherever they are in `counted`.
    pub fn has_devices(&self, counted: &Counted) -> bool {
        self.devices.counted == counted.devices
    }

    /// From now on devices are counted too, wherever they are in `counted`.
    pub fn count_devices(&mut self, ring: &Ring, counted: &Counted) {
        self.devices = Distinct::within(counted.devices);
        let more = std::array::from_fn(|window| counted.devices[window] && !self.followed[window]);
        self.start(ring, more);
        for (index, event) in ring.range(0..ring.len()).enumerate() {
            self.devices.enter(event.ids.device, self.holding(index));
        }
    }

    /// Follows these windows, too.
    fn start(&mut self, ring: &Ring, windows: [bool; WINDOWS]) {
        for window in (0..WINDOWS).filter(|window| windows[*window]) {
            self.from[window] = ring.position_after(self.as_of.saturating_sub(WINDOWS_MS[window]));
            self.followed[window] = true;
        }
    }

    /// The followed windows that hold the ring's event at `index`.
    fn holding(&self, index: usize) -> [bool; WINDOWS] {
        std::array::from_fn(|window| self.followed[window] && index >= self.from[window])
    }

    /// Moves every window's start forward to `a`.
    pub fn advance(&mut self, ring: &Ring, a: i64, home: Currency) {
        self.as_of = a;
        let followed = self.followed;
        for window in (0..WINDOWS).filter(|window| followed[*window]) {
            let start = a - WINDOWS_MS[window];
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
            Identity::ABSENT => self.counterparties.distinct(),
            other => self.counterparties.with(other),
        };
        Windows {
            count: only(self.transactions, self.from.map(|from| (ring.len() - from) as u32 + 1)),
            sum: only(self.transactions, self.sum.map(|sum| saturate(sum + own))),
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
        let inside = std::array::from_fn(|window| self.followed[window] && event.t > self.as_of - WINDOWS_MS[window]);
        for window in (0..WINDOWS).filter(|window| self.followed[*window] && !inside[*window]) {
            // What lies before a window's start shifts it.
            self.from[window] += 1;
        }
        self.originals.insert(event.ids.transaction, event.t);
        self.count_in(event, inside, home);
    }

    /// Lets go of the ring's oldest event, which the ring no longer holds.
    pub fn removed_oldest(&mut self, event: &Event, home: Currency) {
        for window in 0..WINDOWS {
            if self.from[window] > 0 {
                self.from[window] -= 1;
            } else if self.followed[window] {
                self.leave(event, window, home);
            }
        }
        if self.remembered > 0 {
            self.remembered -= 1;
        } else {
            self.forget_original(event);
        }
    }

    /// Forgets originals up to `horizon`, which no duplicate names any more: many at once, whose memory is waited for together.
    pub fn forget(&mut self, ring: &Ring, horizon: i64) {
        while ring.len() >= self.remembered + FORGOTTEN_AT_ONCE
            && ring.time(self.remembered + FORGOTTEN_AT_ONCE - 1) <= horizon
        {
            let until = self.remembered + FORGOTTEN_AT_ONCE;
            ring.range(self.remembered..until).for_each(|event| self.forget_original(&event));
            self.remembered = until;
        }
    }

    fn forget_original(&mut self, event: &Event) {
        if let Entry::Occupied(newest) = self.originals.entry(event.ids.transaction)
            && *newest.get() == event.t
        {
            newest.remove();
        }
    }

    /// Loads what an event of these identities will meet: the events about to leave windows, and the entries of their counterparties
    /// and its own.
    pub fn fetch(&self, ring: &Ring, ids: &Identities) {
        let of_window: [_; WINDOWS] = std::array::from_fn(|window| {
            let (held, oldest) = (&self.counterparties.held[window], self.from[window]);
            let leaving = (oldest < ring.len()).then(|| ring.get(oldest));
            let left = leaving.and_then(|event| held.get(&event.ids.counterparty));
            (leaving.map(|event| event.t), left, held.get(&ids.counterparty))
        });
        black_box((of_window, self.originals.get(&ids.transaction)));
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        let tables = |distinct: &Distinct| distinct.held.iter().map(Map::allocation_size).sum::<usize>();
        let distinct = tables(&self.counterparties) + tables(&self.devices) + tables(&self.places);
        distinct + self.originals.allocation_size()
    }

    /// The newest event of this transaction identity in the ring, while it is remembered.
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
        Self { counted, held: Default::default() }
    }

    fn enter(&mut self, identity: Identity, inside: [bool; WINDOWS]) {
        for window in (0..WINDOWS).filter(|window| inside[*window] && self.counted[*window]) {
            *self.held[window].entry(identity).or_default() += 1;
        }
    }

    fn leave(&mut self, identity: Identity, window: usize) {
        if !self.counted[window] {
            return;
        }
        if let Entry::Occupied(mut held) = self.held[window].entry(identity) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// How many there are in each window.
    fn distinct(&self) -> [u32; WINDOWS] {
        std::array::from_fn(|window| self.held[window].len() as u32)
    }

    /// The same with one more.
    fn with(&self, identity: Identity) -> [u32; WINDOWS] {
        let new = |window: usize| self.counted[window] && !self.held[window].contains_key(&identity);
        let distinct = self.distinct();
        std::array::from_fn(|window| distinct[window] + u32::from(new(window)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{amount::AmountMinor, ring::Money};
    use super::*;

    #[test]
    fn originals_are_held_as_long_as_duplicates_may_name_them_and_a_few_more() {
        let mut ring = Ring::default();
        let event = |t: i64| Event {
            t,
            offset: t,
            ids: Identities { transaction: Identity(t as u64 + 1), ..Identities::ABSENT },
            money: Money::new(AmountMinor(1), Currency::KES, false),
        };
        (0..1_000).for_each(|t| _ = ring.insert(&event(t)));
        let mut totals = Totals::build(&ring, Counted::ALL, Currency::KES);
        assert_eq!(totals.originals.len(), 1_000);
        totals.forget(&ring, 899);
        assert!((100..100 + FORGOTTEN_AT_ONCE).contains(&totals.originals.len()), "{}", totals.originals.len());
        assert_eq!(totals.original(&ring, Identity(901)).map(|event| event.t), Some(900));
        assert_eq!(totals.original(&ring, Identity(1)), None);
        while let Some(oldest) = ring.pop_oldest() {
            totals.removed_oldest(&oldest, Currency::KES);
        }
        assert!(totals.originals.is_empty() && totals.places.held.iter().all(Map::is_empty));
        assert_eq!((totals.from, totals.sum, totals.remembered), ([0; WINDOWS], [0; WINDOWS], 0));
    }

    #[test]
    fn what_is_in_no_window_leaves_nothing_behind() {
        let is_empty = |distinct: &Distinct| distinct.held.iter().all(Map::is_empty);
        let mut distinct = Distinct::within([true; WINDOWS]);
        distinct.enter(Identity(7), [false; WINDOWS]);
        assert!(is_empty(&distinct));
        distinct.enter(Identity(7), [false, false, false, false, true]);
        assert_eq!(distinct.with(Identity(8)), [1, 1, 1, 1, 2]);
        distinct.leave(Identity(7), WINDOWS - 1);
        assert!(is_empty(&distinct));
    }
}
