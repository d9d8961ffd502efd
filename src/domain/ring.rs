//! A phone's recent events, sorted by (event time, offset), 50 bytes each.
//!
//! Times are kept as 32-bit milliseconds above a base: the ring never spans more than the longest window and the
//! lateness, which the settings hold below 40 days. Not the place of any rule: what enters and leaves is `history`'s.

use std::{collections::VecDeque, ops::Range};

use bytes::{Buf, BufMut};

use super::{
    amount::{AmountMinor, Currency},
    identity::{Identities, Identity},
    prefetch::prefetch,
    stored::{Damaged, Stored, put_length, take_length},
    time::DAY_MS,
};

/// One inserted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Event time t, milliseconds.
    pub t: i64,
    /// Input offset.
    pub offset: i64,
    /// Who and what, hashed.
    pub ids: Identities,
    /// Amount, currency and whether it is a reversal.
    pub money: Money,
}

/// Amount (47 bits), currency (15 bits) and reversal (1 bit) in one word: what a conflict differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money(u64);

impl Money {
    /// Packs the three.
    pub fn new(amount: AmountMinor, currency: Currency, reversal: bool) -> Self {
        Self((amount.0 as u64) << 16 | u64::from(currency.to_bits()) << 1 | u64::from(reversal))
    }

    /// The amount in minor units of its own currency.
    pub fn minor(self) -> i64 {
        (self.0 >> 16) as i64
    }

    /// The amount that enters sums: home currency only, and no reversal.
    pub fn summed(self, home: Currency) -> Option<i64> {
        (self.0 & 0xFFFF == u64::from(home.to_bits()) << 1).then(|| self.minor())
    }

    /// Equal amount and currency, as a duplicate must have.
    pub fn same_value(self, other: Self) -> bool {
        self.0 >> 1 == other.0 >> 1
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
struct Packed {
    transaction: u64,
    counterparty: u64,
    device: u64,
    place: u64,
    money: u64,
    above_base: u32,
    offset: [u16; 3],
}

/// Bytes of an event, in memory and in a snapshot.
const PACKED: usize = 50;

const _: () = assert!(size_of::<Packed>() == PACKED);

/// How far below the oldest event the base is set, so that stragglers seldom move it.
const BASE_SLACK_MS: i64 = DAY_MS;

/// Beyond any event time of RFC 3339 (year 9999), in milliseconds.
const MOST_BASE: i64 = 1 << 48;

/// Rings of at most this capacity keep their room till they are empty.
const SMALL: usize = 64;

/// The sorted events of one phone.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    base: i64,
    events: VecDeque<Packed>,
}

impl Ring {
    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event time at `index`, oldest first.
    pub fn time(&self, index: usize) -> i64 {
        self.time_of(&self.events[index])
    }

    /// The event at `index`, oldest first.
    pub fn get(&self, index: usize) -> Event {
        self.unpack(&self.events[index])
    }

    /// The oldest event's time.
    pub fn oldest(&self) -> Option<i64> {
        self.events.front().map(|packed| self.time_of(packed))
    }

    /// Has the oldest event and the newest `most` fetched.
    pub fn fetch(&self, most: usize) {
        let (earlier, later) = self.events.as_slices();
        prefetch(&earlier[..earlier.len().min(1)]);
        prefetch(&later[later.len().saturating_sub(most)..]);
        prefetch(&earlier[earlier.len().saturating_sub(most.saturating_sub(later.len()))..]);
    }

    /// The events up to time `t`, newest first.
    pub fn newest_first(&self, t: i64) -> impl Iterator<Item = Event> + '_ {
        self.events.range(..self.position_after(t)).rev().map(|packed| self.unpack(packed))
    }

    /// The newest event later than `t` of this transaction identity.
    pub fn newest_of(&self, transaction: Identity, t: i64) -> Option<Event> {
        let mut later = self.events.iter().rev().take_while(|packed| self.time_of(packed) > t);
        later.find(|packed| packed.transaction == transaction.0).map(|packed| self.unpack(packed))
    }

