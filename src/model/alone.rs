//! One row through all trees with AVX-512: a tree's splits, at most 31, are asked at once, and mark the leaves that are out.
//! The same ranks, the same leaves as the walk's; models with larger trees or more columns are walked.

use super::evaluate::STACK_COLUMNS;
use super::plan::{MASK_LEAVES, Plan, TreePlan};
use std::arch::x86_64::{
    _mm512_cmpgt_epu16_mask, _mm512_loadu_si512, _mm512_maskz_mov_epi32, _mm512_or_si512, _mm512_permutex2var_epi16,
    _mm512_reduce_or_epi32,
};

/// A forest's splits, tree by tree.
#[derive(Clone, Debug)]
pub(super) struct Alone(Vec<Tree>);

/// A tree's splits; the places left over ask what is never so.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Tree {
    columns: [u16; MASK_LEAVES],
    thresholds: [u16; MASK_LEAVES],
    /// The leaves that a split has out where the rank is above the threshold.
    out: [u32; MASK_LEAVES],
    leaf_base: usize,
}

impl Alone {
    /// The plan's splits, where they fit.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        if plan.columns > STACK_COLUMNS || !plan.trees.iter().all(|tree| tree.has_masks()) {
            return None;
        }
        let tree = |tree: &TreePlan| {
            let splits = &plan.masks[tree.mask_base as usize..][..usize::from(tree.splits)];
            Tree {
                columns: std::array::from_fn(|at| splits.get(at).map_or(0, |split| split.column)),
                thresholds: std::array::from_fn(|at| splits.get(at).map_or(u16::MAX, |split| split.threshold)),
                out: std::array::from_fn(|at| splits.get(at).map_or(0, |split| split.out)),
                leaf_base: tree.leaf_base as usize,
            }
        };
        Some(Self(plan.trees.iter().map(tree).collect()))
    }

    /// Tells the leaf that a row of these ranks reaches in each tree, tree by tree.
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    pub(super) fn reach(&self, ranks: &[u16; STACK_COLUMNS], mut tell: impl FnMut(usize)) {
        // SAFETY: each load is of 64 bytes: of a whole array, or of one of its halves.
        let load = |from: *const u8| unsafe { _mm512_loadu_si512(from.cast()) };
        // A register has half of the ranks.
        let [low, high] = [0, STACK_COLUMNS / 2].map(|from| load(ranks[from..].as_ptr().cast()));
        for tree in &self.0 {
            let seen = _mm512_permutex2var_epi16(low, load(tree.columns.as_ptr().cast()), high);
            let right = _mm512_cmpgt_epu16_mask(seen, load(tree.thresholds.as_ptr().cast()));
            let first = _mm512_maskz_mov_epi32(right as u16, load(tree.out.as_ptr().cast()));
            let last = _mm512_maskz_mov_epi32((right >> 16) as u16, load(tree.out[MASK_LEAVES / 2..].as_ptr().cast()));
            let out = _mm512_reduce_or_epi32(_mm512_or_si512(first, last)) as u32;
            tell(tree.leaf_base + out.trailing_ones() as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::features::Row;
    use crate::model::{folder::Model, thresholds::has_avx512};

    #[test]
    fn a_row_reaches_the_leaves_that_it_walks_to() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let plan = Model::load(&root).unwrap().forest.plan;
        let alone = plan.alone.as_ref().expect("the default model's trees are small, and its columns few");
        if !has_avx512() {
            return println!("not compared: this processor has no AVX-512");
        }
        let value = |row: usize, at: usize| match (row * 31 + at * 17) % 13 {
            0 => f64::NAN,
            1 => -1e300,
            other => (other * (row % 11) * (at + 1)) as f64 / 3.0,
        };
        for row in 0..1_000 {
            let row: Row = std::array::from_fn(|at| value(row, at));
            let mut ranks = [0; super::STACK_COLUMNS];
            plan.ranks_on_this_processor(&row, &mut ranks);
            let (mut walked, mut reached) = (Vec::new(), Vec::new());
            plan.reach_by_walks(&ranks, |leaf| walked.push(leaf));
            // SAFETY: the processor has what the function is compiled for; it is asked above.
            unsafe { alone.reach(&ranks, |leaf| reached.push(leaf)) };
            assert_eq!(walked, reached);
        }
    }
}
