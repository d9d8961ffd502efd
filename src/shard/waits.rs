//! How long the oldest of what waits has waited, without asking a clock for each record: a mark now and then says that
//! all below an offset was there by that time. What is below the oldest mark and not yet through has waited since it.
//!
//! Invariant: never more than the truth, and at most the time between two looks less, as long as marks are few; of very
//! many, every second is dropped, and the error doubles with the age.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::{context::Ends, slot::Slot};
use crate::telemetry::{Delay, Metrics};

/// Looked at each second, they reach back a minute before any is dropped.
const MOST_MARKS: usize = 64;

/// Marks of one kind of thing that waits in the order of its offsets.
#[derive(Debug, Default)]
pub struct Waits {
    marks: VecDeque<(i64, Instant)>,
}

impl Waits {
    /// What waits now, `None` for nothing; how long the oldest of it has waited at least.
    pub fn look(&mut self, waiting: Option<Range<i64>>, now: Instant) -> Duration {
        let Some(Range { start, end }) = waiting else {
            self.marks.clear();
            return Duration::ZERO;
        };
        while self.marks.front().is_some_and(|(end, _)| *end <= start) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|(marked, _)| *marked < end) {
            self.marks.push_back((end, now));
        }
        if self.marks.len() > MOST_MARKS {
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        self.marks.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }
}

/// What a partition's records and verdicts wait for.
#[derive(Debug, Default)]
pub struct Delays {
    verdicts: Waits,
    records: Waits,
    /// As the client last told them.
    ends: Option<Ends>,
    /// Whether the end was asked for.
    pub asked: bool,
}

impl Delays {
    /// The partition ends there, or further on by now.
    pub fn ends_at(&mut self, end: i64) {
        if let Some(ends) = &mut self.ends {
            ends.end = ends.end.max(end);
            ends.stable = ends.stable.max(end);
        }
    }
}

impl Slot {
    /// The client told anew where the partition ends.
    pub fn note_ends(&mut self, ends: Ends) {
        // Of a paused partition the client knows an older end, of one without a leader none.
        let known = self.delays.ends.filter(|_| self.throttled || ends.end < 0);
        self.delays.ends = Some(ends);
        if let Some(Ends { end, .. }) = known {
            self.delays.ends_at(end);
        }
    }

    /// How late the partition is, told to the metrics too; `None` before there is a state.
    pub fn delay(&mut self, now: Instant, most: Option<Duration>, metrics: &Metrics) -> Option<Delay> {
        let waiting = self.undelivered_span();
        let engine = self.engine.as_ref()?;
        let verdicts = self.delays.verdicts.look(waiting, now);
        let unknown = Ends { end: 0, stable: 0, taken: 0, away: false };
        let ends = self.delays.ends.unwrap_or(unknown);
        // Behind the last record there may be marks of transactions, which no reader is given.
        let taken = engine.next().max(ends.taken);
        let records = self.delays.records.look((taken < ends.end).then_some(taken..ends.end), now);
        if self.delays.ends.is_some() {
            metrics.partition_at(self.partition, ends.end - taken, engine.watermark().map_or(0, |at| at.0));
        }
        metrics.delays(self.partition, verdicts, records);
        Some(Delay {
            partition: self.partition,
            verdicts,
            records,
            late: most.is_some_and(|most| records > most),
            in_transaction: taken >= ends.stable && ends.stable < ends.end,
            paused: self.throttled,
            away: ends.away,
        })
    }

    /// The input offsets whose verdicts wait, from the oldest to the newest.
    fn undelivered_span(&self) -> Option<Range<i64>> {
        let held = |held: Option<&super::slot::Held>| held.map(|held| held.source);
        let oldest = self.inflight.front().copied().or_else(|| held(self.held.front()))?;
        let newest = held(self.held.back()).or_else(|| self.inflight.back().copied())?;
        Some(oldest..newest + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_told_is_never_more_than_the_truth_and_little_less(
            steps in proptest::collection::vec((0_i64..30, 0_i64..30), 1..400),
        ) {
            let began = Instant::now();
            let second = Duration::from_secs(1);
            let mut waits = Waits::default();
            // When each offset came: the naive truth. One look a second.
            let (mut came, mut done) = (Vec::new(), 0);
            for (number, (more, fewer)) in steps.into_iter().enumerate() {
                let now = began + second * number as u32;
                (0..more).for_each(|_| came.push(now));
                done = (done + fewer).min(came.len() as i64);
                let waiting = (done < came.len() as i64).then_some(done..came.len() as i64);
                let told = waits.look(waiting, now);
                let truth = came.get(done as usize).map_or(Duration::ZERO, |at| now - *at);
                prop_assert!(told <= truth);
                prop_assert!(told + truth / 8 + second >= truth, "{told:?} of {truth:?}");
            }
        }
    }

    #[test]
    fn marks_are_few_however_long_it_lasts() {
        let began = Instant::now();
        let mut waits = Waits::default();
        for second in 0..100_000 {
            let told = waits.look(Some(0..second + 1), began + Duration::from_secs(second as u64));
            assert_eq!(told.as_secs(), second as u64);
            assert!(waits.marks.len() <= MOST_MARKS);
        }
        assert_eq!(waits.look(None, began), Duration::ZERO);
    }

    #[test]
    fn the_end_of_a_paused_partition_is_the_one_that_was_asked_for() {
        let ends = |end| Ends { end, stable: end, taken: 10, away: false };
        let mut slot = Slot::new(1, 1);
        slot.note_ends(ends(100));
        slot.throttled = true;
        slot.delays.ends_at(150);
        slot.note_ends(ends(100));
        assert_eq!(slot.delays.ends, Some(ends(150)), "the client has not fetched since");
        slot.throttled = false;
        slot.note_ends(ends(-1));
        assert_eq!(slot.delays.ends, Some(ends(150)), "nobody leads it");
        slot.note_ends(ends(120));
        assert_eq!(slot.delays.ends, Some(ends(120)), "it fetches again, and knows best");
    }
}
