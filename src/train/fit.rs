//! Fitting: LightGBM on the earliest part, calibration and score map on the middle, figures on the latest.
//!
//! The invariant: what is measured was never learned from, and nothing learned lies after what is measured (a split
//! by time, as in service). The same data and settings give the same model. Nothing here reads files or clocks.

use lightgbm3::{Booster, Dataset as LightGbmData};
use serde_json::json;

use super::dataset::{Dataset, Truth};
use crate::{
    domain::features::{self, FEATURES, Row},
    model::{
        calibrate::{Calibration, CalibrationError},
        forest::{Forest, ForestError},
        metrics::{Judged, Metrics, PlayMetrics},
        scaling::Scaling,
        score_map::{ScoreMap, ScoreMapError},
    },
};

/// Share of the rows, the earliest, that trees are grown on.
pub const TRAINING_SHARE: f64 = 0.6;
/// Share of the rows, next in time, that probabilities and scores are fitted to; the rest is the test.
pub const CALIBRATION_SHARE: f64 = 0.2;
/// Frauds that training and each held-out part need at least.
const LEAST_FRAUDS: usize = 10;

/// How to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitSettings {
    /// Trees, all of which are kept.
    pub trees: u32,
    /// Leaves of each.
    pub leaves: u32,
    /// Of LightGBM's sampling of rows and features.
    pub seed: u64,
    /// The share of fraud that precision and alerts are reported for.
    pub base_rate: f64,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self { trees: 200, leaves: 31, seed: 1, base_rate: 0.001 }
    }
}

/// A fitted model, not yet named.
pub struct Fitted {
    /// LightGBM's text.
    pub text: String,
    /// Raw score to log odds.
    pub calibration: Calibration,
    /// Log odds to score.
    pub score_map: ScoreMap,
    /// Distribution of the features in the training part.
    pub scaling: Scaling,
    /// Measured on the test part.
    pub metrics: Metrics,
    /// What was measured on what.
    pub split: Split,
    /// Share of the total gain by feature, largest first.
    pub gains: Vec<(String, f64)>,
}

/// Rows and frauds of one part, and the time it spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows.
    pub rows: usize,
    /// Frauds among them.
    pub frauds: usize,
    /// Event time of the first.
    pub from_ms: i64,
    /// Event time of the last.
    pub to_ms: i64,
}

/// The three parts, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Trees are grown on it.
    pub training: Part,
    /// Calibration and score map are fitted to it.
    pub calibration: Part,
    /// Figures are measured on it.
    pub test: Part,
}

/// Why no model came out.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Not enough to learn from.
    #[error(
        "the {part} part has {frauds} frauds among {rows} events, at least {LEAST_FRAUDS} of each are needed: simulate \
         more (--events), or label more"
    )]
    TooFew {
        /// Which part.
        part: &'static str,
        /// Frauds in it.
        frauds: usize,
        /// Events in it.
        rows: usize,
    },
    /// LightGBM refused.
    #[error("lightgbm: {0}")]
    LightGbm(#[from] lightgbm3::Error),
    /// The trees that came out cannot be evaluated.
    #[error("the trained model: {0}")]
    Forest(#[from] ForestError),
    /// The raw scores could not be calibrated.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// No score map.
    #[error(transparent)]
    ScoreMap(#[from] ScoreMapError),
}

/// Fits a model to the data set.
///
/// # Errors
/// Too few frauds in a part, or a step that cannot be fitted.
pub fn fit(data: &Dataset, settings: &FitSettings) -> Result<Fitted, FitError> {
    let parts = Parts::by_time(data);
    let split = parts.check()?;
    let training_rows = parts.training.rows();
    let booster = grow(&training_rows, &parts.training.labels(), settings)?;
    let text = booster.save_string()?;
    let forest = Forest::parse(&text)?;

    let raw = raw_scores(&forest, &parts.calibration);
    let labels = parts.calibration.labels();
    let calibration = Calibration::fit(&raw, &labels)?;
    let log_odds: Vec<f64> = raw.iter().map(|raw| calibration.log_odds(*raw)).collect();
    let legitimate: Vec<f64> =
        log_odds.iter().zip(&labels).filter(|(_, fraud)| !**fraud).map(|(log_odds, _)| *log_odds).collect();
    let score_map = ScoreMap::fit(&legitimate, &log_odds)?;

    let judged = judge(&parts.test, &raw_scores(&forest, &parts.test), &calibration, &score_map);
    let training = (split.training.rows as u64, split.training.frauds as u64);
    let mut metrics = Metrics::measure(&judged, training, settings.base_rate);
    metrics.plays = plays(data, &parts.test, &judged);
    let scaling = Scaling::measure(&training_rows);
    Ok(Fitted { text, calibration, score_map, scaling, metrics, split, gains: gains(&booster)? })
}

/// Some of a data set's rows.
struct Rows<'a> {
    data: &'a Dataset,
    indices: Vec<usize>,
}

impl Rows<'_> {
    fn rows(&self) -> Vec<Row> {
        self.indices.iter().map(|index| self.data.rows[*index]).collect()
    }

    fn truth(&self) -> impl Iterator<Item = Truth> {
        self.indices.iter().map(|index| self.data.truth[*index])
    }

    fn labels(&self) -> Vec<bool> {
        self.truth().map(|truth| truth.fraud).collect()
    }

    fn part(&self, name: &'static str) -> Result<Part, FitError> {
        let frauds = self.truth().filter(|truth| truth.fraud).count();
        let rows = self.indices.len();
        let times = || self.indices.iter().map(|index| self.data.at_ms[*index]);
        match (times().min(), times().max()) {
            (Some(from_ms), Some(to_ms)) if frauds >= LEAST_FRAUDS && rows - frauds >= LEAST_FRAUDS => {
                Ok(Part { rows, frauds, from_ms, to_ms })
            }
            _ => Err(FitError::TooFew { part: name, frauds, rows }),
        }
    }
}

