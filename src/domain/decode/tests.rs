//! Every rule of the transaction contract as a table: what is sent, what is read.

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    amount::{AmountMinor, Currency},
    phone::Phone,
    place::GeoPoint,
    time::EventTimeMs,
    transaction::{Channel, Counterparty, CounterpartyId, CounterpartyType, TransactionType},
};
use InvalidReason as Why;

fn record(value: &[u8]) -> Record<'_> {
    Record { offset: 0, timestamp_ms: None, key: None, value: Some(value), institution: None }
}

fn decode_bytes(value: &[u8]) -> Result<Transaction<'_>, Box<Invalid>> {
    decode(&record(value), &Rules::default())
}

/// The smallest valid transaction, with `changes` laid over it.
fn sent(changes: &Value) -> Vec<u8> {
    let mut body = json!({
        "transaction_id": "TXN1", "amount": 1500, "phone_number": "0712345678", "timestamp": "2026-03-01T08:15:00Z",
    });
    for (name, value) in changes.as_object().expect("changes are an object") {
        body[name] = value.clone();
    }
    serde_json::to_vec(&body).expect("a value is JSON")
}

/// The fault that `changes` lead to.
fn fault_of(changes: &Value) -> (Why, Option<&'static str>) {
    let bytes = sent(changes);
    let invalid = decode_bytes(&bytes).expect_err(&changes.to_string());
    (invalid.reason, invalid.field)
}

#[test]
fn a_full_transaction_reads_whole() {
    let bytes = sent(&json!({
        "device_id": "dev-9", "location": "Nairobi", "currency": "usd", "transaction_type": "P2P", "channel": "app",
        "counterparty": "+254 till", "counterparty_type": "till", "latitude": -1.2864, "longitude": 36.8172,
        "original_transaction_id": "TXN0", "sim_swapped_at": "2026-02-28T00:00:00+03:00",
        "account_opened_at": "2020-01-01T00:00:00.5Z", "institution_id": "bank-1", "unknown": {"a": [1, "\u{1}"]},
    }));
    let expected = Transaction {
        transaction_id: "TXN1".into(),
        amount: AmountMinor(150_000),
        currency: Currency(*b"USD"),
        phone: Phone::E164(254_712_345_678),
        timestamp: EventTimeMs(1_772_352_900_000),
        device_id: Some("dev-9".into()),
        location: Some("Nairobi".into()),
        transaction_type: Some(TransactionType::P2p),
        channel: Some(Channel::App),
        counterparty: Some(Counterparty {
            kind: Some(CounterpartyType::Till),
            id: CounterpartyId::Other("+254 till".into()),
        }),
        geo: Some(GeoPoint { lat_e7: -12_864_000, lon_e7: 368_172_000 }),
        original_transaction_id: Some("TXN0".into()),
        sim_swapped_at: Some(EventTimeMs(1_772_226_000_000)),
        account_opened_at: Some(EventTimeMs(1_577_836_800_500)),
        institution_id: Some("bank-1".into()),
    };
    assert_eq!(decode_bytes(&bytes), Ok(expected));
}

#[test]
fn texts_borrow_from_the_record_unless_escaped() {
    let bytes = br#"{"transaction_id":"T\u0031","amount":1,"phone_number":"0712345678","timestamp":"2026-03-01T08:15:00Z","device_id":"d"}"#;
    let transaction = decode_bytes(bytes).expect("valid");
    assert!(matches!(transaction.transaction_id, Cow::Owned(ref id) if id == "T1"));
    assert!(matches!(transaction.device_id, Some(Cow::Borrowed("d"))));
}

#[test]
fn null_blank_and_unknown_values_of_optional_fields_count_as_absent() {
    let plain = sent(&json!({}));
    let plain = decode_bytes(&plain).expect("valid");
    assert_eq!(plain.currency, Currency::KES);
    let nulls: serde_json::Map<_, _> =
        Field::ALL.iter().skip(4).map(|field| (field.as_str().to_owned(), Value::Null)).collect();
    let cases = [
        Value::Object(nulls),
        json!({"device_id": "", "location": " \t", "counterparty": "  ", "original_transaction_id": ""}),
        json!({"transaction_type": "TELEPORT", "channel": "pigeon", "counterparty_type": "alien"}),
        json!({"transaction_type": "p2p", "channel": "APP"}),
        json!({"Amount": "x", "AMOUNT": {}, "extra": true}),
    ];
    for changes in cases {
        assert_eq!(decode_bytes(&sent(&changes)), Ok(plain.clone()), "{changes}");
    }
}

