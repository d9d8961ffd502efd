//! A group of three processes goes to this release, and back, on a real broker: one process after another, each of its
//! partitions restored from a snapshot of whichever format, and nothing replayed but what came behind it.
//!
//! The release before is this one told to write its format, which `snapshot_format` holds to be the same frame by frame;
//! where `SENTRA_OLD_PROGRAM` names a build of it, that one runs in its place.

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{
    kafka,
    line::{Sentra, Setup, Topics, soon, until},
    records::{Follower, Reading, ends},
};
use sentra::{
    kafka::load::Load,
    snapshot::Name,
    train::simulate::{Limit, Options, Simulated, Simulation},
};

/// A busy disk takes its time for each snapshot.
const PATIENCE: Duration = Duration::from_secs(180);

const PARTITIONS: i32 = 6;

/// What lies in the log before the first restart, a third of it in each process.
const BEFORE: u64 = 60_000;

/// A process replays less: snapshots are taken every second, or every half minute where the disk is busy.
const MOST_REPLAYED: u64 = 8_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Before,
    /// This one, told to write the format before.
    Returning,
    This,
}

struct Group {
    topics: Topics,
    folder: tempfile::TempDir,
    processes: Vec<Sentra>,
}

impl Group {
    fn setup(&self, at: usize, release: Release) -> Setup {
        let setup = Setup::new(&self.topics)
            .with("SENTRA__SCORE__INSTANCE", &format!("upgrade-{at}"))
            .with("SENTRA__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "120000")
            .with("SENTRA__SNAPSHOTS__LOCATION", &self.folder.path().display().to_string())
            .with("SENTRA__SNAPSHOTS__INTERVAL", "1s");
        match (release, env::var_os("SENTRA_OLD_PROGRAM")) {
            (Release::Before, Some(program)) => setup.program(Path::new(&program)),
            (Release::This, _) => setup,
            _ => setup.with("SENTRA__SNAPSHOTS__FORMAT", "previous"),
        }
    }

    fn await_all(&self) {
        let running = || self.processes.iter().map(Sentra::running).collect::<Vec<_>>();
        until(
            PATIENCE,
            || format!("all partitions to run: {:?}", running()),
            || (running() == [2, 2, 2]).then_some(()),
        );
    }

    /// Restarts one process after another as this release.
    fn go_to(&mut self, release: Release) {
        for at in 0..self.processes.len() {
            self.processes[at].signal(libc::SIGTERM);
            assert_eq!(self.processes[at].wait(PATIENCE).code(), Some(0), "{}", self.processes[at].log());
            self.processes[at] = self.setup(at, release).start();
            self.await_all();
            let process = &self.processes[at];
            let what = format!("{release:?}, process {at}: {}", process.log());
            assert_eq!(process.lines("snapshot restored").len(), 2, "{what}");
            assert!(process.lines("snapshot not restored").is_empty(), "{what}");
            let replayed = process.replayed();
            println!("{release:?}, process {at}: {replayed} records replayed");
            assert!(replayed < MOST_REPLAYED, "{replayed} replayed, {what}");
        }
    }

    /// Waits until the newest snapshot of each partition is of this format and holds all that the log holds now.
    fn await_format(&self, format: u8) {
        let held = ends(&self.topics.transactions, PARTITIONS);
        let is_new = |partition: &i32| {
            let Some(path) = self.newest(*partition) else { return false };
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            let name: Name = name.parse().expect("a name");
            name.end >= held[*partition as usize] && fs::read(&path).is_ok_and(|bytes| bytes[8] == format)
        };
        let fresh = || (0..PARTITIONS).filter(is_new).count();
        let what = || format!("new snapshots of format {format} of all partitions, not of {}", fresh());
        until(PATIENCE, what, || (fresh() == PARTITIONS as usize).then_some(()));
    }

    fn newest(&self, partition: i32) -> Option<PathBuf> {
        let log = fs::read_dir(self.folder.path()).ok()?.next()?.ok()?.path();
        let found = fs::read_dir(log.join(partition.to_string())).ok()?;
        let paths = found.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "snapshot")).max()
    }
}

/// Sends so many records at once, and then more than a hundred a second until told to stop.
fn traffic(topic: &str, over: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
    let mut simulation = Simulation::new(&Options { limit: Limit::None, ..Options::sized(9, 900) });
    let mut record = Simulated::empty();
    let mut send = move |load: &mut Load, records: u64| {
        for _ in 0..records {
            assert!(simulation.read(&mut record), "it has no end");
            load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
        }
    };
    send(&mut load, BEFORE);
    let over = Arc::clone(over);
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            send(&mut load, 20);
            load.wait(Duration::from_millis(150)).expect("taken in the end");
        }
        load.finish().expect("all acknowledged");
    })
}

#[test]
fn a_group_goes_to_this_release_and_back_without_replay() {
    let topics = Topics::create("upgrade", PARTITIONS);
    let over = Arc::new(AtomicBool::new(false));
    let traffic = traffic(&topics.transactions, &over);
    let mut group = Group { topics, folder: tempfile::tempdir().expect("a folder"), processes: Vec::new() };
    group.processes = (0..3).map(|at| group.setup(at, Release::Before).start()).collect();
    group.await_all();
    group.await_format(1);
    let mut follower = Follower::new(&group.topics.verdicts, PARTITIONS);
    let mut readings: Vec<Reading> = (0..PARTITIONS).map(|_| Reading::default()).collect();
    follower.read_to_end();
    readings.iter_mut().zip(&follower.records).for_each(|(reading, records)| reading.follow(records));
    // While the three join, a partition may go from one to another.
    let before: Vec<usize> = readings.iter().map(|reading| reading.owners).collect();
    group.go_to(Release::This);
    group.await_format(2);
    group.go_to(Release::Returning);
    group.await_format(1);
    group.go_to(Release::Before);
    over.store(true, Ordering::Relaxed);
    traffic.join().expect("the input");

    let topics = &group.topics;
    let ends = ends(&topics.transactions, PARTITIONS);
    assert!(ends.iter().sum::<i64>() > BEFORE as i64);
    soon("all verdicts", || {
        follower.read_to_end();
        readings.iter_mut().zip(&follower.records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    for (partition, (reading, end)) in readings.iter().zip(ends).enumerate() {
        reading.assert_exact(partition, end);
        let taken = reading.owners - before[partition];
        assert_eq!(taken, 3, "partition {partition} was taken once with each release, by its own process");
    }
    assert!(group.processes.iter().all(|process| process.metric("sentra_gaps_total") == Some(0.0)));
    assert!(group.processes.iter().all(|process| process.metric("sentra_replay_mismatches_total") == Some(0.0)));
}
