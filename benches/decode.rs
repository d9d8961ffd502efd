//! How long one record takes from bytes to transaction: a small, a typical and a full record, and a broken
//! one, each beside serde_json's pass over the same bytes.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sentra::domain::{decode::decode, rules::Rules, transaction::Record};

const SMALL: &str = r#"{"transaction_id":"TXN0000001","amount":1500,"phone_number":"+254712345678","timestamp":"2026-03-01T08:15:00Z"}"#;

const TYPICAL: &str = r#"{"transaction_id":"TXN0000001","amount":1500.5,"phone_number":"+254712345678","timestamp":"2026-03-01T08:15:00.250Z","device_id":"dev-4f1c09aa","location":"Nairobi","transaction_type":"P2P","channel":"app","counterparty":"+254722000111","counterparty_type":"phone","institution_id":"bank-01"}"#;

const FULL: &str = r#"{"transaction_id":"TXN0000001","amount":"1500.50","currency":"KES","phone_number":"0712345678","timestamp":"2026-03-01T11:15:00.250+03:00","device_id":"dev-4f1c09aa","location":"Murang\u2019a","transaction_type":"CASH_OUT","channel":"agent","counterparty":"AGT-00417","counterparty_type":"agent","latitude":-0.7210123,"longitude":37.1526456,"original_transaction_id":"TXN0000000","sim_swapped_at":"2026-02-27T10:00:00Z","account_opened_at":"2019-06-01T00:00:00Z","institution_id":"bank-01","trace":{"hop":["a","b"],"n":3}}"#;

const INVALID: &str = r#"{"transaction_id":"TXN0000001","amount":1500.501,"phone_number":"+254712345678","timestamp":"2026-03-01T08:15:00.250Z","device_id":"dev-4f1c09aa","location":"Nairobi"}"#;

fn bench(criterion: &mut Criterion) {
    let rules = Rules::default();
    let mut group = criterion.benchmark_group("decode");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for (name, value) in [("small", SMALL), ("typical", TYPICAL), ("full", FULL), ("invalid", INVALID)] {
        let record =
            Record { offset: 0, timestamp_ms: Some(0), key: None, value: Some(value.as_bytes()), institution: None };
        assert_eq!(decode(&record, &rules).is_err(), name == "invalid", "{name}");
        group.throughput(Throughput::Bytes(value.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&record), &rules)));
        // What the grammar alone costs, nothing kept.
        group.bench_function(format!("{name}, yardstick: serde_json skipping all"), |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(value.as_bytes())))
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
