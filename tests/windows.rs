//! Windows, time, duplicates, forgetting and profiles against a naive recomputation, on random histories.
//!
//! A failure prints its seed and the smallest history found; `SENTRA_SEED=<seed> cargo test --release --test windows`
//! runs that history alone.

mod naive;
mod traffic;

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use naive::{Expected, Naive, Whose};
use sentra::{
    domain::{
        amount::{AmountMinor, Currency},
        features::{Row, TABLE},
        flags::Flags,
        history::{History, Observed, Prepared},
        identity::{Identities, Identity, LogId},
        phone::Phone,
        ring::{Event, Money},
        rules::{Counted, Rules, Scope},
        window::{Windows, only},
    },
    engine::partition::{Judged, Judgement, Partition, Place, Step},
};
use traffic::{Dice, Scene, Sent, Truth, scene};

/// Random histories a run.
const HISTORIES: u64 = 10_500;

/// The longest history, in records: beyond every small cap, and beyond 128 events, where running totals take over.
const MOST_RECORDS: i64 = 600;

const PARTITIONS: i32 = 3;

#[test]
fn every_judgement_flag_and_feature_is_that_of_the_naive_recomputation() {
    for_each_seed(|seed, seen| against_naive(&scene(seed, MOST_RECORDS), seed, start_of(seed), seen));
}

#[test]
fn every_window_of_a_history_is_that_of_the_naive_recomputation() {
    for_each_seed(|seed, seen| windows_against_naive(&scene(seed, MOST_RECORDS), seed, start_of(seed), seen));
}

#[test]
fn the_moment_of_the_sweep_never_shows() {
    let removed = AtomicU64::new(0);
    for_each_seed(|seed, _| sweeps_do_not_show(&scene(seed, MOST_RECORDS), seed, &removed));
    let removed = removed.into_inner();
    println!("{removed} phones were removed");
    assert!(removed > 1_000 || env::var_os("SENTRA_SEED").is_some(), "only {removed} phones were removed");
}

/// A sixth of the logs have lost their head.
fn start_of(seed: u64) -> i64 {
    if seed.is_multiple_of(6) { 1_000 } else { 0 }
}

/// What a run met: a test that meets too little proves too little.
#[derive(Default)]
struct Seen {
    judged: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    late: AtomicU64,
    saturated: AtomicU64,
    out_of_order: AtomicU64,
    adjusted: AtomicU64,
    warming: AtomicU64,
    invalid: AtomicU64,
}

impl Seen {
    fn count(&self, judgement: Judgement, flags: Flags) {
        let add = |counter: &AtomicU64, on: bool| counter.fetch_add(u64::from(on), Ordering::Relaxed);
        add(&self.judged, true);
        add(&self.duplicates, matches!(judgement, Judgement::Duplicate { .. }));
        add(&self.conflicts, matches!(judgement, Judgement::Conflict { .. }));
        add(&self.late, judgement == Judgement::Late);
        add(&self.saturated, flags.has(Flags::SATURATED));
        add(&self.out_of_order, flags.has(Flags::OUT_OF_ORDER));
        add(&self.adjusted, flags.has(Flags::TIME_ADJUSTED));
        add(&self.warming, flags.has(Flags::WARMING));
    }

