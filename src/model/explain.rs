//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::forest::Forest;
use super::plan::{Plan, TreePlan};
use super::text::Tree;
use crate::domain::features::{FEATURES, Row};

impl Forest {
    /// The raw score before any feature is looked at: the sum of the roots' values.
    pub fn bias(&self) -> f64 {
        self.trees.iter().map(Tree::root_value).sum()
    }

    /// How much each feature moved the raw score of a row, in units of the raw score.
    pub fn contributions(&self, row: &Row, out: &mut Row) {
        *out = [0.0; FEATURES];
        let ranks = self.plan.ranks(row);
        let mut groups = self.plan.trees.chunks_exact(TOGETHER);
        for group in &mut groups {
            walk::<TOGETHER>(&self.plan, std::array::from_fn(|lane| group[lane]), &ranks, out);
        }
        for tree in groups.remainder() {
            walk(&self.plan, [*tree], &ranks, out);
        }
    }
}

/// Trees walked in step: each step of one waits for memory, those of several wait together.
const TOGETHER: usize = 8;

/// Adds the contributions of some trees, all walked to the depth of the deepest: a leaf leads to itself, which adds 0.
fn walk<const N: usize>(plan: &Plan, trees: [TreePlan; N], ranks: &[u16], out: &mut Row) {
    let nodes = trees.map(|tree| &plan.nodes[tree.node_base as usize..]);
    let expected = trees.map(|tree| &plan.expected[tree.node_base as usize..]);
    let mut at = [0_u16; N];
    let mut value: [f64; N] = std::array::from_fn(|lane| expected[lane][0]);
    for _ in 0..trees.iter().map(|tree| tree.depth).max().unwrap_or(0) {
        for lane in 0..N {
            let node = nodes[lane][usize::from(at[lane])];
            let column = usize::from(node.column);
            at[lane] = node.children[usize::from(ranks[column] > node.threshold)];
            let next = expected[lane][usize::from(at[lane])];
            out[plan.column_features[column]] += next - value[lane];
            value[lane] = next;
        }
    }
}

impl Tree {
    fn root_value(&self) -> f64 {
        self.splits.first().map_or(self.leaves[0], |root| root.value)
    }
}