    /// The events in these places, oldest first.
    pub fn range(&self, places: Range<usize>) -> impl Iterator<Item = Event> + '_ {
        self.events.range(places).map(|packed| self.unpack(packed))
    }

    /// Inserts after every event of the same or an earlier time; events come in offset order, so ties sort by it.
    pub fn insert(&mut self, event: &Event) -> usize {
        self.fit(event.t);
        let position = self.position_after(event.t);
        self.make_room();
        self.events.insert(position, self.pack(event));
        position
    }

    /// Where an event of time `t` would go.
    pub fn position_after(&self, t: i64) -> usize {
        let len = self.len();
        if len == 0 || self.time(len - 1) <= t {
            return len;
        }
        self.events.partition_point(|packed| self.time_of(packed) <= t)
    }

    /// Removes and returns the oldest event.
    pub fn pop_oldest(&mut self) -> Option<Event> {
        let packed = self.events.pop_front()?;
        self.give_back();
        Some(self.unpack(&packed))
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match self.events.capacity() {
            0 => 0,
            capacity => size_class(capacity * size_of::<Packed>()),
        }
    }

    /// Grows to fill the allocator's next size class, not by doubling: most phones have a handful of events.
    fn make_room(&mut self) {
        if self.events.len() == self.events.capacity() {
            let wanted = size_class((self.len() + 1) * size_of::<Packed>()) / size_of::<Packed>();
            self.events.reserve_exact(wanted - self.len());
        }
    }

    /// Gives room back once three quarters stand empty: a phone that was busy for a day is not paid for till it is gone.
    fn give_back(&mut self) {
        if self.events.is_empty() {
            self.events = VecDeque::new();
        } else if self.events.capacity() > SMALL && self.events.len() < self.events.capacity() / 4 {
            let wanted = size_class(self.len() * 2 * size_of::<Packed>()) / size_of::<Packed>();
            self.events.shrink_to(wanted);
        }
    }

    /// Moves the base where `t` would not fit above it.
    fn fit(&mut self, t: i64) {
        if self.is_empty() {
            self.base = t - BASE_SLACK_MS;
        } else if u32::try_from(t - self.base).is_err() {
            let oldest = self.time(0).min(t);
            let base = oldest - BASE_SLACK_MS;
            let shift = self.base - base;
            for packed in &mut self.events {
                packed.above_base = above(i64::from(packed.above_base) + shift);
            }
            self.base = base;
        }
    }

    fn time_of(&self, packed: &Packed) -> i64 {
        self.base + i64::from(packed.above_base)
    }

    fn pack(&self, event: &Event) -> Packed {
        let offset = event.offset as u64;
        Packed {
            transaction: event.ids.transaction.0,
            counterparty: event.ids.counterparty.0,
            device: event.ids.device.0,
            place: event.ids.place.0,
            money: event.money.0,
            above_base: above(event.t - self.base),
            offset: [offset as u16, (offset >> 16) as u16, (offset >> 32) as u16],
        }
    }

    fn unpack(&self, packed: &Packed) -> Event {
        let [low, middle, high] = packed.offset;
        Event {
            t: self.time_of(packed),
            offset: i64::from(low) | i64::from(middle) << 16 | i64::from(high) << 32,
            ids: Identities {
                transaction: Identity(packed.transaction),
                counterparty: Identity(packed.counterparty),
                device: Identity(packed.device),
                place: Identity(packed.place),
            },
            money: Money(packed.money),
        }
    }
}

impl Packed {
    fn to_bytes(self) -> [u8; PACKED] {
        let mut bytes = [0; PACKED];
        let words = [self.transaction, self.counterparty, self.device, self.place, self.money];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&{ self.above_base }.to_le_bytes());
        for (to, word) in bytes[44..].chunks_exact_mut(2).zip(self.offset) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; PACKED]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self {
            transaction: word(0),
            counterparty: word(8),
            device: word(16),
            place: word(24),
            money: word(32),
            above_base: u32::from_le_bytes(std::array::from_fn(|byte| bytes[40 + byte])),
            offset: [half(44), half(46), half(48)],
        }
    }
}

