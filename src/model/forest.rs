//! A gradient-boosted forest as LightGBM trained it, compiled for evaluation.
//!
//! Invariant: a forest that parsed is evaluable: every index is in range, every tree is one tree, and the raw score
//! of any row is the library's to the last bit (`tests/evaluator.rs`). What cannot be evaluated so is refused here.

use super::explain::Ways;
use super::plan::Plan;
use super::text::{self, Tree};
use crate::domain::features::FEATURES;

/// The most leaves a tree may have: split and leaf numbers share 16 bits in the plan.
pub const MAX_LEAVES: usize = 32_768;

/// The most distinct thresholds one feature may have: their ranks are 16 bits, with one value kept apart.
pub const MAX_THRESHOLDS: usize = 65_534;

/// The trees and their compiled form.
#[derive(Clone, Debug)]
pub struct Forest {
    feature_names: Vec<String>,
    pub(super) trees: Vec<Tree>,
    pub(super) plan: Plan,
    pub(super) ways: Ways,
}

impl Forest {
    /// Reads LightGBM's text format and compiles it.
    ///
    /// # Errors
    /// What the text lacks, or what Sentra does not evaluate, with the way out.
    pub fn parse(text: &str) -> Result<Self, ForestError> {
        let parsed = text::parse(text)?;
        let plan = Plan::compile(&parsed.trees)?;
        let ways = Ways::of(&parsed.trees);
        Ok(Self { feature_names: parsed.feature_names, trees: parsed.trees, plan, ways })
    }

    /// The features the model was trained on, in order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// How many features the model was trained on; a row may have more, the rest is not read.
    pub fn num_features(&self) -> usize {
        self.feature_names.len()
    }

    /// How many trees are summed.
    pub fn num_trees(&self) -> usize {
        self.trees.len()
    }
}

/// Why a text is not a forest that Sentra evaluates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// The first line is not LightGBM's.
    #[error(
        "this is not LightGBM's text format (its first line is `tree`): save the model with save_model, or train one with `sentra train`"
    )]
    NotLightGbm,
    /// The file ends early, or trees are missing.
    #[error("the model text is cut short: {found} of {announced} trees are there: copy the file again, or train anew")]
    Truncated {
        /// Trees read.
        found: usize,
        /// Trees the header announces.
        announced: usize,
    },
    /// A line is missing, or is not what it should be.
    #[error("the model text is damaged: {section}, line `{key}`: {what}: copy the file again, or train anew")]
    Damaged {
        /// The header, or which tree.
        section: String,
        /// The line's key.
        key: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Linear models in the leaves.
    #[error("the model has linear trees, which are not evaluated: train with linear_tree=false")]
    LinearTrees,
    /// More than one score a row.
    #[error("the model has {classes} classes, Sentra needs one score: train with objective=binary")]
    Multiclass {
        /// Classes, or trees an iteration.
        classes: u32,
    },
    /// A random forest, whose trees are averaged.
    #[error("the model is a random forest (average_output), which is not evaluated: train with boosting=gbdt")]
    AverageOutput,
    /// More features than a row has.
    #[error(
        "the model has {found} features, a row has {FEATURES}: train it on Sentra's feature set with `sentra train`"
    )]
    TooManyFeatures {
        /// Features of the model.
        found: usize,
    },
    /// A tree beyond the evaluator's limit.
    #[error("a tree has {found} leaves, at most {MAX_LEAVES} are evaluated: train with fewer num_leaves")]
    TooManyLeaves {
        /// Leaves of the tree.
        found: usize,
    },
    /// A feature beyond the evaluator's limit.
    #[error(
        "feature {feature} has {found} distinct thresholds, at most {MAX_THRESHOLDS} are evaluated: train with a smaller max_bin"
    )]
    TooManyThresholds {
        /// The feature's position.
        feature: usize,
        /// Its distinct thresholds.
        found: usize,
    },
    /// More columns than the plan can number.
    #[error(
        "the model asks {found} different questions of its features, at most 65535 are evaluated: train with fewer categorical splits"
    )]
    TooManyColumns {
        /// Columns the plan would need.
        found: usize,
    },
}
