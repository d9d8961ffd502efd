//! Outages that need no broker of their own: no room for snapshots, a producer whose transaction stays open, clocks that
//! jump. Only what is concerned waits, `/readyz` says so where verdicts do not come, and it ends by itself.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use common::{
    client, kafka,
    line::{Sentra, Setup, Topics, until},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, Record, ends, timeless},
    steady::Steady,
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sentra::{
    domain::time::EventTimeMs,
    kafka::load::Load,
    train::simulate::{Disorder, Limit, Options, Simulated, Simulation},
};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

fn judged(process: &Sentra) -> f64 {
    process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default()
}

fn in_time(what: &str, mut condition: impl FnMut() -> bool) {
    until(PATIENCE, || what.to_owned(), || condition().then_some(()));
}

fn await_progress(process: &Sentra) {
    let before = judged(process);
    let what = || format!("more verdicts than {before}; {}", process.log());
    until(PATIENCE, what, || (judged(process) > before + 500.0).then_some(()));
}

/// The verdicts that count of each partition, once that many are there.
fn accepted(topics: &Topics, counts: &[i64]) -> Vec<Vec<Record>> {
    let mut follower = Follower::new(&topics.verdicts, topics.partitions);
    let mut readings: Vec<Reading> = (0..topics.partitions).map(|_| Reading::default()).collect();
    follower.read_until(PATIENCE, "every verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(counts).all(|(reading, count)| reading.accepted.len() as i64 >= *count)
    });
    let partitions = readings.iter().zip(&follower.records);
    partitions
        .map(|(reading, records)| reading.accepted.iter().map(|(_, index)| records[*index].clone()).collect())
        .collect()
}

/// A folder that can be made to take nothing more.
struct Disk {
    folder: TempDir,
    is_mounted: bool,
}

impl Disk {
    /// A file system of its own where that may be mounted; else a folder that gives way to a file.
    fn small() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder.path()).output();
        let is_mounted = mount.is_ok_and(|done| done.status.success());
        println!(
            "snapshots are kept {}",
            if is_mounted { "on a tmpfs of 16 MiB" } else { "in a folder (no mount here)" }
        );
        fs::create_dir(folder.path().join("snapshots")).expect("a folder");
        Self { folder, is_mounted }
    }

    fn location(&self) -> PathBuf {
        self.folder.path().join("snapshots")
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("aside")
    }

    fn fill(&self) {
        if self.is_mounted {
            let filled = fs::write(self.aside(), vec![0_u8; 17 << 20]);
            assert_eq!(filled.expect_err("no more room").kind(), std::io::ErrorKind::StorageFull);
        } else {
            fs::rename(self.location(), self.aside()).expect("the folder goes");
            fs::write(self.location(), b"in the way").expect("a file comes");
        }
    }

    fn free(&self) {
        fs::remove_file(if self.is_mounted { self.aside() } else { self.location() }).expect("it was there");
        if !self.is_mounted {
            fs::rename(self.aside(), self.location()).expect("the folder comes back");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a process that is still ending may hold a file.
            let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        }
    }
}

#[test]
fn a_full_disk_ends_snapshots_and_nothing_else_and_they_come_again_when_there_is_room() {
    const PARTITIONS: i32 = 2;
    let disk = Disk::small();
    let topics = Topics::create("full-disk", PARTITIONS);
    let process = Setup::new(&topics)
        .with("SENTRA__SNAPSHOTS__LOCATION", &disk.location().display().to_string())
        .with("SENTRA__SNAPSHOTS__INTERVAL", "1s")
        .start();
    process.await_running(PARTITIONS, PATIENCE);
    let traffic = Steady::start(&topics.transactions, 500);
    let metric = |name: &str| process.metric(name).unwrap_or_default();
    let age = |partition: i32| metric(&format!("sentra_snapshot_age_seconds{{partition=\"{partition}\"}}"));
    in_time("some snapshots", || metric("sentra_snapshots_written_total") >= f64::from(PARTITIONS));

    disk.fill();
    let failed = metric("sentra_snapshots_failed_total");
    in_time("snapshots that fail", || metric("sentra_snapshots_failed_total") >= failed + 2.0);
    await_progress(&process);
    // What the alarm is made of (SentraSnapshotsOld), and what it says to look for.
    in_time("old snapshots", || (0..PARTITIONS).all(|partition| age(partition) >= 6.0));
    assert!(process.log().contains("no snapshot could be written"), "{}", process.log());
    await_progress(&process);
    assert!(process.is_ready(), "verdicts come: {:?}", process.get("/readyz"));

    let (written, old) = (metric("sentra_snapshots_written_total"), (0..PARTITIONS).map(age).collect::<Vec<_>>());
    disk.free();
    in_time("new snapshots", || metric("sentra_snapshots_written_total") >= written + f64::from(PARTITIONS));
    in_time("younger ones", || (0..PARTITIONS).all(|partition| age(partition) < old[partition as usize]));
    traffic.finish();
    let ends = ends(&topics.transactions, PARTITIONS);
    for (partition, (records, end)) in accepted(&topics, &ends).iter().zip(ends).enumerate() {
        assert_eq!(records.len() as i64, end, "partition {partition}");
    }
}

