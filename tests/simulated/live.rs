//! A live owner's state: it emits, waits for dead letters, takes snapshots, and doubts at a jump.

use std::{collections::VecDeque, sync::Arc};

use sentra::{
    domain::{
        time::WallTimeUs,
        verdict::{Head, Kind, LostRecord, SCHEMA_VERSION, Source},
    },
    engine::{
        chain::Chain,
        checkpoint::Checkpoint,
        decisions::Decisions,
        delivery::{is_delivered_below, release},
        edition::Edition,
        emit::{Emitter, Stamp},
        partition::{Partition, Step},
        plan::Start,
        snapshot::Format,
    },
    model::folder::Model,
};

use super::{Fault, LOG, Met, Shared, between, depot::Walk};
use crate::{tiny, traffic::Dice};

/// The most verdicts under way.
const MOST_UNDER_WAY: usize = 6;

/// Models that decide differently.
pub struct Emitters(Vec<(Arc<Model>, Emitter)>);

impl Emitters {
    pub fn new() -> Self {
        let model = |at: i32| tiny::model(&at.to_string(), f64::from(at) * 0.8 - 1.6);
        Self((0..5).map(model).map(|model| (Arc::clone(&model), Emitter::new(model, false))).collect())
    }

    /// Judges the record at `offset`; whether it is a transaction, and its verdict.
    pub fn judge(
        &self,
        which: usize,
        partition: &mut Partition,
        decisions: &mut Decisions,
        shared: &Shared,
        source: Source<'_>,
    ) -> (bool, Arc<[u8]>) {
        let (model, emitter) = &self.0[which];
        let record = shared.input[source.offset as usize].record(source.offset);
        let stamp = Stamp { source, decided_at: WallTimeUs(0).text(), processing_time_ms: 1 };
        let mut out = Vec::new();
        let step = partition.step(&record);
        match &step {
            Step::Judged(judged) => {
                let mut raw = Vec::new();
                model.raw_batch(&[judged.row()], &mut raw);
                emitter.judged(judged, raw[0], &stamp, decisions, &mut out);
            }
            Step::Invalid(invalid) => {
                emitter.invalid(invalid, false, &stamp, &mut out);
            }
        }
        (matches!(step, Step::Judged(_)), out.into())
    }
}

/// A verdict that waits for its dead letter, or behind one that does.
struct Held {
    source: i64,
    value: Arc<[u8]>,
    letter: bool,
}

pub struct Live {
    pub chain: Chain,
    pub partition: Partition,
    pub decisions: Decisions,
    emitter: usize,
    pub last: i64,
    previous: i64,
    delivered: i64,
    inflight: VecDeque<i64>,
    held: VecDeque<Held>,
    walk: Option<Walk>,
}

/// What an owner sends in a turn.
#[derive(Default)]
pub struct Outbox {
    pub verdicts: Vec<Arc<[u8]>>,
    pub letters: Vec<i64>,
}

impl Live {
    pub fn begin(chain: Chain, start: Start, partition: Partition, decisions: Decisions, dice: &mut Dice) -> Self {
        Self {
            chain,
            partition,
            decisions,
            emitter: dice.below(5) as usize,
            last: start.last,
            previous: start.previous,
            delivered: start.previous,
            inflight: VecDeque::new(),
            held: VecDeque::new(),
            walk: None,
        }
    }

    pub fn under_way(&self) -> usize {
        self.inflight.len() + self.held.len()
    }

    /// Whether an acknowledgement is awaited.
    pub fn awaits(&self) -> bool {
        !self.inflight.is_empty()
    }

    /// The next acknowledgement, in order.
    pub fn acknowledged(&mut self, shared: &mut Shared) {
        if let Some(source) = self.inflight.pop_front() {
            self.delivered = source;
            if shared.fault == Fault::LetterAfterVerdict && shared.is_garbage(source) {
                shared.late_letters.push(source);
            }
        }
    }

