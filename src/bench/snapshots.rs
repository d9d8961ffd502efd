//! Snapshots: what taking one costs, how long restoring takes beside the least it could take, and the line's throughput
//! with and without them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    clock::thread_cpu_ns,
    load, progress,
    progress::Stretch,
    report::{Target, median},
    sample,
    state::{Bench, EVENTS},
    traffic::Habits,
};
use crate::{
    domain::{
        identity::LogId,
        policy::{POLICY_VERSION, decide},
        rules::Rules,
    },
    engine::{
        GENERATION,
        checkpoint::Checkpoint,
        decisions::{Decisions, Maker},
        partition::{Partition, Place},
        snapshot::{Format, FrameWriter, Head, Part, Restoring, SnapshotIdentity, Taking},
    },
    snapshot::{Depot, Name},
};

/// Partitions that the phones are spread over.
const PARTITIONS: i32 = 8;

/// Bytes of a slice, as the shard takes them.
const SLICE: usize = 256 << 10;

/// Walks over a full ring: one is short.
const WALKS: usize = 9;

/// Seconds between a partition's snapshots while throughput is measured: thirty times as often as by default, for a
/// round lasts seconds.
const INTERVAL: &str = "10s";

/// The topic that all measured state is of.
const LOG: LogId = LogId(*b"measured topic's");

/// What taking and restoring cost, in memory and on a disk.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotFigures {
    /// Phones, at 20 events each.
    pub phones: u64,
    /// Bytes of all snapshots together, before they are compressed.
    pub raw_bytes: u64,
    /// The same, stored.
    pub stored_bytes: u64,
    /// CPU seconds of the shards for all of it.
    pub copy_cpu_s: f64,
    /// The longest that a slice held a shard up, milliseconds by the wall clock.
    pub longest_slice_ms: f64,
    /// The same where a phone's ring is full: its history is copied whole.
    pub hot_slice_ms: f64,
    /// CPU seconds of the threads behind the shards: compressing and checking.
    pub pack_cpu_s: f64,
    /// Seconds to restore all partitions together, from files.
    pub restore_s: f64,
    /// Seconds to decompress and insert alone, from memory.
    pub limit_s: f64,
    /// Draining without snapshots, and with them.
    pub overhead: Option<Overhead>,
}

/// The line drained with and without snapshots.
#[derive(Clone, Debug, Serialize)]
pub struct Overhead {
    /// Without, by round.
    pub without: Vec<Stretch>,
    /// With, by round.
    pub with: Vec<Stretch>,
}

/// What a restoring process measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RestoreFigure {
    /// Seconds.
    pub seconds: f64,
    /// Phones restored.
    pub phones: u64,
}

impl SnapshotFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        let longest = self.longest_slice_ms.max(self.hot_slice_ms);
        let mut targets = vec![
            Target::at_most("seconds to restore all phones", self.restore_s, 3.0),
            Target::at_most("ms of the longest slice", longest, 5.0),
        ];
        if let Some(Overhead { without, with }) = &self.overhead {
            let ratios = with.iter().zip(without).map(|(with, without)| with.per_second() / without.per_second());
            targets.push(Target::at_least("throughput with snapshots / without", median(ratios.collect()), 0.95));
        }
        targets
    }
}

impl fmt::Display for SnapshotFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = format!("snapshots of {} phones with 20 events", self.phones);
        writeln!(f, "\n{head:<40}")?;
        let millions = |bytes: u64| bytes as f64 / 1e6;
        for (name, figure) in [
            ("MB, as copied", millions(self.raw_bytes)),
            ("MB, as stored", millions(self.stored_bytes)),
            ("CPU s to copy, in slices", self.copy_cpu_s),
            ("ms, the longest slice", self.longest_slice_ms),
            ("ms, the longest with a full ring", self.hot_slice_ms),
            ("CPU s to compress and check", self.pack_cpu_s),
            ("s to restore, all partitions", self.restore_s),
            ("s to decompress and insert alone", self.limit_s),
        ] {
            writeln!(f, "  {name:<38}{figure:>14.2}")?;
        }
        if let Some(Overhead { without, with }) = &self.overhead {
            for (name, rounds) in [("records/s without", without), ("records/s with, every 10 s", with)] {
                let each = median(rounds.iter().map(Stretch::per_second).collect());
                writeln!(f, "  {name:<38}{each:>14.0}")?;
            }
        }
        Ok(())
    }
}

