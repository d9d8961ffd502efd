//! Steady traffic, the processes of a line, and the faults that befall them, as the dice of a seed fall.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sentra::{
    kafka::load::Load,
    train::simulate::{Disorder, Limit, Options, Simulated, Simulation},
};
use tempfile::TempDir;

use crate::{
    common::{
        self,
        broker::Broker,
        kafka,
        line::{Sentra, Setup, Topics},
        postgres::{Server, TestDatabase},
    },
    traffic::Dice,
};

pub const PARTITIONS: i32 = 6;

/// Records a second: enough that every fault meets work, few enough for a small machine.
const EACH_SECOND: u64 = 300;

/// How long a stop in order may take, on a busy machine.
const STOP: Duration = Duration::from_secs(30);

/// How long a process may take to run again, on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Input that comes until it is told to end: late, out of order, sent twice, and now and then unreadable.
pub struct Steady {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Steady {
    pub fn start(topic: &str, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
        let ended = Arc::clone(&over);
        let send = move || {
            let disorder =
                Disorder { late_share: 0.05, late_spread_ms: 8 * 3_600_000, duplicates: 0.03, conflicts: 0.01 };
            let options = Options { limit: Limit::None, disorder, ..Options::sized(seed, 900) };
            let mut simulation = Simulation::new(&options);
            let mut record = Simulated::empty();
            let mut number = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                for _ in 0..EACH_SECOND / 50 {
                    assert!(simulation.read(&mut record), "it has no end");
                    number += 1;
                    let value: &[u8] = if number.is_multiple_of(97) { b"{\"no\":1}" } else { &record.json };
                    load.send(record.phone.to_string().as_bytes(), value, record.at_ms).expect("room");
                }
                load.wait(Duration::from_millis(20)).expect("taken in the end");
            }
            load.finish().expect("all acknowledged")
        };
        Self { over, thread: thread::spawn(send) }
    }

    pub fn finish(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the input")
    }
}

/// The line and what happens to it.
pub struct Havoc<'w> {
    dice: Dice,
    broker: &'w Broker,
    server: &'w Server,
    scoring: Vec<Setup>,
    storing: Setup,
    serving: Setup,
    scorers: Vec<Sentra>,
    sink: Sentra,
    serve: Sentra,
    snapshots: TempDir,
    counts: BTreeMap<&'static str, u32>,
}

impl<'w> Havoc<'w> {
    pub fn start(topics: &Topics, broker: &'w Broker, server: &'w Server, database: &TestDatabase, seed: u64) -> Self {
        let snapshots = tempfile::tempdir().expect("a folder");
        let scoring = |_| {
            Setup::new(topics)
                .with("SENTRA__SNAPSHOTS__LOCATION", &snapshots.path().display().to_string())
                .with("SENTRA__SNAPSHOTS__INTERVAL", "4s")
        };
        let scoring: Vec<Setup> = (0..3).map(scoring).collect();
        let storing = Setup::new(topics).roles("sink").with("DATABASE_URL", &database.url);
        let serving = Setup::new(topics).roles("serve").with("DATABASE_URL", &database.url);
        Self {
            dice: Dice::new(seed),
            broker,
            server,
            scorers: scoring.iter().map(Setup::start).collect(),
            sink: storing.start(),
            serve: serving.start(),
            scoring,
            storing,
            serving,
            snapshots,
            counts: BTreeMap::new(),
        }
    }

    /// One fault, and a while until the next.
    pub fn strike(&mut self) {
        let at = self.dice.below(self.scorers.len() as u64) as usize;
        let fault = match self.dice.below(20) {
            0..=4 => self.kill_scorer(at),
            5..=7 => self.freeze_scorer(at),
            8..=9 => self.restart_broker(),
            10..=11 => self.crash_database(),
            12 => self.rolling_restart(),
            13..=16 => self.harm_snapshot(),
            17..=18 => self.kill_sink(),
            _ => self.kill_serve(),
        };
        *self.counts.entry(fault).or_default() += 1;
        println!("{fault}");
        thread::sleep(Duration::from_millis(self.dice.between(500, 6_000) as u64));
    }

