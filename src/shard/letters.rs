//! Dead letters: at least once, by a producer of their own, so that one that cannot be written stops no verdict for
//! ever. The partition's verdicts wait behind an unacknowledged letter; other partitions do not.
//!
//! A letter that fails for good (size, permission) is sent again alone, for the broker refuses a batch whole and it may
//! have been a neighbour's fault; then it is cut and marked; if even that is refused it is counted and given up, for
//! the verdict tells of the record all the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Headers, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::{
    config::Config,
    domain::invalid::{Invalid, InvalidReason},
    kafka::{
        client::{Held, Lifeline, Session, TELLS, producer_config, tie},
        dead_letters,
    },
    telemetry::facts::LetterFate,
};

/// A cut letter keeps this much of the value.
const CUT_BYTES: usize = 1_024;

/// Client-side bound on a letter: brokers' own limits are lower, and decide.
const MAX_LETTER_BYTES: &str = "104857600";

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Why it was written.
    pub reason: InvalidReason,
    /// What stands in the topic.
    pub fate: LetterFate,
}

/// A shard's dead letters.
pub struct DeadLetters {
    client: ClientConfig,
    topic: String,
    outcomes: Outcomes,
    /// Made with the first letter: most processes never write one.
    producers: Option<Producers>,
    /// Why letters are refused, until one is written again: told once, not with each.
    refusal: Option<RDKafkaErrorCode>,
    waiting: HashMap<u64, Letter>,
    /// How many bytes of each partition's wait.
    bytes: HashMap<i32, usize>,
    next: u64,
}

struct Producers {
    batching: BaseProducer<LetterContext>,
    /// One letter a batch.
    lone: BaseProducer<LetterContext>,
}

/// How a letter is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// In a batch with others.
    Batched,
    /// In a batch of its own.
    Alone,
    /// In a batch of its own, and cut.
    Cut,
}

struct Letter {
    partition: i32,
    offset: i64,
    reason: InvalidReason,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
    attempt: Attempt,
    /// Whether the producer has it.
    sent: bool,
    /// What it counts for while it waits: key, value and headers as they were.
    bytes: usize,
}

impl DeadLetters {
    /// Nothing is connected before the first letter.
    pub fn new(config: &Config) -> Self {
        let mut client = producer_config(&config.kafka);
        client
            .set("enable.gapless.guarantee", "false")
            .set("enable.idempotence", "false")
            .set("linger.ms", config.score.linger_ms.to_string())
            .set("message.max.bytes", MAX_LETTER_BYTES)
            .set(TELLS.0, TELLS.1);
        Self {
            client,
            topic: config.topics.dlq.clone(),
            outcomes: Outcomes::default(),
            producers: None,
            refusal: None,
            waiting: HashMap::new(),
            bytes: HashMap::new(),
            next: 0,
        }
    }

    /// Writes the letter of an unreadable record.
    ///
    /// # Errors
    /// The producer cannot be made: a property is wrong.
    pub fn write(&mut self, message: &impl Message, invalid: &Invalid) -> Result<u64, KafkaError> {
        let id = self.next;
        self.next += 1;
        let mut letter = Letter {
            partition: message.partition(),
            offset: message.offset(),
            reason: invalid.reason,
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers(message, invalid),
            attempt: Attempt::Batched,
            sent: false,
            bytes: 0,
        };
        letter.bytes = letter.size();
        if self.producers.is_none() {
            let mut lone = self.client.clone();
            lone.set("batch.num.messages", "1");
            self.producers = Some(Producers { batching: self.producer(&self.client)?, lone: self.producer(&lone)? });
        }
        *self.bytes.entry(letter.partition).or_default() += letter.bytes;
        self.waiting.insert(id, letter);
        self.send(id);
        Ok(id)
    }

    fn producer(&self, client: &ClientConfig) -> Result<BaseProducer<LetterContext>, KafkaError> {
        let context = LetterContext { outcomes: Arc::clone(&self.outcomes), lifeline: Lifeline::default() };
        let producer: BaseProducer<LetterContext> = client.create_with_context(context)?;
        tie(producer.client(), client)?;
        Ok(producer)
    }

    /// How many bytes of the partition's letters wait: its records' own, and what was added.
    pub fn bytes_waiting(&self, partition: i32) -> usize {
        self.bytes.get(&partition).copied().unwrap_or_default()
    }

    /// Whether a verdict still has to wait for this letter.
    pub fn is_waiting(&self, id: u64) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Serves callbacks; what was settled since the last call.
    pub fn settled(&mut self) -> Vec<Settled> {
        let Some(Producers { batching, lone }) = &self.producers else { return Vec::new() };
        batching.poll(Duration::ZERO);
        lone.poll(Duration::ZERO);
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let settled = outcomes.into_iter().filter_map(|(id, outcome)| self.settle(id as u64, outcome)).collect();
        self.send_unsent();
        settled
    }

