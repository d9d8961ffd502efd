//! Everything that is emitted validates against the published schema, reads back, and stays below its bound.

mod common;
mod tiny;
mod traffic;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use common::schemas::{VERDICT, assert_valid};
use sentra::{
    domain::{
        features::TABLE,
        identity::LogId,
        invalid::{Invalid, InvalidReason},
        rules::Rules,
        time::WallTimeUs,
        transaction::Record,
        verdict::{Digest, Head, Kind, MAX_VERDICT_BYTES, OwnerRecord, OwnerSource, SCHEMA_VERSION, Source},
    },
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp, write_invalid},
        partition::{Partition, Place, Step},
        rule,
    },
    model::folder::Model,
};
use serde_json::Value;
use traffic::scene;

const LOG: LogId = LogId([0xC0, 0xFF, 0xEE, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

const EPOCH: i64 = 97;

/// One partition with its writer.
struct Line {
    partition: Partition,
    decisions: Decisions,
    model: Arc<Model>,
    emitter: Emitter,
    /// Taken in place of the model's raw score.
    raw: Option<f64>,
}

impl Line {
    fn new(rules: Rules, model: Arc<Model>, with_features: bool) -> Self {
        let place = Place { log: LOG, partition: 1, partitions: 3 };
        Self {
            partition: Partition::new(Arc::new(rules), place, 0),
            decisions: Decisions::default(),
            emitter: Emitter::new(Arc::clone(&model), with_features),
            model,
            raw: None,
        }
    }

    fn verdict(&mut self, record: &Record<'_>) -> Vec<u8> {
        let log = LOG.short();
        let (offset, previous_offset) = (record.offset, record.offset - 1);
        let source = Source { log: &log, partition: 1, offset, previous_offset, epoch: EPOCH };
        let stamp = Stamp { source, decided_at: WallTimeUs(1_772_352_900_123_456).text(), processing_time_ms: 3 };
        let mut out = Vec::new();
        match self.partition.step(record) {
            Step::Judged(judged) => {
                let mut raw = Vec::new();
                self.model.raw_batch(&[judged.row()], &mut raw);
                self.emitter.judged(&judged, self.raw.unwrap_or(raw[0]), &stamp, &mut self.decisions, &mut out);
            }
            Step::Invalid(invalid) => {
                self.emitter.invalid(&invalid, offset % 2 == 0, &stamp, &mut out);
            }
        }
        out
    }

    fn of_value(&mut self, offset: i64, value: &[u8]) -> Vec<u8> {
        self.verdict(&Record { offset, timestamp_ms: None, key: None, value: Some(value), institution: None })
    }
}

fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// The verdict as JSON, after it validated and stayed below its bound.
fn checked(bytes: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(bytes).expect("a verdict is JSON");
    assert_valid(&VERDICT, &value);
    assert!(bytes.len() < MAX_VERDICT_BYTES, "{} bytes", bytes.len());
    value
}

#[test]
fn every_verdict_of_random_histories_validates_and_reads_back() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..160 {
        let scene = scene(seed, 120);
        let with_features = seed % 2 == 0;
        let mut line = Line::new(scene.rules.clone(), tiny::model("1", (seed % 5) as f64 - 2.0), with_features);
        for (offset, sent) in (0..).zip(&scene.records) {
            let bytes = line.verdict(&sent.record(offset));
            let value = checked(&bytes);
            let kind = value["kind"].as_str().expect("a kind").to_owned();
            assert_eq!(value["features"].is_object(), with_features && kind != "invalid");
            reads_back(&bytes, &value, offset);
            *kinds.entry(kind).or_default() += 1;
        }
    }
    for kind in ["scored", "late", "conflict", "duplicate", "invalid"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 100), "{kind} in {kinds:?}");
    }
}

