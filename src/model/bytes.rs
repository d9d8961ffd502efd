//! Many rows through the trees together, one byte a row and column: 64 rows fit a few registers.
//!
//! A library's histogram has at most 255 bins a feature, so a value's rank among a feature's thresholds fits a byte, and
//! one comparison serves 16 to 64 rows at once. A tree's 32 leaves are four planes of eight; a split marks what is out in
//! the planes that its left side touches, mostly one (after RapidScorer, Ye et al., SIGKDD 2018). Models with finer
//! thresholds or larger trees have no such plan, and go through `evaluate`'s wider lanes.

use super::evaluate::read;
use super::plan::{FeaturePlan, Plan};
use crate::domain::features::Row;

/// Rows that go through the trees together.
pub(super) const LANES: usize = 64;

/// The most thresholds of a feature: ranks 0..=254, and 255 for what goes right at every split.
const MOST_THRESHOLDS: usize = 254;

/// Room for them, a power of two.
const THRESHOLDS: usize = 256;

/// The most leaves of a tree, and the planes of eight that they are in.
const LEAVES: usize = 32;
const PLANES: usize = LEAVES / 8;

/// A tree's leaves from left to right, as many as there can be.
type Leaves = [f64; LEAVES];

/// What each lane's trees said so far.
type Sums = [f64; LANES];

/// What every row's columns see, a row a lane.
type Ranks = [[i8; LANES]];

/// The compiled splits of a forest of small trees over coarse thresholds.
#[derive(Clone, Debug)]
pub(super) struct BytePlan {
    /// Each feature's thresholds, filled up with infinity, above which nothing is; and how many steps their search takes.
    thresholds: Vec<([f64; THRESHOLDS], u32)>,
    trees: Vec<ByteTree>,
    marks: Vec<Mark>,
}

/// Where a tree's parts are.
#[derive(Clone, Debug)]
struct ByteTree {
    /// One past the last mark of each plane; they lie plane after plane, so that a plane stays in registers.
    marks: [usize; PLANES],
    leaves: Leaves,
}

/// One plane's part of a split: to the right of the threshold, these leaves are out.
#[derive(Clone, Copy, Debug)]
struct Mark {
    column: u16,
    threshold: i8,
    out: u8,
}

