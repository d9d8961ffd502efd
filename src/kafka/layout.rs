//! What the topics look like at start, and whether they still do: counts, and the transaction topic's id (C1.8).
//! Not the place of topic advice: `topics` judges their settings.

use std::time::Duration;

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};
use thiserror::Error;

use super::{
    client::{Session, admin_config, describe, is_transient, probe},
    identity::identity,
    topic_id::{TopicId, TopicIdError},
};
use crate::config::{Config, KafkaConfig, TopicsConfig};

/// How long one question may take.
const ASK: Duration = Duration::from_secs(5);

/// More events than a client leaves behind while it tries to connect for [`ASK`].
const EVENTS: usize = 256;

/// The topics' shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The transaction topic's id.
    pub log: TopicId,
    /// The verdict topic's id.
    pub verdict_log: TopicId,
    /// Partitions of the transaction topic.
    pub transactions: i32,
    /// Partitions of the verdict topic.
    pub verdicts: i32,
}

impl Layout {
    /// How many partitions have one of their number in the other topic.
    pub fn peers(self) -> i32 {
        self.transactions.min(self.verdicts)
    }
}

/// Why the topics cannot be used.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// No broker answers; asking again may help.
    #[error("{0}")]
    Away(String),
    /// The broker refuses, or a topic is missing.
    #[error("{0}")]
    Refused(String),
    /// A topic was created anew while running.
    #[error("topic {0} was created anew while running: its records are another log; restart with new topics")]
    Replaced(String),
}

/// Asks about topics.
pub struct Surveyor {
    client: BaseConsumer<Session>,
    kafka: KafkaConfig,
    topics: TopicsConfig,
}

impl Surveyor {
    /// Makes a client; no broker is asked yet.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn new(config: &Config) -> Result<Self, LayoutError> {
        let client = Session::consumer(&admin_config(&config.kafka));
        let client = client.map_err(|error| LayoutError::Refused(describe(&error)))?;
        Ok(Self { client, kafka: config.kafka.clone(), topics: config.topics.clone() })
    }

    /// The topics' shape now.
    ///
    /// # Errors
    /// No broker, no permission, or no topic.
    pub fn survey(&self) -> Result<Layout, LayoutError> {
        self.asked().inspect_err(|error| {
            if matches!(error, LayoutError::Away(_)) {
                probe(self.client.client(), &self.topics.transactions);
            }
        })
    }

    fn asked(&self) -> Result<Layout, LayoutError> {
        let transactions = self.partitions(&self.topics.transactions)?;
        let verdicts = self.partitions(&self.topics.verdicts)?;
        let (log, verdict_log) = (self.id(&self.topics.transactions)?, self.id(&self.topics.verdicts)?);
        Ok(Layout { log, verdict_log, transactions, verdicts })
    }

    /// The topics' shape now, `before` being what it was at start; `None` where no broker tells.
    ///
    /// # Errors
    /// The transaction or the verdict topic is another one now.
    pub fn compare(&self, before: Layout) -> Result<Option<Layout>, LayoutError> {
        match self.survey() {
            Ok(now) if now.log != before.log => Err(LayoutError::Replaced(self.topics.transactions.clone())),
            Ok(now) if now.verdict_log != before.verdict_log => {
                Err(LayoutError::Replaced(self.topics.verdicts.clone()))
            }
            Ok(now) => Ok(Some(now)),
            Err(error) => {
                tracing::debug!(%error, "topics could not be compared");
                Ok(None)
            }
        }
    }

    /// What is wrong with the counts `now`, where something is, and the way out (C1.8).
    pub fn fault(&self, now: Layout, before: Layout) -> Option<String> {
        let TopicsConfig { transactions, verdicts, .. } = &self.topics;
        if now.transactions != before.transactions {
            return Some(format!(
                "{transactions} had {} partitions when this process began and has {}: a log's count is fixed for its \
                 life, for phones move between partitions; partitions from {} on are not served; re-partitioning \
                 means new topics",
                before.transactions, now.transactions, before.transactions
            ));
        }
        (now.transactions != now.verdicts).then(|| {
            format!(
                "{transactions} has {} partitions and {verdicts} {}: partitions from {} on have no peer and are not \
                 served; both must have equally many (sentra topics check)",
                now.transactions,
                now.verdicts,
                now.peers()
            )
        })
    }

    fn id(&self, topic: &str) -> Result<TopicId, LayoutError> {
        identity(&self.kafka, self.client.client(), topic, ASK).map_err(|error| match error {
            TopicIdError::Failed { .. } => LayoutError::Away(error.to_string()),
            other => LayoutError::Refused(other.to_string()),
        })
    }

    /// How many partitions `topic` has.
    ///
    /// # Errors
    /// No broker, no permission, or no topic.
    pub fn partitions(&self, topic: &str) -> Result<i32, LayoutError> {
        let metadata = self.client.fetch_metadata(Some(topic), ASK).map_err(|error| {
            // What the connection met waits in a queue, one line or error a poll; taken out, it reaches the context.
            (0..EVENTS).for_each(|_| drop(self.client.poll(Duration::ZERO)));
            if self.client.context().credentials_refused() || !is_transient(&error) {
                LayoutError::Refused(self.client.context().why(&error))
            } else {
                LayoutError::Away(describe(&error))
            }
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        match (found, error) {
            (Some(found), None) if !found.partitions().is_empty() => Ok(found.partitions().len() as i32),
            (_, Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                Err(LayoutError::Refused(format!("topic {topic}: this user may not describe it; grant it Describe")))
            }
            (_, Some(RDKafkaErrorCode::LeaderNotAvailable)) => {
                Err(LayoutError::Away(format!("topic {topic} has no leader yet")))
            }
            _ => Err(LayoutError::Refused(format!("topic {topic} does not exist; `sentra topics apply` creates it"))),
        }
    }
}
