//! Many rows through the trees together, one byte a row and column: 64 rows fit a few registers.
//!
//! A library's histogram has at most 255 bins a feature, so a value's rank among a feature's thresholds fits a byte, and
//! one comparison serves 16 to 64 rows at once. A tree's 32 leaves are four planes of eight; a split marks what is out in
//! the planes that one of its sides touches, mostly one (after RapidScorer, Ye et al., SIGKDD 2018). Either side will do
//! where the leaves are ordered by it, so it is the smaller one. Models with finer thresholds or larger trees have no such
//! plan, and go through `evaluate`'s wider lanes.

use super::evaluate::{Scores, read};
use super::plan::{Column, FeaturePlan, Node, Plan, bits};
#[cfg(target_arch = "x86_64")]
use super::thresholds::has_avx512;
use super::thresholds::{MOST_THRESHOLDS, Thresholds};
use crate::domain::features::Row;
use std::borrow::Borrow;

/// Rows that go through the trees together.
pub(super) const LANES: usize = 64;

/// The most columns: each is there twice, and numbered in 16 bits.
const MOST_COLUMNS: usize = 32_767;

/// The most leaves of a tree, and the planes of eight that they are in.
const LEAVES: usize = 32;
const PLANES: usize = LEAVES / 8;

/// Trees whose leaves stay in the nearest cache while they are added lane by lane.
const TREES_AT_ONCE: usize = 20;

/// Lanes whose sums stay in registers meanwhile.
const AT_ONCE: usize = 8;

/// Values from the beginning of a line of the cache on: a vector that lies across two lines is loaded at half the speed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Aligned<T>(pub(super) T);

/// A tree's leaves in the order of this plan, as many as there can be.
type Leaves = Aligned<[f64; LEAVES]>;

/// What each lane's trees said so far.
type Sums = Aligned<[f64; LANES]>;

/// The leaf of one tree that each lane reached.
pub(super) type Reached = Aligned<[u8; LANES]>;

/// What every row's columns see, a row a lane.
type Ranks = [Aligned<[i8; LANES]>];

/// The compiled splits of a forest of small trees over coarse thresholds.
#[derive(Clone, Debug)]
pub(super) struct BytePlan {
    /// Each feature's.
    pub(super) thresholds: Vec<Thresholds>,
    trees: Vec<ByteTree>,
    marks: Vec<Mark>,
    /// Each tree's leaves as the plan numbers them: asked for seldom, so apart from what every row reads.
    numbers: Vec<[u32; LEAVES]>,
}

/// Where a tree's parts are.
#[derive(Clone, Debug)]
struct ByteTree {
    /// One past the last mark of each plane; they lie plane after plane, so that a plane stays in registers.
    marks: [usize; PLANES],
    leaves: Leaves,
}

/// One plane's part of a split: below the bound, these leaves are out.
#[derive(Clone, Copy, Debug)]
struct Mark {
    column: u16,
    bound: i8,
    out: i8,
}

/// A split as its smaller side sees it: below the bound, a row is on the other side.
struct Side {
    column: u16,
    bound: i8,
    /// The side's leaves, a bit each.
    out: u32,
}

/// A tree on its way into an order of leaves in which the smaller side of each split comes first.
struct Order<'p> {
    nodes: &'p [Node],
    splits: usize,
    columns: usize,
    marks: Vec<Side>,
    /// In the new order, leaves by their places from left to right in the tree.
    leaves: Vec<usize>,
}

impl Order<'_> {
    /// Orders the leaves below a node.
    fn visit(&mut self, at: usize) {
        let Some(leaf) = at.checked_sub(self.splits) else {
            let Node { threshold, column, children } = self.nodes[at];
            let [left, right] = children.map(usize::from);
            let left_first = self.size(left) <= self.size(right);
            let first = self.leaves.len();
            self.visit(if left_first { left } else { right });
            // At most 32 leaves: `Plan` holds no more.
            let out = bits(first as u16..self.leaves.len() as u16);
            self.marks.push(if left_first {
                // Above the threshold: turned round, below it.
                Side { column: column + self.columns as u16, bound: !byte(threshold), out }
            } else {
                // Not above it; no threshold is the greatest byte.
                Side { column, bound: byte(threshold) + 1, out }
            });
            return self.visit(if left_first { right } else { left });
        };
        self.leaves.push(leaf);
    }

    fn size(&self, at: usize) -> usize {
        if at >= self.splits {
            1
        } else {
            self.nodes[at].children.iter().map(|child| self.size(usize::from(*child))).sum()
        }
    }
}

