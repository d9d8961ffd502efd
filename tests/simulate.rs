//! Simulated traffic on a real Kafka: keys, partitions, times, and what is said when it cannot go there.

mod common;

use std::collections::HashMap;

use clap::Parser;
use common::PATIENCE;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use sentra::cli::simulate::{KafkaTarget, SimulateArgs, SimulateError, run};
use sentra::domain::partitioner::partition_of;
use sentra::domain::time::EventTimeMs;
use sentra::kafka::load::LoadError;

const PARTITIONS: i32 = 4;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: SimulateArgs,
}

fn simulate(line: &str, topic: &str) -> Result<(), SimulateError> {
    let words = std::iter::once("simulate").chain(line.split_whitespace());
    let args = Command::try_parse_from(words).expect("arguments").args;
    let client = common::client(&[("bootstrap.servers", common::kafka())]);
    run(&args, KafkaTarget { client, topic: topic.to_owned() })
}

/// What a consumer needs of one record.
struct Consumed {
    partition: i32,
    key: Vec<u8>,
    timestamp_ms: Option<i64>,
    value: serde_json::Value,
}

fn consume(topic: &str, count: usize) -> Vec<Consumed> {
    let mut config = common::client(&[("bootstrap.servers", common::kafka())]);
    let consumer: BaseConsumer = config.set("group.id", "unused").create().expect("a consumer");
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&assigned).expect("an assignment");
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        let message = consumer.poll(PATIENCE).expect("a record in time").expect("a record");
        records.push(Consumed {
            partition: message.partition(),
            key: message.key().expect("a key").to_vec(),
            timestamp_ms: message.timestamp().to_millis(),
            value: serde_json::from_slice(message.payload().expect("a value")).expect("JSON"),
        });
    }
    records
}

fn event_time(record: &Consumed) -> i64 {
    let text = record.value["timestamp"].as_str().expect("a timestamp");
    EventTimeMs::parse(text).expect("RFC 3339").0
}

#[test]
fn records_lie_where_java_would_put_them_with_the_event_time_as_create_time_and_in_order() {
    let topic = common::unique_topic("simulate");
    common::create_topic(&topic, PARTITIONS, &[("message.timestamp.type", "CreateTime")]);
    let labels = tempfile::tempdir().expect("a folder");
    let line = format!("--to-kafka --fast --events 20000 --customers 800 --labels {}", labels.path().display());
    simulate(&line, &topic).expect("simulated");
    let records = consume(&topic, 20_000);
    let mut newest: HashMap<&[u8], i64> = HashMap::new();
    for record in &records {
        assert_eq!(record.partition, partition_of(&record.key, PARTITIONS));
        let at_ms = event_time(record);
        assert_eq!(record.timestamp_ms, Some(at_ms));
        let phone = record.value["phone_number"].as_str().expect("a phone");
        assert!(record.key.ends_with(&phone.as_bytes()[1..]), "the key is the phone in E.164");
        let before = newest.insert(&record.key, at_ms);
        assert!(before.is_none_or(|before| before <= at_ms), "a phone's records keep their order");
    }
    let text = std::fs::read_to_string(labels.path().join("labels.jsonl")).expect("labels");
    assert_eq!(text.lines().count(), 20_000);
    common::delete_topic(&topic);
}

#[test]
fn disorder_duplicates_and_conflicts_come_through_as_asked_for_with_a_label_for_each_transaction() {
    let topic = common::unique_topic("simulate-wild");
    common::create_topic(&topic, PARTITIONS, &[("message.timestamp.type", "CreateTime")]);
    let labels = tempfile::tempdir().expect("a folder");
    let wild = "--disorder 0.2 --disorder-minutes 60 --duplicates 0.1 --conflicts 0.05";
    let line = format!("--to-kafka --fast --events 10000 --customers 400 {wild} --labels {}", labels.path().display());
    simulate(&line, &topic).expect("simulated");
    let records = consume(&topic, 10_000);
    let mut times: HashMap<i32, i64> = HashMap::new();
    let mut bodies: HashMap<String, Vec<&serde_json::Value>> = HashMap::new();
    let mut backwards = 0;
    for record in &records {
        let newest = times.entry(record.partition).or_insert(i64::MIN);
        backwards += u32::from(event_time(record) < *newest);
        *newest = event_time(record).max(*newest);
        let id = format!("{} {}", record.value["institution_id"], record.value["transaction_id"]);
        bodies.entry(id).or_default().push(&record.value);
    }
    let repeated = bodies.values().filter(|bodies| bodies.len() > 1);
    let (same, changed): (Vec<_>, Vec<_>) = repeated.partition(|bodies| bodies.iter().all(|body| *body == bodies[0]));
    assert!(
        backwards > 1_000 && same.len() > 500 && changed.len() > 200,
        "{backwards} {} {}",
        same.len(),
        changed.len()
    );
    let text = std::fs::read_to_string(labels.path().join("labels.jsonl")).expect("labels");
    assert_eq!(text.lines().count(), bodies.len());
    common::delete_topic(&topic);
}

#[test]
fn a_rate_is_kept_and_now_means_now() {
    let topic = common::unique_topic("simulate-now");
    common::create_topic(&topic, PARTITIONS, &[]);
    let clock =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as i64;
    let started_ms = clock();
    simulate("--to-kafka --now --rate 400 --events 800 --customers 500", &topic).expect("simulated");
    let ended_ms = clock();
    assert!(ended_ms - started_ms >= 1_990, "800 records at 400 a second take 2 s");
    let mut times: Vec<i64> = consume(&topic, 800).iter().map(event_time).collect();
    times.sort_unstable();
    assert!(times[0] >= started_ms && times[799] <= ended_ms);
    assert!((times[799] - times[0] - 1_997).abs() <= 2, "{} ms", times[799] - times[0]);
    common::delete_topic(&topic);
}

#[test]
fn a_topic_that_is_missing_or_refuses_old_times_is_named_with_the_way_out() {
    let absent = common::unique_topic("simulate-absent");
    let error = simulate("--to-kafka --events 10", &absent).expect_err("no such topic");
    assert!(matches!(error, SimulateError::Load(LoadError::Topic { .. })), "{error}");
    assert!(error.to_string().contains(&absent) && error.to_string().contains("sentra topics apply"), "{error}");

    let strict = common::unique_topic("simulate-strict");
    common::create_topic(&strict, PARTITIONS, &[("message.timestamp.before.max.ms", "3600000")]);
    let error = simulate("--to-kafka --events 10", &strict).expect_err("old times");
    assert!(matches!(error, SimulateError::Load(LoadError::Timestamp { .. })), "{error}");
    assert!(error.to_string().contains("--now"), "{error}");
    common::delete_topic(&strict);
}
