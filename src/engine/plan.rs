//! Where recovery replays from and where emission goes on, or why the partition is refused (C1.6, C1.8). Loss and
//! identity are named here, never guessed.

use thiserror::Error;

use super::settle::{Doubt, Settled};

/// What the two logs look like at recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logs {
    /// The input partition's first offset.
    pub input_start: i64,
    /// The input partition's end: one past its last offset.
    pub input_end: i64,
    /// The verdict partition's first offset.
    pub verdict_start: i64,
    /// How many partitions the transaction topic has.
    pub partitions: i32,
}

/// Where to begin and where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Silent replay begins here: at the log's start, or where a snapshot's state ends.
    pub replay_from: i64,
    /// h: nothing at or below it is emitted again.
    pub last: i64,
    /// The last offset with an accepted verdict: `previous_offset` of the next one; -1 before the first.
    pub previous: i64,
    /// Where input was deleted before it was judged, which offsets: their `lost` record comes first.
    pub lost: Option<Lost>,
}

/// Input that retention deleted before it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first offset without a verdict.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Why a partition is refused: named, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The verdict partition's head is gone and nothing in it tells h.
    #[error(
        "verdict partition starts at {verdict_start} and holds no accepted verdict, and neither a snapshot nor the group's \
         offset says more, so the last judged offset is unknown; restore the verdict topic, or begin with new topics"
    )]
    Unknown {
        /// Where the verdict partition starts.
        verdict_start: i64,
    },
    /// The verdict partition is not what the group's checkpoint says.
    #[error(transparent)]
    Doubt(#[from] Doubt),
    /// The input log ends before what was judged.
    #[error(
        "input ends at {input_end}, but verdicts reach {last}: this is not the log they were made from; check \
         topics.transactions and topics.verdicts"
    )]
    Truncated {
        /// Where the input ends.
        input_end: i64,
        /// The last judged offset.
        last: i64,
    },
    /// The verdicts are of another transaction topic.
    #[error(
        "verdicts are of log {found}, but the transaction topic is log {expected}: it was created anew; begin with a \
         new verdict topic (topics.verdicts)"
    )]
    Foreign {
        /// The log the verdicts name.
        found: String,
        /// This transaction topic's short id.
        expected: String,
    },
    /// The transaction topic has another partition count than the log began with.
    #[error(
        "the log began with {found} partitions, and the transaction topic has {own}: a log's count is fixed for its life, for \
         phones move between partitions, away from their windows and duplicates; re-partitioning means new topics \
         (topics.transactions, topics.verdicts, and a kafka.group of their own)"
    )]
    Repartitioned {
        /// What the owner records name.
        found: i32,
        /// What it has now.
        own: i32,
    },
}

/// Whether a log that began with `found` partitions, where that is known, still has as many.
///
/// # Errors
/// It has not.
pub fn same_count(found: Option<i32>, own: i32) -> Result<(), Refusal> {
    match found {
        Some(found) if found != own => Err(Refusal::Repartitioned { found, own }),
        _ => Ok(()),
    }
}

/// Plans the recovery of one partition, whose state holds all records below `held` where a snapshot gave it.
///
/// # Errors
/// A [`Refusal`] where going on would lose or repeat verdicts, or mix two logs.
pub fn plan(logs: Logs, settled: &Settled, held: Option<i64>, log: &str) -> Result<Start, Refusal> {
    if let Some(found) = &settled.foreign {
        return Err(Refusal::Foreign { found: found.clone(), expected: log.to_owned() });
    }
    if let Some(doubt) = &settled.doubt {
        return Err(doubt.clone().into());
    }
    let Logs { input_start, input_end, verdict_start, partitions } = logs;
    same_count(settled.partitions, partitions)?;
    let Some(last) = settled.last else {
        return match verdict_start {
            start if start == 0 || settled.untouched => {
                Ok(Start { replay_from: input_start, last: input_start - 1, previous: -1, lost: None })
            }
            _ => Err(Refusal::Unknown { verdict_start }),
        };
    };
    if input_end < last + 1 {
        return Err(Refusal::Truncated { input_end, last });
    }
    let lost = (input_start > last + 1).then_some(Lost { first: last + 1, last: input_start - 1 });
    let replay_from = held.map_or(input_start, |held| held.max(input_start));
    Ok(Start { replay_from, last: lost.map_or(last, |lost| lost.last), previous: last, lost })
}