    fn kill_scorer(&mut self, at: usize) -> &'static str {
        self.scorers[at].signal(libc::SIGKILL);
        self.scorers[at].wait(STOP);
        thread::sleep(Duration::from_millis(self.dice.between(0, 3_000) as u64));
        self.scorers[at] = self.scoring[at].start();
        "score process killed"
    }

    /// Past its session: it comes back as a zombie.
    fn freeze_scorer(&mut self, at: usize) -> &'static str {
        self.scorers[at].signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(self.dice.between(7_000, 14_000) as u64));
        self.scorers[at].signal(libc::SIGCONT);
        "score process frozen past its session"
    }

    fn restart_broker(&mut self) -> &'static str {
        if self.dice.percent(40) {
            self.broker.services("freeze");
            thread::sleep(Duration::from_secs(self.dice.between(2, 12) as u64));
            self.broker.services("thaw");
            return "broker frozen";
        }
        self.broker.services("down");
        thread::sleep(Duration::from_secs(self.dice.between(0, 4) as u64));
        self.broker.services("up");
        "broker restarted"
    }

    fn crash_database(&mut self) -> &'static str {
        self.server.crash();
        thread::sleep(Duration::from_secs(self.dice.between(0, 6) as u64));
        self.server.services("up");
        "database stopped at once"
    }

    fn rolling_restart(&mut self) -> &'static str {
        for at in 0..self.scorers.len() {
            self.scorers[at].signal(libc::SIGTERM);
            self.scorers[at].wait(STOP);
            self.scorers[at] = self.scoring[at].start();
        }
        "rolling restart"
    }

    fn harm_snapshot(&mut self) -> &'static str {
        let found = files(self.snapshots.path());
        if found.is_empty() {
            return "no snapshot to harm";
        }
        let path = &found[self.dice.below(found.len() as u64) as usize];
        // A file may be pruned between two looks.
        let Ok(mut bytes) = fs::read(path) else { return "snapshot gone meanwhile" };
        if bytes.is_empty() || self.dice.percent(30) {
            let _ = fs::remove_file(path);
            return "snapshot deleted";
        }
        let at = self.dice.below(bytes.len() as u64) as usize;
        if self.dice.percent(50) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << self.dice.below(8);
        }
        let _ = fs::write(path, bytes);
        "snapshot damaged"
    }

    fn kill_sink(&mut self) -> &'static str {
        self.sink.signal(libc::SIGKILL);
        self.sink.wait(STOP);
        self.sink = self.storing.start();
        "sink killed"
    }

    fn kill_serve(&mut self) -> &'static str {
        self.serve.signal(libc::SIGKILL);
        self.serve.wait(STOP);
        self.serve = self.serving.start();
        "serve killed"
    }

    /// The faults are over: all of it runs again by itself.
    pub fn heal(&self) {
        let running = || self.scorers.iter().map(Sentra::running).sum::<i32>();
        let what = || format!("all partitions to run, not {}; {}", running(), self.logs());
        common::line::until(START, what, || (running() == PARTITIONS).then_some(()));
        let ready = || self.serve.get("/readyz").is_some_and(|answer| answer.code == 200);
        common::line::until(START, || self.serve.log(), || ready().then_some(()));
    }

    /// Nobody met a gap, and nothing is refused.
    pub fn assert_calm(&self) {
        for scorer in &self.scorers {
            assert_eq!(scorer.metric("sentra_gaps_total"), Some(0.0), "{}", scorer.log());
            assert_eq!(scorer.metric("sentra_lost_records_total").unwrap_or_default(), 0.0, "{}", scorer.log());
        }
    }

    pub fn counts(&self) -> String {
        self.counts.iter().map(|(fault, count)| format!("{count} × {fault}")).collect::<Vec<_>>().join(", ")
    }

    /// What the processes that run now have said.
    pub fn logs(&self) -> String {
        let all = self.scorers.iter().chain([&self.sink, &self.serve]);
        all.map(|process| format!("---- pid {}\n{}", process.pid(), process.log())).collect()
    }
}

/// Every published snapshot below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "snapshot") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
