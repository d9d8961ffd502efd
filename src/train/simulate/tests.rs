//! What a simulated world promises.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::domain::time::HOUR_MS;

fn small() -> Options {
    Options { limit: Limit::Records(60_000), ..Options::sized(7, 1_000) }
}

fn bytes(options: &Options) -> Vec<u8> {
    Simulation::new(options).flat_map(|record| record.json).collect()
}

/// The text of a string field, read the slow way.
fn field(record: &Simulated, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
    Some(value.get(name)?.as_str()?.to_owned())
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let options = Options { limit: Limit::Records(5_000), ..small() };
    assert_eq!(bytes(&options), bytes(&options));
    assert_ne!(bytes(&options), bytes(&Options { seed: 8, ..options.clone() }));
}

#[test]
fn a_reused_record_and_the_iterator_agree() {
    let options = Options { limit: Limit::Records(2_000), ..small() };
    let mut simulation = Simulation::new(&options);
    let mut record = Simulated::empty();
    for expected in Simulation::new(&options) {
        assert!(simulation.read(&mut record));
        assert_eq!(record.json, expected.json);
        assert_eq!(record.at_ms, expected.at_ms);
    }
    assert!(!simulation.read(&mut record));
}

#[test]
fn events_come_in_time_order_within_the_days_asked_for() {
    let options = Options { limit: Limit::Days(5), ..small() };
    let times: Vec<i64> = Simulation::new(&options).map(|record| record.at_ms).collect();
    assert!(times.is_sorted());
    assert!(times[0] >= options.start_ms && times[times.len() - 1] < options.start_ms + 5 * DAY_MS);
    let expected = Simulation::new(&options).events_a_day() * 5.0;
    assert!((times.len() as f64 / expected - 1.0).abs() < 0.2, "{} events, {expected:.0} expected", times.len());
}

#[test]
fn every_record_has_its_own_id_and_json_agrees_with_the_record() {
    let mut ids = HashSet::new();
    for record in Simulation::new(&Options { limit: Limit::Records(20_000), ..small() }) {
        assert!(ids.insert((record.institution_id, record.transaction_id)));
        assert_eq!(field(&record, "transaction_id"), Some(record.transaction_id.to_string()));
        assert_eq!(field(&record, "institution_id").as_deref(), Some(record.institution_id));
        let phone = field(&record, "phone_number").unwrap();
        let written = record.phone.to_string();
        assert!(phone == written || format!("+254{}", &phone[1..]) == written);
        let stamp = crate::domain::time::EventTimeMs::parse(&field(&record, "timestamp").unwrap());
        assert_eq!(stamp.map(|stamp| stamp.0), Some(record.at_ms));
    }
}

#[test]
fn the_day_has_two_peaks_and_a_night_trough() {
    let mut by_hour = [0_u32; 24];
    for record in Simulation::new(&small()) {
        let local = (record.at_ms + 3 * HOUR_MS).rem_euclid(DAY_MS) / HOUR_MS;
        by_hour[local as usize] += 1;
    }
    let (night, morning, noon, evening) = (by_hour[3], by_hour[9], by_hour[13], by_hour[18]);
    assert!(night * 8 < morning, "{by_hour:?}");
    assert!(noon < morning && noon < evening, "{by_hour:?}");
}

#[test]
fn the_fraud_rate_is_what_was_asked_for_and_all_schemes_and_look_alikes_are_seen() {
    let options = Options { fraud_rate: 0.01, limit: Limit::Records(200_000), ..small() };
    let mut counts: HashMap<(bool, &str), u32> = HashMap::new();
    for record in Simulation::new(&options) {
        match record.label {
            Label::Ordinary => {}
            Label::LookAlike(name) => *counts.entry((false, name)).or_default() += 1,
            Label::Fraud(name) => *counts.entry((true, name)).or_default() += 1,
        }
    }
    let fraud: u32 = counts.iter().filter(|((fraud, _), _)| *fraud).map(|(_, count)| count).sum();
    let share = f64::from(fraud) / 200_000.0;
    assert!((0.007..0.013).contains(&share), "{share}");
    assert_eq!(counts.keys().filter(|(fraud, _)| *fraud).count(), scheme::SCHEMES.len(), "{counts:?}");
    assert_eq!(counts.keys().filter(|(fraud, _)| !fraud).count(), 7, "{counts:?}");
}

