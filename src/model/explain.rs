//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::forest::Forest;
use super::text::{Child, Tree};
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
        for (tree, plan) in self.trees.iter().zip(&self.plan.trees) {
            let nodes = &self.plan.nodes[plan.node_base as usize..];
            let mut at = 0;
            let mut value = tree.root_value();
            while let Some(split) = tree.splits.get(at) {
                let right = ranks[usize::from(nodes[at].column)] > nodes[at].threshold;
                let next = match if right { split.right } else { split.left } {
                    Child::Split(next) => {
                        at = next;
                        tree.splits[next].value
                    }
                    Child::Leaf(leaf) => {
                        at = tree.splits.len();
                        tree.leaves[leaf]
                    }
                };
                out[split.feature] += next - value;
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
