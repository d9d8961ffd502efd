//! Start, stop and what the process says of itself: signals, refusals in one line, `/livez`, `/readyz`, `/metrics`.

mod common;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{
    line::{Sentra, Setup, Topics, soon, until},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a stop may take, from the signal to the process's end.
const STOP: Duration = Duration::from_secs(10);

/// Fills a topic with ordinary transactions.
fn fill(topic: &str, records: u32) {
    let sent: Vec<Sent> = (0..records).map(|number| good(number % 500, &format!("T{number}"))).collect();
    let sender = Sender::default();
    // No more at once than a client's queue takes.
    sent.chunks(50_000).for_each(|sent| sender.send_all(topic, sent.iter()));
}

#[test]
fn a_stop_finishes_in_flight_work_leaves_the_group_and_the_next_process_goes_on_at_once() {
    const RECORDS: u32 = 30_000;
    let topics = Topics::create("stop", 4);
    fill(&topics.transactions, RECORDS);
    // Were the group not left, the next one would wait for this session to end: five minutes, nearly.
    let patient = Setup::new(&topics).with("SENTRA__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "290000");
    // Small batches, so that it has not judged all of them before the signal comes.
    let mut process = patient.clone().with("SENTRA__SCORE__BATCH", "8").start();
    let judged = |process: &Sentra| process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default() as usize;
    let at_signal =
        until(PATIENCE, || String::from("work in flight"), || Some(judged(&process)).filter(|count| *count > 0));
    process.signal(libc::SIGTERM);
    let asked = Instant::now();
    assert_eq!(process.wait(STOP).code(), Some(0), "{}", process.log());
    println!("stopped in {:?}", asked.elapsed());
    assert_eq!(process.log().matches("stopping").count(), 1);
    let mut follower = Follower::new(&topics.verdicts, 4);
    follower.read_to_end();
    let mut readings: Vec<Reading> = (0..4).map(|_| Reading::default()).collect();
    readings.iter_mut().zip(&follower.records).for_each(|(reading, records)| reading.follow(records));
    let written = readings.iter().map(|reading| reading.accepted.len()).sum::<usize>();
    // It may have been asked before it owned all of them.
    let first: Vec<usize> = readings.iter().map(|reading| reading.owners).collect();
    assert!(first.iter().all(|owners| *owners <= 1), "{first:?}");
    println!("{at_signal} judged when it was asked to stop, {written} when it had");
    assert!(at_signal <= written && written < RECORDS as usize, "the stop came amid its work: {written} of {RECORDS}");

    // Every verdict made was delivered: the next owner ignores none.
    let _next = patient.start();
    let ends = ends(&topics.transactions, 4);
    let deadline = Instant::now() + PATIENCE;
    while readings.iter().zip(&ends).any(|(reading, end)| (reading.accepted.len() as i64) < *end) {
        assert!(Instant::now() < deadline, "{ends:?}");
        while follower.read(Duration::from_millis(50)) {}
        readings.iter_mut().zip(&follower.records).for_each(|(reading, records)| reading.follow(records));
    }
    for (partition, (reading, end)) in readings.iter().zip(ends).enumerate() {
        reading.assert_exact(partition, end);
        assert_eq!((reading.owners, reading.ignored), (first[partition] + 1, 0), "partition {partition}");
    }
}

#[test]
fn an_interrupt_stops_as_a_term_does_and_an_idle_stop_is_quick() {
    let topics = Topics::create("interrupt", 1);
    let mut process = Setup::new(&topics).start();
    process.await_running(1, PATIENCE);
    process.signal(libc::SIGINT);
    let asked = Instant::now();
    assert_eq!(process.wait(STOP).code(), Some(0), "{}", process.log());
    assert!(asked.elapsed() < Duration::from_secs(5), "nothing was in flight, yet it took {:?}", asked.elapsed());
}

#[test]
fn a_stop_is_heard_while_no_broker_answers() {
    let topics = Topics::named("nobody", 1);
    let mut process = Setup::new(&topics).with("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9").start();
    soon("the line", || process.log().contains("no broker reached"));
    let answer = process.get("/readyz").expect("it answers");
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains("no broker"), "{}", answer.body);
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(STOP).code(), Some(0), "{}", process.log());
}