    fn counts(&self) -> [(&'static str, u64); 9] {
        [
            ("judged", &self.judged),
            ("duplicates", &self.duplicates),
            ("conflicts", &self.conflicts),
            ("late", &self.late),
            ("saturated", &self.saturated),
            ("out of order", &self.out_of_order),
            ("adjusted", &self.adjusted),
            ("warming", &self.warming),
            ("invalid", &self.invalid),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// Runs `check` on all seeds, or on the one named by `SENTRA_SEED`, on every processor.
fn for_each_seed(check: impl Fn(u64, &Seen) -> Result<(), String> + Sync) {
    let seen = Seen::default();
    if let Some(seed) = env::var("SENTRA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return check(seed, &seen).unwrap_or_else(|failure| panic!("{failure}"));
    }
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let failures: Vec<String> = thread::scope(|scope| {
        let worker = |first: u64| {
            let (check, seen) = (&check, &seen);
            scope.spawn(move || (first..HISTORIES).step_by(workers as usize).find_map(|seed| check(seed, seen).err()))
        };
        let workers: Vec<_> = (0..workers).map(worker).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    if seen.judged.load(Ordering::Relaxed) > 0 {
        println!("{HISTORIES} histories: {:?}", seen.counts());
        for (name, count) in seen.counts() {
            assert!(count > 2_000 || name == "invalid" && count == 0, "only {count} {name}: the histories grew dull");
        }
    }
}

fn partition(rules: &Rules, start: i64) -> Partition {
    let place = Place { log: LogId(*b"sixteen bytes id"), partition: 1, partitions: PARTITIONS };
    Partition::new(Arc::new(rules.clone()), place, start)
}

fn against_naive(scene: &Scene, seed: u64, start: i64, seen: &Seen) -> Result<(), String> {
    let check = |records: &[Sent], seen: &Seen| {
        let mut naive = Naive::new(scene.rules.clone(), 1, PARTITIONS, start);
        let mut engine = partition(&scene.rules, start);
        for (offset, sent) in (start..).zip(records) {
            let expected = naive.take(offset, sent);
            let step = engine.step(&sent.record(offset));
            differs(&step, expected.as_ref(), offset, seen).map_or(Ok(()), Err)?;
        }
        Ok(())
    };
    check(&scene.records, seen).map_err(|_| shrink(scene, seed, |records| check(records, &Seen::default())))
}

/// What is wrong with a step, if anything.
fn differs(step: &Step<'_>, expected: Option<&Expected>, offset: i64, seen: &Seen) -> Option<String> {
    match (step, expected) {
        (Step::Invalid(_), None) => {
            seen.invalid.fetch_add(1, Ordering::Relaxed);
            None
        }
        (Step::Judged(judged), Some(expected)) => {
            seen.count(judged.judgement, judged.flags);
            difference(judged, expected).map(|what| format!("at offset {offset}: {what}"))
        }
        (step, expected) => Some(format!("at offset {offset}: {step:?}, but expected {expected:?}")),
    }
}

fn difference(judged: &Judged<'_>, expected: &Expected) -> Option<String> {
    if judged.event_time.0 != expected.t {
        return Some(format!("event time {} instead of {}", judged.event_time.0, expected.t));
    }
    if judged.judgement != expected.judgement {
        return Some(format!("{:?} instead of {:?}", judged.judgement, expected.judgement));
    }
    if judged.flags != expected.flags {
        let names = |flags: Flags| flags.names().collect::<Vec<_>>();
        return Some(format!("flags {:?} instead of {:?}", names(judged.flags), names(expected.flags)));
    }
    (0..TABLE.len())
        .find(|&at| !same(judged.row()[at], expected.row[at]))
        .map(|at| format!("{} is {:?} instead of {:?}", TABLE[at].name, judged.row()[at], expected.row[at]))
}

/// Equal to the bit; one NaN is as good as another.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn windows_against_naive(scene: &Scene, seed: u64, start: i64, seen: &Seen) -> Result<(), String> {
    let check = |records: &[Sent], seen: &Seen| {
        let rules = &scene.rules;
        let mut naive = Naive::new(rules.clone(), 1, PARTITIONS, start);
        let mut histories: HashMap<Whose, History> = HashMap::new();
        for (offset, sent) in (start..).zip(records) {
            let (Some(expected), Some(truth)) = (naive.take(offset, sent), &sent.truth) else { continue };
            seen.count(expected.judgement, expected.flags);
            let event = event_of(truth, expected.t, offset);
            if let Some(history) = histories.get_mut(&expected.whose) {
                history.prune(expected.watermark, rules);
                if history.profile.newest <= expected.watermark - rules.forget_ms {
                    histories.remove(&expected.whose);
                }
            }
            // Only every third question is asked: totals must not depend on having been asked.
            if offset % 3 == 0 {
                let observed = match histories.get_mut(&expected.whose) {
                    Some(history) => history.observe(&event, expected.as_of, rules),
                    None => Observed::alone(&event, expected.as_of, rules),
                };
                let asked = asked(&expected.windows, &rules.counted);
                if observed.windows != asked {
                    return Err(format!("at offset {offset}: {:?} instead of {asked:?}", observed.windows));
                }
            }
            if expected.judgement == Judgement::Scored {
                histories.entry(expected.whose).or_insert_with(|| History::starting(&event)).insert(
                    &event,
                    None,
                    Prepared::default(),
                    rules,
                );
            }
        }
        Ok(())
    };
    check(&scene.records, seen).map_err(|_| shrink(scene, seed, |records| check(records, &Seen::default())))
}

/// What is not counted in a window is 0 there.
fn asked(all: &Windows, counted: &Counted) -> Windows {
    Windows {
        count: only(counted.transactions, all.count),
        sum: only(counted.transactions, all.sum),
        counterparties: only(counted.counterparties, all.counterparties),
        devices: only(counted.devices, all.devices),
        places: only(counted.places, all.places),
    }
}

fn event_of(truth: &Truth, t: i64, offset: i64) -> Event {
    let institution = truth.institution.map_or(0, |institution| u64::from(institution) + 1);
    let plus_one = |number: Option<u64>| Identity(number.map_or(0, |number| number + 1));
    Event {
        t,
        offset,
        ids: Identities {
            transaction: Identity(institution << 32 | u64::from(truth.id)),
            counterparty: plus_one(truth.counterparty.map(u64::from)),
            device: plus_one(truth.device.map(u64::from)),
            place: plus_one(truth.place.map(|place| place as u64)),
        },
        money: Money::new(
            AmountMinor(truth.minor),
            Currency::parse(truth.currency).expect("a currency"),
            truth.kind == Some("REVERSAL"),
        ),
    }
}

/// Counts the phones that sweeping `removed`: those that nobody can see any more, and no other.
fn sweeps_do_not_show(scene: &Scene, seed: u64, removed: &AtomicU64) -> Result<(), String> {
    let rules = &scene.rules;
    let check = |records: &[Sent]| {
        let dice = &mut Dice::new(!seed);
        let (mut plain, mut swept) = (partition(rules, 0), partition(rules, 0));
        let often = dice.pick(&[2, 20, 100]);
        let mut newest: HashMap<(Option<String>, Phone), i64> = HashMap::new();
        for (offset, sent) in (0..).zip(records) {
            if dice.percent(often) {
                swept.sweep(usize::MAX);
            }
            let record = sent.record(offset);
            let (left, right) = (plain.step(&record), swept.step(&record));
            if told(&left) != told(&right) {
                return Err(format!("at offset {offset}: swept {right:?}, unswept {left:?}"));
            }
            if let Step::Judged(judged) = &left
                && judged.judgement == Judgement::Scored
            {
                let institution = judged.transaction().institution_id.as_deref().map(str::to_owned);
                let institution = institution.filter(|_| rules.scope == Scope::Institution);
                let last = newest.entry((institution, judged.transaction().phone)).or_insert(i64::MIN);
                *last = judged.event_time.0.max(*last);
            }
        }
        swept.sweep(usize::MAX);
        let until = swept.watermark().map_or(i64::MIN, |wm| wm.0 - rules.forget_ms);
        let expected = newest.values().filter(|last| **last > until).count();
        if swept.phones() != expected {
            return Err(format!("{} phones are left instead of {expected}", swept.phones()));
        }
        Ok(newest.len() - expected)
    };
    let gone = check(&scene.records).map_err(|_| shrink(scene, seed, |records| check(records).map(drop)))?;
    removed.fetch_add(gone as u64, Ordering::Relaxed);
    Ok(())
}

/// All that a verdict is made of.
fn told(step: &Step<'_>) -> Option<(Judgement, Flags, [u64; TABLE.len()])> {
    let bits = |row: &Row| row.map(f64::to_bits);
    match step {
        Step::Judged(judged) => Some((judged.judgement, judged.flags, bits(judged.row()))),
        Step::Invalid(_) => None,
    }
}

/// The failure of the smallest history found by leaving records out, with the seed.
fn shrink(scene: &Scene, seed: u64, check: impl Fn(&[Sent]) -> Result<(), String>) -> String {
    let mut records = scene.records.clone();
    let mut chunk = records.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < records.len() {
            let mut fewer = records.clone();
            fewer.drain(at..(at + chunk).min(fewer.len()));
            if check(&fewer).is_err() { records = fewer } else { at += chunk }
        }
        chunk /= 2;
    }
    let failure = check(&records).err().unwrap_or_default();
    let mut report = format!("SENTRA_SEED={seed}: {failure}\nrules {:?}\n", scene.rules);
    for (place, sent) in records.iter().enumerate() {
        let value = sent.value.as_deref().map(String::from_utf8_lossy);
        report += &format!("  {place}: kafka {:?} header {:?} {value:?}\n", sent.kafka_ms, sent.institution);
    }
    report
}