    fn settle(&mut self, id: u64, outcome: Result<(), RDKafkaErrorCode>) -> Option<Settled> {
        let letter = self.waiting.get_mut(&id)?;
        let fate = match (outcome, letter.attempt) {
            (Ok(()), Attempt::Cut) => LetterFate::Cut,
            (Ok(()), _) => LetterFate::Whole,
            (Err(_), Attempt::Cut) => LetterFate::Lost,
            (Err(_), Attempt::Batched) => {
                letter.attempt = Attempt::Alone;
                self.send(id);
                return None;
            }
            (Err(code), Attempt::Alone) => {
                if self.refusal.replace(code) != Some(code) {
                    let (partition, offset) = (letter.partition, letter.offset);
                    tracing::warn!(partition, offset, %code, "dead letters are refused; each is cut, then given up (topics.dlq)");
                }
                letter.cut();
                self.send(id);
                return None;
            }
        };
        if fate == LetterFate::Whole {
            self.refusal = None;
        }
        let Letter { partition, offset, reason, bytes, .. } = self.waiting.remove(&id)?;
        if let Some(waiting) = self.bytes.get_mut(&partition) {
            *waiting = waiting.saturating_sub(bytes);
        }
        Some(Settled { partition, offset, reason, fate })
    }

    /// Letters that found no room before.
    fn send_unsent(&mut self) {
        if self.waiting.values().any(|letter| !letter.sent) {
            let mut unsent: Vec<u64> =
                self.waiting.iter().filter(|(_, letter)| !letter.sent).map(|(id, _)| *id).collect();
            unsent.sort_unstable();
            unsent.into_iter().for_each(|id| self.send(id));
        }
    }

    fn send(&mut self, id: u64) {
        let (Some(producers), Some(letter)) = (&self.producers, self.waiting.get_mut(&id)) else { return };
        let producer = if letter.attempt == Attempt::Batched { &producers.batching } else { &producers.lone };
        let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&self.topic, id as usize)
            .partition(letter.partition)
            .headers(letter.headers.clone());
        record.key = letter.key.as_deref();
        record.payload = letter.value.as_deref();
        let error = producer.send(record).err().and_then(|(error, _)| error.rdkafka_error_code());
        letter.sent = error.is_none();
        if let Some(code) = error.filter(|code| *code != RDKafkaErrorCode::QueueFull) {
            // Refused by the client itself, as too large: judged as the broker's refusal would be.
            producer.context().note(id as usize, Err(code));
            letter.sent = true;
        }
    }
}

impl Letter {
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len));
        let own = [&self.key, &self.value].into_iter().flatten().map(Vec::len);
        own.chain(headers).sum()
    }

    fn cut(&mut self) {
        self.attempt = Attempt::Cut;
        if let Some(value) = &mut self.value {
            value.truncate(CUT_BYTES);
        }
        self.key = self.key.take().filter(|key| key.len() <= CUT_BYTES);
        let headers = OwnedHeaders::new().insert(Header { key: dead_letters::CUT, value: Some("true") });
        // The record's own headers may be what is too large; where it came from stays.
        self.headers = self
            .headers
            .iter()
            .filter(|header| header.key.starts_with(dead_letters::ADDED))
            .fold(headers, |headers, header| headers.insert(Header { key: header.key, value: header.value }));
    }
}

/// The record's own headers untouched, and where and why it failed.
fn headers(message: &impl Message, invalid: &Invalid) -> OwnedHeaders {
    let own = message.headers().into_iter().flat_map(Headers::iter);
    let own = own.fold(OwnedHeaders::new(), |own, Header { key, value }| own.insert(Header { key, value }));
    let (partition, offset) = (message.partition().to_string(), message.offset().to_string());
    let (code, text) = (invalid.code(), invalid.text());
    let stage = if invalid.reason == InvalidReason::InternalError { "step" } else { "decode" };
    let added = [
        (dead_letters::TOPIC, message.topic()),
        (dead_letters::PARTITION, &partition),
        (dead_letters::OFFSET, &offset),
        (dead_letters::STAGE, stage),
        (dead_letters::CLASS, &code),
        (dead_letters::MESSAGE, &text),
    ];
    added.into_iter().fold(own, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// What became of letters, by id.
type Outcomes = Arc<Mutex<Vec<(usize, Result<(), RDKafkaErrorCode>)>>>;

/// Notes what became of letters.
struct LetterContext {
    outcomes: Outcomes,
    lifeline: Lifeline,
}

impl LetterContext {
    fn note(&self, id: usize, outcome: Result<(), RDKafkaErrorCode>) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((id, outcome));
    }
}

impl Held for LetterContext {
    fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}

impl ClientContext for LetterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Session::log_line(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.lifeline.look(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for LetterContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, id: usize) {
        let outcome = result.as_ref().map(|_| ());
        self.note(id, outcome.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)));
    }
}
