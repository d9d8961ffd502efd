//! The proof on a real broker: whatever crashes or freezes, each input record has exactly one verdict that counts, in
//! order, and the stream of those is that of an undisturbed run over the same input, byte for byte.
//!
//! Not a measurement: the pace of the input follows the faults, so that it keeps coming on any machine.

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::{
    kafka,
    line::{Sentra, Setup, Topics, until},
    records::{Follower, Reading, Record, ends, timeless},
};
use sentra::{
    kafka::load::Load,
    train::simulate::{Disorder, Limit, Options, Simulated, Simulation},
};

const RECORDS: u64 = 200_000;
const PARTITIONS: i32 = 8;

/// Sessions end after 6 s, and a rebalance takes two rounds; a busy machine takes its time for either.
const REBALANCE: Duration = Duration::from_secs(90);

/// While faults go on, each second brings this part of what is left: the input slows down and never ends before them.
const PART_A_SECOND: f64 = 0.025;

/// So many records come between two faults at least.
const MORE: u64 = 2_000;

/// Zombies are all but certain at the first freeze; a test does not rest on all but.
const MOST_FREEZES: usize = 4;

/// The input, coming from another thread.
struct Traffic {
    faults_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Traffic {
    fn start(topic: &str, seed: u64) -> Self {
        let (faults_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
        let (over, count) = (Arc::clone(&faults_over), Arc::clone(&sent));
        let send = move || {
            let mut simulation = Simulation::new(&options(seed));
            let mut record = Simulated::empty();
            let (mut due, mut at) = (0.0, Instant::now());
            while simulation.read(&mut record) {
                while due < 1.0 && !over.load(Ordering::Relaxed) {
                    load.wait(Duration::from_millis(10)).expect("the broker takes it");
                    let left = RECORDS - count.load(Ordering::Relaxed);
                    due += at.elapsed().as_secs_f64() * PART_A_SECOND * left as f64;
                    at = Instant::now();
                }
                load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms)
                    .expect("the broker takes it");
                count.fetch_add(1, Ordering::Relaxed);
                due -= 1.0;
            }
            load.finish().expect("all acknowledged")
        };
        Self { faults_over, sent, thread: thread::spawn(send) }
    }

    /// The input comes, and goes on coming: the next fault meets work in flight.
    fn await_more(&self, during: &str) {
        let before = self.sent.load(Ordering::Relaxed);
        let more = || (self.sent.load(Ordering::Relaxed) > before + MORE).then_some(());
        until(REBALANCE, || format!("{during}: more than {before} records"), more);
        self.assert_coming(during);
    }

    fn assert_coming(&self, during: &str) {
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(!self.thread.is_finished() && sent < RECORDS, "{during}: the input still comes, {sent} sent");
        println!("{during}: {sent} records sent so far");
    }

    fn finish(self) {
        self.faults_over.store(true, Ordering::Relaxed);
        assert_eq!(self.thread.join().expect("the input"), RECORDS);
    }
}

/// Two weeks of a small country: late by more than a day, out of order, sent twice, ids used twice.
fn options(seed: u64) -> Options {
    let disorder = Disorder { late_share: 0.05, late_spread_ms: 8 * 3_600_000, duplicates: 0.02, conflicts: 0.01 };
    Options { limit: Limit::Records(RECORDS), disorder, ..Options::sized(seed, 2_400) }
}

/// The readings of a verdict topic as it grows.
struct Readings {
    follower: Follower,
    readings: Vec<Reading>,
}

impl Readings {
    fn of(topic: &str) -> Self {
        let readings = (0..PARTITIONS).map(|_| Reading::default()).collect();
        Self { follower: Follower::new(topic, PARTITIONS), readings }
    }

    fn catch_up(&mut self) {
        self.follower.read_to_end();
        self.apply();
    }

    fn apply(&mut self) {
        for (reading, records) in self.readings.iter_mut().zip(&self.follower.records) {
            reading.follow(records);
        }
    }

    /// Reads until each input record has its verdict.
    fn until_judged(&mut self, ends: &[i64]) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.readings.iter().zip(ends).any(|(reading, end)| (reading.accepted.len() as i64) < *end) {
            assert!(Instant::now() < deadline, "judged {:?} of {ends:?}", self.count(|reading| reading.accepted.len()));
            while self.follower.read(Duration::from_millis(50)) {}
            self.apply();
        }
        // What still comes is no verdict that counts.
        self.catch_up();
    }

    fn count(&self, what: impl Fn(&Reading) -> usize) -> Vec<usize> {
        self.readings.iter().map(what).collect()
    }

    fn total(&self, what: impl Fn(&Reading) -> usize) -> usize {
        self.readings.iter().map(what).sum()
    }

    fn kinds(&self) -> HashMap<String, usize> {
        let mut kinds = HashMap::new();
        self.readings.iter().for_each(|reading| reading.count_kinds(&mut kinds));
        kinds
    }

