//! Many rows through the trees together, a bit a row: a word tells of 64 rows what a split says of them.
//!
//! A library's histogram has at most 255 bins a feature, so a value's rank among a feature's thresholds fits a byte, and one
//! comparison answers a split's question for 16 to 64 rows at once. Trees share many questions: each is asked once. Who reaches a
//! split goes on to one of its sides, by two operations on words for all rows; who reaches which leaf makes the bits of its
//! number. So no branch depends on a row, and a forest is read once for [`TOGETHER`] rows. Models with finer thresholds or larger
//! trees have no such plan, and go through `evaluate`'s wider lanes.

use super::evaluate::{Scores, read};
use super::lanes::{Aligned, LANES, LEAVES, Leaves, PLANES, Reached, Sums, above, add_leaves, numbers};
#[cfg(target_arch = "x86_64")]
use super::lanes::{above_avx512, add_leaves_avx512, numbers_avx512};
use super::plan::{Column, FeaturePlan, Node, Plan};
#[cfg(target_arch = "x86_64")]
use super::thresholds::has_avx512;
use super::thresholds::{MOST_THRESHOLDS, Thresholds};
use crate::domain::features::Row;
use std::borrow::Borrow;

/// Words that go through the trees together.
const WORDS: usize = 4;

/// Rows that go through the trees together.
pub(super) const TOGETHER: usize = WORDS * LANES;

/// The most columns and questions: they are numbered in 16 bits.
const MOST: usize = 65_535;

/// The splits of a tree of the most leaves.
const SPLITS: usize = LEAVES - 1;

/// Who reaches what: first each leaf, by its number, then the root and each split that another leads to; last comes what nobody
/// reaches.
const PLACES: usize = 64;
const ROOT: u8 = LEAVES as u8;
const NOBODY: u8 = PLACES as u8 - 1;

/// Trees whose leaves stay in the nearest cache while they are added lane by lane.
const TREES_AT_ONCE: usize = 20;

/// What every row's columns see, a row a lane.
type Ranks = [Aligned<[i8; LANES]>];

/// Of all rows, those of which something is so.
pub(super) type Rows = [u64; WORDS];

/// The compiled splits of a forest of small trees over coarse thresholds.
#[derive(Clone, Debug)]
pub(super) struct BytePlan {
    /// Each feature's.
    pub(super) thresholds: Vec<Thresholds>,
    /// Column by column.
    questions: Vec<Question>,
    /// Each tree's, level by level. Trees of fewer splits have some that nobody reaches.
    splits: Vec<[Split; SPLITS]>,
    leaves: Vec<Leaves>,
    /// The number that the plan gives each tree's first leaf; the others follow.
    first_leaves: Vec<u32>,
}

/// Whether a column's rank is above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    column: u16,
    threshold: u16,
}

/// Sends those who reach it to one of two places: to the second where the answer is yes.
#[derive(Clone, Copy, Debug)]
struct Split {
    question: u16,
    from: u8,
    to: [u8; 2],
}

