//! Dead letters from the outside: listed without what was in them, shown, and sent again as new records.

mod common;

use std::process::{Command, Output};

use common::{
    PATIENCE,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading},
};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

const PHONE: &str = "+254798765432";

fn sentra(topics: &Topics, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().env("KAFKA_BOOTSTRAP_SERVERS", common::kafka());
    command.env("SENTRA__TOPICS__TRANSACTIONS", &topics.transactions).env("SENTRA__TOPICS__DLQ", &topics.dlq);
    command.args(arguments).output().expect("the binary")
}

fn said(topics: &Topics, arguments: &[&str]) -> String {
    let done = sentra(topics, arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// A record whose amount is none; its phone is good.
fn bad(number: u32) -> Sent {
    let value = format!(
        r#"{{"transaction_id":"B{number}","amount":-5,"phone_number":"{PHONE}","timestamp":"2026-03-02T10:00:00+03:00"}}"#
    );
    Sent { key: Some(PHONE.into()), value: Some(value.into_bytes()), ..Sent::default() }
}

/// A letter whose record is right by now: what failed was mended.
fn mended(topics: &Topics) {
    let producer: BaseProducer =
        common::client(&[("bootstrap.servers", common::kafka())]).create().expect("a producer");
    let good = good(7, "MENDED");
    let (key, value) = (good.key.expect("a key"), good.value.expect("a value"));
    let headers = [
        ("institution", "bank-7"),
        ("__connect.errors.topic", topics.transactions.as_str()),
        ("__connect.errors.partition", "0"),
        ("__connect.errors.offset", "4711"),
        ("__connect.errors.stage", "step"),
        ("__connect.errors.exception.class.name", "INTERNAL_ERROR"),
        ("__connect.errors.exception.message", "the program failed"),
    ];
    let headers = headers
        .into_iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
    let record = BaseRecord::to(&topics.dlq).partition(0).key(&key).payload(&value).headers(headers);
    producer.send(record).expect("room");
    producer.flush(PATIENCE).expect("acknowledged");
}

#[test]
fn dead_letters_are_listed_shown_and_redriven() {
    let topics = Topics::create("dlq", 1);
    let process = Setup::new(&topics).start();
    process.await_running(1, PATIENCE);
    let sent: Vec<Sent> = vec![good(1, "T1"), bad(1), bad(2), Sent { value: Some(b"{".to_vec()), ..Sent::default() }];
    Sender::default().send_all(&topics.transactions, sent.iter());
    soon("three letters", || process.metric("sentra_dead_letters_total") == Some(3.0));
    mended(&topics);

    let all = said(&topics, &["dlq", "list"]);
    assert_eq!(all.lines().count(), 4, "{all}");
    assert!(!all.contains("98765432"), "no phone: {all}");
    assert!(all.lines().next().is_some_and(|line| line.starts_with("0:0  ") && line.contains("of 0:1  ")), "{all}");
    let amounts = said(&topics, &["dlq", "list", "--reason", "INTERNAL_ERROR", "--json"]);
    let letter: serde_json::Value = serde_json::from_str(amounts.trim()).expect("one letter");
    assert_eq!((&letter["source_offset"], &letter["institution"]), (&4_711.into(), &"bank-7".into()), "{letter}");
    for (filters, count) in [
        (vec!["--institution", "bank-7"], 1),
        (vec!["--source-offset", "2"], 1),
        (vec!["--from-offset", "0:2"], 2),
        (vec!["--since", "2099-01-01T00:00:00Z"], 0),
        (vec!["--until", "2001-01-01T00:00:00Z"], 0),
        (vec!["--partition", "1"], 0),
        (vec!["--limit", "2"], 2),
    ] {
        let arguments = [vec!["dlq", "list"], filters].concat();
        assert_eq!(said(&topics, &arguments).lines().count(), count, "{arguments:?}");
    }
    let shown = said(&topics, &["dlq", "show", "0", "3"]);
    assert!(shown.contains("__connect.errors.offset: 4711") && !shown.contains("MENDED"), "{shown}");
    assert!(said(&topics, &["dlq", "show", "0", "3", "--value"]).contains("MENDED"));
    let unknown = sentra(&topics, &["dlq", "list", "--reason", "BAD_AMOUNT"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("AMOUNT_MALFORMED, AMOUNT_NOT_POSITIVE"));
    let missing = sentra(&topics, &["dlq", "show", "0", "99"]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no dead letter at 0:99"));

    let dry = said(&topics, &["dlq", "redrive"]);
    assert!(dry.contains("4 records would be redriven"), "{dry}");
    let done = said(&topics, &["dlq", "redrive", "--yes", "--from-offset", "0:2", "--rate", "100"]);
    assert!(done.contains("2 records redriven") && done.contains("--from-offset 0:4"), "{done}");

    // New records, judged as any other: the mended one is scored, the other has a new letter.
    soon("a new letter", || process.metric("sentra_dead_letters_total") == Some(4.0));
    let mut follower = Follower::new(&topics.verdicts, 1);
    let mut reading = Reading::default();
    follower.read_until(PATIENCE, "six verdicts", |records| {
        reading.follow(&records[0]);
        reading.accepted.len() == 6
    });
    let verdict = |at: usize| follower.records[0][reading.accepted[at].1].json();
    assert_eq!((verdict(4)["kind"].as_str(), verdict(5)["kind"].as_str()), (Some("invalid"), Some("scored")));
    assert_eq!(verdict(5)["transaction_id"], "MENDED");
    let mut input = Follower::new(&topics.transactions, 1);
    input.read_to_end();
    let redriven = &input.records[0][5];
    assert_eq!(redriven.header("sentra.redriven.from"), Some(format!("{}/0/3", topics.dlq)));
    assert_eq!(redriven.header("institution").as_deref(), Some("bank-7"));
    assert!(redriven.headers.iter().all(|(name, _)| !name.starts_with("__connect.")), "{:?}", redriven.headers);
}

#[test]
fn a_redrive_keeps_to_its_rate_over_many_letters() {
    const LETTERS: u32 = 61;
    const RATE: u32 = 30;
    let topics = Topics::create("dlq-rate", 1);
    let process = Setup::new(&topics).start();
    process.await_running(1, PATIENCE);
    let sent: Vec<Sent> = (0..LETTERS).map(bad).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    soon("all letters", || process.metric("sentra_dead_letters_total") == Some(f64::from(LETTERS)));
    drop(process);
    let done = said(&topics, &["dlq", "redrive", "--yes", "--rate", &RATE.to_string()]);
    assert!(done.contains(&format!("{LETTERS} records redriven")), "{done}");
    let mut input = Follower::new(&topics.transactions, 1);
    input.read_to_end();
    let redriven = &input.records[0][LETTERS as usize..];
    assert_eq!(redriven.len(), LETTERS as usize);
    let times: Vec<i64> = redriven.iter().map(|record| record.timestamp_ms.expect("a time")).collect();
    // The first goes at once; no second holds more than the rate, but for what a producer sends together.
    let took_ms = times[times.len() - 1] - times[0];
    assert!(took_ms >= i64::from((LETTERS - 1) * 1_000 / RATE) - 50, "{LETTERS} letters in {took_ms} ms");
    for start in &times {
        let within = times.iter().filter(|at| (*start..*start + 1_000).contains(*at)).count();
        assert!(within <= RATE as usize + 3, "{within} within a second");
    }
}

#[test]
fn without_a_broker_it_says_so_in_one_line() {
    let topics = Topics::named("nobody", 1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9").env("SENTRA__TOPICS__DLQ", &topics.dlq);
    let done = command.args(["dlq", "list"]).output().expect("the binary");
    let line = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && line.contains("kafka.bootstrap_servers"), "{line}");
}