impl BytePlan {
    /// The plan's splits by bytes, where they fit.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let coarse = |feature: &FeaturePlan| feature.thresholds.len() <= MOST_THRESHOLDS;
        if !plan.features.iter().all(coarse) || !plan.trees.iter().all(|tree| tree.has_masks()) {
            return None;
        }
        let (mut trees, mut marks) = (Vec::with_capacity(plan.trees.len()), Vec::new());
        for tree in &plan.trees {
            let splits = &plan.masks[tree.mask_base as usize..][..usize::from(tree.splits)];
            let ends = std::array::from_fn(|plane| {
                let own = splits.iter().map(|split| (split, split.out.to_le_bytes()[plane]));
                let touching = own.filter(|(_, out)| *out != 0);
                marks.extend(touching.map(|(split, out)| Mark {
                    column: split.column,
                    threshold: byte(split.threshold),
                    out,
                }));
                marks.len()
            });
            let own = &plan.leaves[tree.leaf_base as usize..][..=usize::from(tree.splits)];
            let leaves = std::array::from_fn(|leaf| own.get(leaf).copied().unwrap_or(f64::NAN));
            trees.push(ByteTree { marks: ends, leaves });
        }
        let padded = |feature: &FeaturePlan| {
            let own = &feature.thresholds;
            let steps = (own.len() + 1).next_power_of_two().ilog2();
            (std::array::from_fn(|at| own.get(at).copied().unwrap_or(f64::INFINITY)), steps)
        };
        Some(Self { thresholds: plan.features.iter().map(padded).collect(), trees, marks })
    }

    /// Appends the scores of at most [`LANES`] rows, by the vectors this processor has: the same code, the same bits.
    pub(super) fn raw_on_this_processor(&self, plan: &Plan, rows: &[Row], out: &mut Vec<f64>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512cd")
        {
            // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
            return unsafe { self.raw_avx512(plan, rows, out) };
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("lzcnt") {
            // SAFETY: as above.
            return unsafe { self.raw_avx2(plan, rows, out) };
        }
        self.raw(plan, rows, out, add_leaves);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,avx512cd")]
    fn raw_avx512(&self, plan: &Plan, rows: &[Row], out: &mut Vec<f64>) {
        self.raw(plan, rows, out, |leaves, out, sums| add_leaves_avx512(leaves, out, sums));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,lzcnt")]
    fn raw_avx2(&self, plan: &Plan, rows: &[Row], out: &mut Vec<f64>) {
        self.raw(plan, rows, out, add_leaves);
    }

    #[inline(always)]
    fn raw(
        &self,
        plan: &Plan,
        rows: &[Row],
        out: &mut Vec<f64>,
        add_leaves: impl Fn(&Leaves, &[u32; LANES], &mut Sums),
    ) {
        let mut ranks = vec![[0_i8; LANES]; plan.columns];
        self.rank(plan, rows, &mut ranks);
        let mut sums = [0.0; LANES];
        self.add(&ranks, &mut sums, add_leaves);
        out.extend_from_slice(&sums[..rows.len()]);
    }

    /// Tells each column what it sees of each row. All rows search a feature's thresholds in step, so that their loads
    /// overlap.
    #[inline(always)]
    fn rank(&self, plan: &Plan, rows: &[Row], ranks: &mut Ranks) {
        for (feature, (thresholds, steps)) in plan.features.iter().zip(&self.thresholds) {
            let mut values = [0.0; LANES];
            for (value, row) in values.iter_mut().zip(rows) {
                *value = read(row[feature.feature]);
            }
            let mut found = [0_u16; LANES];
            for step in (0..*steps).rev().map(|bit| 1_u16 << bit) {
                for (found, value) in found[..rows.len()].iter_mut().zip(&values) {
                    let below = thresholds[usize::from(*found + step - 1) % THRESHOLDS] < *value;
                    *found += step * u16::from(below);
                }
            }
            for column in &feature.columns {
                let to = &mut ranks[column.at()];
                for ((to, value), rank) in to[..rows.len()].iter_mut().zip(&values).zip(&found) {
                    *to = byte(column.see(*value, *rank));
                }
            }
        }
    }

    /// Adds every tree's leaf to every lane's sum, in tree order.
    #[inline(always)]
    fn add(&self, ranks: &Ranks, sums: &mut Sums, add_leaves: impl Fn(&Leaves, &[u32; LANES], &mut Sums)) {
        let mut from = 0;
        for tree in &self.trees {
            let mut planes = [[0_u8; LANES]; PLANES];
            for (plane, to) in planes.iter_mut().zip(tree.marks) {
                *plane = marked(&self.marks[from..to], ranks);
                from = to;
            }
            add_leaves(&tree.leaves, &joined(&planes), sums);
        }
    }
}

/// Adds each lane's leaf: the leftmost that is not out.
#[inline(always)]
fn add_leaves(leaves: &Leaves, out: &[u32; LANES], sums: &mut Sums) {
    for (sum, out) in sums.iter_mut().zip(out) {
        *sum += leaves[first_in(*out) % LEAVES];
    }
}

/// The same with all leaves in four registers, from which a lane takes its own: the compiler would load each by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl,avx512cd")]
fn add_leaves_avx512(leaves: &Leaves, out: &[u32; LANES], sums: &mut Sums) {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_add_pd, _mm512_cvtepu32_epi64, _mm512_loadu_pd, _mm512_mask_blend_pd,
        _mm512_permutex2var_pd, _mm512_set1_epi64, _mm512_storeu_pd, _mm512_test_epi64_mask,
    };
    let first: [u32; LANES] = std::array::from_fn(|lane| first_in(out[lane]) as u32);
    let eights = leaves.as_chunks::<8>().0;
    // SAFETY: each load and store is of the eight values of its array, wherever they lie.
    unsafe {
        let [a, b, c, d] = std::array::from_fn(|at| _mm512_loadu_pd(eights[at].as_ptr()));
        for (first, sums) in first.as_chunks::<8>().0.iter().zip(sums.as_chunks_mut::<8>().0) {
            let leaf = _mm512_cvtepu32_epi64(_mm256_loadu_si256(first.as_ptr().cast()));
            let (left, right) = (_mm512_permutex2var_pd(a, leaf, b), _mm512_permutex2var_pd(c, leaf, d));
            let is_right = _mm512_test_epi64_mask(leaf, _mm512_set1_epi64(16));
            let own = _mm512_mask_blend_pd(is_right, left, right);
            _mm512_storeu_pd(sums.as_mut_ptr(), _mm512_add_pd(_mm512_loadu_pd(sums.as_ptr()), own));
        }
    }
}

/// The leaves of one plane that are out, a lane a byte.
#[inline(always)]
fn marked(marks: &[Mark], ranks: &Ranks) -> [u8; LANES] {
    let mut plane = [0_u8; LANES];
    for mark in marks {
        for (out, rank) in plane.iter_mut().zip(&ranks[usize::from(mark.column)]) {
            // All ones to the right: a comparison that no compiler turns into a branch.
            let right = -i8::from(*rank > mark.threshold);
            *out |= mark.out & right as u8;
        }
    }
    plane
}

/// Each lane's four planes as one mask of leaves that are out.
#[inline(always)]
fn joined(planes: &[[u8; LANES]; PLANES]) -> [u32; LANES] {
    let [a, b, c, d] = planes;
    std::array::from_fn(|lane| u32::from_le_bytes([a[lane], b[lane], c[lane], d[lane]]))
}

/// The leftmost leaf that is not out. Counted from the left end of the word, for that is what vectors can do.
#[inline(always)]
fn first_in(out: u32) -> usize {
    let alone = !out & out.wrapping_add(1);
    (31 - alone.leading_zeros() as i32) as usize
}

/// A rank or threshold as a signed byte: vectors compare those.
fn byte(rank: u16) -> i8 {
    (rank.min(255) as u8 ^ 0x80) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::forest::Forest;

    #[test]
    fn bytes_compare_as_the_ranks_they_stand_for() {
        for (low, high) in [(0, 1), (127, 128), (253, 254), (254, u16::MAX)] {
            assert!(byte(low) < byte(high), "{low} {high}");
        }
    }

    #[test]
    fn the_default_model_has_a_byte_plan_and_every_processor_gives_its_bits() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let model = crate::model::folder::Model::load(&root).unwrap();
        let forest: &Forest = &model.forest;
        let plan = forest.plan.bytes.as_ref().expect("the default model's thresholds are coarse");
        let value = |row: usize, at: usize| match (row * 31 + at * 17) % 13 {
            0 => f64::NAN,
            other => (other * (row % 7)) as f64 / 3.0,
        };
        let rows: Vec<Row> = (0..LANES).map(|row| std::array::from_fn(|at| value(row, at))).collect();
        let (mut portable, mut chosen) = (Vec::new(), Vec::new());
        plan.raw(&forest.plan, &rows, &mut portable, add_leaves);
        plan.raw_on_this_processor(&forest.plan, &rows, &mut chosen);
        let alone: Vec<f64> = rows.iter().map(|row| forest.raw_one(row)).collect();
        assert_eq!((&portable, &chosen), (&alone, &alone));
    }
}
