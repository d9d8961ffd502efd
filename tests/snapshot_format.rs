//! The format before: a snapshot that the release before wrote is restored, and what is written for it is what it wrote,
//! frame by frame. So a group of processes goes to this release, and back, without replay.
//!
//! The fixture was written by the last release of format 1, from 60 records of 7 phones on a real broker.

use std::{path::PathBuf, sync::Arc};

use sentra::{
    domain::{identity::LogId, rules::Rules, transaction::Record},
    engine::{
        checkpoint::Checkpoint,
        edition::Edition,
        partition::{Place, Step},
        snapshot::{
            Format, Frame, FrameKind, FrameReader, FrameWriter, Head, Part, Refused, Restored, Restoring,
            SnapshotIdentity, Taking,
        },
    },
};

/// The transaction topic's id, and the verdict topic's.
const LOG: &str = "4084ded4a3be4ee9b07bc55851ba44bf";
const VERDICT_LOG: &str = "06d7f332a46347d1bcd4062b5d55c499";

fn fixture() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1.snapshot");
    std::fs::read(path).expect("the fixture")
}

fn frames(bytes: &[u8]) -> Result<Vec<(Format, FrameKind, Vec<u8>)>, Refused> {
    let mut reader = FrameReader::new()?;
    reader.feed(bytes);
    let mut frames = Vec::new();
    while let Some(Frame { format, kind, raw }) = reader.frame()? {
        frames.push((format, kind, raw.to_vec()));
    }
    Ok(frames)
}

fn restore(bytes: &[u8]) -> Result<Restored, Refused> {
    let place = Place { log: LogId::from_hex(LOG).expect("an id"), partition: 0, partitions: 1 };
    let own = SnapshotIdentity::new(&place, VERDICT_LOG.to_owned(), &Rules::default());
    let mut restoring = Restoring::new(Arc::new(Rules::default()), place, own)?;
    restoring.feed(bytes)?;
    restoring.finish()
}

/// The restored state as this release's writer writes it down.
fn taken(restored: &mut Restored, head: Head, format: Format) -> Vec<u8> {
    let Restored { partition, decisions, .. } = restored;
    let (mut taking, first) = Taking::begin(&head.in_format(format), partition);
    let mut writer = FrameWriter::new(format).expect("memory");
    let mut bytes = Vec::new();
    let mut part = Some(first);
    while let Some(Part { kind, raw }) = part {
        writer.write(kind, &raw, &mut bytes).expect("zstd");
        part = taking.slice(partition, decisions, 1 << 20);
    }
    bytes
}

/// A head as this release has it.
fn whole(head: &Head) -> Head {
    Head { policy: Some(String::from("default-1")), engine_generation: Some(1), ..head.clone() }
}

#[test]
fn a_snapshot_of_the_format_before_is_restored() {
    let Restored { head, end, mut partition, decisions } = restore(&fixture()).expect("it fits");
    assert_eq!((head.bounds.next, end.end, partition.phones()), (60, 60, 7));
    assert_eq!(head.checkpoint, Checkpoint { next: 60, epoch: 0, last: 58 });
    assert_eq!((head.policy.as_deref(), head.engine_generation), (None, None), "it knew neither");
    assert_eq!(head.edition(), Edition { generation: 1, hash: head.identity.rules });
    assert_eq!(decisions.get(7).map(|made| made.maker.policy_version.as_str()), Some("default-1"));
    assert!(decisions.get(59).is_some());
    assert!(decisions.get(41).is_none(), "it could not be read");
    partition.phones_mut().caught_up();
    // The record at 53 repeats the one at 46, as any later record of that id does.
    let again = r#"{"transaction_id":"T46","amount":1722,"phone_number":"+254710000004","timestamp":"2026-03-01T13:36:00Z","device_id":"d1","location":"Nairobi"}"#;
    let record = Record { offset: 60, timestamp_ms: None, key: None, value: Some(again.as_bytes()), institution: None };
    let Step::Judged(judged) = partition.step(&record) else { panic!("it can be read") };
    assert_eq!(format!("{:?}", judged.judgement), "Duplicate { original: 46 }");
}

#[test]
fn what_is_written_for_the_release_before_is_what_it_wrote_itself() {
    let mut restored = restore(&fixture()).expect("it fits");
    let head = whole(&restored.head);
    let written = taken(&mut restored, head, Format::Previous);
    assert_eq!(frames(&written).expect("frames"), frames(&fixture()).expect("frames"));
    assert_eq!(written[..12], fixture()[..12], "mark and format");
}

#[test]
fn what_is_written_for_this_release_says_more_and_holds_the_same_state() {
    let mut restored = restore(&fixture()).expect("it fits");
    let head = whole(&restored.head);
    let written = taken(&mut restored, head.clone(), Format::Current);
    let mut again = restore(&written).expect("it fits");
    assert_eq!((&again.head, again.end), (&head, restored.end));
    let back = taken(&mut again, head, Format::Previous);
    assert_eq!(frames(&back).expect("frames"), frames(&fixture()).expect("frames"), "there and back");

    // A head of this format without what it added is none.
    let mut writer = FrameWriter::new(Format::Current).expect("memory");
    let mut bytes = Vec::new();
    for (_, kind, raw) in frames(&fixture()).expect("frames") {
        writer.write(kind, &raw, &mut bytes).expect("zstd");
    }
    assert!(matches!(restore(&bytes), Err(Refused::Damaged(why)) if why.contains("lacks")));
}

#[test]
fn another_generation_of_the_engine_is_restored_where_its_state_is_the_same_and_a_format_unknown_is_named() {
    let mut restored = restore(&fixture()).expect("it fits");
    let newer = Head { engine_generation: Some(99), ..whole(&restored.head) };
    let written = taken(&mut restored, newer, Format::Current);
    let again = restore(&written).expect("only verdicts differ");
    assert_eq!(again.head.edition().generation, 99, "which edition owned it is told all the same");

    let identity = SnapshotIdentity { generation: 2, ..restored.head.identity.clone() };
    let other = Head { identity, ..whole(&restored.head) };
    let written = taken(&mut restored, other, Format::Current);
    let refused = restore(&written).expect_err("another state").to_string();
    assert!(refused.contains("another generation of the engine's state: 2, not 1"), "{refused}");

    let mut later = fixture();
    later[8] = 3;
    let refused = restore(&later).expect_err("unknown").to_string();
    assert!(refused.contains("format is 3") && refused.contains("snapshots.format = previous"), "{refused}");
}
