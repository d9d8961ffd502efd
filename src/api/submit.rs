//! The interface's own producer: puts a transaction into its topic and tells where the broker put it.
//!
//! Invariant: what is told of a record is true: a place only when the broker acknowledged it there, a failure only when
//! it is certain that no more will be tried. Unlike the shard's producer it gives a record up after
//! [`MESSAGE_TIMEOUT_MS`], for its request has been answered long before. It never waits: callbacks run on librdkafka's
//! thread and only pass on.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::awaiting::{Awaiting, Place};
use crate::{
    config::Config,
    feed::Accepted,
    kafka::client::{Held, Lifeline, Session, describe, producer_config, tie, values},
};

/// How long librdkafka tries to deliver a record.
const MESSAGE_TIMEOUT_MS: u32 = 2_000;

/// Records in the producer's queue: those of requests under way, and of a few seconds before them.
const QUEUE_RECORDS: u32 = 20_000;

/// How often librdkafka says whether a broker is connected.
const STATISTICS_MS: u32 = 500;

/// After a record timed out on a broker that seems connected, one record in so long finds out whether it answers again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long the last records may take at the stop.
const FLUSH: Duration = Duration::from_millis(1_500);

/// Why a record was not put into the topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No broker took it; it is certain that it is not there, or it was given up unseen.
    #[error("no broker took the transaction; send it again with the same transaction_id")]
    Away,
    /// The producer's queue is full.
    #[error("too many transactions wait for the broker; send it again later")]
    Full,
    /// The broker refuses what this process sends; `Code` says why.
    #[error("the broker refuses transactions of this process ({0}); its operator must look")]
    Refused(String),
}

/// One transaction to be sent.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The normalised phone.
    pub key: &'a [u8],
    /// The transaction as it came.
    pub value: &'a [u8],
    /// Its id.
    pub id: &'a str,
    /// The ticket's number.
    pub number: u64,
    /// Headers that pass through.
    pub headers: &'a [(&'static str, &'a [u8])],
}

/// What becomes of a submission: its place, or why it has none.
pub type Outcome = oneshot::Receiver<Result<Place, SubmitError>>;

type Shared = Arc<ThreadedProducer<Deliveries>>;

/// Sends transactions.
pub struct Submitter {
    topic: String,
    client: ClientConfig,
    awaiting: Arc<Awaiting<Arc<Accepted>>>,
    producer: Mutex<Shared>,
}

/// What a record in flight bears.
struct InFlight {
    id: Box<str>,
    number: u64,
    tell: oneshot::Sender<Result<Place, SubmitError>>,
}

/// librdkafka's side.
struct Deliveries {
    awaiting: Arc<Awaiting<Arc<Accepted>>>,
    reach: Reach,
    lifeline: Lifeline,
    /// Whether this producer can do nothing more.
    fatal: AtomicBool,
}

/// Whether the broker can be reached, as far as is known.
#[derive(Debug, Default)]
struct Reach {
    /// No broker is connected.
    disconnected: AtomicBool,
    /// A record timed out, and none was acknowledged since: when the next one may try.
    stalled: Mutex<Option<Instant>>,
}

impl Reach {
    fn acknowledged(&self) {
        self.disconnected.store(false, Ordering::Relaxed);
        *self.stalled() = None;
    }

    fn timed_out(&self, now: Instant) {
        self.stalled().get_or_insert(now + PROBE_EVERY);
    }

    fn is_away(&self) -> bool {
        self.disconnected.load(Ordering::Relaxed) || self.stalled().is_some()
    }

    /// Whether a record may be sent now: always while the broker answers, else now and then.
    fn admits(&self, now: Instant) -> bool {
        match &mut *self.stalled() {
            Some(next) if *next <= now => {
                *next = now + PROBE_EVERY;
                true
            }
            Some(_) => false,
            None => !self.disconnected.load(Ordering::Relaxed),
        }
    }

    fn stalled(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Submitter {
    /// Makes the producer; no broker is needed yet.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn new(config: &Config, awaiting: Arc<Awaiting<Arc<Accepted>>>) -> Result<Self, KafkaError> {
        let mut client = producer_config(&config.kafka);
        client
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            // A record that was given up must not stop those after it: each stands for itself here.
            .set("enable.gapless.guarantee", "false")
            .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string())
            .set("statistics.interval.ms", STATISTICS_MS.to_string())
            .set("linger.ms", "0");
        let producer = Mutex::new(open(&client, &awaiting)?);
        Ok(Self { topic: config.topics.transactions.clone(), client, awaiting, producer })
    }

