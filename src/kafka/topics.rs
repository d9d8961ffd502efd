//! The three topics: what is there ([`facts`]), what is wrong with it ([`judge`]), what would be made ([`plan`]).
//!
//! Invariant: nothing that exists is altered or deleted. Not a watch: the shards compare counts and ids while running.

pub mod facts;
pub mod judge;
pub mod plan;
#[cfg(test)]
mod tests;

use std::{
    io, thread,
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::client::{describe, is_transient};
use crate::config::Config;
use facts::Survey;
use judge::{Finding, judge};
use plan::{Action, Step, plan};

/// How long the broker may take to make the topics.
const CREATE: Duration = Duration::from_secs(30);

/// How long brokers may take to tell clients of new topics, and how often they are asked.
const VISIBLE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why topics could not be asked about or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// No client could be made.
    #[error("kafka: {0}")]
    Client(String),
    /// No broker answers; asking again may help.
    #[error("kafka: {0}")]
    Away(String),
    /// The broker refuses who we are, or what is asked.
    #[error("kafka: {0}")]
    Denied(String),
    /// The program cannot wait for an answer.
    #[error("a runtime for the admin client could not be made: {0}")]
    Runtime(String),
    /// The broker refused to make a topic.
    #[error("topic {topic} was not created: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// Why, and the way out.
        reason: String,
    },
}

impl TopicsError {
    /// What an error of a client's means.
    fn of(error: &KafkaError) -> Self {
        if is_transient(error) { Self::Away(describe(error)) } else { Self::Denied(describe(error)) }
    }
}

/// What is wrong with the configured topics now; empty where all is well.
///
/// # Errors
/// No broker answers.
pub fn check(config: &Config) -> Result<Vec<Finding>, TopicsError> {
    if config.kafka.embedded_log.is_some() {
        // Nothing on the embedded broker is meant to last: there is nothing to judge.
        return Ok(Vec::new());
    }
    let facts = Survey::connect(&config.kafka)?.topics(&config.topics)?;
    Ok(judge(&facts, &config.rules, config.environment))
}

/// What [`apply`] would do now.
///
/// # Errors
/// No broker answers.
pub fn planned(config: &Config) -> Result<Vec<Step>, TopicsError> {
    let facts = Survey::connect(&config.kafka)?.topics(&config.topics)?;
    Ok(plan(&facts, config))
}

/// Makes what is missing; what was planned, and now is so.
///
/// # Errors
/// No broker answers, or it refuses to make a topic. Topics made before that stay: applying again goes on.
pub fn apply(config: &Config) -> Result<Vec<Step>, TopicsError> {
    let survey = Survey::connect(&config.kafka)?;
    let steps = plan(&survey.topics(&config.topics)?, config);
    for step in &steps {
        if let Action::Create(new) = &step.action {
            let topic = NewTopic::new(&step.topic, new.partitions, TopicReplication::Fixed(new.replication));
            let topic = new.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
            let options = AdminOptions::new().operation_timeout(Some(CREATE)).request_timeout(Some(CREATE));
            let results = wait(survey.admin.create_topics([&topic], &options))?;
            let results = results.map_err(|error| TopicsError::of(&error))?;
            match results.into_iter().next() {
                // Another process was faster: it made it by the same plan.
                Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) | None => {}
                Some(Err((topic, code))) => {
                    return Err(TopicsError::Refused { topic, reason: describe(&KafkaError::AdminOp(code)) });
                }
            }
        }
    }
    await_visible(&survey, config)?;
    Ok(steps)
}

/// Waits until brokers tell of every topic: a new one is known to its maker before it is known to clients.
fn await_visible(survey: &Survey, config: &Config) -> Result<(), TopicsError> {
    let deadline = Instant::now() + VISIBLE;
    loop {
        let facts = survey.topics(&config.topics)?;
        let Some(hidden) = facts.iter().find(|topic| topic.shape().is_none()) else { return Ok(()) };
        if Instant::now() > deadline {
            let reason = format!("brokers do not tell of it after {} s; look at the broker's log", VISIBLE.as_secs());
            return Err(TopicsError::Refused { topic: hidden.name.clone(), reason });
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits for a future of the admin client, whose own thread drives it.
fn wait<F: Future>(future: F) -> Result<F::Output, TopicsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error: io::Error| TopicsError::Runtime(error.to_string()))?;
    Ok(runtime.block_on(future))
}