    /// The records that count of a partition, in order.
    fn accepted(&self, partition: usize) -> impl Iterator<Item = &Record> {
        let records = &self.follower.records[partition];
        self.readings[partition].accepted.iter().map(|(_, index)| &records[*index])
    }
}

/// Waits until the two share the partitions again, both at work.
fn await_shared(one: &Sentra, other: &Sentra) {
    let what = || format!("shared partitions: {} and {}", one.running(), other.running());
    until(REBALANCE, what, || {
        let (one, other) = (one.running(), other.running());
        (one > 0 && other > 0 && one + other == PARTITIONS).then_some(())
    });
}

/// Freezes a process past its session, with verdicts queued, until the other has taken all; then lets it go on.
fn freeze_and_revive(frozen: &Sentra, other: &Sentra) {
    frozen.signal(libc::SIGSTOP);
    other.await_running(PARTITIONS, REBALANCE);
    frozen.signal(libc::SIGCONT);
}

#[test]
fn whatever_crashes_or_freezes_each_record_has_one_verdict_that_counts_and_it_is_that_of_an_undisturbed_run() {
    let began = Instant::now();
    let topics = Topics::create("faults", PARTITIONS);
    // Partitions move between shards of a process, too.
    let mortal = Setup::new(&topics).with("SENTRA__SCORE__SHARDS", "2");
    // Verdicts wait half a second in this one's queue: whenever it is frozen, some are on their way.
    let sleeper = Setup::new(&topics).with("SENTRA__SCORE__LINGER_MS", "500");
    let mut first = mortal.start();
    let second = sleeper.start();
    await_shared(&first, &second);
    let traffic = Traffic::start(&topics.transactions, 20);
    let mut disturbed = Readings::of(&topics.verdicts);

    let crash = |number: u32, first: Sentra| {
        traffic.await_more(&format!("crash {number}"));
        first.kill();
        let restarted = mortal.start();
        await_shared(&restarted, &second);
        restarted
    };
    first = crash(1, first);
    let (mut freezes, mut revived) = (0, 0);
    while revived == 0 {
        assert!(freezes < MOST_FREEZES, "{freezes} freezes left no verdict of a zombie");
        freezes += 1;
        traffic.await_more(&format!("freeze {freezes}"));
        disturbed.catch_up();
        let before = disturbed.total(|reading| reading.ignored);
        freeze_and_revive(&second, &first);
        await_shared(&first, &second);
        disturbed.catch_up();
        revived = disturbed.total(|reading| reading.ignored) - before;
    }
    first = crash(2, first);
    first = crash(3, first);
    traffic.assert_coming("the faults are over");
    traffic.finish();

    let ends = ends(&topics.transactions, PARTITIONS);
    assert_eq!(ends.iter().sum::<i64>(), RECORDS as i64);
    disturbed.until_judged(&ends);
    println!("disturbed run judged after {:?}", began.elapsed());
    for process in [&first, &second] {
        assert_eq!(process.metric("sentra_gaps_total"), Some(0.0), "no owner met a gap");
    }
    drop((first, second));

    let quiet = topics.again("faults-quiet");
    let _undisturbed = Setup::new(&quiet).start();
    let mut expected = Readings::of(&quiet.verdicts);
    expected.until_judged(&ends);
    println!("undisturbed run judged after {:?}", began.elapsed());

    for (partition, end) in ends.iter().enumerate() {
        disturbed.readings[partition].assert_exact(partition, *end);
        expected.readings[partition].assert_exact(partition, *end);
        assert_eq!(expected.readings[partition].owners, 1, "nobody disturbed the undisturbed run");
        for (found, wanted) in disturbed.accepted(partition).zip(expected.accepted(partition)) {
            let bytes = |record: &Record| timeless(record.value.as_deref().expect("a verdict"));
            let (found_bytes, wanted_bytes) = (bytes(found), bytes(wanted));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(
                found_bytes == wanted_bytes,
                "partition {partition}:\n found {}\nwanted {}",
                text(&found_bytes),
                text(&wanted_bytes)
            );
            assert_eq!((&found.key, &found.headers), (&wanted.key, &wanted.headers));
        }
    }
    let (zombies, owners) = (disturbed.total(|reading| reading.ignored), disturbed.total(|reading| reading.owners));
    let kinds = disturbed.kinds();
    println!(
        "zombie verdicts ignored {zombies}, {revived} of the revived process, epochs {owners}, freezes {freezes}, kinds {kinds:?}, ends {ends:?}"
    );
    assert!(revived > 0 && zombies >= revived, "the revived process wrote, and its verdicts do not count");
    for kind in ["scored", "duplicate", "conflict", "late"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 100), "the traffic has what is hard: {kind} in {kinds:?}");
    }
}
