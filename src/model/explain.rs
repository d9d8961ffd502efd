//! Why a raw score is what it is: each feature's contribution along the trees' paths (Saabas, 2014).
//!
//! A step from a node to its child changes the expected value; the change belongs to the feature the node asked about.
//! Contributions and [`Forest::bias`] add up to the raw score, up to rounding. Not Shapley values: a feature asked near
//! the root gets what it says alone, one below what it adds.

use super::evaluate::Score;
use super::forest::Forest;
use super::plan::bits;
use super::text::{Child, Tree};
#[cfg(target_arch = "x86_64")]
use super::thresholds::has_avx512;
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

/// Some steps, in the order of the places that they are added at.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Way {
    moved: [f64; STEPS],
    /// Those places, a bit each.
    places: u32,
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
        // The features' places come before those that fill a way up.
        let filling = if rest.is_empty() { STEPS - fit.len() } else { 0 };
        way.places = fit.iter().fold(filled_up(filling), |places, (place, _)| places | 1 << place);
        for (to, (_, moved)) in way.moved.iter_mut().zip(fit) {
            *to = *moved;
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
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
            return unsafe { self.sum_avx512(leaves) };
        } else if is_x86_feature_detected!("bmi1") {
            // SAFETY: as above.
            return unsafe { self.sum_bmi1(leaves) };
        }
        self.sum_by_steps(leaves)
    }

    /// The same code, compiled for processors that find a lowest bit by one instruction.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1")]
    fn sum_bmi1(&self, leaves: &[usize]) -> Row {
        self.sum_by_steps(leaves)
    }

    #[inline(always)]
    fn sum_by_steps(&self, leaves: &[usize]) -> Row {
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

    /// The same, a way's steps all at once: they go to their places in three registers, by the bits of the places.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    fn sum_avx512(&self, leaves: &[usize]) -> Row {
        use std::arch::x86_64::{__m512d, _mm512_add_pd, _mm512_setzero_pd, _mm512_storeu_pd};
        let mut sums = [[_mm512_setzero_pd(); FEATURES / EIGHT]; 2];
        let add = |leaf: usize, sums: &mut [__m512d; FEATURES / EIGHT]| {
            let mut way = &self.0[leaf];
            while way.goes_on {
                way.add_avx512(sums);
                way = &self.0[way.moved[STEPS - 1].to_bits() as usize];
            }
            way.add_avx512(sums);
        };
        let (pairs, last) = leaves.as_chunks::<2>();
        for [even, odd] in pairs {
            add(*even, &mut sums[0]);
            add(*odd, &mut sums[1]);
        }
        last.iter().for_each(|even| add(*even, &mut sums[0]));
        let mut row = [0.0; FEATURES];
        for (to, (even, odd)) in row.as_chunks_mut::<EIGHT>().0.iter_mut().zip(sums[0].iter().zip(sums[1])) {
            // SAFETY: the store is of the eight values.
            unsafe { _mm512_storeu_pd(to.as_mut_ptr(), _mm512_add_pd(*even, odd)) };
        }
        row
    }
}

impl Way {
    /// Steps of no length, each at a place of its own behind the features.
    const NOWHERE: Self = Self { moved: [0.0; STEPS], places: filled_up(STEPS), goes_on: false };

    #[inline(always)]
    fn add(&self, steps: usize, sums: &mut [f64; PLACES]) {
        let mut places = self.places;
        for moved in &self.moved[..steps] {
            sums[places.trailing_zeros() as usize % PLACES] += moved;
            places &= places.wrapping_sub(1);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    fn add_avx512(&self, sums: &mut [std::arch::x86_64::__m512d; FEATURES / EIGHT]) {
        use std::arch::x86_64::{_mm512_add_pd, _mm512_maskz_expandloadu_pd};
        let (mut from, mut places) = (self.moved.as_ptr(), self.places);
        for sums in sums {
            let own = places as u8;
            // SAFETY: as many values are read as there are places, which together are not more than the steps.
            *sums = _mm512_add_pd(*sums, unsafe { _mm512_maskz_expandloadu_pd(own, from) });
            from = from.wrapping_add(own.count_ones() as usize);
            places >>= EIGHT;
        }
    }
}

/// The first so many places of those that fill a way up.
const fn filled_up(steps: usize) -> u32 {
    bits(FEATURES as u16..(FEATURES + steps) as u16)
}

/// Values of a register.
#[cfg(target_arch = "x86_64")]
const EIGHT: usize = 8;

#[cfg(target_arch = "x86_64")]
const _: () = assert!(FEATURES.is_multiple_of(EIGHT));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_at_once_gives_the_bits_of_its_steps_one_by_one() {
        let asks = |leaf: usize, feature: usize| (feature * 7 + leaf * 11) % 24 < leaf % 25;
        let moves = |leaf: usize, feature: usize| (feature as f64 - 11.3) * (leaf as f64 + 0.7) / 3.0;
        let mut ways = Ways(vec![Way::NOWHERE; 40]);
        for leaf in 0..40 {
            let asked = (0..FEATURES).filter(|feature| asks(leaf, *feature));
            ways.lay(leaf, &asked.map(|feature| (feature as u8, moves(leaf, feature))).collect::<Vec<_>>());
        }
        let bits = |row: Row| row.map(f64::to_bits);
        for count in 0..=40 {
            let leaves: Vec<usize> = (0..count).map(|at| at * 17 % 40).collect();
            let mut sums = [[0.0; FEATURES]; 2];
            for (at, leaf) in leaves.iter().enumerate() {
                for feature in (0..FEATURES).filter(|feature| asks(*leaf, *feature)) {
                    sums[at % 2][feature] += moves(*leaf, feature);
                }
            }
            let expected = bits(std::array::from_fn(|feature| sums[0][feature] + sums[1][feature]));
            assert_eq!(bits(ways.sum_by_steps(&leaves)), expected, "{count} trees");
            assert_eq!(bits(ways.sum(&leaves)), expected, "{count} trees on this processor");
        }
    }
}
