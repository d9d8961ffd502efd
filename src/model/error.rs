//! Why a model cannot be loaded or written: one line each, naming the setting or file and the way out.

use super::forest::ForestError;
use crate::domain::features::FEATURE_SET;
use std::path::PathBuf;

/// Why there is no model to score with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Nothing there.
    #[error("model.path (MODEL_PATH): no model in {}: name a model folder, or a folder with an `active` file, or run `sentra train`", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A pickle.
    #[error("model.path (MODEL_PATH): {} is a pickle; pickles are not loaded, as they run code: run `sentra train`", path.display())]
    Pickle {
        /// The setting's value.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("model.path (MODEL_PATH): cannot read {}: {what}: check the folder and its permissions, or run `sentra train`", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        what: String,
    },
    /// A file that is not what it should be.
    #[error("model.path (MODEL_PATH): {} is damaged: {what}: copy the folder again, or run `sentra train`", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file other than the one that was written.
    #[error("model.path (MODEL_PATH): {} is damaged: its SHA-256 is not the one in model.json: copy the folder again, or run `sentra train`", file.display())]
    Checksum {
        /// The file.
        file: PathBuf,
    },
    /// Trained on another set.
    #[error(
        "model.path (MODEL_PATH): the model is of feature set `{found}`, this program computes `{FEATURE_SET}`: use another model, or run `sentra train`"
    )]
    FeatureSet {
        /// The model's.
        found: String,
    },
    /// Trained on other features.
    #[error(
        "model.path (MODEL_PATH): feature {position} of the model is `{found}`, expected `{expected}`: use another model, or run `sentra train`"
    )]
    Features {
        /// From 0.
        position: usize,
        /// The model's.
        found: String,
        /// The table's.
        expected: &'static str,
    },
    /// Trees that are not evaluated.
    #[error("model.path (MODEL_PATH): {0}")]
    Forest(#[from] ForestError),
    /// A name that cannot be a folder.
    #[error("model name or version `{found}`: use 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot")]
    Name {
        /// As given.
        found: String,
    },
    /// A version is never overwritten.
    #[error("{} is there already: choose another version, or remove it", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {what}: check the folder and its permissions", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        what: String,
    },
}
