//! Taking a partition, keeping it and giving it up (C1.3, C1.5, C1.6): every move between a slot's stages but those
//! that a record makes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{
    Shard,
    claims::{Predecessor, owner_record},
    context::Ack,
    deliver::SendError,
    recover::{Answer, Ticket},
    restore::Base,
    slot::{Slot, Stage},
};
use crate::{
    domain::{
        time::WallTimeUs,
        verdict::{Kind, LostRecord, SCHEMA_VERSION, Source},
    },
    engine::{
        chain::{Chain, Link},
        edition::{Edition, Lineage, Superseded},
        partition::Partition,
        plan::{Logs, Lost, plan, same_count},
        settle::{Doubt, Settled},
    },
    kafka::client::describe,
    telemetry::facts::{
        EpochTaken, Fact, GapSeen, PartitionGone, PartitionRefused, RecordsLost, RecoveryStarted, ZombieIgnored,
    },
};

/// How long before an owner record that found no room is tried again.
const CLAIM_AGAIN: Duration = Duration::from_millis(100);

/// How long before a topic that takes nothing is tried again.
const SEND_AGAIN: Duration = Duration::from_secs(10);

impl Shard {
    /// The group gave this shard its first assignment.
    pub(super) fn join(&mut self) {
        if !self.joined {
            self.joined = true;
            self.shared.gathering.joined();
            self.shared.telemetry.health.joined(self.number);
        }
    }

    /// A partition came: it is claimed, or refused where it has no peer.
    pub(super) fn assigned(&mut self, partition: i32) {
        RecoveryStarted { partition, shard: self.number }.emit(&self.shared.telemetry);
        self.generations += 1;
        self.slots.insert(partition, Slot::new(partition, self.generations));
        let partitions = self.shared.partitions;
        if partition >= partitions {
            let why = format!(
                "the transaction topic had {partitions} partitions when this process began: a log's count is fixed for \
                 its life; re-partitioning means new topics"
            );
            self.refuse(partition, &why);
        } else if !self.has_peer(partition) {
            let why = "it has no peer: transaction and verdict topics must have equally many partitions (sentra topics check)";
            self.refuse(partition, why);
            if let Some(slot) = self.slots.get_mut(&partition) {
                slot.stage = Stage::Peerless;
            }
        }
    }

    fn has_peer(&self, partition: i32) -> bool {
        partition < self.shared.peers.load(Ordering::Relaxed)
    }

    /// A partition went. Its verdicts under way land before the next owner's record and count, or after it and do not.
    pub(super) fn revoked(&mut self, partition: i32) {
        self.slots.remove(&partition);
        PartitionGone { partition, shard: self.number }.emit(&self.shared.telemetry);
    }

    /// Appends owner records that are due, asks for checks that are due, asks the group about fenced partitions.
    pub(super) fn pursue_claims(&mut self) {
        let now = Instant::now();
        let due: Vec<(i32, Stage)> = self.slots.values().map(|slot| (slot.partition, slot.stage)).collect();
        for (partition, stage) in due {
            match stage {
                Stage::Claiming { at } if at <= now && self.shared.gathering.is_over(now) => self.look(partition),
                Stage::Checking { from, asked: false, .. } => self.ask_check(partition, from),
                Stage::Fenced { at } if at <= now => self.ask_group(partition),
                Stage::Peerless if self.has_peer(partition) => self.claim_anew(partition, Duration::ZERO),
                _ => {}
            }
        }
    }

