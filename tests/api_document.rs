//! The interface's description: current, self-contained, and true of a running process.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    curl::{Curl, TOKEN},
    line::{Setup, Topics},
    postgres::TestDatabase,
};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_description_is_current() {
    let current = sentra::api::document();
    let committed = fs::read_to_string(root().join("schemas/openapi.json")).unwrap_or_default();
    let written: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
    fs::write(&written, current).expect("written");
    assert!(committed == current, "cp {} schemas/openapi.json", written.display());
}

#[test]
fn every_reference_of_the_description_leads_somewhere_and_every_operation_can_be_refused() {
    let document: Value = serde_json::from_str(sentra::api::document()).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let responses = operation["responses"].as_object().expect("responses");
            let is_open = operation["security"] == serde_json::json!([{}]);
            assert!(is_open || responses.contains_key("401"), "{method} {path}");
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('4')) {
                let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(content, "#/components/schemas/Problem", "{method} {path} {status}");
            }
        }
    }
}

#[test]
fn the_descriptions_page_works_in_a_browser_that_reaches_nothing_else() {
    let topics = Topics::create("api.docs", 1);
    let setup = Setup::new(&topics).roles("serve");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let home = tempfile::tempdir().expect("a folder");
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let installed = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
    let chromium = names.iter().find(installed).expect("Chromium: scripts/setup installs it");
    let done = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .args(["--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(curl.url("/docs/"))
        .output()
        .expect("it runs");
    let (page, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let document: Value = serde_json::from_str(sentra::api::document()).expect("JSON");
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(page.contains(&format!("data-path=\"{path}\"")), "{path} in {} bytes; {said}", page.len());
    }
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn nothing_that_a_fuzzer_of_the_description_sends_breaks_its_promises() {
    let (topics, database) = (Topics::create("api.fuzz", 2), TestDatabase::migrated());
    let setup = Setup::new(&topics)
        .roles("score,sink,serve")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SERVE__TOKEN", TOKEN)
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "10000");
    let process = setup.start();
    let curl = Curl::new(&setup).with_token();
    curl.await_ready(&process);
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let done = Command::new(root().join("scripts/fuzz-api"))
        .arg(curl.url("/openapi.json"))
        .env("SENTRA_API_TOKEN", TOKEN)
        .env("SENTRA_FUZZ_FOLDER", &report)
        .output()
        .expect("scripts/fuzz-api runs");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    println!("{said}");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    assert_eq!(process.metric("sentra_http_requests_total{route=\"/v1/score\",status=\"500\"}"), None);
}
