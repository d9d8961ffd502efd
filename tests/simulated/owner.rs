//! An owner's life, as the shard lives it: claim, settle or restore, replay, emit, and doubt at a jump. Its requests
//! travel through a network that outlives it.

use std::{collections::VecDeque, sync::Arc};

use sentra::{
    domain::{
        time::WallTimeUs,
        verdict::{Digest, Kind, OwnerRecord, OwnerSource, SCHEMA_VERSION},
    },
    engine::{
        chain::{Chain, Link},
        decisions::Decisions,
        partition::Partition,
        plan::{Refusal, plan},
        settle::{Settled, Settling},
        snapshot::{Refused, newest_that_fits},
    },
    snapshot::Name,
};

use super::{
    Failure, Fault, LOG, Met, Shared,
    depot::{self, PLACE},
    live::{Emitters, Live, Outbox},
};
use crate::traffic::Dice;

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
    /// Dead letters on their way, by the life that sent them: a producer of their own.
    letters: VecDeque<(u32, i64)>,
    /// Counts claims: acknowledgements of earlier ones are nobody's.
    ownership: u32,
    /// The group's generation when it claimed: the group refuses its commits in another one.
    generation: u32,
    pub frozen: bool,
    /// A crash begins another life; what belongs to an earlier one is nobody's.
    life: u32,
    stage: Stage,
}

