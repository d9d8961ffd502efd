//! A producer that fills a topic: transactions from files or from the simulator, as fast as the broker takes them.
//!
//! The invariant: a record is counted as delivered only when the broker acknowledged it, and the first refusal ends
//! the run. Idempotent, so order holds within a partition. Not the shard's producer: nothing is scored here, and no
//! epoch is kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::client::{Held, Lifeline, Session, Silence, describe, tie};

/// Records the producer may hold before it makes the caller wait.
const QUEUE_RECORDS: u32 = 200_000;
/// How long the broker may take to say where the topic is.
const ASK: Duration = Duration::from_secs(10);
/// How long one wait for room or for acknowledgements lasts before errors are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the last acknowledgements may take.
const FLUSH: Duration = Duration::from_secs(60);
/// How long one wait for them lasts.
const FLUSH_AT_ONCE: Duration = Duration::from_secs(2);

/// Why filling a topic stopped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The client could not be made: a property is wrong.
    #[error("kafka: the producer could not be made: {}", describe(.0))]
    Client(#[source] KafkaError),
    /// The broker could not be reached, refuses who asks, or has no such topic.
    #[error("kafka: topic {topic}: {reason}")]
    Topic {
        /// The topic asked for.
        topic: String,
        /// Why, with the setting to look at.
        reason: String,
    },
    /// The broker refuses the record's time.
    #[error(
        "kafka: topic {topic} refuses the event time as the record's timestamp (message.timestamp.before.max.ms or \
         after.max.ms); simulate with --now, or use a topic with message.timestamp.type=LogAppendTime"
    )]
    Timestamp {
        /// The topic.
        topic: String,
    },
    /// A record was refused.
    #[error("kafka: topic {topic}: a record was refused: {}", describe(&KafkaError::MessageProduction(*.code)))]
    Refused {
        /// The topic.
        topic: String,
        /// librdkafka's reason.
        code: RDKafkaErrorCode,
    },
    /// Acknowledgements stopped coming.
    #[error("kafka: topic {topic}: {missing} records without an acknowledgement after 60 s; is the broker up?")]
    Unacknowledged {
        /// The topic.
        topic: String,
        /// Records sent but not acknowledged.
        missing: u64,
    },
}

/// Fills one topic.
pub struct Load {
    producer: BaseProducer<Deliveries>,
    topic: Arc<str>,
    sent: u64,
    seen: Arc<Seen>,
    /// How many were acknowledged when progress was looked at last, and since when there is none.
    answered: u64,
    silence: Silence,
}

/// What the acknowledgements said.
#[derive(Default)]
struct Seen {
    delivered: AtomicU64,
    refused: Mutex<Option<RDKafkaErrorCode>>,
}

struct Deliveries {
    seen: Arc<Seen>,
    session: Session,
}

impl Held for Deliveries {
    fn lifeline(&self) -> &Lifeline {
        self.session.lifeline()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.session.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.session.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.seen.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let mut refused = self.seen.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                refused.get_or_insert(code);
            }
        }
    }
}

impl Load {
    /// Connects and makes sure that the topic is there. `client` has the servers and whatever the user set.
    ///
    /// # Errors
    /// The client's properties are wrong, the broker does not answer or refuses the credentials, or the topic is missing.
    pub fn connect(mut client: ClientConfig, topic: &str) -> Result<Self, LoadError> {
        client
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string());
        let seen = Arc::new(Seen::default());
        let context = Deliveries { seen: Arc::clone(&seen), session: Session::default() };
        let producer: BaseProducer<Deliveries> = client.create_with_context(context).map_err(LoadError::Client)?;
        tie(producer.client(), &client).map_err(LoadError::Client)?;
        let missing = |reason: String| LoadError::Topic { topic: topic.to_owned(), reason };
        let metadata = producer.client().fetch_metadata(Some(topic), ASK).map_err(|error| {
            // Why nobody answered is told by what came meanwhile: all of it, for a poll of no time takes one event alone.
            producer.poll(POLL);
            missing(producer.context().session.why(&error))
        })?;
        let partitions = metadata.topics().first().map_or(0, |found| found.partitions().len());
        if partitions == 0 {
            return Err(missing(describe(&KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic))));
        }
        Ok(Self { producer, topic: Arc::from(topic), sent: 0, seen, answered: 0, silence: Silence::begin() })
    }

    /// Queues one record, waiting while the queue is full; `timestamp_ms` is its CreateTime.
    ///
    /// # Errors
    /// The broker refused an earlier record, or the client this one.
    pub fn send(&mut self, key: &[u8], value: &[u8], timestamp_ms: i64) -> Result<(), LoadError> {
        self.send_whole(Some(key), Some(value), None, Some(timestamp_ms))
    }

    /// Queues one record as it is, waiting while the queue is full; without `timestamp_ms` its time is now.
    ///
    /// # Errors
    /// As [`Load::send`].
    pub fn send_whole(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
        timestamp_ms: Option<i64>,
    ) -> Result<(), LoadError> {
        let topic = Arc::clone(&self.topic);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic);
        (record.key, record.payload, record.headers, record.timestamp) = (key, value, headers, timestamp_ms);
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(POLL);
                    self.check()?;
                }
                Err((error, _)) => {
                    return Err(self.refused(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)));
                }
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(1_024) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        Ok(())
    }

    /// Serves acknowledgements for up to `time`; what a caller does instead of sleeping.
    ///
    /// # Errors
    /// The broker refused a record.
    pub fn wait(&mut self, time: Duration) -> Result<(), LoadError> {
        self.producer.poll(time);
        self.check()
    }

    /// Waits for every acknowledgement; the number of records delivered.
    ///
    /// # Errors
    /// A record was refused, or acknowledgements stopped coming.
    pub fn finish(mut self) -> Result<u64, LoadError> {
        let deadline = Instant::now() + FLUSH;
        while self.producer.flush(FLUSH_AT_ONCE).is_err() && Instant::now() < deadline {
            self.check()?;
        }
        self.check()?;
        let delivered = self.delivered();
        if delivered < self.sent {
            return Err(LoadError::Unacknowledged { topic: self.topic.to_string(), missing: self.sent - delivered });
        }
        Ok(delivered)
    }

    /// Records acknowledged so far.
    pub fn delivered(&self) -> u64 {
        self.seen.delivered.load(Ordering::Relaxed)
    }

    /// Errors that came; where nothing comes for long, whether there is whom to ask.
    fn check(&mut self) -> Result<(), LoadError> {
        let delivered = self.delivered();
        if delivered > self.answered || delivered == self.sent {
            self.answered = delivered;
            self.silence = Silence::begin();
        } else {
            self.silence.goes_on(self.producer.client(), &self.topic);
        }
        let refused = *self.seen.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        refused.map_or(Ok(()), |code| Err(self.refused(code)))
    }

    fn refused(&self, code: RDKafkaErrorCode) -> LoadError {
        let topic = self.topic.to_string();
        match code {
            // Brokers answer either; our records have keys and sound sizes, so time is what is left to refuse.
            RDKafkaErrorCode::InvalidTimestamp | RDKafkaErrorCode::InvalidRecord => LoadError::Timestamp { topic },
            code => LoadError::Refused { topic, code },
        }
    }
}
