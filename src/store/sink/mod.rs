//! The sink: a member of a consumer group of its own on the verdict topic, which stores accepted verdicts.
//!
//! ```text
//! assigned ─► waiting ── position from PostgreSQL ──► running ── rows encoded ──► one transaction: lock, COPY, move
//!                ▲                                                                        │
//!                └──────────── any failure, or a commit whose outcome is unknown ◄────────┘
//! ```
//!
//! Invariant: there is one way on after a failure, which is to ask the database where it stands. The group says who
//! reads a partition; the progress rows, locked in each transaction, say who may write. Nothing here delays scoring.

mod batch;
mod holders;
mod housekeeping;
mod job;
mod session;
pub mod slot;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Message},
};
use thiserror::Error;
use tokio::runtime::Runtime;

use super::{Database, StoreError, copy::Place, days::Day};
use crate::{
    config::Config,
    shard::{Input, consumer_settings},
    telemetry::{
        Loop, Telemetry,
        facts::GapSeen,
        sink::{NEEDS_DATABASE, Skipped},
    },
};
use batch::{Batch, Gathering};
use job::Job;
use session::Session;
use slot::{Slot, Stage, Taken};

/// How long one wait for a record lasts before jobs, notices and the stop flag are looked at.
const WAIT: Duration = Duration::from_millis(20);
/// The most records of one read: notices and the stop flag are looked at between.
const MOST_RECORDS: usize = 10_000;
/// How long a full batch waits for the one before it while nothing else is done; beyond, the group is served meanwhile.
const HOLD_AFTER: Duration = Duration::from_secs(1);
/// How long a stop may take: the batch in flight, the last batch, leaving the group.
const STOP_BUDGET: Duration = Duration::from_secs(6);
/// The pause before the database is asked again after a failure, growing from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Why the sink cannot run.
#[derive(Debug, Error)]
pub enum SinkError {
    /// There is no database, or its connection string cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Kafka client cannot be made.
    #[error("the Kafka client cannot be made: {0}; check kafka.properties")]
    Client(#[from] KafkaError),
    /// No threads.
    #[error("the sink's threads cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

/// The sink of one process.
pub struct Sink {
    config: Arc<Config>,
    telemetry: Telemetry,
    stop: Arc<AtomicBool>,
    database: Database,
    runtime: Runtime,
    input: Input,
    slots: BTreeMap<i32, Slot>,
    batch: Gathering,
    /// The most rows of a batch; smaller after a failure that size may explain.
    limit: usize,
    job: Option<Job>,
    session: Option<Session>,
    /// The verdict topic's id, once asked for.
    topic_id: Option<String>,
    /// When the database or the topic may be asked again, and the pause after the next failure.
    retry: (Instant, Duration),
    /// Whether the database, or the topic, was told to be away.
    lost: bool,
    topic_lost: bool,
    /// Whether the last write failed.
    write_failed: bool,
    /// What was told of refused partitions.
    refused: String,
    /// Stored offsets not yet committed to the group.
    stored: housekeeping::StoredOffsets,
    /// Since when a full batch waits, and whether the partitions are paused for it.
    full_since: Option<Instant>,
    held: bool,
    clocks: housekeeping::Clocks,
}

impl Sink {
    /// Makes the clients; nothing is read before [`Self::run`].
    ///
    /// # Errors
    /// `sink.database_url` is missing or wrong, or a Kafka property is.
    pub fn new(config: Arc<Config>, telemetry: Telemetry, stop: Arc<AtomicBool>) -> Result<Self, SinkError> {
        let Some(url) = &config.sink.database_url else {
            let missing = "is not set: give it, or DATABASE_URL, as postgres://user:password@host:5432/database";
            return Err(StoreError::Url(String::from(missing)).into());
        };
        let database = Database::new(url)?;
        let mut settings = consumer_settings(&config);
        settings.set("group.id", format!("{}-sink", config.kafka.group));
        let input = Input::subscribe(&settings, &config.topics.verdicts)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sink-database")
            .enable_all()
            .build()?;
        telemetry.health.hold(NEEDS_DATABASE, Some(String::from("not asked yet")));
        let now = Instant::now();
        Ok(Self {
            limit: config.sink.batch,
            config,
            telemetry,
            stop,
            database,
            runtime,
            input,
            slots: BTreeMap::new(),
            batch: Gathering::default(),
            job: None,
            session: None,
            topic_id: None,
            retry: (now, BACKOFF.0),
            lost: false,
            topic_lost: false,
            write_failed: false,
            refused: String::new(),
            stored: BTreeMap::new(),
            full_since: None,
            held: false,
            clocks: housekeeping::Clocks::new(now),
        })
    }

    /// Stores until told to stop; then writes what it has and leaves the group.
    pub fn run(mut self) {
        self.telemetry.health.beat(Loop::Sink, Instant::now());
        self.keep_days();
        while !self.stop.load(Ordering::Relaxed) {
            self.turn();
        }
        self.finish();
    }

    fn turn(&mut self) {
        self.telemetry.health.beat(Loop::Sink, Instant::now());
        self.take_notices();
        self.finish_job();
        self.start_job();
        self.keep_house();
        if self.is_full() {
            self.hold();
        } else {
            self.full_since = None;
            self.release();
            self.read();
        }
    }

    /// Takes records until the batch is full or nothing more is there for now.
    fn read(&mut self) {
        let mut wait = WAIT;
        let today = Day::today();
        for _ in 0..MOST_RECORDS {
            if self.is_full() {
                return;
            }
            match self.input.consumer.poll(wait) {
                None => return,
                Some(Ok(message)) => {
                    let expired = |day| self.config.sink.days.is_over(day, today);
                    let follow_up =
                        take(&message, &mut self.slots, self.batch.of(message.partition()), &self.telemetry, expired);
                    let partition = message.partition();
                    drop(message);
                    match follow_up {
                        FollowUp::None => {}
                        FollowUp::GoBack(to) => _ = self.input.place(partition, to),
                        FollowUp::OtherLog(found) => return self.other_log(partition, &found),
                    }
                }
                Some(Err(error)) => return self.read_error(&error),
            }
            wait = Duration::ZERO;
        }
    }

    /// Topics that were created anew have another id, and begin anew; in the same topic another log is refused.
    fn other_log(&mut self, partition: i32, found: &str) {
        if let (Some(slot), Some(from)) = (self.slots.get_mut(&partition), self.batch.from(partition)) {
            slot.object(from, found);
        }
        if let Ok(topic) = self.ask_topic() {
            self.topic_id = Some(topic);
        }
        self.ask_again("verdicts of another log follow");
    }

    /// A full batch waits for the one before it; meanwhile the group must be served, which wants polling.
    fn hold(&mut self) {
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if since.elapsed() < HOLD_AFTER {
            return self.wait_for_job(WAIT);
        }
        if !self.held {
            self.held = true;
            self.running().for_each(|partition| _ = self.input.pause(partition));
        }
        if self.input.consumer.poll(WAIT).is_some_and(|record| record.is_ok()) {
            // A record that slipped through must not be passed over.
            self.ask_again("a record came from a paused partition");
        }
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            self.running().for_each(|partition| _ = self.input.resume(partition));
        }
    }

    fn running(&self) -> impl Iterator<Item = i32> {
        self.slots.iter().filter(|(_, slot)| slot.stage == Stage::Running).map(|(partition, _)| *partition)
    }

    /// Forgets what is not written, and asks the database where all partitions stand.
    fn ask_again(&mut self, why: &str) {
        tracing::debug!(why, "the sink asks the database where it stands");
        self.batch.clear();
        (self.full_since, self.held) = (None, false);
        for (partition, slot) in &mut self.slots {
            slot.stage = Stage::Waiting;
            // An error says that it is no longer ours.
            let _ = self.input.pause(*partition);
        }
    }

    /// What is gathered, then the group is left. What is not written is read again by whoever comes next.
    fn finish(&mut self) {
        let deadline = Instant::now() + STOP_BUDGET;
        while Instant::now() < deadline {
            self.wait_for_job(WAIT);
            self.finish_job();
            if self.job.is_some() {
                continue;
            }
            if self.batch.is_empty() || self.session.is_none() {
                break;
            }
            self.start_write();
        }
        self.commit(CommitMode::Sync);
        self.input.consumer.unsubscribe();
    }
}

/// What a record asks of the consumer.
enum FollowUp {
    None,
    GoBack(i64),
    OtherLog(String),
}

/// Judges a record and puts its row into the batch.
fn take(
    message: &BorrowedMessage<'_>,
    slots: &mut BTreeMap<i32, Slot>,
    batch: &mut Batch,
    telemetry: &Telemetry,
    expired: impl FnOnce(Day) -> bool,
) -> FollowUp {
    let (partition, offset) = (message.partition(), message.offset());
    // A rebalance inside poll may have taken the partition.
    let Some(slot) = slots.get_mut(&partition).filter(|slot| slot.stage == Stage::Running) else {
        return FollowUp::None;
    };
    batch.touch(partition, || slot.progress());
    let value = message.payload().unwrap_or_default();
    match slot.take(partition, offset, value) {
        Taken::Pass | Taken::Stale => {}
        Taken::GoBack(to) => return FollowUp::GoBack(to),
        Taken::OtherLog(found) => return FollowUp::OtherLog(found),
        Taken::Skip(reason) => batch.skip(reason),
        Taken::Store { verdict, whole, gap } => {
            if let Some(expected) = gap {
                telemetry.emit(GapSeen { partition, expected, found: verdict.source.previous_offset });
            }
            let recorded_ms = message.timestamp().to_millis().unwrap_or(verdict.decided_at.0 / 1_000).max(0);
            let day = Day::of_ms(recorded_ms);
            let raw = if whole { None } else { std::str::from_utf8(value).ok() };
            if expired(day) {
                batch.skip(Skipped::Expired);
            } else if batch.rows.push(&verdict, Place { verdict_offset: offset, recorded_ms, day, raw }).is_err() {
                batch.skip(Skipped::Refused);
            } else {
                batch.days.insert(day);
                batch.first.get_or_insert((partition, offset));
            }
        }
    }
    FollowUp::None
}
