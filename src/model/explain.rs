//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::evaluate::Score;
use super::forest::Forest;
use super::text::{Child, Tree};
use crate::domain::{
    features::{FEATURES, Row},
    prefetch::prefetch,
};

impl Forest {
    /// The raw score before any feature is looked at: the sum of the roots' values.
    pub fn bias(&self) -> f64 {
        self.trees.iter().map(|tree| tree.value(tree.root())).sum()
    }

    /// How much each feature moved the raw score of a row, in units of the raw score.
    pub fn contributions(&self, row: &Row, out: &mut Row) {
        let mut leaves = Vec::with_capacity(self.trees.len());
        self.plan.reach(row, |leaf| leaves.push(leaf));
        *out = self.ways.sum(&leaves);
    }

    /// The same of a row that was scored: where its leaves are known they are not looked for.
    pub fn explain(&self, row: &Row, score: &Score<'_>, out: &mut Row) {
        match (&self.plan.bytes, score.reached(self.trees.len())) {
            (Some(bytes), Some((reached, lane))) => *out = self.ways.sum(&bytes.numbered(reached, lane)),
            _ => self.contributions(row, out),
        }
    }
}

/// Steps that one way has room for: they and the places fill a line of the cache, and most leaves lie behind no more features.
const STEPS: usize = 7;

/// Places of a sum: of the features, and of what fills a way up.
const PLACES: usize = 32;
const _: () = assert!(FEATURES + STEPS <= PLACES);

/// By how much the features on the way to each leaf moved the expected value, worked out when the model is loaded: first the ways
/// to all leaves, as the plan numbers them (tree by tree, from left to right), then where those go on that take more steps.
///
/// Rows are seldom explained, and by then the ways have left the cache: so each is one line of it, all are sent for before the
/// first is read, and every step of a way is added, for how many count could not be foreseen.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways(Vec<Way>);

/// Some steps, each with the place that it is added at.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Way {
    moved: [f64; STEPS],
    places: [u8; STEPS],
    /// Whether the last step is none, but says where the way goes on.
    goes_on: bool,
}

const _: () = assert!(size_of::<Way>() == 64);

impl Ways {
    pub(super) fn of(trees: &[Tree]) -> Self {
        let mut leaves = Vec::new();
        for tree in trees {
            let mut open = vec![(tree.root(), [None; FEATURES])];
            while let Some((child, moved)) = open.pop() {
                let Child::Split(at) = child else {
                    leaves.push(moved);
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
        let mut ways = Self(vec![Way::NOWHERE; leaves.len()]);
        for (leaf, moved) in leaves.iter().enumerate() {
            let steps = moved.iter().enumerate().filter_map(|(feature, moved)| Some((feature as u8, (*moved)?)));
            ways.lay(leaf, &steps.collect::<Vec<_>>());
        }
        ways
    }

    /// Lays a way, and behind all others what of it does not fit.
    fn lay(&mut self, at: usize, steps: &[(u8, f64)]) {
        let (fit, rest) = steps.split_at(if steps.len() > STEPS { STEPS - 1 } else { steps.len() });
        let next = self.0.len();
        let way = &mut self.0[at];
        for (step, (place, moved)) in fit.iter().enumerate() {
            (way.places[step], way.moved[step]) = (*place, *moved);
        }
        if !rest.is_empty() {
            way.goes_on = true;
            way.moved[STEPS - 1] = f64::from_bits(next as u64);
            self.0.push(Way::NOWHERE);
            self.lay(next, rest);
        }
    }

    /// Sums up what the ways to these leaves say.
    fn sum(&self, leaves: &[usize]) -> Row {
        leaves.iter().for_each(|leaf| prefetch(std::slice::from_ref(&self.0[*leaf])));
        // Two sums, for a step waits for the one before it at the same place.
        let mut sums = [[0.0; PLACES]; 2];
        for (at, leaf) in leaves.iter().enumerate() {
            let sums = &mut sums[at % 2];
            let mut way = &self.0[*leaf];
            while way.goes_on {
                way.add(STEPS - 1, sums);
                way = &self.0[way.moved[STEPS - 1].to_bits() as usize];
            }
            way.add(STEPS, sums);
        }
        std::array::from_fn(|feature| sums[0][feature] + sums[1][feature])
    }
}

impl Way {
    /// Steps of no length, each at a place of its own behind the features.
    const NOWHERE: Self = {
        let mut places = [0; STEPS];
        let mut at = 0;
        while at < STEPS {
            places[at] = (FEATURES + at) as u8;
            at += 1;
        }
        Self { moved: [0.0; STEPS], places, goes_on: false }
    };

    #[inline(always)]
    fn add(&self, steps: usize, sums: &mut [f64; PLACES]) {
        for (place, moved) in self.places[..steps].iter().zip(&self.moved) {
            sums[usize::from(*place) % PLACES] += moved;
        }
    }
}