/// Takes snapshots of `phones` phones into a folder, and restores them in processes of their own.
///
/// # Errors
/// The disk, or a child process.
pub fn measure(phones: u64) -> Result<SnapshotFigures, BenchError> {
    let folder = std::env::temp_dir().join(format!("sentra-bench-{}", std::process::id()));
    let measured = taken(phones, &folder).and_then(|mut figures| {
        figures.restore_s = restored_apart(&folder, false)?.seconds;
        figures.limit_s = restored_apart(&folder, true)?.seconds;
        Ok(figures)
    });
    // It may not have been made.
    let _ = fs::remove_dir_all(&folder);
    measured
}

fn taken(phones: u64, folder: &Path) -> Result<SnapshotFigures, BenchError> {
    let depot = open(folder)?;
    let mut figures = SnapshotFigures {
        phones,
        raw_bytes: 0,
        stored_bytes: 0,
        copy_cpu_s: 0.0,
        longest_slice_ms: 0.0,
        hot_slice_ms: 0.0,
        pack_cpu_s: 0.0,
        restore_s: f64::NAN,
        limit_s: f64::NAN,
        overhead: None,
    };
    for partition in 0..PARTITIONS {
        let habits = Habits { phones: phones.div_ceil(PARTITIONS as u64), events: EVENTS, counterparties: 8 };
        take_one(Bench::filled(habits), &depot, partition, &mut figures)?;
    }
    figures.hot_slice_ms = hot_slice_ms();
    Ok(figures)
}

fn take_one(mut bench: Bench, depot: &Depot, partition: i32, figures: &mut SnapshotFigures) -> Result<(), BenchError> {
    let state = &mut bench.partition;
    let decisions = decided(state.next());
    let head = head(partition, state);
    let mut frames = FrameWriter::new(Format::Current).map_err(BenchError::Pack)?;
    let mut upload = depot.begin(partition, 0)?;
    let mut bytes = Vec::new();
    let (mut taking, first) = Taking::begin(&head, state);
    let mut part = Some(first);
    while let Some(Part { kind, raw }) = part {
        let packing = thread_cpu_ns();
        bytes.clear();
        frames.write(kind, &raw, &mut bytes).map_err(BenchError::Pack)?;
        let packed = thread_cpu_ns();
        figures.raw_bytes += raw.len() as u64;
        figures.stored_bytes += bytes.len() as u64;
        figures.pack_cpu_s += (packed - packing) as f64 / 1e9;
        depot.append(&mut upload, &bytes)?;
        let (began, copying) = (Instant::now(), thread_cpu_ns());
        part = taking.slice(state, &decisions, SLICE);
        figures.copy_cpu_s += (thread_cpu_ns() - copying) as f64 / 1e9;
        figures.longest_slice_ms = figures.longest_slice_ms.max(began.elapsed().as_secs_f64() * 1e3);
    }
    let end = taking.end().map_or(0, |end| end.end);
    depot.publish(upload, partition, Name { end, epoch: 0 })?;
    Ok(())
}

/// The longest slice over a few phones of which one has a full ring, the median of some walks.
fn hot_slice_ms() -> f64 {
    let events = Rules::default().ring_cap as u64;
    let mut bench = Bench::filled(Habits { phones: 1, events, counterparties: 5_000 });
    let state = &mut bench.partition;
    let (decisions, head) = (decided(state.next()), head(0, state));
    let walk = |_| {
        let (mut taking, _) = Taking::begin(&head, state);
        let mut longest: f64 = 0.0;
        loop {
            let began = Instant::now();
            let part = taking.slice(state, &decisions, SLICE);
            longest = longest.max(began.elapsed().as_secs_f64() * 1e3);
            if part.is_none() {
                return longest;
            }
        }
    };
    median((0..WALKS).map(walk).collect())
}

/// Decisions about all records below `next`, as the windows' events were judged.
fn decided(next: i64) -> Decisions {
    let maker = Arc::new(Maker {
        model: String::from("measured"),
        model_version: String::from("1"),
        policy_version: POLICY_VERSION.to_owned(),
    });
    let mut decisions = Decisions::default();
    (0..next).for_each(|offset| decisions.remember(offset, decide((offset % 101) as u8), &maker));
    decisions
}

