//! Stretches of a partition, read from a real Kafka.

mod common;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sentra::{
    config::KafkaConfig,
    kafka::tail::{RangeReader, Span, TailError},
};

fn config() -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: common::kafka(),
        group: String::from("ranges"),
        embedded_log: None,
        properties: BTreeMap::new(),
    }
}

fn producer(more: &[(&str, &str)]) -> BaseProducer {
    let mut client = common::client(&[("bootstrap.servers", common::kafka())]);
    client.set("linger.ms", "5");
    for (name, value) in more {
        client.set(*name, *value);
    }
    client.create().expect("a producer")
}

fn fill(producer: &BaseProducer, topic: &str, partition: i32, values: impl Iterator<Item = String>) {
    for value in values {
        let mut record = BaseRecord::<[u8], str>::to(topic).partition(partition).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(common::PATIENCE).expect("flushed");
}

fn read(reader: &mut RangeReader, partition: i32, from: i64, to: i64) -> Result<Vec<(i64, String)>, TailError> {
    let mut found = Vec::new();
    reader.read_range(partition, from, to, &AtomicBool::new(false), |offset, value| {
        found.push((offset, String::from_utf8(value.unwrap_or(b"-").to_vec()).expect("text")));
    })?;
    Ok(found)
}

fn span(reader: &mut RangeReader, partition: i32) -> Span {
    reader.span(partition, &AtomicBool::new(false)).expect("a span")
}

#[test]
fn a_range_holds_each_of_its_records_once_and_one_reader_reads_many_ranges() {
    let topic = common::unique_topic("ranges");
    common::create_topic(&topic, 3, &[]);
    for partition in 0..3 {
        fill(&producer(&[]), &topic, partition, (0..1_000).map(|at| format!("{partition}/{at}")));
    }
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    assert_eq!(span(&mut reader, 2), Span { start: 0, end: 1_000 });
    let began = Instant::now();
    for (partition, from, to) in [(0, 0, 1_000), (1, 10, 20), (2, 999, 1_000), (0, 500, 501), (0, 0, 7), (1, 5, 5)] {
        let wanted: Vec<_> = (from..to).map(|at| (at, format!("{partition}/{at}"))).collect();
        assert_eq!(read(&mut reader, partition, from, to).expect("read"), wanted);
    }
    println!("six ranges in {:?}", began.elapsed());
}

#[test]
fn a_range_ends_though_its_last_offsets_hold_no_records() {
    let topic = common::unique_topic("ranges-tx");
    common::create_topic(&topic, 1, &[]);
    let writer = producer(&[("transactional.id", &topic)]);
    writer.init_transactions(common::PATIENCE).expect("transactions");
    for batch in 0..2 {
        writer.begin_transaction().expect("begun");
        fill(&writer, &topic, 0, (0..3).map(|at| format!("{batch}/{at}")));
        if batch == 0 {
            writer.commit_transaction(common::PATIENCE).expect("committed");
        } else {
            writer.abort_transaction(common::PATIENCE).expect("aborted");
        }
    }
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    // A transaction's end is told before its marker is written, and the stable end comes after the marker.
    let deadline = Instant::now() + common::PATIENCE;
    let mut end = 0;
    while end < 8 {
        assert!(Instant::now() < deadline, "three records and a marker, twice: the end stays at {end}");
        end = span(&mut reader, 0).end;
    }
    assert_eq!(end, 8, "three records and a marker, twice");
    let found: Vec<i64> = read(&mut reader, 0, 0, end).expect("read").iter().map(|(at, _)| *at).collect();
    assert_eq!(found, [0, 1, 2]);
    assert_eq!(read(&mut reader, 0, 4, end).expect("read"), []);
}

#[test]
fn a_range_that_is_not_written_yet_is_awaited() {
    let topic = common::unique_topic("ranges-later");
    common::create_topic(&topic, 1, &[]);
    fill(&producer(&[]), &topic, 0, (0..5).map(|at| at.to_string()));
    let late = {
        let topic = topic.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            fill(&producer(&[]), &topic, 0, (5..10).map(|at| at.to_string()));
        })
    };
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    assert_eq!(read(&mut reader, 0, 2, 10).expect("read").len(), 8);
    late.join().expect("the late writer");
}

#[test]
fn the_stop_flag_ends_a_read_that_would_wait() {
    let topic = common::unique_topic("ranges-stop");
    common::create_topic(&topic, 1, &[]);
    let stop = AtomicBool::new(false);
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(700));
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(reader.read_range(0, 0, 10, &stop, |_, _| {}), Err(TailError::Stopped));
    });
}

#[test]
fn records_that_were_deleted_are_named() {
    let topic = common::unique_topic("ranges-gone");
    common::create_topic(&topic, 1, &[]);
    fill(&producer(&[]), &topic, 0, (0..10).map(|at| at.to_string()));
    common::delete_records(&topic, 0, 6);
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    let error = read(&mut reader, 0, 2, 10).expect_err("gone");
    assert_eq!(error, TailError::Gone { topic, partition: 0, wanted: 2, start: 6 });
    assert_eq!(read(&mut reader, 0, 6, 10).expect("read").len(), 4);
}

#[test]
fn a_missing_topic_is_refused_and_not_awaited() {
    let topic = common::unique_topic("ranges-missing");
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    let error = read(&mut reader, 0, 0, 1).expect_err("missing").to_string();
    assert!(error.contains("sentra topics apply"), "{error}");
}

#[test]
fn refused_credentials_end_a_read_at_once_and_name_the_setting() {
    let mut properties: BTreeMap<String, String> =
        common::sasl(common::SaslUser::Sentra).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bootstrap_servers = properties.remove("bootstrap.servers").expect("servers");
    properties.insert(String::from("sasl.password"), String::from("wrong"));
    let kafka = KafkaConfig { bootstrap_servers, group: String::from("sasl-ranges"), embedded_log: None, properties };
    let mut reader = RangeReader::open(&kafka, "sasl.verdicts").expect("a reader");
    let error = read(&mut reader, 0, 0, 1).expect_err("refused").to_string();
    assert!(error.contains("kafka.sasl_password") && !error.contains("wrong"), "{error}");
}

#[test]
fn half_a_million_records_are_read_and_the_rate_is_printed() {
    let topic = common::unique_topic("ranges-many");
    common::create_topic(&topic, 1, &[]);
    let value = "v".repeat(700);
    let writer = producer(&[("compression.type", "lz4"), ("queue.buffering.max.messages", "1000000")]);
    fill(&writer, &topic, 0, (0..500_000).map(|at| format!("{at}{value}")));
    let mut reader = RangeReader::open(&config(), &topic).expect("a reader");
    let (mut count, mut bytes) = (0_i64, 0);
    let began = Instant::now();
    reader
        .read_range(0, 0, 500_000, &AtomicBool::new(false), |offset, value| {
            assert_eq!(offset, count);
            count += 1;
            bytes += value.map_or(0, <[u8]>::len);
        })
        .expect("read");
    assert_eq!(count, 500_000);
    println!("{:.0} records/s, {bytes} bytes", 500_000.0 / began.elapsed().as_secs_f64());
    common::delete_topic(&topic);
}