#[test]
fn each_field_names_its_own_fault() {
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let cases = [
        (json!({"transaction_id": null}), Why::MissingField, "transaction_id"),
        (json!({"transaction_id": 7}), Why::WrongType, "transaction_id"),
        (json!({"transaction_id": ""}), Why::BadText, "transaction_id"),
        (json!({"transaction_id": "a b"}), Why::BadText, "transaction_id"),
        (json!({"transaction_id": "é"}), Why::BadText, "transaction_id"),
        (json!({"transaction_id": "a".repeat(65)}), Why::TextTooLong, "transaction_id"),
        (json!({"amount": null}), Why::MissingField, "amount"),
        (json!({"amount": true}), Why::WrongType, "amount"),
        (json!({"amount": [1]}), Why::WrongType, "amount"),
        (json!({"amount": "ten"}), Why::AmountMalformed, "amount"),
        (json!({"amount": ""}), Why::AmountMalformed, "amount"),
        (json!({"amount": 0}), Why::AmountNotPositive, "amount"),
        (json!({"amount": "-5"}), Why::AmountNotPositive, "amount"),
        (json!({"amount": 1.001}), Why::AmountTooPrecise, "amount"),
        (json!({"amount": "1000000000000.01"}), Why::AmountTooLarge, "amount"),
        (json!({"amount": "1e400"}), Why::NumberOutOfRange, "amount"),
        (json!({"phone_number": null}), Why::MissingField, "phone_number"),
        (json!({"phone_number": 254_712_345_678_u64}), Why::WrongType, "phone_number"),
        (json!({"phone_number": "2547****5678"}), Why::PhoneMasked, "phone_number"),
        (json!({"phone_number": "Wanjiku"}), Why::PhoneMalformed, "phone_number"),
        (json!({"timestamp": null}), Why::MissingField, "timestamp"),
        (json!({"timestamp": 1_772_352_900}), Why::WrongType, "timestamp"),
        (json!({"timestamp": "yesterday"}), Why::BadTimestamp, "timestamp"),
        (json!({"timestamp": "1969-12-31T23:59:59Z"}), Why::BadTimestamp, "timestamp"),
        (json!({"timestamp": "2026-02-30T00:00:00Z"}), Why::BadTimestamp, "timestamp"),
        (json!({"timestamp": "2026-03-01T08:15:00"}), Why::BadTimestamp, "timestamp"),
        (json!({"device_id": 1}), Why::WrongType, "device_id"),
        (json!({"device_id": long}), Why::TextTooLong, "device_id"),
        (json!({"location": {}}), Why::WrongType, "location"),
        (json!({"location": "é".repeat(129)}), Why::TextTooLong, "location"),
        (json!({"currency": "KSHS"}), Why::BadCurrency, "currency"),
        (json!({"currency": ""}), Why::BadCurrency, "currency"),
        (json!({"currency": 404}), Why::WrongType, "currency"),
        (json!({"transaction_type": 1}), Why::WrongType, "transaction_type"),
        (json!({"transaction_type": long}), Why::TextTooLong, "transaction_type"),
        (json!({"channel": false}), Why::WrongType, "channel"),
        (json!({"counterparty_type": []}), Why::WrongType, "counterparty_type"),
        (json!({"counterparty": 5}), Why::WrongType, "counterparty"),
        (json!({"counterparty": long}), Why::TextTooLong, "counterparty"),
        (json!({"latitude": "1"}), Why::WrongType, "latitude"),
        (json!({"latitude": 91, "longitude": 0}), Why::BadCoordinates, "latitude"),
        (json!({"latitude": 0, "longitude": -180.1}), Why::BadCoordinates, "longitude"),
        (json!({"latitude": 1}), Why::BadCoordinates, "longitude"),
        (json!({"latitude": null, "longitude": 1}), Why::BadCoordinates, "latitude"),
        (json!({"original_transaction_id": 3}), Why::WrongType, "original_transaction_id"),
        (json!({"sim_swapped_at": "soon"}), Why::BadTimestamp, "sim_swapped_at"),
        (json!({"account_opened_at": 0}), Why::WrongType, "account_opened_at"),
        (json!({"institution_id": "a/b"}), Why::BadText, "institution_id"),
        (json!({"institution_id": "a".repeat(65)}), Why::TextTooLong, "institution_id"),
    ];
    for (changes, reason, field) in cases {
        assert_eq!(fault_of(&changes), (reason, Some(field)), "{changes}");
    }
}

