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
    },
    kafka::tail::{Span, TailError},
};

/// What the group's offset says of a partition.
pub(super) type Told = Result<Option<Checkpoint>, Elsewhere>;

/// The record by which `instance` takes a partition of the log with this short id, now.
pub(crate) fn owner_record(config: &Config, log: &str, partition: i32, instance: &str, host: &str) -> Vec<u8> {
    let Edition { generation, hash } = Edition::own(&config.rules);
    let record = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log, partition },
        group: &config.kafka.group,
        instance,
        version: env!("CARGO_PKG_VERSION"),
        host,
        engine_generation: generation,
        engine_hash: Digest(hash),
        decided_at: wall_time(),
        schema_version: SCHEMA_VERSION,
    };
    serde_json::to_vec(&record).expect("an owner record has nothing that JSON cannot hold")
}

impl Shared {
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

    /// The last owner's edition, before anything is written. Without a checkpoint it is not looked for: it comes to
    /// light when the past is settled.
    pub(super) fn look(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Answer, TailError> {
        let unknown = Ok(Answer::Looked { edition: None });
        let Ok(Some(Checkpoint { next, epoch, .. })) = self.told(partition, shared, stop)? else { return unknown };
        let Span { start, end } = self.verdicts.span(partition, stop)?;
        if epoch < start || next > end {
            return unknown;
        }
        // No owner record lies between the checkpoint's and its place.
        let mut edition = None;
        for (from, to) in [(epoch, epoch + 1), (next, end)] {
            self.verdicts.read_range(partition, from, to, stop, |_, value| {
                let head = value.and_then(Head::parse).filter(|head| head.kind == Kind::Owner.as_str());
                if let Some(head) = head {
                    edition = Edition::of(&head);
                }
            })?;
        }
        Ok(Answer::Looked { edition })
    }
}
