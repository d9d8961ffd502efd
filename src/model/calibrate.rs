//! From raw score to probability: Platt's scaling, log odds z = a × raw + b with a > 0.
//!
//! The order of raw scores is kept. Exponentials and logarithms come from `libm`, so every processor agrees to the bit.

use serde::{Deserialize, Serialize};

/// Newton steps at most; it ends after about ten.
const MAX_STEPS: usize = 100;
/// Ends when the gradient, per row, is below this.
const GRADIENT_BOUND: f64 = 1e-12;
/// Keeps the Hessian invertible.
const RIDGE: f64 = 1e-12;
/// A Newton step is halved no further than this.
const SMALLEST_STEP: f64 = 1e-10;

/// A monotone map from raw scores to log odds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Log odds per unit of raw score, > 0.
    pub a: f64,
    /// Log odds at raw score 0.
    pub b: f64,
}

/// Why raw scores could not be calibrated.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// One class alone.
    #[error(
        "the validation data has {frauds} frauds among {rows} events, both kinds are needed: simulate or label more"
    )]
    OneClass {
        /// Rows with the label.
        frauds: usize,
        /// Rows in all.
        rows: usize,
    },
    /// The score does not rise with fraud.
    #[error(
        "the raw score does not rise with fraud on the validation data (slope {slope}): train on more or other data"
    )]
    NotRising {
        /// The fitted slope.
        slope: f64,
    },
}

impl Calibration {
    /// Fits to raw scores and labels of held-out events (true = fraud) by Newton's method on smoothed targets
    /// (Platt 1999; Lin, Lin and Weng 2007). Scores that are not finite are left out. Deterministic.
    ///
    /// # Errors
    /// One class alone, or a slope that is not positive.
    pub fn fit(raw: &[f64], labels: &[bool]) -> Result<Self, CalibrationError> {
        let rows: Vec<(f64, bool)> =
            raw.iter().copied().zip(labels.iter().copied()).filter(|(raw, _)| raw.is_finite()).collect();
        let frauds = rows.iter().filter(|(_, fraud)| *fraud).count();
        if frauds == 0 || frauds == rows.len() {
            return Err(CalibrationError::OneClass { frauds, rows: rows.len() });
        }
        let (positive, negative) = (frauds as f64, (rows.len() - frauds) as f64);
        let targets = Targets { fraud: (positive + 1.0) / (positive + 2.0), legitimate: 1.0 / (negative + 2.0) };
        let mut fitted = Self { a: 0.0, b: libm::log((positive + 1.0) / (negative + 1.0)) };
        let mut loss = targets.loss(fitted, &rows);
        for _ in 0..MAX_STEPS {
            let Some((step_a, step_b)) = targets.newton_step(fitted, &rows) else { break };
            let Some((better, lower)) = targets.descend(fitted, loss, (step_a, step_b), &rows) else { break };
            (fitted, loss) = (better, lower);
        }
        if fitted.a > 0.0 { Ok(fitted) } else { Err(CalibrationError::NotRising { slope: fitted.a }) }
    }

    /// The calibrated log odds of fraud.
    pub fn log_odds(&self, raw: f64) -> f64 {
        self.a * raw + self.b
    }

    /// The calibrated probability of fraud, 0 to 1; NaN for NaN.
    pub fn probability(&self, raw: f64) -> f64 {
        logistic(self.log_odds(raw))
    }

    /// Whether both numbers are finite and the order is kept.
    pub fn is_sound(&self) -> bool {
        self.a > 0.0 && self.a.is_finite() && self.b.is_finite()
    }
}

/// The targets of the two classes, drawn in from 0 and 1 so that separable data has a finite fit.
struct Targets {
    fraud: f64,
    legitimate: f64,
}

impl Targets {
    fn of(&self, fraud: bool) -> f64 {
        if fraud { self.fraud } else { self.legitimate }
    }

    /// Cross entropy, written so that no exponential overflows.
    fn loss(&self, at: Calibration, rows: &[(f64, bool)]) -> f64 {
        rows.iter()
            .map(|(raw, fraud)| {
                let z = at.log_odds(*raw);
                libm::log1p(libm::exp(-z.abs())) + z.max(0.0) - self.of(*fraud) * z
            })
            .sum()
    }

