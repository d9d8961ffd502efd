//! Taking snapshots between batches: which partition is due, how much is copied at a time, and when a snapshot may
//! count.
//!
//! Invariant: a snapshot is published only when every verdict below its end is acknowledged, in the ownership it was
//! begun in; dead letters come before their verdicts, so they are too. No slice holds the shard up for long, and
//! together they take a small part of its time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::message::Message;

use super::{
    Shared, Slots,
    ownership::wall_time,
    slot::{Slot, Stage},
};
use crate::{
    domain::policy::POLICY_VERSION,
    engine::{
        GENERATION,
        partition::Partition,
        snapshot::{Anchor, End, Head, Part, SnapshotIdentity, Taking},
    },
    kafka::fetch::Fetched,
    snapshot::{Busy, Depot, Ending, Name, Outcome, SnapshotWriter},
    telemetry::{
        Fact, Telemetry,
        snapshot::{SnapshotFailed, SnapshotWritten},
    },
};

/// Bytes copied at a time: some tenths of a millisecond.
const SLICE: usize = 256 << 10;

/// A walk rests this many times as long as a slice took: it has a fifth of the shard's time while it lasts.
const REST: u32 = 4;

/// A partition's first snapshot is due after this part of the interval, and the next partition's a little later, so
/// that not all of them stand at the writer's door at once.
const FIRST: u32 = 8;

/// A shard's snapshots.
pub struct Snapshots {
    writer: SnapshotWriter,
    interval: Duration,
    verdict_log: String,
    /// When each partition's next snapshot is due, and when its newest was begun.
    due: HashMap<i32, Due>,
    current: Option<Current>,
}

#[derive(Clone, Copy)]
struct Due {
    generation: usize,
    at: Instant,
    /// The newest snapshot's begin, or the ownership's.
    since: Instant,
    /// The next offset then: an idle partition needs no newer snapshot.
    next: i64,
}

/// The snapshot under way.
struct Current {
    /// The writer's number of it.
    number: u64,
    partition: i32,
    generation: usize,
    epoch: i64,
    begun: Instant,
    from: i64,
    taking: Taking,
    waiting: Option<Part>,
    resume: Instant,
    asked: bool,
}

impl Snapshots {
    /// The snapshots of a shard that keeps them in `depot`.
    ///
    /// # Errors
    /// The writer's thread cannot be started.
    pub fn start(shard: usize, depot: Depot, shared: &Shared) -> std::io::Result<Self> {
        Ok(Self {
            writer: SnapshotWriter::start(shard, depot, shared.config.snapshots.format)?,
            interval: shared.config.snapshots.interval,
            verdict_log: shared.verdict_log.clone(),
            due: HashMap::new(),
            current: None,
        })
    }

    /// Follows which partitions are live, and tells how old their newest snapshots are.
    pub fn keep_house(&mut self, slots: &Slots, telemetry: &Telemetry) {
        let same =
            |partition: &i32, due: &mut Due| slots.get(partition).is_some_and(|slot| slot.generation == due.generation);
        self.due.retain(same);
        for slot in slots.values().filter(|slot| slot.stage == Stage::Live) {
            let interval = self.interval;
            let due = self.due.entry(slot.partition).or_insert_with(|| Due::first(slot, interval));
            let idle = slot.engine.as_ref().is_none_or(|engine| engine.next() <= due.next);
            let age = if idle { Duration::ZERO } else { due.since.elapsed() };
            telemetry.metrics.snapshot.age(slot.partition, age);
        }
    }

