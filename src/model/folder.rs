//! The model folder `models/<name>/<version>/`: reading it whole or not at all, and writing it.
//!
//! | file | what it holds |
//! |---|---|
//! | `model.txt` | LightGBM's own text |
//! | `model.json` | the [`Manifest`]: feature set, names, calibration, score map, checksums |
//! | `scaling.json`, `metrics.json` | distribution of the features; quality on validation data |
//! | `MODEL_CARD.md` | what it is for, in words |
//!
//! `models/active` names `<name>/<version>` in one line. A loaded model is checked: it is the file that was trained,
//! on the features this program computes. This is the only place in `model` that touches files.

use super::calibrate::Calibration;
pub use super::error::ModelError;
use super::forest::Forest;
use super::metrics::Metrics;
use super::scaling::Scaling;
use super::score_map::ScoreMap;
use crate::domain::features::{self, FEATURE_SET, Row};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Borrow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// LightGBM's text.
pub const MODEL_FILE: &str = "model.txt";
/// The manifest.
pub const MANIFEST_FILE: &str = "model.json";
/// The features' distribution.
pub const SCALING_FILE: &str = "scaling.json";
/// Quality on validation data.
pub const METRICS_FILE: &str = "metrics.json";
/// The card.
pub const CARD_FILE: &str = "MODEL_CARD.md";
/// In a models root: which model is served.
pub const ACTIVE_FILE: &str = "active";

/// No file of a model is larger; a larger one is not read.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The longest name or version.
const MAX_NAME_BYTES: usize = 64;
/// Formats of Python's pickle, which runs code when loaded.
const PICKLES: [&str; 3] = ["pkl", "pickle", "joblib"];

/// A model ready to score.
#[derive(Clone, Debug)]
pub struct Model {
    /// As in every verdict.
    pub name: String,
    /// As in every verdict.
    pub version: String,
    /// The trees.
    pub forest: Forest,
    /// Raw score to log odds.
    pub calibration: Calibration,
    /// Log odds to score.
    pub score_map: ScoreMap,
    /// Distribution of the features.
    pub scaling: Scaling,
    /// The card, Markdown.
    pub card: String,
    /// Quality on validation data.
    pub metrics: Metrics,
    text: String,
}

/// `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The feature set's name.
    pub feature_set: String,
    /// The features' names, in order.
    pub features: Vec<String>,
    /// SHA-256 of the training data, lower-case hex.
    pub training_data_sha256: String,
    /// SHA-256 of `model.txt`.
    pub model_sha256: String,
    /// SHA-256 of `scaling.json`.
    pub scaling_sha256: String,
    /// Raw score to log odds.
    pub calibration: Calibration,
    /// Log odds to score.
    pub score_map: ScoreMap,
    /// The version of the program that wrote it.
    pub created_by: String,
}

/// What training hands over to be written.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// 1..=64 of `A-Za-z0-9._-`, not starting with a dot.
    pub name: String,
    /// As the name.
    pub version: String,
    /// LightGBM's text, as `Booster::save_string` gives it.
    pub text: String,
    /// SHA-256 of the training data, lower-case hex.
    pub training_data_sha256: String,
    /// Raw score to log odds.
    pub calibration: Calibration,
    /// Log odds to score.
    pub score_map: ScoreMap,
    /// Distribution of the features.
    pub scaling: Scaling,
    /// Quality on validation data.
    pub metrics: Metrics,
    /// The card, Markdown.
    pub card: String,
}

