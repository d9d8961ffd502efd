//! The scorer of one thread: our evaluator, or LightGBM's own code where `model.backend = "lightgbm"`.
//!
//! Both give the same bits, so the backend is a matter of trust and speed, never of verdicts. A booster is neither
//! `Send` nor `Sync`: each thread makes its own scorer.

use super::evaluate::Scores;
use super::folder::Model;
use crate::domain::features::{FEATURES, Row};
use lightgbm3::Booster;
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, sync::Arc};

/// What the library is asked to do: no thread of its own.
const PREDICT_PARAMETERS: &str = "num_threads=1";

/// Who evaluates the trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Our evaluator.
    #[default]
    Compiled,
    /// LightGBM's C++ library.
    LightGbm,
}

/// One thread's scorer.
pub enum Scorer {
    /// Our evaluator.
    Compiled(Arc<Model>),
    /// LightGBM's C++ library.
    LightGbm(LightGbmBackend),
}

impl Scorer {
    /// Makes this thread's scorer.
    ///
    /// # Errors
    /// The library does not take the model, or reads it as another one.
    pub fn new(model: &Arc<Model>, backend: Backend) -> Result<Self, ScorerError> {
        match backend {
            Backend::Compiled => Ok(Self::Compiled(Arc::clone(model))),
            Backend::LightGbm => LightGbmBackend::new(model).map(Self::LightGbm),
        }
    }

    /// The model that scores.
    pub fn model(&self) -> &Arc<Model> {
        match self {
            Self::Compiled(model) => model,
            Self::LightGbm(backend) => &backend.model,
        }
    }

    /// The scores of rows, in their order; `out` is cleared first.
    pub fn score(&mut self, rows: &[impl Borrow<Row>], out: &mut Scores) {
        match self {
            Self::Compiled(model) => model.forest.score(rows, out),
            Self::LightGbm(backend) => backend.score(rows, out),
        }
    }
}

/// A booster with the model it was made of.
pub struct LightGbmBackend {
    model: Arc<Model>,
    booster: Booster,
}

impl LightGbmBackend {
    fn new(model: &Arc<Model>) -> Result<Self, ScorerError> {
        let booster = booster(model)?;
        Ok(Self { model: Arc::clone(model), booster })
    }

    /// As [`Scorer::score`]; should the library fail, our evaluator gives the same bits.
    fn score(&self, rows: &[impl Borrow<Row>], out: &mut Scores) {
        out.clear();
        if rows.is_empty() {
            return;
        }
        let values: Vec<f64> = rows.iter().flat_map(|row| *row.borrow()).collect();
        match self.booster.raw_scores_with_params(&values, FEATURES as i32, true, PREDICT_PARAMETERS) {
            Ok(scores) if scores.len() == rows.len() => out.raw.extend_from_slice(&scores),
            _ => self.model.forest.score(rows, out),
        }
    }
}

/// The library's own reading of a model. Its names were checked in the same text by [`Model::load`]; the wrapper's
/// `feature_name` is not asked, as it frees strings with another length than they were made with.
///
/// # Errors
/// The library does not take the model, or reads it as another one.
pub fn booster(model: &Model) -> Result<Booster, ScorerError> {
    if model.text().contains('\0') {
        return Err(ScorerError::Refused("it holds a NUL byte".to_owned()));
    }
    let booster = Booster::from_string(model.text()).map_err(|error| ScorerError::Refused(error.to_string()))?;
    let (features, trees) = (booster.num_features() as usize, booster.num_iterations() as usize);
    if features != FEATURES || trees != model.forest.num_trees() {
        return Err(ScorerError::Differs { features, trees });
    }
    Ok(booster)
}

/// Why LightGBM's library cannot score a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScorerError {
    /// It does not take the text.
    #[error("model.backend: LightGBM refuses the model ({0}): set model.backend = \"compiled\", or run `sentra train`")]
    Refused(String),
    /// It reads another shape than ours.
    #[error(
        "model.backend: LightGBM reads {features} features and {trees} trees, other than expected: set model.backend = \"compiled\", or run `sentra train`"
    )]
    Differs {
        /// Features it counts.
        features: usize,
        /// Trees it counts.
        trees: usize,
    },
}
