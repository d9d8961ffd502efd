//! Which log a topic is: the id that its broker gave it, or on the embedded broker, which knows none, the one that the
//! configuration gives to all of its topics.
//!
//! The one seam between real brokers and the embedded one: whoever needs a topic's id asks here. What a topic is like
//! otherwise is not asked here.

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};

use super::topic_id::{TopicId, TopicIdError, topic_id};
use crate::config::KafkaConfig;

/// The id of `topic`. Blocks for `timeout` plus one second at most; with an embedded broker not at all.
///
/// # Errors
/// [`TopicIdError`] says whether the topic, the permission, the broker's version or the connection is at fault.
pub fn identity<C: ClientContext>(
    kafka: &KafkaConfig,
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<TopicId, TopicIdError> {
    match kafka.embedded_log {
        Some(log) => TopicId::from_bytes(log.0).ok_or_else(|| TopicIdError::WithoutId { topic: topic.to_owned() }),
        None => topic_id(client, topic, timeout),
    }
}
