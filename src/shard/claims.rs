//! What `recover`'s threads find out of a partition before it is claimed and while it is settled: the checkpoint that
//! the group committed, and with which edition of the engine its last owner works; and the record that claims it.

use std::{ops::Range, sync::atomic::AtomicBool};

use super::{
    Shared,
    ownership::wall_time,
    recover::{Answer, Readers},
    restore::read_head,
};
use crate::{
    config::Config,
    domain::verdict::{Digest, Head, Kind, OwnerRecord, OwnerSource, SCHEMA_VERSION},
    engine::{
        checkpoint::{Between, Checkpoint, Elsewhere, Told},
        decisions::Decisions,
        edition::Edition,
        settle::Settling,
    },
    kafka::tail::{Span, TailError},
};

/// What the group's offset says of a partition.
pub(super) type Committed = Result<Option<Told>, Elsewhere>;

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
    fn between(&self) -> Between {
        Between { log: self.log.short(), verdicts: self.verdict_log.chars().take(8).collect() }
    }

    /// A checkpoint of this process as the group keeps it.
    pub(super) fn text_of(&self, checkpoint: Checkpoint) -> String {
        let Config { rules, snapshots, .. } = &*self.config;
        checkpoint.to_text(&self.between(), Edition::own(rules), snapshots.format)
    }
}

impl Readers {
    /// The group's checkpoint.
    pub(super) fn told(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Committed, TailError> {
        let Some(text) = self.transactions.committed(partition, stop)? else { return Ok(Ok(None)) };
        let told = Told::from_text(&text, &shared.between());
        if told == Ok(None) && !text.is_empty() {
            tracing::warn!(partition, "the group's offset bears metadata of another version or program; it is ignored");
        }
        Ok(told)
    }

    /// Whom the partition comes from, before anything is written: from the newest place known on, or else from the
    /// verdict partition's start, its records are looked through.
    pub(super) fn look(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Answer, TailError> {
        let Span { start, end } = self.verdicts.span(partition, stop)?;
        let committed = self.told(partition, shared, stop)?.unwrap_or_default();
        let is_there = |told: &Told| told.checkpoint.next <= end;
        let told = match committed.filter(is_there) {
            // Its owner's record may be deleted, and the checkpoint be of a version that names no edition.
            Some(Told { checkpoint, edition: None }) => {
                let record = self.edition_at(partition, checkpoint.epoch.max(start)..checkpoint.epoch + 1, stop)?;
                let snapshot =
                    || newest_told(shared, partition).filter(|told| told.checkpoint.epoch == checkpoint.epoch);
                let edition = record.or_else(|| snapshot().and_then(|told| told.edition));
                Some(Told { checkpoint, edition })
            }
            Some(told) => Some(told),
            None => newest_told(shared, partition).filter(is_there),
        };
        let log = shared.log.short();
        let mut settling = match told {
            Some(told) => Settling::resume(told, Decisions::default(), start, log),
            None => Settling::new(start, log),
        };
        self.verdicts.read_range(partition, settling.next(), end, stop, |offset, value| {
            settling.take(offset, value.unwrap_or_default());
        })?;
        Ok(Answer::Looked { owners: settling.finish().owners })
    }

    /// What the owner record there names, where there is one.
    fn edition_at(&mut self, partition: i32, at: Range<i64>, stop: &AtomicBool) -> Result<Option<Edition>, TailError> {
        let mut edition = None;
        self.verdicts.read_range(partition, at.start, at.end, stop, |_, value| {
            let head = value.and_then(Head::parse).filter(|head| head.kind == Kind::Owner.as_str());
            edition = head.as_ref().and_then(Edition::of);
        })?;
        Ok(edition)
    }
}

/// What the newest snapshot says of its owner. One that cannot be read says nothing here: the partition is settled, and
/// judged once more, before anything is emitted.
fn newest_told(shared: &Shared, partition: i32) -> Option<Told> {
    let depot = shared.depot.as_ref()?;
    let name = depot.list(partition).ok()?.into_iter().next()?;
    read_head(depot, partition, name).ok().map(|head| head.told())
}
