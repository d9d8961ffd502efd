//! A checkpoint: a place in a verdict partition together with what the records before it said (C1.6). Recovery may
//! read on from it instead of from the log's start, and settles on no less than it says.
//!
//! Owners commit it as the metadata of their group's offset, as text, together with the edition of the engine that they
//! work with: it outlives their owner records. Snapshots hold it. Whether a place fits a log is asked of `settle`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{edition::Edition, snapshot::Format};
use crate::domain::verdict::Digest;

/// What the text begins with; another beginning is another version's, or another program's.
const VERSION: &str = "v2";

/// The version before, which names no edition.
const PREVIOUS: &str = "v1";

/// What stands between the text's fields.
const BETWEEN: char = ';';

/// A settled place in a verdict partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The verdict offset to read on from: every record below it is settled.
    pub next: i64,
    /// e there.
    pub epoch: i64,
    /// h there: the input offset of the last accepted verdict; -1 before the first.
    pub last: i64,
}

/// A checkpoint with the edition of the owner whose epoch it names, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The place.
    pub checkpoint: Checkpoint,
    /// What its owner works with.
    pub edition: Option<Edition>,
}

impl From<Checkpoint> for Told {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, edition: None }
    }
}

/// A checkpoint of other topics than this partition's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("another {what}: {found}, not {own}")]
pub struct Elsewhere {
    /// Which of the two topics is another one.
    pub what: &'static str,
    /// The short id it names.
    pub found: String,
    /// The topic's own.
    pub own: String,
}

/// The topics that a checkpoint is about, by their short ids: 8 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    /// The transaction topic's.
    pub log: String,
    /// The verdict topic's.
    pub verdicts: String,
}

impl Checkpoint {
    /// The text that [`Told::from_text`] reads, of an owner of this edition; below 130 bytes.
    pub fn to_text(self, between: &Between, edition: Edition, format: Format) -> String {
        let Between { log, verdicts } = between;
        let Self { next, epoch, last } = self;
        let place = format!("{log};{verdicts};{next};{epoch};{last}");
        let Edition { generation, hash } = edition;
        match format {
            Format::Previous => format!("{PREVIOUS};{place}"),
            Format::Current => format!("{VERSION};{place};{generation};{}", Digest(hash)),
        }
    }

    /// A place that can be: an owner record lies below it.
    fn of(next: &str, epoch: &str, last: &str) -> Option<Self> {
        let place = Self { next: next.parse().ok()?, epoch: epoch.parse().ok()?, last: last.parse().ok()? };
        (place.epoch >= 0 && place.next > place.epoch && place.last >= -1).then_some(place)
    }
}

impl Told {
    /// Reads the text; `None` where it is none, or of a version unknown here.
    ///
    /// # Errors
    /// It is about another topic.
    pub fn from_text(text: &str, own: &Between) -> Result<Option<Self>, Elsewhere> {
        let fields: Vec<&str> = text.split(BETWEEN).collect();
        let (edition, log, verdicts, place) = match fields[..] {
            [PREVIOUS, log, verdicts, next, epoch, last] => (None, log, verdicts, (next, epoch, last)),
            [VERSION, log, verdicts, next, epoch, last, generation, hash] => {
                let Some(edition) = Edition::read(generation, hash) else { return Ok(None) };
                (Some(edition), log, verdicts, (next, epoch, last))
            }
            _ => return Ok(None),
        };
        let Some(checkpoint) = Checkpoint::of(place.0, place.1, place.2) else { return Ok(None) };
        for (what, found, own) in [("transaction topic", log, &own.log), ("verdict topic", verdicts, &own.verdicts)] {
            if found != own {
                return Err(Elsewhere { what, found: found.to_owned(), own: own.clone() });
            }
        }
        Ok(Some(Self { checkpoint, edition }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Between {
        Between { log: String::from("7f3a9c01"), verdicts: String::from("00c0ffee") }
    }

    #[test]
    fn the_text_is_short_and_read_back_equal_and_the_version_before_is_written_and_read_too() {
        for (next, epoch, last) in [(1, 0, -1), (7, 3, 1), (i64::MAX, i64::MAX - 1, i64::MAX)] {
            let checkpoint = Checkpoint { next, epoch, last };
            let edition = Edition { generation: u32::MAX, hash: 7 };
            let text = checkpoint.to_text(&own(), edition, Format::Current);
            assert!(text.len() < 130, "{text}");
            assert_eq!(Told::from_text(&text, &own()), Ok(Some(Told { checkpoint, edition: Some(edition) })));
            let before = checkpoint.to_text(&own(), edition, Format::Previous);
            assert_eq!(before, format!("v1;7f3a9c01;00c0ffee;{next};{epoch};{last}"));
            assert_eq!(Told::from_text(&before, &own()), Ok(Some(checkpoint.into())));
        }
    }

    #[test]
    fn other_versions_and_other_text_are_no_checkpoint() {
        for text in [
            "",
            "v1",
            "v2;7f3a9c01;00c0ffee;7;3;1",
            "v1;7f3a9c01;00c0ffee;7;3;1;1;0000000000000007",
            "v2;7f3a9c01;00c0ffee;7;3;1;1;7",
            "v2;7f3a9c01;00c0ffee;7;3;1;x;0000000000000007",
            "v3;7f3a9c01;00c0ffee;7;3;1;1;0000000000000007",
            "v1;7f3a9c01;00c0ffee;7;3",
            "v1;7f3a9c01;00c0ffee;7;3;1;",
            "v1;7f3a9c01;00c0ffee;7;3;x",
            "v1;7f3a9c01;00c0ffee;3;3;1",
            "v1;7f3a9c01;00c0ffee;7;-1;1",
            "v1;7f3a9c01;00c0ffee;7;3;-2",
        ] {
            assert_eq!(Told::from_text(text, &own()), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn one_of_another_topic_is_named() {
        for (text, what) in
            [("v1;7f3a9c02;00c0ffee;7;3;1", "transaction topic"), ("v1;7f3a9c01;00c0ffef;7;3;1", "verdict topic")]
        {
            assert_eq!(Told::from_text(text, &own()).map_err(|elsewhere| elsewhere.what), Err(what), "{text:?}");
        }
    }
}
