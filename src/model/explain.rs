//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::evaluate::Score;
use super::forest::Forest;
use super::text::{Child, Tree};
use crate::domain::features::{FEATURES, Row};

impl Forest {
    /// The raw score before any feature is looked at: the sum of the roots' values.
    pub fn bias(&self) -> f64 {
        self.trees.iter().map(|tree| tree.value(tree.root())).sum()
    }

    /// How much each feature moved the raw score of a row, in units of the raw score.
    pub fn contributions(&self, row: &Row, out: &mut Row) {
        let mut leaves = Vec::with_capacity(self.trees.len());
        self.plan.reach(row, |leaf| leaves.push(leaf));
        self.paths.add(&leaves, out);
    }

    /// The same of a row that was scored: where its leaves are known they are not looked for.
    pub fn explain(&self, row: &Row, score: &Score<'_>, out: &mut Row) {
        match (&self.plan.bytes, score.reached(self.trees.len())) {
            (Some(bytes), Some((reached, lane))) => self.paths.add(&bytes.numbered(reached, lane), out),
            _ => self.contributions(row, out),
        }
    }
}

/// By how much the features on the way to each leaf moved the expected value, summed up when the model is loaded. Leaves are
/// numbered as the plan numbers them: tree by tree, from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// One past the last step of each leaf's.
    ends: Vec<u32>,
    steps: Vec<Step>,
}

/// A feature's part in the way to a leaf: a double whose last bits, which say nothing, say which feature. What a model says
/// of a row lies all over the memory, so it is kept small.
#[derive(Clone, Copy, Debug)]
struct Step(u64);

const FEATURE_MASK: u64 = 31;
const _: () = assert!(FEATURES as u64 <= FEATURE_MASK + 1);

impl Paths {
    pub(super) fn of(trees: &[Tree]) -> Self {
        let mut paths = Self::default();
        for tree in trees {
            let mut open = vec![(tree.root(), [None; FEATURES])];
            while let Some((child, moved)) = open.pop() {
                let Child::Split(at) = child else {
                    paths.push(&moved);
                    continue;
                };
                let split = &tree.splits[at];
                // The left side comes off first.
                for child in [split.right, split.left] {
                    let mut moved = moved;
                    *moved[split.feature].get_or_insert(0.0) += tree.value(child) - split.value;
                    open.push((child, moved));
                }
            }
        }
        paths
    }

    fn push(&mut self, moved: &[Option<f64>; FEATURES]) {
        for (feature, moved) in moved.iter().enumerate() {
            if let Some(moved) = moved {
                self.steps.push(Step(moved.to_bits() & !FEATURE_MASK | feature as u64));
            }
        }
        self.ends.push(self.steps.len() as u32);
    }

    /// Sums up what the ways to these leaves say.
    fn add(&self, leaves: &[usize], out: &mut Row) {
        *out = [0.0; FEATURES];
        // The ends of all are sent for before the first is read: rows are seldom explained, and by then their steps have left the
        // cache.
        let from = |leaf: usize| leaf.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let ways: Vec<_> = leaves.iter().map(|leaf| &self.steps[from(*leaf)..self.ends[*leaf] as usize]).collect();
        ways.iter().flat_map(|way| [way.first(), way.last()]).flatten().for_each(fetch);
        for way in ways {
            for Step(bits) in way {
                out[(bits & FEATURE_MASK) as usize % FEATURES] += f64::from_bits(bits & !FEATURE_MASK);
            }
        }
    }
}

/// Has the processor fetch the line in which a step is. Never shows in any result.
#[inline(always)]
fn fetch(step: &Step) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place: *const Step = step;
        // SAFETY: every x86_64 has SSE, and fetching changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = step;
}