#[test]
fn the_first_fault_in_field_order_is_named() {
    assert_eq!(fault_of(&json!({"timestamp": "x", "amount": 0})), (Why::AmountNotPositive, Some("amount")));
}

#[test]
fn values_at_the_limits_are_read() {
    let cases = [
        json!({"transaction_id": "aZ09._:-".repeat(8)}),
        json!({"amount": 0.01}),
        json!({"amount": "1e12"}),
        json!({"device_id": "x".repeat(MAX_TEXT_BYTES)}),
        json!({"timestamp": "1970-01-01T00:00:00Z"}),
        json!({"latitude": -90, "longitude": 180}),
    ];
    for changes in cases {
        assert!(decode_bytes(&sent(&changes)).is_ok(), "{changes}");
    }
}

#[test]
fn a_value_that_is_no_transaction_object_is_named_by_its_shape() {
    let nested = |depth: usize| {
        let inner = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        [&sent(&json!({}))[..sent(&json!({})).len() - 1], b",\"x\":", inner.as_bytes(), b"}"].concat()
    };
    let padded = |size: usize| {
        let mut bytes = sent(&json!({}));
        bytes.resize(size, b' ');
        bytes
    };
    let with = |field: &str| [&b"{"[..], field.as_bytes(), b",", &sent(&json!({}))[1..]].concat();
    let cases: Vec<(&str, Vec<u8>, Option<Why>)> = vec![
        ("empty", vec![], Some(Why::EmptyValue)),
        ("blank", b"  ".to_vec(), Some(Why::NotJson)),
        ("text", b"hello".to_vec(), Some(Why::NotJson)),
        ("byte order mark", [b"\xef\xbb\xbf", &sent(&json!({}))[..]].concat(), Some(Why::NotJson)),
        ("cut", b"{\"transaction_id\":\"T".to_vec(), Some(Why::NotJson)),
        ("trailing bytes", [&sent(&json!({}))[..], b"{}"].concat(), Some(Why::NotJson)),
        ("trailing blanks", padded(1_000), None),
        ("not UTF-8", b"{\"a\":\"\xff\"}".to_vec(), Some(Why::InvalidUtf8)),
        ("null", b"null".to_vec(), Some(Why::NotAnObject)),
        ("array", b"[{}]".to_vec(), Some(Why::NotAnObject)),
        ("string", b"\"{}\"".to_vec(), Some(Why::NotAnObject)),
        ("NaN", with("\"latitude\":NaN"), Some(Why::NotJson)),
        ("leading zero", with("\"longitude\":01"), Some(Why::NotJson)),
        ("control character", with("\"x\":\"\n\""), Some(Why::NotJson)),
        ("surrogate in a field", with("\"location\":\"\\ud800\""), Some(Why::NotJson)),
        ("surrogate in a key", with("\"\\udc00\":1"), Some(Why::NotJson)),
        ("surrogate pair", with("\"location\":\"\\ud83d\\ude00\""), None),
        ("1e400 in a field", with("\"latitude\":1e400"), Some(Why::NumberOutOfRange)),
        ("1e400 unknown", with("\"x\":1e400"), None),
        ("repeated field", with("\"amount\":1"), Some(Why::DuplicateField)),
        ("repeated by escape", with("\"amo\\u0075nt\":1"), Some(Why::DuplicateField)),
        ("repeated null", with("\"amount\":null"), Some(Why::DuplicateField)),
        ("repeated unknown", with("\"x\":1,\"x\":2"), None),
        ("deepest", nested(MAX_DEPTH), None),
        ("too deep", nested(MAX_DEPTH + 1), Some(Why::TooDeep)),
        ("very deep", nested(20_000), Some(Why::TooDeep)),
        ("deep, unclosed", b"[".repeat(30_000), Some(Why::TooDeep)),
        ("brackets in a string", with(&format!("\"x\":[\"{}\\\"\"]", "[".repeat(99))), None),
        ("largest", padded(MAX_VALUE_BYTES), None),
        ("too large", padded(MAX_VALUE_BYTES + 1), Some(Why::ValueTooLarge)),
    ];
    for (name, value, expected) in cases {
        assert_eq!(decode_bytes(&value).err().map(|invalid| invalid.reason), expected, "{name}");
    }
    let tombstone = Record { value: None, ..record(b"") };
    assert_eq!(decode(&tombstone, &Rules::default()).expect_err("no value").reason, Why::NullValue);
}

