//! What the sink does besides rows: assignments, gauges, group offsets for lag monitors, day partitions.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    Sink,
    job::answered,
    slot::{Slot, Stage},
};
use crate::{
    kafka::client::{describe, is_transient},
    shard::Notice,
    store::{
        Database, Purpose, StoreError,
        days::{self, Day, Policy, Round},
    },
    telemetry::{
        Telemetry,
        sink::{DaysKept, DaysNotKept, TopicLost},
    },
};

/// Gauges are set so often.
const HOUSE_EVERY: Duration = Duration::from_secs(1);
/// Offsets are committed so often: lag monitors read them, nothing else does.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// The topic's id is compared, and refused partitions are looked at again, so often.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Day partitions are looked after so often; after a failure, sooner.
const DAYS_EVERY: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(60));

/// When things were done last, or are due.
pub(super) struct Clocks {
    /// When the database was asked anything.
    pub(super) asked: Instant,
    house: Instant,
    commit: Instant,
    compare: Instant,
}

impl Clocks {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: now, house: now, commit: now + COMMIT_EVERY, compare: now + COMPARE_EVERY }
    }
}

impl Sink {
    /// Follows what librdkafka noted inside poll.
    pub(super) fn take_notices(&mut self) {
        for notice in self.input.consumer.context().take() {
            match notice {
                Notice::Assigned(partitions) => {
                    partitions.into_iter().for_each(|partition| _ = self.slots.insert(partition, Slot::new()));
                }
                Notice::Revoked(partitions) | Notice::Leaving(partitions) => self.revoked(&partitions),
                Notice::Trouble(why) => {
                    let first = !std::mem::replace(&mut self.topic_lost, true);
                    self.telemetry.emit(TopicLost { why: &why, first });
                    // The next question that is answered says that it is over.
                    self.clocks.compare = Instant::now();
                }
                Notice::Connected(ends) => {
                    for (partition, ends) in ends {
                        self.slots.entry(partition).and_modify(|slot| slot.end = slot.end.max(ends.end));
                    }
                }
            }
        }
    }

    fn revoked(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.slots.remove(partition);
            self.stored.remove(partition);
            self.telemetry.metrics.sink.gone(*partition);
        }
        // Should it come back, it is read from where the database stands: rows of it must not wait here.
        if partitions.iter().any(|partition| self.batch.from(*partition).is_some()) {
            self.ask_again("a partition with rows in the batch was revoked");
        }
        partitions.iter().for_each(|partition| self.batch.acquit(*partition));
        self.tell_refused();
    }

    /// What an error between the records means.
    pub(super) fn read_error(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.ask_again("an offset is not in its log"),
            _ if is_transient(error) => tracing::debug!(%error, "the sink reads on"),
            _ => {
                let first = !std::mem::replace(&mut self.topic_lost, true);
                self.telemetry.emit(TopicLost { why: &describe(error), first });
                self.clocks.compare = Instant::now();
            }
        }
    }

    /// Gauges, group offsets and comparisons, when they are due.
    pub(super) fn keep_house(&mut self) {
        let now = Instant::now();
        if now < self.clocks.house {
            return;
        }
        self.clocks.house = now + HOUSE_EVERY;
        for (partition, slot) in self.slots.iter().filter(|(_, slot)| slot.stage == Stage::Running) {
            self.telemetry.metrics.sink.lag(*partition, slot.lag());
        }
        if now >= self.clocks.commit {
            self.clocks.commit = now + COMMIT_EVERY;
            self.commit(CommitMode::Async);
        }
        if now >= self.clocks.compare {
            self.clocks.compare = now + COMPARE_EVERY;
            self.compare_topic();
        }
    }

    /// A topic that was created anew has other offsets; refused partitions may have been set right.
    fn compare_topic(&mut self) {
        let Ok(topic) = self.ask_topic() else { return };
        if self.topic_lost {
            self.topic_lost = false;
            self.telemetry.emit(crate::telemetry::sink::TopicBack);
        }
        if self.topic_id.as_ref().is_some_and(|known| *known != topic) {
            self.topic_id = Some(topic);
            self.slots.values_mut().for_each(|slot| *slot = Slot::new());
            return self.ask_again("the verdict topic was created anew");
        }
        for slot in self.slots.values_mut().filter(|slot| matches!(slot.stage, Stage::Refused(_))) {
            slot.stage = Stage::Waiting;
        }
    }

    /// Commits what is stored, for lag monitors. A failure while the group rebalances means nothing.
    pub(super) fn commit(&mut self, mode: CommitMode) {
        let stored = std::mem::take(&mut self.stored).into_iter();
        let offsets = stored.map(|(partition, next)| (partition, next, String::new()));
        if let Err(error) = self.input.commit(offsets, mode) {
            tracing::debug!(%error, "offsets were not committed");
        }
    }

    /// Looks after day partitions in the background, for as long as the runtime lives.
    pub(super) fn keep_days(&self) {
        let (database, telemetry, policy) = (self.database.clone(), self.telemetry.clone(), self.config.sink.days);
        let within = self.config.sink.timeout;
        self.runtime.spawn(async move {
            loop {
                let pause = match answered(within, keep(&database, policy)).await {
                    Ok(Round { made, dropped }) => {
                        telemetry.emit(DaysKept { made: made.len(), dropped: dropped.len() });
                        DAYS_EVERY.0
                    }
                    Err(error) => {
                        tell(&telemetry, &error);
                        DAYS_EVERY.1
                    }
                };
                tokio::time::sleep(pause).await;
            }
        });
    }
}

async fn keep(database: &Database, policy: Policy) -> Result<Round, StoreError> {
    days::keep(&database.session(Purpose::Owner).await?, policy, Day::today()).await
}

/// That the database is away, the rows' own session tells; questions under way only put dropping off.
fn tell(telemetry: &Telemetry, error: &StoreError) {
    if !matches!(error, StoreError::Away(_) | StoreError::NotMigrated(_) | StoreError::Locked(_)) {
        telemetry.emit(DaysNotKept { why: &error.to_string() });
    }
}

/// Offsets below which all is stored, by partition.
pub(super) type StoredOffsets = BTreeMap<i32, i64>;