#[test]
fn without_fraud_there_is_none() {
    let options = Options { fraud_rate: 0.0, look_alike_rate: 0.0, ..small() };
    assert!(Simulation::new(&options).all(|record| record.label == Label::Ordinary));
}

#[test]
fn hot_phones_have_thousands_of_events_a_day_and_the_busiest_more_than_three() {
    let events_a_day = |options: Options| {
        let mut by_phone: HashMap<Phone, u32> = HashMap::new();
        for record in Simulation::new(&Options { limit: Limit::Days(3), ..options }) {
            *by_phone.entry(record.phone).or_default() += 1;
        }
        let mut counts: Vec<u32> = by_phone.into_values().map(|count| count / 3).collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        counts
    };
    let small = events_a_day(small());
    assert!((1_000..3_000).contains(&small[0]), "{:?}", &small[..5]);
    // 51 agents and as many merchants: the last of each is one of the busiest.
    let large = events_a_day(Options { agents: 51, merchants: 51, ..self::small() });
    assert!(large[1] > 3_000 && large[2] < 3_000, "{:?}", &large[..5]);
}

#[test]
fn disorder_repeats_and_conflicts_come_as_asked_for_and_leave_the_transactions_as_they_were() {
    let calm = Options { limit: Limit::Days(3), ..small() };
    let disorder = Disorder { late_share: 0.1, late_spread_ms: HOUR_MS, duplicates: 0.05, conflicts: 0.01 };
    let wild = Options { disorder, ..calm.clone() };
    let records: Vec<Simulated> = Simulation::new(&wild).collect();
    let total = records.len() as f64;
    let share = |repeat| records.iter().filter(|record| record.repeat == repeat).count() as f64 / total;
    assert!((0.04..0.06).contains(&share(Repeat::Resend)));
    assert!((0.005..0.015).contains(&share(Repeat::Conflict)));
    assert!(records.windows(2).filter(|pair| pair[1].at_ms < pair[0].at_ms).count() as f64 > total * 0.08);

    let mut first: HashMap<TransactionId, &Simulated> = HashMap::new();
    for record in records.iter().filter(|record| record.repeat == Repeat::First) {
        first.insert(record.transaction_id, record);
    }
    for record in &records {
        let same = first[&record.transaction_id].json == record.json;
        assert_eq!(same, record.repeat != Repeat::Conflict);
    }
    let ordered: HashSet<Vec<u8>> = Simulation::new(&calm).map(|record| record.json).collect();
    assert_eq!(ordered, first.into_values().map(|record| record.json.clone()).collect());
}

#[test]
fn a_start_within_the_hour_is_kept() {
    let options = Options { start_ms: DEFAULT_START_MS + 10 * HOUR_MS + HOUR_MS / 2, ..small() };
    let expected_s = 3_600.0 * 24.0 / Simulation::new(&options).events_a_day();
    let times: Vec<i64> = Simulation::new(&options).take(200).map(|record| record.at_ms).collect();
    assert!(times[0] >= options.start_ms, "{} before the start", options.start_ms - times[0]);
    let spent_s = (times[199] - options.start_ms) as f64 / 1_000.0;
    assert!(spent_s < 200.0 * expected_s && spent_s > 50.0 * expected_s, "{spent_s} s for 200 events");
}

#[test]
fn restamped_records_come_at_a_steady_rate() {
    let restamp = Restamp { start_ms: 1_800_000_000_000, per_second: 50.0 };
    let options = Options { restamp: Some(restamp), limit: Limit::Records(501), ..small() };
    let times: Vec<i64> = Simulation::new(&options).map(|record| record.at_ms).collect();
    assert_eq!((times[0], times[500]), (1_800_000_000_000, 1_800_000_010_000));
}

#[test]
fn a_label_line_is_json_and_names_the_scheme() {
    let options = Options { fraud_rate: 0.05, ..small() };
    let fraud = Simulation::new(&options).find(|record| record.label.is_fraud()).unwrap();
    let mut line = Vec::new();
    fraud.write_label(&mut line);
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["fraud"], serde_json::Value::Bool(true));
    assert_eq!(value["transaction_id"], fraud.transaction_id.to_string());
    assert!(scheme::SCHEMES.iter().any(|scheme| value["scheme"] == scheme.name));
}
