//! The yardstick: clients set as the shard's are, as many threads, rdkafka's own calls, no work. What comes in goes out
//! again, or a payload of a verdict's size in its stead. It claims nothing and recovers nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord},
};
use thiserror::Error;

use super::rig::PARTITIONS;
use crate::{
    config::Config,
    shard::{consumer_settings, producer_settings},
};

/// How long one poll waits for a record, as a shard's turn does.
const WAIT: Duration = Duration::from_millis(5);

/// Why passing through stopped.
#[derive(Debug, Error)]
pub enum PassError {
    /// A client failed.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The payloads cannot be read.
    #[error("{path}: {source}; --payloads wants a file of lines")]
    Payloads {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread panicked.
    #[error("a thread panicked")]
    Panicked,
}

/// Passes the transaction topic through to the verdict topic until the process is ended.
///
/// # Errors
/// A client failed, or the payloads cannot be read.
pub fn run(config: &Config, payloads: Option<&Path>) -> Result<(), PassError> {
    let read = |path: &Path| {
        let failed = |source| PassError::Payloads { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() { Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof))) } else { Ok(lines) }
    };
    let payloads = payloads.map(read).transpose()?;
    let threads = config.score.shards.max(1);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let payloads = payloads.as_deref();
                scope.spawn(move || Pass::new(config, number, threads, payloads)?.run())
            })
            .collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(PassError::Panicked)))
    })
}

/// One thread.
struct Pass<'a> {
    consumer: BaseConsumer,
    producer: BaseProducer,
    output: &'a str,
    batch: usize,
    payloads: Option<&'a [String]>,
}

impl<'a> Pass<'a> {
    /// Thread `number` of `threads`; it takes every partition that is its own by remainder.
    fn new(
        config: &'a Config,
        number: usize,
        threads: usize,
        payloads: Option<&'a [String]>,
    ) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = consumer_settings(config).create()?;
        let mut mine = TopicPartitionList::new();
        for partition in (0..PARTITIONS).filter(|partition| *partition as usize % threads == number) {
            mine.add_partition_offset(&config.topics.transactions, partition, Offset::Offset(0))?;
        }
        consumer.assign(&mine)?;
        let producer = producer_settings(config).create()?;
        Ok(Self { consumer, producer, output: &config.topics.verdicts, batch: config.score.batch, payloads })
    }

    fn run(self) -> Result<(), PassError> {
        let mut turn = self.payloads.unwrap_or_default().iter().cycle();
        loop {
            let mut wait = WAIT;
            for _ in 0..self.batch {
                let Some(polled) = self.consumer.poll(wait) else { break };
                let message = polled?;
                let payload = turn.next().map(String::as_bytes).or(message.payload()).unwrap_or_default();
                self.send(message.partition(), message.key(), payload)?;
                wait = Duration::ZERO;
            }
            self.producer.poll(Duration::ZERO);
        }
    }

    fn send(&self, partition: i32, key: Option<&[u8]>, payload: &[u8]) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(self.output).partition(partition).payload(payload);
        record.key = key;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(WAIT);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}
