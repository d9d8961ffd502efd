//! What the sink asks of the database, one thing at a time, while its own thread goes on reading.
//!
//! Invariant: a batch is handed over once; whatever comes back but success means that the database is asked anew.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::consumer::Consumer;
use tokio::task::JoinHandle;

use super::{
    BACKOFF, Batch, Session, Sink,
    session::{Found, WriteError},
    slot::{Progress, Stage},
};
use crate::{
    kafka::{identity::identity, tail::Span},
    store::StoreError,
    telemetry::sink::{
        DatabaseBack, DatabaseLost, SinkLocked, SinkMissed, SinkMovedBack, SinkRefused, Skipped, TopicBack, TopicLost,
    },
};

/// How long one question to the broker may hold the sink's thread up.
const ASK: Duration = Duration::from_secs(3);
/// How long after a failed question to the broker it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// An idle session is asked so often whether the server still takes writes.
const IDLE: Duration = Duration::from_secs(10);

/// A question under way.
pub(super) enum Job {
    Load { spans: BTreeMap<i32, Span>, handle: JoinHandle<Loaded> },
    Write { told: Told, handle: JoinHandle<(Session, Result<Duration, WriteError>)> },
}

type Loaded = Result<(Session, Found), StoreError>;

/// What is to be said of a batch once it is written.
pub(super) struct Told {
    rows: usize,
    first: Option<(i32, i64)>,
    skipped: Vec<(Skipped, u64)>,
    nexts: Vec<(i32, i64)>,
    /// Its partition, where it has but one, and where the rows ended.
    only: Option<(i32, Progress)>,
}

impl Sink {
    /// Starts what is due, if nothing is under way.
    pub(super) fn start_job(&mut self) {
        let now = Instant::now();
        if self.job.is_some() || now < self.retry.0 {
            return;
        }
        let waits = self.slots.values().any(|slot| slot.stage == Stage::Waiting);
        if waits || self.session.is_none() || now.duration_since(self.clocks.asked) > IDLE {
            self.clocks.asked = now;
            return self.start_load();
        }
        let linger = Duration::from_millis(self.config.sink.linger_ms);
        if self.is_full() || self.batch.began().is_some_and(|began| began.elapsed() >= linger) {
            self.clocks.asked = now;
            self.start_write();
        }
    }

    /// Asks where waiting partitions stand, or only whether the server answers.
    fn start_load(&mut self) {
        let asked = self.known_topic().and_then(|topic| Ok((topic, self.spans()?)));
        let (topic, spans) = match asked {
            Ok(asked) => asked,
            Err(why) => {
                self.telemetry.emit(TopicLost { why: &why, first: !self.topic_lost });
                self.topic_lost = true;
                self.retry.0 = Instant::now() + ASK_AGAIN;
                return;
            }
        };
        if std::mem::take(&mut self.topic_lost) {
            self.telemetry.emit(TopicBack);
        }
        let partitions: Vec<(i32, Span)> = spans.iter().map(|(partition, span)| (*partition, *span)).collect();
        let (database, session, within) = (self.database.clone(), self.session.take(), self.config.sink.timeout);
        let load = async move {
            let session = match session {
                Some(session) => session,
                None => Session::open(&database, within).await?,
            };
            let found = session.load(&topic, &partitions).await?;
            Ok((session, found))
        };
        // Longer than the server waits for a lock: that is another answer.
        let handle = self.runtime.spawn(answered(within * 3 / 4, load));
        self.job = Some(Job::Load { spans, handle });
    }

    /// Hands the batch over.
    pub(super) fn start_write(&mut self) {
        let Some(topic) = self.topic_id.clone() else { return };
        let Some(mut session) = self.session.take() else { return };
        let mut batch = self.batch.take();
        for (partition, slot) in self.slots.iter().filter(|(_, slot)| slot.stage == Stage::Running) {
            batch.settle(*partition, || slot.progress());
        }
        batch.moves.retain(|_, of| of.from != of.to);
        if batch.is_empty() {
            self.session = Some(session);
            return;
        }
        let mut froms = batch.moves.iter().map(|(partition, of)| (*partition, of.from.clone()));
        let told = Told {
            only: froms.next().filter(|_| froms.next().is_none()),
            rows: batch.rows.len(),
            first: batch.first,
            skipped: batch.skipped().collect(),
            nexts: batch.moves.iter().map(|(partition, of)| (*partition, of.to.next)).collect(),
        };
        let handle = self.runtime.spawn(async move {
            let written = session.write(&topic, batch).await;
            (session, written)
        });
        self.job = Some(Job::Write { told, handle });
    }

