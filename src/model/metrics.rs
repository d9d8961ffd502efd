//! How good a model is on validation data, in the terms an operator plans with: alerts and precision at each anchor.

use super::score_map::ANCHORS;
use serde::{Deserialize, Serialize};

/// Measured on validation data that training never saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Rows trained on.
    pub training_rows: u64,
    /// Frauds among them.
    pub training_frauds: u64,
    /// Rows measured on.
    pub validation_rows: u64,
    /// Frauds among them.
    pub validation_frauds: u64,
    /// Area under the ROC curve, 0.5 to 1.
    pub auc: f64,
    /// Mean precision over the frauds, each at its own probability, 0 to 1.
    pub average_precision: f64,
    /// Mean cross entropy of the calibrated probabilities, in nats.
    pub log_loss: f64,
    /// The share of fraud that precision and alerts are given for, 0 to 1.
    pub base_rate: f64,
    /// One entry an anchor of the score map.
    pub anchors: Vec<AtAnchor>,
    /// One entry a kind of fraud, or of harmless payments that look like it, where the data names them.
    #[serde(default)]
    pub plays: Vec<PlayMetrics>,
}

/// How one named kind of fraud, or of harmless payments that look like it, is scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayMetrics {
    /// As in the labels.
    pub name: String,
    /// Whether it is fraud.
    pub fraud: bool,
    /// Events measured on.
    pub events: u64,
    /// Share of them that reaches each anchor from 40 on, where the levels begin.
    pub reached: Vec<Reached>,
}

/// The share of events that have at least a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The score.
    pub score: u8,
    /// 0 to 1.
    pub share: f64,
}

/// The least anchor that a level begins at.
const FIRST_LEVEL: u8 = 40;

impl PlayMetrics {
    /// Measures the events of one kind; `None` where there are none.
    pub fn measure(name: &str, events: &[Judged]) -> Option<Self> {
        let fraud = events.first()?.fraud;
        let reached = |score| share(events.iter().filter(|event| event.score >= score).count(), events.len());
        let levels = ANCHORS.iter().filter(|(score, _)| *score >= FIRST_LEVEL);
        let reached = levels.map(|(score, _)| Reached { score: *score, share: reached(*score) }).collect();
        Some(Self { name: name.to_owned(), fraud, events: events.len() as u64, reached })
    }
}

/// What a score threshold means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtAnchor {
    /// Events with at least this score.
    pub score: u8,
    /// Share of legitimate events among which it is reached.
    pub false_positive_rate: f64,
    /// Share of frauds that reach it.
    pub recall: f64,
    /// Share of frauds among those that reach it, at the base rate.
    pub precision: f64,
    /// Events in a million that reach it, at the base rate.
    pub alerts_per_million: f64,
}

/// A validation event as scored.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Calibrated probability of fraud.
    pub probability: f64,
    /// 0..=100.
    pub score: u8,
    /// The label.
    pub fraud: bool,
}

impl Metrics {
    /// Measures judged validation events; `training` is (rows, frauds) trained on.
    pub fn measure(judged: &[Judged], training: (u64, u64), base_rate: f64) -> Self {
        let frauds = judged.iter().filter(|event| event.fraud).count();
        Self {
            training_rows: training.0,
            training_frauds: training.1,
            validation_rows: judged.len() as u64,
            validation_frauds: frauds as u64,
            auc: auc(judged),
            average_precision: average_precision(judged),
            log_loss: log_loss(judged),
            base_rate,
            anchors: ANCHORS.iter().map(|(score, _)| AtAnchor::measure(judged, *score, base_rate)).collect(),
            plays: Vec::new(),
        }
    }
}