impl BytePlan {
    /// The plan's splits by bytes, where they fit.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let coarse = |feature: &FeaturePlan| feature.thresholds.len() <= MOST_THRESHOLDS;
        if !plan.features.iter().all(coarse)
            || !plan.trees.iter().all(|tree| tree.has_masks())
            || plan.columns > MOST_COLUMNS
        {
            return None;
        }
        let (mut trees, mut marks, mut numbers) = (Vec::with_capacity(plan.trees.len()), Vec::new(), Vec::new());
        for tree in &plan.trees {
            let splits = usize::from(tree.splits);
            let nodes = &plan.nodes[tree.node_base as usize..][..2 * splits + 1];
            let mut order = Order { nodes, splits, columns: plan.columns, marks: Vec::new(), leaves: Vec::new() };
            order.visit(0);
            let ends = std::array::from_fn(|plane| {
                let own = order.marks.iter().map(|mark| (mark, mark.out.to_le_bytes()[plane]));
                let touching = own.filter(|(_, out)| *out != 0);
                marks.extend(touching.map(|(side, out)| Mark {
                    column: side.column,
                    bound: side.bound,
                    out: out as i8,
                }));
                marks.len()
            });
            let own = std::array::from_fn(|at| tree.leaf_base + order.leaves.get(at).map_or(0, |leaf| *leaf as u32));
            trees.push(ByteTree { marks: ends, leaves: Aligned(own.map(|leaf| plan.leaves[leaf as usize])) });
            numbers.push(own);
        }
        let thresholds = plan.features.iter().map(|feature| Thresholds::of(&feature.thresholds)).collect();
        Some(Self { thresholds, trees, marks, numbers })
    }

    /// Appends the scores of at most [`LANES`] rows and the leaves that they reached, by the vectors this processor has: the
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
        self.raw(plan, rows, out, Thresholds::below, add_leaves);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    fn raw_avx512(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        let below = |thresholds: &Thresholds, values: &_, found: &mut _| thresholds.below_avx512(values, found);
        self.raw(plan, rows, out, below, |trees, reached, sums| {
            for (tree, reached) in trees.iter().zip(reached) {
                add_leaves_avx512(&tree.leaves, reached, sums);
            }
        });
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn raw_avx2(&self, plan: &Plan, rows: &[impl Borrow<Row>], out: &mut Scores) {
        self.raw(plan, rows, out, Thresholds::below, add_leaves);
    }

    #[inline(always)]
    fn raw(
        &self,
        plan: &Plan,
        rows: &[impl Borrow<Row>],
        out: &mut Scores,
        below: impl Fn(&Thresholds, &[f64], &mut [u16]),
        add_leaves: impl Fn(&[ByteTree], &[Reached], &mut Sums),
    ) {
        // Each column, and behind them all each turned round.
        let mut ranks = vec![Aligned([0_i8; LANES]); 2 * plan.columns];
        let (upright, turned) = ranks.split_at_mut(plan.columns);
        self.rank(plan, rows, below, upright);
        for (turned, upright) in turned.iter_mut().zip(upright) {
            turned.0 = upright.0.map(|rank| !rank);
        }
        let mut sums = Aligned([0.0; LANES]);
        self.add(&ranks, &mut sums, &mut out.reached, add_leaves);
        out.raw.extend_from_slice(&sums.0[..rows.len()]);
    }

    /// The leaves, as the plan numbers them, that a lane reached, `reached` being what [`BytePlan::add`] found.
    pub(super) fn numbered(&self, reached: &[Reached], lane: usize) -> Vec<usize> {
        let reached = reached.iter().map(|reached| usize::from(reached.0[lane]) % LEAVES);
        self.numbers.iter().zip(reached).map(|(numbers, leaf)| numbers[leaf] as usize).collect()
    }

    /// Tells each column what it sees of each row.
    #[inline(always)]
    fn rank(
        &self,
        plan: &Plan,
        rows: &[impl Borrow<Row>],
        below: impl Fn(&Thresholds, &[f64], &mut [u16]),
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

    /// Adds every tree's leaf to every lane's sum, in tree order.
    #[inline(always)]
    fn add(
        &self,
        ranks: &Ranks,
        sums: &mut Sums,
        all: &mut Vec<Reached>,
        add_leaves: impl Fn(&[ByteTree], &[Reached], &mut Sums),
    ) {
        all.reserve(self.trees.len());
        let mut from = 0;
        for trees in self.trees.chunks(TREES_AT_ONCE) {
            let first = all.len();
            for tree in trees {
                let mut planes = [[0_u8; LANES]; PLANES];
                for (plane, to) in planes.iter_mut().zip(tree.marks) {
                    *plane = marked(&self.marks[from..to], ranks);
                    from = to;
                }
                all.push(reached(&planes));
            }
            add_leaves(trees, &all[first..], sums);
        }
    }
}

/// Adds the leaves that each lane reached in some trees, in their order.
#[inline(always)]
fn add_leaves(trees: &[ByteTree], reached: &[Reached], sums: &mut Sums) {
    for (at, sums) in sums.0.as_chunks_mut::<AT_ONCE>().0.iter_mut().enumerate() {
        for (tree, reached) in trees.iter().zip(reached) {
            for (sum, leaf) in sums.iter_mut().zip(&reached.0.as_chunks::<AT_ONCE>().0[at]) {
                *sum += tree.leaves.0[usize::from(*leaf) % LEAVES];
            }
        }
    }
}

/// The same with all leaves in four registers, from which a lane takes its own: the compiler would load each by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl")]
fn add_leaves_avx512(leaves: &Leaves, reached: &Reached, sums: &mut Sums) {
    use std::arch::x86_64::{
        _mm_loadl_epi64, _mm512_add_pd, _mm512_cvtepu8_epi64, _mm512_loadu_pd, _mm512_mask_blend_pd,
        _mm512_permutex2var_pd, _mm512_set1_epi64, _mm512_storeu_pd, _mm512_test_epi64_mask,
    };
    let eights = leaves.0.as_chunks::<8>().0;
    // SAFETY: each load and store is of the eight values of its array, wherever they lie.
    unsafe {
        let [a, b, c, d] = std::array::from_fn(|at| _mm512_loadu_pd(eights[at].as_ptr()));
        for (reached, sums) in reached.0.as_chunks::<8>().0.iter().zip(sums.0.as_chunks_mut::<8>().0) {
            let leaf = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reached.as_ptr().cast()));
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
        for (out, rank) in plane.iter_mut().zip(&ranks[usize::from(mark.column)].0) {
            *out |= (mark.out & ones(mark.bound > *rank)) as u8;
        }
    }
    plane
}

/// The leaf that each lane reached: the first that is not out.
#[inline(always)]
fn reached(planes: &[[u8; LANES]; PLANES]) -> Reached {
    let mut leaves = Aligned([0_u8; LANES]);
    let [a, b, c, d] = planes;
    for (leaf, (((a, b), c), d)) in leaves.0.iter_mut().zip(a.iter().zip(b).zip(c).zip(d)) {
        let beyond_a = ones(*a == u8::MAX) as u8;
        let beyond_b = ones(*b == u8::MAX) as u8 & beyond_a;
        let beyond_c = ones(*c == u8::MAX) as u8 & beyond_b;
        // The first plane of which not all is out, and in it the lowest bit that is not set.
        let plane = (a & !beyond_a) | (b & beyond_a & !beyond_b) | (c & beyond_b & !beyond_c) | (d & beyond_c);
        let first = !plane & plane.wrapping_add(1);
        let within = (4 & ones(first & 0xf0 != 0)) | (2 & ones(first & 0xcc != 0)) | (1 & ones(first & 0xaa != 0));
        *leaf = (8 & beyond_a) + (8 & beyond_b) + (8 & beyond_c) + within as u8;
    }
    leaves
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
