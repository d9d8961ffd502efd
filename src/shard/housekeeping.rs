//! What a turn does besides records: notices, acknowledgements, held verdicts, back pressure, gauges, commits.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::consumer::{CommitMode, Consumer};

use super::{Shard, ShardError, context::Notice, deliver::Verdicts, letters::Settled, slot::Stage};
use crate::{
    domain::history::Footprint,
    engine::checkpoint::Checkpoint,
    telemetry::facts::{BrokerBack, BrokerLost, DeadLettered, Fact, PartitionPaused, PartitionResumed},
};

/// Gauges are set so often.
const HOUSE_EVERY: Duration = Duration::from_secs(1);

/// Phones of a partition looked at each time for what they hold needlessly: a million take a quarter of an hour.
const SWEPT_AT_ONCE: usize = 1_024;

/// Offsets and checkpoints are committed so often, of partitions that moved.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

impl Shard {
    /// Follows what librdkafka noted inside poll.
    pub(super) fn take_notices(&mut self) {
        for notice in self.input.consumer.context().take() {
            match notice {
                Notice::Assigned(partitions) => {
                    // An empty assignment is one too.
                    self.join();
                    partitions.into_iter().for_each(|partition| self.assigned(partition));
                }
                Notice::Leaving(partitions) => self.drain(partitions),
                Notice::Revoked(partitions) => {
                    self.no_longer_leaving(&partitions);
                    partitions.into_iter().for_each(|partition| self.revoked(partition));
                }
                Notice::Trouble(why) => BrokerLost { shard: self.number, why: &why }.emit(&self.shared.telemetry),
                Notice::Connected(ends) => {
                    BrokerBack { shard: self.number }.emit(&self.shared.telemetry);
                    for (partition, ends) in ends {
                        if let Some(slot) = self.slots.get_mut(&partition) {
                            slot.note_ends(ends);
                        }
                    }
                }
            }
        }
    }

    /// Follows acknowledgements; a producer beyond use is replaced.
    pub(super) fn take_acknowledgements(&mut self) {
        let mut acks = Vec::new();
        self.verdicts.acknowledged(&mut acks);
        acks.into_iter().for_each(|ack| self.acknowledged(ack));
        for settled in self.letters.settled() {
            let Settled { partition, offset, reason, fate } = settled;
            DeadLettered { partition, offset, reason, fate }.emit(&self.shared.telemetry);
        }
        if let Some(why) = self.verdicts.fatal() {
            tracing::error!(why, "the verdict producer failed for good; a new one takes new epochs");
            match Verdicts::new(&self.shared.config) {
                Ok(verdicts) => {
                    self.verdicts = verdicts;
                    self.claim_all_anew();
                }
                Err(error) => tracing::error!(%error, "no new producer could be made"),
            }
        }
    }

    /// Sends held verdicts whose dead letters are settled, in order.
    pub(super) fn release_held(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| !slot.held.is_empty()) {
            if !matches!(slot.stage, Stage::Live | Stage::Replaying { .. } | Stage::Leaving { clean: true }) {
                continue;
            }
            while let Some(held) = slot.held.front() {
                let waits = held.letter.is_some_and(|letter| self.letters.is_waiting(letter));
                let sent = !waits && {
                    let key = held.key.as_deref();
                    self.verdicts.send(slot.partition, slot.generation, key, &held.value, &held.trace).is_ok()
                };
                if !sent {
                    break;
                }
                slot.inflight.push_back(held.source);
                slot.held.pop_front();
            }
        }
    }

    /// Pauses partitions with too many undelivered verdicts, and resumes them at half of that.
    pub(super) fn throttle(&mut self) {
        let most = self.shared.config.score.undelivered;
        for slot in self.slots.values_mut().filter(|slot| matches!(slot.stage, Stage::Live)) {
            let (partition, undelivered) = (slot.partition, slot.undelivered());
            if !slot.throttled && undelivered >= most {
                slot.throttled = self.input.pause(partition).is_ok();
                PartitionPaused { partition, undelivered }.emit(&self.shared.telemetry);
            } else if slot.throttled && undelivered <= most / 2 {
                slot.throttled = self.input.resume(partition).is_err();
                PartitionResumed { partition }.emit(&self.shared.telemetry);
            }
        }
    }

    /// Goes on with the snapshot under way.
    pub(super) fn pursue_snapshot(&mut self) {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.pursue(&mut self.slots, &self.shared.telemetry);
        }
    }

    /// Gauges, forgotten decisions, and commits, when they are due.
    pub(super) fn keep_house(&mut self) -> Result<(), ShardError> {
        let now = Instant::now();
        if now < self.next_housekeeping {
            return Ok(());
        }
        self.next_housekeeping = now + HOUSE_EVERY;
        let (mut phones, mut crowded, mut held) = (0, 0, Footprint::default());
        let (most, metrics) = (self.shared.config.score.lag_ready, &self.shared.telemetry.metrics);
        let delays = self.slots.values_mut().filter_map(|slot| slot.delay(now, most, metrics)).collect();
        self.shared.telemetry.health.delayed(self.number, delays);
        self.ask_ends();
        for slot in self.slots.values_mut() {
            self.shared.telemetry.metrics.undelivered(slot.partition, slot.undelivered());
            if let Some(engine) = &mut slot.engine {
                engine.sweep(SWEPT_AT_ONCE);
                slot.decisions.forget(engine.next(), engine.forgotten());
                phones += engine.phones();
                crowded += engine.crowded_lately();
                held.add(engine.footprint_lately());
            }
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.keep_house(&self.slots, &self.shared.telemetry);
        }
        self.shared.telemetry.metrics.state(self.number, phones, held.ring, held.profile);
        self.shared.telemetry.metrics.crowded(self.number, crowded);
        if now >= self.next_commit && !self.shared.stop.load(Ordering::Relaxed) {
            self.next_commit = now + COMMIT_EVERY;
            self.commit();
        }
        Ok(())
    }

    /// Commits what is acknowledged, where that is more than before. A failure while the group rebalances means
    /// nothing: what is still owned afterwards is committed again.
    pub(super) fn commit(&mut self) {
        let failed = self.input.consumer.context().commit_failed();
        let between = self.shared.between();
        let due: Vec<(i32, i64, Checkpoint)> = self.slots.values_mut().filter_map(|slot| slot.due(failed)).collect();
        let offsets = due.iter().map(|(partition, next, checkpoint)| (*partition, *next, checkpoint.to_text(&between)));
        let handed_over = self.input.commit(offsets, CommitMode::Async);
        if let Err(error) = &handed_over {
            tracing::debug!(%error, "offsets were not committed");
        }
        for (partition, _, checkpoint) in due {
            if let Some(slot) = self.slots.get_mut(&partition) {
                // What was not taken counts as never committed: the next round tries again, also where nothing moves.
                slot.committed = handed_over.is_ok().then_some(checkpoint);
            }
        }
    }
}
