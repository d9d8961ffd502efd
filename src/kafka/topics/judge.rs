//! What is wrong with the topics (DESIGN §3.9), as a list: no I/O, so that every rule is a line in a table of tests.
//!
//! Invariant: a topic that `apply` made has no failure. It mends nothing.

use serde::Serialize;

use super::facts::{Role, Shape, State, TopicFacts};
use crate::{
    config::Environment,
    domain::{rules::Rules, verdict::MAX_VERDICT_BYTES},
};

/// Copies and in-sync copies that survive the loss of one broker without loss of an acknowledged record.
pub const SAFE_REPLICATION: i32 = 3;
/// See [`SAFE_REPLICATION`].
pub const SAFE_IN_SYNC: i64 = 2;
/// What a dead letter may have beyond the record it wraps: the reasons in its headers.
pub const LETTER_EXTRA_BYTES: i64 = 64 * 1024;
/// The greatest batch that librdkafka sends by default (`batch.size`), which the broker judges as one. A user's properties
/// may lower it, and never raise it.
pub const BATCH_BYTES: i64 = 1_000_000;
const _: () = assert!(MAX_VERDICT_BYTES < BATCH_BYTES as usize, "a verdict fits a batch");

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Not safe, but acceptable where nothing is at stake.
    Warn,
    /// Verdicts can be lost or repeated: production refuses.
    Fail,
}

/// One thing to say of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Of which topic.
    pub topic: String,
    /// What, and the way out.
    pub text: String,
}

/// Judges the topics, given in any order.
pub fn judge(topics: &[TopicFacts], rules: &Rules, environment: Environment) -> Vec<Finding> {
    let mut found = Findings { environment, list: Vec::new() };
    for topic in topics {
        match &topic.state {
            State::Missing => found.fail(topic, "does not exist, or this user may not see it: sentra topics apply"),
            State::Hidden => found.fail(topic, "this user may not see it: grant it Describe on the topic"),
            State::Found(shape) => alone(topic, shape, rules, &mut found),
        }
    }
    let of = |role| topics.iter().find(|topic| topic.role == role);
    if let Some((input, input_shape)) = of(Role::Transactions).and_then(|topic| Some((topic, topic.shape()?))) {
        for topic in topics.iter().filter(|topic| topic.role != Role::Transactions) {
            if let Some(shape) = topic.shape() {
                beside(topic, shape, input, input_shape, &mut found);
            }
        }
    }
    found.list
}

struct Findings {
    environment: Environment,
    list: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, severity: Severity, topic: &TopicFacts, text: impl Into<String>) {
        self.list.push(Finding { severity, topic: topic.name.clone(), text: text.into() });
    }

    fn fail(&mut self, topic: &TopicFacts, text: impl Into<String>) {
        self.add(Severity::Fail, topic, text);
    }

    /// What only production cannot bear: a single broker is a fine place to develop.
    fn unsafe_copies(&mut self, topic: &TopicFacts, text: String) {
        let production = self.environment == Environment::Production;
        self.add(if production { Severity::Fail } else { Severity::Warn }, topic, text);
    }
}

/// What can be said of a topic by itself.
fn alone(topic: &TopicFacts, shape: &Shape, rules: &Rules, found: &mut Findings) {
    if let Err(why) = &shape.id {
        found.fail(topic, format!("its id cannot be read: {why}"));
    }
    if shape.replication < SAFE_REPLICATION {
        let copies = shape.replication;
        found.unsafe_copies(topic, format!("has {copies} copies of a partition, production wants {SAFE_REPLICATION}"));
    }
    if shape.settings.is_none() {
        return found.fail(topic, "its settings cannot be judged: grant this user DescribeConfigs on the topic");
    }
    if let Some(policy) = shape.text("cleanup.policy").filter(|policy| policy.contains("compact")) {
        found.fail(
            topic,
            format!("cleanup.policy is {policy}: compaction removes records that are still needed; set it to delete"),
        );
    }
    if shape.text("unclean.leader.election.enable") == Some("true") {
        found.fail(topic, "unclean.leader.election.enable is true: acknowledged records can vanish; set it to false");
    }
    if let Some(in_sync) = shape.number("min.insync.replicas").filter(|in_sync| *in_sync < SAFE_IN_SYNC) {
        found.unsafe_copies(topic, format!("min.insync.replicas is {in_sync}, production wants {SAFE_IN_SYNC}"));
    }
    match topic.role {
        Role::Transactions => input(topic, shape, rules, found),
        Role::Verdicts => {
            if let Some(limit) = shape.number("max.message.bytes").filter(|limit| *limit < BATCH_BYTES) {
                found.fail(
                    topic,
                    format!(
                        "max.message.bytes is {limit}: a batch of verdicts may reach {BATCH_BYTES} and would be \
                         refused; raise it"
                    ),
                );
            }
        }
        Role::Dlq => {}
    }
}

