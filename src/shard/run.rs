//! Verdicts of one partition on their way to the producer: those that follow one another are handed over together, for the
//! client reads its clocks and looks the topic up once a call, however many records that brings.
//!
//! Invariant: what is gathered goes before anything else of its partition, and before the turn ends.

use super::{
    deliver::Verdicts,
    slot::{Held, Slot},
};

/// So many go together: few enough to stay in the nearest cache.
const MOST: usize = 32;

/// Verdicts gathered; their buffers are used again and again.
#[derive(Default)]
pub struct Run {
    partition: i32,
    /// The gathered ones, and behind them those of earlier runs.
    verdicts: Vec<Gathered>,
    count: usize,
}

/// A verdict that may go out.
#[derive(Default)]
struct Gathered {
    source: i64,
    has_key: bool,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Gathered {
    fn key(&self) -> Option<&[u8]> {
        self.has_key.then_some(&self.key)
    }
}

impl Run {
    /// The partition whose verdicts are gathered; `None` where there are none.
    pub fn partition(&self) -> Option<i32> {
        (self.count > 0).then_some(self.partition)
    }

    /// Whether a verdict of `partition` may join what is gathered.
    pub fn takes(&self, partition: i32) -> bool {
        self.count == 0 || (self.partition == partition && self.count < MOST)
    }

    /// Where the next verdict is written.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.verdicts.len() == self.count {
            self.verdicts.push(Gathered::default());
        }
        &mut self.verdicts[self.count].value
    }

    /// Gathers what was written into the room: the verdict about `source`, which the run [`Run::takes`].
    pub fn gather(&mut self, partition: i32, source: i64, key: Option<&[u8]>) {
        let Some(next) = self.verdicts.get_mut(self.count) else { return };
        next.source = source;
        next.has_key = key.is_some();
        next.key.clear();
        next.key.extend_from_slice(key.unwrap_or_default());
        self.partition = partition;
        self.count += 1;
    }

    /// Hands all of them to the producer; `slot` is their partition's. From the first that is not taken on they are held.
    pub fn hand_over(&mut self, slot: &mut Slot, verdicts: &Verdicts) {
        // Whatever happens on the way: nothing is handed over twice.
        let gathered = &self.verdicts[..std::mem::take(&mut self.count)];
        if gathered.is_empty() {
            return;
        }
        let records: Vec<_> = gathered.iter().map(|one| (one.key(), one.value.as_slice())).collect();
        let answers = verdicts.send_all(slot.partition, slot.generation, &records);
        for (Gathered { source, value, .. }, ((key, _), answer)) in gathered.iter().zip(records.iter().zip(answers)) {
            if !slot.is_sent(answer, *source) {
                let (key, value) = (key.map(<[u8]>::to_vec), value.clone());
                slot.held.push_back(Held { source: *source, key, value, trace: Vec::new(), letter: None });
            }
        }
    }

    /// Gathers anew.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Inputs},
        shard::deliver::producer_settings,
    };

    /// A run of verdicts about these offsets of partition 3.
    fn gathered(sources: std::ops::Range<i64>) -> Run {
        let mut run = Run::default();
        for source in sources {
            assert!(run.takes(3));
            *run.room() = format!("v{source}").into_bytes();
            run.gather(3, source, (source % 2 == 0).then_some(b"+254712345678"));
        }
        run
    }

    /// A producer without a broker that has room for so many records.
    fn verdicts(room: usize) -> Verdicts {
        let config = Config::load(&Inputs::default()).unwrap();
        let settings = producer_settings(&config).set("queue.buffering.max.messages", room.to_string()).clone();
        Verdicts::made(&settings, &config.topics.verdicts).unwrap()
    }

    #[test]
    fn from_the_first_that_is_not_taken_on_verdicts_are_held_in_order() {
        let (mut run, mut slot, verdicts) = (gathered(10..17), Slot::new(3, 1), verdicts(4));
        run.hand_over(&mut slot, &verdicts);
        assert_eq!(slot.inflight, [10, 11, 12, 13]);
        let held: Vec<_> = slot.held.iter().map(|held| (held.source, held.key.is_some(), &held.value[..])).collect();
        assert_eq!(held, [(14, true, &b"v14"[..]), (15, false, b"v15"), (16, true, b"v16")]);
        assert!(slot.refused.is_none(), "there will be room");
        assert_eq!(run.partition(), None, "nothing is handed over twice");
        run.hand_over(&mut slot, &verdicts);
        assert_eq!(slot.undelivered(), 7);
    }

    #[test]
    fn a_run_is_of_one_partition_and_ends_when_it_is_full() {
        let mut run = gathered(0..1);
        assert_eq!((run.takes(4), run.partition()), (false, Some(3)));
        run = gathered(0..MOST as i64);
        assert!(!run.takes(3));
        run.hand_over(&mut Slot::new(3, 1), &verdicts(MOST));
        assert!(run.takes(4));
    }
}
