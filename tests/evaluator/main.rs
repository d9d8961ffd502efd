//! The evaluator against LightGBM's own library, on random models and rows, to the last bit.

mod library;

use lightgbm3::Booster;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentra::domain::features::{FEATURES, Row};
use sentra::model::evaluate::Scores;
use sentra::model::forest::{Forest, ForestError};

const MODELS: u64 = 120;
const PROBES: usize = 400;
const LONGEST_BATCH: usize = 130;

/// Values that sit on the edges of the library's rules.
const EDGES: [f64; 15] = [
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
    -0.5,
    -1.0,
    3e9,
];

/// All thresholds of a model text, read apart from the code under test.
fn thresholds(text: &str) -> Vec<f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("threshold="));
    lines.flat_map(str::split_ascii_whitespace).map(|number| number.parse().unwrap()).collect()
}

/// Training rows, some of whose values are moved onto thresholds, next to them, or to an edge.
fn probes(rng: &mut ChaCha8Rng, rows: &[Row], thresholds: &[f64]) -> Vec<Row> {
    let moved = |rng: &mut ChaCha8Rng, value: f64| match rng.random_range(0..8) {
        0 => *EDGES.choose(rng).unwrap(),
        1..4 if !thresholds.is_empty() => {
            let threshold = *thresholds.choose(rng).unwrap();
            *[threshold, threshold.next_up(), threshold.next_down()].choose(rng).unwrap()
        }
        4 => f64::from(rng.random_range(-2..100_i8)),
        _ => value,
    };
    (0..PROBES).map(|_| rows.choose(rng).unwrap().map(|value| moved(rng, value))).collect()
}

fn assert_same_bits(text: &str, probes: &[Row], seed: u64) {
    let forest = Forest::parse(text).unwrap_or_else(|error| panic!("model {seed}: {error}"));
    let booster = Booster::from_string(text).unwrap();
    let expected = booster.raw_scores(probes.as_flattened(), FEATURES as i32, true).unwrap();
    for (row, expected) in probes.iter().zip(&expected) {
        let found = forest.raw_one(row);
        assert_eq!(found.to_bits(), expected.to_bits(), "model {seed}: {found} for {expected}, row {row:?}");
    }
    let mut found = Vec::new();
    for length in 1..=LONGEST_BATCH {
        let from = (length * 7) % (PROBES - length);
        forest.raw_batch(&probes[from..from + length], &mut found);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected[from..from + length]), "model {seed}, {length} rows from {from}");
    }
}

#[test]
fn raw_scores_are_the_librarys_to_the_last_bit_on_random_models() {
    let (mut categorical, mut zero_missing, mut large, mut small) = (0, 0, 0, 0);
    for seed in 0..MODELS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (rows, labels) = library::training_data(&mut rng);
        let parameters = library::parameters(&mut rng);
        let iterations = rng.random_range(1..40);
        let text = library::train(&rows, &labels, &parameters, iterations);
        let probes = probes(&mut rng, &rows, &thresholds(&text));
        assert_same_bits(&text, &probes, seed);
        categorical += usize::from(text.contains("cat_threshold="));
        zero_missing += usize::from(parameters.contains("zero_as_missing=true"));
        large += usize::from(["num_leaves=65\n", "num_leaves=90\n"].iter().any(|line| text.contains(line)));
        small += usize::from(["num_leaves=31\n", "num_leaves=32\n"].iter().any(|line| text.contains(line)));
    }
    println!("of {MODELS}: {categorical} categorical, {zero_missing} zero_as_missing, {large} large, {small} small");
    assert!(categorical >= 10 && zero_missing >= 10 && large >= 5 && small >= 5, "the models do not cover the format");
}

#[test]
fn trees_of_a_single_leaf_are_summed_too() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (rows, labels) = library::training_data(&mut rng);
    for (parameters, single) in [("objective=binary min_data_in_leaf=10000", true), ("objective=binary", false)] {
        let text = library::train(&rows, &labels, &format!("{parameters} num_threads=1 verbosity=-1"), 5);
        assert_eq!(text.contains("num_leaves=1\n"), single);
        assert_same_bits(&text, &probes(&mut rng, &rows, &thresholds(&text)), 1);
    }
}

