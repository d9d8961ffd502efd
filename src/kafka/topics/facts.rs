//! What the broker says of the three topics, as plain values for the judge. Not an opinion of them.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use serde::Serialize;

use super::TopicsError;
use crate::{
    config::{KafkaConfig, TopicsConfig},
    kafka::{
        client::{Session, admin_config, describe, is_transient},
        identity::identity,
        topic_id::TopicIdError,
    },
};

/// How long a question may take.
const ASK: Duration = Duration::from_secs(10);
/// How long one attempt at the first answer may take, before the reason for silence is looked for.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Attempts at the first answer.
const ATTEMPTS: u32 = 5;
/// Most queued notices read at once.
const NOTICES: usize = 64;

/// What a topic is to Sentra.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// In.
    Transactions,
    /// Out.
    Verdicts,
    /// Records that could not be read.
    Dlq,
}

/// What the broker says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// What is there.
    pub state: State,
}

/// What is there under a topic's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, as far as this user may see.
    Missing,
    /// Something that this user may not see.
    Hidden,
    /// A topic.
    Found(Shape),
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its partitions.
    pub partitions: i32,
    /// The least number of copies among them.
    pub replication: i32,
    /// Its id as 32 hex digits, or why there is none.
    pub id: Result<String, String>,
    /// Its settings, with the broker's defaults where it has none of its own; `None` where this user may not read them.
    pub settings: Option<BTreeMap<String, String>>,
}

impl TopicFacts {
    /// The topic, where it was found.
    pub fn shape(&self) -> Option<&Shape> {
        match &self.state {
            State::Found(shape) => Some(shape),
            State::Missing | State::Hidden => None,
        }
    }
}

impl Shape {
    /// A setting's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name).map(String::as_str)
    }

    /// A setting that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }
}

/// Asks the broker about topics.
pub struct Survey {
    pub(super) admin: AdminClient<Session>,
    client: BaseConsumer<Session>,
    kafka: KafkaConfig,
}

impl Survey {
    /// Connects, and waits for the first answer.
    ///
    /// # Errors
    /// A property is wrong, no broker answers, or it refuses the credentials.
    pub fn connect(kafka: &KafkaConfig) -> Result<Self, TopicsError> {
        let config = admin_config(kafka);
        let made = |error: KafkaError| TopicsError::Client(describe(&error));
        let client: BaseConsumer<Session> = config.create_with_context(Session::default()).map_err(made)?;
        let admin = config.create_with_context(Session::default()).map_err(made)?;
        let survey = Self { admin, client, kafka: kafka.clone() };
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let Err(error) = survey.client.fetch_metadata(None, ATTEMPT) else { return Ok(survey) };
            survey.read_notices();
            last = survey.client.context().why(&error);
            if survey.client.context().credentials_refused() || !is_transient(&error) {
                return Err(TopicsError::Denied(last));
            }
        }
        Err(TopicsError::Away(last))
    }

    /// The client that was asked.
    pub fn client(&self) -> &BaseConsumer<Session> {
        &self.client
    }

    /// What the broker says of the three topics, in the order transactions, verdicts, dead letters.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn topics(&self, topics: &TopicsConfig) -> Result<Vec<TopicFacts>, TopicsError> {
        let roles =
            [(Role::Transactions, &topics.transactions), (Role::Verdicts, &topics.verdicts), (Role::Dlq, &topics.dlq)];
        roles.into_iter().map(|(role, name)| self.topic(role, name)).collect()
    }

    fn topic(&self, role: Role, name: &str) -> Result<TopicFacts, TopicsError> {
        let facts = |state| TopicFacts { role, name: name.to_owned(), state };
        let metadata = self.client.fetch_metadata(Some(name), ASK).map_err(|error| TopicsError::of(&error))?;
        let found = metadata.topics().iter().find(|found| found.name() == name);
        let Some(found) = found else { return Ok(facts(State::Missing)) };
        match found.error().map(Code::from) {
            Some(Code::TopicAuthorizationFailed) => return Ok(facts(State::Hidden)),
            Some(Code::UnknownTopicOrPartition) => return Ok(facts(State::Missing)),
            Some(code) => return Err(TopicsError::of(&KafkaError::MetadataFetch(code))),
            None if found.partitions().is_empty() => return Ok(facts(State::Missing)),
            None => {}
        }
        let id = identity(&self.kafka, self.client.client(), name, ASK);
        if let Err(error @ TopicIdError::Failed { code, .. }) = &id
            && is_transient(&KafkaError::Global(*code))
        {
            return Err(TopicsError::Away(error.to_string()));
        }
        Ok(facts(State::Found(Shape {
            partitions: found.partitions().len() as i32,
            replication: found.partitions().iter().map(|one| one.replicas().len() as i32).min().unwrap_or(0),
            id: id.map(|id| id.to_string()).map_err(|error| error.to_string()),
            settings: self.settings(name)?,
        })))
    }

    fn settings(&self, topic: &str) -> Result<Option<BTreeMap<String, String>>, TopicsError> {
        if self.kafka.embedded_log.is_some() {
            // The embedded broker has no settings, and never answers who asks for them.
            return Ok(None);
        }
        let options = AdminOptions::new().request_timeout(Some(ASK));
        let answer = super::wait(self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))?;
        let answer = answer.map_err(|error| TopicsError::of(&error))?;
        match answer.into_iter().next() {
            Some(Ok(resource)) => {
                let entries = resource.entries.into_iter();
                Ok(Some(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()))
            }
            Some(Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) | None => Ok(None),
            Some(Err(code)) => Err(TopicsError::of(&KafkaError::AdminOp(code))),
        }
    }

    /// Reasons wait in the client's queue; taken out, they reach its context.
    fn read_notices(&self) {
        for _ in 0..NOTICES {
            if self.client.poll(Duration::ZERO).is_none() {
                return;
            }
        }
    }
}
