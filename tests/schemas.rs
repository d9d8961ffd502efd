//! The published schemas against their examples and against the code: each holds the others.
//!
//! `schemas/examples/<schema>/valid` must validate, `invalid` must not; transaction examples are decoded as well, and
//! the name of an invalid one, `<reason>__<what>`, says the reason that decode must give.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use common::schemas::{assert_valid, schema, validator};
use sentra::domain::{
    amount::{AmountMinor, Currency},
    decode::{Field, decode},
    features::{FEATURES, digest},
    flags::Flags,
    invalid::InvalidReason,
    phone::Phone,
    policy,
    reasons::Reason,
    rules::Rules,
    signals::Signals,
    time::{EventTimeMs, WallTimeUs},
    transaction::Record,
    verdict::{
        Digest, Features, Head, Kind, LostRecord, ModelRef, OwnerRecord, OwnerSource, SCHEMA_VERSION, Source, Verdict,
        VerdictId,
    },
};
use sentra::engine::rule;
use serde_json::Value;

const SCHEMAS: [&str; 3] = ["transaction", "verdict", "dead-letter"];

/// What a JSON Schema cannot see, or sees only without rounding: these values validate, yet are refused.
const BEYOND_SCHEMA: [&str; 6] = [
    "amount_too_precise__number",
    "amount_too_precise__text",
    "bad_timestamp__before_1970",
    "duplicate_field__amount",
    "too_deep__unknown_field",
    "value_too_large__padded",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// The examples of a folder by name, `.json` and `.bin` alike.
fn examples(schema: &str, folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("examples").join(schema).join(folder);
    let mut examples: Vec<_> = fs::read_dir(&folder)
        .expect("the examples are committed")
        .map(|file| {
            let path = file.expect("readable").path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
            (name, fs::read(&path).expect("readable"))
        })
        .collect();
    assert!(!examples.is_empty(), "{}", folder.display());
    examples.sort();
    examples
}

fn record(value: &[u8]) -> Record<'_> {
    Record { offset: 0, timestamp_ms: None, key: None, value: Some(value), institution: None }
}

#[test]
fn the_schemas_are_valid_2020_12_and_say_what_each_property_is() {
    for name in SCHEMAS {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name}");
        for (property, rule) in schema["properties"].as_object().into_iter().flatten() {
            assert!(rule["description"].is_string() || name == "verdict" && property == "source", "{name}.{property}");
        }
    }
    let verdict = schema("verdict");
    for (property, rule) in verdict["$defs"]["decision"]["properties"].as_object().expect("properties") {
        assert!(rule["description"].is_string() || rule["$ref"] == "#/$defs/source", "verdict.{property}");
    }
}

#[test]
fn every_valid_example_validates() {
    for name in SCHEMAS {
        let validator = validator(name);
        for (example, bytes) in examples(name, "valid") {
            let value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}/{example}: {error}"));
            println!("{name}/{example}");
            assert_valid(&validator, &value);
        }
    }
}

#[test]
fn every_invalid_example_is_refused_by_its_schema_unless_that_is_beyond_it() {
    for name in SCHEMAS {
        let validator = validator(name);
        for (example, bytes) in examples(name, "invalid") {
            let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
                assert_eq!(name, "transaction", "{example} is no JSON");
                continue;
            };
            let beyond = name == "transaction" && BEYOND_SCHEMA.contains(&example.as_str());
            assert_eq!(validator.is_valid(&value), beyond, "{name}/{example}");
        }
    }
}

#[test]
fn every_valid_transaction_example_decodes() {
    for (example, bytes) in examples("transaction", "valid") {
        let read = decode(&record(&bytes), &Rules::default());
        assert!(read.is_ok(), "{example}: {read:?}");
    }
}

#[test]
fn every_valid_verdict_example_is_read_by_followers_as_what_it_is() {
    for (example, bytes) in examples("verdict", "valid") {
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        let head = Head::parse(&bytes).unwrap_or_else(|| panic!("{example} has a shape that is not known"));
        assert_eq!(value["kind"], *head.kind, "{example}");
        let (source, is_verdict) = (&value["source"], value["verdict_id"].is_string());
        match rule::Record::of(Some(&head)) {
            rule::Record::Verdict { epoch, source: offset, previous } => {
                let told = ["epoch", "offset", "previous_offset"].map(|field| source[field].as_i64());
                assert_eq!(told, [epoch, offset, previous].map(Some), "{example}");
            }
            rule::Record::Owner => assert!(!is_verdict && value["kind"] == "owner", "{example}"),
            other => panic!("{example}: {other:?}"),
        }
    }
}

#[test]
fn every_invalid_transaction_example_is_refused_for_the_reason_in_its_name() {
    // No value is one; the other is not the record's fault.
    let beside = [InvalidReason::NullValue, InvalidReason::InternalError];
    let mut met: BTreeSet<String> = beside.iter().map(|reason| reason.as_str().to_owned()).collect();
    for (example, bytes) in examples("transaction", "invalid") {
        let (reason, _) = example.split_once("__").expect("<reason>__<what>");
        let invalid = decode(&record(&bytes), &Rules::default()).expect_err(&example);
        assert_eq!(invalid.reason.as_str(), reason, "{example}");
        met.insert(reason.to_owned());
    }
    let all: BTreeSet<_> = InvalidReason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(met, all, "every reason has an example");
}

