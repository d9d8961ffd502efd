//! The model in the repository: what `sentra model show` tells of it, its shape and its size.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What a clone of the repository should not have to carry more of.
const MOST_BYTES: u64 = 2_000_000;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn folder() -> PathBuf {
    models().join(fs::read_to_string(models().join("active")).expect("one is active").trim())
}

/// What `sentra model show` prints, as a user without any setting has it.
fn shown(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).args(["model", "show"]).args(arguments);
    let done = command.output().expect("the binary");
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn its_card_and_a_line_of_work_for_each_anchor_are_shown() {
    let text = shown(&[]);
    let card = fs::read_to_string(folder().join("MODEL_CARD.md")).expect("a card");
    let table = text.strip_prefix(card.trim_end()).expect("the card comes first, whole");
    assert!(table.contains("\nModel sentra-default version 1\n"), "{table}");
    assert!(table.contains("false positives") && table.contains("precision") && table.contains("alerts per million"));

    let told: Value = serde_json::from_str(&shown(&["--json"])).expect("JSON");
    let base_rate = told["metrics"]["base_rate"].as_f64().expect("a share");
    let measured = told["metrics"]["anchors"].as_array().expect("anchors");
    let scores: Vec<u64> = measured.iter().filter_map(|anchor| anchor["score"].as_u64()).collect();
    assert_eq!(scores, [10, 25, 40, 70, 90]);
    for anchor in measured {
        let value = |name: &str| anchor[name].as_f64().expect("a figure");
        let (score, wrong, caught) = (value("score"), value("false_positive_rate"), value("recall"));
        let (frauds, alarms) = (base_rate * caught, (1.0 - base_rate) * wrong);
        let expected = [wrong * 100.0, caught * 100.0, frauds / (frauds + alarms) * 100.0, (frauds + alarms) * 1e6];
        let found = table.lines().filter_map(|line| {
            let numbers: Vec<f64> =
                line.replace('%', "").split_whitespace().filter_map(|word| word.parse().ok()).collect();
            (numbers.len() == 5 && numbers[0] == score).then(|| numbers[1..].to_vec())
        });
        let found: Vec<Vec<f64>> = found.collect();
        assert_eq!(found.len(), 1, "score {score}: {table}");
        for ((found, expected), rounding) in found[0].iter().zip(expected).zip([0.006, 0.006, 0.006, 0.51]) {
            assert!((found - expected).abs() < rounding, "score {score}: {found} for {expected}");
        }
    }
}

#[test]
fn a_level_means_the_workload_that_the_documents_promise() {
    let told: Value = serde_json::from_str(&shown(&["--json"])).expect("JSON");
    for (score, promised) in [(40, 0.02), (70, 0.005), (90, 0.000_5)] {
        let anchors = told["metrics"]["anchors"].as_array().expect("anchors");
        let anchor = anchors.iter().find(|anchor| anchor["score"] == score).expect("an anchor");
        let measured = anchor["false_positive_rate"].as_f64().expect("a share");
        // Measured on the part that comes after the one it was fitted to.
        assert!(
            measured < 1.5 * promised && measured > promised / 1.5,
            "score {score}: {measured} of legitimate events"
        );
    }
}

#[test]
fn it_has_200_trees_of_31_leaves_in_less_than_two_megabytes() {
    let text = fs::read_to_string(folder().join("model.txt")).expect("a model");
    let leaves: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("num_leaves=")).collect();
    assert_eq!(leaves, ["31"; 200]);
    let files =
        fs::read_dir(folder()).expect("a folder").map(|file| file.expect("readable").metadata().expect("a size"));
    let bytes: u64 = files.map(|file| file.len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}
