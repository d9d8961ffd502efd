//! What one transaction will write: encoded rows, and for each partition where the rows ended and where they will.
//!
//! Invariant: a partition's rows in a batch are exactly those between its two positions, and all that is gathered of a
//! partition is in one batch.

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

/// What is gathered: one batch of all partitions, but for suspects, each of which has one of its own.
#[derive(Debug, Default)]
pub struct Gathering {
    common: Batch,
    apart: BTreeMap<i32, Apart>,
}

/// A suspect's batch.
#[derive(Debug, Default)]
struct Apart {
    batch: Batch,
    /// With the next batch it joins the others again.
    acquitted: bool,
}

impl Gathering {
    /// The batch that the partition's records go into.
    pub fn of(&mut self, partition: i32) -> &mut Batch {
        match self.apart.get_mut(&partition) {
            Some(apart) => &mut apart.batch,
            None => &mut self.common,
        }
    }

    /// The next batch to write, and no other: suspects first.
    pub fn take(&mut self) -> Batch {
        let waiting = self.apart.iter().find(|(_, apart)| !apart.batch.is_empty()).map(|(partition, _)| *partition);
        let Some(partition) = waiting else { return std::mem::take(&mut self.common) };
        let batch = std::mem::take(self.of(partition));
        self.apart.retain(|_, apart| !apart.batch.is_empty() || !apart.acquitted);
        batch
    }

    /// One of these partitions is at fault: each has a batch of its own from now on.
    pub fn suspect(&mut self, partitions: impl Iterator<Item = i32>) {
        debug_assert!(self.is_empty(), "what is gathered would be torn apart");
        partitions.for_each(|partition| _ = self.apart.entry(partition).or_default());
    }

    /// The partition is not at fault, or not of concern any more.
    pub fn acquit(&mut self, partition: i32) {
        self.apart.entry(partition).and_modify(|apart| apart.acquitted = true);
        self.apart.retain(|_, apart| !apart.batch.is_empty() || !apart.acquitted);
    }

    /// Forgets what is gathered; suspects stay suspects.
    pub fn clear(&mut self) {
        self.common = Batch::default();
        self.apart.values_mut().for_each(|apart| apart.batch = Batch::default());
    }

    /// Where the partition's rows must end for what is gathered of it.
    pub fn from(&mut self, partition: i32) -> Option<Progress> {
        self.of(partition).moves.get(&partition).map(|of| of.from.clone())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.each().map(|batch| batch.rows.len()).sum()
    }

    /// How many bytes they take, about.
    pub fn bytes(&self) -> usize {
        self.each().map(|batch| batch.rows.bytes()).sum()
    }

    /// When the oldest record came.
    pub fn began(&self) -> Option<Instant> {
        self.each().filter_map(|batch| batch.began).min()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.each().all(Batch::is_empty)
    }

    fn each(&self) -> impl Iterator<Item = &Batch> {
        self.apart.values().map(|apart| &apart.batch).chain([&self.common])
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(gathering: &mut Gathering, partition: i32) {
        gathering.of(partition).touch(partition, || Progress::beginning(0));
    }

    fn taken(gathering: &mut Gathering) -> Vec<i32> {
        gathering.take().moves.into_keys().collect()
    }

    #[test]
    fn suspects_are_written_one_by_one_until_they_are_acquitted() {
        let mut gathering = Gathering::default();
        (0..3).for_each(|partition| touch(&mut gathering, partition));
        assert_eq!(taken(&mut gathering), [0, 1, 2]);
        gathering.suspect([0, 1].into_iter());
        (0..4).for_each(|partition| touch(&mut gathering, partition));
        assert_eq!(gathering.from(1), Some(Progress::beginning(0)));
        let each = [(); 4].map(|()| taken(&mut gathering));
        assert_eq!(each, [vec![0], vec![1], vec![2, 3], vec![]]);
        touch(&mut gathering, 0);
        gathering.acquit(0);
        gathering.acquit(1);
        (0..3).for_each(|partition| touch(&mut gathering, partition));
        assert_eq!(taken(&mut gathering), [0], "what was gathered of it goes first");
        touch(&mut gathering, 0);
        assert_eq!(taken(&mut gathering), [0, 1, 2]);
        assert!(gathering.is_empty() && gathering.began().is_none());
    }

    #[test]
    fn what_is_forgotten_leaves_suspects_suspects() {
        let mut gathering = Gathering::default();
        gathering.suspect([0, 1].into_iter());
        (0..3).for_each(|partition| touch(&mut gathering, partition));
        gathering.clear();
        assert!(gathering.is_empty());
        (0..3).for_each(|partition| touch(&mut gathering, partition));
        assert_eq!([(); 3].map(|()| taken(&mut gathering)), [[0], [1], [2]]);
    }
}
