//! A checkpoint: a place in a verdict partition together with what the records before it said (C1.6). Recovery may
//! read on from it instead of from the log's start.

use serde::{Deserialize, Serialize};

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
