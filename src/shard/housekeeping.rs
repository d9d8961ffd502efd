//! What a turn does besides records: notices, acknowledgements, held verdicts, back pressure, gauges, commits.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::KafkaError,
};

use super::{
    Shard, ShardError,
    context::Notice,
    deliver::Verdicts,
    letters::Settled,
    slot::{Held, Slot, Stage},
};
use crate::{
    domain::history::Footprint,
    engine::{checkpoint::Checkpoint, delivery::release},
    telemetry::facts::{BrokerBack, BrokerLost, DeadLettered, Fact, PartitionPaused, PartitionResumed},
};

/// Gauges are set so often.
const HOUSE_EVERY: Duration = Duration::from_secs(1);

/// Phones of a partition looked at each time for what they hold needlessly: a million take a quarter of an hour.
const SWEPT_AT_ONCE: usize = 1_024;

/// A partition whose unacknowledged dead letters hold so many bytes is paused: a few dozen of the greatest records a
/// broker takes by default. One turn's batch may still come on top.
const MOST_LETTER_BYTES: usize = 32 * 1024 * 1024;

/// Offsets and checkpoints are committed so often, of partitions that moved.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// And so often of all: a commit that another process sent earlier may have come later, and nobody would know.
const COMMIT_ALL_EVERY: Duration = Duration::from_secs(300);

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

    /// Sends held verdicts whose dead letters are settled, in order; acts where one is not taken for good.
    pub(super) fn release_held(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| !slot.held.is_empty()) {
            if !matches!(slot.stage, Stage::Live | Stage::Replaying { .. } | Stage::Leaving { clean: true }) {
                continue;
            }
            let mut held = std::mem::take(&mut slot.held);
            let waits = |held: &Held| held.letter.is_some_and(|letter| self.letters.is_waiting(letter));
            let sent = |held: &Held| {
                let Held { source, key, value, trace, .. } = held;
                let answer = self.verdicts.send(slot.partition, slot.generation, key.as_deref(), value, trace);
                slot.is_sent(answer, *source)
            };
            release(&mut held, waits, sent);
            slot.held = held;
        }
        let refused = |slot: &mut Slot| Some((slot.partition, slot.refused.take()?));
        let refused: Vec<(i32, KafkaError)> = self.slots.values_mut().filter_map(refused).collect();
        refused.into_iter().for_each(|(partition, error)| self.undeliverable(partition, &error));
    }

    /// Pauses partitions with too many undelivered verdicts, or too large dead letters before them, and resumes them at
    /// half of that.
    pub(super) fn throttle(&mut self) {
        let most = self.shared.config.score.undelivered;
        for slot in self.slots.values_mut().filter(|slot| matches!(slot.stage, Stage::Live)) {
            let (partition, undelivered) = (slot.partition, slot.undelivered());
            let letter_bytes = self.letters.bytes_waiting(partition);
            if !slot.throttled && (undelivered >= most || letter_bytes >= MOST_LETTER_BYTES) {
                slot.throttled = self.input.pause(partition).is_ok();
                PartitionPaused { partition, undelivered, letter_bytes }.emit(&self.shared.telemetry);
            } else if slot.throttled && undelivered <= most / 2 && letter_bytes <= MOST_LETTER_BYTES / 2 {
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
        self.shared.telemetry.metrics.state(self.number, phones, held);
        self.shared.telemetry.metrics.crowded(self.number, crowded);
        if now >= self.next_commit && !self.shared.stop.load(Ordering::Relaxed) {
            self.next_commit = now + COMMIT_EVERY;
            if now >= self.next_commit_of_all {
                self.next_commit_of_all = now + COMMIT_ALL_EVERY;
                self.slots.values_mut().for_each(|slot| slot.committed = None);
            }
            self.commit();
        }
        Ok(())
    }

    /// Commits what is acknowledged, where that is more than before. A failure while the group rebalances means
    /// nothing: what is still owned afterwards is committed again.
    pub(super) fn commit(&mut self) {
        let failed = self.input.consumer.context().commit_failed();
        let due: Vec<(i32, i64, Checkpoint)> = self.slots.values_mut().filter_map(|slot| slot.due(failed)).collect();
        let offsets =
            due.iter().map(|(partition, next, checkpoint)| (*partition, *next, self.shared.text_of(*checkpoint)));
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
