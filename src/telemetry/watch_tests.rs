//! The dashboard and the alert rules against the numbers that exist: a panel without data is worse than none.

use std::{collections::BTreeSet, fs, path::Path};

use super::Metrics;

/// What Prometheus knows of itself.
const OWN: [&str; 1] = ["up"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The questions of the dashboard's panels, with their titles.
fn panels() -> Vec<(String, String)> {
    let dashboard: serde_json::Value = serde_json::from_str(&file("grafana/sentra.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let title = |panel: &serde_json::Value| panel["title"].as_str().expect("a title").to_owned();
    let asked = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(|target| (title(panel), target["expr"].as_str().expect("a question").to_owned()))
    });
    asked.collect()
}

/// The questions of the alert rules.
fn rules() -> Vec<(String, String)> {
    let text = file("prometheus/rules.yml");
    let mut name = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            name = alert.to_owned();
        } else if let Some(question) = line.trim().strip_prefix("expr: ") {
            found.push((name.clone(), question.to_owned()));
        }
    }
    found
}

/// The metrics a question names.
fn named(question: &str) -> BTreeSet<&str> {
    let words = question.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("sentra_")).collect()
}

/// Whether that is a metric, or one of the series that a histogram makes.
fn exists(metrics: &Metrics, name: &str) -> bool {
    let series = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    OWN.contains(&name) || metrics.knows(name) || series.is_some_and(|base| metrics.knows(base))
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alert_rules_is_one_that_sentra_tells() {
    let metrics = Metrics::new();
    let questions: Vec<(String, String)> = panels().into_iter().chain(rules()).collect();
    assert!(questions.len() > 50, "{}", questions.len());
    for (place, question) in &questions {
        let names = named(question);
        assert!(!names.is_empty() || OWN.iter().any(|own| question.starts_with(own)), "{place} asks for nothing");
        for name in names {
            assert!(exists(&metrics, name), "{place}: there is no metric {name}");
        }
    }
    assert!(!exists(&metrics, "sentra_no_such_total"), "a metric that is none would be found out");
}

/// Gap, zombie ignored, replay digest mismatch, snapshot age, lost, warming, misrouted, phones near the cap, partition
/// stopped.
const OF_THE_PROMISE: [&str; 9] = [
    "SentraVerdictsMissing",
    "SentraZombiesIgnored",
    "SentraReplayDiffers",
    "SentraSnapshotsOld",
    "SentraRecordsLost",
    "SentraWarming",
    "SentraMisrouted",
    "SentraPhonesNearCap",
    "SentraPartitionsRefused",
];

#[test]
fn the_alerts_about_the_promise_each_have_a_rule_a_paragraph_in_the_runbook_and_a_test_and_nothing_else_has_one() {
    let (rules, book, tests) = (file("prometheus/rules.yml"), file("runbook.md"), file("prometheus/rules_test.yml"));
    let mut with_a_runbook = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        let Some(place) = rule.lines().find_map(|line| line.trim().strip_prefix("runbook: ")) else { continue };
        assert_eq!(place, format!("deploy/runbook.md#{}", name.to_lowercase()));
        assert!(tests.contains(&format!("ALERTS{{alertname=\"{name}\"")), "{name} is not in rules_test.yml");
        with_a_runbook.insert(name);
    }
    let mut headings = BTreeSet::new();
    for paragraph in book.split("\n## ").skip(1) {
        let (name, text) = paragraph.split_once('\n').unwrap_or_default();
        assert!(text.len() > 200, "{name} is hardly explained");
        headings.insert(name);
    }
    assert_eq!(with_a_runbook, BTreeSet::from(OF_THE_PROMISE), "the rules that name a paragraph");
    assert_eq!(headings, BTreeSet::from(OF_THE_PROMISE), "the runbook's headings");
}

#[test]
fn every_alert_rule_says_how_bad_it_is_and_what_to_do() {
    let text = file("prometheus/rules.yml");
    let alerts: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        assert!(alert.contains("severity: page") || alert.contains("severity: ticket"), "{name}");
    }
}
