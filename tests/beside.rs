//! A partition that is being recovered holds up no other of its shard, on a real Kafka: while one replays a long log, the
//! other's verdicts go out, and none waits for what the client fetched of the long one beforehand.

mod common;

use std::time::{Duration, Instant};

use common::{
    line::{Sentra, Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, ends},
};
use sentra::{config::Config, kafka::layout::Surveyor};

const PATIENCE: Duration = Duration::from_secs(120);

/// Records of the partition that is replayed: seconds of work.
const LONG: u32 = 1_000_000;

/// So many verdicts of the other come out before that is done, at least.
const BESIDE: usize = 3;

/// They wait for less than this part of the replay. A quarter was what a client's deep queue held of it.
const PART: u32 = 8;

/// A verdict of the last record of partition 0, as if an earlier owner had judged all of them.
fn claim_judged(sender: &Sender, topics: &Topics, setup: &Setup) {
    let config = Config::load(&setup.inputs()).expect("a configuration");
    let layout = Surveyor::new(&config).and_then(|surveyor| surveyor.survey()).expect("the topics");
    let log = &layout.log.to_string()[..8];
    let source = format!(r#""source":{{"log":"{log}","partition":0"#);
    let owner = format!(r#"{{"kind":"owner",{source}}},"group":"g","instance":"i","version":"0"}}"#);
    let last = LONG - 1;
    let verdict = format!(r#"{{"kind":"scored",{source},"offset":{last},"previous_offset":-1,"epoch":0}}}}"#);
    for value in [owner, verdict] {
        let sent = Sent { partition: Some(0), value: Some(value.into_bytes()), ..Sent::default() };
        sender.send(&topics.verdicts, &sent).expect("taken");
    }
}

/// Fills partition 0, no more at once than a client's queue takes.
fn fill(sender: &Sender, topic: &str) {
    let all: Vec<u32> = (0..LONG).collect();
    for some in all.chunks(50_000) {
        let of = |number: &u32| Sent { partition: Some(0), ..good(number % 5_000, &format!("T{number}")) };
        let sent: Vec<Sent> = some.iter().map(of).collect();
        sender.send_all(topic, sent.iter());
    }
}

/// The line by which the partition says that it is recovered.
fn recovered(process: &Sentra, partition: i32) -> Option<serde_json::Value> {
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains("\"partition recovered\""));
    let mut lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.find(|line| line["partition"] == partition)
}

#[test]
fn while_one_partition_replays_a_long_log_the_verdicts_of_another_of_its_shard_go_out() {
    let topics = Topics::create("beside", 2);
    let sender = Sender::default();
    fill(&sender, &topics.transactions);
    let setup = Setup::new(&topics).with("SENTRA__SNAPSHOTS__LOCATION", "off");
    claim_judged(&sender, &topics, &setup);
    let mut follower = Follower::of(&topics.verdicts, 1..2);
    let process = setup.start();
    // The follower is connected, so that it is no part of what a record waits for.
    follower.read_until(PATIENCE, "the owner record", |records| !records[1].is_empty());
    soon("the short one to run", || recovered(&process, 1).is_some());
    let mut waits = Vec::new();
    while recovered(&process, 0).is_none() {
        let (number, began) = (waits.len() as u32, Instant::now());
        let live = Sent { partition: Some(1), ..good(number, &format!("L{number}")) };
        let (_, offset) = sender.send(&topics.transactions, &live).expect("taken");
        follower.read_until(PATIENCE, "the live verdict", |records| {
            records[1].last().is_some_and(|last| last.json()["source"]["offset"] == offset)
        });
        waits.push(began.elapsed());
    }
    let done = recovered(&process, 0).expect("it is");
    let decided: Vec<String> = follower.records[1]
        .iter()
        .map(common::records::Record::json)
        .filter(|verdict| verdict["kind"] == "scored")
        .map(|verdict| verdict["decided_at"].as_str().expect("a time").to_owned())
        .collect();
    let done_at = done["timestamp"].as_str().expect("a time");
    let beside = decided.iter().filter(|at| at.as_str() < done_at).count();
    waits.sort_unstable();
    let took = Duration::from_millis(done["ms"].as_u64().expect("a time"));
    println!("{beside} verdicts beside a replay of {} in {took:?}; waits {waits:?}", done["replayed"]);
    assert_eq!(done["replayed"], LONG, "the whole log was replayed");
    assert!(beside >= BESIDE, "{beside} of {} live verdicts came before {done_at}: {decided:?}", decided.len());
    let usual = waits[waits.len() / 2];
    assert!(usual * PART < took, "a live record waited {usual:?} beside a replay of {took:?}");
    assert_eq!(
        ends(&topics.verdicts, 2)[0],
        3,
        "an owner record alone came behind the verdict: nothing was judged again"
    );
}
