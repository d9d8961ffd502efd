//! A verdict that the client itself does not take, on a real broker: its partition is refused by name, and no other.
//!
//! The line runs inside the test: the checks of settings leave no room for such a verdict.

mod common;

use common::{
    PATIENCE,
    inside::Line,
    line::{Setup, Topics, ask, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading},
};

#[test]
fn a_verdict_that_is_too_large_for_the_producer_stops_its_partition_by_name_and_no_other() {
    let topics = Topics::create("undeliverable", 2);
    let setup = Setup::new(&topics).with("SENTRA__VERDICT__FEATURES", "true");
    let line = Line::start(&setup, |config| {
        config.kafka.properties.insert(String::from("message.max.bytes"), String::from("1000"));
    });
    soon("both partitions to run", || line.metric("sentra_partitions{state=\"running\"}") == Some(2.0));
    // A verdict with its features is larger than that, one of an unreadable record is not.
    let large = Sent { partition: Some(0), ..good(1, "T1") };
    let small = Sent { partition: Some(1), value: Some(b"{}".to_vec()), ..Sent::default() };
    Sender::default().send_all(&topics.transactions, [&large, &small].into_iter());

    soon("it to be refused", || line.metric("sentra_partitions{state=\"refused\"}") == Some(1.0));
    let why = ask(line.port, "/readyz").expect("its health");
    assert_eq!(why.code, 503);
    assert!(
        why.body.contains("partition 0 is refused") && why.body.contains("raise message.max.bytes"),
        "{}",
        why.body
    );
    let mut verdicts = Follower::new(&topics.verdicts, 2);
    let mut reading = Reading::default();
    verdicts.read_until(PATIENCE, "the other partition's verdict", |records| {
        reading.follow(&records[1]);
        reading.accepted.len() == 1
    });
    // Nothing waits for what will never be.
    line.end().expect("an end in order");

    // With room the partition goes on where it stood.
    let process = setup.start();
    process.await_running(2, PATIENCE);
    let mut reading = Reading::default();
    verdicts.read_until(PATIENCE, "the verdict", |records| {
        reading.follow(&records[0]);
        reading.accepted.len() == 1
    });
    reading.assert_exact(0, 1);
}
