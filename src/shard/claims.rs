//! What `recover`'s threads find out of a partition before it is claimed and while it is settled: the checkpoint that
//! the group committed, and with which edition of the engine its last owner works; and the record that claims it.

use std::sync::atomic::AtomicBool;

use super::{
    Shared,
    ownership::wall_time,
    recover::{Answer, Readers},
};
use crate::{
    config::Config,
    domain::verdict::{Digest, Head, Kind, OwnerRecord, OwnerSource, SCHEMA_VERSION},
    engine::{
        checkpoint::{Between, Checkpoint, Elsewhere},
        edition::Edition,
        partition::Place,
    },
    kafka::tail::{Span, TailError},
};

/// What the group's offset says of a partition.
pub(super) type Told = Result<Option<Checkpoint>, Elsewhere>;

/// What an owner record says to those who come after.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Predecessor {
    /// The newest one's edition, where it names one.
    pub edition: Option<Edition>,
    /// How many partitions the log began with, as far as owner records name it.
    pub partitions: Option<i32>,
}

/// The record by which `instance` takes a partition, now.
pub(crate) fn owner_record(config: &Config, place: &Place, instance: &str, host: &str) -> Vec<u8> {
    let Edition { generation, hash } = Edition::own(&config.rules);
    let record = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log: &place.log.short(), partition: place.partition },
        group: &config.kafka.group,
        instance,
        version: env!("CARGO_PKG_VERSION"),
        host,
        engine_generation: generation,
        engine_hash: Digest(hash),
        partitions: place.partitions,
        decided_at: wall_time(),
        schema_version: SCHEMA_VERSION,
    };
    serde_json::to_vec(&record).expect("an owner record has nothing that JSON cannot hold")
}

impl Shared {
    /// Where a partition of this log stands.
    pub(super) fn place(&self, partition: i32) -> Place {
        Place { log: self.log, partition, partitions: self.partitions }
    }

    /// The topics that this process's checkpoints are about.
    pub(super) fn between(&self) -> Between {
        Between { log: self.log.short(), verdicts: self.verdict_log.chars().take(8).collect() }
    }
}

impl Readers {
    /// The group's checkpoint.
    pub(super) fn told(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Told, TailError> {
        let Some(text) = self.transactions.committed(partition, stop)? else { return Ok(Ok(None)) };
        let told = Checkpoint::from_text(&text, &shared.between());
        if told == Ok(None) && !text.is_empty() {
            tracing::warn!(partition, "the group's offset bears metadata of another version or program; it is ignored");
        }
        Ok(told)
    }

    /// What the last owner's record says, before anything is written. Without a checkpoint it is not looked for: it comes
    /// to light when the past is settled. A partition without one may have come later than the log: then the first
    /// partition's owner tells how many there were.
    pub(super) fn look(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Answer, TailError> {
        let mut last = self.last_owner(partition, shared, stop)?;
        if last.is_none() && partition != 0 {
            last = self.last_owner(0, shared, stop)?.map(|first| Predecessor { edition: None, ..first });
        }
        Ok(Answer::Looked { last: last.unwrap_or_default() })
    }

    /// The last owner of a partition of which the group has a checkpoint.
    fn last_owner(
        &mut self,
        partition: i32,
        shared: &Shared,
        stop: &AtomicBool,
    ) -> Result<Option<Predecessor>, TailError> {
        let Ok(Some(Checkpoint { next, epoch, .. })) = self.told(partition, shared, stop)? else { return Ok(None) };
        let Span { start, end } = self.verdicts.span(partition, stop)?;
        if epoch < start || next > end {
            return Ok(None);
        }
        // No owner record lies between the checkpoint's and its place.
        let mut last = Predecessor::default();
        for (from, to) in [(epoch, epoch + 1), (next, end)] {
            self.verdicts.read_range(partition, from, to, stop, |_, value| {
                let head = value.and_then(Head::parse).filter(|head| head.kind == Kind::Owner.as_str());
                if let Some(head) = head {
                    last.edition = Edition::of(&head);
                    last.partitions = last.partitions.or(head.partitions);
                }
            })?;
        }
        Ok(Some(last))
    }
}
