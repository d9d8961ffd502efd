//! Reads LightGBM's text format (`version=v4`, also v3 and v2) into plain trees, as the library itself reads it.
//!
//! Numbers are taken as correctly rounded decimals, which is what the library does for thresholds and leaf values.
//! Everything the evaluator relies on is checked here: counts, ranges, and that the nodes form one tree each.
//! This is not a general model reader: what Sentra does not evaluate is refused by name.

use super::forest::{ForestError, MAX_LEAVES};
use crate::domain::features::FEATURES;
use std::collections::HashMap;
use std::str::FromStr;

/// What a text holds that evaluation needs.
pub(super) struct Parsed {
    pub(super) feature_names: Vec<String>,
    pub(super) trees: Vec<Tree>,
}

/// One tree; split 0 is the root, and a tree of one leaf has no splits.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) splits: Vec<Split>,
    pub(super) leaves: Vec<f64>,
}

/// One inner node.
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) feature: usize,
    pub(super) test: Test,
    pub(super) left: Child,
    pub(super) right: Child,
    /// The value the node would give if it were a leaf (LightGBM prints it rounded).
    pub(super) value: f64,
}

/// Where a side of a split leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Split(usize),
    Leaf(usize),
}

/// What sends a row to the left.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// `value <= threshold`, unless the value is missing.
    Number { threshold: f64, missing: Missing, default_left: bool },
    /// The whole number is in this set (bit n of word n / 32).
    Set(Vec<u32>),
}

/// What counts as missing at a split, and so follows the default direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Missing {
    /// Nothing: NaN is compared as 0.
    None,
    /// 0 and NaN.
    Zero,
    /// NaN.
    Nan,
}

impl Tree {
    /// Where every row begins.
    pub(super) fn root(&self) -> Child {
        if self.splits.is_empty() { Child::Leaf(0) } else { Child::Split(0) }
    }

    /// The value expected at a node, before any further question is asked.
    pub(super) fn value(&self, child: Child) -> f64 {
        match child {
            Child::Split(at) => self.splits[at].value,
            Child::Leaf(leaf) => self.leaves[leaf],
        }
    }
}

const CATEGORICAL_BIT: u8 = 1;
const DEFAULT_LEFT_BIT: u8 = 2;
const END_OF_TREES: &str = "end of trees";

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Parsed, ForestError> {
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("tree") {
        return Err(ForestError::NotLightGbm);
    }
    let mut lines = lines.filter(|line| !line.is_empty()).peekable();
    let header = Section::read("the header", &mut lines);
    let feature_names = check_header(&header)?;
    let announced = header.text("tree_sizes")?.split_ascii_whitespace().count();
    let mut trees = Vec::with_capacity(announced);
    loop {
        match lines.next() {
            Some(END_OF_TREES) => break,
            Some(line) if line.starts_with("Tree=") => {
                let section = Section::read(format!("tree {}", trees.len()), &mut lines);
                trees.push(tree(&section, feature_names.len())?);
            }
            _ => return Err(ForestError::Truncated { found: trees.len(), announced }),
        }
    }
    if trees.len() != announced || trees.is_empty() {
        return Err(ForestError::Truncated { found: trees.len(), announced });
    }
    Ok(Parsed { feature_names, trees })
}

/// Refuses what is not evaluated; gives the feature names.
fn check_header(header: &Section) -> Result<Vec<String>, ForestError> {
    let classes: u32 = header.number("num_class")?;
    let per_iteration: u32 = header.number_or("num_tree_per_iteration", classes)?;
    if classes != 1 || per_iteration != 1 {
        return Err(ForestError::Multiclass { classes: classes.max(per_iteration) });
    }
    if header.lines.contains_key("average_output") {
        return Err(ForestError::AverageOutput);
    }
    let greatest: usize = header.number("max_feature_idx")?;
    let names: Vec<String> = header.text("feature_names")?.split(' ').map(str::to_owned).collect();
    if names.len() != greatest.saturating_add(1) {
        return Err(header.damaged("feature_names", "another count than max_feature_idx says"));
    }
    if names.len() > FEATURES {
        return Err(ForestError::TooManyFeatures { found: names.len() });
    }
    Ok(names)
}

fn tree(section: &Section, features: usize) -> Result<Tree, ForestError> {
    if section.number_or("is_linear", 0_u8)? != 0 {
        return Err(ForestError::LinearTrees);
    }
    let leaves: usize = section.number("num_leaves")?;
    if leaves > MAX_LEAVES {
        return Err(ForestError::TooManyLeaves { found: leaves });
    }
    if leaves == 0 {
        return Err(section.damaged("num_leaves", "0, but a tree has a leaf at least"));
    }
    let leaf_values: Vec<f64> = section.list("leaf_value", leaves)?;
    if leaf_values.iter().any(|value| !value.is_finite()) {
        return Err(section.damaged("leaf_value", "a value that is not finite"));
    }
    let splits = if leaves == 1 { Vec::new() } else { splits(section, leaves - 1, features)? };
    let tree = Tree { splits, leaves: leaf_values };
    if !is_one_tree(&tree) {
        return Err(section.damaged("left_child", "nodes that do not form one tree"));
    }
    Ok(tree)
}

