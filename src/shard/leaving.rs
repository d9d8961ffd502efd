//! Giving partitions back in order: nothing new is judged, what is under way is acknowledged, the checkpoint is committed,
//! and only then does the group hear of it. So the next owner finds no verdict of a former one behind its record.
//!
//! Invariant: what one notice names is given up in one call, and none is placed before that. It is bounded: verdicts that
//! are not acknowledged in time land before the next owner's record and count, or after it and do not.

use std::time::{Duration, Instant};

use super::{
    Shard,
    slot::{Slot, Stage},
};

/// How long partitions may take to be drained. The whole group waits for them.
const DRAIN: Duration = Duration::from_secs(2);

/// Partitions on their way out.
pub(super) struct Leaving {
    partitions: Vec<i32>,
    until: Instant,
}

impl Leaving {
    /// What is still on its way out; `None` where nothing is.
    fn without(mut self, gone: &[i32]) -> Option<Self> {
        self.partitions.retain(|partition| !gone.contains(partition));
        (!self.partitions.is_empty()).then_some(self)
    }
}

impl Shard {
    /// The group wants partitions back.
    pub(super) fn drain(&mut self, partitions: Vec<i32>) {
        for partition in &partitions {
            self.stand_still(*partition);
            if let Some(slot) = self.slots.get_mut(partition) {
                slot.stage = Stage::Leaving { clean: slot.checkpoint().is_some() };
            }
        }
        tracing::debug!(shard = self.number, ?partitions, "partitions are drained before they go");
        self.leaving = Some(Leaving { partitions, until: Instant::now() + DRAIN });
    }

    /// These went at once, lost to the group: they are not waited for, and nothing waits for them.
    pub(super) fn no_longer_leaving(&mut self, gone: &[i32]) {
        self.leaving = self.leaving.take().and_then(|leaving| leaving.without(gone));
    }

    /// Gives them up once they are drained, or time is over.
    pub(super) fn pursue_leaving(&mut self) {
        let Some(Leaving { partitions, until }) = &self.leaving else { return };
        let slots = partitions.iter().filter_map(|partition| self.slots.get(partition));
        if slots.clone().any(Slot::is_busy) && Instant::now() < *until {
            return;
        }
        let Some(Leaving { partitions, .. }) = self.leaving.take() else { return };
        self.commit();
        for partition in &partitions {
            self.revoked(*partition);
        }
        if let Err(error) = self.input.give_up() {
            tracing::debug!(%error, "partitions were no longer assigned");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_group_lost_meanwhile_is_not_waited_for() {
        let leaving = |partitions: &[i32]| Leaving { partitions: partitions.to_vec(), until: Instant::now() + DRAIN };
        let rest = leaving(&[1, 2, 3]).without(&[2]).expect("two are left");
        assert_eq!(rest.partitions, [1, 3]);
        assert!(rest.without(&[1, 3, 9]).is_none(), "answers are taken again");
    }
}
