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
        line::{Sentra, Setup, Topics, until},
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

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    ScorerKilled,
    ScorerFrozen,
    BrokerRestarted,
    BrokerFrozen,
    DatabaseStopped,
    RollingRestart,
    SnapshotDamaged,
    SnapshotDeleted,
    SinkKilled,
    ServeKilled,
}

/// One round: each of them comes, some more often, in an order that the dice give.
const ROUND: [Fault; 12] = [
    Fault::ScorerKilled,
    Fault::ScorerKilled,
    Fault::ScorerKilled,
    Fault::ScorerFrozen,
    Fault::BrokerRestarted,
    Fault::BrokerFrozen,
    Fault::DatabaseStopped,
    Fault::RollingRestart,
    Fault::SnapshotDamaged,
    Fault::SnapshotDeleted,
    Fault::SinkKilled,
    Fault::ServeKilled,
];

/// Verdicts wait half a second in this one's queue: when it is frozen, some are on their way.
const SLEEPER: usize = 0;

/// The line and what happens to it.
pub struct Havoc<'w> {
    dice: Dice,
    /// What is left of the round.
    bag: Vec<Fault>,
    broker: &'w Broker,
    server: &'w Server,
    scoring: Vec<Setup>,
    storing: Setup,
    serving: Setup,
    scorers: Vec<Sentra>,
    sink: Sentra,
    serve: Sentra,
    snapshots: TempDir,
    counts: BTreeMap<Fault, u32>,
    /// How often a process that is gone said that it restored a snapshot.
    restored: usize,
}

impl<'w> Havoc<'w> {
    pub fn start(topics: &Topics, broker: &'w Broker, server: &'w Server, database: &TestDatabase, seed: u64) -> Self {
        let snapshots = tempfile::tempdir().expect("a folder");
        let scoring = |number| {
            Setup::new(topics)
                .with("SENTRA__SCORE__LINGER_MS", if number == SLEEPER { "500" } else { "5" })
                .with("SENTRA__SNAPSHOTS__LOCATION", &snapshots.path().display().to_string())
                .with("SENTRA__SNAPSHOTS__INTERVAL", "4s")
        };
        let scoring: Vec<Setup> = (0..3).map(scoring).collect();
        let storing = Setup::new(topics).roles("sink").with("DATABASE_URL", &database.url);
        let serving = Setup::new(topics).roles("serve").with("DATABASE_URL", &database.url);
        Self {
            dice: Dice::new(seed),
            bag: Vec::new(),
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
            restored: 0,
        }
    }

    /// The next fault of the round, and a while until the one after it.
    pub fn strike(&mut self) {
        if self.bag.is_empty() {
            self.bag = ROUND.to_vec();
            for left in (1..self.bag.len()).rev() {
                let with = self.dice.below(left as u64 + 1) as usize;
                self.bag.swap(left, with);
            }
        }
        let fault = self.bag.pop().expect("just filled");
        self.inflict(fault);
    }

    /// This fault, and a while.
    pub fn inflict(&mut self, fault: Fault) {
        println!("{fault:?}");
        match fault {
            Fault::ScorerKilled => self.kill_scorer(),
            Fault::ScorerFrozen => self.freeze_scorer(),
            Fault::BrokerRestarted => self.restart_broker(),
            Fault::BrokerFrozen => self.freeze_broker(),
            Fault::DatabaseStopped => self.crash_database(),
            Fault::RollingRestart => self.rolling_restart(),
            Fault::SnapshotDamaged => self.damage_snapshot(),
            Fault::SnapshotDeleted => self.delete_snapshot(),
            Fault::SinkKilled => self.kill_sink(),
            Fault::ServeKilled => self.kill_serve(),
        }
        *self.counts.entry(fault).or_default() += 1;
        thread::sleep(Duration::from_millis(self.dice.between(500, 6_000) as u64));
    }

    /// Whether each kind of fault has come.
    pub fn is_whole(&self) -> bool {
        ROUND.iter().all(|fault| self.counts.contains_key(fault))
    }

    fn kill_scorer(&mut self) {
        let at = self.dice.below(self.scorers.len() as u64) as usize;
        self.scorers[at].signal(libc::SIGKILL);
        self.scorers[at].wait(STOP);
        thread::sleep(Duration::from_millis(self.dice.between(0, 3_000) as u64));
        self.replace(at);
    }

