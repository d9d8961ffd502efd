//! The evaluator against LightGBM's own library, on random models and rows, to the last bit.

use lightgbm3::{Booster, Dataset};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentra::domain::features::{FEATURES, Row};
use sentra::model::forest::{Forest, ForestError};
use serde_json::{Value, json};

const TRAINING_ROWS: usize = 400;
const PROBES: usize = 130;

/// Values that sit on the edges of the library's rules.
const EDGES: [f64; 14] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    1e-35_f32 as f64,
    -(1e-35_f32 as f64),
    1.1e-35,
    -1.1e-35,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
    -1.0,
    3e9,
];

/// A random training set: features of several kinds, and a target that depends on some of them.
fn training_data(rng: &mut ChaCha8Rng) -> (Vec<Row>, Vec<f32>) {
    let kinds: [u8; FEATURES] = std::array::from_fn(|_| rng.random_range(0..6));
    let missing: [f64; FEATURES] =
        std::array::from_fn(|_| if rng.random_bool(0.5) { rng.random_range(0.0..0.5) } else { 0.0 });
    let value = |rng: &mut ChaCha8Rng, at: usize| match kinds[at] {
        _ if rng.random_bool(missing[at]) => f64::NAN,
        0 => rng.random_range(-1.0..1.0),
        1 => f64::from(rng.random_range(0..12_u8)),
        2 => f64::from(rng.random_range(-3..4_i8)),
        3 => {
            if rng.random_bool(0.6) {
                0.0
            } else {
                rng.random_range(-5.0..50.0)
            }
        }
        4 => rng.random_range(-2.0..2.0) * 1e-35,
        _ => rng.random::<f64>().powi(8) * 1e6,
    };
    let rows: Vec<Row> = (0..TRAINING_ROWS).map(|_| std::array::from_fn(|at| value(rng, at))).collect();
    let weights: [f64; FEATURES] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
    let score = |row: &Row| -> f64 {
        row.iter()
            .zip(&weights)
            .map(|(value, weight)| if value.is_nan() { *weight } else { weight * (value * 3.0).sin() })
            .sum()
    };
    let labels = rows.iter().map(|row| f32::from(score(row) + rng.random_range(-0.5..0.5) > 0.0)).collect();
    (rows, labels)
}

/// Random settings of the trainer.
fn parameters(rng: &mut ChaCha8Rng) -> Value {
    let mut parameters = json!({
        "objective": (*["binary", "regression", "regression_l1", "poisson"].choose(rng).unwrap()),
        "boosting": ["gbdt", "dart", "goss"].choose(rng).unwrap(),
        "num_iterations": rng.random_range(1..60),
        "num_leaves": [2, 3, 8, 31, 32, 33, 64, 65, 90].choose(rng).unwrap(),
        "min_data_in_leaf": rng.random_range(1..6),
        "min_sum_hessian_in_leaf": 1e-6,
        "max_bin": [7, 63, 255].choose(rng).unwrap(),
        "learning_rate": rng.random_range(0.01..0.5),
        "use_missing": rng.random_bool(0.8),
        "zero_as_missing": rng.random_bool(0.4),
        "feature_fraction": rng.random_range(0.3..1.0),
        "extra_trees": rng.random_bool(0.2),
        "boost_from_average": rng.random_bool(0.7),
        "seed": rng.random_range(0..1_000_000),
        "num_threads": 1,
        "verbosity": -1,
    });
    if rng.random_bool(0.4) {
        parameters["categorical_feature"] = json!("1,2,7");
        parameters["min_data_per_group"] = json!(1);
        parameters["cat_smooth"] = json!(1);
        parameters["max_cat_to_onehot"] = json!([1, 4].choose(rng).unwrap());
    }
    parameters
}

fn train(rows: &[Row], labels: &[f32], parameters: &Value) -> Booster {
    // Parameters of the data set (bins, missing values, categories) are read when it is made.
    let data = Dataset::from_slice_with_params(rows.as_flattened(), labels, FEATURES as i32, true, parameters);
    Booster::train(data, parameters).unwrap()
}
