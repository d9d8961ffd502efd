//! The feed's published schemas against their examples and against the code, and the AsyncAPI document against both.

mod common;

use std::{fs, path::Path};

use common::{
    node,
    schemas::{assert_valid, schema, validator},
};
use sentra::{
    config::table::Id,
    feed::frame::{self, ByeReason, GapReason},
};
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
            println!("{example}");
            assert_valid(&validator, &value);
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

/// Every value of this key in a document, however deep.
fn all_of<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| all_of(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all_of(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_asyncapi_document_is_that_of_the_settings_and_the_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let document: Value =
        serde_json::from_slice(&fs::read(folder.join("asyncapi.json")).expect("committed")).expect("JSON");
    assert!(document["asyncapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let setting = |key: &str| Id::find(key).and_then(|id| id.setting().default).expect("a setting with a default");
    for (channel, key) in
        [("transactions", "topics.transactions"), ("verdicts", "topics.verdicts"), ("deadLetters", "topics.dlq")]
    {
        assert_eq!(document["channels"][channel]["address"], setting(key));
    }
    assert_eq!(document["servers"]["kafka"]["host"], setting("kafka.bootstrap_servers"));
    let port = document["servers"]["serve"]["host"].as_str().and_then(|host| host.split(':').nth(1));
    assert_eq!(port, Some(setting("serve.port")));
    let mut references = Vec::new();
    all_of(&document, "$ref", &mut references);
    let mut schemas = Vec::new();
    for reference in references {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => schemas.push(reference.trim_start_matches("./").to_owned()),
        }
    }
    schemas.sort();
    let mut committed: Vec<String> = fs::read_dir(&folder)
        .expect("the schemas are committed")
        .map(|file| file.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".schema.json"))
        .collect();
    committed.sort();
    assert_eq!(schemas, committed, "each schema has its message, each message its schema");
    let filter = &document["channels"]["feed"]["bindings"]["ws"]["query"]["properties"];
    let mut parameters: Vec<&str> = filter.as_object().expect("parameters").keys().map(String::as_str).collect();
    parameters.retain(|name| !["cursor", "ticket"].contains(name));
    parameters.sort();
    let request = schema("feed-request");
    let mut fields: Vec<&str> =
        request["$defs"]["filter"]["properties"].as_object().expect("fields").keys().map(String::as_str).collect();
    fields.retain(|name| *name != "type");
    fields.sort();
    assert_eq!(parameters, fields);
}

#[test]
fn the_asyncapi_document_is_one_by_asyncapis_own_schema() {
    // Its form without ids, in which every reference leads into the file itself.
    let path = node::package("@asyncapi/specs").join("schemas/3.0.0-without-$id.json");
    let meta: Value = serde_json::from_slice(&fs::read(path).expect("its schema")).expect("JSON");
    let validator = jsonschema::draft7::options().build(&meta).expect("a schema");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/asyncapi.json");
    let mut document: Value = serde_json::from_slice(&fs::read(committed).expect("committed")).expect("JSON");
    let faults: Vec<String> =
        validator.iter_errors(&document).map(|fault| format!("{}: {fault}", fault.instance_path)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let channel = document["channels"].as_object_mut().and_then(|channels| channels.values_mut().next());
    channel.expect("a channel")["adress"] = "misspelt".into();
    assert!(!validator.is_valid(&document), "a channel with an unknown field is none");
}
