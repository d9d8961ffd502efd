//! The way from event to record: some are held up and arrive late, some are sent twice, some ids come back changed.
//!
//! The invariant: the draws made here are its own, so the same transactions happen with and without disorder. Memory
//! is bounded by the records under way.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{dice::Dice, event::Event, options::Disorder};
use crate::domain::time::{MINUTE_MS, SECOND_MS};

/// Whether a record bears something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The first record of its transaction.
    First,
    /// The same bytes again.
    Resend,
    /// The same id with another amount.
    Conflict,
}

/// Records under way, in order of arrival.
pub struct Arrival {
    dice: Dice,
    disorder: Disorder,
    held: BinaryHeap<Reverse<Held>>,
    sent: u64,
}

struct Held {
    arrives_ms: i64,
    number: u64,
    record: Arrived,
}

/// A record that arrives.
pub struct Arrived {
    /// What happened.
    pub event: Event,
    /// Whether it bears something new.
    pub repeat: Repeat,
    /// Whether none of its transaction arrived before it: a repetition may overtake a first record that is held up.
    pub earliest: bool,
}

/// Mean time until a record is sent again.
const RESEND_MEAN_MS: f64 = 3.0 * MINUTE_MS as f64;

impl Arrival {
    /// Nothing under way yet.
    pub fn new(seed: u64, disorder: Disorder) -> Self {
        Self { dice: Dice::new(seed ^ 0x6172_7269_7661_6c00), disorder, held: BinaryHeap::new(), sent: 0 }
    }

    /// Whether a held record arrives before `at_ms`.
    pub fn is_due(&self, at_ms: i64) -> bool {
        self.held.peek().is_some_and(|Reverse(held)| held.arrives_ms <= at_ms)
    }

    /// The next held record.
    pub fn pop(&mut self) -> Option<Arrived> {
        self.held.pop().map(|Reverse(held)| held.record)
    }

    /// Sends an event off; `Some` if it arrives at once.
    pub fn send(&mut self, event: Event) -> Option<Arrived> {
        let resent = self.dice.chance(self.disorder.duplicates).then(|| (event, self.again_after_ms()));
        let changed = self.dice.chance(self.disorder.conflicts).then(|| {
            let amount_minor = event.amount_minor + 100 * self.dice.between(1, 500);
            (Event { amount_minor, ..event }, self.again_after_ms())
        });
        let is_late = self.dice.chance(self.disorder.late_share);
        let late_ms = is_late.then(|| self.dice.exponential(self.disorder.late_spread_ms as f64) as i64);
        let sent = [
            resent.map(|(event, delay_ms)| (event, delay_ms, Repeat::Resend)),
            changed.map(|(event, delay_ms)| (event, delay_ms, Repeat::Conflict)),
            late_ms.map(|delay_ms| (event, delay_ms, Repeat::First)),
        ];
        let delays_ms = sent.iter().flatten().map(|(_, delay_ms, _)| *delay_ms);
        let mut least_ms = delays_ms.min().filter(|_| is_late);
        for (event, delay_ms, repeat) in sent.into_iter().flatten() {
            let earliest = least_ms.take_if(|least_ms| *least_ms == delay_ms).is_some();
            self.sent += 1;
            let record = Arrived { event, repeat, earliest };
            self.held.push(Reverse(Held { arrives_ms: event.at_ms + delay_ms, number: self.sent, record }));
        }
        (!is_late).then_some(Arrived { event, repeat: Repeat::First, earliest: true })
    }

    fn again_after_ms(&mut self) -> i64 {
        SECOND_MS + self.dice.exponential(RESEND_MEAN_MS) as i64
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrives_ms, self.number).cmp(&(other.arrives_ms, other.number))
    }
}
