//! A jump in the acknowledgements (C1.5): nothing new goes out until it is known whether another owner wrote; where one
//! did, the group is asked whose the partition is.
//!
//! Invariant: from the jump until the epoch is known to be kept, or a new one is taken, no verdict is handed to the producer.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::{Shard, recover::Rival, slot::Stage};
use crate::{
    engine::partition::Partition,
    telemetry::facts::{EpochDoubted, EpochKept, EpochLost, Fact},
};

/// So many epochs lost within [`LOSS_WINDOW`] is two deployments on one verdict topic.
const MOST_LOSSES: usize = 5;

/// The time that losses are counted over.
const LOSS_WINDOW: Duration = Duration::from_secs(60);

/// How long a fenced partition waits before the group is asked again.
const ASK_GROUP_EVERY: Duration = Duration::from_secs(1);

impl Shard {
    /// An acknowledgement is not the one expected: what lies from `from` on is to be read.
    pub(super) fn doubt(&mut self, partition: i32, from: i64) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let replaying = match &mut slot.stage {
            Stage::Live => None,
            Stage::Replaying { last, replayed } => Some((*last, *replayed)),
            Stage::Leaving { clean } => {
                // The next owner reads what lies between.
                *clean = false;
                return;
            }
            _ => return,
        };
        slot.stage = Stage::Checking { from, asked: false, replaying };
        EpochDoubted { partition, from }.emit(&self.shared.telemetry);
        self.stand_still(partition);
    }

    pub(super) fn ask_check(&mut self, partition: i32, from: i64) {
        let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.inflight.is_empty()) else { return };
        let Some(epoch) = slot.epoch() else { return };
        if let Stage::Checking { asked, .. } = &mut slot.stage {
            *asked = true;
        }
        self.recoveries.check(slot.ticket(), from, epoch);
    }

    /// Nobody else wrote up to `next`: verdicts go on, or the replay that was under way.
    pub(super) fn kept(&mut self, partition: i32, next: i64, replaying: Option<(i64, u64)>) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        if let Some(chain) = &mut slot.chain {
            chain.resume(next);
        }
        slot.stage = replaying.map_or(Stage::Live, |(last, replayed)| Stage::Replaying { last, replayed });
        if slot.stage == Stage::Live {
            EpochKept { partition }.emit(&self.shared.telemetry);
        }
        self.read_on(partition);
    }

    /// Reads the partition from the next record on that its state expects.
    fn read_on(&mut self, partition: i32) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        // What it was paused for is looked at anew: being placed ends a pause.
        (slot.throttled, slot.astray) = (false, None);
        let next = slot.engine.as_ref().map(Partition::next);
        if let Some(Err(error)) = next.map(|next| self.input.place(partition, next)) {
            tracing::debug!(partition, %error, "the partition cannot be read");
        }
    }

    /// Reads those on whose reading failed a moment ago. In any other stage nothing is read before the partition is placed.
    pub(super) fn pursue_astray(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let now = Instant::now();
        let due = self.slots.values_mut().filter(|slot| slot.astray.is_some_and(|at| now >= at));
        let reading = due.filter_map(|slot| {
            slot.astray = None;
            matches!(slot.stage, Stage::Live | Stage::Replaying { .. }).then_some(slot.partition)
        });
        let reading: Vec<i32> = reading.collect();
        reading.into_iter().for_each(|partition| self.read_on(partition));
    }

    /// A newer owner wrote: nothing goes out until the group says whose the partition is.
    pub(super) fn lost(&mut self, partition: i32, rival: &Rival) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let epoch = slot.epoch().unwrap_or(-1);
        EpochLost { partition, epoch, newer: rival.epoch }.emit(&self.shared.telemetry);
        let now = Instant::now();
        slot.stage = Stage::Fenced { at: now };
        let losses = self.losses.entry(partition).or_default();
        losses.retain(|at| now.duration_since(*at) < LOSS_WINDOW);
        losses.push(now);
        if losses.len() >= MOST_LOSSES {
            let Rival { group, instance, .. } = rival;
            let why = format!(
                "{} epochs lost within a minute to instance {instance} of group {group}: two deployments write to one \
                 verdict topic; give one another topics.verdicts or the same kafka.group",
                losses.len()
            );
            self.refuse(partition, &why);
        }
    }

    /// A commit, which the group's generation fences, tells whether the partition is still ours.
    pub(super) fn ask_group(&mut self, partition: i32) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let known = slot.known.map(|checkpoint| self.shared.text_of(checkpoint));
        slot.stage = Stage::Asking;
        self.recoveries.ask_group(slot.ticket(), slot.next_undelivered(), known.unwrap_or_default());
    }

    pub(super) fn group_answered(&mut self, partition: i32, outcome: Result<(), KafkaError>) {
        let Err(error) = outcome else { return self.claim_anew(partition, Duration::ZERO) };
        tracing::info!(partition, %error, "fenced by the group");
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.stage = Stage::Fenced { at: Instant::now() + ASK_GROUP_EVERY };
        }
    }
}
