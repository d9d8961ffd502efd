//! Models of a few stumps, whose scores spread over all levels; two of different `lean` decide differently.

// Each test binary compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::sync::Arc;

use sentra::{
    domain::features::{self as f, FEATURES, Row},
    model::{
        calibrate::Calibration,
        folder::{Model, NewModel},
        metrics::Metrics,
        scaling::Scaling,
        score_map::{Anchor, ScoreMap},
    },
};

/// (feature, threshold, value at most it, value above it)
type Stump = (usize, f64, f64, f64);

/// A model of this version; `lean` is added to every raw score.
pub fn model(version: &str, lean: f64) -> Arc<Model> {
    model_named("tiny", version, lean)
}

/// The same by another name.
pub fn model_named(name: &str, version: &str, lean: f64) -> Arc<Model> {
    let stumps: [Stump; 6] = [
        (f::COUNT_1H, 3.5, lean - 0.5, lean + 1.0),
        (f::LOG_AMOUNT, 6.0, -1.0, 0.75),
        (f::DEVICE_NEW, 0.5, -0.25, 1.5),
        (f::HOUR, 12.0, -0.5, 0.5),
        (f::PLACES_24H, 1.5, -0.25, 0.75),
        (f::COUNTERPARTY_NEW, 0.5, -0.25, 0.5),
    ];
    Arc::new(of_stumps(name, version, &stumps))
}

fn of_stumps(name: &str, version: &str, stumps: &[Stump]) -> Model {
    let anchors = [(0, -3.0), (40, -0.5), (70, 0.5), (90, 1.5), (100, 4.0)];
    let anchors = anchors.map(|(score, log_odds)| Anchor { score, log_odds }).to_vec();
    let rows: Vec<Row> = (0..100).map(|at| [f64::from(at) / 10.0; FEATURES]).collect();
    NewModel {
        name: name.to_owned(),
        version: version.to_owned(),
        text: text(stumps),
        training_data_sha256: "0".repeat(64),
        calibration: Calibration { a: 1.0, b: 0.0 },
        score_map: ScoreMap::try_from(anchors).expect("anchors rise"),
        scaling: Scaling::measure(&rows),
        metrics: Metrics {
            training_rows: 0,
            training_frauds: 0,
            validation_rows: 0,
            validation_frauds: 0,
            auc: 0.5,
            average_precision: 0.0,
            log_loss: 0.0,
            base_rate: 0.001,
            anchors: Vec::new(),
            plays: Vec::new(),
        },
        card: String::new(),
    }
    .build()
    .expect("a sound model")
}

/// LightGBM's own text of these stumps.
fn text(stumps: &[Stump]) -> String {
    let names: Vec<&str> = f::names().collect();
    let sizes = vec!["1"; stumps.len()].join(" ");
    let mut text = format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={}\n\
         objective=binary sigmoid:1\nfeature_names={}\nfeature_infos={}\ntree_sizes={sizes}\n\n",
        FEATURES - 1,
        names.join(" "),
        vec!["[0:1]"; FEATURES].join(" "),
    );
    for (at, (feature, threshold, left, right)) in stumps.iter().enumerate() {
        text += &format!(
            "Tree={at}\nnum_leaves=2\nnum_cat=0\nsplit_feature={feature}\nsplit_gain=1\nthreshold={threshold}\n\
             decision_type=8\nleft_child=-1\nright_child=-2\nleaf_value={left} {right}\nleaf_weight=1 1\n\
             leaf_count=1 1\ninternal_value={}\ninternal_weight=2\ninternal_count=2\nis_linear=0\nshrinkage=1\n\n",
            (left + right) / 2.0,
        );
    }
    text + "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"
}