    /// Names the input that retention took unjudged.
    pub fn tell_lost(&mut self, last: i64, out: &mut Outbox) {
        let source = Source {
            log: &LOG.short(),
            partition: 0,
            offset: last,
            previous_offset: self.previous,
            epoch: self.chain.epoch(),
        };
        let record = LostRecord { kind: Kind::Lost, source, decided_at: WallTimeUs(0), schema_version: SCHEMA_VERSION };
        self.previous = last;
        self.inflight.push_back(last);
        out.verdicts.push(serde_json::to_vec(&record).expect("JSON").into());
    }

    /// Judges a few records; their verdicts go out, or wait for dead letters.
    pub fn emit(&mut self, shared: &Shared, emitters: &Emitters, dice: &mut Dice, out: &mut Outbox) {
        for _ in 0..dice.below(4) {
            let offset = self.partition.next();
            if offset >= shared.input_end || self.under_way() >= MOST_UNDER_WAY {
                break;
            }
            let log = LOG.short();
            let (previous_offset, epoch) = (self.previous, self.chain.epoch());
            let source = Source { log: &log, partition: 0, offset, previous_offset, epoch };
            let Self { partition, decisions, emitter, .. } = self;
            let (readable, value) = emitters.judge(*emitter, partition, decisions, shared, source);
            self.previous = offset;
            let letter = !readable && shared.fault != Fault::LetterAfterVerdict;
            if letter {
                out.letters.push(offset);
            }
            self.held.push_back(Held { source: offset, value, letter });
        }
        let Self { held, inflight, .. } = self;
        let waits = |held: &Held| held.letter && !shared.letters.contains(&held.source);
        let send = |held: &Held| {
            inflight.push_back(held.source);
            out.verdicts.push(Arc::clone(&held.value));
            true
        };
        release(held, waits, send);
    }

    /// What is settled, every acknowledgement so far being contiguous.
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { next: self.chain.next(), epoch: self.chain.epoch(), last: self.delivered }
    }

    /// Commits it to the group, which takes it from the partition's member alone.
    pub fn commit(&self, shared: &mut Shared, met: &mut Met) {
        met.commits += 1;
        shared.committed = Some(self.checkpoint().to_text(&between(), Edition::own(&shared.rules), Format::Current));
    }

    /// Begins a snapshot, goes on with one, or publishes it.
    pub fn snapshot(&mut self, shared: &mut Shared, dice: &mut Dice, met: &mut Met) {
        let checkpoint = self.checkpoint();
        let Some(walk) = &mut self.walk else {
            if dice.percent(25) {
                self.walk = Some(Walk::begin(&mut self.partition, checkpoint, shared));
            }
            return;
        };
        let Some(end) = walk.end() else { return walk.slice(&mut self.partition, &self.decisions, dice) };
        let held = self.held.front().map(|held| held.source);
        let accepted = is_delivered_below(end, self.inflight.front().copied(), held);
        if (accepted || shared.fault == Fault::RestoreAhead)
            && let Some(walk) = self.walk.take()
        {
            met.snapshots += 1;
            walk.publish(&self.partition, shared);
        }
    }

    pub fn replay(&mut self, shared: &Shared, dice: &mut Dice) -> bool {
        for _ in 0..dice.between(1, 30) {
            let offset = self.partition.next();
            if offset > self.last {
                self.partition.phones_mut().caught_up();
                return true;
            }
            if let Some(event_time) = self.partition.replay(&shared.input[offset as usize].record(offset)) {
                self.decisions.note_time(offset, event_time.0);
            }
        }
        false
    }

    /// Reads what lies behind a jump: a newer owner, or only zombies; true where the epoch is still held. Where a part
    /// of that was deleted, a newer owner's record may have been in it: then the epoch counts as lost, too.
    pub fn resolve(&mut self, from: i64, shared: &Shared) -> bool {
        let end = shared.verdicts.end();
        let is_owner = |at: i64| Head::parse(shared.verdicts.get(at)).is_some_and(|head| head.kind == "owner");
        if from < shared.verdicts.start || (from..end).any(|at| at > self.chain.epoch() && is_owner(at)) {
            return false;
        }
        self.chain.resume(end);
        true
    }
}
