//! The reader's rule (C1.4): one integer a partition, e, makes every reader see each transaction's verdict exactly
//! once and in order, whatever zombies write.
//!
//! An owner record at offset P sets e = P. A verdict whose epoch is below e is ignored; otherwise e becomes its epoch
//! and the verdict counts. A reader that joins in the middle without e first reads on from the offset that the first
//! verdict's epoch names, counting nothing before its start.

use crate::domain::verdict::Head;

/// What a record of the verdict topic is to the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A new owner; its epoch is the offset it stands at.
    Owner,
    /// A verdict of the writer with this epoch, about this input offset.
    Verdict {
        /// The writer's epoch.
        epoch: i64,
        /// The input offset judged.
        source: i64,
        /// The input offset of the verdict before it in the chain.
        previous: i64,
    },
    /// Of a shape this version does not know: skipped and counted.
    Unknown,
}

impl Record {
    /// Reads what the rule needs of a record's head.
    pub fn of(head: Option<&Head<'_>>) -> Self {
        let Some(head) = head else { return Self::Unknown };
        if head.kind == "owner" {
            return Self::Owner;
        }
        match (head.source.epoch, head.source.offset, head.source.previous_offset) {
            (Some(epoch), Some(source), Some(previous)) => Self::Verdict { epoch, source, previous },
            _ => Self::Unknown,
        }
    }
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The verdict counts. `gap` tells that its `previous_offset` is not the last one that counted.
    Accepted {
        /// Whether verdicts are missing before it.
        gap: bool,
    },
    /// A zombie's: ignored.
    Ignored,
    /// An owner record: no transaction.
    Owner,
    /// An unknown shape: skipped.
    Unknown,
    /// Before the reader's start: read only to learn e.
    Before,
    /// The reader has no e yet: read from this offset first (where the log still has it), then come back.
    GoBack {
        /// Where to read from.
        to: i64,
    },
}

/// A reader's place in one verdict partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Verdicts below this offset do not count.
    start: i64,
    /// The next offset to read.
    next: i64,
    /// e, once known.
    epoch: Option<i64>,
    /// The input offset of the verdict that counted last, once one did.
    last: Option<i64>,
    /// The first offset the log still has, as far as the reader knows.
    log_start: i64,
}

impl Reader {
    /// A reader that begins at `start` and knows e (a stored position), or does not.
    pub fn new(start: i64, epoch: Option<i64>, log_start: i64) -> Self {
        Self { start, next: start, epoch, last: None, log_start }
    }

    /// The same, knowing which input offset counted last, so that a gap right at the start is seen.
    pub fn after(self, last: Option<i64>) -> Self {
        Self { last, ..self }
    }

    /// The next offset to read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// e, once known.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// The input offset of the verdict that counted last.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// Takes the record at `offset`; offsets never fall, but after [`Fate::GoBack`], which the caller follows by
    /// reading from there.
    pub fn take(&mut self, offset: i64, record: Record) -> Fate {
        self.next = offset + 1;
        let counts = offset >= self.start;
        match record {
            Record::Unknown => Fate::Unknown,
            Record::Owner => {
                self.epoch = Some(offset);
                if counts { Fate::Owner } else { Fate::Before }
            }
            Record::Verdict { epoch, source, previous } => match self.epoch {
                None if epoch < offset && epoch >= self.log_start => {
                    self.start = self.start.max(offset);
                    self.next = epoch;
                    self.log_start = i64::MAX;
                    Fate::GoBack { to: epoch }
                }
                Some(known) if epoch < known => {
                    if counts {
                        Fate::Ignored
                    } else {
                        Fate::Before
                    }
                }
                _ => {
                    self.epoch = Some(epoch);
                    if !counts {
                        return Fate::Before;
                    }
                    let gap = self.last.is_some_and(|last| last != previous);
                    self.last = Some(source);
                    Fate::Accepted { gap }
                }
            },
        }
    }
}
