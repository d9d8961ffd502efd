//! A record that the program fails on, on a real broker: its partition goes on behind it, the other never stops, and
//! no replay ever holds it. One that fails in replay stops its partition alone.
//!
//! The line runs inside the test, for nothing that can be set from outside makes it fail.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use common::{
    PATIENCE,
    inside::Line,
    line::{Setup, Topics, ask, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
};
use sentra::{
    domain::{features, identity::LogId, rules::Rules, transaction::Record},
    engine::partition::{Partition, Place, Step},
    shard::set_trap,
};

const PARTITIONS: i32 = 2;

/// The offset of partition 0 that fails; -1 for none.
static POISON: AtomicI64 = AtomicI64::new(-1);

fn trap(partition: i32, offset: i64) {
    assert!(partition != 0 || offset != POISON.load(Ordering::Relaxed), "a panic that quotes +254712345678");
}

/// So many transactions of three phones to each partition.
fn send(sender: &Sender, topics: &Topics, from: u32, records: u32) -> Vec<Sent> {
    let one = |number: u32| {
        let sent = good(number % 3, &format!("T{number}"));
        (0..PARTITIONS).map(move |partition| Sent { partition: Some(partition), ..sent.clone() })
    };
    let sent: Vec<Sent> = (from..from + records).flat_map(one).collect();
    sender.send_all(&topics.transactions, sent.iter());
    sent.into_iter().filter(|sent| sent.partition == Some(0)).collect()
}

/// What counts of both partitions, once every record has its verdict.
fn judged(topics: &Topics) -> (Follower, Vec<Reading>) {
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    let ends = ends(&topics.transactions, PARTITIONS);
    let mut readings: Vec<Reading> = (0..PARTITIONS).map(|_| Reading::default()).collect();
    follower.read_until(PATIENCE, "every verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    readings.iter().enumerate().for_each(|(at, reading)| reading.assert_exact(at, ends[at]));
    (follower, readings)
}

/// The digests of partition 0's features, were the record at `left_out` none; `None` there.
fn digests(sent: &[Sent], left_out: i64) -> Vec<Option<String>> {
    let place = Place { log: LogId([7; 16]), partition: 0, partitions: PARTITIONS };
    let mut partition = Partition::new(Arc::new(Rules::default()), place, 0);
    let one = |(offset, sent): (i64, &Sent)| {
        if offset == left_out {
            partition.skip(offset);
            return None;
        }
        let value = sent.value.as_deref();
        match partition.step(&Record { offset, timestamp_ms: None, key: None, value, institution: None }) {
            Step::Judged(judged) => Some(format!("{:016x}", features::digest(judged.row()))),
            Step::Invalid(_) => None,
        }
    };
    (0..).zip(sent).map(one).collect()
}

#[test]
fn a_record_that_the_program_fails_on_costs_its_partition_that_record_and_no_other_anything() {
    set_trap(trap);
    let topics = Topics::create("poison", PARTITIONS);
    let sender = Sender::default();
    let folder = tempfile::tempdir().expect("a folder");
    let setup = |snapshots: &str| {
        Setup::new(&topics)
            .with("SENTRA__SNAPSHOTS__LOCATION", snapshots)
            .with("SENTRA__SNAPSHOTS__INTERVAL", "1s")
            .with("SENTRA__VERDICT__FEATURES", "true")
    };

    let mut sent = send(&sender, &topics, 0, 40);
    let line = Line::start(&setup(&folder.path().display().to_string()), |_| {});
    soon("both partitions to run", || line.metric("sentra_partitions{state=\"running\"}") == Some(2.0));
    POISON.store(45, Ordering::Relaxed);
    sent.extend(send(&sender, &topics, 40, 40));
    let (follower, readings) = judged(&topics);
    assert_eq!(line.metric("sentra_record_crashes_total"), Some(1.0));
    assert_eq!(line.metric("sentra_invalid_total{reason=\"internal_error\"}"), Some(1.0));
    soon("it to be ready", || ask(line.port, "/readyz").is_some_and(|answer| answer.code == 200));
    assert_eq!((readings[0].owners, readings[1].owners), (2, 1), "the other partition never stopped");
    let mut told = readings[0].accepted.iter().map(|(_, index)| follower.records[0][*index].json());
    let failed = told.find(|verdict| verdict["kind"] == "invalid").expect("a verdict all the same");
    assert_eq!((&failed["source"]["offset"], &failed["reasons"][0]["code"]), (&45.into(), &"INTERNAL_ERROR".into()));
    let mut letters = Follower::new(&topics.dlq, PARTITIONS);
    letters.read_until(PATIENCE, "its dead letter", |records| !records[0].is_empty());
    let letter = &letters.records[0][0];
    assert_eq!((&letter.key, &letter.value), (&sent[45].key, &sent[45].value));
    assert_eq!(letter.header("__connect.errors.stage").as_deref(), Some("step"));
    assert_eq!(letter.header("__connect.errors.offset").as_deref(), Some("45"));
    line.end().expect("an end in order");

    // Whoever replays the log knows; one that it judged before must not fail there.
    POISON.store(10, Ordering::Relaxed);
    let line = Line::start(&setup("off"), |_| {});
    let refused = || ask(line.port, "/readyz").filter(|answer| answer.body.contains("partition 0 is refused"));
    soon("it to stop", || refused().is_some());
    let why = refused().expect("it stays so").body;
    assert!(why.contains("2 times on the record at offset 10") && !why.contains("254"), "{why}");
    sent.extend(send(&sender, &topics, 80, 20));
    let mut verdicts = Follower::new(&topics.verdicts, PARTITIONS);
    let mut reading = Reading::default();
    verdicts.read_until(PATIENCE, "the other partition's verdicts", |records| {
        reading.follow(&records[1]);
        reading.accepted.len() == 100
    });
    assert_eq!(line.metric("sentra_partitions{state=\"refused\"}"), Some(1.0));
    assert_eq!(line.metric("sentra_record_crashes_total"), Some(2.0));
    line.end().expect("an end in order");

    // A version that does not fail goes on, from the log alone and from a snapshot alike.
    for snapshots in ["off", &folder.path().display().to_string()] {
        let process = setup(snapshots).start();
        process.await_running(PARTITIONS, PATIENCE);
        sent.extend(send(&sender, &topics, sent.len() as u32, 10));
        let (follower, readings) = judged(&topics);
        let expected = digests(&sent, 45);
        for ((head, index), expected) in readings[0].accepted.iter().zip(&expected) {
            let verdict = follower.records[0][*index].json();
            assert_eq!(verdict["feature_digest"].as_str(), expected.as_deref(), "offset {}", head.source.offset);
        }
        drop(process);
    }
}
