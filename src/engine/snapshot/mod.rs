//! Snapshots of one partition: its state as bytes, so that recovery need not replay the log from its start.
//!
//! ```text
//! Taking: head ─► copies of phones ─► decisions ─► end     slices between batches, records go on entering
//!           └── as of s0        └── each with the offset it was made at   └── s1
//! Restoring: head ─► … ─► end ─► replay from s0: bounds advance with every record, a phone skips what its copy holds
//! ```
//!
//! Invariant: what is restored and then replayed from s0 to any offset at or beyond s1 equals the state that never
//! was interrupted. Damage, another log and other rules are refused by name. Where bytes are kept, when a snapshot is
//! due and when it may count are not decided here.

mod choosing;
mod frames;
mod restoring;
mod summary;
mod taking;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    STATE_GENERATION,
    checkpoint::{Checkpoint, Told},
    edition::Edition,
    partition::{Bounds, Place},
};
use crate::domain::{rules::Rules, stored::Damaged};

pub use choosing::newest_that_fits;
pub use frames::{Format, Frame, FrameKind, FrameReader, FrameWriter};
pub use restoring::{Restored, Restoring};
pub use summary::{Summary, Summing};
pub use taking::{Part, Taking};

/// All that a snapshot says besides its phones and decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose state it is.
    pub identity: SnapshotIdentity,
    /// What is not per phone, as of s0, the next offset then.
    pub bounds: Bounds,
    /// What was acknowledged of the verdicts then; `None` before the first owner record.
    pub checkpoint: Checkpoint,
    /// The record before s0.
    pub anchor: Option<Anchor>,
    /// When the walk began, milliseconds since 1970. Tells age, decides nothing.
    pub taken_at_ms: i64,
    /// The version of Sentra that wrote it.
    pub version: String,
    /// The model served then, `name/version`.
    pub model: String,
    /// [`Rules::features_hash`] then: another one does not matter to state.
    pub features_hash: u64,
    /// The policy's version then; format 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// [`super::GENERATION`] of the engine that wrote it; format 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_generation: Option<u32>,
}

impl Head {
    /// What of it a snapshot of that format holds.
    pub fn in_format(self, format: Format) -> Self {
        match format {
            Format::Previous => Self { policy: None, engine_generation: None, ..self },
            Format::Current => self,
        }
    }

    /// Reads the first frame, once it is there.
    ///
    /// # Errors
    /// The bytes are no snapshot, of another format, or damaged.
    pub fn first_of(frames: &mut FrameReader) -> Result<Option<Self>, Refused> {
        match frames.frame()? {
            None => Ok(None),
            Some(Frame { format, kind: FrameKind::Head, raw }) => Self::read(raw, format).map(Some),
            Some(_) => Err(Refused::in_disorder()),
        }
    }

    fn read(raw: &[u8], format: Format) -> Result<Self, Refused> {
        let head: Self = restoring::read_json(raw)?;
        let is_whole = head.policy.is_some() && head.engine_generation.is_some();
        if format == Format::Current && !is_whole {
            return Err(Refused::Damaged(String::from("its head lacks what its format asks for")));
        }
        Ok(head)
    }

    /// The edition of the engine that owned the partition then. As long as format 1 was written, the state's generation
    /// was the engine's.
    pub fn edition(&self) -> Edition {
        let generation = self.engine_generation.unwrap_or(self.identity.generation);
        Edition { generation, hash: self.identity.rules }
    }

    /// The anchor, where a log that begins at `log_start` still has it: one that retention took, of an idle topic say,
    /// tells nothing, and the snapshot is taken at the topic id's word.
    pub fn anchor_in(&self, log_start: i64) -> Option<Anchor> {
        self.anchor.filter(|anchor| anchor.offset >= log_start)
    }

    /// Its checkpoint, and whose that is.
    pub fn told(&self) -> Told {
        Told { checkpoint: self.checkpoint, edition: Some(self.edition()) }
    }
}

/// What must be equal for a snapshot to be this partition's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotIdentity {
    /// The transaction topic's id, 32 hex digits.
    pub log: String,
    /// The verdict topic's id, 32 hex digits.
    pub verdict_log: String,
    /// The partition.
    pub partition: i32,
    /// How many the topic has.
    pub partitions: i32,
    /// [`STATE_GENERATION`] of the engine that wrote it.
    pub generation: u32,
    /// [`Rules::state_hash`].
    pub rules: u64,
}

