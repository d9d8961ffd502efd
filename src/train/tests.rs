//! From traffic to a model that loads and ranks.

use std::{fs, sync::Arc};

use super::{
    dataset::{self, Dataset, DatasetError, LABELS, TRANSACTIONS},
    fit::{FitError, FitSettings, fit},
    report::{self, Origin},
    simulate::{DEFAULT_CUSTOMERS, Disorder, Limit, Options, Simulation},
};
use crate::{
    domain::{features, rules::Rules},
    model::folder::{Model, NewModel},
};

fn simulated(options: &Options) -> Dataset {
    dataset::from_simulation(options, &Arc::new(Rules::default()), |_| {})
}

fn small() -> Options {
    Options { limit: Limit::Records(120_000), fraud_rate: 0.01, ..Options::sized(5, 700) }
}

fn settings() -> FitSettings {
    FitSettings { trees: 60, leaves: 15, ..FitSettings::default() }
}

fn write_folder(options: &Options, folder: &std::path::Path) {
    let (mut transactions, mut labels) = (Vec::new(), Vec::new());
    for record in Simulation::new(options) {
        transactions.extend_from_slice(&record.json);
        transactions.push(b'\n');
        if record.earliest {
            record.write_label(&mut labels);
        }
    }
    fs::write(folder.join(TRANSACTIONS), transactions).unwrap();
    fs::write(folder.join(LABELS), labels).unwrap();
}

