//! When verdicts go out, and when a snapshot counts: what an owner decides from its own queues alone.
//!
//! Invariant: verdicts go out in the order of their records, each behind its dead letter; a snapshot counts once every
//! verdict below its end is acknowledged.

use std::collections::VecDeque;

/// Sends what is held, in order: up to the first that waits for its dead letter, or that finds no room, `sent` being
/// false then.
pub fn release<T>(held: &mut VecDeque<T>, mut waits: impl FnMut(&T) -> bool, mut sent: impl FnMut(&T) -> bool) {
    while held.front().is_some_and(|first| !waits(first) && sent(first)) {
        held.pop_front();
    }
}

/// Whether every verdict about an input offset below `end` is acknowledged: `inflight` is the first that awaits its
/// acknowledgement, `held` the first that has not gone out.
pub fn is_delivered_below(end: i64, inflight: Option<i64>, held: Option<i64>) -> bool {
    inflight.into_iter().chain(held).all(|source| source >= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_goes_out_in_order_behind_its_dead_letter_and_only_where_there_is_room() {
        let run = |waiting: &[i64], room: usize| {
            let mut held: VecDeque<i64> = (1..=5).collect();
            let mut out = Vec::new();
            let send = |source: &i64| {
                let sent = out.len() < room;
                if sent {
                    out.push(*source);
                }
                sent
            };
            release(&mut held, |source| waiting.contains(source), send);
            (out, held.len())
        };
        assert_eq!(run(&[], 9), (vec![1, 2, 3, 4, 5], 0));
        assert_eq!(run(&[3], 9), (vec![1, 2], 3));
        assert_eq!(run(&[1], 9), (vec![], 5));
        assert_eq!(run(&[4], 2), (vec![1, 2], 3));
    }

    #[test]
    fn nothing_below_the_end_may_be_under_way() {
        for (inflight, held, delivered) in [
            (None, None, true),
            (Some(7), None, true),
            (Some(6), None, false),
            (None, Some(6), false),
            (Some(7), Some(8), true),
            (Some(6), Some(9), false),
        ] {
            assert_eq!(is_delivered_below(7, inflight, held), delivered, "{inflight:?} {held:?}");
        }
    }
}
