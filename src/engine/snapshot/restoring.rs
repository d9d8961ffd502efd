//! Restoring a snapshot: bytes in pieces become a partition as of s0, with its phones as of their copies.

use std::sync::Arc;

use bytes::Buf;

use super::{End, Frame, FrameKind, FrameReader, Head, Refused, SnapshotIdentity};
use crate::{
    domain::rules::Rules,
    engine::{
        checkpoint::{Elsewhere, Told},
        decisions::Decisions,
        partition::{Partition, Place},
        plan::Logs,
        settle::{Settled, Settling},
    },
};

/// A snapshot being read.
pub struct Restoring {
    rules: Arc<Rules>,
    place: Place,
    own: SnapshotIdentity,
    frames: FrameReader,
    begun: Option<(Head, Partition)>,
    decisions: Decisions,
    phones: u64,
    blocks: u64,
    ended: Option<End>,
}

/// What a snapshot held. Replay goes on at the head's bounds.
#[derive(Debug)]
pub struct Restored {
    /// What it says of itself.
    pub head: Head,
    /// Its last frame.
    pub end: End,
    /// The state.
    pub partition: Partition,
    /// Decisions that duplicates may repeat.
    pub decisions: Decisions,
}

impl Restored {
    /// Whether it is what a name of this end and epoch promises.
    ///
    /// # Errors
    /// The name is another snapshot's.
    pub fn check_name(&self, end: i64, epoch: i64) -> Result<(), Refused> {
        let own = (self.end.end, self.head.checkpoint.epoch) == (end, epoch);
        if own { Ok(()) } else { Err(Refused::Damaged(String::from("its name is another snapshot's"))) }
    }

    /// Goes on reading the verdicts behind its checkpoint, in a log that begins at `start` and now ends at `end`, with its
    /// decisions, which go along, and with what the group told.
    ///
    /// # Errors
    /// It was taken beyond that end.
    pub fn settling(
        &mut self,
        told: Result<Option<Told>, Elsewhere>,
        (start, end): (i64, i64),
        log: String,
    ) -> Result<Settling, Refused> {
        let own = self.head.told();
        if own.checkpoint.next > end {
            return Err(Refused::Beyond { next: own.checkpoint.next, end });
        }
        let decisions = std::mem::take(&mut self.decisions);
        Ok(Settling::resume(own, decisions, start, log).knowing(told, end))
    }

    /// The state to replay from, where it fits the logs: `settled` is what the verdicts behind the head's checkpoint say.
    ///
    /// # Errors
    /// It holds records whose verdicts do not count.
    pub fn fit(self, settled: &Settled, logs: &Logs) -> Result<Partition, Refused> {
        let Self { head, end, mut partition, .. } = self;
        let last = settled.last.unwrap_or(-1);
        if end.end > last + 1 {
            return Err(Refused::Ahead { end: end.end, last });
        }
        if logs.input_start > head.bounds.next {
            // Records from the walk's begin on are gone: histories may miss them.
            partition.go_on_at(logs.input_start);
        }
        Ok(partition)
    }
}

impl Restoring {
    /// Begins to read a snapshot that must be `own`.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new(rules: Arc<Rules>, place: Place, own: SnapshotIdentity) -> Result<Self, Refused> {
        let frames = FrameReader::new()?;
        let decisions = Decisions::default();
        Ok(Self { rules, place, own, frames, begun: None, decisions, phones: 0, blocks: 0, ended: None })
    }

    /// Takes the next piece of its bytes.
    ///
    /// # Errors
    /// It is damaged, of another format, of another partition or log, or taken under other rules.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let Self { rules, place, own, frames, begun, decisions, phones, blocks, ended } = self;
        frames.feed(piece);
        while let Some(Frame { format, kind, mut raw }) = frames.frame()? {
            if ended.is_some() {
                return Err(Refused::goes_on());
            }
            match (kind, begun.as_mut()) {
                (FrameKind::Head, None) => {
                    let head = Head::read(raw, format)?;
                    head.identity.check(own)?;
                    let partition = Partition::bounded(Arc::clone(rules), place.clone(), head.bounds);
                    *begun = Some((head, partition));
                    raw = &[];
                }
                (FrameKind::Phones, Some((_, partition))) => {
                    let count = raw.try_get_u32_le().map_err(|_| too_short())?;
                    for _ in 0..count {
                        partition.phones_mut().restore(&mut raw, rules)?;
                    }
                    *phones += u64::from(count);
                }
                (FrameKind::Decisions, Some(_)) => *blocks += u64::from(decisions.restore(&mut raw)?),
                (FrameKind::End, Some(_)) => {
                    *ended = Some(read_json(raw)?);
                    raw = &[];
                }
                _ => return Err(Refused::in_disorder()),
            }
            if !raw.is_empty() {
                return Err(Refused::Damaged(String::from("a frame holds more than it should")));
            }
        }
        Ok(())
    }

    /// Ends the reading: everything was fed.
    ///
    /// # Errors
    /// It is cut off, or holds less or more than it says.
    pub fn finish(self) -> Result<Restored, Refused> {
        let Self { frames, begun, decisions, phones, blocks, ended, .. } = self;
        let ((head, partition), end) = begun.zip(ended).ok_or_else(too_short)?;
        if !frames.is_used_up() {
            return Err(Refused::goes_on());
        }
        if (end.phones, end.blocks) != (phones, blocks) || end.end < head.bounds.next {
            return Err(Refused::Damaged(String::from("it holds something else than it says")));
        }
        Ok(Restored { head, end, partition, decisions })
    }
}

pub(super) fn read_json<'a, T: serde::Deserialize<'a>>(raw: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(raw).map_err(|error| Refused::Damaged(error.to_string()))
}

pub(super) fn too_short() -> Refused {
    Refused::Damaged(String::from("it is cut off"))
}
