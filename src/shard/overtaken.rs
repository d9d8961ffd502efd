//! When the client says that a place in the input is gone, without saying whose: which of the shard's partitions it is.
//! Retention may overtake a partition while it is replayed or far behind.
//!
//! Invariant: only a partition whose next record is not there is recovered anew. What was fetched before retention came
//! by is still judged, so a partition that moves is not yet given up.

use std::time::Duration;

use super::{
    Shard,
    slot::{Slot, Stage},
};
use crate::kafka::tail::Span;

/// What the input's beginning and end say of a partition.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Its next record is there, or will be.
    There,
    /// It is gone, but records fetched before may still wait.
    Perhaps,
    /// It is gone, and nothing came for a while.
    Gone,
}

/// `doubted` is the next offset when the question was asked, `next` is now's.
fn judge(doubted: i64, next: i64, span: Span) -> Found {
    match next {
        next if (span.start..=span.end).contains(&next) => Found::There,
        next if next != doubted => Found::Perhaps,
        _ => Found::Gone,
    }
}

impl Shard {
    /// Some partition's place in the input is gone: each that reads is looked at.
    pub(super) fn doubt_places(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.is_reading()) {
            if let Some(engine) = &slot.engine {
                slot.doubted = Some(engine.next());
                self.recoveries.span(slot.ticket());
            }
        }
    }

    /// Asks where the paused partitions end: nothing is fetched of them, so that the client does not hear of it.
    pub(super) fn ask_ends(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.throttled && !slot.delays.asked) {
            slot.delays.asked = true;
            self.recoveries.span(slot.ticket());
        }
    }

    /// The input's beginning and end, as asked for by [`Shard::doubt_places`] or [`Shard::ask_ends`].
    pub(super) fn placed(&mut self, partition: i32, span: Span) {
        let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.is_reading()) else { return };
        slot.delays.asked = false;
        slot.delays.ends_at(span.end);
        let Some((doubted, engine)) = slot.doubted.zip(slot.engine.as_ref()) else { return };
        let next = engine.next();
        match judge(doubted, next, span) {
            Found::There => slot.doubted = None,
            Found::Perhaps => {
                slot.doubted = Some(next);
                self.recoveries.span(slot.ticket());
            }
            Found::Gone => {
                tracing::warn!(
                    partition,
                    next,
                    start = span.start,
                    end = span.end,
                    "its next record is gone; recovering anew"
                );
                self.claim_anew(partition, Duration::from_secs(1));
            }
        }
    }
}

impl Slot {
    /// Whether it reads its input.
    fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Replaying { .. } | Stage::Live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_partition_that_stands_where_nothing_is_left_is_given_up() {
        let span = Span { start: 100, end: 200 };
        for (doubted, next, found) in [
            (150, 150, Found::There),
            (100, 100, Found::There),
            (200, 200, Found::There),
            (50, 120, Found::There),
            (50, 60, Found::Perhaps),
            (60, 60, Found::Gone),
            (201, 201, Found::Gone),
        ] {
            assert_eq!(judge(doubted, next, span), found, "{doubted} {next}");
        }
    }
}
