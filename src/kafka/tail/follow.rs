//! What a follower knows of the partitions it reads: a reader's rule each, and where each one ends.
//!
//! Invariant: a record is judged once, in offset order, and none at or beyond a fixed end. Pure: it says what is to
//! be done with the consumer, and does not do it.

use super::{Position, Span, Until};
use crate::{
    domain::verdict::{Head, Kind},
    engine::rule::{Fate, Reader, Record},
};

/// What has been judged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Verdicts that counted.
    pub accepted: u64,
    /// Those among them and among records of lost input whose chain was broken: verdicts are missing before them.
    pub gaps: u64,
    /// Zombies' verdicts.
    pub ignored: u64,
    /// Owner records.
    pub owners: u64,
    /// Records of lost input.
    pub lost: u64,
    /// Records of an unknown shape.
    pub unknown: u64,
}

/// What is to be done after a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the record was read for e alone, or was judged before.
    Pass,
    /// The verdict of this input offset counts.
    Accepted { source: i64, epoch: i64, gap: bool },
    /// Input up to this offset was lost.
    Lost { source: i64, gap: bool },
    /// A zombie's.
    Ignored,
    /// An owner record.
    Owner,
    /// An unknown shape.
    Unknown,
    /// Read on from this offset.
    GoBack(i64),
    /// The partition's fixed end is reached; the record was not judged.
    Ended,
    /// The verdict is of another log than the position.
    OtherLog { found: String, expected: String },
}

/// One partition being followed.
pub(super) struct Track {
    pub(super) partition: i32,
    pub(super) reader: Reader,
    /// Where reading is over, if anywhere.
    pub(super) end: Option<i64>,
    pub(super) ended: bool,
    /// The verdict for whose e the reader went back, until it is reached again.
    pub(super) back_to: Option<i64>,
}

/// All partitions being followed, from 0 on.
pub(super) struct Follow {
    pub(super) tracks: Vec<Track>,
    pub(super) counts: Counts,
    /// The log that the positions name, or else the first verdict.
    pub(super) log: Option<[u8; 4]>,
    /// Whether another log is refused: a position named this one.
    pinned: bool,
    /// Whether some partition's next offset was not in its log, and it is not known yet which and why.
    pub(super) suspect: bool,
}

impl Follow {
    pub(super) fn new(log: Option<[u8; 4]>, starts: &[(Position, Span)], until: Until) -> Self {
        let tracks = starts.iter().map(|(position, span)| Track::new(position, *span, until)).collect();
        Self { tracks, counts: Counts::default(), log, pinned: log.is_some(), suspect: false }
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.tracks.iter().map(Track::position).collect()
    }

    /// Judges the record at `offset`.
    pub(super) fn take(&mut self, partition: i32, offset: i64, value: &[u8]) -> Step {
        let Some(track) = usize::try_from(partition).ok().and_then(|at| self.tracks.get_mut(at)) else {
            return Step::Pass;
        };
        if track.ended || offset < track.reader.next() {
            return Step::Pass;
        }
        if track.end.is_some_and(|end| offset >= end) {
            return Step::Ended;
        }
        let head = Head::parse(value);
        let record = Record::of(head.as_ref());
        let fate = track.reader.take(offset, record);
        if track.back_to.is_some_and(|verdict| offset >= verdict) {
            track.back_to = None;
        }
        let counts = &mut self.counts;
        match (fate, record, head) {
            (Fate::Accepted { gap }, Record::Verdict { source, epoch, .. }, Some(head)) => {
                let expected = *self.log.get_or_insert_with(|| short(&head.source.log));
                if self.pinned && short(&head.source.log) != expected {
                    let expected = expected.iter().map(|byte| format!("{byte:02x}")).collect();
                    return Step::OtherLog { found: head.source.log.into_owned(), expected };
                }
                counts.gaps += u64::from(gap);
                if head.kind == Kind::Lost.as_str() {
                    counts.lost += 1;
                    return Step::Lost { source, gap };
                }
                counts.accepted += 1;
                Step::Accepted { source, epoch, gap }
            }
            (Fate::Ignored, ..) => {
                counts.ignored += 1;
                Step::Ignored
            }
            (Fate::Owner, ..) => {
                counts.owners += 1;
                Step::Owner
            }
            (Fate::GoBack { to }, ..) => {
                track.back_to = Some(offset);
                Step::GoBack(to)
            }
            (Fate::Unknown, ..) if track.back_to.is_none() => {
                counts.unknown += 1;
                Step::Unknown
            }
            (Fate::Before | Fate::Unknown | Fate::Accepted { .. }, ..) => Step::Pass,
        }
    }
}

impl Track {
    fn new(position: &Position, span: Span, until: Until) -> Self {
        let reader = Reader::new(position.next, position.epoch, span.start).after(position.last);
        let end = (until == Until::End).then_some(span.end);
        let ended = end.is_some_and(|end| position.next >= end);
        Self { partition: position.partition, reader, end, ended, back_to: None }
    }

    /// Where to go on: while the reader is back for its e, that is the verdict it went back for.
    fn position(&self) -> Position {
        let Self { partition, reader, .. } = self;
        match self.back_to {
            Some(verdict) => Position { partition: *partition, next: verdict, epoch: None, last: reader.last() },
            None => Position { partition: *partition, next: reader.next(), epoch: reader.epoch(), last: reader.last() },
        }
    }
}

/// A log's short id as bytes; text that is none (which the schema excludes) becomes its hash, so that it compares.
fn short(log: &str) -> [u8; 4] {
    let hash = || xxhash_rust::xxh3::xxh3_64(log.as_bytes()) as u32;
    let number = if log.len() == 8 { u32::from_str_radix(log, 16).unwrap_or_else(|_| hash()) } else { hash() };
    number.to_be_bytes()
}
