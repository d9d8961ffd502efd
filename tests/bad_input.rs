//! Every kind of bad input through a real Kafka: each record has one `invalid` verdict with its reason and one dead
//! letter, is counted by reason, and holds nothing up. All that is emitted obeys the published schemas.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use common::{
    create_topic,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Head, Reading, Record},
};
use rdkafka::error::RDKafkaErrorCode;
use sentra::domain::invalid::InvalidReason;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// How much of a record the broker takes by default (max.message.bytes), batch and all.
const BROKERS_LIMIT: usize = 1_048_588;

/// A bad record and the reason it must get.
struct Bad {
    what: String,
    reason: String,
    sent: Sent,
}

impl Bad {
    fn new(reason: &str, what: &str, value: Option<Vec<u8>>) -> Self {
        let key = Some(what.as_bytes().to_vec());
        Self { what: what.to_owned(), reason: reason.to_owned(), sent: Sent { key, value, ..Sent::default() } }
    }

    fn with_header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.sent.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }
}

/// The committed examples of each reason, and what is no example of a value: headers, nulls, sizes.
fn all_bad() -> Vec<Bad> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples/transaction/invalid");
    let mut bad: Vec<Bad> = fs::read_dir(folder)
        .expect("the examples are committed")
        .map(|file| {
            let path = file.expect("readable").path();
            let what = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
            let reason = what.split_once("__").expect("<reason>__<what>").0.to_owned();
            Bad::new(&reason, &what, Some(fs::read(&path).expect("readable")))
        })
        .collect();
    bad.sort_by(|one, other| one.what.cmp(&other.what));
    let field = |name: &str, value: &str| {
        let mut fields = BTreeMap::from([
            ("transaction_id", r#""T1""#),
            ("amount", "1"),
            ("phone_number", r#""+254712345678""#),
            ("timestamp", r#""2026-03-02T10:00:00Z""#),
        ]);
        fields.insert(name, value);
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        Some(format!("{{{}}}", fields.join(",")).into_bytes())
    };
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let sound = || field("amount", "1");
    bad.extend([
        Bad::new("null_value", "null value", None),
        Bad::new("too_deep", "thirty thousand levels", field("x", &deep)),
        Bad::new("too_deep", "levels that never close", Some(vec![b'['; 60_000])),
        Bad::new("number_out_of_range", "1e400", field("amount", "1e400")),
        Bad::new("amount_not_positive", "-1e400", field("amount", "-1e400")),
        Bad::new("amount_too_precise", "1e-400", field("amount", "1e-400")),
        Bad::new("amount_not_positive", "-1e-400", field("amount", "-1e-400")),
        Bad::new("amount_not_positive", "-0.00", field("amount", "-0.00")),
        Bad::new("bad_timestamp", "month 13", field("timestamp", r#""2026-13-02T10:00:00Z""#)),
        Bad::new("bad_timestamp", "year 10000", field("timestamp", r#""10000-01-01T00:00:00Z""#)),
        Bad::new("phone_masked", "masked", field("phone_number", r#""2547****5678""#)),
        Bad::new("phone_malformed", "too long a phone", field("phone_number", r#""+2547123456789012""#)),
        Bad::new("not_json", "lone surrogate", field("location", r#""\ud800""#)),
        Bad::new("invalid_utf8", "bytes", Some(b"\xff\xfe{}".to_vec())),
        Bad::new("value_too_large", "64 KiB and one", Some(vec![b' '; 65_537])),
        Bad::new("bad_text", "institution of a header", sound()).with_header("institution", Some(b"no spaces please")),
        Bad::new("bad_text", "institution in no UTF-8", sound()).with_header("institution", Some(b"\xff")),
    ]);
    for (index, one) in bad.iter_mut().enumerate() {
        one.sent.partition = Some(index as i32 % 2);
        // A header may stand twice, be empty, have no value or no UTF-8.
        let own: [(&str, Option<&[u8]>); 4] = [("x", Some(b"1")), ("x", Some(b"\xff")), ("y", None), ("z", Some(b""))];
        one.sent.headers.extend(own.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))));
    }
    let keys = [None, Some(Vec::new()), Some(vec![b'k'; 256]), Some(vec![b'k'; 257]), Some(b"\xff".to_vec())];
    bad.iter_mut().zip(keys).for_each(|(one, key)| one.sent.key = key);
    bad
}

/// Reads until as many records are judged as were sent; then all verdicts that count, by partition and input offset.
fn verdicts(topics: &Topics, sent: usize) -> Vec<Vec<Record>> {
    let mut follower = Follower::new(&topics.verdicts, topics.partitions);
    let decided = |record: &Record| {
        let head: Head = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("a head");
        head.kind != "owner"
    };
    follower.read_until(PATIENCE, "a verdict each", |records| {
        records.iter().flatten().filter(|record| decided(record)).count() >= sent
    });
    let ends = common::records::ends(&topics.transactions, topics.partitions);
    let each = follower.records.iter().zip(ends).enumerate().map(|(partition, (records, end))| {
        let mut reading = Reading::default();
        reading.follow(records);
        reading.assert_exact(partition, end);
        reading.accepted.iter().map(|(_, index)| records[*index].clone()).collect()
    });
    each.collect()
}

fn letters(topics: &Topics, count: usize) -> Vec<Vec<Record>> {
    let mut follower = Follower::new(&topics.dlq, topics.partitions);
    follower.read_until(PATIENCE, "a letter each", |records| records.iter().map(Vec::len).sum::<usize>() >= count);
    follower.read_to_end();
    assert_eq!(follower.records.iter().map(Vec::len).sum::<usize>(), count, "one letter each");
    follower.records
}

/// The letter of the record at this place, its added headers checked against the schema.
fn letter_of<'l>(letters: &'l [Vec<Record>], topics: &Topics, (partition, offset): (i32, i64)) -> &'l Record {
    let of = |letter: &&Record| letter.header("__connect.errors.offset") == Some(offset.to_string());
    let letter = letters[partition as usize].iter().find(of).expect("the record's letter, in the same partition");
    let added = letter.added();
    assert_eq!(added["__connect.errors.topic"], Value::from(topics.transactions.as_str()));
    assert_eq!(added["__connect.errors.partition"], Value::from(partition.to_string()));
    letter
}

#[test]
fn every_kind_of_bad_input_has_its_verdict_and_its_letter_and_good_records_around_it_are_judged() {
    let topics = Topics::create("bad-input", 2);
    let process = Setup::new(&topics).start();
    let sender = Sender::default();
    let bad = all_bad();
    let mut places = Vec::new();
    for (number, one) in bad.iter().enumerate() {
        let around = Sent { partition: one.sent.partition, ..good(number as u32, &format!("G{number}")) };
        sender.send(&topics.transactions, &around).expect("taken");
        places.push(sender.send(&topics.transactions, &one.sent).unwrap_or_else(|code| panic!("{}: {code}", one.what)));
    }
    for partition in 0..2 {
        let last = Sent { partition: Some(partition), ..good(7_000, "LAST") };
        sender.send(&topics.transactions, &last).expect("taken");
    }

    let verdicts = verdicts(&topics, 2 * bad.len() + 2);
    let letters = letters(&topics, bad.len());
    let mut by_reason = BTreeMap::<&str, usize>::new();
    for (one, (partition, offset)) in bad.iter().zip(&places) {
        *by_reason.entry(&one.reason).or_default() += 1;
        let record = &verdicts[*partition as usize][*offset as usize];
        let verdict = record.json();
        assert_eq!(verdict["kind"], "invalid", "{}: {verdict}", one.what);
        assert_eq!(verdict["reasons"][0]["code"], one.reason.to_uppercase(), "{}: {verdict}", one.what);
        assert_eq!(verdict["recommendation"], "REVIEW");
        let key = one.sent.key.as_ref().filter(|key| (1..=256).contains(&key.len()));
        assert_eq!(record.key.as_ref(), key, "{}", one.what);

        let letter = letter_of(&letters, &topics, (*partition, *offset));
        assert_eq!((&letter.key, &letter.value), (&one.sent.key, &one.sent.value), "{}", one.what);
        let (own, added) = letter.headers.split_at(one.sent.headers.len());
        assert_eq!(own, one.sent.headers, "{}: its own headers are untouched", one.what);
        assert_eq!(added.len(), 6);
        assert_eq!(letter.header("__connect.errors.exception.class.name"), Some(one.reason.to_uppercase()));
    }
    let good = verdicts.iter().flatten().filter(|record| record.json()["kind"] == "scored").count();
    assert_eq!(good, bad.len() + 2, "the good ones around are scored");

    let of_records = InvalidReason::ALL.iter().filter(|reason| **reason != InvalidReason::InternalError);
    let all: BTreeSet<&str> = of_records.map(|reason| reason.as_str()).collect();
    assert_eq!(by_reason.keys().copied().collect::<BTreeSet<_>>(), all, "every reason came up");
    for (reason, count) in by_reason {
        let counted = process.metric(&format!("sentra_invalid_total{{reason=\"{reason}\"}}"));
        assert_eq!(counted, Some(count as f64), "{reason}");
    }
    assert_eq!(process.metric("sentra_events_total{kind=\"invalid\"}"), Some(bad.len() as f64));
    soon("each letter to be counted", || process.metric("sentra_dead_letters_total") == Some(bad.len() as f64));
    assert_eq!(process.get("/readyz").map(|answer| answer.code), Some(200), "nothing of that speaks against it");
}

#[test]
fn a_record_at_the_brokers_size_limit_has_its_verdict_and_its_whole_letter() {
    let topics = Topics::create("at-limit", 1);
    let _process = Setup::new(&topics).start();
    let sender = Sender::default();
    let sized = |bytes: usize| Sent { partition: Some(0), value: Some(vec![b'x'; bytes]), ..Sent::default() };
    let mut bytes = BROKERS_LIMIT - 60;
    let place = loop {
        match sender.send(&topics.transactions, &sized(bytes)) {
            Ok(place) => break place,
            Err(RDKafkaErrorCode::MessageSizeTooLarge) => bytes -= 1,
            Err(code) => panic!("{code}"),
        }
        assert!(bytes > BROKERS_LIMIT - 200);
    };
    assert!(bytes < BROKERS_LIMIT - 60, "one byte more was refused");
    sender.send(&topics.transactions, &good(1, "AFTER")).expect("taken");

    let verdicts = verdicts(&topics, 2);
    assert_eq!(verdicts[0][0].json()["reasons"][0]["code"], "VALUE_TOO_LARGE");
    assert_eq!(verdicts[0][1].json()["kind"], "scored");
    let letters = letters(&topics, 1);
    assert_eq!(letter_of(&letters, &topics, place).value.as_ref().map(Vec::len), Some(bytes));
}

#[test]
fn a_wrong_or_missing_key_is_no_fault_of_the_payment_and_flagged_where_the_partition_is_not_the_phones() {
    const PHONE: &str = "+254700000001";
    let topics = Topics::create("misrouted", 4);
    let process = Setup::new(&topics).start();
    let sender = Sender::default();
    let (home, _) = sender.send(&topics.transactions, &good(1, "HOME")).expect("taken");
    let away = (home + 1) % 4;
    let keyed = |key: Option<&str>, partition: i32, id: &str| {
        let key = key.map(|key| key.as_bytes().to_vec());
        let mut sent = Sent { key, partition: Some(partition), ..good(1, id) };
        sent.headers.push((String::from("institution"), Some(b"bank-a".to_vec())));
        sent
    };
    let cases = [
        (keyed(None, home, "NO-KEY-AT-HOME"), false),
        (keyed(Some("another"), home, "WRONG-KEY-AT-HOME"), false),
        (keyed(None, away, "NO-KEY-AWAY"), true),
        (keyed(Some("0700000001"), away, "NATIONAL-KEY-AWAY"), true),
        (keyed(Some(PHONE), away, "RIGHT-KEY-OF-ANOTHER-PARTITIONER"), true),
    ];
    let places: Vec<_> =
        cases.iter().map(|(sent, _)| sender.send(&topics.transactions, sent).expect("taken")).collect();
    let verdicts = verdicts(&topics, cases.len() + 1);
    for ((sent, misrouted), (partition, offset)) in cases.iter().zip(places) {
        let record = &verdicts[partition as usize][offset as usize];
        let verdict = record.json();
        let flags = verdict["flags"].as_array().expect("flags");
        assert_eq!(flags.contains(&Value::from("misrouted")), *misrouted, "{:?}: {verdict}", sent.key);
        assert_eq!(verdict["kind"], "scored");
        assert_eq!(record.key.as_deref(), Some(PHONE.as_bytes()), "the verdict's key is the phone");
    }
    assert_eq!(process.metric("sentra_misrouted_total{institution=\"bank-a\"}"), Some(3.0));
    assert_eq!(process.metric("sentra_event_flags_total{flag=\"misrouted\"}"), Some(3.0));

    // What is no payment lies in a wrong partition all the same, as far as its phone can be read.
    let value =
        format!(r#"{{"transaction_id":"T","amount":-1,"phone_number":"{PHONE}","timestamp":"2026-03-02T10:00:00Z"}}"#);
    for partition in [home, away] {
        let sent = Sent { value: Some(value.clone().into_bytes()), ..keyed(None, partition, "BAD") };
        sender.send(&topics.transactions, &sent).expect("taken");
    }
    soon("both to be judged", || process.metric("sentra_events_total{kind=\"invalid\"}") == Some(2.0));
    assert_eq!(process.metric("sentra_misrouted_total{institution=\"bank-a\"}"), Some(4.0));
    assert_eq!(process.metric("sentra_event_flags_total{flag=\"misrouted\"}"), Some(4.0));
}

#[test]
fn trace_headers_pass_through_up_to_512_bytes_and_no_other_header_does() {
    let topics = Topics::create("trace", 1);
    let _process = Setup::new(&topics).start();
    let sender = Sender::default();
    let trace = |state: usize| {
        let header = |name: &str, value: Vec<u8>| (name.to_owned(), Some(value));
        vec![
            header("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_vec()),
            header("institution", b"bank-a".to_vec()),
            header("tracestate", vec![b'v'; state]),
        ]
    };
    let longest = 512 - "traceparent".len() - 55 - "tracestate".len();
    for (headers, id) in [(trace(longest), "FITS"), (trace(longest + 1), "TOO-LONG"), (Vec::new(), "NONE")] {
        sender.send(&topics.transactions, &Sent { headers, ..good(1, id) }).expect("taken");
    }
    let bad = Sent { value: None, headers: trace(7), ..good(1, "BAD") };
    sender.send(&topics.transactions, &bad).expect("taken");
    let verdicts = verdicts(&topics, 4);
    let names = |record: &Record| record.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&verdicts[0][0]), ["traceparent", "tracestate"]);
    assert_eq!(verdicts[0][0].header("tracestate").map(|state| state.len()), Some(longest));
    assert_eq!(verdicts[0][0].json()["institution_id"], "bank-a");
    assert_eq!((names(&verdicts[0][1]).len(), names(&verdicts[0][2]).len()), (0, 0));
    assert_eq!(names(&verdicts[0][3]), ["traceparent", "tracestate"], "an unreadable record's too");
}

/// Spreads bits (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[test]
fn a_letter_too_large_for_its_topic_is_cut_and_marked_and_its_neighbours_stay_whole() {
    let topics = Topics::named("small-dlq", 1);
    create_topic(&topics.transactions, 1, &[]);
    create_topic(&topics.verdicts, 1, &[]);
    create_topic(&topics.dlq, 1, &[("max.message.bytes", "10000")]);
    let sender = Sender::default();
    // Bytes that no compression makes fewer: the broker measures batches as they come.
    let noise = |bytes: usize| (0..bytes as u64).map(|at| (mix(at) >> 56) as u8).collect();
    let bad = |bytes: usize| Sent {
        key: Some(b"k".to_vec()),
        value: Some(noise(bytes)),
        headers: vec![(String::from("own"), Some(b"1".to_vec()))],
        ..Sent::default()
    };
    // All there at the start: small and large letters are written together.
    let sent = [bad(2_000), bad(50_000), bad(2_001), good(1, "GOOD"), bad(9_000), bad(8_000)];
    let places: Vec<_> = sent.iter().map(|sent| sender.send(&topics.transactions, sent).expect("taken")).collect();
    let process = Setup::new(&topics).start();

    let verdicts = verdicts(&topics, sent.len());
    assert_eq!(verdicts[0][1].json()["kind"], "invalid");
    assert_eq!(verdicts[0][3].json()["kind"], "scored");
    let letters = letters(&topics, 5);
    for (sent, place) in sent.iter().zip(places).filter(|(_, (_, offset))| *offset != 3) {
        let letter = letter_of(&letters, &topics, place);
        let (value, whole) = (letter.value.as_ref().expect("a value"), sent.value.as_ref().expect("a value"));
        if whole.len() > 10_000 {
            assert!(value.len() < whole.len() && whole.starts_with(value));
            assert_eq!(letter.header("sentra.cut").as_deref(), Some("true"));
        } else {
            assert_eq!(value.len(), whole.len(), "it fits, and is not cut");
            assert_eq!((letter.header("sentra.cut"), letter.header("own").as_deref()), (None, Some("1")));
        }
    }
    soon("the letters to be counted", || process.metric("sentra_dead_letters_total") == Some(5.0));
    assert_eq!(process.metric("sentra_dead_letters_cut_total"), Some(1.0));
}

#[test]
fn without_a_dead_letter_topic_the_verdict_goes_out_all_the_same_and_the_loss_is_told() {
    let topics = Topics::named("no-dlq", 1);
    create_topic(&topics.transactions, 1, &[]);
    create_topic(&topics.verdicts, 1, &[]);
    let sender = Sender::default();
    let bad = Sent { value: None, ..good(1, "BAD") };
    for sent in [&bad, &good(1, "GOOD"), &bad] {
        sender.send(&topics.transactions, sent).expect("taken");
    }
    let process =
        Setup::new(&topics).with("SENTRA__KAFKA__PROPERTIES__TOPIC_METADATA_PROPAGATION_MAX_MS", "1000").start();
    let verdicts = verdicts(&topics, 3);
    let kinds: Vec<_> = verdicts[0].iter().map(|record| record.json()["kind"].clone()).collect();
    assert_eq!(kinds, ["invalid", "scored", "invalid"]);
    assert!(process.log().contains("topics.dlq"), "one line names the setting:\n{}", process.log());
    soon("the loss to be counted", || process.metric("sentra_dead_letters_lost_total") == Some(2.0));
    assert_eq!(process.metric("sentra_dead_letters_total"), Some(0.0));
}

#[test]
fn a_flood_of_bad_records_in_one_partition_keeps_order_and_lets_the_good_ones_through() {
    const EACH: usize = 15_000;
    let topics = Topics::create("flood", 1);
    let sender = Sender::default();
    let bad = Sent { value: Some(b"{}".to_vec()), ..Sent::default() };
    let good: Vec<Sent> = (0..100).map(|number| good(number, &format!("G{number}"))).collect();
    let mixed = (0..EACH).flat_map(|index| [&bad].into_iter().chain((index % 150 == 0).then(|| &good[index / 150])));
    sender.send_all(&topics.transactions, mixed);
    let process = Setup::new(&topics).with("SENTRA__SCORE__UNDELIVERED", "2000").start();
    let verdicts = verdicts(&topics, EACH + 100);
    let scored = verdicts[0].iter().filter(|record| record.json()["kind"] == "scored").count();
    assert_eq!(scored, 100);
    assert_eq!(letters(&topics, EACH)[0].len(), EACH);
    soon("the letters to be counted", || process.metric("sentra_dead_letters_total") == Some(EACH as f64));
}
