//! One owned partition: its stage, its state, and the verdicts under way.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::error::KafkaError;

use super::{recover::Ticket, waits::Delays};
use crate::engine::{
    chain::Chain, checkpoint::Checkpoint, decisions::Decisions, delivery::is_delivered_below, partition::Partition,
    settle::Witness,
};

/// Where a partition is on its way from assigned to live and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An owner record must be appended (again, from `at` on).
    Claiming {
        /// When to append it.
        at: Instant,
    },
    /// `recover` looks whom the partition comes from.
    Looking,
    /// The owner record awaits its acknowledgement.
    Claimed,
    /// `recover` reads the verdict partition up to the epoch.
    Settling,
    /// Records up to `last` (h) are replayed silently.
    Replaying {
        /// h.
        last: i64,
        /// How many were replayed so far.
        replayed: u64,
    },
    /// Verdicts go out.
    Live,
    /// A jump: nothing new goes out until what lies from `from` on is read.
    Checking {
        /// The first offset not known to be ours.
        from: i64,
        /// Whether `recover` was asked.
        asked: bool,
        /// h and how many were replayed, where replay goes on afterwards: its `lost` record was acknowledged so.
        replaying: Option<(i64, u64)>,
    },
    /// A newer owner was seen; from `at` on the group is asked whether the partition is still ours.
    Fenced {
        /// When to ask.
        at: Instant,
    },
    /// `recover` asks the group whether the partition is still ours.
    Asking,
    /// Nothing new is taken: what is under way is acknowledged, then the partition is given up.
    Leaving {
        /// Whether every acknowledgement so far was contiguous.
        clean: bool,
    },
    /// It has no verdict partition of its number: it is claimed once it has.
    Peerless,
    /// Not served until someone acts, and this process is started again.
    Refused,
}

/// A verdict that cannot go out yet.
#[derive(Debug)]
pub struct Held {
    /// Input offset.
    pub source: i64,
    /// Kafka key.
    pub key: Option<Vec<u8>>,
    /// The verdict's JSON.
    pub value: Vec<u8>,
    /// Trace headers passed through.
    pub trace: Vec<(String, Vec<u8>)>,
    /// The dead letter that must be acknowledged first.
    pub letter: Option<u64>,
}

/// Where the program failed on a record.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The record's offset.
    pub offset: i64,
    /// The place in the code.
    pub place: String,
}

/// One owned partition.
pub struct Slot {
    /// The partition.
    pub partition: i32,
    /// Tells this ownership's acknowledgements from earlier ones'.
    pub generation: usize,
    /// Where it is.
    pub stage: Stage,
    /// Window state; `None` until replay begins.
    pub engine: Option<Partition>,
    /// Decisions that duplicates may repeat.
    pub decisions: Decisions,
    /// Records that are not applied, for the program failed on them: in replay by their verdicts, above h by crashes
    /// in this process.
    pub given_up: BTreeSet<i64>,
    /// The verdict that replay is held against.
    pub witness: Option<Witness>,
    /// The record that the program failed on just now; the state went with it.
    pub crash: Option<Crash>,
    /// The ownership's acknowledgements.
    pub chain: Option<Chain>,
    /// `previous_offset` of the next verdict.
    pub previous: i64,
    /// Input offset of the last acknowledged or settled verdict, -1 before the partition's first.
    pub delivered: i64,
    /// Input offsets of verdicts that await acknowledgement.
    pub inflight: VecDeque<i64>,
    /// Verdicts that cannot go out yet, in order.
    pub held: VecDeque<Held>,
    /// Why the first held verdict is not taken, where waiting will not help; the turn acts on it.
    pub refused: Option<KafkaError>,
    /// Whether the partition is paused for its undelivered verdicts.
    pub throttled: bool,
    /// When it is placed anew, for an error came in place of its records: until then none is taken, for the client may pass
    /// some over.
    pub astray: Option<Instant>,
    /// When this ownership began.
    pub since: Instant,
    /// How old the snapshot was that the state came from, at the time; `None` where it came from the log.
    pub restored_age: Option<Duration>,
    /// The newest checkpoint handed to the group; `None` before the first.
    pub committed: Option<Checkpoint>,
    /// The newest one known: that, or the one at which the past was settled.
    pub known: Option<Checkpoint>,
    /// The next input offset when it was asked whether the input still has it.
    pub doubted: Option<i64>,
    /// How late it is.
    pub delays: Delays,
    abandoned: Abandoned,
}

