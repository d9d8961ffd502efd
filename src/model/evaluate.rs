//! Raw scores of rows, equal to LightGBM's to the last bit: the same leaf of each tree, summed in tree order.
//!
//! Two ways to the same leaves, both on ranks (`plan`) and almost free of branches on data. One row alone walks eight
//! trees in step, so that their loads overlap. Many rows go through each tree together: every split tells, for
//! all rows at once, which leaves are out, and the first leaf left is the one reached (QuickScorer, Lucchese et al.,
//! SIGIR 2015, turned from one row and many trees to one tree and many rows). The compiler vectorises that loop: once
//! for any processor, once for those with AVX2, chosen at run time. Most models fit `bytes`, where a row is but a bit. With AVX-512
//! one row asks all splits of a tree at once instead of walking (`alone`).

#[cfg(target_arch = "x86_64")]
use super::alone::Alone;
use super::bytes::{Rows, TOGETHER};
use super::forest::Forest;
use super::lanes::{LANES, Reached};
use super::plan::{Plan, TreePlan};
#[cfg(target_arch = "x86_64")]
use super::thresholds::{Thresholds, has_avx512};
use crate::domain::features::Row;
use std::borrow::Borrow;

/// LightGBM reads what is at most this as zero (`kZeroThreshold`, a float literal).
const ZERO_BOUND: f64 = 1e-35_f32 as f64;

/// Trees that one row walks in step: their loads overlap, and the walk's state still fits the registers.
const WALK_LANES: usize = 8;
/// Steps between two looks at whether all of them have arrived: each look costs a branch that is hard to foresee.
const STEPS_A_LOOK: usize = 3;
/// The most columns whose ranks are kept on the stack; a model of numerical features has at most 48 in practice.
pub(super) const STACK_COLUMNS: usize = 64;

/// Lanes come in this many, so that vectors have no rest.
const LANE_STEP: usize = 8;
/// Fewer rows than this go one by one: what all rows together cost, any number of them costs. With AVX-512 one row costs less.
const FEWEST_TOGETHER: usize = 5;
#[cfg(target_arch = "x86_64")]
const FEWEST_TOGETHER_AVX512: usize = 16;

impl Forest {
    /// The raw score of one row.
    pub fn raw_one(&self, row: &Row) -> f64 {
        let mut sum = 0.0;
        self.plan.reach(row, |leaf| sum += self.plan.leaves[leaf]);
        sum
    }

    /// The raw scores of rows, in their order; `out` is cleared first.
    pub fn raw_batch(&self, rows: &[impl Borrow<Row>], out: &mut Vec<f64>) {
        out.clear();
        // Part by part: a whole data set's leaves would take much memory for nothing.
        let mut scores = Scores::default();
        for rows in rows.chunks(TOGETHER) {
            self.score(rows, &mut scores);
            out.extend_from_slice(&scores.raw);
        }
    }

    /// The same, with what is known afterwards of how the scores came about.
    pub fn score(&self, rows: &[impl Borrow<Row>], out: &mut Scores) {
        out.clear();
        let fewest = self.plan.fewest_together();
        let together = if self.plan.bytes.is_some() { TOGETHER } else { LANES };
        for rows in rows.chunks(together) {
            if rows.len() < fewest {
                out.raw.extend(rows.iter().map(|row| self.raw_one(row.borrow())));
            } else if let Some(bytes) = &self.plan.bytes {
                bytes.raw_on_this_processor(&self.plan, rows, out);
            } else {
                self.plan.raw_together_on_this_processor(rows, &mut out.raw);
            }
        }
    }
}

/// Raw scores of some rows, and the leaves that they are the sums of, where those were found together.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    pub(super) raw: Vec<f64>,
    /// Of each tree in turn, for [`LANES`] rows; then of the next rows.
    pub(super) reached: Vec<Reached>,
    /// Room for the answers to a forest's questions.
    pub(super) answers: Vec<Rows>,
}

/// A row's raw score.
#[derive(Clone, Copy, Debug)]
pub struct Score<'s> {
    /// The score; NaN where there is no such row.
    pub raw: f64,
    scores: Option<(&'s Scores, usize)>,
}

impl From<f64> for Score<'_> {
    fn from(raw: f64) -> Self {
        Self { raw, scores: None }
    }
}

impl Scores {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.reached.clear();
    }

    /// The score of the row at this place.
    pub fn of(&self, row: usize) -> Score<'_> {
        Score { raw: self.raw.get(row).copied().unwrap_or(f64::NAN), scores: Some((self, row)) }
    }
}

impl Score<'_> {
    /// The leaves of every one of `trees` trees, and the row's lane in them, where they are known.
    pub(super) fn reached(&self, trees: usize) -> Option<(&[Reached], usize)> {
        let (scores, row) = self.scores?;
        let first = row / LANES * trees;
        Some((scores.reached.get(first..first + trees)?, row % LANES))
    }
}

