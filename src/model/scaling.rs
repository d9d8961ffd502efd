//! How each feature is distributed in the training data: signals and drift read it. Not part of the score.

use crate::domain::features::{self, FEATURES, Row};
use serde::{Deserialize, Serialize};

/// The quantiles kept of each feature.
pub const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/// All features, in table order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// One entry a feature.
    pub features: Vec<FeatureScaling>,
}

/// One feature. Where every value is missing, mean, deviation and quantiles are 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureScaling {
    /// The feature's name.
    pub name: String,
    /// Share of rows where it is missing, 0 to 1.
    pub missing: f64,
    /// Mean of the values there are, in the feature's unit.
    pub mean: f64,
    /// Standard deviation of the values there are.
    pub deviation: f64,
    /// At [`QUANTILES`], each a value that occurred.
    pub quantiles: [f64; QUANTILES.len()],
}

impl Scaling {
    /// Measures rows; values that are not finite count as missing.
    pub fn measure(rows: &[Row]) -> Self {
        let features =
            features::names().enumerate().map(|(at, name)| FeatureScaling::measure(name, rows, at)).collect();
        Self { features }
    }

    /// Whether the entries are the feature table's, in order, and finite.
    pub fn is_sound(&self) -> bool {
        let named = self.features.iter().map(|feature| feature.name.as_str()).eq(features::names());
        named && self.features.len() == FEATURES && self.features.iter().all(FeatureScaling::is_finite)
    }
}

impl FeatureScaling {
    fn measure(name: &str, rows: &[Row], at: usize) -> Self {
        let mut values: Vec<f64> = rows.iter().map(|row| row[at]).filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let missing = if rows.is_empty() { 0.0 } else { 1.0 - values.len() as f64 / rows.len() as f64 };
        let Some(last) = values.len().checked_sub(1) else {
            let quantiles = [0.0; QUANTILES.len()];
            return Self { name: name.to_owned(), missing, mean: 0.0, deviation: 0.0, quantiles };
        };
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
        let quantiles = QUANTILES.map(|share| values[(share * last as f64) as usize]);
        Self { name: name.to_owned(), missing, mean, deviation: variance.sqrt(), quantiles }
    }

    fn is_finite(&self) -> bool {
        [self.missing, self.mean, self.deviation].iter().chain(&self.quantiles).all(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_measured_over_the_values_it_has() {
        let mut rows = vec![[f64::NAN; FEATURES]; 4];
        for (row, value) in rows.iter_mut().zip([1.0, 2.0, 3.0]) {
            row[0] = value;
        }
        let scaling = Scaling::measure(&rows);
        let first = &scaling.features[0];
        assert_eq!((first.missing, first.mean, first.quantiles[3]), (0.25, 2.0, 2.0));
        assert!((first.deviation - (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((scaling.features[1].missing, scaling.features[1].mean), (1.0, 0.0));
        assert!(scaling.is_sound());
    }
}
