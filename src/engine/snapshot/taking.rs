//! Taking a snapshot: the walk over a live partition's state, a slice at a time.

use super::{End, FrameKind, Head};
use crate::engine::{decisions::Decisions, partition::Partition};

/// A slice of a snapshot, not yet compressed.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub kind: FrameKind,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// A walk under way. Between two slices the partition goes on.
#[derive(Debug)]
pub struct Taking {
    stage: Stage,
    phones: u64,
    blocks: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Phones,
    Decisions { from: i64 },
    Ending,
    Done(End),
}

impl Taking {
    /// Begins a walk over `partition`, whose bounds are the head's: the first part, and the walk.
    pub fn begin(head: &Head, partition: &mut Partition) -> (Self, Part) {
        let raw = serde_json::to_vec(head).expect("a head has nothing that JSON cannot hold");
        partition.phones_mut().begin_copying();
        let taking = Self { stage: Stage::Phones, phones: 0, blocks: 0 };
        (taking, Part { kind: FrameKind::Head, raw })
    }

    /// The next part, of about `bytes`; the last one is of kind [`FrameKind::End`], after it there is `None`.
    pub fn slice(&mut self, partition: &mut Partition, decisions: &Decisions, bytes: usize) -> Option<Part> {
        let mut raw = Vec::with_capacity(bytes + bytes / 8);
        let kind = match self.stage {
            Stage::Phones => {
                let next = partition.next();
                // Room for the count, which is known last.
                raw.extend_from_slice(&[0; 4]);
                let (count, done) = partition.phones_mut().copy(next, bytes, &mut raw);
                raw[..4].copy_from_slice(&count.to_le_bytes());
                self.phones += u64::from(count);
                if done {
                    self.stage = Stage::Decisions { from: i64::MIN };
                }
                FrameKind::Phones
            }
            Stage::Decisions { from } => {
                let (count, next) = decisions.copy(from, bytes, &mut raw);
                self.blocks += u64::from(count);
                self.stage = next.map_or(Stage::Ending, |from| Stage::Decisions { from });
                FrameKind::Decisions
            }
            Stage::Ending => {
                let end = End { end: partition.next(), phones: self.phones, blocks: self.blocks };
                raw = serde_json::to_vec(&end).expect("an end has nothing that JSON cannot hold");
                self.stage = Stage::Done(end);
                FrameKind::End
            }
            Stage::Done(_) => return None,
        };
        Some(Part { kind, raw })
    }

    /// What the last part said, once it was given.
    pub fn end(&self) -> Option<End> {
        match self.stage {
            Stage::Done(end) => Some(end),
            _ => None,
        }
    }

    /// Ends a walk that will not be finished.
    pub fn stop(partition: &mut Partition) {
        partition.phones_mut().stop_copying();
    }
}
