//! Dead letters that cannot be written for now: they hold a bounded number of bytes, their partition alone waits, and
//! nothing is lost once they can.

mod common;

use std::{thread, time::Duration};

use common::{
    create_topic,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Records that are no transactions, each nearly as large as a broker takes it.
const LARGE: usize = 80;
const LARGE_BYTES: usize = 900_000;

/// What may wait of them: 32 MiB, and one turn's batch.
const BATCH: usize = 8;
const MOST: usize = 32 * 1024 * 1024 / LARGE_BYTES + 1 + BATCH;

#[test]
fn letters_that_wait_hold_bounded_memory_and_their_partition_alone_goes_on_when_they_are_written() {
    let topics = Topics::named("letters", 2);
    create_topic(&topics.transactions, 2, &[]);
    create_topic(&topics.verdicts, 2, &[]);
    let sender = Sender::default();
    let large = Sent { partition: Some(0), value: Some(vec![b'x'; LARGE_BYTES]), ..Sent::default() };
    sender.send_all(&topics.transactions, (0..LARGE).map(|_| &large));
    // The dead letters' topic is not there yet, and a client may wait for it.
    let process = Setup::new(&topics)
        .with("SENTRA__SCORE__BATCH", &BATCH.to_string())
        .with("SENTRA__KAFKA__PROPERTIES__TOPIC_METADATA_PROPAGATION_MAX_MS", "600000")
        .start();
    soon("the partition to pause", || process.metric("sentra_partitions{state=\"paused\"}") == Some(1.0));
    let other: Vec<Sent> = (0..50).map(|number| Sent { partition: Some(1), ..good(number, "T") }).collect();
    sender.send_all(&topics.transactions, other.iter());
    soon("the other's verdicts", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(50.0));
    // Gauges are set once a second.
    thread::sleep(Duration::from_secs(2));
    let waiting = process.metric("sentra_undelivered{partition=\"0\"}").expect("it is told") as usize;
    assert!((1..=MOST).contains(&waiting), "{waiting} letters wait, {MOST} may");
    assert_eq!(process.metric("sentra_events_total{kind=\"invalid\"}"), Some(waiting as f64));

    create_topic(&topics.dlq, 2, &[("max.message.bytes", "1114124")]);
    let ends = ends(&topics.transactions, 2);
    let mut follower = Follower::new(&topics.verdicts, 2);
    let mut readings = [Reading::default(), Reading::default()];
    follower.read_until(PATIENCE, "all verdicts", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    readings.iter().enumerate().for_each(|(at, reading)| reading.assert_exact(at, ends[at]));
    soon("each letter to be counted", || process.metric("sentra_dead_letters_total") == Some(LARGE as f64));
    process.await_running(2, PATIENCE);
}
