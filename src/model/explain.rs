//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::forest::Forest;
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
        let plan = &self.plan;
        let ranks = plan.ranks(row);
        for tree in &plan.trees {
            let (nodes, expected) = (&plan.nodes[tree.node_base as usize..], &plan.expected[tree.node_base as usize..]);
            let mut at = 0;
            let mut value = expected[0];
            while at < tree.splits {
                let node = nodes[usize::from(at)];
                let column = usize::from(node.column);
                at = node.children[usize::from(ranks[column] > node.threshold)];
                let next = expected[usize::from(at)];
                out[plan.column_features[column]] += next - value;
                value = next;
            }
        }
    }
}

impl Tree {
    fn root_value(&self) -> f64 {
        self.splits.first().map_or(self.leaves[0], |root| root.value)
    }
}