fn head(partition: i32, state: &Partition) -> Head {
    let rules = Rules::default();
    Head {
        identity: identity(partition, &rules),
        bounds: state.bounds(),
        checkpoint: Checkpoint { next: 0, epoch: 0, last: -1 },
        anchor: None,
        taken_at_ms: 0,
        version: String::from(env!("CARGO_PKG_VERSION")),
        model: String::new(),
        features_hash: rules.features_hash(),
        policy: Some(POLICY_VERSION.to_owned()),
        engine_generation: Some(GENERATION),
    }
}

/// Runs [`restore`] in a process that has allocated nothing else.
fn restored_apart(folder: &Path, from_memory: bool) -> Result<RestoreFigure, BenchError> {
    let own = std::env::current_exe().map_err(BenchError::Start)?;
    let mut command = Command::new(own);
    command.arg("bench-restore").arg("--folder").arg(folder);
    if from_memory {
        command.arg("--from-memory");
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(BenchError::Start)?;
    serde_json::from_slice(&output.stdout).map_err(|_| BenchError::NoFigure("bench-restore"))
}

/// Restores all partitions of a folder, on as many threads as there are cores; `from_memory` reads the files before
/// the clock runs.
///
/// # Errors
/// The disk, or a damaged snapshot.
pub fn restore(folder: &Path, from_memory: bool) -> Result<RestoreFigure, BenchError> {
    let depot = open(folder)?;
    let mut jobs = Vec::new();
    for partition in depot.partitions()? {
        let name = depot.list(partition)?.into_iter().next();
        let name = name.ok_or(BenchError::NoFigure("bench-restore"))?;
        let mut bytes = Vec::new();
        if from_memory {
            let keep = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok::<(), BenchError>(())
            };
            depot.read(partition, name, keep)?;
        }
        jobs.push((partition, name, bytes));
    }
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let work = || {
        let mut done = Vec::new();
        while let Some((partition, name, bytes)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut restoring = begin(*partition)?;
            if from_memory {
                restoring.feed(bytes)?;
            } else {
                depot.read(*partition, *name, |piece| restoring.feed(piece).map_err(BenchError::from))?;
            }
            done.push(restoring.finish()?);
        }
        Ok::<_, BenchError>(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let done = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().expect("a panic is this thread's too")).collect::<Vec<_>>()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut phones = 0;
    for restored in done {
        phones += restored?.iter().map(|one| one.partition.phones() as u64).sum::<u64>();
    }
    Ok(RestoreFigure { seconds, phones })
}

/// Drains `events` records with and without snapshots, `rounds` times in turn.
///
/// # Errors
/// The broker refuses, or a subject ended or stood still.
pub fn overhead(rig: &Rig, events: u64, rounds: usize, say: &mut dyn FnMut(&str)) -> Result<Overhead, BenchError> {
    let folder = std::env::temp_dir().join(format!("sentra-bench-{}-line", std::process::id()));
    let input = rig.topic("input")?;
    say(&format!("snapshots: producing {events} records"));
    load::fill(rig, &input, &sample::month(events))?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let subjects = [
            ("without", Subject::Line, &mut without),
            ("with", Subject::Snapshotting { folder: &folder, interval: INTERVAL }, &mut with),
        ];
        for (name, subject, taken) in subjects {
            let output = rig.topic("output")?;
            let stretch = {
                let mut child = Child::start(rig, subject, &input, &output)?;
                progress::watch(rig, &mut child, &output, events)?
            };
            rig.delete(&output);
            let written = bytes_below(&folder);
            say(&format!("snapshots: round {round}, {name}: {:.0}/s, {written} bytes kept", stretch.per_second()));
            taken.push(stretch);
        }
        // It may not have been made.
        let _ = fs::remove_dir_all(&folder);
    }
    rig.delete(&input);
    Ok(Overhead { without, with })
}

/// The size of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let mut open = vec![PathBuf::from(folder)];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

fn open(folder: &Path) -> Result<Depot, BenchError> {
    Ok(Depot::open(&folder.display().to_string(), "measured", "verdicts")?)
}

fn place(partition: i32) -> Place {
    Place { log: LOG, partition, partitions: PARTITIONS }
}

fn identity(partition: i32, rules: &Rules) -> SnapshotIdentity {
    SnapshotIdentity::new(&place(partition), String::from("verdicts"), rules)
}

fn begin(partition: i32) -> Result<Restoring, BenchError> {
    let rules = Rules::default();
    let own = identity(partition, &rules);
    Ok(Restoring::new(Arc::new(rules), place(partition), own)?)
}
