//! An owner's life, as the shard lives it: claim, settle, replay, emit, and doubt at a jump. Its requests travel through
//! a network that outlives it.

use std::{collections::VecDeque, sync::Arc};

use sentra::{
    domain::{
        time::WallTimeUs,
        verdict::{Digest, Head, Kind, OwnerRecord, OwnerSource, SCHEMA_VERSION, Source},
    },
    engine::{
        chain::{Chain, Link},
        decisions::Decisions,
        emit::{Emitter, Stamp},
        partition::{Partition, Place, Step},
        plan::{Logs, plan},
        settle::{Settled, Settling},
    },
    model::folder::Model,
};

use super::{Failure, Fault, LOG, Met, Shared};
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
}

/// A request in the network, of a life and an ownership of its owner that may be over.
pub struct Request {
    life: u32,
    ownership: u32,
    value: Arc<[u8]>,
}

#[derive(Default)]
pub struct Owner {
    /// Sent and not yet landed, in order: a producer's later request never passes an earlier one.
    pub network: VecDeque<Request>,
    /// Acknowledgements on their way back.
    acks: VecDeque<(u32, Option<i64>)>,
    /// Counts claims: acknowledgements of earlier ones are nobody's.
    ownership: u32,
    pub frozen: bool,
    /// A crash begins another life; what belongs to an earlier one is nobody's.
    life: u32,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    /// Does not own the partition, as far as it knows.
    #[default]
    Idle,
    /// The owner record is under way.
    Claiming,
    /// Reading the verdict log up to its epoch, a slice at a time.
    Settling { chain: Chain, settling: Settling },
    /// Silently replaying the input.
    Replaying(Box<Live>),
    /// Emitting.
    Emitting(Box<Live>),
    /// An acknowledgement jumped: it waits for all others, then reads what lies from here on.
    Doubting { live: Box<Live>, from: i64 },
    /// A newer owner was seen: it asks the group.
    Fenced,
}

struct Live {
    chain: Chain,
    partition: Partition,
    decisions: Decisions,
    emitter: usize,
    last: i64,
    previous: i64,
    under_way: usize,
}

impl Owner {
    pub fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Memory is lost. Requests sent may land, or some end of them never does.
    pub fn crash(&mut self) {
        self.life += 1;
        self.stage = Stage::Idle;
        self.acks.clear();
        self.frozen = false;
    }

    /// The next input offset of an owner that has all its verdicts acknowledged.
    pub fn reached(&self) -> Option<i64> {
        match &self.stage {
            Stage::Emitting(live) if live.under_way == 0 => Some(live.partition.next()),
            _ => None,
        }
    }

    /// Retention is longer than any replay takes.
    pub fn oldest_input_needed(&self) -> Option<i64> {
        match &self.stage {
            Stage::Replaying(live) | Stage::Emitting(live) | Stage::Doubting { live, .. } => {
                Some(live.partition.next())
            }
            // It has yet to learn where it begins.
            Stage::Claiming | Stage::Settling { .. } => Some(0),
            Stage::Idle | Stage::Fenced => None,
        }
    }

    /// The oldest request lands, and is acknowledged to the life that sent it. True when one did.
    pub fn land(&mut self, shared: &mut Shared, dice: &mut Dice, met: &mut Met) -> bool {
        let Some(request) = self.network.pop_front() else { return false };
        let dead = request.life != self.life;
        if dead && dice.percent(20) {
            // The connection broke: this one and all behind it of that life are lost.
            self.network.retain(|later| later.life != request.life);
            return false;
        }
        let offset = shared.verdicts.append(request.value);
        if !dead {
            // A retry whose first try had landed is acknowledged without an offset.
            let told = Some(offset).filter(|_| !dice.percent(3));
            met.acks_without_offset += u64::from(told.is_none());
            self.acks.push_back((request.ownership, told));
        }
        true
    }

    /// One turn of its loop, unless it is frozen.
    pub fn turn(
        &mut self,
        assigned: bool,
        shared: &mut Shared,
        emitters: &Emitters,
        dice: &mut Dice,
        met: &mut Met,
    ) -> Result<(), Failure> {
        if self.frozen {
            return Ok(());
        }
        // It learns late, or never, that the partition went: then it is a zombie that goes on writing.
        if !assigned && !matches!(self.stage, Stage::Idle) && dice.percent(3) {
            self.stage = Stage::Idle;
        }
        if dice.percent(60)
            && let Some((ownership, offset)) = self.acks.pop_front()
            && ownership == self.ownership
        {
            self.acknowledged(offset, shared, met);
        }
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Idle if assigned => self.claim(shared, met),
            Stage::Settling { chain, settling } => settle(chain, settling, shared, dice)?,
            Stage::Replaying(live) => replay(live, shared, dice),
            Stage::Emitting(live) => self.emit(live, shared, emitters, dice),
            Stage::Doubting { live, from } if live.under_way == 0 => resolve(live, from, shared, met),
            // The commit is fenced by the group: only the assigned member may claim anew.
            Stage::Fenced if assigned => self.claim(shared, met),
            Stage::Fenced => Stage::Idle,
            same => same,
        };
        Ok(())
    }

    fn claim(&mut self, shared: &mut Shared, met: &mut Met) -> Stage {
        met.epochs += 1;
        self.ownership += 1;
        if shared.fault == Fault::NoOwnerRecord {
            // The log's end, with nothing appended there: the epoch is one below the first verdict's position.
            return settling_at(shared.verdicts.end() - 1, shared);
        }
        self.send(owner_record());
        Stage::Claiming
    }

    fn send(&mut self, value: Arc<[u8]>) {
        self.network.push_back(Request { life: self.life, ownership: self.ownership, value });
    }

    fn acknowledged(&mut self, offset: Option<i64>, shared: &Shared, met: &mut Met) {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Claiming => match offset {
                Some(epoch) => settling_at(epoch, shared),
                None => {
                    self.send(owner_record());
                    Stage::Claiming
                }
            },
            Stage::Emitting(mut live) => {
                live.under_way = live.under_way.saturating_sub(1);
                match live.chain.acknowledged(offset) {
                    Link::Contiguous => Stage::Emitting(live),
                    Link::Jump { from } => {
                        met.jumps += 1;
                        Stage::Doubting { live, from }
                    }
                }
            }
            Stage::Doubting { mut live, from } => {
                live.under_way = live.under_way.saturating_sub(1);
                live.chain.acknowledged(offset);
                Stage::Doubting { live, from }
            }
            // Of an ownership given up: nobody waits for it.
            same => same,
        };
    }

    fn emit(&mut self, mut live: Box<Live>, shared: &Shared, emitters: &Emitters, dice: &mut Dice) -> Stage {
        for _ in 0..dice.below(4) {
            let offset = live.partition.next();
            if offset >= shared.input_end || live.under_way >= MOST_UNDER_WAY {
                break;
            }
            let value = verdict(&mut live, offset, shared, emitters);
            self.send(value);
            live.under_way += 1;
        }
        Stage::Emitting(live)
    }
}

