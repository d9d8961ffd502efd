//! A shard: one thread, one consumer, one producer, one scorer and the state of the partitions it owns. It runs each
//! batch from poll to produce: no locks, no queues and no async on that path.
//!
//! ```text
//! assigned ─► claiming ─► settling ─► replaying ─► live ─┬─► revoked
//!     ▲     owner record   verdicts     silent           │
//!     └────────── fenced ◄── newer owner ◄── checking ◄──┘ a jump in the acknowledgements
//! ```
//!
//! A partition that is claimed, settled or replayed holds up no other: all that blocks is done by `recover`'s thread.

mod assignment;
mod claims;
mod context;
mod deliver;
mod doubt;
mod housekeeping;
mod leaving;
mod letters;
mod overtaken;
mod ownership;
mod poison;
mod questions;
mod recover;
mod restore;
mod run;
mod slot;
mod slots;
mod snapshots;
mod step;
#[cfg(test)]
mod tests;
mod turn;
mod waits;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};
use thiserror::Error;

use crate::{
    config::Config,
    domain::identity::LogId,
    engine::emit::Emitter,
    kafka::{
        group::{host_name, member_name},
        tail::TailError,
    },
    model::{
        evaluate::Scores,
        folder::Model,
        scorer::{Scorer, ScorerError},
    },
    snapshot::Depot,
    telemetry::{Tally, Telemetry},
};
use assignment::member_settings;
pub(crate) use assignment::{Input, consumer_settings};
pub(crate) use claims::owner_record;
pub(crate) use context::Notice;
pub(crate) use deliver::Verdicts;
pub(crate) use deliver::producer_settings;
use leaving::Leaving;
pub(crate) use letters::DeadLetters;
pub(crate) use ownership::wall_time;
use poison::Crashes;
#[doc(hidden)]
pub use poison::set_trap;
pub(crate) use poison::{guarded, watch_panics};
use recover::Recoveries;
pub(crate) use restore::{found_at, read as read_snapshot, read_head};
use run::Run;
use slot::Slot;
use slots::Slots;
use snapshots::Snapshots;
pub(crate) use step::record;
pub(crate) use turn::{is_misrouted, trace};

/// How long a stop may take before what is still undelivered is left to the next owner; the process's own budget has time
/// to leave the group on top.
const STOP_BUDGET: Duration = Duration::from_millis(7_500);

/// Why a shard ended.
#[derive(Debug, Error)]
pub enum ShardError {
    /// The client cannot be made: a property is wrong.
    #[error("the Kafka client cannot be made: {0}; check kafka.properties")]
    Client(#[from] KafkaError),
    /// The recovery's clients cannot be made.
    #[error(transparent)]
    Recovery(#[from] TailError),
    /// The thread that writes snapshots cannot be started.
    #[error("the thread that writes snapshots cannot be started: {0}")]
    Snapshots(#[from] std::io::Error),
    /// The model cannot be served by the chosen backend.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// Another process took this one's place in the group.
    #[error(
        "another process joined group {group} as {member} and took this one's place; give each process of the group a \
         score.instance of its own"
    )]
    Fenced {
        /// The group.
        group: String,
        /// The static member's name.
        member: String,
    },
    /// The consumer or its subscription failed for good.
    #[error("the consumer failed for good: {0}")]
    Fatal(String),
}

/// What all shards of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The settings.
    pub config: Arc<Config>,
    /// The model served.
    pub model: Arc<Model>,
    /// The transaction topic's id.
    pub log: LogId,
    /// The verdict topic's id, 32 hex digits.
    pub verdict_log: String,
    /// Where snapshots are kept, where they are.
    pub depot: Option<Depot>,
    /// How many partitions the transaction topic has.
    pub partitions: i32,
    /// How many of them have a verdict partition of their number, as the topics were compared last.
    pub peers: Arc<AtomicI32>,
    /// This process's name in its group, where its shards are static members.
    pub instance: Option<String>,
    /// Which shards of this process have joined the group.
    pub gathering: Arc<Gathering>,
    /// Set once to stop.
    pub stop: Arc<AtomicBool>,
    /// Logs, metrics, health.
    pub telemetry: Telemetry,
}

/// How long a shard waits for its siblings to join before it claims what it was given.
const GATHER: Duration = Duration::from_secs(5);

