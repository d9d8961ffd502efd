//! Whose an outcome is, and that no walk goes on for nobody.

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    domain::{identity::LogId, rules::Rules, transaction::Record},
    engine::{chain::Chain, checkpoint::Checkpoint, partition::Place, snapshot::Format},
};

const PARTITION: i32 = 3;

fn live(generation: usize) -> Slot {
    let place = Place { log: LogId([7; 16]), partition: PARTITION, partitions: 4 };
    let mut slot = Slot::new(PARTITION, generation);
    slot.stage = Stage::Live;
    slot.engine = Some(Partition::new(Arc::new(Rules::default()), place, 0));
    slot.chain = Some(Chain::starting(0));
    slot
}

fn slots(slot: Slot) -> Slots {
    let mut slots = Slots::default();
    slots.insert(PARTITION, slot);
    slots
}

fn snapshots(folder: &Path) -> Snapshots {
    let depot = Depot::open(&folder.display().to_string(), "log", "verdicts").expect("a folder");
    Snapshots {
        writer: SnapshotWriter::start(0, depot, Format::Current).expect("a thread"),
        interval: Duration::from_secs(60),
        verdict_log: String::from("verdicts"),
        due: HashMap::new(),
        current: None,
    }
}

/// Begins a snapshot of the slot, as [`Snapshots::begin`] does for one that is due.
fn begin(snapshots: &mut Snapshots, slot: &mut Slot) -> u64 {
    let engine = slot.engine.as_mut().expect("state");
    let head = Head {
        identity: SnapshotIdentity {
            log: String::new(),
            verdict_log: String::new(),
            partition: PARTITION,
            partitions: 4,
            generation: 1,
            rules: 0,
        },
        bounds: engine.bounds(),
        checkpoint: Checkpoint { next: 1, epoch: 0, last: -1 },
        anchor: None,
        taken_at_ms: 0,
        version: String::new(),
        model: String::new(),
        features_hash: 0,
        policy: None,
        engine_generation: None,
    };
    let number = loop {
        if let Some(number) = snapshots.writer.begin(PARTITION, 0) {
            break number;
        }
    };
    let (taking, part) = Taking::begin(&head, engine);
    let now = Instant::now();
    snapshots.current = Some(Current {
        number,
        partition: PARTITION,
        generation: slot.generation,
        epoch: 0,
        begun: now,
        from: 0,
        taking,
        waiting: Some(part),
        resume: now,
        asked: false,
    });
    number
}

fn written(telemetry: &Telemetry) -> bool {
    telemetry.render().contains("sentra_snapshots_written_total 1")
}

#[test]
fn the_outcome_of_a_snapshot_whose_ownership_is_over_is_not_credited_to_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut snapshots, telemetry) = (snapshots(folder.path()), Telemetry::new(1));
    // The first was asked for, and then its ownership ended: nobody waits for it.
    begin(&mut snapshots, &mut live(1));
    let name = Name { end: 5, epoch: 0 };
    while !snapshots.writer.publish(name) {}
    snapshots.current = None;
    // The second cannot be published yet: a verdict below its end is under way.
    let mut slot = live(2);
    slot.inflight.push_back(-1);
    let number = begin(&mut snapshots, &mut slot);
    let mut slots = slots(slot);
    let published = folder.path().join("log-verdicts").join(PARTITION.to_string()).join(name.to_string());
    let until = Instant::now() + Duration::from_secs(30);
    while !published.exists() {
        assert!(Instant::now() < until, "the first is not published");
        snapshots.pursue(&mut slots, &telemetry);
    }
    // The writer tells right after that.
    for _ in 0..100 {
        snapshots.pursue(&mut slots, &telemetry);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!written(&telemetry), "nothing that anyone waits for was written");
    assert_eq!(snapshots.current.as_ref().map(|current| current.number), Some(number), "the second is under way");
    // Once nothing is under way any more, it counts.
    slots.get_mut(&PARTITION).expect("the slot").inflight.clear();
    while !written(&telemetry) {
        assert!(Instant::now() < until, "the second is not published");
        snapshots.pursue(&mut slots, &telemetry);
    }
    assert!(snapshots.current.is_none());
}

#[test]
fn a_walk_whose_ownership_ends_leaves_nothing_that_goes_on_copying() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut snapshots, telemetry) = (snapshots(folder.path()), Telemetry::new(1));
    let mut slot = live(1);
    let engine = slot.engine.as_mut().expect("state");
    let text =
        br#"{"transaction_id":"T1","amount":20,"phone_number":"+254710000001","timestamp":"2026-03-01T06:00:00Z"}"#;
    let record = Record { offset: 0, timestamp_ms: None, key: None, value: Some(text), institution: None };
    drop(engine.step(&record));
    assert_eq!(engine.phones(), 1);
    begin(&mut snapshots, &mut slot);
    slot.stage = Stage::Refused;
    let mut slots = slots(slot);
    let until = Instant::now() + Duration::from_secs(30);
    while snapshots.current.is_some() {
        assert!(Instant::now() < until, "the snapshot is not given up");
        snapshots.pursue(&mut slots, &telemetry);
    }
    let engine = slots.get_mut(&PARTITION).and_then(|slot| slot.engine.as_mut()).expect("state");
    assert_eq!(engine.phones_mut().copy(1, 1 << 20, &mut Vec::new()), (0, true), "no copy is under way");
}