    /// Takes what `recover` found out.
    pub(super) fn take_answers(&mut self) {
        // Placing one partition would tell the group that the leaving ones are given up.
        if self.leaving.is_some() {
            return;
        }
        while let Some((Ticket { partition, generation, .. }, answer)) = self.recoveries.answer() {
            let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.generation == generation) else {
                continue;
            };
            match (answer, slot.stage) {
                (Answer::Looked { last }, Stage::Looking) => self.looked(partition, last),
                (Answer::Settled { settled, logs, base }, Stage::Settling) => {
                    self.settled(partition, *settled, logs, base)
                }
                (Answer::Later, Stage::Settling) => {
                    if let Some(epoch) = slot.epoch() {
                        self.recoveries.settle(slot.ticket(), epoch);
                    }
                }
                (Answer::Checked { newer: Some(rival), .. }, Stage::Checking { .. }) => self.lost(partition, &rival),
                (Answer::Checked { next, newer: None }, Stage::Checking { replaying, .. }) => {
                    self.kept(partition, next, replaying);
                }
                (Answer::Asked(outcome), Stage::Asking) => self.group_answered(partition, outcome),
                (Answer::Spanned(span), _) => self.placed(partition, span),
                _ => {}
            }
        }
    }

    /// One acknowledgement of a verdict or owner record.
    pub(super) fn acknowledged(&mut self, ack: Ack) {
        let Some(slot) = self.slots.get_mut(&ack.partition).filter(|slot| slot.generation == ack.generation) else {
            return;
        };
        let Ok(offset) = ack.outcome else {
            // With no message timeout only a purge or a fatal error ends a record: `replace_producer` follows.
            tracing::debug!(partition = ack.partition, outcome = ?ack.outcome, "a verdict was not written");
            return;
        };
        if slot.stage == Stage::Claimed {
            return self.claimed(ack.partition, offset);
        }
        let Some(chain) = &mut slot.chain else { return };
        if let Some(source) = slot.inflight.pop_front() {
            slot.delivered = source;
        }
        let Link::Jump { from } = chain.acknowledged(offset) else { return };
        self.doubt(ack.partition, from);
    }

    /// The producer is beyond use: every partition is claimed anew with a new one. Of one that is on its way out nothing more
    /// is written or settled, for what was under way is lost: the next owner judges it.
    pub(super) fn claim_all_anew(&mut self) {
        let partitions: Vec<i32> = self.slots.values().map(|slot| slot.partition).collect();
        for partition in partitions {
            let Some(slot) = self.slots.get_mut(&partition) else { continue };
            match &mut slot.stage {
                Stage::Peerless | Stage::Refused => {}
                Stage::Leaving { clean } => *clean = false,
                _ => {
                    self.stand_still(partition);
                    self.claim_anew(partition, Duration::from_secs(1));
                }
            }
        }
    }

    /// Recovers a partition from the beginning, under a new epoch, after `pause`.
    pub(super) fn claim_anew(&mut self, partition: i32, pause: Duration) {
        RecoveryStarted { partition, shard: self.number }.emit(&self.shared.telemetry);
        self.generations += 1;
        let mut slot = Slot::new(partition, self.generations);
        slot.stage = Stage::Claiming { at: Instant::now() + pause };
        self.slots.insert(partition, slot);
    }

    /// Asks whom the partition comes from before it is taken.
    fn look(&mut self, partition: i32) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.stage = Stage::Looking;
            self.recoveries.look(slot.ticket());
        }
    }

    fn looked(&mut self, partition: i32, last: Result<Predecessor, Doubt>) {
        let last = match last {
            Ok(last) => last,
            // Owner records would cover what is missing.
            Err(doubt) => return self.refuse(partition, &doubt.to_string()),
        };
        // Nothing is written of another count: the first owner record that names one tells what the log began with.
        if let Err(refusal) = same_count(last.partitions, self.shared.partitions) {
            return self.refuse(partition, &refusal.to_string());
        }
        match self.may_follow(last.owners) {
            Ok(()) => self.claim(partition),
            Err(superseded) => self.refuse(partition, &superseded.to_string()),
        }
    }

    /// Whether a partition that these owned is taken.
    fn may_follow(&self, owners: Lineage) -> Result<(), Superseded> {
        let config = &self.shared.config;
        if config.score.take_over { Ok(()) } else { Edition::own(&config.rules).follows(owners) }
    }

    fn claim(&mut self, partition: i32) {
        let place = self.shared.place(partition);
        let value = owner_record(&self.shared.config, &place, &self.instance, &self.host);
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        match self.verdicts.send(partition, slot.generation, None, &value, &[]) {
            Ok(()) => slot.stage = Stage::Claimed,
            Err(SendError::Full) => slot.stage = Stage::Claiming { at: Instant::now() + CLAIM_AGAIN },
            Err(SendError::Refused(error)) => self.undeliverable(partition, &error),
        }
    }

    /// The client does not take a record of the partition, and waiting will not help. What it says of the topic may be
    /// mended elsewhere, so it is asked again under a new epoch; anything else stops the partition.
    pub(super) fn undeliverable(&mut self, partition: i32, error: &KafkaError) {
        let leaves = self.slots.get(&partition).is_none_or(|slot| matches!(slot.stage, Stage::Leaving { .. }));
        if leaves || self.verdicts.fatal().is_some() {
            // The next owner meets it, or the next producer.
            return;
        }
        let topic = &self.shared.config.topics.verdicts;
        let why = format!("a record for topic {topic} is not taken: {}", describe(error));
        if is_about_the_topic(error) {
            self.stand_still(partition);
            self.claim_anew(partition, SEND_AGAIN);
            PartitionRefused { partition, why: &why }.emit(&self.shared.telemetry);
        } else {
            self.refuse(partition, &why);
        }
    }

    /// The owner record stands at `offset`, or somewhere the broker did not tell: then append another.
    fn claimed(&mut self, partition: i32, offset: Option<i64>) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(epoch) = offset else {
            slot.stage = Stage::Claiming { at: Instant::now() };
            return;
        };
        slot.chain = Some(Chain::starting(epoch));
        slot.stage = Stage::Settling;
        let ticket = slot.ticket();
        EpochTaken { partition, epoch }.emit(&self.shared.telemetry);
        self.recoveries.settle(ticket, epoch);
    }

    fn settled(&mut self, partition: i32, settled: Settled, logs: Logs, base: Option<Box<Base>>) {
        let telemetry = self.shared.telemetry.clone();
        if settled.ignored > 0 {
            ZombieIgnored { partition, verdicts: settled.ignored }.emit(&telemetry);
        }
        if let Some((expected, found)) = settled.first_gap {
            GapSeen { partition, expected, found }.emit(&telemetry);
        }
        // The record that it was taken with is there. It keeps nobody out, for its owner never served.
        if let Err(superseded) = self.may_follow(settled.before) {
            return self.refuse(partition, &superseded.to_string());
        }
        let held = base.as_ref().map(|base| base.partition.next());
        let start = match plan(logs, &settled, held, &self.short_log) {
            Ok(start) => start,
            Err(refusal) => return self.refuse(partition, &refusal.to_string()),
        };
        let place = self.shared.place(partition);
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        slot.restored_age = base.as_ref().map(|base| base.age);
        let rules = || Arc::new(self.shared.config.rules.clone());
        let restored = base.map(|base| base.partition);
        slot.engine = Some(restored.unwrap_or_else(|| Partition::new(rules(), place, start.replay_from)));
        slot.decisions = settled.decisions;
        slot.witness = settled.witness;
        slot.given_up = self.crashes.given_up(partition, start.last, settled.skipped);
        slot.previous = start.previous;
        slot.delivered = start.previous;
        slot.stage = Stage::Replaying { last: start.last, replayed: 0 };
        slot.astray = None;
        slot.known = slot.checkpoint();
        if let Err(error) = self.input.place(partition, start.replay_from) {
            // Revoked meanwhile: the notice is on its way.
            tracing::debug!(partition, %error, "the partition cannot be read");
        }
        if let Some(lost) = start.lost {
            self.tell_lost(partition, lost);
        }
        self.replay_done(partition, start.replay_from);
    }

    /// Names the loss in the verdict topic, as the chain's next link (C1.8).
    fn tell_lost(&mut self, partition: i32, lost: Lost) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(epoch) = slot.epoch() else { return };
        let Lost { first, last } = lost;
        let source = Source { log: &self.short_log, partition, offset: last, previous_offset: slot.previous, epoch };
        let record = LostRecord { kind: Kind::Lost, source, decided_at: wall_time(), schema_version: SCHEMA_VERSION };
        let value = serde_json::to_vec(&record).expect("a record of lost input has nothing that JSON cannot hold");
        slot.previous = last;
        slot.produce(&self.verdicts, last, None, &value, Vec::new(), None);
        RecordsLost { partition, first, last }.emit(&self.shared.telemetry);
    }

    /// Goes live where the next record, at `next`, lies above h.
    pub(super) fn replay_done(&mut self, partition: i32, next: i64) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.live_from(next, &self.shared.telemetry);
        }
    }

    pub(super) fn refuse(&mut self, partition: i32, why: &str) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.stage = Stage::Refused;
            PartitionRefused { partition, why }.emit(&self.shared.telemetry);
            self.stand_still(partition);
        }
    }

    pub(super) fn stand_still(&self, partition: i32) {
        if let Err(error) = self.input.pause(partition) {
            tracing::debug!(partition, %error, "the partition cannot be paused");
        }
    }
}

/// Whether the client refuses for what it knows of the topic, not for the record.
fn is_about_the_topic(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed
        )
    )
}

/// Now, in microseconds since 1970.
pub(crate) fn wall_time() -> WallTimeUs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTimeUs(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