/// A process's shards claim nothing before all of them have joined: what the first to join is given alone goes to its
/// siblings at once, who would replay what it had begun.
pub struct Gathering {
    missing: AtomicUsize,
    until: Instant,
}

impl Gathering {
    /// So many shards are about to join.
    pub fn of(shards: usize) -> Self {
        Self { missing: AtomicUsize::new(shards), until: Instant::now() + GATHER }
    }

    fn joined(&self) {
        self.missing.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.missing.load(Ordering::Relaxed) == 0 || now >= self.until
    }
}

/// One shard.
pub struct Shard {
    number: usize,
    shared: Shared,
    short_log: String,
    host: String,
    instance: String,
    input: Input,
    verdicts: Verdicts,
    letters: DeadLetters,
    recoveries: Recoveries,
    scorer: Scorer,
    emitter: Emitter,
    slots: Slots,
    /// Partitions that the group wants back.
    leaving: Option<Leaving>,
    snapshots: Option<Snapshots>,
    /// When each partition's epochs were lost lately, for slots come and go.
    losses: HashMap<i32, Vec<Instant>>,
    crashes: Crashes,
    generations: usize,
    joined: bool,
    scratch: Scratch,
    tally: Tally,
    next_housekeeping: Instant,
    next_commit: Instant,
    next_commit_of_all: Instant,
}

/// Buffers that turns use again and again.
#[derive(Default)]
struct Scratch {
    scores: Scores,
    run: Run,
}

impl Shard {
    /// Connects the shard's clients and subscribes; nothing is read before the first turn.
    ///
    /// # Errors
    /// A property is wrong, or the model cannot be served.
    pub fn new(number: usize, shared: Shared) -> Result<Self, ShardError> {
        let config = &shared.config;
        let host = host_name();
        let instance = format!("{host}-{}-{number}", std::process::id());
        let scorer = Scorer::new(&shared.model, config.model.backend)?;
        let now = Instant::now();
        let member = member_settings(config, shared.instance.as_deref(), number);
        let input = Input::join(&member, &config.topics.transactions)?;
        Ok(Self {
            number,
            short_log: shared.log.short(),
            host,
            instance,
            verdicts: Verdicts::new(config)?,
            letters: DeadLetters::new(config),
            recoveries: Recoveries::start(number, &shared, &input.asker())?,
            input,
            scorer,
            emitter: Emitter::new(Arc::clone(&shared.model), config.score.features),
            slots: Slots::default(),
            leaving: None,
            snapshots: shared.depot.clone().map(|depot| Snapshots::start(number, depot, &shared)).transpose()?,
            losses: HashMap::new(),
            crashes: Crashes::default(),
            generations: 0,
            joined: false,
            scratch: Scratch::default(),
            tally: Tally::new(&shared.telemetry.metrics),
            next_housekeeping: now,
            next_commit: now,
            next_commit_of_all: now,
            shared,
        })
    }

    /// Turns until told to stop, then finishes in-flight work, commits and leaves the group.
    ///
    /// # Errors
    /// A failure that no retry mends.
    pub fn run(mut self) -> Result<(), ShardError> {
        poison::watch_panics();
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.turn()?;
        }
        self.finish();
        Ok(())
    }

    /// Why the consumer failed for good.
    fn ended(&self, error: &KafkaError) -> ShardError {
        let fatal = self.input.consumer.client().fatal_error();
        let is_fenced = matches!(fatal, Some((RDKafkaErrorCode::FencedInstanceId, _)));
        match self.shared.instance.as_deref().filter(|_| is_fenced) {
            Some(instance) => {
                let group = self.shared.config.kafka.group.clone();
                ShardError::Fenced { group, member: member_name(instance, self.number) }
            }
            None => ShardError::Fatal(fatal.map_or_else(|| error.to_string(), |(_, reason)| reason)),
        }
    }

    /// Ordered stop: no new records, the last verdicts acknowledged, offsets committed, the group left.
    fn finish(&mut self) {
        let deadline = Instant::now() + STOP_BUDGET;
        while self.slots.values().any(Slot::is_busy) && Instant::now() < deadline {
            self.verdicts.wait(Duration::from_millis(10));
            self.take_acknowledgements();
            self.release_held();
        }
        self.commit();
        self.input.close_soon();
        // A static member keeps its place for its session: who leaves for good says `sentra leave`.
        if self.shared.instance.is_none() {
            self.input.consumer.unsubscribe();
        }
    }
}