/// The tiny model's map begins 40, 70 and 90 at the raw scores -0.5, 0.5 and 1.5.
#[test]
fn level_recommendation_and_reasons_follow_the_score() {
    let json = |id: &str, amount: u32| {
        format!(
            r#"{{"transaction_id":"{id}","amount":{amount},"phone_number":"0712345678","timestamp":"2026-03-01T10:00:00Z"}}"#
        )
    };
    let mut met = BTreeMap::new();
    for at in -300..420 {
        let raw = f64::from(at) / 100.0;
        let mut line = Line::new(Rules::default(), tiny::model("1", 0.0), false);
        line.raw = Some(raw);
        let scored = checked(&line.of_value(0, json("A", 1_000_000).as_bytes()));
        let conflict = checked(&line.of_value(1, json("A", 1).as_bytes()));
        line.raw = Some(4.0);
        let duplicate = checked(&line.of_value(2, json("A", 1_000_000).as_bytes()));
        let score = scored["risk_score"].as_u64().expect("a score");
        let level = match raw {
            raw if raw < -0.5 => ("LOW", "APPROVE"),
            raw if raw < 0.5 => ("MEDIUM", "REVIEW"),
            raw if raw < 1.5 => ("HIGH", "FLAG"),
            _ => ("CRITICAL", "BLOCK"),
        };
        assert_eq!((&scored["risk_level"], &scored["recommendation"]), (&level.0.into(), &level.1.into()), "{raw}");
        let codes = |verdict: &Value| {
            let reasons = verdict["reasons"].as_array().expect("reasons");
            reasons.iter().map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(codes(&scored).is_empty(), score < 40, "{scored}");
        assert!(codes(&scored).len() <= 4);
        assert_eq!((&conflict["kind"], &conflict["risk_score"]), (&"conflict".into(), &score.into()));
        assert_eq!(conflict["recommendation"], if level.1 == "APPROVE" { "REVIEW" } else { level.1 });
        assert_eq!((&*codes(&conflict)[0], codes(&conflict).len() > 1), ("CONFLICT", score >= 40), "{conflict}");
        assert!(codes(&conflict).len() <= 4);
        for field in ["risk_score", "risk_level", "recommendation", "model", "policy_version"] {
            assert_eq!(duplicate[field], scored[field], "{raw}");
        }
        assert_eq!((&duplicate["duplicate_of"], codes(&duplicate)), (&0.into(), vec!["DUPLICATE".to_owned()]));
        assert!(duplicate["signals"].is_null() && scored["signals"].is_object());
        *met.entry(level.0).or_insert(0) += 1;
    }
    assert_eq!(met, BTreeMap::from([("LOW", 250), ("MEDIUM", 100), ("HIGH", 100), ("CRITICAL", 270)]));
}

/// What followers read of a verdict is what it says.
fn reads_back(bytes: &[u8], value: &Value, offset: i64) {
    let head = Head::parse(bytes).expect("our own shape");
    assert_eq!(head.kind, value["kind"].as_str().expect("a kind"));
    assert_eq!(head.risk_score.map(u64::from), value["risk_score"].as_u64());
    assert_eq!(head.risk_level.as_deref(), value["risk_level"].as_str());
    assert_eq!(head.recommendation.as_deref(), value["recommendation"].as_str());
    assert_eq!(head.model.as_ref().map(|model| &*model.version), value["model"]["version"].as_str());
    assert_eq!(head.policy_version.as_deref(), value["policy_version"].as_str());
    let expected = rule::Record::Verdict { epoch: EPOCH, source: offset, previous: offset - 1 };
    assert_eq!(rule::Record::of(Some(&head)), expected);
    assert_eq!(value["verdict_id"], format!("c0ffee01-1-{offset}"));
    let code = value["reasons"][0]["code"].as_str().filter(|_| value["kind"] == "invalid").map(str::to_lowercase);
    assert_eq!(head.invalid_reason().map(InvalidReason::as_str), code.as_deref());
}

#[test]
fn every_reason_of_an_invalid_record_validates() {
    let mut line = Line::new(Rules::default(), tiny::model("1", 0.0), true);
    let mut met = vec![false; InvalidReason::ALL.len()];
    let files = fs::read_dir(schemas().join("examples/transaction/invalid")).expect("examples are committed");
    let mut values: Vec<Option<Vec<u8>>> =
        files.map(|file| Some(fs::read(file.expect("readable").path()).expect("readable"))).collect();
    values.push(None);
    for (offset, value) in (0..).zip(&values) {
        let record = Record { offset, timestamp_ms: None, key: None, value: value.as_deref(), institution: None };
        let verdict = checked(&line.verdict(&record));
        let code = verdict["reasons"][0]["code"].as_str().expect("a code").to_ascii_lowercase();
        let reason = InvalidReason::from_wire(&code).expect("a code of the catalogue");
        met[usize::from(reason.code())] = true;
    }
    let source = Source { log: "c0ffee01", partition: 1, offset: 9, previous_offset: 8, epoch: 0 };
    let stamp = Stamp { source, decided_at: WallTimeUs(0).text(), processing_time_ms: 1 };
    let mut failed_on = Vec::new();
    write_invalid(&Invalid::internal(), false, &stamp, &mut failed_on);
    checked(&failed_on);
    met[usize::from(InvalidReason::InternalError.code())] = true;
    assert!(met.iter().all(|met| *met), "{met:?}");
}

#[test]
fn the_longest_verdict_stays_far_below_its_bound() {
    let long = "x".repeat(64);
    let model = tiny::model_named(&"m".repeat(64), &"v".repeat(64), 4.0);
    let mut line = Line::new(Rules::default(), model, true);
    let text = "\\u0001".repeat(256);
    let transaction = |amount: &str, at: &str| {
        format!(
            r#"{{"transaction_id":"{long}","amount":{amount},"phone_number":"{}","timestamp":"{at}","device_id":"{text}","location":"{text}","transaction_type":"MERCHANT","channel":"agent","counterparty":"{text}","institution_id":"{long}","latitude":-0.1234567,"longitude":36.1234567,"currency":"KES"}}"#,
            "ab".repeat(32),
        )
    };
    let mut longest = 0;
    let moments = ["9998-12-31T23:00:00.111Z", "9999-12-31T22:59:59.999Z", "9999-12-31T22:59:59.998Z"];
    for (offset, amount) in [(i64::MAX / 2, "999999999999.99"), (i64::MAX / 2 + 1, "0.01"), (i64::MAX / 2 + 2, "0.03")]
    {
        let at = moments[(offset - i64::MAX / 2) as usize];
        let bytes = line.of_value(offset, transaction(amount, at).as_bytes());
        let value = checked(&bytes);
        assert!(value["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{value}");
        longest = longest.max(bytes.len());
    }
    let invalid = transaction("0.001", moments[0]);
    longest = longest.max(line.of_value(i64::MAX / 2 + 3, invalid.as_bytes()).len());
    assert!(longest * 4 < MAX_VERDICT_BYTES, "{longest} bytes");
    assert!(longest > 1_500, "only {longest} bytes: this is not the longest");
}

#[test]
fn an_owner_record_validates_and_is_an_owner_to_the_rule() {
    let record = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log: &LOG.short(), partition: 7 },
        group: "sentra",
        instance: "host-1/0",
        version: "0.1.0",
        host: "host",
        engine_generation: 1,
        engine_hash: Digest(7),
        partitions: 32,
        decided_at: WallTimeUs(1_772_352_900_000_001),
        schema_version: SCHEMA_VERSION,
    };
    let bytes = serde_json::to_vec(&record).expect("an owner record is JSON");
    let value = checked(&bytes);
    let pointers = [
        ("/kind", "owner".into()),
        ("/source/log", "c0ffee01".into()),
        ("/source/partition", 7.into()),
        ("/group", "sentra".into()),
        ("/instance", "host-1/0".into()),
        ("/version", "0.1.0".into()),
        ("/host", "host".into()),
        ("/engine_generation", 1.into()),
        ("/engine_hash", "0000000000000007".into()),
        ("/partitions", 32.into()),
        ("/decided_at", "2026-03-01T08:15:00.000001Z".into()),
        ("/schema_version", 1.into()),
    ];
    for (pointer, expected) in pointers {
        assert_eq!(value.pointer(pointer), Some::<&Value>(&expected), "{pointer}");
    }
    assert_eq!(value.as_object().map(|object| object.len()), Some(11));
    let head = Head::parse(&bytes).expect("our own shape");
    assert_eq!(rule::Record::of(Some(&head)), rule::Record::Owner);
    assert_eq!((head.group.as_deref(), head.instance.as_deref()), (Some("sentra"), Some("host-1/0")));
}

