//! What librdkafka tells a shard from inside `poll`: assignments, acknowledgements, the broker's state. Callbacks only
//! write down; the turn acts. They never wait and never panic.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::ProducerContext,
    types::RDKafkaRespErr,
};
use serde::Deserialize;

use crate::kafka::client::{self, Session};

/// A change the turn must act on.
#[derive(Debug)]
pub enum Notice {
    /// Partitions came; they are paused at the log's start.
    Assigned(Vec<i32>),
    /// Partitions are to go, once they are drained and given up.
    Leaving(Vec<i32>),
    /// Partitions went.
    Revoked(Vec<i32>),
    /// No broker is reached, or it refuses us.
    Trouble(String),
    /// At least one broker is reached; ends of the assigned partitions as last fetched.
    Connected(Vec<(i32, i64)>),
}

/// The consumer's context.
#[derive(Default)]
pub struct InputContext {
    topic: String,
    notices: Mutex<Vec<Notice>>,
    commit_failed: AtomicBool,
    /// Whether partitions are given up here, not by the turn.
    at_once: AtomicBool,
    /// What the group wants back and the turn has not given up yet.
    leaving: Mutex<Vec<i32>>,
}

/// An acknowledgement, or a failure for good.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// The verdict partition.
    pub partition: i32,
    /// The slot's generation when the record was sent.
    pub generation: usize,
    /// The record's offset, `None` where the broker told none.
    pub outcome: Result<Option<i64>, RDKafkaErrorCode>,
}

/// The verdict producer's context.
#[derive(Default)]
pub struct VerdictContext {
    acks: Mutex<Vec<Ack>>,
}

impl InputContext {
    /// For the transaction topic of this name.
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            notices: Mutex::default(),
            commit_failed: AtomicBool::new(false),
            at_once: AtomicBool::new(true),
            leaving: Mutex::default(),
        }
    }

    /// The same for one that gives partitions up when they are drained.
    pub fn draining(topic: &str) -> Self {
        Self { at_once: AtomicBool::new(false), ..Self::new(topic) }
    }

    /// From now on partitions go at once.
    pub fn close_soon(&self) {
        self.at_once.store(true, Ordering::Relaxed);
    }

    /// Takes what is still to be given up.
    pub fn take_leaving(&self) -> Vec<i32> {
        std::mem::take(&mut *locked(&self.leaving))
    }

    /// Takes what was noted since the last call.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *locked(&self.notices))
    }

    /// Whether a commit failed since the last call.
    pub fn commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    fn note(&self, notice: Notice) {
        locked(&self.notices).push(notice);
    }
}

impl ClientContext for InputContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error or a notice, once; the client's own lines are for those who look closely.
        Session::log_line(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        if !statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
            return;
        }
        let partitions = statistics.topics.get(&self.topic).map(|topic| &topic.partitions);
        let ends = partitions.into_iter().flatten().map(|(partition, at)| (*partition, at.hi_offset));
        self.note(Notice::Connected(ends.filter(|(partition, end)| *partition >= 0 && *end >= 0).collect()));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.note(Notice::Trouble(String::from("all brokers are down"))),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                self.note(Notice::Trouble(client::describe(&error)));
            }
            _ => tracing::debug!(target: "librdkafka", %error, reason),
        }
    }
}

impl ConsumerContext for InputContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let numbers = partitions.elements().iter().map(|element| element.partition()).collect();
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // Where reading really begins is known only after recovery: until then they stand still.
                let placed = partitions.set_all_offsets(Offset::Beginning);
                self.note(Notice::Assigned(numbers));
                placed.and_then(|()| consumer.incremental_assign(partitions)).and_then(|()| consumer.pause(partitions))
            }
            // What the group believes lost is another's by now: there is nothing to hand over.
            _ if !self.at_once.load(Ordering::Relaxed) && !consumer.assignment_lost() => {
                locked(&self.leaving).clone_from(&numbers);
                self.note(Notice::Leaving(numbers));
                Ok(())
            }
            _ => {
                self.note(Notice::Revoked(numbers));
                consumer.incremental_unassign(partitions)
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "an assignment could not be followed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl VerdictContext {
    /// Moves what was acknowledged since the last call into `to`, in order.
    pub fn take(&self, to: &mut Vec<Ack>) {
        to.append(&mut locked(&self.acks));
    }
}

impl ClientContext for VerdictContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Session::log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for VerdictContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, generation: usize) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(Some(message.offset()).filter(|offset| *offset >= 0))),
            Err((error, message)) => (message, Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))),
        };
        locked(&self.acks).push(Ack { partition: message.partition(), generation, outcome });
    }
}

/// What is read of librdkafka's statistics (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    nodeid: i64,
    state: String,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    hi_offset: i64,
}

/// A panic elsewhere leaves the list as it was: whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