impl Model {
    /// Loads a model folder, or the active model of a models root.
    ///
    /// # Errors
    /// The model is missing, damaged, a pickle, or of other features; each names the setting and the way out.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let folder = resolve(path)?;
        let manifest: Manifest = read_json(&folder.join(MANIFEST_FILE))?;
        manifest.check()?;
        let text = read_checked(&folder.join(MODEL_FILE), &manifest.model_sha256)?;
        let scaling_file = folder.join(SCALING_FILE);
        let scaling: Scaling = from_json(&scaling_file, &read_checked(&scaling_file, &manifest.scaling_sha256)?)?;
        let new = NewModel {
            name: manifest.name,
            version: manifest.version,
            text,
            training_data_sha256: manifest.training_data_sha256,
            calibration: manifest.calibration,
            score_map: manifest.score_map,
            scaling,
            metrics: read_json(&folder.join(METRICS_FILE))?,
            card: read(&folder.join(CARD_FILE))?,
        };
        new.build()
    }

    /// The raw scores of rows, in their order; `out` is cleared first.
    pub fn raw_batch(&self, rows: &[impl Borrow<Row>], out: &mut Vec<f64>) {
        self.forest.raw_batch(rows, out);
    }

    /// The score 0..=100 of a raw score; 0 for NaN.
    pub fn score(&self, raw: f64) -> u8 {
        self.score_map.score(self.calibration.log_odds(raw))
    }

    /// LightGBM's text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Manifest {
    fn check(&self) -> Result<(), ModelError> {
        if self.feature_set != FEATURE_SET {
            return Err(ModelError::FeatureSet { found: self.feature_set.clone() });
        }
        check_features(&self.features)
    }
}

impl NewModel {
    /// The model itself, checked as a loaded one is.
    ///
    /// # Errors
    /// A text, features or names that loading would refuse.
    pub fn build(self) -> Result<Model, ModelError> {
        check_name(&self.name)?;
        check_name(&self.version)?;
        let forest = Forest::parse(&self.text)?;
        check_features(forest.feature_names())?;
        if !self.scaling.is_sound() || !self.calibration.is_sound() {
            let what = "calibration or scaling is not finite, or not of these features".to_owned();
            return Err(ModelError::Damaged { file: PathBuf::from(MANIFEST_FILE), what });
        }
        Ok(Model {
            name: self.name,
            version: self.version,
            forest,
            calibration: self.calibration,
            score_map: self.score_map,
            scaling: self.scaling,
            card: self.card,
            metrics: self.metrics,
            text: self.text,
        })
    }