struct Parts<'a> {
    training: Rows<'a>,
    calibration: Rows<'a>,
    test: Rows<'a>,
}

impl<'a> Parts<'a> {
    /// Cuts at two event times, so that records out of order cannot bring the future into the training part.
    fn by_time(data: &'a Dataset) -> Self {
        let mut times = data.at_ms.clone();
        times.sort_unstable();
        let cut = |share: f64| times.get((share * times.len() as f64) as usize).copied().unwrap_or(i64::MAX);
        let (first, second) = (cut(TRAINING_SHARE), cut(TRAINING_SHARE + CALIBRATION_SHARE));
        let between = |from: i64, to: i64| Rows {
            data,
            indices: (0..data.at_ms.len()).filter(|index| (from..to).contains(&data.at_ms[*index])).collect(),
        };
        Self {
            training: between(i64::MIN, first),
            calibration: between(first, second),
            test: between(second, i64::MAX),
        }
    }

    fn check(&self) -> Result<Split, FitError> {
        Ok(Split {
            training: self.training.part("training")?,
            calibration: self.calibration.part("calibration")?,
            test: self.test.part("test")?,
        })
    }
}

/// Grows the trees. Classes are not weighted: calibrated probabilities need the true odds, and the score map sets
/// the working points anyway.
fn grow(rows: &[Row], labels: &[bool], settings: &FitSettings) -> Result<Booster, FitError> {
    let labels: Vec<f32> = labels.iter().map(|fraud| f32::from(u8::from(*fraud))).collect();
    let mut data = LightGbmData::from_slice(rows.as_flattened(), &labels, FEATURES as i32, true)?;
    data.set_feature_names(&features::names().map(str::to_owned).collect::<Vec<_>>())?;
    // A leaf needs enough events to mean something, but no more than a small data set can give.
    let min_data_in_leaf = (rows.len() / 4_000).clamp(10, 60);
    let parameters = json!({
        "objective": "binary",
        "num_iterations": settings.trees,
        "num_leaves": settings.leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": min_data_in_leaf,
        "min_sum_hessian_in_leaf": 0.5,
        "lambda_l2": 5.0,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": settings.seed,
        "deterministic": true,
        "force_row_wise": true,
        "num_threads": 1,
        "verbosity": -1,
    });
    Ok(Booster::train(data, &parameters)?)
}

fn raw_scores(forest: &Forest, rows: &Rows<'_>) -> Vec<f64> {
    let mut raw = Vec::new();
    forest.raw_batch(&rows.rows(), &mut raw);
    raw
}

fn judge(rows: &Rows<'_>, raw: &[f64], calibration: &Calibration, score_map: &ScoreMap) -> Vec<Judged> {
    let judged = raw.iter().zip(rows.truth()).map(|(raw, truth)| Judged {
        probability: calibration.probability(*raw),
        score: score_map.score(calibration.log_odds(*raw)),
        fraud: truth.fraud,
    });
    judged.collect()
}

fn plays(data: &Dataset, test: &Rows<'_>, judged: &[Judged]) -> Vec<PlayMetrics> {
    let truth: Vec<Truth> = test.truth().collect();
    let of_play = |play: usize| {
        let events: Vec<Judged> =
            truth.iter().zip(judged).filter(|(truth, _)| truth.play == Some(play)).map(|(_, judged)| *judged).collect();
        events
    };
    let mut plays: Vec<PlayMetrics> =
        data.plays.iter().enumerate().filter_map(|(play, name)| PlayMetrics::measure(name, &of_play(play))).collect();
    plays.sort_by(|a, b| (b.fraud, &a.name).cmp(&(a.fraud, &b.name)));
    plays
}

fn gains(booster: &Booster) -> Result<Vec<(String, f64)>, FitError> {
    let gains = booster.feature_importance(lightgbm3::ImportanceType::Gain)?;
    let total = gains.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mut named: Vec<(String, f64)> =
        features::names().map(str::to_owned).zip(gains.iter().map(|gain| gain / total)).collect();
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(named)
}
