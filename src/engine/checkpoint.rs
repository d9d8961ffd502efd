//! A checkpoint: a place in a verdict partition together with what the records before it said (C1.6). Recovery may
//! read on from it instead of from the log's start, and settles on no less than it says.
//!
//! Owners commit it as the metadata of their group's offset, as text; snapshots hold it. Whether a place fits a log is
//! asked of `settle`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the text begins with; another beginning is another version's, or another program's.
const VERSION: &str = "v1";

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
    /// The text that [`Checkpoint::from_text`] reads; below 100 bytes.
    pub fn to_text(self, between: &Between) -> String {
        let Between { log, verdicts } = between;
        let Self { next, epoch, last } = self;
        format!("{VERSION};{log};{verdicts};{next};{epoch};{last}")
    }

    /// Reads the text; `None` where it is none, or of a version unknown here.
    ///
    /// # Errors
    /// It is about another topic.
    pub fn from_text(text: &str, own: &Between) -> Result<Option<Self>, Elsewhere> {
        let fields: Vec<&str> = text.split(BETWEEN).collect();
        let [VERSION, log, verdicts, next, epoch, last] = fields[..] else { return Ok(None) };
        let Some(checkpoint) = Self::of(next, epoch, last) else { return Ok(None) };
        for (what, found, own) in [("transaction topic", log, &own.log), ("verdict topic", verdicts, &own.verdicts)] {
            if found != own {
                return Err(Elsewhere { what, found: found.to_owned(), own: own.clone() });
            }
        }
        Ok(Some(checkpoint))
    }

    /// A place that can be: an owner record lies below it.
    fn of(next: &str, epoch: &str, last: &str) -> Option<Self> {
        let place = Self { next: next.parse().ok()?, epoch: epoch.parse().ok()?, last: last.parse().ok()? };
        (place.epoch >= 0 && place.next > place.epoch && place.last >= -1).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Between {
        Between { log: String::from("7f3a9c01"), verdicts: String::from("00c0ffee") }
    }

    #[test]
    fn the_text_is_short_and_read_back_equal() {
        for (next, epoch, last) in [(1, 0, -1), (7, 3, 1), (i64::MAX, i64::MAX - 1, i64::MAX)] {
            let checkpoint = Checkpoint { next, epoch, last };
            let text = checkpoint.to_text(&own());
            assert!(text.len() < 100, "{text}");
            assert_eq!(Checkpoint::from_text(&text, &own()), Ok(Some(checkpoint)));
        }
    }

    #[test]
    fn other_versions_and_other_text_are_no_checkpoint() {
        for text in [
            "",
            "v1",
            "v2;7f3a9c01;00c0ffee;7;3;1",
            "v1;7f3a9c01;00c0ffee;7;3",
            "v1;7f3a9c01;00c0ffee;7;3;1;",
            "v1;7f3a9c01;00c0ffee;7;3;x",
            "v1;7f3a9c01;00c0ffee;3;3;1",
            "v1;7f3a9c01;00c0ffee;7;-1;1",
            "v1;7f3a9c01;00c0ffee;7;3;-2",
        ] {
            assert_eq!(Checkpoint::from_text(text, &own()), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn one_of_another_topic_is_named() {
        for (text, what) in
            [("v1;7f3a9c02;00c0ffee;7;3;1", "transaction topic"), ("v1;7f3a9c01;00c0ffef;7;3;1", "verdict topic")]
        {
            assert_eq!(Checkpoint::from_text(text, &own()).map_err(|elsewhere| elsewhere.what), Err(what), "{text:?}");
        }
    }
}