impl BytePlan {
    /// The plan's splits by bytes, where they fit.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let coarse = |feature: &FeaturePlan| feature.thresholds.len() <= MOST_THRESHOLDS;
        if !plan.features.iter().all(coarse) || !plan.trees.iter().all(|tree| tree.has_masks()) || plan.columns > MOST {
            return None;
        }
        let all = plan.trees.iter().flat_map(|tree| &plan.nodes[tree.node_base as usize..][..usize::from(tree.splits)]);
        let mut questions: Vec<Question> = all.map(Question::of).collect();
        questions.sort_unstable();
        questions.dedup();
        if !(1..=MOST).contains(&questions.len()) {
            return None;
        }
        let (mut splits, mut leaves) = (Vec::new(), Vec::new());
        for tree in &plan.trees {
            let nodes = &plan.nodes[tree.node_base as usize..];
            splits.push(compile(nodes, usize::from(tree.splits), &questions));
            let own = &plan.leaves[tree.leaf_base as usize..][..=usize::from(tree.splits)];
            leaves.push(Aligned(std::array::from_fn(|leaf| own.get(leaf).copied().unwrap_or_default())));
        }
        let thresholds = plan.features.iter().map(|feature| Thresholds::of(&feature.thresholds)).collect();
        let first_leaves = plan.trees.iter().map(|tree| tree.leaf_base).collect();
        Some(Self { thresholds, questions, splits, leaves, first_leaves })
    }

    /// Appends the scores of at most [`TOGETHER`] rows and the leaves that they reached, by the vectors this processor has: the
    /// same code, the same bits.
    pub(super) fn raw_on_this_processor(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
            return unsafe { self.raw_avx512(plan, rows, out) };
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { self.raw_avx2(plan, rows, out) };
        }
        self.raw_portable(plan, rows, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    fn raw_avx512(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        let below = |thresholds: &Thresholds, values: &[f64], found: &mut [u16]| thresholds.below_avx512(values, found);
        let above = |ranks: &[i8; LANES], threshold| above_avx512(ranks, threshold);
        let numbers = |planes: &[u64; PLANES]| numbers_avx512(planes);
        self.raw(plan, rows, out, below, above, numbers, |trees, reached, sums| {
            add_leaves_avx512(trees, reached, sums)
        });
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn raw_avx2(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        self.raw_portable(plan, rows, out);
    }

    #[inline(always)]
    fn raw_portable(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        self.raw(plan, rows, out, Thresholds::below, above, numbers, add_leaves);
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what differs from processor to processor")]
    fn raw(
        &self,
        plan: &Plan,
        rows: &[impl Borrow<Row>],
        out: &mut Scores,
        below: impl Fn(&Thresholds, &[f64], &mut [u16]),
        above: impl Fn(&[i8; LANES], i8) -> u64,
        numbers: impl Fn(&[u64; PLANES]) -> Reached,
        add_leaves: impl Fn(&[Leaves], &[Reached], &mut Sums),
    ) {
        let words = rows.len().div_ceil(LANES);
        out.answers.resize(self.questions.len(), Rows::default());
        let mut ranks = vec![Aligned([0_i8; LANES]); plan.columns];
        for (word, rows) in rows.chunks(LANES).enumerate() {
            self.rank(plan, rows, &below, &mut ranks);
            for (question, answer) in self.questions.iter().zip(&mut out.answers) {
                answer[word] = above(&ranks[usize::from(question.column)].0, byte(question.threshold));
            }
        }
        let (first, trees) = (out.reached.len(), self.leaves.len());
        out.reached.resize(first + words * trees, Aligned([0; LANES]));
        let reached = &mut out.reached[first..];
        let mut sums = [const { Aligned([0.0; LANES]) }; WORDS];
        for from in (0..trees).step_by(TREES_AT_ONCE) {
            let to = trees.min(from + TREES_AT_ONCE);
            for tree in from..to {
                let planes = planes(&self.splits[tree], &out.answers);
                for word in 0..words {
                    reached[word * trees + tree] = numbers(&planes.map(|plane| plane[word]));
                }
            }
            for (word, sums) in sums.iter_mut().enumerate().take(words) {
                add_leaves(&self.leaves[from..to], &reached[word * trees + from..][..to - from], sums);
            }
        }
        out.raw.extend(sums.iter().flat_map(|sums| sums.0).take(rows.len()));
    }

    /// The leaves, as the plan numbers them, that a lane reached, `reached` being what [`BytePlan::raw`] found.
    pub(super) fn numbered(&self, reached: &[Reached], lane: usize) -> Vec<usize> {
        let trees = self.first_leaves.iter().zip(reached);
        trees.map(|(first, reached)| *first as usize + usize::from(reached.0[lane])).collect()
    }

    /// Tells each column what it sees of each row.
    #[inline(always)]
    fn rank(
        &self,
        plan: &Plan,
        rows: &[impl Borrow<Row>],
        below: &impl Fn(&Thresholds, &[f64], &mut [u16]),
        ranks: &mut Ranks,
    ) {
        for (feature, thresholds) in plan.features.iter().zip(&self.thresholds) {
            let mut values = [0.0; LANES];
            for (value, row) in values.iter_mut().zip(rows) {
                *value = read(row.borrow()[feature.feature]);
            }
            let mut found = [0_u16; LANES];
            below(thresholds, &values[..rows.len()], &mut found[..rows.len()]);
            let (mut nan, mut zero, mut ranked) = ([0_i8; LANES], [0_i8; LANES], [0_i8; LANES]);
            for (((nan, zero), ranked), (value, found)) in
                nan.iter_mut().zip(&mut zero).zip(&mut ranked).zip(values.iter().zip(&found))
            {
                (*nan, *zero, *ranked) = (ones(value.is_nan()), ones(*value == 0.0), byte(*found));
            }
            for column in &feature.columns {
                let to = &mut ranks[column.at()].0;
                match column {
                    // [`Column::see`], for all lanes at once.
                    Column::Rank { when_nan, when_zero, .. } => {
                        let (when_nan, when_zero) = (byte(*when_nan), byte(*when_zero));
                        for (((to, rank), nan), zero) in to.iter_mut().zip(&ranked).zip(&nan).zip(&zero) {
                            *to = (when_nan & nan) | (when_zero & zero) | (rank & !(nan | zero));
                        }
                    }
                    Column::Set { .. } => {
                        for (to, value) in to.iter_mut().zip(&values) {
                            *to = byte(column.see(*value, 0));
                        }
                    }
                }
            }
        }
    }
}

impl Question {
    fn of(node: &Node) -> Self {
        Self { column: node.column, threshold: node.threshold }
    }
}

/// A tree's splits; `nodes` begin with so many of them.
fn compile(nodes: &[Node], splits: usize, questions: &[Question]) -> [Split; SPLITS] {
    // Level by level: who waits for another split stands well behind it.
    let mut level = if splits > 0 { vec![(0, ROOT)] } else { Vec::new() };
    let mut compiled = Vec::with_capacity(SPLITS);
    while !level.is_empty() {
        let mut next = Vec::new();
        for (at, from) in level {
            let node: &Node = &nodes[at];
            let to = node.children.map(usize::from).map(|child| match child.checked_sub(splits) {
                Some(leaf) => leaf as u8,
                None => {
                    next.push((child, ROOT + child as u8));
                    ROOT + child as u8
                }
            });
            let question = questions.partition_point(|question| *question < Question::of(node)) as u16;
            compiled.push(Split { question, from, to });
        }
        level = next;
    }
    // Whom no leaf is told of is at the first: so is everybody in a tree of one leaf.
    let nobodys = |at: usize| Split { question: 0, from: NOBODY, to: [at as u8 + 1; 2] };
    std::array::from_fn(|at| compiled.get(at).copied().unwrap_or(nobodys(at)))
}

/// The bits of the numbers of the leaves that rows reach in a tree.
#[inline(always)]
fn planes(splits: &[Split; SPLITS], answers: &[Rows]) -> [Rows; PLANES] {
    let mut reach = [Rows::default(); PLACES];
    reach[usize::from(ROOT)] = [u64::MAX; WORDS];
    for Split { question, from, to } in splits {
        let (here, right) = (reach[usize::from(*from) % PLACES], answers[usize::from(*question)]);
        let [no, yes] = to.map(|to| usize::from(to) % PLACES);
        for word in 0..WORDS {
            reach[no][word] = here[word] & !right[word];
            reach[yes][word] = here[word] & right[word];
        }
    }
    // A number's lowest bit is that of every second leaf; then pairs are as leaves were.
    let mut planes = [Rows::default(); PLANES];
    for (bit, plane) in planes.iter_mut().enumerate() {
        for pair in 0..LEAVES >> (bit + 1) {
            let [even, odd] = [reach[2 * pair], reach[2 * pair + 1]];
            for word in 0..WORDS {
                plane[word] |= odd[word];
                reach[pair][word] = even[word] | odd[word];
            }
        }
    }
    planes
}

/// All ones where it is so: a comparison that no compiler turns into a branch.
#[inline(always)]
fn ones(so: bool) -> i8 {
    -i8::from(so)
}

/// A rank or threshold as a signed byte: vectors compare those.
#[inline(always)]
fn byte(rank: u16) -> i8 {
    (rank.min(255) as u8 ^ 0x80) as i8
}

#[cfg(test)]
#[path = "bytes_tests.rs"]
mod tests;