/// Tells `recover` not to bother any more, once the slot is gone.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Slot {
    /// A slot about to claim its partition.
    pub fn new(partition: i32, generation: usize) -> Self {
        let now = Instant::now();
        Self {
            partition,
            generation,
            stage: Stage::Claiming { at: now },
            engine: None,
            decisions: Decisions::default(),
            given_up: BTreeSet::new(),
            witness: None,
            crash: None,
            chain: None,
            previous: -1,
            delivered: -1,
            inflight: VecDeque::new(),
            held: VecDeque::new(),
            refused: None,
            throttled: false,
            astray: None,
            since: now,
            restored_age: None,
            committed: None,
            known: None,
            doubted: None,
            delays: Delays::default(),
            abandoned: Abandoned::default(),
        }
    }

    /// For questions about this ownership.
    pub fn ticket(&self) -> Ticket {
        let abandoned = Arc::clone(&self.abandoned.0);
        Ticket { partition: self.partition, generation: self.generation, since: self.since, abandoned }
    }

    /// Verdicts not yet acknowledged.
    pub fn undelivered(&self) -> usize {
        self.inflight.len() + self.held.len()
    }

    /// Whether a stop has to wait for it.
    pub fn is_busy(&self) -> bool {
        self.undelivered() > 0 && self.is_in_order()
    }

    /// Whether it is past recovery, and every acknowledgement so far was contiguous.
    fn is_in_order(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Replaying { .. } | Stage::Leaving { clean: true })
    }

    /// What is settled of the verdict partition, where every acknowledgement so far was contiguous: `None` before the
    /// past is settled, and behind a jump.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let chain = self.chain.filter(|_| self.is_in_order())?;
        Some(Checkpoint { next: chain.next(), epoch: chain.epoch(), last: self.delivered })
    }

    /// What is to be committed: the next offset and the checkpoint, where that is more than the group was given, or
    /// `again`.
    pub fn due(&mut self, again: bool) -> Option<(i32, i64, Checkpoint)> {
        let checkpoint = self.checkpoint().filter(|checkpoint| again || self.committed != Some(*checkpoint))?;
        self.known = Some(checkpoint);
        Some((self.partition, self.next_undelivered(), checkpoint))
    }

    /// The next input offset to be judged, all below it being settled or acknowledged.
    pub fn next_undelivered(&self) -> i64 {
        let state = self.engine.as_ref().map_or(0, Partition::next);
        if self.delivered >= 0 { self.delivered + 1 } else { self.inflight.front().copied().unwrap_or(state) }
    }

    /// Whether every verdict about an input offset below `end` is acknowledged.
    pub fn is_delivered_below(&self, end: i64) -> bool {
        is_delivered_below(end, self.inflight.front().copied(), self.held.front().map(|held| held.source))
    }

    /// The program failed on the record at `offset`: its state is not used again, and nothing from there on goes out.
    pub fn crashed(&mut self, offset: i64, place: String) {
        self.engine = None;
        self.crash = Some(Crash { offset, place });
    }

    /// Whether a verdict about `offset` may go out.
    pub fn is_whole_at(&self, offset: i64) -> bool {
        self.crash.as_ref().is_none_or(|crash| offset < crash.offset)
    }

    /// The epoch held, once claimed.
    pub fn epoch(&self) -> Option<i64> {
        self.chain.map(|chain| chain.epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_until_the_group_has_it_also_of_an_idle_partition() {
        let mut slot = Slot::new(3, 1);
        assert_eq!(slot.due(true), None, "nothing is settled yet");
        slot.chain = Some(Chain::starting(7));
        slot.stage = Stage::Live;
        slot.delivered = 4;
        let (partition, next, checkpoint) = slot.due(false).expect("it is more than nothing");
        assert_eq!((partition, next), (3, 5));
        assert!(slot.due(false).is_some(), "nobody has taken it");
        slot.committed = Some(checkpoint);
        assert!(slot.due(false).is_none(), "idle since");
        assert!(slot.due(true).is_some(), "the group has said that it failed");
        slot.delivered = 5;
        assert!(slot.due(false).is_some());
    }
}
