//! The evaluator beside LightGBM's own prediction, on a model of 200 trees × 31 leaves and distinct rows.
//!
//! `cargo bench --bench evaluator`; compare within one run only.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lightgbm3::{Booster, Dataset};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentra::domain::features::{FEATURES, Row};
use sentra::model::{evaluate::Scores, forest::Forest};
use serde_json::json;
use std::hint::black_box;

const ROWS: usize = 20_000;
const BATCH: usize = 64;

/// Rows with missing values, counts and reals, and a target that takes many trees to learn.
fn training_data() -> (Vec<Row>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let value = |rng: &mut ChaCha8Rng, at: usize| match at % 4 {
        0 => f64::from(rng.random_range(0..40_u8)),
        3 if rng.random_bool(0.2) => f64::NAN,
        _ => rng.random_range(0.0..100.0),
    };
    let rows: Vec<Row> = (0..ROWS).map(|_| std::array::from_fn(|at| value(&mut rng, at))).collect();
    let wave = |(at, value): (usize, &f64)| if value.is_nan() { 0.3 } else { (value / (10.0 + at as f64)).sin() };
    let score = |row: &Row| row.iter().enumerate().map(wave).sum::<f64>() + row[1] * row[2] / 4_000.0;
    let labels = rows.iter().map(|row| f32::from(score(row) + rng.random_range(-1.0..1.0) > 2.0)).collect();
    (rows, labels)
}

fn evaluator(criterion: &mut Criterion) {
    let (rows, labels) = training_data();
    let data =
        Dataset::from_slice(rows.as_flattened(), &labels, FEATURES as i32, true).expect("the data is rectangular");
    let parameters = json!({"objective": "binary", "num_iterations": 200, "num_leaves": 31, "verbosity": -1});
    let mut booster = Booster::train(data, &parameters).expect("the parameters are LightGBM's");
    let forest = Forest::parse(&booster.save_string().expect("a trained model has a text")).expect("it is evaluable");
    booster.single_row_fast_init::<f64>(None).expect("the booster is trained");

    let mut turn = rows.iter().cycle();
    let mut next = || turn.next().expect("a cycle does not end");
    let mut group = criterion.benchmark_group("one row");
    group.throughput(Throughput::Elements(1));
    group.bench_function("library", |bench| {
        bench.iter_batched(&mut next, |row| black_box(booster.predict_single_row_fast(row)), BatchSize::SmallInput);
    });
    group.bench_function("compiled", |bench| {
        bench.iter_batched(&mut next, |row| black_box(forest.raw_one(row)), BatchSize::SmallInput);
    });
    group.finish();

    let mut scores = Scores::default();
    let mut parts = [0.0; FEATURES];
    let mut turn = rows.chunks_exact(BATCH).cycle();
    let mut next_batch = || turn.next().expect("a cycle does not end");
    let mut group = criterion.benchmark_group("64 rows");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("library", |bench| {
        let width = FEATURES as i32;
        let predict = |rows: &[Row]| booster.raw_scores_with_params(rows.as_flattened(), width, true, "num_threads=1");
        bench.iter_batched(&mut next_batch, |rows| black_box(predict(rows)), BatchSize::SmallInput);
    });
    group.bench_function("compiled", |bench| {
        bench.iter_batched(&mut next_batch, |rows| forest.score(rows, &mut scores), BatchSize::SmallInput);
    });
    group.bench_function("contributions", |bench| {
        let explain = |rows: &[Row]| rows.iter().for_each(|row| forest.contributions(row, black_box(&mut parts)));
        bench.iter_batched(&mut next_batch, explain, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, evaluator);
criterion_main!(benches);