#[test]
fn a_shape_of_another_time_is_unknown_and_never_half_read() {
    let shapes: [&[u8]; 6] = [
        b"",
        b"null",
        b"{}",
        br#"{"kind":"control","source":{"log":"c0ffee01","partition":1}}"#,
        br#"{"kind":"scored","source":{"log":"c0ffee01","partition":1,"offset":4}}"#,
        br#"{"kind":"owner"}"#,
    ];
    for shape in shapes {
        assert_eq!(rule::Record::of(Head::parse(shape).as_ref()), rule::Record::Unknown);
    }
}

#[test]
fn the_features_of_a_verdict_are_named_as_in_the_table() {
    let mut line = Line::new(Rules::default(), tiny::model("1", 0.0), true);
    let value = br#"{"transaction_id":"a","amount":5,"phone_number":"0712345678","timestamp":"2026-03-01T08:15:00Z"}"#;
    let verdict: Value = serde_json::from_slice(&line.of_value(0, value)).expect("JSON");
    let features = verdict["features"].as_object().expect("features are on");
    assert_eq!(features.len(), TABLE.len());
    for feature in &TABLE {
        assert!(features.contains_key(feature.name), "{}", feature.name);
    }
    assert!(features["device_new"].is_null(), "missing is null");
    assert_eq!(features["count_1h"], 1.0);
}