impl Stored for Ring {
    fn put(&self, out: &mut Vec<u8>) {
        // Where the base stands tells of pruning, which never shows: equal rings are equal bytes.
        let base = self.oldest().map_or(0, |oldest| oldest - BASE_SLACK_MS);
        let shift = self.base - base;
        out.put_i64_le(base);
        put_length(out, self.len());
        out.reserve(self.len() * PACKED);
        for packed in &self.events {
            let packed = Packed { above_base: above(i64::from(packed.above_base) + shift), ..*packed };
            out.extend_from_slice(&packed.to_bytes());
        }
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let base = from.try_get_i64_le()?;
        let length = take_length(from, PACKED)?;
        let (bytes, rest) = from.split_at(length * PACKED);
        *from = rest;
        if !(0..=MOST_BASE).contains(&base.saturating_add(BASE_SLACK_MS)) {
            return Err(Damaged("a ring begins before 1970 or beyond all time"));
        }
        let mut events = Vec::with_capacity(size_class(bytes.len()) / PACKED);
        events.extend(bytes.as_chunks().0.iter().map(Packed::from_bytes));
        if !events.is_sorted_by_key(|packed: &Packed| packed.above_base) {
            return Err(Damaged("a ring's events are out of order"));
        }
        if events.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { base, events: events.into() })
    }
}

impl Stored for Event {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_i64_le(self.t);
        out.put_i64_le(self.offset);
        let Identities { transaction, counterparty, device, place } = self.ids;
        [transaction, counterparty, device, place].iter().for_each(|id| out.put_u64_le(id.0));
        out.put_u64_le(self.money.0);
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let (t, offset) = (from.try_get_i64_le()?, from.try_get_i64_le()?);
        let mut identity = || from.try_get_u64_le().map(Identity);
        let ids =
            Identities { transaction: identity()?, counterparty: identity()?, device: identity()?, place: identity()? };
        Ok(Self { t, offset, ids, money: Money(from.try_get_u64_le()?) })
    }
}

fn above(ms: i64) -> u32 {
    // The settings bound lateness so that a ring spans less than 2^32 ms (see the module's head).
    u32::try_from(ms).expect("a ring spans less than 49 days: lateness is bounded by the settings")
}

/// The allocator's size class that holds `bytes`: four classes a doubling, as jemalloc has them.
pub fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16).max(16);
    }
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_the_allocator() {
        for (bytes, class) in
            [(1, 16), (50, 64), (129, 160), (160, 160), (161, 192), (513, 640), (1_000, 1_024), (1_025, 1_280)]
        {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }

    #[test]
    fn a_ring_gives_its_room_back_when_a_busy_phone_falls_quiet() {
        let ids = Identities { transaction: Identity(1), ..Identities::ABSENT };
        let money = Money::new(AmountMinor(1), Currency::KES, false);
        let mut ring = Ring::default();
        (0..20_000).for_each(|t| _ = ring.insert(&Event { t, offset: t, ids, money }));
        let full = ring.heap_bytes();
        while ring.len() > 10 {
            let oldest = ring.oldest();
            assert_eq!(ring.pop_oldest().map(|event| event.t), oldest);
            assert!(ring.heap_bytes() <= 4 * 64 * 50 || ring.heap_bytes() <= ring.len() * 50 * 5, "{}", ring.len());
        }
        assert!(full > 1_000_000 && ring.heap_bytes() < 6_000, "{full} {}", ring.heap_bytes());
        assert_eq!(
            ring.newest_first(i64::MAX).map(|event| event.t).collect::<Vec<_>>(),
            Vec::from_iter((19_990..20_000).rev())
        );
    }
}