    /// Waits for what is under way, but no longer than that.
    pub(super) fn wait_for_job(&mut self, most: Duration) {
        // The handle stays with the job: only its end is awaited here, if it comes in time.
        match &mut self.job {
            Some(Job::Load { handle, .. }) => self.runtime.block_on(finished(handle, most)),
            Some(Job::Write { handle, .. }) => self.runtime.block_on(finished(handle, most)),
            None => {}
        }
    }

    /// Follows what came of the job, once it has.
    pub(super) fn finish_job(&mut self) {
        match self.job.take() {
            Some(Job::Load { spans, handle }) if handle.is_finished() => {
                let loaded = self.runtime.block_on(handle).unwrap_or_else(|error| Err(panicked(&error)));
                self.loaded(&spans, loaded);
            }
            Some(Job::Write { told, handle }) if handle.is_finished() => match self.runtime.block_on(handle) {
                Ok((session, written)) => self.written(told, session, written),
                Err(error) => self.database_failed(&panicked(&error)),
            },
            unfinished => self.job = unfinished,
        }
    }

    fn loaded(&mut self, spans: &BTreeMap<i32, Span>, loaded: Loaded) {
        let (session, found) = match loaded {
            Ok(loaded) => loaded,
            Err(error @ StoreError::Locked(_)) => return self.locked(&error),
            Err(error) => return self.database_failed(&error),
        };
        self.session = Some(session);
        self.retry.0 = Instant::now();
        // A server that answers may still refuse the rows: after a failed write only a write says that it is over.
        if spans.is_empty() || !self.write_failed {
            self.database_is_back();
        }
        for (partition, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.stage == Stage::Waiting) {
            let (Some(span), Some(at)) = (spans.get(partition), found.at.get(partition)) else { continue };
            if span.start > 0 && found.new.contains(partition) {
                self.telemetry.emit(SinkMissed { partition: *partition, before: span.start });
            }
            slot.begin(at, *span);
            if slot.stage == Stage::Running && self.input.place(*partition, at.next).is_err() {
                // No longer ours: its revocation is on the way.
                slot.stage = Stage::Waiting;
            }
        }
        self.tell_refused();
    }

    fn database_is_back(&mut self) {
        (self.retry.1, self.write_failed) = (BACKOFF.0, false);
        self.telemetry.emit(DatabaseBack { news: std::mem::take(&mut self.lost) });
    }

    fn written(&mut self, told: Told, session: Session, written: Result<Duration, WriteError>) {
        self.write_failed = written.is_err();
        match written {
            Ok(took) => {
                self.session = Some(session);
                self.database_is_back();
                self.limit = (self.limit * 2).min(self.config.sink.batch);
                let metrics = &self.telemetry.metrics.sink;
                metrics.committed(told.rows, took);
                told.skipped.iter().for_each(|(reason, count)| metrics.skipped(*reason, *count));
                told.nexts.iter().for_each(|(partition, _)| self.batch.acquit(*partition));
                self.stored.extend(told.nexts);
            }
            Err(WriteError::Moved { partition, expected, found }) => {
                self.session = Some(session);
                self.telemetry.emit(SinkMovedBack { partition, expected, found });
                self.ask_again("the database stands elsewhere");
            }
            Err(WriteError::Row(error)) => {
                self.session = Some(session);
                match told.first {
                    Some((partition, offset)) if told.rows == 1 => {
                        tracing::error!(partition, offset, %error, "PostgreSQL refuses this verdict; it is left out");
                        self.slots.entry(partition).and_modify(|slot| slot.unstorable = Some(offset));
                    }
                    _ => self.limit = (told.rows / 2).max(1),
                }
                self.ask_again("a row is refused");
            }
            Err(WriteError::Slow) => {
                self.limit = (told.rows / 2).max(1);
                self.database_failed(&StoreError::Away(String::from("a transaction took too long and was given up")));
            }
            Err(WriteError::Locked(error)) => {
                self.session = Some(session);
                self.locked(&error);
            }
            Err(WriteError::Clash(why)) => {
                self.session = Some(session);
                self.ask_again("rows are stored already");
                match told.only {
                    Some((partition, from)) => {
                        self.slots.entry(partition).and_modify(|slot| slot.refuse(from, why));
                        self.batch.acquit(partition);
                    }
                    // Which one it is, the next ones tell.
                    None => self.batch.suspect(told.nexts.iter().map(|(partition, _)| *partition)),
                }
            }
            Err(WriteError::Broken(error)) => self.database_failed(&error),
        }
    }

