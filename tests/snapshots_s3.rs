//! Snapshots in a bucket that speaks S3: written, pruned, listed, verified and restored as in a folder. Where the log's
//! head is deleted and the bucket is away, a restart waits for it and says so, unless it is told to give up.

mod bucket;
mod common;

use std::time::Duration;

use bucket::Bucket;
use common::{
    delete_records,
    line::{Sentra, Setup, Topics, soon, until},
    produce::{Sender, Sent, good},
    records::Follower,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

const LOCATION: &str = "s3://snapshots/of/windows";

fn setup(topics: &Topics, bucket: &Bucket) -> Setup {
    let setup =
        Setup::new(topics).with("SENTRA__SNAPSHOTS__LOCATION", LOCATION).with("SENTRA__SNAPSHOTS__INTERVAL", "1s");
    bucket.variables().into_iter().fold(setup, |setup, (name, value)| setup.with(name, &value))
}

/// Transactions of 50 phones.
struct Traffic<'t> {
    topics: &'t Topics,
    sender: Sender,
    sent: u32,
}

impl Traffic<'_> {
    fn send(&mut self, records: u32) {
        let sent: Vec<Sent> =
            (self.sent..self.sent + records).map(|number| good(number % 50, &format!("T{number}"))).collect();
        self.sent += records;
        self.sender.send_all(&self.topics.transactions, sent.iter());
    }
}

/// Ends it as its operator would.
fn stop(mut process: Sentra) {
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
}

/// Whether the newest verdict says that it lacks what was deleted, once `records` were judged.
fn is_warming(follower: &mut Follower, records: u32) -> bool {
    let mut flags = Value::Null;
    soon("the verdict", || {
        follower.read_to_end();
        let verdicts = follower.records[0].iter().rev().map(|record| record.json());
        let newest = verdicts.into_iter().find(|value| value["kind"] != "owner");
        let Some(newest) = newest.filter(|value| value["source"]["offset"] == records - 1) else { return false };
        flags = newest["flags"].clone();
        true
    });
    flags.as_array().expect("flags").contains(&"warming".into())
}

#[test]
fn a_bucket_holds_snapshots_and_is_waited_for_where_the_log_alone_would_forget() {
    let topics = Topics::create("bucket", 1);
    let bucket = Bucket::start();
    let mut traffic = Traffic { topics: &topics, sender: Sender::default(), sent: 0 };
    let process = setup(&topics, &bucket).start();
    process.await_running(1, PATIENCE);
    until(
        PATIENCE,
        || process.log(),
        || {
            traffic.send(50);
            (process.metric("sentra_snapshots_written_total") >= Some(4.0)).then_some(())
        },
    );
    assert_eq!(process.metric("sentra_snapshots_failed_total"), Some(0.0), "{}", process.log());
    stop(process);
    assert_eq!(bucket.unfinished(), 0, "what was under way is given up");
    let keys = bucket.keys();
    assert!(keys.iter().all(|key| key.starts_with("of/windows/") && key.ends_with(".snapshot")), "{keys:?}");
    assert_eq!(keys.len(), 2, "two generations");

    let asked = |args: &[&str]| setup(&topics, &bucket).command(args);
    let listed = asked(&["snapshot", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(asked(&["snapshot", "verify"]).status.code(), Some(0));
    let newest = listed[0]["snapshot"].as_str().expect("its address");
    let inspected = asked(&["snapshot", "inspect", newest, "--json"]);
    let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(inspected["end"]["end"], listed[0]["end"]);

    // The head goes, and with it what makes the log enough.
    let before = inspected["head"]["bounds"]["next"].as_i64().expect("s0");
    delete_records(&topics.transactions, 0, before / 2);
    bucket.away(true);
    let process = setup(&topics, &bucket).start();
    let mut told = String::new();
    until(
        PATIENCE,
        || process.log(),
        || {
            told = process.get("/readyz")?.body;
            told.contains("partition 0 waits").then_some(())
        },
    );
    assert!(told.contains("snapshots.give_up"), "{told}");
    assert_eq!(process.running(), 0);
    bucket.away(false);
    process.await_running(1, PATIENCE);
    assert!(process.log().contains("snapshot restored"), "{}", process.log());
    traffic.send(1);
    let mut follower = Follower::new(&topics.verdicts, 1);
    assert!(!is_warming(&mut follower, traffic.sent), "nothing is forgotten");
    stop(process);

    bucket.away(true);
    let process = setup(&topics, &bucket).with("SENTRA__SNAPSHOTS__GIVE_UP", "2s").start();
    process.await_running(1, PATIENCE);
    assert!(process.log().contains("snapshot not restored"), "{}", process.log());
    traffic.send(1);
    assert!(is_warming(&mut follower, traffic.sent), "the log alone forgets, and that is told");
}