#[test]
fn a_single_leaf_among_larger_trees_keeps_its_place_in_the_sum() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (rows, labels) = library::training_data(&mut rng);
    let text = library::train(&rows, &labels, "objective=binary num_leaves=8 num_threads=1 verbosity=-1", 3);
    // LightGBM writes such a tree when an iteration finds no split; its text is put in by hand, sizes left out.
    let leaf = "Tree=9\nnum_leaves=1\nnum_cat=0\nleaf_value=0.12345678901234566\nis_linear=0\nshrinkage=1\n\n\n";
    let at = text.find("Tree=1\n").unwrap();
    let sizes: Vec<&str> = text.lines().find_map(|line| line.strip_prefix("tree_sizes=")).unwrap().split(' ').collect();
    let widened = format!("tree_sizes={} {} {} {}", sizes[0], leaf.len(), sizes[1], sizes[2]);
    let with_leaf = format!("{}{leaf}{}", &text[..at], &text[at..]);
    let with_leaf = with_leaf.replace(&format!("tree_sizes={}", sizes.join(" ")), &widened);
    assert_eq!(Forest::parse(&with_leaf).unwrap().num_trees(), 4);
    assert_same_bits(&with_leaf, &probes(&mut rng, &rows, &thresholds(&text)), 2);
}

#[test]
fn contributions_and_bias_add_up_to_the_raw_score() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (rows, labels) = library::training_data(&mut rng);
        let parameters = library::parameters(&mut rng);
        let text = library::train(&rows, &labels, &parameters, 30);
        let forest = Forest::parse(&text).unwrap();
        let mut parts = [0.0; FEATURES];
        for row in probes(&mut rng, &rows, &thresholds(&text)) {
            forest.contributions(&row, &mut parts);
            let (sum, raw) = (forest.bias() + parts.iter().sum::<f64>(), forest.raw_one(&row));
            assert!((sum - raw).abs() <= 1e-9 * (1.0 + raw.abs()), "model {seed}: {sum} for {raw}");
        }
    }
}

/// A row's contributions by walking the text's trees: each step's change of value belongs to the feature asked. For models
/// without categories and missing values.
fn walked(text: &str, row: &Row) -> Row {
    let mut parts = [0.0; FEATURES];
    for tree in text.split("\nTree=").skip(1) {
        let numbers = |key: &str| -> Vec<f64> {
            let line = tree.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect(key);
            line.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
        };
        if numbers("num_leaves")[0] == 1.0 {
            continue;
        }
        let [features, thresholds, lefts, rights, inner, leaves] =
            ["split_feature", "threshold", "left_child", "right_child", "internal_value", "leaf_value"].map(numbers);
        let mut node = 0;
        loop {
            let feature = features[node] as usize;
            let child = if row[feature] <= thresholds[node] { lefts[node] } else { rights[node] } as i64;
            // A leaf's number is written as its complement.
            let (leaf, at) = if child < 0 { (true, !child as usize) } else { (false, child as usize) };
            parts[feature] += if leaf { leaves[at] } else { inner[at] } - inner[node];
            if leaf {
                break;
            }
            node = at;
        }
    }
    parts
}

#[test]
fn each_feature_contributes_what_its_steps_on_the_trees_paths_change() {
    let mut contributing = 0;
    for (seed, leaves) in (0..24).zip([2, 3, 8, 31, 64, 90].into_iter().cycle()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut rows, labels) = library::training_data(&mut rng);
        rows.iter_mut().flatten().filter(|value| value.is_nan()).for_each(|value| *value = 0.5);
        let parameters = format!("objective=binary num_leaves={leaves} min_data_in_leaf=2 num_threads=1 verbosity=-1");
        let text = library::train(&rows, &labels, &parameters, 30);
        let forest = Forest::parse(&text).unwrap();
        let (mut scores, mut parts) = (Scores::default(), [0.0; FEATURES]);
        let together: Vec<&Row> = rows.iter().collect();
        forest.score(&together, &mut scores);
        for (at, row) in rows.iter().enumerate() {
            let expected = walked(&text, row);
            for explain in [true, false] {
                if explain {
                    forest.explain(row, &scores.of(at), &mut parts);
                } else {
                    forest.contributions(row, &mut parts);
                }
                let near = |(part, expected): (&f64, &f64)| (part - expected).abs() <= 1e-9 * (1.0 + expected.abs());
                assert!(parts.iter().zip(&expected).all(near), "model {seed}: {parts:?} for {expected:?}");
            }
            contributing += expected.iter().filter(|part| part.abs() > 1e-3).count();
        }
    }
    assert!(contributing > 50_000, "only {contributing} contributions");
}

