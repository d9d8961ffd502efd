//! What holds for any value that decode is given; shared by the libFuzzer target and `tests/fuzz_decode.rs`.

use sentra::domain::{
    amount::MAX_AMOUNT_MINOR,
    decode::{Field, MAX_ID_BYTES, MAX_TEXT_BYTES, MAX_VALUE_BYTES, decode},
    invalid::{Invalid, InvalidReason},
    phone::Phone,
    rules::Rules,
    transaction::{CounterpartyId, Record, Transaction},
};
use serde_json::{Value, json};

/// Decodes `value`, panics where an invariant breaks, and says why the value was refused, if it was.
pub fn value(value: &[u8]) -> Option<InvalidReason> {
    let read = read(value);
    // An escaped key is more than the fast pass takes: serde_json's pass must come to the same result.
    if let Some(detour) = detour(value) {
        assert_eq!(self::read(&detour), read, "the two passes differ");
    }
    match read {
        Ok(transaction) => {
            accepted(&transaction, value);
            None
        }
        Err(invalid) => {
            refused(&invalid, value);
            Some(invalid.reason)
        }
    }
}

fn read(value: &[u8]) -> Result<Transaction<'_>, Box<Invalid>> {
    let record = Record { offset: 0, timestamp_ms: None, key: None, value: Some(value), institution: None };
    decode(&record, &Rules::default())
}

/// The same object with an unknown, escaped member in front; `None` for what does not begin like an object.
fn detour(value: &[u8]) -> Option<Vec<u8>> {
    let rest = value.trim_ascii_start().strip_prefix(b"{")?;
    let member: &[u8] = if rest.trim_ascii_start().starts_with(b"}") { br#"{"\u007e":0"# } else { br#"{"\u007e":0,"# };
    let detour = [member, rest].concat();
    // ASCII's blanks hold one that JSON's do not: the form feed.
    (detour.len() <= MAX_VALUE_BYTES && value.len() <= MAX_VALUE_BYTES && !value.contains(&0x0c)).then_some(detour)
}

fn accepted(transaction: &Transaction<'_>, value: &[u8]) {
    assert!(value.len() <= MAX_VALUE_BYTES);
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok(), "not JSON, but accepted");
    assert!((1..=MAX_AMOUNT_MINOR).contains(&transaction.amount.0));
    assert!(transaction.timestamp.0 >= 0);
    for id in [Some(&transaction.transaction_id), transaction.institution_id.as_ref()].into_iter().flatten() {
        assert!((1..=MAX_ID_BYTES).contains(&id.len()) && id.is_ascii());
    }
    for text in [&transaction.device_id, &transaction.location, &transaction.original_transaction_id] {
        assert!(text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT_BYTES && !text.trim().is_empty()));
    }
    phone(&transaction.phone);
    if let Some(CounterpartyId::Phone(other)) = transaction.counterparty.as_ref().map(|counterparty| &counterparty.id) {
        phone(other);
    }
    if let Some(point) = transaction.geo {
        assert!(point.lat_e7.abs() <= 900_000_000 && point.lon_e7.abs() <= 1_800_000_000);
    }
    let again = canonical(transaction).to_string();
    assert_eq!(read(again.as_bytes()).as_ref(), Ok(transaction), "the canonical form reads otherwise: {again}");
}

fn phone(phone: &Phone) {
    let text = phone.to_string();
    assert_eq!(phone.key().as_bytes(), text.as_bytes());
    assert_eq!(Phone::parse(&text, "254").as_ref(), Ok(phone));
}

/// The transaction as JSON again, every value in its normal form.
fn canonical(transaction: &Transaction<'_>) -> Value {
    let mut body = json!({
        "transaction_id": transaction.transaction_id,
        "amount": transaction.amount,
        "currency": transaction.currency,
        "phone_number": transaction.phone,
        "timestamp": transaction.timestamp,
        "device_id": transaction.device_id,
        "location": transaction.location,
        "transaction_type": transaction.transaction_type,
        "channel": transaction.channel,
        "original_transaction_id": transaction.original_transaction_id,
        "sim_swapped_at": transaction.sim_swapped_at,
        "account_opened_at": transaction.account_opened_at,
        "institution_id": transaction.institution_id,
        "latitude": transaction.geo.map(|point| f64::from(point.lat_e7) / 1e7),
        "longitude": transaction.geo.map(|point| f64::from(point.lon_e7) / 1e7),
    });
    if let Some(counterparty) = &transaction.counterparty {
        body["counterparty_type"] = json!(counterparty.kind);
        body["counterparty"] = match &counterparty.id {
            CounterpartyId::Phone(phone) => json!(phone),
            CounterpartyId::Other(text) => json!(text),
        };
    }
    body
}

fn refused(invalid: &Invalid, value: &[u8]) {
    assert!(!invalid.reason.sentence().is_empty());
    let known = |name: &str| Field::from_wire(name).is_some();
    assert!(invalid.field.is_none_or(known));
    // What is said to be readable is readable, with nothing else at fault.
    let read = &invalid.read;
    let body = json!({
        "transaction_id": read.transaction_id.as_deref().unwrap_or("T"),
        "amount": read.amount.map_or(json!(1), |amount| json!(amount)),
        "currency": read.currency,
        "phone_number": read.phone.map_or(json!("0712345678"), |phone| json!(phone)),
        "timestamp": read.event_time.map_or(json!("2026-03-01T08:15:00Z"), |at| json!(at)),
        "institution_id": read.institution_id,
    })
    .to_string();
    let transaction = self::read(body.as_bytes()).expect("readable fields make a transaction");
    assert!(read.transaction_id.as_ref().is_none_or(|id| *id == transaction.transaction_id));
    assert!(read.amount.is_none_or(|amount| amount == transaction.amount));
    assert!(read.currency.is_none_or(|currency| currency == transaction.currency));
    assert!(read.phone.is_none_or(|phone| phone == transaction.phone));
    assert!(read.event_time.is_none_or(|at| at == transaction.timestamp));
    assert!(read.institution_id.is_none() || read.institution_id.as_deref() == transaction.institution_id.as_deref());
    if std::str::from_utf8(value).is_err() {
        assert_ne!(invalid.reason, InvalidReason::NotJson, "UTF-8 is judged before JSON");
    }
}