#[derive(Default)]
#[expect(clippy::large_enum_variant, reason = "three of them a schedule: a box of its own says no more")]
enum Stage {
    /// Does not own the partition, as far as it knows.
    #[default]
    Idle,
    /// The owner record is under way.
    Claiming,
    /// The owner record stands at this offset.
    Claimed(i64),
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
            Stage::Emitting(live) if live.under_way() == 0 => Some(live.partition.next()),
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
            Stage::Claiming | Stage::Claimed(_) | Stage::Settling { .. } => Some(0),
            Stage::Idle | Stage::Fenced => None,
        }
    }

    /// Where its next checkpoint would lie.
    pub fn acknowledged_below(&self) -> Option<i64> {
        match &self.stage {
            Stage::Replaying(live) | Stage::Emitting(live) | Stage::Doubting { live, .. } => Some(live.chain.next()),
            _ => None,
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

    /// The oldest dead letter lands, or is lost with its sender.
    pub fn land_letter(&mut self, shared: &mut Shared, dice: &mut Dice) {
        let Some((life, offset)) = self.letters.pop_front() else { return };
        if life == self.life || dice.percent(50) {
            shared.letters.insert(offset);
        }
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
            Stage::Claimed(epoch) => self.recover(epoch, shared, dice, met)?,
            Stage::Settling { chain, settling } => self.settle(chain, settling, shared, dice)?,
            Stage::Replaying(mut live) => {
                if live.replay(shared, dice) {
                    Stage::Emitting(live)
                } else {
                    Stage::Replaying(live)
                }
            }
            Stage::Emitting(live) => {
                if assigned && self.generation == shared.generation && dice.percent(10) {
                    live.commit(shared, met);
                }
                self.emit(live, shared, emitters, dice, met)
            }
            Stage::Doubting { mut live, from } if !live.awaits() => {
                if live.resolve(from, shared) {
                    Stage::Emitting(live)
                } else {
                    met.epochs_lost += 1;
                    Stage::Fenced
                }
            }
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
        self.generation = shared.generation;
        if shared.fault == Fault::NoOwnerRecord {
            // The log's end, with nothing appended there: the epoch is one below the first verdict's position.
            return Stage::Claimed(shared.verdicts.end() - 1);
        }
        self.send(owner_record());
        Stage::Claiming
    }

    fn send(&mut self, value: Arc<[u8]>) {
        self.network.push_back(Request { life: self.life, ownership: self.ownership, value });
    }

    fn send_all(&mut self, out: Outbox) {
        out.verdicts.into_iter().for_each(|value| self.send(value));
        self.letters.extend(out.letters.into_iter().map(|offset| (self.life, offset)));
    }

    fn acknowledged(&mut self, offset: Option<i64>, shared: &mut Shared, met: &mut Met) {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Claiming => match offset {
                Some(epoch) => Stage::Claimed(epoch),
                None => {
                    self.send(owner_record());
                    Stage::Claiming
                }
            },
            Stage::Replaying(mut live) => {
                live.acknowledged(shared);
                match live.chain.acknowledged(offset) {
                    Link::Contiguous => Stage::Replaying(live),
                    Link::Jump { from } => Stage::Doubting { live, from },
                }
            }
            Stage::Emitting(mut live) => {
                live.acknowledged(shared);
                match live.chain.acknowledged(offset) {
                    Link::Contiguous => Stage::Emitting(live),
                    Link::Jump { from } => {
                        met.jumps += 1;
                        Stage::Doubting { live, from }
                    }
                }
            }
            Stage::Doubting { mut live, from } => {
                live.acknowledged(shared);
                live.chain.acknowledged(offset);
                Stage::Doubting { live, from }
            }
            // Of an ownership given up: nobody waits for it.
            same => same,
        };
    }

    fn emit(
        &mut self,
        mut live: Box<Live>,
        shared: &mut Shared,
        emitters: &Emitters,
        dice: &mut Dice,
        met: &mut Met,
    ) -> Stage {
        let mut out = Outbox::default();
        live.emit(shared, emitters, dice, &mut out);
        live.snapshot(shared, dice, met);
        self.send_all(out);
        let late = std::mem::take(&mut shared.late_letters);
        self.letters.extend(late.into_iter().map(|offset| (self.life, offset)));
        Stage::Emitting(live)
    }

    /// From the newest snapshot that fits, or else the verdict log is read a slice at a time.
    fn recover(&mut self, epoch: i64, shared: &Shared, dice: &mut Dice, met: &mut Met) -> Result<Stage, Failure> {
        let chain = Chain::starting(epoch);
        let pass_over = |(name, _): &(Name, Vec<u8>), why| {
            match why {
                Refused::Ahead { .. } => met.ahead += 1,
                Refused::Damaged(_) | Refused::NotASnapshot | Refused::Format { .. } => met.refused += 1,
                other => return Err(Failure::Refused(format!("snapshot {name}: {other}"))),
            }
            Ok(())
        };
        let attempt = |(_, bytes): &(Name, Vec<u8>)| restored(bytes, epoch, shared);
        if let Some((partition, settled)) = newest_that_fits(shared.depot.newest_first(), attempt, pass_over)? {
            met.restored += 1;
            return self.begin(chain, settled, Some(partition), shared, dice);
        }
        let (start, end) = (shared.verdicts.start, shared.verdicts.end());
        let settling = Settling::new(start, LOG.short()).knowing(shared.told(), end);
        Ok(Stage::Settling { chain, settling })
    }

    /// Reads a slice of the verdict log, and plans at its end.
    fn settle(
        &mut self,
        chain: Chain,
        mut settling: Settling,
        shared: &Shared,
        dice: &mut Dice,
    ) -> Result<Stage, Failure> {
        for _ in 0..dice.between(1, 20) {
            if settling.next() > chain.epoch() {
                return self.begin(chain, settling.finish(), None, shared, dice);
            }
            let at = settling.next();
            settling.take(at, shared.verdicts.get(at));
        }
        Ok(Stage::Settling { chain, settling })
    }

    fn begin(
        &mut self,
        chain: Chain,
        settled: Settled,
        restored: Option<Partition>,
        shared: &Shared,
        dice: &mut Dice,
    ) -> Result<Stage, Failure> {
        let held = restored.as_ref().map(Partition::next);
        let start = match plan(shared.logs(), &settled, held, &LOG.short()) {
            Ok(start) => start,
            // What the group has moved since is not this owner's to be refused: its slot goes.
            Err(Refusal::Unknown { .. }) if self.generation != shared.generation => return Ok(Stage::Idle),
            Err(refusal) => return Err(Failure::Refused(refusal.to_string())),
        };
        let fresh = || Partition::new(Arc::clone(&shared.rules), PLACE, start.replay_from);
        let mut live = Live::begin(chain, start, restored.unwrap_or_else(fresh), settled.decisions, dice);
        if let Some(lost) = start.lost {
            let mut out = Outbox::default();
            live.tell_lost(lost.last, &mut out);
            self.send_all(out);
        }
        Ok(Stage::Replaying(Box::new(live)))
    }
}

/// What a snapshot and the verdicts behind it give.
fn restored(bytes: &[u8], epoch: i64, shared: &Shared) -> Result<(Partition, Settled), Refused> {
    let mut restored = depot::restore(bytes, shared)?;
    if shared.fault == Fault::DecisionsFromMemory {
        restored.decisions = Decisions::default();
    }
    let verdicts = (shared.verdicts.start, shared.verdicts.end());
    let mut settling = restored.settling(shared.told(), verdicts, LOG.short())?;
    while settling.next() <= epoch {
        let at = settling.next();
        settling.take(at, shared.verdicts.get(at));
    }
    let settled = settling.finish();
    if shared.fault == Fault::RestoreAhead {
        return Ok((restored.partition, settled));
    }
    Ok((restored.fit(&settled, &shared.logs())?, settled))
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
        partitions: PLACE.partitions,
        decided_at: WallTimeUs(0),
        schema_version: SCHEMA_VERSION,
    };
    serde_json::to_vec(&record).expect("an owner record is JSON").into()
}
