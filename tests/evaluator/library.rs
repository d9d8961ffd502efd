//! Trains random models with LightGBM's C interface itself: the safe wrapper makes data sets without parameters, and so
//! without categorical features, `zero_as_missing` or bins of our choice. Also makes the data and the parameters.

use lightgbm3_sys as sys;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use sentra::domain::features::{FEATURES, Row};
use std::ffi::{CStr, CString, c_void};
use std::ptr::null_mut;

const TRAINING_ROWS: usize = 400;

/// A random training set: features of several kinds, and labels that depend on some of them.
pub fn training_data(rng: &mut ChaCha8Rng) -> (Vec<Row>, Vec<f32>) {
    let kinds: [u8; FEATURES] = std::array::from_fn(|_| rng.random_range(0..6));
    let missing: [f64; FEATURES] =
        std::array::from_fn(|_| if rng.random_bool(0.5) { rng.random_range(0.0..0.5) } else { 0.0 });
    let value = |rng: &mut ChaCha8Rng, at: usize| match kinds[at] {
        _ if rng.random_bool(missing[at]) => f64::NAN,
        0 => rng.random_range(-1.0..1.0),
        1 => f64::from(rng.random_range(0..70_u8)),
        2 => f64::from(rng.random_range(-3..4_i8)),
        3 if rng.random_bool(0.6) => 0.0,
        3 => rng.random_range(-5.0..50.0),
        4 => rng.random_range(-2.0..2.0) * 1e-35,
        _ => rng.random::<f64>().powi(8) * 1e6,
    };
    let rows: Vec<Row> = (0..TRAINING_ROWS).map(|_| std::array::from_fn(|at| value(rng, at))).collect();
    let weights: [f64; FEATURES] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
    let part = |(value, weight): (&f64, &f64)| if value.is_nan() { *weight } else { weight * (value * 3.0).sin() };
    let score = |row: &Row| -> f64 { row.iter().zip(&weights).map(part).sum() };
    let labels = rows.iter().map(|row| f32::from(score(row) + rng.random_range(-0.5..0.5) > 0.0)).collect();
    (rows, labels)
}

/// Random settings of the trainer, as `key=value` words.
pub fn parameters(rng: &mut ChaCha8Rng) -> String {
    let mut words = vec![
        "num_threads=1 verbosity=-1 min_sum_hessian_in_leaf=1e-6 feature_pre_filter=false".to_owned(),
        format!("objective={}", ["binary", "regression", "regression_l1", "poisson"].choose(rng).unwrap()),
        format!("boosting={}", ["gbdt", "gbdt", "dart"].choose(rng).unwrap()),
        format!("num_leaves={}", [2, 3, 8, 31, 32, 33, 64, 65, 90].choose(rng).unwrap()),
        format!("min_data_in_leaf={}", rng.random_range(1..6)),
        format!("max_bin={}", [7, 63, 255].choose(rng).unwrap()),
        format!("learning_rate={}", rng.random_range(0.01..0.5)),
        format!("use_missing={}", rng.random_bool(0.8)),
        format!("zero_as_missing={}", rng.random_bool(0.4)),
        format!("feature_fraction={}", rng.random_range(0.3..1.0)),
        format!("extra_trees={}", rng.random_bool(0.2)),
        format!("boost_from_average={}", rng.random_bool(0.7)),
        format!("seed={}", rng.random_range(0..1_000_000)),
    ];
    if rng.random_bool(0.4) {
        words.push("categorical_feature=1,2,7 min_data_per_group=1 cat_smooth=1".to_owned());
        words.push(format!("max_cat_to_onehot={}", [1, 4].choose(rng).unwrap()));
    }
    words.join(" ")
}

/// Trains a model and gives its text.
pub fn train(rows: &[Row], labels: &[f32], parameters: &str, iterations: usize) -> String {
    let parameters = CString::new(parameters).unwrap();
    let (mut data, mut booster) = (null_mut(), null_mut());
    // SAFETY: the pointers are to live buffers of the lengths given; the handles are made and freed here, in order.
    unsafe {
        check(sys::LGBM_DatasetCreateFromMat(
            rows.as_ptr().cast::<c_void>(),
            sys::C_API_DTYPE_FLOAT64 as i32,
            rows.len() as i32,
            FEATURES as i32,
            1,
            parameters.as_ptr(),
            null_mut(),
            &mut data,
        ));
        check(sys::LGBM_DatasetSetField(
            data,
            c"label".as_ptr(),
            labels.as_ptr().cast::<c_void>(),
            labels.len() as i32,
            sys::C_API_DTYPE_FLOAT32 as i32,
        ));
        check(sys::LGBM_BoosterCreate(data, parameters.as_ptr(), &mut booster));
        let mut finished = 0;
        for _ in 0..iterations {
            check(sys::LGBM_BoosterUpdateOneIter(booster, &mut finished));
        }
        let mut bytes = vec![0_u8; 16 << 20];
        let mut length = 0;
        let room = bytes.len() as i64;
        check(sys::LGBM_BoosterSaveModelToString(booster, 0, -1, 0, room, &mut length, bytes.as_mut_ptr().cast()));
        assert!(length <= room, "the model text has {length} bytes");
        check(sys::LGBM_BoosterFree(booster));
        check(sys::LGBM_DatasetFree(data));
        CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
    }
}

fn check(code: i32) {
    // SAFETY: the library gives a pointer to its own NUL-terminated message.
    assert_eq!(code, 0, "{:?}", unsafe { CStr::from_ptr(sys::LGBM_GetLastError()) });
}