/// Rows as bits: NaN equals NaN.
fn bits(data: &Dataset) -> Vec<u64> {
    data.rows.as_flattened().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_folder_gives_the_same_rows_truth_and_hash_as_the_simulation_that_wrote_it() {
    let disorder = Disorder { late_share: 0.05, duplicates: 0.05, conflicts: 0.01, ..Disorder::default() };
    let options = Options { limit: Limit::Days(4), disorder, ..small() };
    let folder = tempfile::tempdir().unwrap();
    write_folder(&options, folder.path());
    let direct = simulated(&options);
    let mut told = Vec::new();
    let progress = |read, bytes| told.push((read, bytes));
    let read = dataset::from_folder(folder.path(), &Arc::new(Rules::default()), progress).unwrap();
    let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    let bytes = size(LABELS) + size(TRANSACTIONS);
    assert!(told.len() > 5 && told.iter().all(|(_, of)| *of == bytes) && told.is_sorted(), "{told:?}");
    assert!(told[0].0 < size(LABELS) && told[told.len() - 1].0 > bytes / 2, "{told:?}");
    assert_eq!(bits(&direct), bits(&read));
    assert_eq!(direct.at_ms, read.at_ms);
    assert_eq!(direct.sha256, read.sha256);
    assert_eq!(direct.left_out, read.left_out);
    assert!(direct.left_out.repeated > 0 && direct.left_out.invalid == 0, "{:?}", direct.left_out);
    let frauds = |data: &Dataset| data.truth.iter().map(|truth| truth.fraud).collect::<Vec<_>>();
    assert_eq!(frauds(&direct), frauds(&read));
}

#[test]
fn every_simulated_transaction_is_readable_and_gets_a_row() {
    let data = simulated(&Options { limit: Limit::Records(30_000), ..small() });
    assert_eq!((data.rows.len(), data.left_out), (30_000, dataset::LeftOut::default()));
    // Every feature has a value somewhere, or the simulation does not exercise it.
    for (index, name) in features::names().enumerate() {
        let values = data.rows.iter().filter(|row| row[index].is_finite()).count();
        assert!(values > 10_000, "{name}: {values} values");
    }
}

#[test]
fn a_small_model_is_reproducible_loads_from_its_folder_and_ranks_frauds_first() {
    let data = simulated(&small());
    let fitted = fit(&data, &settings()).unwrap();
    assert_eq!(fitted.text, fit(&data, &settings()).unwrap().text);
    assert!(fitted.metrics.auc > 0.9, "{}", fitted.metrics.auc);
    assert!(fitted.metrics.average_precision > 0.3, "{}", fitted.metrics.average_precision);
    assert_eq!(fitted.metrics.plays.iter().filter(|play| play.fraud).count(), 3);
    let anchor = |score| fitted.metrics.anchors.iter().find(|at| at.score == score).copied().unwrap();
    assert!(anchor(40).false_positive_rate < 0.03 && anchor(70).false_positive_rate < 0.01);
    assert!(anchor(40).recall > anchor(90).recall);

    let origin = Origin::Simulated { seed: 5, customers: 700 };
    let new = NewModel {
        name: "test".to_owned(),
        version: "1".to_owned(),
        text: fitted.text.clone(),
        training_data_sha256: data.sha256.clone(),
        calibration: fitted.calibration,
        score_map: fitted.score_map.clone(),
        scaling: fitted.scaling.clone(),
        metrics: fitted.metrics.clone(),
        card: report::card("test", "1", &origin, &data, &settings(), &fitted),
    };
    let root = tempfile::tempdir().unwrap();
    let model = Model::load(&new.save(root.path()).unwrap()).unwrap();
    let mut raw = Vec::new();
    model.raw_batch(&data.rows, &mut raw);
    let mean = |fraud: bool| {
        let scores = raw.iter().zip(&data.truth).filter(|(_, truth)| truth.fraud == fraud);
        let (sum, count) =
            scores.fold((0.0, 0.0), |(sum, count), (raw, _)| (sum + f64::from(model.score(*raw)), count + 1.0));
        sum / count
    };
    assert!(mean(true) > 60.0 && mean(false) < 20.0, "{} against {}", mean(true), mean(false));
}

#[test]
fn the_parts_follow_each_other_in_time_even_where_records_do_not() {
    let disorder = Disorder { late_share: 0.2, late_spread_ms: 7_200_000, ..Disorder::default() };
    let data = simulated(&Options { disorder, ..small() });
    assert!(!data.at_ms.is_sorted());
    let split = fit(&data, &FitSettings { trees: 2, leaves: 4, ..settings() }).unwrap().split;
    assert!(split.training.to_ms < split.calibration.from_ms && split.calibration.to_ms < split.test.from_ms);
    assert_eq!(split.training.rows + split.calibration.rows + split.test.rows, data.rows.len());
}

#[test]
fn the_card_says_data_split_figures_and_limits() {
    let data = simulated(&small());
    let settings = FitSettings { trees: 5, leaves: 8, ..settings() };
    let fitted = fit(&data, &settings).unwrap();
    let origin = Origin::Simulated { seed: 5, customers: DEFAULT_CUSTOMERS };
    let card = report::card("name", "3", &origin, &data, &settings, &fitted);
    for part in [
        "# name 3",
        "## Data",
        "seed 5",
        "| training |",
        "| test |",
        "## Figures",
        "| 90 |",
        "structuring",
        "## Limits",
    ] {
        assert!(card.contains(part), "{part} is missing in\n{card}");
    }
    assert!(!card.contains("NaN"));
}

#[test]
fn too_few_frauds_are_refused_by_name_of_the_part() {
    let data = simulated(&Options { limit: Limit::Records(3_000), fraud_rate: 0.0, ..small() });
    let error = fit(&data, &settings()).err().unwrap();
    assert!(matches!(error, FitError::TooFew { part: "training", frauds: 0, .. }), "{error}");
    assert!(error.to_string().contains("--events"), "{error}");
}

#[test]
fn a_missing_file_and_a_damaged_label_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = || dataset::from_folder(folder.path(), &Arc::new(Rules::default()), |_, _| {}).err().unwrap();
    assert!(read().to_string().contains(LABELS));
    fs::write(folder.path().join(LABELS), "{\"transaction_id\":\"a\",\"fraud\":false}\n{\"fraud\":1}\n").unwrap();
    assert!(read().to_string().contains(TRANSACTIONS));
    fs::write(folder.path().join(TRANSACTIONS), "").unwrap();
    let error = read();
    assert!(matches!(error, DatasetError::Label { line: 2, .. }), "{error}");
}

#[test]
fn records_without_a_label_and_unreadable_ones_are_counted_and_left_out() {
    let options = Options { limit: Limit::Records(100), ..small() };
    let folder = tempfile::tempdir().unwrap();
    write_folder(&options, folder.path());
    let transactions = fs::read_to_string(folder.path().join(TRANSACTIONS)).unwrap();
    fs::write(folder.path().join(TRANSACTIONS), transactions + "not json\n").unwrap();
    let labels = fs::read_to_string(folder.path().join(LABELS)).unwrap();
    let fewer: String = labels.lines().skip(10).map(|line| format!("{line}\n")).collect();
    fs::write(folder.path().join(LABELS), fewer).unwrap();
    let data = dataset::from_folder(folder.path(), &Arc::new(Rules::default()), |_, _| {}).unwrap();
    assert_eq!((data.rows.len(), data.left_out.unlabelled, data.left_out.invalid), (90, 10, 1));
}
