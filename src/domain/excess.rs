//! What a ring's cap pushed out: hourly panes for the longer windows, and the originals that duplicates may still name. State, as
//! the ring is.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut};

use super::{
    amount::Currency,
    hot::Map,
    identity::Identity,
    ring::Event,
    rules::{Rules, WINDOWS_MS},
    stored::{Damaged, Stored, put_length, take_length},
    time::HOUR_MS,
    window::{Windows, saturate},
};

/// The first window that panes serve: 24 h. Shorter ones saturate.
const FIRST_PANED: usize = 3;

/// Hours that no event time reaches: a pane there is damage, not traffic.
const MOST_HOURS: i64 = 1 << 32;

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

    /// Forgets panes that ended at or before `expired`, and originals up to `forgotten`.
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
