//! A model folder read whole, or refused in one line that names the setting and the way out.

use super::*;
use crate::domain::features::FEATURES;
use crate::model::metrics::Judged;

/// A model of one tree that asks the first feature.
fn text() -> String {
    let names: Vec<&str> = features::names().collect();
    format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={}\n\
         objective=binary sigmoid:1\nfeature_names={}\nfeature_infos={}\ntree_sizes=1\n\nTree=0\nnum_leaves=2\nnum_cat=0\n\
         split_feature=0\nsplit_gain=1\nthreshold=5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=-1 1\n\
         leaf_weight=1 1\nleaf_count=1 1\ninternal_value=0\ninternal_weight=2\ninternal_count=2\nis_linear=0\n\
         shrinkage=1\n\n\nend of trees\n",
        FEATURES - 1,
        names.join(" "),
        vec!["[0:10]"; FEATURES].join(" "),
    )
}

fn new_model() -> NewModel {
    let raw: Vec<f64> = (0..1000).map(|at| f64::from(at) / 100.0).collect();
    let judged = [Judged { probability: 0.5, score: 50, fraud: true }];
    NewModel {
        name: "default".to_owned(),
        version: "1".to_owned(),
        text: text(),
        training_data_sha256: sha256_hex(b"data"),
        calibration: Calibration { a: 1.5, b: -3.0 },
        score_map: ScoreMap::fit(&raw, &raw).unwrap(),
        scaling: Scaling::measure(&[[1.0; FEATURES]]),
        metrics: Metrics::measure(&judged, (10, 1), 0.001),
        card: "# Card\n".to_owned(),
    }
}

/// A models root with one model, and its folder.
fn saved() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = new_model().save(root.path()).unwrap();
    (root, folder)
}

fn refused(path: &Path) -> String {
    let line = Model::load(path).unwrap_err().to_string();
    assert!(!line.contains('\n') && line.starts_with("model.path (MODEL_PATH): "), "{line}");
    assert!(line.contains("`sentra train`") || line.contains("train with"), "{line}");
    line
}

/// Replaces a part of a file.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_saved_model_loads_as_it_was_from_its_folder_and_through_active() {
    let (root, folder) = saved();
    activate(root.path(), "default", "1").unwrap();
    for path in [folder.as_path(), root.path()] {
        let model = Model::load(path).unwrap();
        assert_eq!((model.name.as_str(), model.version.as_str(), model.card.as_str()), ("default", "1", "# Card\n"));
        let built = new_model().build().unwrap();
        assert_eq!(
            (model.calibration, &model.scaling, &model.metrics),
            (built.calibration, &built.scaling, &built.metrics)
        );
        let mut raw = Vec::new();
        model.raw_batch(&[[6.0; FEATURES], [5.0; FEATURES]], &mut raw);
        assert_eq!(raw, [1.0, -1.0]);
        for step in -100..1000 {
            let raw = f64::from(step) / 77.0;
            assert_eq!(model.score(raw), built.score(raw));
        }
        assert_eq!(model.score(f64::NAN), 0);
    }
}

#[test]
fn a_missing_model_is_named() {
    let (root, folder) = saved();
    assert!(refused(&root.path().join("nowhere")).contains("no model in"));
    assert!(refused(root.path()).contains("no model in"));
    activate(root.path(), "default", "2").unwrap();
    assert!(refused(root.path()).contains("no model in"));
    fs::remove_file(folder.join(METRICS_FILE)).unwrap();
    assert!(refused(&folder).contains("cannot read"));
}

#[test]
fn a_pickle_is_never_loaded() {
    for name in ["model.pkl", "model.PKL", "fraud.pickle", "fraud.joblib"] {
        assert!(refused(Path::new(name)).contains("pickles are not loaded"), "{name}");
    }
}

#[test]
fn a_damaged_file_is_named() {
    let damages: [(&str, &str, &str, &str); 5] = [
        (MODEL_FILE, "threshold=5", "threshold=6", "SHA-256"),
        (SCALING_FILE, "\"mean\": 1.0", "\"mean\": 2.0", "SHA-256"),
        (MANIFEST_FILE, "{", "", "is damaged"),
        (METRICS_FILE, "\"auc\"", "\"acu\"", "is damaged"),
        (MANIFEST_FILE, "\"score\": 40", "\"score\": 5", "rise strictly"),
    ];
    for (file, from, to, expected) in damages {
        let (_root, folder) = saved();
        edit(&folder.join(file), from, to);
        let line = refused(&folder);
        assert!(line.contains(expected) && line.contains(file), "{line}");
    }
}

#[test]
fn an_active_file_cannot_lead_out_of_the_models() {
    let (root, _) = saved();
    for line in ["../etc", "default/../..", "default", "", "/default/1", "default/1/2", "default\n1"] {
        fs::write(root.path().join(ACTIVE_FILE), line).unwrap();
        assert!(refused(root.path()).contains("not one line"), "{line:?}");
    }
}

#[test]
fn another_feature_set_or_order_is_named() {
    let (_root, folder) = saved();
    edit(&folder.join(MANIFEST_FILE), "\"feature_set\": \"v1\"", "\"feature_set\": \"v9\"");
    assert!(refused(&folder).contains("feature set `v9`"));

    let (_root, folder) = saved();
    edit(&folder.join(MANIFEST_FILE), "\"amount_to_mean\"", "\"amount_to_moon\"");
    assert!(refused(&folder).contains("feature 1 of the model is `amount_to_moon`, expected `amount_to_mean`"));

    let swapped = text().replacen("log_amount amount_to_mean", "amount_to_mean log_amount", 1);
    let error = NewModel { text: swapped, ..new_model() }.save(Path::new("unused")).unwrap_err();
    assert!(matches!(error, ModelError::Features { position: 0, .. }), "{error}");
}

#[test]
fn a_version_is_never_overwritten_and_names_are_plain() {
    let (root, _folder) = saved();
    assert!(matches!(new_model().save(root.path()), Err(ModelError::Exists { .. })));
    for name in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
        let odd = NewModel { name: name.to_owned(), ..new_model() };
        assert!(matches!(odd.save(root.path()), Err(ModelError::Name { .. })), "{name:?}");
        assert!(activate(root.path(), name, "1").is_err());
    }
}

#[test]
fn a_model_that_would_not_read_back_is_not_published() {
    let root = tempfile::tempdir().unwrap();
    let mut new = new_model();
    new.metrics.auc = f64::NAN;
    assert!(matches!(new.save(root.path()), Err(ModelError::Damaged { .. })));
    assert!(!root.path().join("default/1").exists());
    new.metrics.auc = 0.9;
    new.save(root.path()).unwrap();
}

#[test]
fn the_librarys_backend_scores_as_ours_does() {
    use crate::model::{
        evaluate::Scores,
        scorer::{Backend, Scorer},
    };
    let model = std::sync::Arc::new(new_model().build().unwrap());
    let rows: Vec<Row> = (0..100).map(|at| [f64::from(at) / 10.0; FEATURES]).collect();
    let scored = |backend| {
        let mut scores = Scores::default();
        let mut scorer = Scorer::new(&model, backend).unwrap();
        scorer.score(&rows[..7], &mut scores);
        scorer.score(&rows, &mut scores);
        scores.raw
    };
    assert_eq!(scored(Backend::Compiled), scored(Backend::LightGbm));
    assert_eq!(scored(Backend::LightGbm).len(), 100);
}