    /// Writes `<root>/<name>/<version>/` in one step (a rename) and gives its path.
    ///
    /// # Errors
    /// What loading would refuse, a version that is there already, or a file that cannot be written.
    pub fn save(&self, root: &Path) -> Result<PathBuf, ModelError> {
        self.clone().build()?;
        let parent = root.join(&self.name);
        let folder = parent.join(&self.version);
        if folder.exists() {
            return Err(ModelError::Exists { folder });
        }
        let draft = parent.join(format!(".{}.draft", self.version));
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(|source| unwritable(&draft, &source))?;
        }
        fs::create_dir_all(&draft).map_err(|source| unwritable(&draft, &source))?;
        let scaling = json(&self.scaling);
        write(&draft.join(MODEL_FILE), &self.text)?;
        write(&draft.join(SCALING_FILE), &scaling)?;
        write(&draft.join(METRICS_FILE), &json(&self.metrics))?;
        write(&draft.join(CARD_FILE), &self.card)?;
        write(&draft.join(MANIFEST_FILE), &json(&self.manifest(&scaling)))?;
        // What was written must read back: a metric that is not finite, for one, would not.
        Model::load(&draft)?;
        fs::rename(&draft, &folder).map_err(|source| unwritable(&folder, &source))?;
        Ok(folder)
    }

    fn manifest(&self, scaling: &str) -> Manifest {
        Manifest {
            name: self.name.clone(),
            version: self.version.clone(),
            feature_set: FEATURE_SET.to_owned(),
            features: features::names().map(str::to_owned).collect(),
            training_data_sha256: self.training_data_sha256.clone(),
            model_sha256: sha256_hex(self.text.as_bytes()),
            scaling_sha256: sha256_hex(scaling.as_bytes()),
            calibration: self.calibration,
            score_map: self.score_map.clone(),
            created_by: concat!("sentra ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Makes `<root>/active` name a model, in one step (a rename).
///
/// # Errors
/// A name or version that cannot be one, or a file that cannot be written.
pub fn activate(root: &Path, name: &str, version: &str) -> Result<(), ModelError> {
    check_name(name)?;
    check_name(version)?;
    let (active, draft) = (root.join(ACTIVE_FILE), root.join(".active.draft"));
    write(&draft, &format!("{name}/{version}\n"))?;
    fs::rename(&draft, &active).map_err(|source| unwritable(&active, &source))
}

/// SHA-256 as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder a path means: itself, or the one its `active` names.
fn resolve(path: &Path) -> Result<PathBuf, ModelError> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    if extension.is_some_and(|extension| PICKLES.contains(&extension.as_str())) {
        return Err(ModelError::Pickle { path: path.to_owned() });
    }
    if path.join(MANIFEST_FILE).is_file() {
        return Ok(path.to_owned());
    }
    let active = path.join(ACTIVE_FILE);
    if !active.is_file() {
        return Err(ModelError::Missing { path: path.to_owned() });
    }
    let line = read(&active)?;
    let named = line.trim().split_once('/').filter(|(name, version)| is_name(name) && is_name(version));
    let Some((name, version)) = named else {
        return Err(ModelError::Damaged { file: active, what: "not one line `<name>/<version>`".to_owned() });
    };
    let folder = path.join(name).join(version);
    if folder.join(MANIFEST_FILE).is_file() { Ok(folder) } else { Err(ModelError::Missing { path: folder }) }
}

fn check_features<S: AsRef<str>>(found: &[S]) -> Result<(), ModelError> {
    let mut found = found.iter().map(AsRef::as_ref);
    let mut expected = features::names();
    for position in 0.. {
        match (found.next(), expected.next()) {
            (None, None) => break,
            (found, expected) if found == expected => {}
            (found, expected) => {
                let (found, expected) = (found.unwrap_or("none").to_owned(), expected.unwrap_or("none"));
                return Err(ModelError::Features { position, found, expected });
            }
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), ModelError> {
    if is_name(name) { Ok(()) } else { Err(ModelError::Name { found: name.chars().take(MAX_NAME_BYTES).collect() }) }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn read(file: &Path) -> Result<String, ModelError> {
    let unreadable =
        |source: &std::io::Error| ModelError::Unreadable { file: file.to_owned(), what: source.to_string() };
    let size = fs::metadata(file).map_err(|source| unreadable(&source))?.len();
    if size > MAX_FILE_BYTES {
        let what = format!("{size} bytes, at most {MAX_FILE_BYTES} are read");
        return Err(ModelError::Damaged { file: file.to_owned(), what });
    }
    fs::read_to_string(file).map_err(|source| match source.kind() {
        ErrorKind::InvalidData => ModelError::Damaged { file: file.to_owned(), what: "not UTF-8".to_owned() },
        _ => unreadable(&source),
    })
}

fn read_checked(file: &Path, sha256: &str) -> Result<String, ModelError> {
    let text = read(file)?;
    if sha256_hex(text.as_bytes()) == sha256 { Ok(text) } else { Err(ModelError::Checksum { file: file.to_owned() }) }
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, ModelError> {
    from_json(file, &read(file)?)
}

fn from_json<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|error| ModelError::Damaged { file: file.to_owned(), what: error.to_string() })
}

fn json<T: Serialize>(value: &T) -> String {
    // These types have string keys and no serialiser of their own that fails.
    serde_json::to_string_pretty(value).expect("a model's parts are always JSON") + "\n"
}

fn write(file: &Path, text: &str) -> Result<(), ModelError> {
    fs::write(file, text).map_err(|source| unwritable(file, &source))
}

fn unwritable(file: &Path, source: &std::io::Error) -> ModelError {
    ModelError::Unwritable { file: file.to_owned(), what: source.to_string() }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