    fn replace(&mut self, at: usize) {
        self.restored += restored(&self.scorers[at]);
        self.scorers[at] = self.scoring[at].start();
    }

    /// Past its session, and until another has its partitions: it comes back as a zombie.
    fn freeze_scorer(&mut self) {
        self.scorers[SLEEPER].signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(self.dice.between(9_000, 14_000) as u64));
        self.scorers[SLEEPER].signal(libc::SIGCONT);
    }

    fn freeze_broker(&mut self) {
        self.broker.services("freeze");
        thread::sleep(Duration::from_secs(self.dice.between(2, 12) as u64));
        self.broker.services("thaw");
    }

    fn restart_broker(&mut self) {
        self.broker.services("down");
        thread::sleep(Duration::from_secs(self.dice.between(0, 4) as u64));
        self.broker.services("up");
    }

    fn crash_database(&mut self) {
        self.server.crash();
        thread::sleep(Duration::from_secs(self.dice.between(0, 6) as u64));
        self.server.services("up");
    }

    fn rolling_restart(&mut self) {
        for at in 0..self.scorers.len() {
            self.scorers[at].signal(libc::SIGTERM);
            self.scorers[at].wait(STOP);
            self.replace(at);
        }
    }

    /// Cuts one, or turns one bit of it over.
    fn damage_snapshot(&mut self) {
        let (path, mut bytes) = self.a_snapshot();
        let at = self.dice.below(bytes.len() as u64) as usize;
        if self.dice.percent(50) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << self.dice.below(8);
        }
        fs::write(path, bytes).expect("damaged");
    }

    fn delete_snapshot(&mut self) {
        let (path, _) = self.a_snapshot();
        // It may have been pruned just now.
        let _ = fs::remove_file(path);
    }

    /// One of those that are there, waiting for the first. A file may be pruned between two looks.
    fn a_snapshot(&mut self) -> (PathBuf, Vec<u8>) {
        let (dice, folder) = (&mut self.dice, self.snapshots.path());
        until(
            START,
            || String::from("a snapshot"),
            || {
                let found = files(folder);
                let path = found.get(dice.below(found.len().max(1) as u64) as usize)?;
                let bytes = fs::read(path).ok().filter(|bytes| !bytes.is_empty())?;
                Some((path.clone(), bytes))
            },
        )
    }

    fn kill_sink(&mut self) {
        self.sink.signal(libc::SIGKILL);
        self.sink.wait(STOP);
        self.sink = self.storing.start();
    }

    fn kill_serve(&mut self) {
        self.serve.signal(libc::SIGKILL);
        self.serve.wait(STOP);
        self.serve = self.serving.start();
    }

    /// How often a snapshot was restored.
    pub fn restored(&self) -> usize {
        self.restored + self.scorers.iter().map(restored).sum::<usize>()
    }

    /// The faults are over: all of it runs again by itself.
    pub fn heal(&self) {
        let running = || self.scorers.iter().map(Sentra::running).sum::<i32>();
        let what = || format!("all partitions to run, not {}; {}", running(), self.logs());
        until(START, what, || (running() == PARTITIONS).then_some(()));
        let ready = || self.serve.get("/readyz").is_some_and(|answer| answer.code == 200);
        until(START, || self.serve.log(), || ready().then_some(()));
    }

    /// Nobody met a gap, and nothing is refused.
    pub fn assert_calm(&self) {
        for scorer in &self.scorers {
            assert_eq!(scorer.metric("sentra_gaps_total"), Some(0.0), "{}", scorer.log());
            assert_eq!(scorer.metric("sentra_lost_records_total").unwrap_or_default(), 0.0, "{}", scorer.log());
        }
    }

    pub fn counts(&self) -> String {
        self.counts.iter().map(|(fault, count)| format!("{count} × {fault:?}")).collect::<Vec<_>>().join(", ")
    }

    /// What the processes that run now have said.
    pub fn logs(&self) -> String {
        let all = self.scorers.iter().chain([&self.sink, &self.serve]);
        all.map(|process| format!("---- pid {}\n{}", process.pid(), process.log())).collect()
    }
}

fn restored(scorer: &Sentra) -> usize {
    scorer.log().matches("\"snapshot restored\"").count()
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
