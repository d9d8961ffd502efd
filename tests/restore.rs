//! Snapshots on a real broker: a killed process's successor begins with the newest one that fits and replays only what
//! follows; a damaged or foreign one is named and passed over; the accepted verdicts never tell the difference.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{
    delete_records,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, Record, await_written, ends, timeless},
};
use sentra::engine::snapshot::{Frame, FrameKind, FrameReader, FrameWriter, Head};

const PATIENCE: Duration = Duration::from_secs(90);

const PARTITIONS: i32 = 2;

fn setup(topics: &Topics, location: &Path) -> Setup {
    Setup::new(topics)
        .with("SENTRA__SNAPSHOTS__LOCATION", &location.display().to_string())
        .with("SENTRA__SNAPSHOTS__INTERVAL", "1s")
        .with("SENTRA__VERDICT__FEATURES", "true")
}

/// A partition's published snapshots, oldest first.
fn snapshots(location: &Path, partition: i32) -> Vec<PathBuf> {
    let Some(log) = fs::read_dir(location).ok().and_then(|mut logs| logs.next()) else { return Vec::new() };
    let folder = log.expect("readable").path().join(partition.to_string());
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = found.map(|entry| entry.expect("readable").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "snapshot"));
    found.sort();
    found
}

/// Transactions, each tenth of them sent again later, so that decisions matter too.
struct Traffic<'t> {
    topics: &'t Topics,
    sender: Sender,
    sent: u32,
}

impl Traffic<'_> {
    fn send(&mut self, records: u32) {
        let one = |number: u32| match number {
            again if number % 10 == 9 && number > 100 => good((again - 95) % 300, &format!("T{}", again - 95)),
            new => good(new % 300, &format!("T{new}")),
        };
        let records: Vec<Sent> = (self.sent..self.sent + records).map(one).collect();
        self.sent += records.len() as u32;
        self.sender.send_all(&self.topics.transactions, records.iter());
    }

    /// Sends until every partition has a new snapshot, and two in all.
    fn until_snapshots(&mut self, location: &Path) {
        let newest = |partition| snapshots(location, partition).pop();
        let before: Vec<_> = (0..PARTITIONS).map(newest).collect();
        soon("new snapshots of both partitions", || {
            self.send(40);
            let fresh = |partition: i32| newest(partition) > before[partition as usize];
            (0..PARTITIONS).all(|partition| fresh(partition) && snapshots(location, partition).len() == 2)
        });
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a snapshot");
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}