/// A producer with a transaction of its own.
fn transactional(timeout_ms: u32) -> BaseProducer {
    let id = common::unique_topic("upstream");
    let mut config = client(&[("bootstrap.servers", kafka()), ("transactional.id", id)]);
    let producer: BaseProducer =
        config.set("transaction.timeout.ms", timeout_ms.to_string()).create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("it may");
    producer
}

/// Begins a transaction of this many records in a partition, and leaves it open.
fn begin(producer: &BaseProducer, topic: &str, partition: i32, ids: std::ops::Range<u32>) {
    producer.begin_transaction().expect("none is open");
    for number in ids {
        let Sent { key, value, .. } = good(number % 5, &format!("X{number}"));
        let (key, value) = (key.expect("a key"), value.expect("a value"));
        producer.send(BaseRecord::to(topic).partition(partition).key(&key).payload(&value)).expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// The offsets that a reader of committed records is given.
fn readable(topic: &str, partitions: i32) -> Vec<BTreeSet<i64>> {
    let mut follower = Follower::new(topic, partitions);
    // The last offsets are marks of transactions, which nobody is given: so it ends when nothing comes for a while.
    while follower.read(Duration::from_secs(3)) {}
    follower.records.iter().map(|records| records.iter().map(|record| record.offset).collect()).collect()
}

#[test]
fn an_open_transaction_of_a_producer_holds_its_partition_alone_which_says_so_and_goes_on_exactly_when_it_ends() {
    const PARTITIONS: i32 = 3;
    const HELD: i32 = 1;
    let topics = Topics::create("open-transaction", PARTITIONS);
    let setup = Setup::new(&topics).with("SENTRA__SCORE__LAG_READY", "2s");
    let process = setup.start();
    process.await_running(PARTITIONS, PATIENCE);
    let (sender, mut number) = (Sender::default(), 0);
    let mut send = |records: u32| {
        let one = |number: u32| {
            let sent = good(number % 5, &format!("T{number}"));
            (0..PARTITIONS).map(move |partition| Sent { partition: Some(partition), ..sent.clone() })
        };
        let sent: Vec<Sent> = (number..number + records).flat_map(one).collect();
        number += records;
        sender.send_all(&topics.transactions, sent.iter());
    };
    let of = |partition: i32| format!("{{partition=\"{partition}\"}}");
    let lag = |partition: i32| process.metric(&format!("sentra_lag_records{}", of(partition)));

    // One whose producer hangs: the broker aborts it. One that is ended in time: committed.
    for (producer, is_committed) in [(transactional(8_000), false), (transactional(60_000), true)] {
        send(50);
        begin(&producer, &topics.transactions, HELD, 0..20);
        let open = Instant::now();
        let before = judged(&process);
        send(50);
        let said = process.await_unready("open transaction: partitions 1 ", PATIENCE);
        println!("not ready {:.1} s after it was begun: {said}", open.elapsed().as_secs_f64());
        assert!(process.metric(&format!("sentra_lag_seconds{}", of(HELD))).is_some_and(|seconds| seconds > 2.0));
        in_time("the others' verdicts", || judged(&process) >= before + 100.0);
        assert_eq!((lag(0), lag(2)), (Some(0.0), Some(0.0)), "they do not wait");
        if is_committed {
            producer.commit_transaction(PATIENCE).expect("committed");
        }
        until(PATIENCE, || process.log(), || process.is_ready().then_some(()));
        println!("ready again after {:.1} s", open.elapsed().as_secs_f64());
    }

    // Aborted records never count; committed ones do, in their place in the log.
    let wanted = readable(&topics.transactions, PARTITIONS);
    assert_eq!(wanted.iter().map(BTreeSet::len).collect::<Vec<_>>(), [200, 220, 200]);
    let counts: Vec<i64> = wanted.iter().map(|offsets| offsets.len() as i64).collect();
    for (partition, (records, wanted)) in accepted(&topics, &counts).iter().zip(&wanted).enumerate() {
        let mut previous = -1;
        for record in records {
            let source = &record.json()["source"];
            assert_eq!(source["previous_offset"], previous, "partition {partition}: an unbroken chain");
            previous = source["offset"].as_i64().expect("an offset");
            assert!(wanted.contains(&previous), "partition {partition}: {previous} was never readable");
        }
        assert_eq!(records.len(), wanted.len(), "partition {partition}");
    }

    // Behind the last record stands the mark of its transaction, which nobody is given: nothing is behind for ever.
    let closing = transactional(60_000);
    begin(&closing, &topics.transactions, 2, 30..31);
    closing.commit_transaction(PATIENCE).expect("committed");
    in_time("no lag behind a mark", || lag(2) == Some(0.0));
    let shown = setup.command(&["partition", "show", "2", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!((&shown["lag"], &shown["state"]), (&0.into(), &"running".into()), "{shown}");
}

/// How far the broker's clock is off while so many records come, again and again, in milliseconds.
const JUMPS_MS: [i64; 6] = [0, 40 * 60_000, -3 * 3_600_000, 0, -2 * 86_400_000, 20 * 60_000];
const RECORDS_A_JUMP: usize = 400;

/// `time.max_future` and `time.lateness` by default.
const MAX_FUTURE_MS: i64 = 5 * 60_000;
const LATENESS_MS: i64 = 24 * 3_600_000;

/// Some days' transactions, stamped by a clock that jumps.
fn send_by_a_jumping_clock(topic: &str, seed: u64, records: usize) {
    let mut load = Load::connect(client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
    let disorder = Disorder { late_share: 0.02, late_spread_ms: 8 * 3_600_000, duplicates: 0.02, conflicts: 0.01 };
    let options = Options { limit: Limit::Records(records as u64), disorder, ..Options::sized(seed, 300) };
    let mut simulation = Simulation::new(&options);
    let mut record = Simulated::empty();
    let mut number = 0;
    while simulation.read(&mut record) {
        let at_ms = record.at_ms + JUMPS_MS[number / RECORDS_A_JUMP % JUMPS_MS.len()];
        load.send(record.phone.to_string().as_bytes(), &record.json, at_ms).expect("room");
        number += 1;
    }
    load.finish().expect("all acknowledged");
}

/// The design's rules of time, written a second time: event time, watermark, and what is late.
fn assert_time_rules(input: &[Record], verdicts: &[Record]) -> usize {
    let (mut watermark, mut adjusted) = (i64::MIN, 0);
    for (record, verdict) in input.iter().zip(verdicts) {
        let (transaction, verdict) = (record.json(), verdict.json());
        let timestamp = EventTimeMs::parse(transaction["timestamp"].as_str().expect("text")).expect("a time").0;
        let most = record.timestamp_ms.expect("a Kafka timestamp") + MAX_FUTURE_MS;
        let event_time = timestamp.min(most);
        watermark = watermark.max(event_time);
        let flags: Vec<&str> = verdict["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(flags.contains(&"time_adjusted"), timestamp > most, "{verdict}");
        adjusted += usize::from(timestamp > most);
        let kind = verdict["kind"].as_str().expect("a kind");
        if ["scored", "late"].contains(&kind) {
            assert_eq!(kind == "late", event_time <= watermark - LATENESS_MS, "{verdict}");
        }
    }
    adjusted
}

#[test]
fn a_clock_that_jumps_moves_no_watermark_back_and_a_replay_comes_to_the_same_verdicts() {
    const PARTITIONS: i32 = 2;
    const RECORDS: usize = 12_000;
    let topics = Topics::create("clock", PARTITIONS);
    let setup = Setup::new(&topics).with("SENTRA__SNAPSHOTS__LOCATION", "off");
    let process = setup.start();
    process.await_running(PARTITIONS, PATIENCE);
    send_by_a_jumping_clock(&topics.transactions, 11, RECORDS / 2);
    let half = RECORDS as f64 / 2.0;
    let all = |process: &Sentra| {
        ["scored", "late", "duplicate", "conflict"]
            .map(|kind| process.metric(&format!("sentra_events_total{{kind=\"{kind}\"}}")).unwrap_or_default())
            .iter()
            .sum::<f64>()
    };
    let watermarks = || [0, 1].map(|at| process.metric(&format!("sentra_watermark_seconds{{partition=\"{at}\"}}")));
    let mut highest = watermarks();
    until(
        PATIENCE,
        || process.log(),
        || {
            let now = watermarks();
            assert!(now.iter().zip(&highest).all(|(now, before)| now >= before), "{highest:?} became {now:?}");
            highest = now;
            (all(&process) >= half).then_some(())
        },
    );
    // The second half meets a process that has replayed the first.
    process.kill();
    let process = setup.start();
    process.await_running(PARTITIONS, PATIENCE);
    send_by_a_jumping_clock(&topics.transactions, 12, RECORDS / 2);
    let counts = ends(&topics.transactions, PARTITIONS);
    let disturbed = accepted(&topics, &counts);
    assert_eq!(process.metric("sentra_replay_mismatches_total"), Some(0.0));

    let quiet = topics.again("clock-quiet");
    let _undisturbed = Setup::new(&quiet).with("SENTRA__SNAPSHOTS__LOCATION", "off").start();
    let expected = accepted(&quiet, &counts);
    let mut input = Follower::new(&topics.transactions, PARTITIONS);
    input.read_to_end();
    let mut adjusted = 0;
    for ((found, wanted), input) in disturbed.iter().zip(&expected).zip(&input.records) {
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            let bytes = |record: &Record| timeless(record.value.as_deref().expect("a verdict"));
            assert_eq!(String::from_utf8_lossy(&bytes(found)), String::from_utf8_lossy(&bytes(wanted)));
        }
        adjusted += assert_time_rules(input, found);
    }
    println!("{adjusted} of {RECORDS} event times cut to the broker's clock");
    assert!(adjusted > RECORDS / 10);
}