    /// The full Newton step, or none at the minimum.
    fn newton_step(&self, at: Calibration, rows: &[(f64, bool)]) -> Option<(f64, f64)> {
        let (mut g_a, mut g_b, mut h_aa, mut h_ab, mut h_bb) = (0.0, 0.0, RIDGE, 0.0, RIDGE);
        for (raw, fraud) in rows {
            let p = at.probability(*raw);
            let (slope, weight) = (p - self.of(*fraud), p * (1.0 - p));
            g_a += raw * slope;
            g_b += slope;
            h_aa += raw * raw * weight;
            h_ab += raw * weight;
            h_bb += weight;
        }
        let determinant = h_aa * h_bb - h_ab * h_ab;
        let bound = GRADIENT_BOUND * rows.len() as f64;
        if (g_a.abs() < bound && g_b.abs() < bound) || determinant <= 0.0 {
            return None;
        }
        Some((-(h_bb * g_a - h_ab * g_b) / determinant, -(h_aa * g_b - h_ab * g_a) / determinant))
    }

    /// The longest halving of a step that lowers the loss.
    fn descend(
        &self,
        from: Calibration,
        loss: f64,
        step: (f64, f64),
        rows: &[(f64, bool)],
    ) -> Option<(Calibration, f64)> {
        let mut length = 1.0;
        while length > SMALLEST_STEP {
            let next = Calibration { a: from.a + length * step.0, b: from.b + length * step.1 };
            let lower = self.loss(next, rows);
            if lower < loss {
                return Some((next, lower));
            }
            length /= 2.0;
        }
        None
    }
}

/// 1 / (1 + e^-z), without overflow.
fn logistic(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + libm::exp(-z))
    } else {
        let e = libm::exp(z);
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Raw scores on a grid, fraud with the frequency that the given log odds say.
    fn drawn(a: f64, b: f64) -> (Vec<f64>, Vec<bool>) {
        let (mut raw, mut labels) = (Vec::new(), Vec::new());
        for step in -40..=40 {
            let score = f64::from(step) / 10.0;
            let frauds = (1000.0 * logistic(a * score + b)).round() as usize;
            for at in 0..1000 {
                raw.push(score);
                labels.push(at < frauds);
            }
        }
        (raw, labels)
    }

    #[test]
    fn a_fit_finds_the_log_odds_the_labels_were_drawn_with() {
        for (a, b) in [(1.0, 0.0), (0.5, -2.0), (2.5, 1.0)] {
            let (raw, labels) = drawn(a, b);
            let fitted = Calibration::fit(&raw, &labels).unwrap();
            assert!((fitted.a - a).abs() < 0.02 && (fitted.b - b).abs() < 0.02, "{fitted:?} for {a}, {b}");
        }
    }

    #[test]
    fn a_fit_is_the_same_every_time_and_keeps_the_order() {
        let (raw, labels) = drawn(0.7, -3.0);
        let fitted = Calibration::fit(&raw, &labels).unwrap();
        assert_eq!(fitted, Calibration::fit(&raw, &labels).unwrap());
        assert!(raw.windows(2).all(|pair| fitted.probability(pair[0]) <= fitted.probability(pair[1])));
        assert_eq!(fitted.probability(f64::INFINITY), 1.0);
        assert_eq!(fitted.probability(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn separable_labels_have_a_finite_fit() {
        let raw: Vec<f64> = (0..100).map(f64::from).collect();
        let labels: Vec<bool> = (0..100).map(|at| at >= 50).collect();
        assert!(Calibration::fit(&raw, &labels).unwrap().is_sound());
    }

    #[test]
    fn one_class_or_a_falling_score_is_refused_by_name() {
        assert_eq!(
            Calibration::fit(&[1.0, 2.0], &[false, false]),
            Err(CalibrationError::OneClass { frauds: 0, rows: 2 })
        );
        let (raw, labels) = drawn(1.0, 0.0);
        let turned: Vec<f64> = raw.iter().map(|raw| -raw).collect();
        assert!(matches!(Calibration::fit(&turned, &labels), Err(CalibrationError::NotRising { .. })));
    }
}
