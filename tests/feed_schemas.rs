//! The feed's published schemas against their examples and against the code, and the AsyncAPI document against both.

mod common;

use std::{fs, path::Path};

use common::feed::{schema, validator};
use sentra::feed::frame::{self, ByeReason, GapReason};
use serde_json::Value;

fn examples(schema: &str, folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples").join(schema).join(folder);
    let files = fs::read_dir(&folder).expect("the examples are committed").map(|file| file.expect("readable").path());
    let read = |path: std::path::PathBuf| {
        let value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        (path.display().to_string(), value)
    };
    let examples: Vec<_> = files.map(read).collect();
    assert!(!examples.is_empty(), "{}", folder.display());
    examples
}

#[test]
fn examples_are_what_their_folder_says() {
    for name in ["feed-frame", "feed-request"] {
        assert!(jsonschema::draft202012::meta::is_valid(&schema(name)), "{name}");
        let validator = validator(name);
        for (example, value) in examples(name, "valid") {
            let faults: Vec<String> = validator.iter_errors(&value).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{example}: {faults:?}");
        }
        for (example, value) in examples(name, "invalid") {
            assert!(!validator.is_valid(&value), "{example}");
        }
    }
}

#[test]
fn the_server_reads_of_a_client_what_the_schema_allows_and_nothing_else() {
    for (example, value) in examples("feed-request", "valid") {
        assert!(frame::read(&value.to_string(), "254").is_ok(), "{example}");
    }
    for (example, value) in examples("feed-request", "invalid") {
        assert!(frame::read(&value.to_string(), "254").is_err(), "{example}");
    }
}

#[test]
fn the_closed_sets_are_those_of_the_code_and_each_close_code_is_told() {
    let schema = schema("feed-frame");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().expect("a set").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let gaps: Vec<_> = GapReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(texts(&schema["$defs"]["gap"]["properties"]["reason"]["enum"]), gaps);
    let byes: Vec<_> = ByeReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let reason = &schema["$defs"]["bye"]["properties"]["reason"];
    assert_eq!(texts(&reason["enum"]), byes);
    let told = reason["description"].as_str().expect("a description");
    for reason in ByeReason::ALL {
        assert!(told.contains(reason.as_str()) && told.contains(&reason.close_code().to_string()), "{reason:?}");
    }
}
