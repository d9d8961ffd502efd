//! Why following a topic stopped.

use rdkafka::error::KafkaError;

use crate::kafka::{client::describe, topic_id::TopicIdError};

/// Why following a topic stopped; all but [`TailError::Stopped`] and [`TailError::Away`] need a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// The caller's stop flag was set.
    #[error("stopped")]
    Stopped,
    /// No client could be made, or librdkafka refused a call.
    #[error("kafka: {0}")]
    Client(String),
    /// The broker does not answer; later it may.
    #[error("kafka: topic {topic}: {reason}")]
    Away {
        /// The topic.
        topic: String,
        /// What the client says, and the setting to look at.
        reason: String,
    },
    /// The topic is missing, may not be read, or cannot be described.
    #[error("kafka: topic {topic}: {reason}")]
    Topic {
        /// The topic.
        topic: String,
        /// Why, and the way out.
        reason: String,
    },
    /// Its id could not be read.
    #[error("kafka: {0}")]
    Id(#[from] TopicIdError),
    /// Records at the position have been deleted.
    #[error("topic {topic}, partition {partition}: offset {wanted} is gone, the log starts at {start}: {AT_GONE}")]
    Gone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset wanted.
        wanted: i64,
        /// The first that is there.
        start: i64,
    },
    /// The position lies beyond the log's end.
    #[error("topic {topic}, partition {partition}: offset {wanted} lies beyond the log's end {end}: {AT_BEYOND}")]
    Beyond {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset wanted.
        wanted: i64,
        /// The log's end, one past its last offset.
        end: i64,
    },
    /// The position is of another topic that had this name.
    #[error("the position is of another verdict topic (id {found}) than {topic} (id {expected}): {AT_FOREIGN}")]
    OtherTopic {
        /// The topic.
        topic: String,
        /// The id in the position.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The verdicts are of another transaction topic than before.
    #[error(
        "topic {topic}, partition {partition}: verdicts of log {found} follow, but the position is of log {expected}: \
         the transaction topic was created anew; start from earliest or latest"
    )]
    OtherLog {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The log a verdict names.
        found: String,
        /// The position's.
        expected: String,
    },
    /// The positions do not name each partition once.
    #[error(
        "topic {topic} has {partitions} partitions, and the position does not name each of them once: {AT_FOREIGN}"
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// How many it has.
        partitions: i32,
    },
}

const AT_GONE: &str = "raise the topic's retention, and start from earliest or latest";
const AT_BEYOND: &str = "the log was cut or replaced; start from earliest or latest";
const AT_FOREIGN: &str = "start from earliest or latest";

impl TailError {
    /// Whether the place is gone for good: waiting does not help, only another start does.
    pub fn is_lost_place(&self) -> bool {
        matches!(
            self,
            Self::Gone { .. }
                | Self::Beyond { .. }
                | Self::OtherTopic { .. }
                | Self::OtherLog { .. }
                | Self::Partitions { .. }
        )
    }

    pub(super) fn client(error: &KafkaError) -> Self {
        Self::Client(describe(error))
    }
}
