//! What the tests on a real Kafka share: its addresses, topics of their own, the SASL users.
//!
//! Nothing is skipped where Kafka is missing: a test that needs it fails and says how to start it.
//! It holds no assertions about Sentra.

// Each test binary compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

pub mod broker;
pub mod curl;
pub mod demo;
pub mod disk;
pub mod feed;
pub mod inside;
pub mod line;
pub mod node;
pub mod postgres;
pub mod produce;
pub mod proxy;
pub mod readme;
pub mod records;
pub mod rows;
pub mod schemas;
pub mod secrets;
pub mod steady;

use std::env;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// Generous: a broker beside a busy compiler may be slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker of this test binary's own, in place of the one all share.
static OWN: OnceLock<String> = OnceLock::new();

/// The plaintext listener's address, of whose users everything is allowed.
pub fn kafka() -> String {
    OWN.get().cloned().unwrap_or_else(|| variable("KAFKA_BOOTSTRAP_SERVERS"))
}

/// Who speaks on the SASL_SSL listener.
#[derive(Debug, Clone, Copy)]
pub enum SaslUser {
    /// May read `sasl.transactions*`, read and write `sasl.verdicts*`, write `sasl.dlq*`, join groups `sasl-*`.
    Sentra,
    /// Is known to the broker, and may do nothing.
    Stranger,
}

/// librdkafka's properties for the SASL_SSL listener.
pub fn sasl(user: SaslUser) -> Vec<(&'static str, String)> {
    let (name, password) = match user {
        SaslUser::Sentra => ("SENTRA_TEST_SASL_USER", "SENTRA_TEST_SASL_PASSWORD"),
        SaslUser::Stranger => ("SENTRA_TEST_SASL_STRANGER", "SENTRA_TEST_SASL_STRANGER_PASSWORD"),
    };
    vec![
        ("bootstrap.servers", variable("SENTRA_TEST_SASL_BOOTSTRAP")),
        ("security.protocol", String::from("SASL_SSL")),
        ("sasl.mechanism", String::from("SCRAM-SHA-512")),
        ("ssl.ca.location", variable("SENTRA_TEST_SASL_CA")),
        ("sasl.username", variable(name)),
        ("sasl.password", variable(password)),
    ]
}

/// A client configuration with these properties.
pub fn client(properties: &[(&str, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(*name, value);
    }
    config
}

/// An admin client on the plaintext listener.
pub fn admin() -> AdminClient<DefaultClientContext> {
    client(&[("bootstrap.servers", kafka())]).create().expect("an admin client")
}

/// A name that no other test, process or run has: `prefix-<pid>-<time>-<count>`.
pub fn unique_topic(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros();
    format!("{prefix}-{}-{now_us:x}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Creates a topic with one copy of each partition and waits until the broker has it.
pub fn create_topic(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let results = block_on(admin().create_topics([&topic], &patient())).expect("create_topics");
    assert_eq!(results, [Ok(name.to_owned())]);
    await_topic(name);
}

/// The controller has the topic at once; on a busy machine the broker learns of it later.
pub fn await_topic(name: &str) {
    let consumer: BaseConsumer = client(&[("bootstrap.servers", kafka())]).create().expect("a consumer");
    line::until(
        PATIENCE,
        || format!("topic {name}"),
        || {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).ok()?;
            let topic = metadata.topics().first()?;
            (topic.error().is_none() && !topic.partitions().is_empty()).then_some(())
        },
    );
}

/// Gives a topic that many partitions in all.
pub fn grow_topic(name: &str, partitions: usize) {
    let grown = NewPartitions::new(name, partitions);
    let results = block_on(admin().create_partitions([&grown], &patient())).expect("create_partitions");
    assert_eq!(results, [Ok(name.to_owned())]);
}

/// Deletes a topic.
pub fn delete_topic(name: &str) {
    let results = block_on(admin().delete_topics(&[name], &patient())).expect("delete_topics");
    assert_eq!(results, [Ok(name.to_owned())]);
}

/// Deletes the records of a partition below `before`, as retention would.
pub fn delete_records(topic: &str, partition: i32, before: i64) {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before)).expect("an offset");
    let done = block_on(admin().delete_records(&list, &patient())).expect("delete_records");
    // The partition's own answer: what is not there yet is not deleted.
    done.elements().iter().for_each(|element| element.error().expect("records that are there"));
}

fn patient() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

/// Waits for a future of the admin client, whose own thread drives it.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set, and this test needs real services: run scripts/test, or: eval \"$(scripts/services env)\"")
    })
}