impl SnapshotIdentity {
    /// The identity of the state that this engine keeps of a partition.
    pub fn new(place: &Place, verdict_log: String, rules: &Rules) -> Self {
        let Place { partition, partitions, .. } = *place;
        let log = place.log.hex();
        Self { log, verdict_log, partition, partitions, generation: STATE_GENERATION, rules: rules.state_hash() }
    }

    /// Whether `self`, found in a snapshot, is `own`.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn check(&self, own: &Self) -> Result<(), Refused> {
        let differs = |what, found: String, own: String| Err(Refused::Foreign { what, found, own });
        if self.log != own.log {
            return differs("transaction topic", self.log.clone(), own.log.clone());
        }
        if self.verdict_log != own.verdict_log {
            return differs("verdict topic", self.verdict_log.clone(), own.verdict_log.clone());
        }
        if (self.partition, self.partitions) != (own.partition, own.partitions) {
            let tell = |of: &Self| format!("{} of {}", of.partition, of.partitions);
            return differs("partition", tell(self), tell(own));
        }
        if self.generation != own.generation {
            return differs(
                "generation of the engine's state",
                self.generation.to_string(),
                own.generation.to_string(),
            );
        }
        if self.rules != own.rules {
            return Err(Refused::Rules);
        }
        Ok(())
    }
}

/// The last record before s0: it tells one log from another of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, milliseconds; -1 where it has none.
    pub timestamp_ms: i64,
    /// CRC32C over its key and value.
    pub checksum: u32,
}

impl Anchor {
    /// Whether it is the record that was found at its offset.
    ///
    /// # Errors
    /// Another one is there, or none.
    pub fn check(self, found: Option<Self>) -> Result<(), Refused> {
        if found == Some(self) { Ok(()) } else { Err(Refused::Anchor { offset: self.offset }) }
    }

    /// The anchor that a record is.
    pub fn of(offset: i64, timestamp_ms: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(key.unwrap_or_default()), value.unwrap_or_default());
        Self { offset, timestamp_ms: timestamp_ms.unwrap_or(-1), checksum }
    }
}

/// The last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// s1: the next offset when the walk ended.
    pub end: i64,
    /// Copies of phones written.
    pub phones: u64,
    /// Blocks of decisions written.
    pub blocks: u64,
}

/// Why a snapshot is not restored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It does not begin as one.
    #[error("it is no snapshot of Sentra")]
    NotASnapshot,
    /// Another version wrote it.
    #[error(
        "its format is {found}, and this version reads formats {} and {}; before a return to an older version, run the \
         newer one with snapshots.format = previous",
        Format::Previous.number(), Format::Current.number()
    )]
    Format {
        /// The format it names.
        found: u32,
    },
    /// Bytes were changed, cut or added.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is of something else.
    #[error("it is of another {what}: {found}, not {own}")]
    Foreign {
        /// What differs.
        what: &'static str,
        /// What the snapshot says.
        found: String,
        /// What it should say.
        own: String,
    },
    /// Windows or times are set otherwise now.
    #[error("it was taken under other settings of [time] or [windows], or with another table of places")]
    Rules,
    /// It holds records whose verdicts do not count.
    #[error("it reaches {end}, but accepted verdicts end at {last}")]
    Ahead {
        /// s1.
        end: i64,
        /// h.
        last: i64,
    },
    /// It was taken where the verdict partition does not reach any more.
    #[error("it was taken at verdict offset {next}, but verdicts end at {end}")]
    Beyond {
        /// Where it was taken.
        next: i64,
        /// The verdict partition's end.
        end: i64,
    },
    /// The log is another one.
    #[error("the record at offset {offset} is not the one it was taken behind: the log is another one")]
    Anchor {
        /// Where the anchor stands.
        offset: i64,
    },
}

impl Refused {
    fn in_disorder() -> Self {
        Self::Damaged(String::from("its frames are in disorder"))
    }

    fn goes_on() -> Self {
        Self::Damaged(String::from("it goes on behind its end"))
    }
}

impl From<Damaged> for Refused {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged.to_string())
    }
}
