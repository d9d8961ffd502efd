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
    event: Event,
    repeat: Repeat,
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
    pub fn pop(&mut self) -> Option<(Event, Repeat)> {
        self.held.pop().map(|Reverse(held)| (held.event, held.repeat))
    }

    /// Sends an event off; `Some` if it arrives at once.
    pub fn send(&mut self, event: Event) -> Option<Event> {
        if self.dice.chance(self.disorder.duplicates) {
            self.repeat(event, Repeat::Resend);
        }
        if self.dice.chance(self.disorder.conflicts) {
            let amount_minor = event.amount_minor + 100 * self.dice.between(1, 500);
            self.repeat(Event { amount_minor, ..event }, Repeat::Conflict);
        }
        if !self.dice.chance(self.disorder.late_share) {
            return Some(event);
        }
        let delay_ms = self.dice.exponential(self.disorder.late_spread_ms as f64) as i64;
        self.hold(event, event.at_ms + delay_ms, Repeat::First);
        None
    }

    /// A repetition may overtake a first record that is held up: then it is the first that arrives.
    fn repeat(&mut self, event: Event, repeat: Repeat) {
        let delay_ms = SECOND_MS + self.dice.exponential(RESEND_MEAN_MS) as i64;
        self.hold(event, event.at_ms + delay_ms, repeat);
    }

    fn hold(&mut self, event: Event, arrives_ms: i64, repeat: Repeat) {
        self.sent += 1;
        self.held.push(Reverse(Held { arrives_ms, number: self.sent, event, repeat }));
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
