//! The compiled form of a forest: every question a split asks becomes a comparison of two small whole numbers.
//!
//! A feature's distinct thresholds are sorted once; a value is replaced by its *rank*, the number of thresholds below
//! it, so that `value <= threshold[i]` is exactly `rank <= i`: no threshold is ever rounded. A *column* is what one
//! kind of split sees of a feature: its rank, with missing values sent to one end by the default direction, or, for a
//! categorical split, 0 in the set and 1 outside. A split is then `rank[column] > threshold` for both kinds.

#[cfg(target_arch = "x86_64")]
use super::alone::Alone;
use super::bytes::BytePlan;
use super::forest::{ForestError, MAX_THRESHOLDS};
use super::text::{Child, Missing, Test, Tree};
use crate::domain::features::FEATURES;
use std::collections::BTreeMap;

/// Above every threshold's rank: to the right at any split.
const ALWAYS_RIGHT: u16 = u16::MAX;
/// Not above any threshold's rank: to the left at any split.
const ALWAYS_LEFT: u16 = 0;

/// The greatest tree that has a leaf mask; larger ones are walked.
pub(super) const MASK_LEAVES: usize = u32::BITS as usize;

/// A whole forest.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) features: Vec<FeaturePlan>,
    /// How many columns there are, over all features.
    pub(super) columns: usize,
    pub(super) trees: Vec<TreePlan>,
    /// The nodes of all trees, splits first and then leaves within a tree.
    pub(super) nodes: Vec<Node>,
    /// The masks of all small trees' splits.
    pub(super) masks: Vec<MaskNode>,
    /// The leaf values of all trees, from left to right.
    pub(super) leaves: Vec<f64>,
    /// The same splits by bytes, where they fit.
    pub(super) bytes: Option<BytePlan>,
    /// The same splits for one row, where they fit.
    #[cfg(target_arch = "x86_64")]
    pub(super) alone: Option<Alone>,
}

/// A feature that some split reads.
#[derive(Clone, Debug)]
pub(super) struct FeaturePlan {
    /// Its position in the row.
    pub(super) feature: usize,
    /// Distinct thresholds, rising.
    pub(super) thresholds: Vec<f64>,
    pub(super) columns: Vec<Column>,
}

/// What one kind of split sees of a feature.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// The rank, but for NaN and zero.
    Rank { at: usize, when_nan: u16, when_zero: u16 },
    /// Membership of a set.
    Set { at: usize, words: Vec<u32> },
}

/// Where a tree's parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreePlan {
    pub(super) node_base: u32,
    pub(super) leaf_base: u32,
    pub(super) mask_base: u32,
    pub(super) splits: u16,
    pub(super) depth: u16,
}

/// A split of the walk: `children[(rank[column] > threshold)]`; a leaf leads to itself.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Node {
    pub(super) threshold: u16,
    pub(super) column: u16,
    pub(super) children: [u16; 2],
}

/// A split of the masks: where it sends a row to the right, the leaves of its left side are out.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaskNode {
    pub(super) column: u16,
    pub(super) threshold: u16,
    pub(super) out: u32,
}

/// What tells two columns of one feature apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Rank { missing: Missing, default_left: bool },
    Set(Vec<u32>),
}

impl Plan {
    pub(super) fn compile(trees: &[Tree]) -> Result<Self, ForestError> {
        let thresholds = thresholds(trees)?;
        let numbers = number_questions(trees)?;
        let mut plan = Self {
            features: features(&thresholds, &numbers),
            columns: numbers.len(),
            trees: Vec::with_capacity(trees.len()),
            nodes: Vec::new(),
            masks: Vec::new(),
            leaves: Vec::new(),
            bytes: None,
            #[cfg(target_arch = "x86_64")]
            alone: None,
        };
        for tree in trees {
            plan.push(tree, &thresholds, &numbers);
        }
        plan.bytes = BytePlan::of(&plan);
        #[cfg(target_arch = "x86_64")]
        {
            plan.alone = Alone::of(&plan);
        }
        Ok(plan)
    }

    fn push(&mut self, tree: &Tree, thresholds: &[Vec<f64>], numbers: &BTreeMap<(usize, Question), u16>) {
        let walk = Walk::of(tree);
        let splits = tree.splits.len() as u16;
        let at = TreePlan {
            node_base: self.nodes.len() as u32,
            leaf_base: self.leaves.len() as u32,
            mask_base: self.masks.len() as u32,
            splits,
            depth: walk.depth,
        };
        let target = |child: Child| match child {
            Child::Split(split) => split as u16,
            Child::Leaf(leaf) => splits + walk.position[leaf],
        };
        for (split, range) in tree.splits.iter().zip(&walk.left_leaves) {
            let threshold = match split.test {
                Test::Number { threshold, .. } => thresholds[split.feature].partition_point(|t| *t < threshold) as u16,
                Test::Set(_) => 0,
            };
            let column = numbers[&(split.feature, question(&split.test))];
            self.nodes.push(Node { threshold, column, children: [target(split.left), target(split.right)] });
            if at.has_masks() {
                self.masks.push(MaskNode { column, threshold, out: bits(range.clone()) });
            }
        }
        for leaf in 0..tree.leaves.len() as u16 {
            self.nodes.push(Node { threshold: 0, column: 0, children: [splits + leaf; 2] });
        }
        let leaf_base = self.leaves.len();
        self.leaves.resize(leaf_base + tree.leaves.len(), 0.0);
        for (leaf, value) in tree.leaves.iter().enumerate() {
            self.leaves[leaf_base + usize::from(walk.position[leaf])] = *value;
        }
        self.trees.push(at);
    }
}

