//! `sentra partition` and `sentra replay` on a real broker: what they tell is so, a skipped record is skipped for good,
//! and every verdict can be made again.

mod common;

use std::process::Output;

use common::{
    PATIENCE, delete_records,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
};
use serde_json::Value;

const PARTITIONS: i32 = 2;

/// So many transactions of five phones to each partition, each tenth of them sent twice.
fn send(sender: &Sender, topics: &Topics, from: u32, records: u32) {
    let one = |number: u32| {
        let number = if number % 10 == 9 { number - 5 } else { number };
        let sent = good(number % 5, &format!("T{number}"));
        (0..PARTITIONS).map(move |partition| Sent { partition: Some(partition), ..sent.clone() })
    };
    let sent: Vec<Sent> = (from..from + records).flat_map(one).collect();
    sender.send_all(&topics.transactions, sent.iter());
}

/// Waits until every record has its verdict, in an unbroken chain; those that count, by partition.
fn judged(topics: &Topics) -> Vec<Vec<Value>> {
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    let ends = ends(&topics.transactions, PARTITIONS);
    let mut readings: Vec<Reading> = (0..PARTITIONS).map(|_| Reading::default()).collect();
    follower.read_until(PATIENCE, "every verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    let partitions = readings.iter().zip(&follower.records).zip(ends).enumerate();
    let verdicts = partitions.map(|(at, ((reading, records), end))| {
        reading.assert_exact(at, end);
        reading.accepted.iter().map(|(_, index)| records[*index].json()).collect()
    });
    verdicts.collect()
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The command fails and says this.
fn refused(setup: &Setup, args: &[&str], why: &str) {
    let (code, said) = told(&setup.command(args));
    assert_eq!(code, Some(1), "{args:?}: {said}");
    assert!(said.contains(why), "{args:?}: {said:?} says {why:?}");
}

fn json(setup: &Setup, args: &[&str]) -> Value {
    let output = setup.command(args);
    assert_eq!(told(&output), (Some(0), String::new()), "{args:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The verdict made again, which must be the one that counts.
fn replayed(setup: &Setup, partition: &str, offset: &str) -> Value {
    let output = setup.command(&["replay", partition, offset, "--json"]);
    let (code, said) = told(&output);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{code:?} {said}"));
    assert_eq!((code, &answer["equal"]), (Some(0), &Value::Bool(true)), "{answer:#}");
    answer
}

#[test]
fn partitions_are_told_skipped_and_replayed_as_they_are() {
    let topics = Topics::create("partition", PARTITIONS);
    let sender = Sender::default();
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::new(&topics).with("SENTRA__SNAPSHOTS__LOCATION", "off");
    let list = |state: &str, lag: i64| {
        let report = json(&setup, &["partition", "list", "--json"]);
        assert_eq!((&report[0]["state"], &report[0]["lag"]), (&state.into(), &lag.into()), "{report:#}");
        report[0].clone()
    };
    list("unowned", 0);

    let process = setup.start();
    process.await_running(PARTITIONS, PATIENCE);
    send(&sender, &topics, 0, 20);
    judged(&topics);
    let report = list("running", 0);
    assert_eq!((&report["last_judged"], &report["owner"]["group"]), (&19.into(), &topics.group.as_str().into()));
    assert_eq!((&report["owner"]["epoch"], &report["verdict_end"]), (&0.into(), &21.into()));
    process.kill();

    // A record that nobody gets over is given up, the first one without a verdict and no other.
    send(&sender, &topics, 20, 20);
    list("behind", 20);
    for (offset, why) in [("19", "verdicts that count reach 19"), ("25", "is the one at 20"), ("99", "0 to 39")] {
        refused(&setup, &["partition", "skip", "0", "--offset", offset, "--yes"], why);
    }
    let before = ends(&topics.verdicts, PARTITIONS);
    assert_eq!(setup.command(&["partition", "skip", "0", "--offset", "20"]).status.code(), Some(0));
    assert_eq!(ends(&topics.verdicts, PARTITIONS), before, "without --yes nothing is written");
    let (code, said) = told(&setup.command(&["partition", "skip", "0", "--offset", "20", "--yes"]));
    assert_eq!(code, Some(0), "{said}");
    refused(&setup, &["partition", "skip", "0", "--offset", "20", "--yes"], "it has its verdict already");
    refused(&setup, &["partition", "skip", "2", "--offset", "20", "--yes"], "there is no partition 2");
    let mut letters = Follower::new(&topics.dlq, PARTITIONS);
    letters.read_until(PATIENCE, "its dead letter", |records| !records[0].is_empty());
    assert_eq!(letters.records[0][0].header("__connect.errors.stage").as_deref(), Some("step"));

    let keeping = Setup::new(&topics)
        .with("SENTRA__SNAPSHOTS__LOCATION", &folder.path().display().to_string())
        .with("SENTRA__SNAPSHOTS__INTERVAL", "1s");
    let process = keeping.start();
    process.await_running(PARTITIONS, PATIENCE);
    judged(&topics);
    // A running owner that has not come to it yet notices, and takes the partition anew.
    process.signal(libc::SIGSTOP);
    send(&sender, &topics, 40, 10);
    let (code, said) = told(&keeping.command(&["partition", "skip", "0", "--offset", "40", "--yes"]));
    process.signal(libc::SIGCONT);
    assert_eq!(code, Some(0), "{said}");
    judged(&topics);
    let mut sent = 50;
    soon("snapshots of both partitions", || {
        send(&sender, &topics, sent, 10);
        sent += 10;
        process.metric("sentra_snapshots_written_total") >= Some(4.0)
    });
    send(&sender, &topics, sent, 10);
    let verdicts = judged(&topics);
    let kinds = |partition: usize, kind: &str| -> Vec<i64> {
        let of_kind = verdicts[partition].iter().filter(|verdict| verdict["kind"] == kind);
        of_kind.map(|verdict| verdict["source"]["offset"].as_i64().expect("an offset")).collect()
    };
    assert_eq!((kinds(0, "invalid"), kinds(1, "invalid")), (vec![20, 40], vec![]));

    // From the log alone, and from a snapshot, every kind of verdict comes out as it was.
    let last = (verdicts[0].len() - 1).to_string();
    for (partition, offset, kind) in [
        ("0", "0", "scored"),
        ("0", "20", "invalid"),
        ("0", "21", "scored"),
        ("0", "39", "duplicate"),
        ("1", "20", "scored"),
    ] {
        let answer = replayed(&setup, partition, offset);
        assert_eq!((&answer["accepted"]["kind"], &answer["replayed_from"]), (&kind.into(), &0.into()), "{answer:#}");
        assert_eq!(answer["replayed"]["features"].is_object(), kind != "invalid", "{answer:#}");
    }
    assert_eq!(replayed(&setup, "0", &last)["replayed_from"], 0);
    assert!(replayed(&keeping, "0", &last)["replayed_from"].as_i64() > Some(0), "a snapshot is begun with");
    let other = keeping.command(&["replay", "0", "21", "--set", "time.utc_offset=-05:30"]);
    let (code, said) = told(&other);
    assert!(code == Some(1) && said.contains("feature_digest: counts"), "{code:?} {said}");

    let url = format!("http://127.0.0.1:{}/metrics", keeping.port());
    let shown = json(&keeping, &["partition", "show", "0", "--json", "--metrics", &url]);
    assert_eq!((&shown["state"], &shown["undelivered"]), (&"running".into(), &0.into()), "{shown:#}");
    assert!(shown["snapshot"]["age_s"].is_u64() && shown["snapshot"]["fault"].is_null(), "{shown:#}");
    let text = String::from_utf8(keeping.command(&["partition", "show", "0"]).stdout).expect("text");
    assert!(text.contains("owner        ") && text.contains("epoch "), "{text}");
    drop(process);

    // What is gone is said to be gone.
    refused(&setup, &["replay", "0", "9999"], "the input holds 0 to");
    send(&sender, &topics, sent, 1);
    refused(&setup, &["replay", "0", &verdicts[0].len().to_string()], "no verdict that counts yet");
    delete_records(&topics.verdicts, 1, 10);
    refused(&setup, &["replay", "1", "3"], "its verdict is deleted");
    delete_records(&topics.transactions, 1, 5);
    refused(&setup, &["replay", "1", "3"], "the input holds 5 to");
}
