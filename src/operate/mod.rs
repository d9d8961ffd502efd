//! What an operator asks of one partition, or does to it, from outside its owner: everything comes from the topics and
//! the snapshots, as a new owner would find it.
//!
//! Invariant: nothing but [`Desk::skip`] writes, and it writes what a new owner might. Not a member of the group, and no
//! owner: a running line notices a skip by its acknowledgements alone.

mod difference;
mod metrics;
mod replay;
mod skip;
mod state;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use difference::Difference;
pub use metrics::{Process, ask};
pub use replay::Replayed;
pub use skip::Skipped;
pub use state::{PartitionReport, SnapshotState, State};

use crate::{
    config::Config,
    domain::{identity::LogId, verdict::Head},
    engine::{
        checkpoint::{Between, Told},
        decisions::Decisions,
        edition::{Edition, Superseded},
        partition::Place,
        plan::{Logs, Refusal},
        rule::Fate,
        settle::{Settled, Settling},
    },
    kafka::{
        layout::{Layout, LayoutError, Surveyor},
        tail::{RangeReader, Span, TailError},
    },
    model::{folder::ModelError, scorer::ScorerError},
    snapshot::{Depot, DepotError},
};

/// Why an operator's question cannot be answered, or the deed not be done.
#[derive(Debug, Error)]
pub enum OperateError {
    /// The topics cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A log cannot be read.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// The snapshots cannot be read.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The model cannot be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be served by the chosen backend.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// A producer cannot be made, or failed for good.
    #[error("kafka: {0}")]
    Producer(String),
    /// The partition is not there.
    #[error("there is no partition {partition}: the topics have {partitions}, from 0 on")]
    NoPartition {
        /// The one asked for.
        partition: i32,
        /// How many there are.
        partitions: i32,
    },
    /// No owner would take the partition.
    #[error("partition {partition}: {refusal}")]
    Refused {
        /// The partition.
        partition: i32,
        /// Why.
        refusal: Refusal,
    },
    /// Another edition of the engine owns it.
    #[error("partition {partition}: {superseded}")]
    Superseded {
        /// The partition.
        partition: i32,
        /// Why.
        superseded: Superseded,
    },
    /// The record or its verdict is not there, or not the one that may be skipped.
    #[error("partition {partition}, offset {offset}: {why}")]
    NotThere {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What is, and the way out.
        why: String,
    },
    /// The program fails on a record.
    #[error("partition {partition}: the program fails on the record at offset {offset}, at {place}; report that place")]
    Fails {
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// The place in the code.
        place: String,
    },
}

/// The newest owner record of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its offset in the verdict partition.
    #[serde(skip_deserializing)]
    pub epoch: i64,
    /// The consumer group.
    pub group: String,
    /// The instance.
    pub instance: String,
    /// The program's version.
    pub version: String,
    /// Its host; empty where the record names none.
    pub host: String,
    /// When it was written.
    #[serde(rename = "decided_at")]
    pub since: String,
    #[serde(default, skip_serializing)]
    partitions: Option<i32>,
}

/// What the verdict partition says, up to its end or to a given epoch.
struct Past {
    settled: Settled,
    owner: Option<Owner>,
    verdicts: Span,
}

/// Where questions are asked.
pub struct Desk {
    config: Arc<Config>,
    layout: Layout,
    transactions: RangeReader,
    verdicts: RangeReader,
    depot: Option<Depot>,
    stop: Arc<AtomicBool>,
}

impl Desk {
    /// Finds the topics, and the snapshots where there are some. `stop` ends whatever is under way.
    ///
    /// # Errors
    /// No broker answers, a topic is missing, or snapshots.location is wrong.
    pub fn open(config: Config, stop: Arc<AtomicBool>) -> Result<Self, OperateError> {
        let layout = Surveyor::new(&config)?.survey()?;
        let logs = format!("{}-{}", layout.log, layout.verdict_log);
        let depot = match config.snapshots.location.as_deref().map(|location| Depot::existing(location, &logs)) {
            // A folder that is not there holds none.
            Some(Err(DepotError::Folder { error, .. })) if error.kind() == std::io::ErrorKind::NotFound => None,
            other => other.transpose()?,
        };
        let transactions = RangeReader::of_group(&config.kafka, &config.topics.transactions)?;
        let verdicts = RangeReader::open(&config.kafka, &config.topics.verdicts)?;
        Ok(Self { config: Arc::new(config), layout, transactions, verdicts, depot, stop })
    }

    /// How many partitions both topics have.
    pub fn partitions(&self) -> i32 {
        self.layout.transactions.min(self.layout.verdicts)
    }

    fn check(&self, partition: i32) -> Result<(), OperateError> {
        let partitions = self.partitions();
        let known = (0..partitions).contains(&partition);
        if known { Ok(()) } else { Err(OperateError::NoPartition { partition, partitions }) }
    }

    fn log(&self) -> LogId {
        LogId(*self.layout.log.as_bytes())
    }

    fn place(&self, partition: i32) -> Place {
        Place { log: self.log(), partition, partitions: self.layout.transactions }
    }

    fn logs(&self, input: Span, past: &Past) -> Logs {
        let partitions = self.layout.transactions;
        Logs { input_start: input.start, input_end: input.end, verdict_start: past.verdicts.start, partitions }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Settles the partition up to `end`, or to its end: from the group's checkpoint on, where one fits.
    fn past(&mut self, partition: i32, end: Option<i64>) -> Result<Past, OperateError> {
        let log = self.log().short();
        let between =
            Between { log: log.clone(), verdicts: self.layout.verdict_log.to_string().chars().take(8).collect() };
        let committed = self.transactions.committed(partition, &self.stop)?;
        let told = committed.map_or(Ok(None), |text| Told::from_text(&text, &between));
        let span = self.verdicts.span(partition, &self.stop)?;
        let end = end.unwrap_or(span.end);
        let fits = |at: &Told| (span.start..=end).contains(&at.checkpoint.next);
        let from = told.as_ref().ok().copied().flatten().filter(fits);
        let mut owner = None;
        let mut edition = from.and_then(|at| at.edition);
        if let Some(epoch) = from.map(|at| at.checkpoint.epoch).filter(|epoch| *epoch >= span.start) {
            self.verdicts.read_range(partition, epoch, epoch + 1, &self.stop, |offset, value| {
                let value = value.unwrap_or_default();
                owner = Owner::read(offset, value);
                edition = edition.or_else(|| Head::parse(value).as_ref().and_then(Edition::of));
            })?;
        }
        let settling = match from {
            Some(at) => Settling::resume(Told { edition, ..at }, Decisions::default(), span.start, log),
            None => Settling::new(span.start, log),
        };
        let mut settling = settling.knowing(told, span.end);
        let began_with = owner.as_ref().and_then(|owner| owner.partitions);
        self.verdicts.read_range(partition, settling.next(), end, &self.stop, |offset, value| {
            let value = value.unwrap_or_default();
            if settling.take(offset, value) == Fate::Owner {
                owner = Owner::read(offset, value);
            }
        })?;
        let mut settled = settling.finish();
        settled.partitions = began_with.or(settled.partitions);
        Ok(Past { settled, owner, verdicts: Span { start: span.start, end } })
    }
}

impl Owner {
    fn read(epoch: i64, value: &[u8]) -> Option<Self> {
        Some(Self { epoch, ..serde_json::from_slice(value).ok()? })
    }
}
