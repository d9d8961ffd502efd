//! How every Kafka client of Sentra is made: Sentra's suggestions first, then the user's raw properties, then what
//! Sentra owns, so that a user may tune whatever cannot break a contract, and nothing that can.
//!
//! Invariant: no client is made past these functions. Not a client itself: each part makes and owns its own.

mod context;
mod explain;
mod lifeline;
mod statistics;

pub use context::Session;
pub use explain::{describe, is_refused_credentials, is_transient};
pub use lifeline::{Held, Lifeline, Silence, probe, remind, tie};
pub use statistics::values;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use crate::config::KafkaConfig;

/// Suggested to every client; the user's properties win over them.
const SUGGESTED: &[(&str, &str)] = &[
    ("client.id", "sentra"),
    // An idle connection of the broker's is closed every ten minutes; that is no news.
    ("log.connection.close", "false"),
    ("socket.keepalive.enable", "true"),
    ("socket.nagle.disable", "true"),
    // A broker that is back is found within seconds, not within the ten of the default.
    ("reconnect.backoff.max.ms", "3000"),
];

/// Suggested to consumers: no second of silence when their queue was full, and no deeper a queue than reading needs. The
/// records of all partitions wait in it in one line: what is fetched ahead of one that replays a long log is what the live
/// records of the others wait for.
const SUGGESTED_TO_CONSUMERS: &[(&str, &str)] =
    &[("fetch.queue.backoff.ms", "20"), ("fetch.wait.max.ms", "100"), ("queued.min.messages", "10000")];

/// Suggested to producers: batches worth compressing.
const SUGGESTED_TO_PRODUCERS: &[(&str, &str)] = &[
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    // The default of 100,000 is shared by all partitions: one slow one would starve the others.
    ("queue.buffering.max.messages", "1000000"),
];

/// Sentra's in clients that are served all the time: whether a broker is reached, and tried at all, is read from what they
/// tell. A client that is not served would pile it up.
pub const TELLS: (&str, &str) = ("statistics.interval.ms", "2000");

/// Sentra's in every consumer: its position comes from the verdict topic, never from a group's commits, and a silent
/// jump would lose verdicts.
const OWNED_IN_CONSUMERS: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("allow.auto.create.topics", "false"),
];

/// Sentra's in every producer: one copy of each record, in order, none given up (C1.7).
const OWNED_IN_PRODUCERS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),
    ("enable.gapless.guarantee", "true"),
    ("partitioner", "murmur2_random"),
    ("allow.auto.create.topics", "false"),
];

/// A client that neither consumes nor produces: topics, descriptions, offsets.
pub fn admin_config(kafka: &KafkaConfig) -> ClientConfig {
    layered(kafka, &[], &[])
}

/// A member of the consumer group, by the classic cooperative protocol. It starts nowhere by itself
/// (`auto.offset.reset=error`): its assignments bear their offsets.
pub fn consumer_config(kafka: &KafkaConfig) -> ClientConfig {
    let mut client = layered(kafka, SUGGESTED_TO_CONSUMERS, OWNED_IN_CONSUMERS);
    client.set("group.id", &kafka.group).set("partition.assignment.strategy", "cooperative-sticky");
    client
}

/// A consumer outside the group, which assigns partitions to itself and is told where each of them ends. Its group id
/// is never joined and nothing is committed under it; librdkafka wants one nevertheless.
pub fn follower_config(kafka: &KafkaConfig) -> ClientConfig {
    let mut client = layered(kafka, SUGGESTED_TO_CONSUMERS, OWNED_IN_CONSUMERS);
    client.set("group.id", format!("{}-follower", kafka.group)).set("enable.partition.eof", "true");
    client
}

/// A producer that keeps order and never gives a record up; the shard sets `linger.ms` from its own setting.
pub fn producer_config(kafka: &KafkaConfig) -> ClientConfig {
    layered(kafka, SUGGESTED_TO_PRODUCERS, OWNED_IN_PRODUCERS)
}

fn layered(kafka: &KafkaConfig, suggested: &[(&str, &str)], owned: &[(&str, &str)]) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (name, value) in SUGGESTED.iter().chain(suggested) {
        client.set(*name, *value);
    }
    for (name, value) in &kafka.properties {
        client.set(name, value);
    }
    for (name, value) in owned {
        client.set(*name, *value);
    }
    client.set("bootstrap.servers", &kafka.bootstrap_servers).set_log_level(RDKafkaLogLevel::Info);
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(properties: &[(&str, &str)]) -> KafkaConfig {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        KafkaConfig {
            bootstrap_servers: String::from("a:1,b:2"),
            group: String::from("line"),
            embedded_log: None,
            properties,
        }
    }

    #[test]
    fn the_users_properties_win_over_suggestions_and_lose_to_what_sentra_owns() {
        let user = kafka(&[("client.id", "mine"), ("acks", "1"), ("auto.offset.reset", "latest"), ("linger.ms", "9")]);
        let producer = producer_config(&user);
        assert_eq!(producer.get("client.id"), Some("mine"));
        assert_eq!(producer.get("linger.ms"), Some("9"));
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("message.timeout.ms"), Some("0"));
        let consumer = consumer_config(&user);
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("group.id"), Some("line"));
        assert_eq!(consumer.get("bootstrap.servers"), Some("a:1,b:2"));
    }

    #[test]
    fn librdkafka_knows_every_property_that_sentra_sets() {
        for client in [
            admin_config(&kafka(&[])),
            consumer_config(&kafka(&[])),
            follower_config(&kafka(&[])),
            producer_config(&kafka(&[])),
        ] {
            assert!(client.create_native_config().is_ok(), "{client:?}");
        }
    }
}
