//! What the README has people paste to produce a transaction and to consume verdicts, on a Kafka of this test's own: the
//! topics have the names that stand there.

mod common;

use std::process::{Command, Output};

use common::{
    PATIENCE,
    broker::Broker,
    kafka,
    line::{Setup, Topics},
    produce::{Sender, Sent},
    readme::{block, python},
    records::{Follower, Reading},
};
use serde_json::{Value, json};

/// As `sentra topics apply` makes them without any setting.
const PARTITIONS: i32 = 32;

fn said(done: &Output) -> String {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout.clone()).expect("UTF-8")
}

/// The README's reader, to its end.
fn reader() -> Vec<String> {
    let mut command = Command::new(python("confluent_kafka", "confluent-kafka>=2.5,<3"));
    command.args(["-c", &block("python", "confluent_kafka")]).env("KAFKA_BOOTSTRAP_SERVERS", kafka());
    said(&command.output().expect("it starts")).lines().map(str::to_owned).collect()
}

fn produce_as_pasted() {
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &block("sh", "kcat -P")]).env("KAFKA_BOOTSTRAP_SERVERS", kafka());
    said(&shell.output().expect("bash runs"));
}

/// The partition of the one verdict that counts, and the verdict.
fn the_verdict(topics: &Topics) -> (i32, Value) {
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    let mut readings: Vec<Reading> = (0..PARTITIONS).map(|_| Reading::default()).collect();
    follower.read_until(PATIENCE, "the verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().any(|reading| !reading.accepted.is_empty())
    });
    let counted =
        (0..).zip(&readings).flat_map(|(at, reading)| reading.accepted.iter().map(move |(_, index)| (at, *index)));
    let counted: Vec<(i32, usize)> = counted.collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    let (partition, index) = counted[0];
    (partition, follower.records[partition as usize][index].json())
}

#[test]
fn a_transaction_produced_as_pasted_has_its_verdict_and_the_pasted_reader_keeps_the_readers_rule() {
    let _broker = Broker::up();
    let name = |part: &str| format!("sentra.{part}");
    let topics = Topics {
        transactions: name("transactions"),
        verdicts: name("verdicts"),
        dlq: name("transactions.dlq"),
        group: String::from("sentra"),
        partitions: PARTITIONS,
    };
    let setup = Setup::new(&topics);
    said(&setup.command(&["topics", "apply"]));
    let process = setup.start();
    process.await_running(PARTITIONS, PATIENCE);
    produce_as_pasted();
    let (partition, verdict) = the_verdict(&topics);
    assert_eq!((&verdict["transaction_id"], &verdict["kind"]), (&json!("TXN123456"), &json!("scored")));
    assert_eq!(verdict["phone_number"], "+254712345678");
    assert!(!verdict["flags"].as_array().expect("flags").contains(&json!("misrouted")), "{verdict}");
    drop(process);

    // Behind it, by hand: what the rule is about, and what no reader of today knows.
    let sender = Sender::default();
    let append = |value: Option<&[u8]>| {
        let sent = Sent { partition: Some(partition), value: value.map(<[u8]>::to_vec), ..Sent::default() };
        sender.send(&topics.verdicts, &sent).expect("acknowledged").1
    };
    let of = |id: &str, kind: &str, epoch: i64| {
        let source = json!({"epoch": epoch});
        json!({"verdict_id": id, "kind": kind, "risk_score": 7, "recommendation": "APPROVE", "source": source})
    };
    let write = |value: &Value| append(Some(value.to_string().as_bytes()));
    let former = verdict["source"]["epoch"].as_i64().expect("an epoch");
    write(&of("before", "late", former));
    let epoch = write(&json!({"kind": "owner", "source": {"log": "7f3a9c01", "partition": partition}}));
    write(&of("zombie", "scored", former));
    for unknown in [
        &b"not json"[..],
        b"[1]",
        b"7",
        b"null",
        b"{}",
        b"\xff",
        br#"{"kind":"scored"}"#,
        br#"{"kind":"scored","source":null}"#,
    ] {
        append(Some(unknown));
    }
    append(None);
    write(&json!({"kind": "scored", "source": {"epoch": null}}));
    write(&of("own", "duplicate", epoch));
    // A kind to come moves e, as any verdict does, and is no transaction.
    write(&of("new", "a_kind_to_come", epoch + 1));
    write(&of("outlived", "scored", epoch));
    write(&of("last", "invalid", epoch + 1));

    let first = verdict["verdict_id"].as_str().expect("an id");
    let read = reader();
    let ids: Vec<&str> = read.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, [first, "before", "own", "last"]);
    assert!(read[1].ends_with(" 7 APPROVE"), "{read:?}");
}
