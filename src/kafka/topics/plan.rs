//! What `topics apply` would do: create what is missing, leave alone what is there, and say where that differs.
//!
//! Invariant: nothing that exists is ever altered. A partition count is fixed for a log's life (a phone's records
//! would move to another partition), and librdkafka can only replace all settings of a topic at once, which would
//! undo others' work.

use serde::Serialize;

use super::{
    facts::{Role, State, TopicFacts},
    judge::{LETTER_EXTRA_BYTES, SAFE_REPLICATION, Severity, judge},
};
use crate::{
    config::{Config, TopicsConfig},
    domain::{
        rules::{LONGEST_WINDOW_MS, Rules},
        time::DAY_MS,
    },
};

/// Kafka's own limit of a record batch, where the transaction topic's cannot be read.
const MAX_MESSAGE_BYTES: i64 = 1_048_588;
/// How long a segment is written to; deletion waits for its end.
const SEGMENT_MS: i64 = DAY_MS;

/// What would be done about one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub topic: String,
    /// What would be done.
    #[serde(flatten)]
    pub action: Action,
}

/// What would be done about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// It would be made.
    Create(NewTopic),
    /// It is as it should be.
    Right,
    /// It stays as it is, and these are the differences.
    Differs {
        /// What differs, why that matters, and the way out.
        differences: Vec<String>,
    },
    /// This user may not see it.
    Hidden,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewTopic {
    /// Its partitions.
    pub partitions: i32,
    /// Its copies.
    pub replication: i32,
    /// Its settings.
    pub settings: Vec<(&'static str, String)>,
}

/// Plans what to do about the topics.
pub fn plan(topics: &[TopicFacts], config: &Config) -> Vec<Step> {
    let findings = judge(topics, &config.rules, config.environment);
    let input = Input::of(topics, config);
    let step = |topic: &TopicFacts| {
        let action = match &topic.state {
            State::Missing => Action::Create(input.create(topic.role, &config.topics)),
            State::Hidden => Action::Hidden,
            State::Found(shape) => {
                let bad = findings.iter().filter(|found| found.severity > Severity::Note && found.topic == topic.name);
                let mut differences: Vec<String> = bad.map(|found| found.text.clone()).collect();
                let wanted = config.topics.partitions;
                if topic.role == Role::Transactions && shape.partitions != wanted {
                    differences.push(format!(
                        "has {} partitions and topics.partitions is {wanted}: a count is never changed, or a phone's \
                         records would move away from its history; re-partitioning means new topics",
                        shape.partitions
                    ));
                }
                if differences.is_empty() { Action::Right } else { Action::Differs { differences } }
            }
        };
        Step { role: topic.role, topic: topic.name.clone(), action }
    };
    topics.iter().map(step).collect()
}

/// What the other topics depend on: the transaction topic as it is, or as it would be made.
struct Input {
    partitions: i32,
    retention_ms: i64,
    segment_ms: i64,
    max_message_bytes: i64,
}

impl Input {
    fn of(topics: &[TopicFacts], config: &Config) -> Self {
        let shape = topics.iter().find(|topic| topic.role == Role::Transactions).and_then(TopicFacts::shape);
        let number = |name, otherwise| shape.and_then(|shape| shape.number(name)).unwrap_or(otherwise);
        Self {
            partitions: shape.map_or(config.topics.partitions, |shape| shape.partitions),
            retention_ms: number("retention.ms", retention_ms(&config.rules)),
            segment_ms: number("segment.ms", SEGMENT_MS),
            max_message_bytes: number("max.message.bytes", MAX_MESSAGE_BYTES),
        }
    }

    fn create(&self, role: Role, topics: &TopicsConfig) -> NewTopic {
        let in_sync = if topics.replication >= SAFE_REPLICATION { "2" } else { "1" };
        let mut settings = vec![
            ("cleanup.policy", String::from("delete")),
            ("unclean.leader.election.enable", String::from("false")),
            ("min.insync.replicas", in_sync.to_owned()),
            ("retention.bytes", String::from("-1")),
        ];
        let after_input = if self.retention_ms < 0 { -1 } else { self.retention_ms.saturating_add(self.segment_ms) };
        settings.extend(match role {
            Role::Transactions => [
                ("message.timestamp.type", String::from("LogAppendTime")),
                ("retention.ms", self.retention_ms.to_string()),
                ("segment.ms", self.segment_ms.to_string()),
                ("max.message.bytes", self.max_message_bytes.to_string()),
            ],
            Role::Verdicts => [
                ("message.timestamp.type", String::from("LogAppendTime")),
                ("retention.ms", after_input.to_string()),
                ("segment.ms", SEGMENT_MS.to_string()),
                ("max.message.bytes", MAX_MESSAGE_BYTES.to_string()),
            ],
            Role::Dlq => [
                ("message.timestamp.type", String::from("LogAppendTime")),
                ("retention.ms", after_input.to_string()),
                ("segment.ms", SEGMENT_MS.to_string()),
                ("max.message.bytes", (self.max_message_bytes + LETTER_EXTRA_BYTES).to_string()),
            ],
        });
        NewTopic { partitions: self.partitions, replication: topics.replication, settings }
    }
}

/// What a replay of the log needs for exact windows and duplicates: the longest window, lateness and duplicates.
fn retention_ms(rules: &Rules) -> i64 {
    LONGEST_WINDOW_MS + rules.lateness_ms + rules.duplicate_ms
}