fn settling_at(epoch: i64, shared: &Shared) -> Stage {
    let settling = Settling::new(shared.verdicts.start, LOG.short());
    Stage::Settling { chain: Chain::starting(epoch), settling }
}

/// Reads a slice of the verdict log, and plans at its end.
fn settle(chain: Chain, mut settling: Settling, shared: &Shared, dice: &mut Dice) -> Result<Stage, Failure> {
    for _ in 0..dice.between(1, 20) {
        if settling.next() > chain.epoch() {
            return begin(chain, settling.finish(), shared, dice).map(Box::new).map(Stage::Replaying);
        }
        let at = settling.next();
        settling.take(at, shared.verdicts.get(at));
    }
    Ok(Stage::Settling { chain, settling })
}

fn begin(chain: Chain, settled: Settled, shared: &Shared, dice: &mut Dice) -> Result<Live, Failure> {
    let logs =
        Logs { input_start: shared.input_start, input_end: shared.input_end, verdict_start: shared.verdicts.start };
    let start = plan(logs, &settled, None, &LOG.short()).map_err(|refusal| Failure::Refused(refusal.to_string()))?;
    let place = Place { log: LOG, partition: 0, partitions: 1 };
    Ok(Live {
        chain,
        partition: Partition::new(Arc::clone(&shared.rules), place, start.replay_from),
        decisions: settled.decisions,
        emitter: dice.below(5) as usize,
        last: start.last,
        previous: start.previous,
        under_way: 0,
    })
}

fn replay(mut live: Box<Live>, shared: &Shared, dice: &mut Dice) -> Stage {
    for _ in 0..dice.between(1, 30) {
        let offset = live.partition.next();
        if offset > live.last {
            return Stage::Emitting(live);
        }
        let event_time = live.partition.replay(&shared.input[offset as usize].record(offset));
        if let Some(event_time) = event_time {
            live.decisions.note_time(offset, event_time.0);
        }
    }
    Stage::Replaying(live)
}

/// Reads what lies behind a jump: a newer owner, or only zombies. Where a part of that was deleted, a newer owner's
/// record may have been in it: then the epoch counts as lost, too.
fn resolve(mut live: Box<Live>, from: i64, shared: &Shared, met: &mut Met) -> Stage {
    let end = shared.verdicts.end();
    let is_owner = |at: i64| Head::parse(shared.verdicts.get(at)).is_some_and(|head| head.kind == "owner");
    if from < shared.verdicts.start || (from..end).any(|at| at > live.chain.epoch() && is_owner(at)) {
        met.epochs_lost += 1;
        return Stage::Fenced;
    }
    live.chain.resume(end);
    Stage::Emitting(live)
}

fn verdict(live: &mut Live, offset: i64, shared: &Shared, emitters: &Emitters) -> Arc<[u8]> {
    let Live { partition, decisions, emitter, previous, chain, .. } = live;
    let (model, emitter) = &emitters.0[*emitter];
    let log = LOG.short();
    let source = Source { log: &log, partition: 0, offset, previous_offset: *previous, epoch: chain.epoch() };
    let stamp = Stamp { source, decided_at: WallTimeUs(0), processing_time_ms: 1 };
    let record = shared.input[offset as usize].record(offset);
    let mut out = Vec::new();
    match partition.step(&record) {
        Step::Judged(judged) => {
            let mut raw = Vec::new();
            model.raw_batch(&[judged.row], &mut raw);
            emitter.judged(&judged, raw[0], &stamp, decisions, &mut out);
        }
        Step::Invalid(invalid) => {
            emitter.invalid(&invalid, false, &stamp, &mut out);
        }
    }
    *previous = offset;
    out.into()
}

fn owner_record() -> Arc<[u8]> {
    let record = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log: &LOG.short(), partition: 0 },
        group: "g",
        instance: "i",
        version: "v",
        host: "h",
        engine_generation: 1,
        engine_hash: Digest(7),
        decided_at: WallTimeUs(0),
        schema_version: SCHEMA_VERSION,
    };
    serde_json::to_vec(&record).expect("an owner record is JSON").into()
}