    /// Begins a due partition's snapshot behind the last record of the turn; `messages` are the turn's.
    pub fn begin(&mut self, messages: &[Fetched<'_>], slots: &mut Slots, shared: &Shared) {
        if self.current.is_some() {
            return;
        }
        let now = Instant::now();
        for message in messages.iter().rev() {
            let partition = message.partition();
            let Some(slot) = slots.get_mut(&partition).filter(|slot| slot.stage == Stage::Live) else { continue };
            let is_due = self.due.get(&partition).is_some_and(|due| now >= due.at);
            let is_last = slot.engine.as_ref().is_some_and(|engine| engine.next() == message.offset() + 1);
            if !is_due || !is_last {
                continue;
            }
            let at = message.timestamp().to_millis();
            let anchor = Anchor::of(message.offset(), at, message.key(), message.payload());
            self.current = self.begin_slot(slot, anchor, shared, now);
            return;
        }
    }

    fn begin_slot(&mut self, slot: &mut Slot, anchor: Anchor, shared: &Shared, now: Instant) -> Option<Current> {
        let (checkpoint, engine) = slot.checkpoint().zip(slot.engine.as_mut())?;
        let rules = &shared.config.rules;
        let place = shared.place(slot.partition);
        let model = &shared.model;
        let head = Head {
            identity: SnapshotIdentity::new(&place, self.verdict_log.clone(), rules),
            bounds: engine.bounds(),
            checkpoint,
            anchor: Some(anchor),
            taken_at_ms: wall_time().0 / 1_000,
            version: String::from(env!("CARGO_PKG_VERSION")),
            model: format!("{}/{}", model.name, model.version),
            features_hash: rules.features_hash(),
            policy: Some(POLICY_VERSION.to_owned()),
            engine_generation: Some(GENERATION),
        };
        let head = head.in_format(shared.config.snapshots.format);
        let number = self.writer.begin(slot.partition, checkpoint.epoch)?;
        let (taking, part) = Taking::begin(&head, engine);
        Some(Current {
            number,
            partition: slot.partition,
            generation: slot.generation,
            epoch: checkpoint.epoch,
            begun: now,
            from: head.bounds.next,
            taking,
            waiting: Some(part),
            resume: now,
            asked: false,
        })
    }

    /// Goes on with what is under way; once a turn.
    pub fn pursue(&mut self, slots: &mut Slots, telemetry: &Telemetry) {
        while let Some(Outcome { number, end }) = self.writer.outcome() {
            // Of one that was asked for in an ownership that is over, nobody waits for the outcome.
            if let Some(current) = self.current.take_if(|current| current.number == number) {
                self.settle(current, end, slots, telemetry);
            }
        }
        let Some(current) = &mut self.current else { return };
        let owned = slots.get_mut(&current.partition).filter(|slot| slot.generation == current.generation);
        let slot = match owned {
            Some(slot) if matches!(slot.stage, Stage::Live | Stage::Checking { .. }) => slot,
            over => {
                // The ownership it was begun in is over. What is written of it is given up as soon as the writer listens.
                if let Some(engine) = over.and_then(|slot| slot.engine.as_mut()) {
                    Taking::stop(engine);
                }
                if current.asked || self.writer.abort() {
                    self.current = None;
                }
                return;
            }
        };
        if let Some(part) = current.waiting.take()
            && let Err(Busy(part)) = self.writer.part(part)
        {
            current.waiting = Some(part);
            return;
        }
        match current.taking.end() {
            None => current.slice(slot),
            Some(end) if !current.asked && slot.stage == Stage::Live && slot.is_delivered_below(end.end) => {
                current.asked = self.writer.publish(Name { end: end.end, epoch: current.epoch });
            }
            Some(_) => {}
        }
    }

    /// The writer is done with the one that was under way, one way or the other.
    fn settle(&mut self, current: Current, end: Ending, slots: &mut Slots, telemetry: &Telemetry) {
        let partition = current.partition;
        let due = self.due.entry(partition);
        match end {
            Ending::Published { bytes } => {
                if let Some(End { end, phones, .. }) = current.taking.end() {
                    SnapshotWritten { partition, end, phones, bytes, took: current.begun.elapsed() }.emit(telemetry);
                }
                due.and_modify(|due| {
                    *due = Due { at: current.begun + self.interval, since: current.begun, next: current.from, ..*due };
                });
            }
            Ending::Failed(why) => {
                SnapshotFailed { partition, why: &why }.emit(telemetry);
                due.and_modify(|due| due.at = Instant::now() + self.interval);
                let slot = slots.get_mut(&partition).filter(|slot| slot.generation == current.generation);
                if let Some(engine) = slot.and_then(|slot| slot.engine.as_mut()) {
                    Taking::stop(engine);
                }
            }
        }
    }
}

impl Due {
    /// When a partition that is live now has its first snapshot taken.
    fn first(slot: &Slot, interval: Duration) -> Self {
        let now = Instant::now();
        let since = slot.restored_age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
        let soon = now + interval / FIRST + interval / FIRST / 16 * (slot.partition.unsigned_abs() % 16);
        // A restored state's next snapshot keeps the pace of the ones before it.
        let at = slot.restored_age.map_or(soon, |_| soon.max(since + interval));
        let next = slot.engine.as_ref().map_or(0, Partition::next);
        Self { generation: slot.generation, at, since, next }
    }
}

impl Current {
    /// Copies the next slice, when it is time.
    fn slice(&mut self, slot: &mut Slot) {
        let now = Instant::now();
        let Some(engine) = slot.engine.as_mut().filter(|_| now >= self.resume) else { return };
        self.waiting = self.taking.slice(engine, &slot.decisions, SLICE);
        self.resume = Instant::now() + now.elapsed() * REST;
    }
}

#[cfg(test)]
mod tests;