#[test]
fn the_institution_header_wins_over_the_body() {
    let long = [b'a'; 65];
    type Case<'a> = (Option<&'a [u8]>, Value, Result<Option<&'a str>, Why>);
    let cases: [Case<'_>; 8] = [
        (None, json!({}), Ok(None)),
        (None, json!({"institution_id": "body"}), Ok(Some("body"))),
        (Some(b"head"), json!({}), Ok(Some("head"))),
        (Some(b"head"), json!({"institution_id": "body"}), Ok(Some("head"))),
        (Some(b"head"), json!({"institution_id": 5}), Ok(Some("head"))),
        (Some(b""), json!({"institution_id": "body"}), Err(Why::BadText)),
        (Some(b"\xff"), json!({}), Err(Why::BadText)),
        (Some(&long), json!({}), Err(Why::TextTooLong)),
    ];
    for (header, body, expected) in cases {
        let bytes = sent(&body);
        let record = Record { institution: header, ..record(&bytes) };
        let read = decode(&record, &Rules::default());
        let read = read.as_ref().map(|read| read.institution_id.as_deref()).map_err(|invalid| invalid.reason);
        assert_eq!(read, expected, "{header:?} {body}");
    }
}

#[test]
fn a_counterparty_is_a_phone_only_where_its_type_allows() {
    let phone = CounterpartyId::Phone(Phone::E164(254_712_345_678));
    let other = |text: &'static str| CounterpartyId::Other(text.into());
    let cases = [
        (json!({"counterparty": "0712345678"}), phone.clone()),
        (json!({"counterparty": " +254712345678 ", "counterparty_type": "phone"}), phone.clone()),
        (json!({"counterparty": "0712345678", "counterparty_type": "martian"}), phone),
        (json!({"counterparty": "0712345678", "counterparty_type": "till"}), other("0712345678")),
        (json!({"counterparty": "07****5678", "counterparty_type": "phone"}), other("07****5678")),
        (json!({"counterparty": "\t123456 "}), other("123456")),
        (json!({"counterparty": " a\nb "}), other("a\nb")),
    ];
    for (changes, expected) in cases {
        let bytes = sent(&changes);
        let read = decode_bytes(&bytes).expect("valid").counterparty.map(|counterparty| counterparty.id);
        assert_eq!(read, Some(expected), "{changes}");
    }
}

#[test]
fn an_invalid_record_keeps_what_is_valid_in_itself() {
    let bytes = sent(&json!({"amount": "ten", "currency": "UGX", "institution_id": "bank-1"}));
    let read = decode_bytes(&bytes).expect_err("the amount").read;
    let expected = Readable {
        transaction_id: Some("TXN1".into()),
        phone: Some(Phone::E164(254_712_345_678)),
        amount: None,
        currency: Some(Currency(*b"UGX")),
        event_time: Some(EventTimeMs(1_772_352_900_000)),
        institution_id: Some("bank-1".into()),
    };
    assert_eq!(read, expected);

    let twice = br#"{"transaction_id":"A","transaction_id":"B","amount":5,"phone_number":"07**"}"#;
    let expected = Readable { amount: Some(AmountMinor(500)), currency: Some(Currency::KES), ..Readable::default() };
    assert_eq!(decode_bytes(twice).expect_err("twice").read, expected);

    let record = Record { institution: Some(b"head"), ..record(b"{") };
    let read = decode(&record, &Rules::default()).expect_err("cut").read;
    assert_eq!(read, Readable { institution_id: Some("head".into()), ..Readable::default() });
}