/// What counts of each partition, without what may differ between two runs.
fn accepted(topics: &Topics) -> Vec<Vec<Vec<u8>>> {
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    let ends = ends(&topics.transactions, PARTITIONS);
    let mut readings: Vec<Reading> = (0..PARTITIONS).map(|_| Reading::default()).collect();
    follower.read_until(PATIENCE, "every verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    let partitions = readings.iter().zip(&follower.records).zip(ends).enumerate();
    let timeless = |(partition, ((reading, records), end)): (usize, ((&Reading, &Vec<Record>), i64))| {
        reading.assert_exact(partition, end);
        let bytes = |index: usize| timeless(records[index].value.as_deref().expect("a value"));
        reading.accepted.iter().map(|(_, index)| bytes(*index)).collect()
    };
    partitions.map(timeless).collect()
}

#[test]
fn whatever_becomes_of_process_and_snapshots_the_verdicts_are_those_of_an_undisturbed_run() {
    let topics = Topics::create("restore", PARTITIONS);
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().join("snapshots");
    let mut traffic = Traffic { topics: &topics, sender: Sender::default(), sent: 0 };
    let start = |setup: Setup| {
        let process = setup.start();
        process.await_running(PARTITIONS, PATIENCE);
        process
    };

    let first = start(setup(&topics, &location));
    traffic.send(6_000);
    traffic.until_snapshots(&location);
    assert_eq!(first.metric("sentra_snapshots_failed_total"), Some(0.0), "{}", first.log());
    first.kill();

    traffic.send(500);
    let second = start(setup(&topics, &location));
    assert_eq!(second.lines("snapshot restored").len(), 2, "{}", second.log());
    assert!(second.replayed() < 5_000, "it replays only what follows: {}", second.log());
    traffic.until_snapshots(&location);
    second.kill();

    // The newest of one partition is damaged: the one before it is restored.
    flip(&snapshots(&location, 0)[1], 700);
    let third = start(setup(&topics, &location));
    let refused = third.lines("snapshot not restored");
    assert_eq!((refused.len(), third.lines("snapshot restored").len()), (1, 2), "{}", third.log());
    assert!(refused[0].to_string().contains("checksum"), "{refused:?}");
    traffic.until_snapshots(&location);
    third.kill();

    // All of one partition are damaged: its log is replayed.
    for (at, path) in snapshots(&location, 1).iter().enumerate() {
        flip(path, 5 + at * 2_000);
    }
    let fourth = start(setup(&topics, &location));
    assert_eq!(fourth.lines("snapshot restored").len(), 1, "{}", fourth.log());
    assert_eq!(fourth.lines("snapshot not restored").len(), 2, "{}", fourth.log());
    traffic.send(1_000);
    drop(fourth);

    // Under other windows none of them fits, and each says so.
    let deliberate = || setup(&topics, &location).with("SENTRA__SCORE__TAKE_OVER", "true");
    let changed = start(deliberate().with("SENTRA__TIME__FORGET", "90d"));
    assert!(changed.lines("snapshot restored").is_empty(), "{}", changed.log());
    assert!(changed.log().contains("other settings of [time] or [windows]"), "{}", changed.log());
    drop(changed);

    let again = topics.again("undisturbed");
    let undisturbed =
        Setup::new(&again).with("SENTRA__SNAPSHOTS__LOCATION", "off").with("SENTRA__VERDICT__FEATURES", "true");
    let reference = start(undisturbed);
    let last = start(deliberate());
    let (disturbed, expected) = (accepted(&topics), accepted(&again));
    let duplicates =
        expected.iter().flatten().filter(|verdict| String::from_utf8_lossy(verdict).contains("\"duplicate\"")).count();
    assert!(duplicates > 500, "only {duplicates} duplicates");
    assert!(disturbed == expected, "the accepted verdicts differ");
    drop((reference, last));
}

/// Writes the snapshot anew as if it had been taken behind another record; that one's offset.
fn set_upon_another_record(path: &Path) -> i64 {
    let mut reader = FrameReader::new().expect("memory");
    reader.feed(&fs::read(path).expect("a snapshot"));
    let (mut bytes, mut writer, mut offset) = (Vec::new(), None, -1);
    while let Some(Frame { format, kind, raw }) = reader.frame().expect("undamaged") {
        let mut raw = raw.to_vec();
        if kind == FrameKind::Head {
            let mut head: Head = serde_json::from_slice(&raw).expect("a head");
            let anchor = head.anchor.as_mut().expect("an anchor");
            anchor.checksum = 0xDEAD_BEEF;
            offset = anchor.offset;
            raw = serde_json::to_vec(&head).expect("JSON");
        }
        let writer = writer.get_or_insert_with(|| FrameWriter::new(format).expect("memory"));
        writer.write(kind, &raw, &mut bytes).expect("zstd");
    }
    fs::write(path, bytes).expect("written");
    offset
}

#[test]
fn a_snapshot_taken_behind_another_record_is_passed_over_and_one_whose_record_is_deleted_is_not() {
    let topics = Topics::create("anchor", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().join("snapshots");
    let mut traffic = Traffic { topics: &topics, sender: Sender::default(), sent: 0 };
    let start = || {
        let process = setup(&topics, &location).start();
        process.await_running(1, PATIENCE);
        process
    };
    let first = start();
    soon("two snapshots", || {
        traffic.send(40);
        snapshots(&location, 0).len() == 2
    });
    first.kill();
    let newest = snapshots(&location, 0).pop().expect("the newest");
    let offset = set_upon_another_record(&newest);
    let second = start();
    let refused = second.lines("snapshot not restored");
    assert!(refused.len() == 1 && refused[0].to_string().contains("the log is another one"), "{refused:?}");
    assert_eq!(second.lines("snapshot restored").len(), 1, "the one before: {}", second.log());
    second.kill();

    // Retention took the record it was taken behind: the topic's id speaks for it.
    assert_eq!(snapshots(&location, 0).pop(), Some(newest), "nothing came meanwhile, so there is no newer one");
    delete_records(&topics.transactions, 0, offset + 1);
    let third = start();
    assert_eq!(third.lines("snapshot restored").len(), 1, "{}", third.log());
    assert!(third.lines("snapshot not restored").is_empty(), "{}", third.log());
}

#[test]
fn replay_that_comes_to_other_features_than_the_newest_verdict_is_told() {
    let topics = Topics::create("witness", 1);
    let sent: Vec<Sent> = (0..300).map(|number| good(number % 20, &format!("T{number}"))).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    let off = || Setup::new(&topics).with("SENTRA__SNAPSHOTS__LOCATION", "off");
    let first = off().start();
    first.await_running(1, PATIENCE);
    await_written(&topics, 300);
    first.kill();
    let same = off().start();
    same.await_running(1, PATIENCE);
    assert_eq!(same.metric("sentra_replay_mismatches_total"), Some(0.0), "{}", same.log());
    same.kill();
    // Another local time gives other features; state is not touched by it.
    let other = off().with("SENTRA__TIME__UTC_OFFSET", "+09:00").start();
    other.await_running(1, PATIENCE);
    assert_eq!(other.metric("sentra_replay_mismatches_total"), Some(1.0), "{}", other.log());
    assert!(other.log().contains("replay differs from the verdict"), "{}", other.log());
}