    /// Hands a record over; the outcome comes later.
    ///
    /// # Errors
    /// It was not even taken.
    pub fn submit(&self, submission: &Submission<'_>) -> Result<Outcome, SubmitError> {
        let producer = self.producer()?;
        let (tell, outcome) = oneshot::channel();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let in_flight = Box::new(InFlight { id: Box::from(submission.id), number: submission.number, tell });
        let mut record = BaseRecord::with_opaque_to(&self.topic, in_flight)
            .key(submission.key)
            .payload(submission.value)
            .timestamp(now);
        if !submission.headers.is_empty() {
            let headers = submission.headers.iter();
            record.headers = Some(headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(*value) })
            }));
        }
        match producer.send(record) {
            Ok(()) => Ok(outcome),
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                producer.context().failed(code);
                Err(refusal(code))
            }
        }
    }

    /// Whether the broker is away, as far as is known.
    pub fn is_away(&self) -> bool {
        self.current().context().reach.is_away()
    }

    /// Whether a record may be sent: not while the broker is away, but for one now and then that finds out.
    pub fn admits(&self) -> bool {
        self.current().context().reach.admits(Instant::now())
    }

    /// Waits for what is in flight, within a bound.
    pub fn close(&self) {
        if self.current().flush(FLUSH).is_err() {
            tracing::warn!("serve: some transactions were not acknowledged at the stop; their senders were told 504");
        }
    }

    fn current(&self) -> Shared {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The producer, a new one where the last can do nothing more.
    fn producer(&self) -> Result<Shared, SubmitError> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if producer.context().fatal.load(Ordering::Relaxed) {
            let fresh = open(&self.client, &self.awaiting).map_err(|error| SubmitError::Refused(describe(&error)))?;
            let spent = std::mem::replace(&mut *producer, fresh);
            tracing::warn!("serve: the producer failed for good and was made anew");
            // Taking it down waits for its thread, which no request should.
            drop(thread::Builder::new().name(String::from("serve-spent")).spawn(move || drop(spent)));
        }
        Ok(Arc::clone(&producer))
    }
}

fn open(client: &ClientConfig, awaiting: &Arc<Awaiting<Arc<Accepted>>>) -> Result<Shared, KafkaError> {
    let context = Deliveries {
        awaiting: Arc::clone(awaiting),
        reach: Reach::default(),
        lifeline: Lifeline::default(),
        fatal: AtomicBool::new(false),
    };
    let producer: ThreadedProducer<Deliveries> = client.create_with_context(context)?;
    tie(producer.client(), client)?;
    Ok(Arc::new(producer))
}

fn refusal(code: Option<Code>) -> SubmitError {
    match code {
        Some(Code::QueueFull) => SubmitError::Full,
        Some(
            Code::MessageTimedOut
            | Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::RequestTimedOut
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::Fatal,
        ) => SubmitError::Away,
        Some(code) => SubmitError::Refused(format!("{code:?}")),
        None => SubmitError::Away,
    }
}

impl Deliveries {
    /// What an error says about the broker and about this producer.
    fn failed(&self, code: Option<Code>) {
        match code {
            Some(Code::AllBrokersDown) => self.reach.disconnected.store(true, Ordering::Relaxed),
            Some(Code::MessageTimedOut) => self.reach.timed_out(Instant::now()),
            Some(Code::Fatal) => self.fatal.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Held for Deliveries {
    fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Session::log_line(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.lifeline.look(statistics);
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        if statistics.brokers.iter().any(|broker| broker.state == "UP") {
            self.reach.disconnected.store(false, Ordering::Relaxed);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        self.failed(error.rdkafka_error_code());
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let outcome = match result {
            Ok(message) => {
                self.reach.acknowledged();
                let place = Place { partition: message.partition(), offset: message.offset() };
                // An acknowledgement without an offset (a duplicate sequence) names no place: the request is told
                // to look by its transaction id.
                if place.offset < 0 {
                    return;
                }
                self.awaiting.placed(&in_flight.id, in_flight.number, place);
                Ok(place)
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                self.failed(code);
                Err(refusal(code))
            }
        };
        // An error says that the request gave up.
        let _ = in_flight.tell.send(outcome);
    }
}

/// What is read of librdkafka's statistics (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    #[serde(default, deserialize_with = "values")]
    brokers: Vec<BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, Settings};

    #[test]
    fn while_records_time_out_one_a_second_tries_and_an_acknowledgement_ends_it() {
        let (reach, now) = (Reach::default(), Instant::now());
        assert!(reach.admits(now) && !reach.is_away());
        reach.timed_out(now);
        reach.timed_out(now + PROBE_EVERY / 2);
        assert!(reach.is_away() && !reach.admits(now + PROBE_EVERY / 2));
        assert!(reach.admits(now + PROBE_EVERY), "one tries");
        assert!(!reach.admits(now + PROBE_EVERY), "the next one does not");
        reach.acknowledged();
        assert!(reach.admits(now + PROBE_EVERY) && !reach.is_away());
        reach.disconnected.store(true, Ordering::Relaxed);
        assert!(reach.is_away() && !reach.admits(now + PROBE_EVERY * 9));
    }

    #[test]
    fn a_producer_that_failed_for_good_is_replaced_by_the_next_submission() {
        let inputs = Inputs { set: vec![String::from("kafka.bootstrap_servers=127.0.0.1:9")], ..Inputs::default() };
        let config = Settings::load(&inputs).and_then(|settings| settings.config()).expect("a configuration");
        let submitter = Submitter::new(&config, Arc::default()).expect("a producer");
        let before = submitter.current();
        // SAFETY: the client lives as long as `before`; the text is nul-terminated.
        unsafe {
            rdkafka_sys::rd_kafka_test_fatal_error(
                before.client().native_ptr(),
                rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                c"a test".as_ptr(),
            );
        }
        let submission = Submission { key: b"k", value: b"v", id: "T", number: 0, headers: &[] };
        let mut outcomes = (0..2).map(|_| submitter.submit(&submission).map(drop));
        assert_eq!(outcomes.next(), Some(Err(SubmitError::Away)), "the spent one takes nothing");
        assert_eq!(outcomes.next(), Some(Ok(())));
        assert!(!Arc::ptr_eq(&before, &submitter.current()));
    }
}