#[test]
fn the_closed_sets_of_the_schemas_are_those_of_the_code() {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().expect("a set").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let (transaction, verdict, letter) = (schema("transaction"), schema("verdict"), schema("dead-letter"));

    let reasons: Vec<_> = InvalidReason::ALL.iter().map(|reason| reason.as_str().to_ascii_uppercase()).collect();
    let of_verdict = &verdict["$defs"]["invalid"]["properties"]["reasons"]["items"]["properties"]["code"]["enum"];
    assert_eq!(texts(of_verdict), reasons);
    assert_eq!(texts(&letter["properties"]["__connect.errors.exception.class.name"]["enum"]), reasons);

    let flags: Vec<_> = Flags::ALL.iter().map(|(_, name)| (*name).to_owned()).collect();
    assert_eq!(texts(&verdict["$defs"]["decision"]["properties"]["flags"]["items"]["enum"]), flags);

    let mut fields: BTreeSet<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
    // The one field that is promised but not judged.
    fields.insert("schema_version");
    let described: BTreeSet<_> =
        transaction["properties"].as_object().expect("properties").keys().map(String::as_str).collect();
    assert_eq!(described, fields);
}

/// A verdict of a judged transaction with everything that one can have.
fn judged<'a>(kind: Kind, reasons: &'a [Reason], row: &'a [f64; FEATURES]) -> Verdict<'a> {
    let decision = policy::decide(78);
    let source = Source { log: "7f3a9c01", partition: 0, offset: 0, previous_offset: -1, epoch: 0 };
    let mut flags = Flags::default();
    Flags::ALL.iter().for_each(|(flag, _)| flags.set(*flag, true));
    Verdict {
        transaction_id: Some("TXN1"),
        risk_score: Some(decision.score),
        risk_level: Some(decision.level),
        signals: Some(Signals { velocity: 0.0, amount_anomaly: 1.0, device_new: 0.5, location_change: 0.25 }),
        recommendation: decision.recommendation,
        processing_time_ms: 1,
        verdict_id: VerdictId(source),
        kind,
        duplicate_of: None,
        reasons,
        phone_number: Some(Phone::Subject([0xab; 32])),
        institution_id: None,
        amount: Some(AmountMinor(1)),
        currency: Some(Currency::KES),
        event_time: Some(EventTimeMs(0)),
        decided_at: WallTimeUs(1).text(),
        model: Some(ModelRef { name: "default", version: "1" }),
        policy_version: policy::POLICY_VERSION,
        maker: None,
        flags,
        source,
        features: Some(Features(row)),
        feature_digest: Some(Digest(digest(row))),
        schema_version: SCHEMA_VERSION,
    }
}

#[test]
fn what_the_code_writes_of_each_kind_validates_and_of_no_other() {
    let mut row = [0.1; FEATURES];
    row[0] = f64::NAN;
    let (largest, conflict, duplicate) = (Reason::largest(&row, &row), [Reason::conflict(4)], [Reason::duplicate(4)]);
    let broken = decode(&record(b"{}"), &Rules::default()).expect_err("no fields");
    let fault = [Reason::invalid(&broken)];
    let verdicts = [
        judged(Kind::Scored, &largest, &row),
        judged(Kind::Late, &[], &row),
        judged(Kind::Conflict, &conflict, &row),
        Verdict {
            duplicate_of: Some(4),
            signals: None,
            features: None,
            feature_digest: None,
            ..judged(Kind::Duplicate, &duplicate, &row)
        },
        Verdict {
            transaction_id: None,
            risk_score: None,
            risk_level: None,
            signals: None,
            recommendation: policy::Recommendation::Review,
            phone_number: None,
            amount: None,
            currency: None,
            event_time: None,
            model: None,
            features: None,
            feature_digest: None,
            ..judged(Kind::Invalid, &fault, &row)
        },
    ];
    let validator = validator("verdict");
    for verdict in &verdicts {
        let mut json = serde_json::to_value(verdict).expect("a verdict is JSON");
        assert_valid(&validator, &json);
        // Its shape is its kind's alone, scored and late being alike.
        for other in Kind::ALL.iter().filter(|other| **other != verdict.kind) {
            let alike = [Kind::Scored, Kind::Late, Kind::Conflict];
            json["kind"] = other.as_str().into();
            let passes = alike[..2].contains(other) && alike.contains(&verdict.kind);
            assert_eq!(validator.is_valid(&json), passes, "{:?} as {other:?}", verdict.kind);
        }
    }
    let owner = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log: "7f3a9c01", partition: 0 },
        group: "sentra",
        instance: "host-1-0",
        version: "0.1.0",
        host: "host",
        engine_generation: 1,
        engine_hash: Digest(7),
        partitions: 4,
        decided_at: WallTimeUs(1),
        schema_version: SCHEMA_VERSION,
    };
    let source = Source { log: "7f3a9c01", partition: 0, offset: 9, previous_offset: -1, epoch: 0 };
    let lost = LostRecord { kind: Kind::Lost, source, decided_at: WallTimeUs(1), schema_version: SCHEMA_VERSION };
    assert!(validator.is_valid(&serde_json::to_value(lost).expect("a record of lost input is JSON")));
    assert!(validator.is_valid(&serde_json::to_value(owner).expect("an owner record is JSON")));
}