/// Copies the committed model and lets `change` spoil it; the folder to name.
fn spoiled(home: &Path, change: impl Fn(&Path)) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentra-default/1");
    let to = home.join("spoiled/1");
    fs::create_dir_all(&to).expect("a folder");
    for file in fs::read_dir(from).expect("the committed model") {
        let path = file.expect("readable").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
    change(&to);
    to
}

/// Replaces text in a file of the model, where it is.
fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.contains(from), "{} has {from}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn what_cannot_start_says_why_in_one_line_that_names_the_setting_and_the_way_out() {
    let home = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let taken = (taken.local_addr().expect("its address").to_string(), taken);
    let pickle = home.path().join("fraud.pkl");
    fs::write(&pickle, b"\x80\x04K\x01.").expect("written");
    let cut = |folder: &Path| {
        let file = folder.join("model.txt");
        let bytes = fs::read(&file).expect("readable");
        fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
    };
    let path = |path: &Path| path.display().to_string();
    let topics = Topics::create("refused", 1);
    let missing = Topics { verdicts: String::from("no-such-topic"), ..topics.clone() };
    let other_set = spoiled(&home.path().join("a"), |to| replace(&to.join("model.json"), "\"v1\"", "\"v0\""));
    let damaged = spoiled(&home.path().join("b"), cut);
    let line = || Setup::new(&topics);
    let cases = [
        ("port in use", line().with("SENTRA__TELEMETRY__LISTEN", &taken.0), "telemetry.listen", "another port"),
        ("no model", line().with("MODEL_PATH", &path(&home.path().join("none"))), "MODEL_PATH", "sentra train"),
        ("a pickle", line().with("MODEL_PATH", &path(&pickle)), "MODEL_PATH", "sentra train"),
        ("damaged", line().with("MODEL_PATH", &path(&damaged)), "MODEL_PATH", "copy the folder again"),
        ("another feature set", line().with("MODEL_PATH", &path(&other_set)), "MODEL_PATH", "use another model"),
        ("no topic", Setup::new(&missing), "no-such-topic", "sentra topics apply"),
        ("a key misspelled", line().with("SENTRA__SCORE__SHARD", "1"), "score.shard", "SENTRA__SCORE__SHARDS"),
        ("an owned property", line().with("SENTRA__KAFKA__PROPERTIES__ACKS", "1"), "acks", "kafka.properties"),
    ];
    for (what, setup, setting, way_out) in cases {
        let mut process = setup.start();
        let status = process.wait(PATIENCE);
        let log = process.log();
        assert!(status.code().is_some_and(|code| code > 0), "{what}: {status:?}\n{log}");
        let said = process.complaints();
        assert!(said.len() == 1 && said[0].starts_with("sentra: "), "{what}: one line in\n{log}");
        assert!(said[0].contains(setting) && said[0].contains(way_out), "{what}: {}", said[0]);
        println!("{what}: {}", said[0]);
    }
}

#[test]
fn production_does_not_start_on_topics_that_could_lose_verdicts_and_development_only_warns_of_them() {
    let topics = Topics::create("unfit", 1);
    let setup = Setup::new(&topics).with("SENTRA__SCORE__INSTANCE", &topics.group);
    let mut process = setup.with("ENVIRONMENT", "production").start();
    assert_eq!(process.wait(PATIENCE).code(), Some(1), "{}", process.log());
    let log = process.log();
    let said: Vec<&str> = log.lines().filter(|line| line.starts_with("sentra: ")).collect();
    for topic in [&topics.transactions, &topics.verdicts, &topics.dlq] {
        let wants = format!("sentra: topic {topic} has 1 copies of a partition, production wants 3");
        assert!(said.contains(&wants.as_str()), "{wants} is not in\n{log}");
    }
    assert!(said.last().is_some_and(|line| line.contains("sentra topics check")), "the way out comes last:\n{log}");
    assert_eq!(ends(&topics.verdicts, 1), [0], "it took nothing");

    let process = Setup::new(&topics).start();
    process.await_running(1, PATIENCE);
    assert!(process.log().contains("has 1 copies of a partition"), "{}", process.log());
}