impl TreePlan {
    /// Whether the tree's splits have leaf masks.
    pub(super) fn has_masks(self) -> bool {
        usize::from(self.splits) < MASK_LEAVES
    }
}

impl FeaturePlan {
    /// How many thresholds lie below the value (0 for NaN, which each column treats on its own).
    pub(super) fn rank(&self, value: f64) -> u16 {
        self.thresholds.partition_point(|threshold| *threshold < value) as u16
    }
}

impl Column {
    /// What the column's splits see of a value and its rank.
    pub(super) fn see(&self, value: f64, rank: u16) -> u16 {
        match self {
            Self::Rank { when_nan, when_zero, .. } => {
                let rank = if value == 0.0 { *when_zero } else { rank };
                if value.is_nan() { *when_nan } else { rank }
            }
            Self::Set { words, .. } => u16::from(!holds(words, value)),
        }
    }

    /// The column's number.
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Rank { at, .. } | Self::Set { at, .. } => *at,
        }
    }
}

/// Whether a set holds the value's whole part; NaN, negatives and what is beyond the set are outside.
fn holds(words: &[u32], value: f64) -> bool {
    if value.is_nan() {
        return false;
    }
    let Ok(number) = usize::try_from(value as i32) else { return false };
    words.get(number / 32).is_some_and(|word| word >> (number % 32) & 1 != 0)
}

/// A bit for each of some places below 32.
pub(super) const fn bits(places: std::ops::Range<u16>) -> u32 {
    let below = (1_u64 << places.start) - 1;
    (((1_u64 << places.end) - 1) & !below) as u32
}

fn question(test: &Test) -> Question {
    match test {
        // Nothing is missing, so the default direction is never followed.
        Test::Number { missing: Missing::None, .. } => Question::Rank { missing: Missing::None, default_left: false },
        Test::Number { missing, default_left, .. } => Question::Rank { missing: *missing, default_left: *default_left },
        Test::Set(words) => Question::Set(words.clone()),
    }
}

/// Each feature's distinct thresholds, rising.
fn thresholds(trees: &[Tree]) -> Result<Vec<Vec<f64>>, ForestError> {
    let mut all = vec![Vec::new(); FEATURES];
    for split in trees.iter().flat_map(|tree| &tree.splits) {
        if let Test::Number { threshold, .. } = split.test {
            // -0.0 compares as 0.0 but sorts before it.
            all[split.feature].push(threshold + 0.0);
        }
    }
    for (feature, list) in all.iter_mut().enumerate() {
        list.sort_by(f64::total_cmp);
        list.dedup();
        if list.len() > MAX_THRESHOLDS {
            return Err(ForestError::TooManyThresholds { feature, found: list.len() });
        }
    }
    Ok(all)
}

fn number_questions(trees: &[Tree]) -> Result<BTreeMap<(usize, Question), u16>, ForestError> {
    let mut numbers: BTreeMap<(usize, Question), u16> = BTreeMap::new();
    for split in trees.iter().flat_map(|tree| &tree.splits) {
        numbers.insert((split.feature, question(&split.test)), 0);
    }
    let found = numbers.len();
    for (at, number) in numbers.values_mut().enumerate() {
        *number = u16::try_from(at).map_err(|_| ForestError::TooManyColumns { found })?;
    }
    Ok(numbers)
}

fn features(thresholds: &[Vec<f64>], numbers: &BTreeMap<(usize, Question), u16>) -> Vec<FeaturePlan> {
    let mut features: Vec<FeaturePlan> = Vec::new();
    for ((feature, question), at) in numbers {
        if features.last().is_none_or(|last| last.feature != *feature) {
            let thresholds = thresholds[*feature].clone();
            features.push(FeaturePlan { feature: *feature, thresholds, columns: Vec::new() });
        }
        let last = features.len() - 1;
        let zero = features[last].rank(0.0);
        let at = usize::from(*at);
        let column = match question {
            Question::Set(words) => Column::Set { at, words: words.clone() },
            Question::Rank { missing, default_left } => {
                let default = if *default_left { ALWAYS_LEFT } else { ALWAYS_RIGHT };
                let (when_nan, when_zero) = match missing {
                    Missing::None => (zero, zero),
                    Missing::Zero => (default, default),
                    Missing::Nan => (default, zero),
                };
                Column::Rank { at, when_nan, when_zero }
            }
        };
        features[last].columns.push(column);
    }
    features
}

/// The order of a tree's leaves from left to right.
struct Walk {
    /// Of each leaf as LightGBM numbers it.
    position: Vec<u16>,
    /// Of each split: the leaves of its left side.
    left_leaves: Vec<std::ops::Range<u16>>,
    /// The longest path, in splits.
    depth: u16,
}

/// A step of the walk.
enum Step {
    Enter(Child, u16),
    LeftDone(usize, u16),
}

impl Walk {
    fn of(tree: &Tree) -> Self {
        let mut walk =
            Self { position: vec![0; tree.leaves.len()], left_leaves: vec![0..0; tree.splits.len()], depth: 0 };
        let mut next = 0_u16;
        let mut open = vec![Step::Enter(tree.root(), 0)];
        while let Some(step) = open.pop() {
            match step {
                Step::Enter(Child::Leaf(leaf), depth) => {
                    walk.position[leaf] = next;
                    walk.depth = walk.depth.max(depth);
                    next += 1;
                }
                Step::Enter(Child::Split(at), depth) => {
                    open.push(Step::Enter(tree.splits[at].right, depth + 1));
                    open.push(Step::LeftDone(at, next));
                    open.push(Step::Enter(tree.splits[at].left, depth + 1));
                }
                Step::LeftDone(at, first) => walk.left_leaves[at] = first..next,
            }
        }
        walk
    }
}