fn splits(section: &Section, count: usize, features: usize) -> Result<Vec<Split>, ForestError> {
    let feature: Vec<usize> = section.list("split_feature", count)?;
    if feature.iter().any(|&index| index >= features) {
        return Err(section.damaged("split_feature", "a feature beyond max_feature_idx"));
    }
    let threshold: Vec<f64> = section.list("threshold", count)?;
    let kind: Vec<u8> = section.list_or("decision_type", count)?;
    let left: Vec<i32> = section.list("left_child", count)?;
    let right: Vec<i32> = section.list("right_child", count)?;
    let value: Vec<f64> = section.list_or("internal_value", count)?;
    let sets = Sets::read(section)?;
    (0..count)
        .map(|at| {
            let test = if kind[at] & CATEGORICAL_BIT != 0 {
                Test::Set(sets.get(threshold[at]).ok_or_else(|| section.damaged("cat_boundaries", "a missing set"))?)
            } else if threshold[at].is_nan() {
                return Err(section.damaged("threshold", "a value that is not a number"));
            } else {
                let missing = match kind[at] >> 2 & 3 {
                    0 => Missing::None,
                    1 => Missing::Zero,
                    2 => Missing::Nan,
                    _ => return Err(section.damaged("decision_type", "a missing type this version does not know")),
                };
                Test::Number { threshold: threshold[at], missing, default_left: kind[at] & DEFAULT_LEFT_BIT != 0 }
            };
            Ok(Split { feature: feature[at], test, left: child(left[at]), right: child(right[at]), value: value[at] })
        })
        .collect()
}

/// LightGBM writes leaf n as its complement, -1 - n.
fn child(written: i32) -> Child {
    match usize::try_from(written) {
        Ok(split) => Child::Split(split),
        Err(_) => Child::Leaf(!written as usize),
    }
}

/// Whether the root reaches each split and each leaf exactly once.
fn is_one_tree(tree: &Tree) -> bool {
    let mut split_seen = vec![false; tree.splits.len()];
    let mut leaf_seen = vec![false; tree.leaves.len()];
    let mut open = vec![tree.root()];
    while let Some(child) = open.pop() {
        let seen = match child {
            Child::Split(at) => split_seen.get_mut(at),
            Child::Leaf(at) => leaf_seen.get_mut(at),
        };
        match seen {
            Some(seen) if !*seen => *seen = true,
            _ => return false,
        }
        if let Child::Split(at) = child {
            open.extend([tree.splits[at].left, tree.splits[at].right]);
        }
    }
    split_seen.iter().chain(&leaf_seen).all(|&seen| seen)
}

/// The sets of categorical splits, one after another.
struct Sets {
    boundaries: Vec<usize>,
    words: Vec<u32>,
}

impl Sets {
    fn read(section: &Section) -> Result<Self, ForestError> {
        let count: usize = section.number_or("num_cat", 0)?;
        if count == 0 {
            return Ok(Self { boundaries: Vec::new(), words: Vec::new() });
        }
        let boundaries: Vec<usize> = section.list("cat_boundaries", count.saturating_add(1))?;
        let words = section.list("cat_threshold", boundaries[count])?;
        Ok(Self { boundaries, words })
    }

    /// The set a split's `threshold` numbers.
    fn get(&self, number: f64) -> Option<Vec<u32>> {
        let at = number as usize;
        let (from, to) = (*self.boundaries.get(at)?, *self.boundaries.get(at + 1)?);
        self.words.get(from..to).map(<[u32]>::to_vec)
    }
}

/// `key=value` lines up to the next section.
struct Section<'a> {
    name: String,
    lines: HashMap<&'a str, &'a str>,
}

impl<'a> Section<'a> {
    fn read<I: Iterator<Item = &'a str>>(name: impl Into<String>, lines: &mut std::iter::Peekable<I>) -> Self {
        let mut found = HashMap::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("Tree=") && *line != END_OF_TREES) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            found.insert(key, value);
        }
        Self { name: name.into(), lines: found }
    }

    fn text(&self, key: &'static str) -> Result<&'a str, ForestError> {
        self.lines.get(key).copied().ok_or_else(|| self.damaged(key, "no such line"))
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<T, ForestError> {
        self.text(key)?.parse().map_err(|_| self.damaged(key, "not a number of its kind"))
    }

    fn number_or<T: FromStr>(&self, key: &'static str, absent: T) -> Result<T, ForestError> {
        if self.lines.contains_key(key) { self.number(key) } else { Ok(absent) }
    }

    fn list<T: FromStr>(&self, key: &'static str, count: usize) -> Result<Vec<T>, ForestError> {
        let parsed: Result<Vec<T>, _> = self.text(key)?.split_ascii_whitespace().map(str::parse).collect();
        let list = parsed.map_err(|_| self.damaged(key, "not a number of its kind"))?;
        if list.len() == count { Ok(list) } else { Err(self.damaged(key, "another count of numbers than announced")) }
    }

    /// As `list`, with defaults where the line is absent (older versions).
    fn list_or<T: FromStr + Clone + Default>(&self, key: &'static str, count: usize) -> Result<Vec<T>, ForestError> {
        if self.lines.contains_key(key) { self.list(key, count) } else { Ok(vec![T::default(); count]) }
    }

    fn damaged(&self, key: &'static str, what: &'static str) -> ForestError {
        ForestError::Damaged { section: self.name.clone(), key, what }
    }
}