/// What can be said of the transaction topic.
fn input(topic: &TopicFacts, shape: &Shape, rules: &Rules, found: &mut Findings) {
    let needed = rules.lateness_ms + rules.duplicate_ms;
    if let Some(kept) = shape.number("retention.ms").filter(|kept| (0..needed).contains(kept)) {
        found.fail(
            topic,
            format!(
                "retention.ms is {kept}, less than time.lateness + time.duplicates = {needed}: duplicates would be \
                 missed after a restart; raise it"
            ),
        );
    }
    match shape.text("message.timestamp.type") {
        Some("CreateTime") => {
            let severity = if found.environment == Environment::Production { Severity::Warn } else { Severity::Note };
            found.add(
                severity,
                topic,
                "message.timestamp.type is CreateTime: the producer's clock limits event times (simulation, pilots, \
                 backtests); production wants LogAppendTime",
            );
        }
        Some(kind) => {
            let text = format!("message.timestamp.type is {kind}: the broker's clock limits event times");
            found.add(Severity::Note, topic, text);
        }
        None => {}
    }
}

/// What can be said of a topic beside the transaction topic.
fn beside(topic: &TopicFacts, shape: &Shape, input: &TopicFacts, input_shape: &Shape, found: &mut Findings) {
    let (has, wants) = (shape.partitions, input_shape.partitions);
    if has != wants {
        found.fail(
            topic,
            format!(
                "has {has} partitions and {} has {wants}: they must be equal, for a record's verdict and letter go to \
                 its own partition number; begin with new topics, a count is fixed for a log's life",
                input.name
            ),
        );
    }
    match topic.role {
        Role::Verdicts => {
            outlives(topic, shape, input_shape, "retention.ms", "segment.ms", found);
            outlives(topic, shape, input_shape, "retention.bytes", "segment.bytes", found);
        }
        Role::Dlq => {
            let wanted = input_shape.number("max.message.bytes").map(|limit| limit + LETTER_EXTRA_BYTES);
            let limits = shape.number("max.message.bytes").zip(wanted);
            if let Some((has, wanted)) = limits.filter(|(has, wanted)| has < wanted) {
                found.fail(
                    topic,
                    format!(
                        "max.message.bytes is {has}: a dead letter may reach {wanted}, the input's limit + 64 KiB, and \
                         would be cut; raise it"
                    ),
                );
            }
        }
        Role::Transactions => {}
    }
}

/// Verdicts must outlive their transactions: a segment is deleted whole, so by one segment more.
fn outlives(topic: &TopicFacts, shape: &Shape, input: &Shape, retention: &str, segment: &str, found: &mut Findings) {
    let Some(kept) = shape.number(retention).filter(|kept| *kept >= 0) else { return };
    let Some(inputs) = input.number(retention) else { return };
    if inputs < 0 {
        return found.fail(
            topic,
            format!(
                "{retention} is {kept}, but the input's is unlimited: verdicts would be deleted first; set it to -1"
            ),
        );
    }
    let wanted = inputs.saturating_add(input.number(segment).unwrap_or(0));
    if kept < wanted {
        found.fail(
            topic,
            format!(
                "{retention} is {kept}, less than the input's {inputs} + one segment = {wanted}: verdicts would be \
                 deleted before their transactions; raise it"
            ),
        );
    }
}