impl AtAnchor {
    fn measure(judged: &[Judged], score: u8, base_rate: f64) -> Self {
        let reached = |fraud| {
            let of_kind = judged.iter().filter(|event| event.fraud == fraud);
            share(of_kind.clone().filter(|event| event.score >= score).count(), of_kind.count())
        };
        let (recall, false_positive_rate) = (reached(true), reached(false));
        let (caught, wrong) = (recall * base_rate, false_positive_rate * (1.0 - base_rate));
        let precision = if caught + wrong > 0.0 { caught / (caught + wrong) } else { 0.0 };
        Self { score, false_positive_rate, recall, precision, alerts_per_million: (caught + wrong) * 1e6 }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The chance that a fraud has a greater probability than a legitimate event, ties counting half; 0.5 for one class.
fn auc(judged: &[Judged]) -> f64 {
    let mut sorted: Vec<&Judged> = judged.iter().collect();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let (mut below, mut pairs, mut frauds) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.probability.total_cmp(&b.probability).is_eq()) {
        let here = tied.iter().filter(|event| event.fraud).count() as f64;
        let legitimate = tied.len() as f64 - here;
        pairs += here * (below + legitimate / 2.0);
        below += legitimate;
        frauds += here;
    }
    if frauds * below > 0.0 { pairs / (frauds * below) } else { 0.5 }
}

/// Precision at each fraud's probability, averaged over the frauds; ties count as reached together.
fn average_precision(judged: &[Judged]) -> f64 {
    let mut falling: Vec<&Judged> = judged.iter().collect();
    falling.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let (mut reached, mut caught, mut sum) = (0.0, 0.0, 0.0);
    for tied in falling.chunk_by(|a, b| a.probability.total_cmp(&b.probability).is_eq()) {
        let here = tied.iter().filter(|event| event.fraud).count() as f64;
        reached += tied.len() as f64;
        caught += here;
        sum += here * caught / reached;
    }
    if caught > 0.0 { sum / caught } else { 0.0 }
}

fn log_loss(judged: &[Judged]) -> f64 {
    const CLIP: f64 = 1e-15;
    let loss = |event: &Judged| {
        let right = if event.fraud { event.probability } else { 1.0 - event.probability };
        -libm::log(right.clamp(CLIP, 1.0))
    };
    if judged.is_empty() { 0.0 } else { judged.iter().map(loss).sum::<f64>() / judged.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(events: &[(f64, u8, bool)]) -> Vec<Judged> {
        events.iter().map(|&(probability, score, fraud)| Judged { probability, score, fraud }).collect()
    }

    #[test]
    fn auc_counts_pairs_in_order_and_half_of_ties() {
        assert_eq!(auc(&judged(&[(0.1, 0, false), (0.9, 0, true)])), 1.0);
        assert_eq!(auc(&judged(&[(0.9, 0, false), (0.1, 0, true)])), 0.0);
        assert_eq!(auc(&judged(&[(0.5, 0, false), (0.5, 0, true), (0.2, 0, false), (0.2, 0, true)])), 0.5);
        assert_eq!(auc(&judged(&[(0.5, 0, false)])), 0.5);
    }

    #[test]
    fn average_precision_is_one_for_a_perfect_order_and_the_share_of_fraud_for_ties() {
        assert_eq!(average_precision(&judged(&[(0.9, 0, true), (0.8, 0, true), (0.1, 0, false)])), 1.0);
        assert_eq!(average_precision(&judged(&[(0.5, 0, true), (0.5, 0, false)])), 0.5);
        let mixed = judged(&[(0.9, 0, false), (0.8, 0, true), (0.7, 0, false), (0.6, 0, true)]);
        assert_eq!(average_precision(&mixed), 0.5);
        assert_eq!(average_precision(&[]), 0.0);
    }

    #[test]
    fn a_kind_of_fraud_is_measured_at_the_levels() {
        let kind = PlayMetrics::measure("kind", &judged(&[(0.9, 95, true), (0.5, 70, true)])).unwrap();
        let reached: Vec<(u8, f64)> = kind.reached.iter().map(|at| (at.score, at.share)).collect();
        assert_eq!(reached, [(40, 1.0), (70, 1.0), (90, 0.5)]);
        assert_eq!(PlayMetrics::measure("none", &[]), None);
    }

    #[test]
    fn precision_and_alerts_are_those_of_the_base_rate() {
        let mut events = vec![(0.9, 80, true), (0.1, 10, true)];
        events.extend([(0.8, 75, false)]);
        events.extend([(0.1, 5, false); 99]);
        let metrics = Metrics::measure(&judged(&events), (10, 1), 0.01);
        let at = metrics.anchors.iter().find(|at| at.score == 70).unwrap();
        assert_eq!((at.recall, at.false_positive_rate), (0.5, 0.01));
        assert!((at.alerts_per_million - (5_000.0 + 9_900.0)).abs() < 1e-6, "{at:?}");
        assert!((at.precision - 5_000.0 / 14_900.0).abs() < 1e-12);
    }
}
