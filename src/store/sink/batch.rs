//! What one transaction will write: encoded rows, and for each partition where the rows ended and where they will.
//!
//! Invariant: a partition's rows in a batch are exactly those between its two positions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::slot::Progress;
use crate::{
    store::{copy::Rows, days::Day},
    telemetry::sink::Skipped,
};

/// A partition's part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// What the database must have.
    pub from: Progress,
    /// What it will have.
    pub to: Progress,
}

/// A transaction being gathered.
#[derive(Debug, Default)]
pub struct Batch {
    /// Its rows.
    pub rows: Rows,
    /// The days they are of.
    pub days: BTreeSet<Day>,
    /// Its partitions.
    pub moves: BTreeMap<i32, Move>,
    /// When the first record came.
    pub began: Option<Instant>,
    /// Partition and verdict offset of the first row.
    pub first: Option<(i32, i64)>,
    skipped: BTreeMap<u8, u64>,
}

impl Batch {
    /// A batch takes no more rows beyond so many bytes, whatever their number.
    pub const MOST_BYTES: usize = 32 * 1024 * 1024;

    /// A record of this partition is about to be judged, which stands at `from`.
    pub fn touch(&mut self, partition: i32, from: impl FnOnce() -> Progress) {
        self.moves.entry(partition).or_insert_with(|| {
            let from = from();
            Move { to: from.clone(), from }
        });
        self.began.get_or_insert_with(Instant::now);
    }

    /// Where the partition stands now, if it is of this batch.
    pub fn settle(&mut self, partition: i32, to: impl FnOnce() -> Progress) {
        if let Some(found) = self.moves.get_mut(&partition) {
            found.to = to();
        }
    }

    /// A verdict that counts is not stored.
    pub fn skip(&mut self, reason: Skipped) {
        *self.skipped.entry(reason.code()).or_default() += 1;
    }

    /// How many verdicts that count are not stored, by reason.
    pub fn skipped(&self) -> impl Iterator<Item = (Skipped, u64)> {
        Skipped::ALL.iter().filter_map(|reason| Some((*reason, *self.skipped.get(&reason.code())?)))
    }

    /// Whether there is anything to write.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }
}
