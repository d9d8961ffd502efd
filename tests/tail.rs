//! The verdict tail on a real Kafka, over verdict logs written by hand: zombies, owner records, gaps, readers that
//! join in the middle, cursors.

mod common;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    producer::{BaseProducer, BaseRecord, Producer},
};
use sentra::{
    config::KafkaConfig,
    kafka::tail::{Counts, From, Position, Positions, Tail, TailError, TailEvent, Until},
};

fn config() -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: common::kafka(),
        group: String::from("tail"),
        embedded_log: None,
        properties: BTreeMap::new(),
    }
}

fn owner() -> String {
    String::from(r#"{"kind":"owner","source":{"log":"7f3a9c01","partition":0},"group":"g","instance":"i"}"#)
}

fn verdict(epoch: i64, source: i64, previous: i64) -> String {
    of_log("7f3a9c01", epoch, source, previous)
}

fn of_log(log: &str, epoch: i64, source: i64, previous: i64) -> String {
    format!(
        r#"{{"kind":"scored","risk_score":1,"source":{{"log":"{log}","partition":0,"offset":{source},"previous_offset":{previous},"epoch":{epoch}}}}}"#
    )
}

fn write(topic: &str, partition: i32, values: &[String]) {
    let producer: BaseProducer =
        common::client(&[("bootstrap.servers", common::kafka())]).create().expect("a producer");
    for value in values {
        let mut record = BaseRecord::<[u8], str>::to(topic).partition(partition).payload(value);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(common::PATIENCE).expect("flushed");
}

fn topic(partitions: i32) -> String {
    let topic = common::unique_topic("tail");
    common::create_topic(&topic, partitions, &[]);
    topic
}

fn open(topic: &str, from: From, until: Until) -> Tail {
    Tail::open(&config(), topic, from, until).expect("a tail")
}

/// Reads to the end: (partition, verdict-topic offset, source offset, gap) of each verdict that counts.
fn rest(tail: &mut Tail) -> Vec<(i32, i64, i64, bool)> {
    let mut found = Vec::new();
    let deadline = Instant::now() + common::PATIENCE;
    while !tail.finished() {
        assert!(Instant::now() < deadline, "the end was not reached: {found:?}");
        if let Some(TailEvent::Accepted { source, gap, message, .. }) =
            tail.poll(Duration::from_millis(100)).expect("polled")
        {
            found.push((message.partition(), message.offset(), source, gap));
        }
    }
    found
}

/// An owner, its verdicts 0 and 1, a new owner, and the first one's zombie verdicts between the new one's.
fn contested() -> Vec<String> {
    vec![
        owner(),            // 0
        verdict(0, 0, -1),  // 1
        verdict(0, 1, 0),   // 2
        owner(),            // 3
        verdict(0, 2, 1),   // 4: a zombie's
        verdict(3, 2, 1),   // 5
        verdict(0, 3, 2),   // 6: a zombie's
        verdict(3, 3, 2),   // 7
        String::from("?!"), // 8
        verdict(3, 4, 3),   // 9
    ]
}

#[test]
fn lost_input_is_no_verdict_but_a_link_of_the_chain() {
    let topic = topic(1);
    let lost = verdict(0, 6, 0).replace("scored", "lost");
    write(&topic, 0, &[owner(), verdict(0, 0, -1), lost, verdict(0, 7, 6)]);
    let mut tail = open(&topic, From::Earliest, Until::End);
    assert_eq!(rest(&mut tail), [(0, 1, 0, false), (0, 3, 7, false)]);
    let counts = tail.counts();
    assert_eq!((counts.accepted, counts.lost, counts.gaps), (2, 1, 0));
}

#[test]
fn zombies_are_ignored_and_each_verdict_counts_once() {
    let topic = topic(2);
    write(&topic, 0, &contested());
    let mut tail = open(&topic, From::Earliest, Until::End);
    let wanted = [(0, 1, 0, false), (0, 2, 1, false), (0, 5, 2, false), (0, 7, 3, false), (0, 9, 4, false)];
    assert_eq!(rest(&mut tail), wanted);
    assert_eq!(tail.counts(), Counts { accepted: 5, gaps: 0, ignored: 2, owners: 2, lost: 0, unknown: 1 });
    let at = |partition, next, epoch, last| Position { partition, next, epoch, last };
    assert_eq!(tail.positions().partitions, [at(0, 10, Some(3), Some(4)), at(1, 0, None, Some(-1))]);
    assert_eq!(tail.positions().log, Some([0x7f, 0x3a, 0x9c, 0x01]));
}

#[test]
fn a_missing_verdict_is_a_gap_also_at_the_very_beginning() {
    let topic = topic(2);
    write(&topic, 0, &[owner(), verdict(0, 0, -1), verdict(0, 2, 1)]);
    write(&topic, 1, &[owner(), verdict(0, 7, 6)]);
    let mut tail = open(&topic, From::Earliest, Until::End);
    let mut found = rest(&mut tail);
    found.sort_unstable();
    assert_eq!(found, [(0, 1, 0, false), (0, 2, 2, true), (1, 1, 7, true)]);
    assert_eq!(tail.counts().gaps, 2);
}

#[test]
fn a_reader_that_joins_at_a_zombies_verdict_goes_back_first_and_does_not_count_it() {
    let topic = topic(1);
    write(&topic, 0, &contested());
    let id = open(&topic, From::Latest, Until::End).positions().topic;
    for (start, wanted) in [
        (4, vec![(0, 5, 2, false), (0, 7, 3, false), (0, 9, 4, false)]),
        (5, vec![(0, 5, 2, false), (0, 7, 3, false), (0, 9, 4, false)]),
        (6, vec![(0, 7, 3, false), (0, 9, 4, false)]),
        (9, vec![(0, 9, 4, false)]),
    ] {
        let partitions = vec![Position { partition: 0, next: start, epoch: None, last: None }];
        let from = From::Positions(Positions { topic: id, log: None, partitions });
        assert_eq!(rest(&mut open(&topic, from, Until::End)), wanted, "from {start}");
    }
}

#[test]
fn going_back_far_drops_what_was_fetched_ahead() {
    let topic = topic(1);
    let mut log = vec![owner()];
    log.extend((0..20_000).map(|at| verdict(0, at, at - 1)));
    write(&topic, 0, &log);
    let id = open(&topic, From::Latest, Until::End).positions().topic;
    let partitions = vec![Position { partition: 0, next: 10_001, epoch: None, last: Some(9_999) }];
    let from = From::Positions(Positions { topic: id, log: None, partitions });
    let found: Vec<i64> = rest(&mut open(&topic, from, Until::End)).iter().map(|found| found.2).collect();
    assert_eq!(found, (10_000..20_000).collect::<Vec<_>>());
}

#[test]
fn a_reader_whose_owner_record_was_deleted_takes_the_epoch_it_meets() {
    let topic = topic(1);
    write(&topic, 0, &contested());
    common::delete_records(&topic, 0, 5);
    let mut tail = open(&topic, From::Earliest, Until::End);
    assert_eq!(rest(&mut tail), [(0, 5, 2, false), (0, 7, 3, false), (0, 9, 4, false)]);
    assert_eq!(tail.counts().ignored, 1);
}

#[test]
fn a_follower_that_stops_and_goes_on_by_its_cursor_sees_each_verdict_once() {
    let topic = topic(3);
    for partition in 0..3 {
        write(&topic, partition, &contested());
    }
    let whole = {
        let mut found = rest(&mut open(&topic, From::Earliest, Until::End));
        found.sort_unstable();
        found
    };
    for stop_after in [1, 4, 7, 11] {
        let mut found = Vec::new();
        let mut tail = open(&topic, From::Earliest, Until::Forever);
        while found.len() < stop_after {
            if let Some(TailEvent::Accepted { source, gap, message, .. }) =
                tail.poll(Duration::from_secs(1)).expect("polled")
            {
                found.push((message.partition(), message.offset(), source, gap));
            }
        }
        let cursor = tail.positions().cursor();
        drop(tail);
        let positions = Positions::parse(&cursor).expect("a cursor");
        found.extend(rest(&mut open(&topic, From::Positions(positions), Until::End)));
        found.sort_unstable();
        assert_eq!(found, whole, "stopped after {stop_after}");
    }
}

#[test]
fn from_latest_only_what_comes_later_counts_and_the_end_is_told() {
    let topic = topic(1);
    write(&topic, 0, &[owner(), verdict(0, 0, -1)]);
    let mut tail = open(&topic, From::Latest, Until::Forever);
    let deadline = Instant::now() + common::PATIENCE;
    while !matches!(tail.poll(Duration::from_millis(100)), Ok(Some(TailEvent::End { partition: 0 }))) {
        assert!(Instant::now() < deadline, "no end was told");
    }
    write(&topic, 0, &[verdict(0, 1, 0)]);
    loop {
        assert!(Instant::now() < deadline, "the verdict did not come");
        if let Some(TailEvent::Accepted { source, .. }) = tail.poll(Duration::from_millis(100)).expect("polled") {
            assert_eq!(source, 1);
            break;
        }
    }
    assert_eq!(tail.counts(), Counts { accepted: 1, ..Counts::default() });
}

#[test]
fn positions_of_another_topic_beyond_the_end_deleted_or_incomplete_are_refused_by_name() {
    let (topic, other) = (topic(1), topic(1));
    write(&topic, 0, &contested());
    let theirs = open(&other, From::Latest, Until::End).positions();
    let ours = open(&topic, From::Latest, Until::End).positions();
    let refusal = |positions: Positions| {
        Tail::open(&config(), &topic, From::Positions(positions), Until::End).err().expect("must be refused")
    };
    assert!(matches!(refusal(theirs), TailError::OtherTopic { .. }));
    let at =
        |next| Positions { partitions: vec![Position { partition: 0, next, epoch: None, last: None }], ..ours.clone() };
    assert_eq!(refusal(at(11)), TailError::Beyond { topic: topic.clone(), partition: 0, wanted: 11, end: 10 });
    assert!(matches!(refusal(Positions { partitions: Vec::new(), ..ours.clone() }), TailError::Partitions { .. }));
    common::delete_records(&topic, 0, 5);
    assert_eq!(refusal(at(4)), TailError::Gone { topic: topic.clone(), partition: 0, wanted: 4, start: 5 });
}

#[test]
fn verdicts_of_another_log_than_the_positions_are_refused_by_name() {
    let topic = topic(1);
    write(&topic, 0, &[owner(), verdict(0, 0, -1)]);
    let mut tail = open(&topic, From::Earliest, Until::End);
    rest(&mut tail);
    let positions = tail.positions();
    write(&topic, 0, &[owner(), of_log("00000001", 2, 0, -1)]);
    let mut tail = open(&topic, From::Positions(positions), Until::Forever);
    let deadline = Instant::now() + common::PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "not refused");
        match tail.poll(Duration::from_millis(100)) {
            Err(error) => break error,
            Ok(_) => continue,
        }
    };
    assert!(error.to_string().contains("created anew"), "{error}");
}