#[test]
fn only_features_on_the_path_contribute() {
    let rows: Vec<Row> = (0..200).map(|at| std::array::from_fn(|f| if f == 3 { f64::from(at) } else { 0.0 })).collect();
    let labels: Vec<f32> = (0..200).map(|at| f32::from(at >= 100_u8)).collect();
    let text = library::train(&rows, &labels, "objective=binary num_threads=1 verbosity=-1", 10);
    let forest = Forest::parse(&text).unwrap();
    let mut parts = [1.0; FEATURES];
    forest.contributions(&rows[190], &mut parts);
    assert!(parts[3] > 0.0);
    assert!(parts.iter().enumerate().all(|(at, part)| at == 3 || *part == 0.0));
    forest.contributions(&rows[10], &mut parts);
    assert!(parts[3] < 0.0);
}

/// A model text whose parts a test may damage.
fn sound_text() -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (rows, labels) = library::training_data(&mut rng);
    library::train(&rows, &labels, "objective=binary num_leaves=8 num_threads=1 verbosity=-1", 4)
}

#[test]
fn what_is_not_evaluated_is_refused_by_name() {
    let text = sound_text();
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "the text has no {from:?}");
        Forest::parse(&text.replacen(from, to, 1)).unwrap_err()
    };
    assert_eq!(refused("num_class=1", "num_class=3"), ForestError::Multiclass { classes: 3 });
    assert_eq!(refused("feature_names=", "average_output\nfeature_names="), ForestError::AverageOutput);
    assert_eq!(refused("is_linear=0", "is_linear=1"), ForestError::LinearTrees);
    assert_eq!(refused("num_leaves=8", "num_leaves=99999"), ForestError::TooManyLeaves { found: 99_999 });
    assert_eq!(Forest::parse("\u{80}\u{4}sklearn").unwrap_err(), ForestError::NotLightGbm);
    assert_eq!(Forest::parse("").unwrap_err(), ForestError::NotLightGbm);
    for (from, to) in [
        ("left_child=", "left_child=0 "),
        ("threshold=", "threshold=nan "),
        ("split_feature=", "split_feature=99 "),
        ("leaf_value=", "leaf_valeu="),
        ("max_feature_idx=23", "max_feature_idx=22"),
        ("decision_type=", "decision_type=14 "),
    ] {
        assert!(matches!(refused(from, to), ForestError::Damaged { .. }), "{from} to {to}");
    }
}

#[test]
fn nodes_that_form_a_cycle_or_leave_one_out_are_refused() {
    let text = sound_text();
    for key in ["left_child=", "right_child="] {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        let others = line.split_once(' ').unwrap().1;
        for target in ["0", "7", "-9", "-1"] {
            let broken = text.replacen(line, &format!("{key}{target} {others}"), 1);
            let unchanged = broken == text;
            assert_eq!(Forest::parse(&broken).is_ok(), unchanged, "{key}{target}");
        }
    }
}

#[test]
fn a_real_linear_multiclass_or_averaged_model_is_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (rows, labels) = library::training_data(&mut rng);
    let train = |parameters: &str| {
        let parameters = format!("{parameters} num_leaves=8 num_threads=1 verbosity=-1");
        Forest::parse(&library::train(&rows, &labels, &parameters, 3)).unwrap_err()
    };
    assert_eq!(train("objective=regression linear_tree=true"), ForestError::LinearTrees);
    assert_eq!(train("objective=multiclass num_class=3"), ForestError::Multiclass { classes: 3 });
    let forest = "objective=binary boosting=rf bagging_freq=1 bagging_fraction=0.5";
    assert_eq!(train(forest), ForestError::AverageOutput);
}

#[test]
fn a_text_cut_anywhere_before_the_end_of_its_trees_is_refused() {
    let text = sound_text();
    let end = text.find("end of trees").unwrap() + "end of trees".len();
    for cut in 0..end {
        assert!(Forest::parse(&text[..cut]).is_err(), "cut at byte {cut} of {end}");
    }
    assert!(Forest::parse(&text[..end]).is_ok());
}

#[test]
fn a_text_with_any_line_lost_never_panics() {
    let text = sound_text();
    let lines: Vec<&str> = text.lines().collect();
    for lost in 0..lines.len() {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, line)| *line).collect();
        if let Ok(forest) = Forest::parse(&rest.join("\n")) {
            assert!(forest.raw_one(&[1.0; FEATURES]).is_finite());
        }
    }
}