impl Plan {
    /// Tells each column what it sees of a row; `rank` finds a value's among the thresholds of the feature at a place.
    #[inline(always)]
    fn see(&self, row: &Row, rank: impl Fn(usize, f64) -> u16, mut tell: impl FnMut(usize, u16)) {
        for (at, feature) in self.features.iter().enumerate() {
            let value = read(row[feature.feature]);
            let rank = rank(at, value);
            for column in &feature.columns {
                tell(column.at(), column.see(value, rank));
            }
        }
    }

    /// The same of any processor: ranks are searched for.
    #[inline(always)]
    fn see_by_search(&self, row: &Row, tell: impl FnMut(usize, u16)) {
        self.see(row, |at, value| self.features[at].rank(value), tell);
    }

    /// What each column sees of a row, in the way that is quickest on this processor.
    pub(super) fn ranks_on_this_processor(&self, row: &Row, ranks: &mut [u16]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(bytes) = self.bytes.as_ref().filter(|_| has_avx512()) {
            // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
            return unsafe { self.ranks_avx512(&bytes.thresholds, row, ranks) };
        }
        self.see_by_search(row, |column, rank| ranks[column] = rank);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    fn ranks_avx512(&self, thresholds: &[Thresholds], row: &Row, ranks: &mut [u16]) {
        let rank = |at: usize, value| thresholds[at].one_below_avx512(value);
        self.see(row, rank, |column, rank| ranks[column] = rank);
    }

    /// The splits for one row, where it need not walk on this processor.
    #[cfg(target_arch = "x86_64")]
    fn alone_on_this_processor(&self) -> Option<&Alone> {
        self.alone.as_ref().filter(|_| has_avx512())
    }

    /// Fewer rows than this go one by one.
    fn fewest_together(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.alone_on_this_processor().is_some() {
            return FEWEST_TOGETHER_AVX512;
        }
        FEWEST_TOGETHER
    }

    /// Tells the leaf that a row reaches in each tree, tree by tree.
    #[inline]
    pub(super) fn reach(&self, row: &Row, tell: impl FnMut(usize)) {
        let (mut few, mut many) = ([0; STACK_COLUMNS], Vec::new());
        let ranks = if self.columns <= STACK_COLUMNS {
            few.as_mut_slice()
        } else {
            many.resize(self.columns, 0);
            many.as_mut_slice()
        };
        self.ranks_on_this_processor(row, ranks);
        #[cfg(target_arch = "x86_64")]
        if let Some(alone) = self.alone_on_this_processor() {
            // SAFETY: the processor has what the function is compiled for; it is asked where the splits come from.
            return unsafe { alone.reach(&few, tell) };
        }
        self.reach_by_walks(ranks, tell);
    }

    /// The same on any processor, of what the columns see.
    #[inline]
    pub(super) fn reach_by_walks(&self, ranks: &[u16], mut tell: impl FnMut(usize)) {
        for group in self.trees.chunks(WALK_LANES) {
            // A group that is not full walks its last tree in the lanes that are left.
            let trees: [TreePlan; WALK_LANES] = std::array::from_fn(|lane| group[lane.min(group.len() - 1)]);
            for (tree, at) in group.iter().zip(self.walk(&trees, ranks)) {
                tell(tree.leaf_base as usize + usize::from(at - tree.splits));
            }
        }
    }

    /// Walks trees in step, each to its leaf, where it stays.
    fn walk(&self, trees: &[TreePlan; WALK_LANES], ranks: &[u16]) -> [u16; WALK_LANES] {
        let mut at = [0_u16; WALK_LANES];
        loop {
            for _ in 0..STEPS_A_LOOK {
                for (at, tree) in at.iter_mut().zip(trees) {
                    let node = self.nodes[tree.node_base as usize + usize::from(*at)];
                    *at = node.children[usize::from(ranks[usize::from(node.column)] > node.threshold)];
                }
            }
            if at.iter().zip(trees).fold(true, |all, (at, tree)| all & (*at >= tree.splits)) {
                return at;
            }
        }
    }

    /// [`Self::raw_together`], compiled for the vectors this processor has: the same code, the same bits.
    fn raw_together_on_this_processor(&self, rows: &[impl Borrow<Row>], out: &mut Vec<f64>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
            // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
            return unsafe { self.raw_together_avx2(rows, out) };
        }
        self.raw_together(rows, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1")]
    fn raw_together_avx2(&self, rows: &[impl Borrow<Row>], out: &mut Vec<f64>) {
        self.raw_together(rows, out);
    }

    /// Appends the scores of at most [`LANES`] rows, one lane a row.
    #[inline(always)]
    fn raw_together(&self, rows: &[impl Borrow<Row>], out: &mut Vec<f64>) {
        // A length the compiler does not know keeps it from unrolling the lanes, which it then vectorises badly.
        let lanes = rows.len().next_multiple_of(LANE_STEP);
        let mut ranks = vec![0_i32; self.columns * lanes];
        for (lane, row) in rows.iter().enumerate() {
            self.see_by_search(row.borrow(), |column, rank| ranks[column * lanes + lane] = i32::from(rank));
        }
        let mut room = [0.0; LANES];
        let sums = &mut room[..lanes];
        for tree in &self.trees {
            if tree.has_masks() {
                self.add_masked(*tree, &ranks, sums);
            } else {
                self.add_walked(*tree, &ranks, sums);
            }
        }
        out.extend_from_slice(&sums[..rows.len()]);
    }

    /// Adds a small tree: each split marks the leaves that are out, for all lanes.
    #[inline(always)]
    fn add_masked(&self, tree: TreePlan, ranks: &[i32], sums: &mut [f64]) {
        let mut room = [0_u32; LANES];
        let lanes = sums.len();
        let out = &mut room[..lanes];
        for split in &self.masks[tree.mask_base as usize..][..usize::from(tree.splits)] {
            let threshold = i32::from(split.threshold);
            for (out, rank) in out.iter_mut().zip(&ranks[usize::from(split.column) * lanes..][..lanes]) {
                // All ones where the rank is above the threshold: a comparison that no compiler turns into a branch.
                let right = ((threshold - rank) >> 31) as u32;
                *out |= split.out & right;
            }
        }
        let leaves = &self.leaves[tree.leaf_base as usize..];
        for (sum, out) in sums.iter_mut().zip(out) {
            *sum += leaves[out.trailing_ones() as usize];
        }
    }

    /// Adds a tree too large for masks: every lane walks.
    #[inline(always)]
    fn add_walked(&self, tree: TreePlan, ranks: &[i32], sums: &mut [f64]) {
        let nodes = &self.nodes[tree.node_base as usize..];
        let mut room = [0_u16; LANES];
        let lanes = sums.len();
        for _ in 0..tree.depth {
            for (lane, at) in room[..lanes].iter_mut().enumerate() {
                let node = nodes[usize::from(*at)];
                let right = ranks[usize::from(node.column) * lanes + lane] > i32::from(node.threshold);
                *at = node.children[usize::from(right)];
            }
        }
        let leaves = &self.leaves[tree.leaf_base as usize..];
        for (sum, at) in sums.iter_mut().zip(&room) {
            *sum += leaves[usize::from(at - tree.splits)];
        }
    }
}

/// A value as the library reads it: what is next to zero is zero.
pub(super) fn read(value: f64) -> f64 {
    if value.abs() <= ZERO_BOUND { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::features::FEATURES;
    use lightgbm3::{Booster, Dataset};

    /// A forest with small trees or large ones, and rows with some values missing.
    fn trained(leaves: u32) -> (Forest, Vec<Row>) {
        let value = |row: u32, at: u32| match (row * 31 + at * 17) % 97 {
            0..9 => f64::NAN,
            other => f64::from(other ^ (row >> 3)) - 40.0,
        };
        let rows: Vec<Row> = (0..2_000).map(|row| std::array::from_fn(|at| value(row, at as u32))).collect();
        let labels: Vec<f32> = rows.iter().map(|row| f32::from(row[1] * row[2] > row[3] * 20.0)).collect();
        let data = Dataset::from_slice(rows.as_flattened(), &labels, FEATURES as i32, true).unwrap();
        let parameters = serde_json::json!({
            "objective": "binary", "num_iterations": 21, "num_leaves": leaves, "min_data_in_leaf": 2, "verbosity": -1,
        });
        let text = Booster::train(data, &parameters).unwrap().save_string().unwrap();
        (Forest::parse(&text).unwrap(), rows)
    }

    #[test]
    fn every_processor_and_every_batch_gives_the_same_bits() {
        for leaves in [31, 80] {
            let (forest, rows) = trained(leaves);
            let bits = |scores: Vec<f64>| scores.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            for length in 1..=LANES {
                let rows = &rows[length..2 * length];
                let alone = bits(rows.iter().map(|row| forest.raw_one(row)).collect());
                let (mut portable, mut chosen) = (Vec::new(), Vec::new());
                forest.plan.raw_together(rows, &mut portable);
                forest.plan.raw_together_on_this_processor(rows, &mut chosen);
                assert_eq!((bits(portable), bits(chosen)), (alone.clone(), alone), "{leaves} leaves, {length} rows");
            }
        }
    }

    #[test]
    fn no_rows_have_no_scores() {
        let (forest, _) = trained(31);
        let mut out = vec![1.0];
        forest.raw_batch(&[[0.0; FEATURES]; 0], &mut out);
        assert!(out.is_empty());
    }
}
