//! `sentra bench` on a real broker, with few events: it measures, tells all it should, and leaves nothing behind.
//!
//! No figure is judged here: a test that timed would fail with its neighbours.

mod common;

use std::process::Command;

use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;

fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_sentra"))
        .args(["bench", "--json"])
        .args(arguments)
        .env("KAFKA_BOOTSTRAP_SERVERS", common::kafka())
        .output()
        .expect("the program starts");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    serde_json::from_slice(&output.stdout).expect("JSON alone on stdout")
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {report:#}"))
}

#[test]
fn the_line_and_its_yardsticks_are_measured_and_their_topics_deleted() {
    let report = bench(&[
        "--only",
        "drain,latency",
        "--events",
        "2000",
        "--rounds",
        "1",
        "--rate",
        "200",
        "--seconds",
        "2",
        "--set",
        "score.shards=1",
    ]);
    for subject in ["pass_through", "verdict_sized", "line"] {
        assert!(number(&report, &format!("/drain/{subject}/per_second")) > 0.0);
        assert!(number(&report, &format!("/drain/{subject}/cpu_s_per_million")) >= 0.0);
    }
    assert!(number(&report, "/drain/verdict_bytes") > 100.0);
    for subject in ["echo", "line"] {
        let at = |figure: &str| number(&report, &format!("/latency/{subject}/{figure}"));
        let rising = [at("p50_ms"), at("p99_ms"), at("p999_ms"), at("max_ms")];
        assert!(rising[0] > 0.0 && rising.is_sorted(), "{rising:?}");
    }
    assert_eq!(report["evaluator"], Value::Null);
    let names: Vec<&str> =
        report["targets"].as_array().expect("targets").iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");

    let client: BaseConsumer = common::client(&[("bootstrap.servers", common::kafka())]).create().expect("a client");
    let process = report["surroundings"]["process"].as_u64().expect("the process's number");
    let own = format!("sentra-bench-{process}-");
    let all = client.fetch_metadata(None, common::PATIENCE).expect("metadata");
    let left: Vec<&str> = all.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(&own)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_sink_is_measured_beside_a_bare_copy_and_its_database_dropped() {
    let url = std::env::var("SENTRA_TEST_DATABASE_URL").expect("a PostgreSQL: run scripts/test");
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), &url).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_sentra"))
        .args(["bench", "--json", "--only", "sink", "--events", "2000", "--rounds", "1"])
        .env("KAFKA_BOOTSTRAP_SERVERS", common::kafka())
        .env_remove("DATABASE_URL")
        .env("DATABASE_URL_FILE", secret.path())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on stdout");
    for figure in ["bare_copy", "sink", "score", "full_line_verdicts", "full_line"] {
        assert!(number(&report, &format!("/sink/{figure}/0")) > 0.0);
    }
    assert!(number(&report, "/sink/row_bytes") > 100.0);
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(3));
    let name = format!("sentra_bench_{}", report["surroundings"]["process"]);
    let psql =
        ["-X", "-A", "-t", "-d", &url, "-c", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")];
    let left = Command::new("psql").args(psql).output().expect("psql runs");
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0", "{name} is dropped");
}

#[test]
fn the_feed_is_measured_with_all_its_clients() {
    let report = bench(&["--only", "feed", "--rounds", "1", "--seconds", "1"]);
    assert_eq!(number(&report, "/feed/clients"), 200.0);
    assert!(number(&report, "/feed/frames/p99_ms") > 0.0);
    assert!(number(&report, "/feed/delivered") >= 200.0 * 500.0);
    assert!(number(&report, "/feed/cpu_us_per_frame/0") > 0.0);
}

#[test]
fn what_needs_no_broker_is_measured_without_one() {
    let report = bench(&[
        "--only",
        "evaluator,windows,memory",
        "--phones",
        "2000",
        "--set",
        "kafka.bootstrap_servers=localhost:1",
    ]);
    assert!(number(&report, "/evaluator/library_single_ns") > 0.0);
    assert!(number(&report, "/windows/hot20k_ns") > 0.0 && number(&report, "/windows/all/hot20k_ns") > 0.0);
    assert_eq!(number(&report, "/memory/phones"), 2_000.0);
    let names = report["targets"].as_array().expect("targets").len();
    assert_eq!(names, 7, "{report:#}");
}

#[test]
fn requests_are_measured_beside_traffic_and_each_is_answered() {
    let report = bench(&[
        "--only",
        "score",
        "--rounds",
        "1",
        "--rate",
        "200",
        "--requests",
        "50",
        "--seconds",
        "2",
        "--set",
        "score.shards=1",
    ]);
    assert_eq!(number(&report, "/score/answered"), 100.0);
    for subject in ["echo", "requests"] {
        let at = |figure: &str| number(&report, &format!("/score/{subject}/{figure}"));
        let rising = [at("p50_ms"), at("p99_ms"), at("p999_ms"), at("max_ms")];
        assert!(rising[0] > 0.0 && rising.is_sorted(), "{rising:?}");
    }
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(2), "{report:#}");
}

#[test]
fn snapshots_are_taken_restored_and_weighed_against_the_line_without_them() {
    let report = bench(&[
        "--only",
        "snapshots",
        "--phones",
        "2000",
        "--events",
        "2000",
        "--rounds",
        "1",
        "--set",
        "score.shards=1",
    ]);
    for figure in ["raw_bytes", "stored_bytes", "longest_slice_ms", "hot_slice_ms", "restore_s", "limit_s"] {
        assert!(number(&report, &format!("/snapshots/{figure}")) > 0.0, "{figure}");
    }
    // Phones and decisions alike: 20 events of 2,000 phones are 40,000 records, two bytes each.
    assert!(number(&report, "/snapshots/raw_bytes") > 2_000.0 * 1_024.0 + 80_000.0, "{report:#}");
    for side in ["without", "with"] {
        assert!(report.pointer(&format!("/snapshots/overhead/{side}/0")).is_some(), "{side} in {report:#}");
    }
    let names: Vec<&str> =
        report["targets"].as_array().expect("targets").iter().filter_map(|t| t["name"].as_str()).collect();
    let wanted = ["seconds to restore all phones", "ms of the longest slice", "throughput with snapshots / without"];
    assert_eq!(names, wanted);
}
