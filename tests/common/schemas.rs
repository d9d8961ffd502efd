//! The committed schemas, and what is emitted held against them.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// A committed schema.
pub fn schema(name: &str) -> Value {
    let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("the schema is committed")).expect("JSON")
}

/// A validator that knows the schemas which others refer to.
pub fn validator(name: &str) -> Validator {
    let others = ["verdict", "feed-request"].map(|other| {
        let resource = jsonschema::Resource::from_contents(schema(other)).expect("a schema");
        (format!("https://sentra.example/schemas/{other}.schema.json"), resource)
    });
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.with_resources(others.into_iter()).build(&schema(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Each fault with its place.
pub fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{} {error}", error.instance_path)).collect()
}

/// Fails where the value is not as the schema says.
pub fn assert_valid(validator: &Validator, value: &Value) {
    let faults = faults(validator, value);
    assert!(faults.is_empty(), "{value}: {faults:?}");
}

/// What a record of the verdict topic must be.
pub static VERDICT: LazyLock<Validator> = LazyLock::new(|| validator("verdict"));

/// What the headers that a dead letter adds must be.
pub static DEAD_LETTER: LazyLock<Validator> = LazyLock::new(|| validator("dead-letter"));
