//! librdkafka's own broker for tests, in this process: Kafka's protocol on loopback, so any client can join in.
//!
//! It keeps 5 MiB or 100,000 batches of a partition, in memory. It knows no transactions, no topic ids and no admin
//! requests (they are never answered), so topics are made here and all of them bear the id that [`Broker`] makes up at
//! its start: each start is another log.

use rdkafka::{error::KafkaError, mocking::MockCluster, producer::DefaultProducerContext};

use crate::{
    config::{KafkaConfig, TopicsConfig},
    domain::identity::LogId,
};

/// One broker is a cluster: what is only in memory gains nothing from copies.
const BROKERS: i32 = 1;

/// Why there is no embedded broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It cannot start.
    #[error("the embedded broker cannot start: {0}; it needs a free port on 127.0.0.1")]
    Start(#[source] KafkaError),
    /// It cannot make a topic.
    #[error("the embedded broker cannot make the topic {topic}: {source}")]
    Topic {
        /// Which.
        topic: String,
        /// Why.
        source: KafkaError,
    },
}

/// A running broker; dropping it ends it and forgets what it held.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    log: LogId,
}

impl Broker {
    /// Starts one with these topics, on a free port.
    ///
    /// # Errors
    /// No port, or a topic that cannot be made.
    pub fn start(topics: &TopicsConfig) -> Result<Self, BrokerError> {
        let cluster = MockCluster::new(BROKERS).map_err(BrokerError::Start)?;
        for topic in [&topics.transactions, &topics.verdicts, &topics.dlq] {
            cluster
                .create_topic(topic, topics.partitions, BROKERS)
                .map_err(|source| BrokerError::Topic { topic: topic.clone(), source })?;
        }
        Ok(Self { cluster, log: new_log() })
    }

    /// How to reach it, in the group `group`.
    pub fn config(&self, group: &str) -> KafkaConfig {
        KafkaConfig {
            bootstrap_servers: self.cluster.bootstrap_servers(),
            group: group.to_owned(),
            embedded_log: Some(self.log),
            properties: Default::default(),
        }
    }
}

/// An id by chance, as a broker gives one. Zero means "none" to Kafka.
fn new_log() -> LogId {
    LogId(rand::random::<u128>().max(1).to_be_bytes())
}