#[test]
fn a_process_tells_of_its_life_its_readiness_and_its_work() {
    let topics = Topics::create("health", 2);
    let process = Setup::new(&topics).start();
    process.await_running(2, PATIENCE);
    let ready = process.get("/readyz").expect("it answers");
    assert_eq!(ready.body, r#"{"reasons":[],"status":"ready"}"#);
    let alive = process.get("/livez").expect("it answers");
    assert_eq!((alive.code, alive.body.as_str()), (200, r#"{"reasons":[],"status":"alive"}"#));
    assert_eq!(process.get("/nothing").map(|answer| answer.code), Some(404));

    // Enough for the sweep, which sums up what state takes, to come round.
    const RECORDS: u32 = 5_000;
    fill(&topics.transactions, RECORDS);
    let all = Some(f64::from(RECORDS));
    soon("verdicts", || process.metric("sentra_events_total{kind=\"scored\"}") == all);
    for (name, value) in [
        ("sentra_epochs_taken_total", 2.0),
        ("sentra_gaps_total", 0.0),
        ("sentra_zombie_verdicts_ignored_total", 0.0),
        ("sentra_partitions{state=\"running\"}", 2.0),
        ("sentra_broker_up", 1.0),
        ("sentra_verdict_latency_seconds_count", f64::from(RECORDS)),
        ("sentra_dead_letters_total", 0.0),
    ] {
        assert_eq!(process.metric(name), Some(value), "{name}");
    }
    let timed = |stage| process.metric(&format!("sentra_stage_seconds_count{{stage=\"{stage}\"}}"));
    let turns = timed("turn");
    assert!(turns.is_some_and(|turns| turns >= 1.0), "{turns:?}");
    assert_eq!(["step", "score", "deliver"].map(timed), [turns; 3], "each batch has each stage");
    // Gauges are set once a second, lag and watermark with the client's statistics.
    let metric = |name: &str| process.metric(name);
    soon("phones", || metric("sentra_phones{shard=\"0\"}") == Some(500.0));
    soon("bytes of state", || metric("sentra_state_bytes{part=\"ring\",shard=\"0\"}").is_some_and(|bytes| bytes > 0.0));
    soon("nothing undelivered", || metric("sentra_undelivered{partition=\"0\"}") == Some(0.0));
    soon("no lag", || metric("sentra_lag_records{partition=\"1\"}") == Some(0.0));
    let watermark = 1_772_434_800.0;
    soon("a watermark", || metric("sentra_watermark_seconds{partition=\"0\"}") == Some(watermark));
    assert!(metric("sentra_recover_seconds_count").is_some_and(|count| count == 2.0));
}

#[test]
fn partitions_without_a_peer_are_refused_by_name_and_the_others_go_on() {
    let topics = Topics::named("peerless", 2);
    common::create_topic(&topics.transactions, 2, &[]);
    common::create_topic(&topics.verdicts, 1, &[]);
    common::create_topic(&topics.dlq, 2, &[]);
    let process = Setup::new(&topics).start();
    let sender = Sender::default();
    for partition in 0..2 {
        sender.send(&topics.transactions, &Sent { partition: Some(partition), ..good(1, "T1") }).expect("taken");
    }
    let refused = until(
        PATIENCE,
        || process.log(),
        || process.get("/readyz").filter(|answer| answer.body.contains("partition 1 is refused")),
    );
    assert_eq!(refused.code, 503);
    assert!(refused.body.contains("sentra topics check"), "{}", refused.body);
    soon("the other's verdict", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(1.0));
    assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200));
}

#[test]
fn two_deployments_on_one_verdict_topic_stop_and_name_each_other() {
    let topics = Topics::create("two", 1);
    let one = Setup::new(&topics).start();
    one.await_running(1, PATIENCE);
    let other = Topics { group: format!("{}-other", topics.group), ..topics.clone() };
    let two = Setup::new(&other).start();
    let sender = Sender::default();
    let mut number = 0;
    let refused = until(
        Duration::from_secs(90),
        || format!("{}\n{}", one.log(), two.log()),
        || {
            number += 1;
            sender.send(&topics.transactions, &good(number, &format!("T{number}"))).expect("taken");
            [&one, &two].into_iter().find_map(|process| {
                process
                    .get("/readyz")
                    .filter(|answer| answer.body.contains("two deployments"))
                    .map(|answer| answer.body)
            })
        },
    );
    assert!(refused.contains(&topics.group) && refused.contains("topics.verdicts"), "{refused}");
    // The one that is left judges what comes.
    let mut follower = Follower::new(&topics.verdicts, 1);
    let mut reading = Reading::default();
    let end = ends(&topics.transactions, 1)[0];
    follower.read_until(PATIENCE, "a verdict each", |records| {
        reading.follow(&records[0]);
        reading.accepted.len() as i64 >= end
    });
    reading.assert_exact(0, end);
}
