//! The verdict producer: idempotent, acks=all, no message timeout, gapless; one of a shard's own.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use thiserror::Error;

use super::context::{Ack, VerdictContext};
use crate::{
    config::Config,
    kafka::{
        client::{TELLS, producer_config, tie},
        produce::Outlet,
    },
};

/// Records a producer may hold: far above what all its partitions may have undelivered together, so that one slow
/// partition never starves the others.
const QUEUE_RECORDS: &str = "2000000";

/// The same in KiB.
const QUEUE_KIB: &str = "1048576";

/// librdkafka's `message.max.bytes` where nobody sets it.
const MESSAGE_MAX_BYTES: usize = 1_000_000;

/// How a shard's verdict producer is set; the benchmark's yardsticks take the same.
pub(crate) fn producer_settings(config: &Config) -> ClientConfig {
    let mut client = producer_config(&config.kafka);
    client
        .set("linger.ms", config.score.linger_ms.to_string())
        .set("queue.buffering.max.messages", QUEUE_RECORDS)
        .set("queue.buffering.max.kbytes", QUEUE_KIB);
    client
}

/// Why a record was not taken.
#[derive(Debug, Error)]
pub enum SendError {
    /// There is room later: in this producer, or in the one that replaces it.
    #[error("the producer takes nothing now")]
    Full,
    /// The client itself refuses it, and would again.
    #[error("{0}")]
    Refused(KafkaError),
}

impl From<RDKafkaErrorCode> for SendError {
    fn from(code: RDKafkaErrorCode) -> Self {
        match code {
            // A producer beyond use is replaced, and its partitions are claimed anew (`Verdicts::fatal`).
            RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::Fatal => Self::Full,
            code => Self::Refused(KafkaError::MessageProduction(code)),
        }
    }
}

/// A shard's verdict producer.
pub struct Verdicts {
    outlet: Outlet<VerdictContext>,
    topic: String,
    /// Keys and values of so many bytes together are far from being too large.
    small: usize,
}

impl Verdicts {
    /// Makes the producer.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn new(config: &Config) -> Result<Self, KafkaError> {
        let mut settings = producer_settings(config);
        settings.set(TELLS.0, TELLS.1);
        Self::made(&settings, &config.topics.verdicts)
    }

    pub(super) fn made(settings: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        let producer: BaseProducer<VerdictContext> = settings.create_with_context(VerdictContext::default())?;
        tie(producer.client(), settings)?;
        let most = settings.get("message.max.bytes").and_then(|most| most.parse().ok()).unwrap_or(MESSAGE_MAX_BYTES);
        Ok(Self { outlet: Outlet::new(producer, topic)?, topic: topic.to_owned(), small: most / 2 })
    }

    /// Hands one record to the producer.
    ///
    /// # Errors
    /// It has no room, or the client refuses the record: for its size, or for what it knows of the topic.
    pub fn send(
        &self,
        partition: i32,
        generation: usize,
        key: Option<&[u8]>,
        value: &[u8],
        trace: &[(String, Vec<u8>)],
    ) -> Result<(), SendError> {
        let sent = if trace.is_empty() {
            self.outlet.send(partition, key, value, generation)
        } else {
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&self.topic, generation).partition(partition).payload(value);
            record.key = key;
            let headers = trace.iter().fold(OwnedHeaders::new_with_capacity(trace.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
            let sent = self.outlet.producer().send(record.headers(headers));
            sent.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
        };
        sent.map_err(SendError::from)
    }

    /// Whether a record is so small that its size is never why it is not taken.
    pub fn fits(&self, key: Option<&[u8]>, value: &[u8]) -> bool {
        key.unwrap_or_default().len() + value.len() <= self.small
    }

    /// Hands over records without headers that [`Verdicts::fits`] says yes to, keys and values, in order. What each met: behind
    /// one that is not taken, none is.
    pub fn send_all(
        &self,
        partition: i32,
        generation: usize,
        records: &[(Option<&[u8]>, &[u8])],
    ) -> impl Iterator<Item = Result<(), SendError>> {
        let answers = self.outlet.send_all(partition, records, generation);
        answers.into_iter().map(|answer| answer.map_err(SendError::from))
    }

    /// Serves callbacks and moves acknowledgements into `to`, in order.
    pub fn acknowledged(&self, to: &mut Vec<Ack>) {
        self.outlet.producer().poll(Duration::ZERO);
        self.outlet.producer().context().take(to);
    }

    /// Serves callbacks for up to `time`.
    pub fn wait(&self, time: Duration) {
        self.outlet.producer().poll(time);
    }

    /// Why the producer is beyond use, where it is: a new one and new epochs are needed.
    pub fn fatal(&self) -> Option<String> {
        self.outlet.producer().client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    #[test]
    fn a_record_that_never_will_fit_is_refused_and_one_that_waits_for_room_is_not() {
        // No broker is there: both are answered by the client alone.
        let mut config = Config::load(&Inputs::default()).unwrap();
        config.kafka.properties.insert(String::from("message.max.bytes"), String::from("1000"));
        let verdicts = Verdicts::new(&config).unwrap();
        let send = |bytes: usize| verdicts.send(0, 1, Some(b"+254712345678"), &vec![b'x'; bytes], &[]);
        assert!(send(500).is_ok());
        let Err(SendError::Refused(error)) = send(2_000) else { panic!("it does not fit") };
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));

        let producer = producer_settings(&config).set("queue.buffering.max.messages", "1").clone();
        let verdicts = Verdicts::made(&producer, &config.topics.verdicts).unwrap();
        assert!(verdicts.send(0, 1, None, b"x", &[]).is_ok());
        assert!(matches!(verdicts.send(0, 1, None, b"x", &[]), Err(SendError::Full)));
        assert!(verdicts.fits(Some(&[b'1'; 13]), &[b'x'; 487]), "half of what may be sent");
        assert!(!verdicts.fits(Some(&[b'1'; 13]), &[b'x'; 488]), "it is tried by itself");
    }
}