    /// The database is well, and someone else in the way.
    fn locked(&mut self, error: &StoreError) {
        self.retry.0 = Instant::now() + BACKOFF.0;
        self.telemetry.emit(SinkLocked { why: &error.to_string() });
        self.ask_again("another session holds a lock");
    }

    /// The session is given up: whatever it was doing, the database will tell.
    fn database_failed(&mut self, error: &StoreError) {
        self.session = None;
        let (pause, now) = (self.retry.1, Instant::now());
        self.retry = (now + pause, (pause * 2).min(BACKOFF.1));
        let why = error.to_string();
        self.telemetry.emit(DatabaseLost { why: &why, first: !std::mem::replace(&mut self.lost, true) });
        self.ask_again("the database failed");
    }

    pub(super) fn tell_refused(&mut self) {
        let refused: Vec<String> = self
            .slots
            .iter()
            .filter_map(|(partition, slot)| match &slot.stage {
                Stage::Refused(why) => Some(format!("verdict partition {partition}: {why}")),
                _ => None,
            })
            .collect();
        let why = refused.join("; ");
        let news = why != self.refused;
        self.telemetry.emit(SinkRefused { partitions: refused.len(), why: &why, news });
        self.refused = why;
    }

    /// The verdict topic's id; asked for where it is not known.
    fn known_topic(&mut self) -> Result<String, String> {
        if let Some(topic) = &self.topic_id {
            return Ok(topic.clone());
        }
        let topic = self.ask_topic()?;
        self.topic_id = Some(topic.clone());
        Ok(topic)
    }

    /// The verdict topic's id as the broker tells it now.
    pub(super) fn ask_topic(&self) -> Result<String, String> {
        let client = self.input.consumer.client();
        let id = identity(&self.config.kafka, client, &self.config.topics.verdicts, ASK);
        id.map(|id| id.to_string()).map_err(|error| error.to_string())
    }

    /// Beginning and end of each waiting partition's log.
    fn spans(&self) -> Result<BTreeMap<i32, Span>, String> {
        let waiting = self.slots.iter().filter(|(_, slot)| slot.stage == Stage::Waiting);
        let span = |partition: i32| {
            let (start, end) = self.input.consumer.fetch_watermarks(&self.config.topics.verdicts, partition, ASK)?;
            Ok((partition, Span { start, end }))
        };
        let spans: Result<_, rdkafka::error::KafkaError> = waiting.map(|(partition, _)| span(*partition)).collect();
        spans.map_err(|error| crate::kafka::client::describe(&error))
    }

    /// Whether the batch takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.batch.rows() >= self.limit || self.batch.bytes() >= Batch::MOST_BYTES
    }
}

/// A server that hangs is away: nothing else says so, for its end of the connection stands.
pub(super) async fn answered<T>(
    within: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Away(format!("no answer within {:.1} s", within.as_secs_f64())));
    tokio::time::timeout(within, work).await.unwrap_or_else(late)
}

async fn finished<T>(handle: &mut JoinHandle<T>, most: Duration) {
    let until = tokio::time::Instant::now() + most;
    while !handle.is_finished() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn panicked(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Failed(format!("the sink's work with the database panicked: {error}"))
}
