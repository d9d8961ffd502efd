//! What `recover`'s threads find out of a partition before it is claimed and while it is settled: the checkpoint that
//! the group committed, and with which edition of the engine its last owner works; and the record that claims it.

use std::sync::atomic::AtomicBool;

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
        edition::{Edition, Lineage},
        partition::Place,
        settle::{Doubt, Settling},
    },
    kafka::tail::{Span, TailError},
};

/// What the group's offset says of a partition.
pub(super) type Committed = Result<Option<Told>, Elsewhere>;

/// Whom a partition comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Predecessor {
    /// The owners so far, as far as they are known.
    pub owners: Lineage,
    /// How many partitions the log began with, as far as owner records name it.
    pub partitions: Option<i32>,
}

/// What one owner record names.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    edition: Option<Edition>,
    partitions: Option<i32>,
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
    /// verdict partition's start, its records are looked through. A partition of which nothing is known may have come
    /// later than the log: then the first partition's owner tells how many there were.
    pub(super) fn look(&mut self, partition: i32, shared: &Shared, stop: &AtomicBool) -> Result<Answer, TailError> {
        let committed = match self.told(partition, shared, stop)? {
            Ok(committed) => committed,
            Err(elsewhere) => return Ok(Answer::Looked { last: Err(elsewhere.into()) }),
        };
        // Asked for in this order: what the group knows of is there by then.
        let span = self.verdicts.span(partition, stop)?;
        let Span { start, end } = span;
        if let Some(next) = committed.map(|told| told.checkpoint.next).filter(|next| *next > end) {
            return Ok(Answer::Looked { last: Err(Doubt::Beyond { next, end }) });
        }
        let mut named = Named::default();
        let told = match committed {
            Some(Told { checkpoint, edition }) => {
                named = self.owner_at(partition, span, checkpoint.epoch, stop)?;
                // Its owner's record may be deleted, and the checkpoint be of a version that names no edition.
                let snapshot =
                    || newest_told(shared, partition).filter(|told| told.checkpoint.epoch == checkpoint.epoch);
                let edition = edition.or(named.edition).or_else(|| snapshot().and_then(|told| told.edition));
                Some(Told { checkpoint, edition })
            }
            None => newest_told(shared, partition).filter(|told| told.checkpoint.next <= end),
        };
        let log = shared.log.short();
        let mut settling = match told {
            Some(told) => Settling::resume(told, Decisions::default(), start, log),
            None => Settling::new(start, log),
        };
        self.verdicts.read_range(partition, settling.next(), end, stop, |offset, value| {
            settling.take(offset, value.unwrap_or_default());
        })?;
        let settled = settling.finish();
        let mut partitions = named.partitions.or(settled.partitions);
        if partitions.is_none() && partition != 0 {
            partitions = self.count_by_the_first(shared, stop)?;
        }
        Ok(Answer::Looked { last: Ok(Predecessor { owners: settled.owners, partitions }) })
    }

    /// How many partitions there were when the group's checkpoint of the first one was written.
    fn count_by_the_first(&mut self, shared: &Shared, stop: &AtomicBool) -> Result<Option<i32>, TailError> {
        let Ok(Some(Told { checkpoint, .. })) = self.told(0, shared, stop)? else { return Ok(None) };
        let span = self.verdicts.span(0, stop)?;
        Ok(self.owner_at(0, span, checkpoint.epoch, stop)?.partitions)
    }

    /// What the owner record at `epoch` names, where the partition's log still has it.
    fn owner_at(
        &mut self,
        partition: i32,
        Span { start, end }: Span,
        epoch: i64,
        stop: &AtomicBool,
    ) -> Result<Named, TailError> {
        let mut named = Named::default();
        self.verdicts.read_range(partition, epoch.max(start), (epoch + 1).min(end), stop, |_, value| {
            let head = value.and_then(Head::parse).filter(|head| head.kind == Kind::Owner.as_str());
            if let Some(head) = head {
                named = Named { edition: Edition::of(&head), partitions: head.partitions };
            }
        })?;
        Ok(named)
    }
}

/// What the newest snapshot says of its owner. One that cannot be read says nothing here: the partition is settled, and
/// judged once more, before anything is emitted.
fn newest_told(shared: &Shared, partition: i32) -> Option<Told> {
    let depot = shared.depot.as_ref()?;
    let name = depot.list(partition).ok()?.into_iter().next()?;
    read_head(depot, partition, name).ok().map(|head| head.told())
}
