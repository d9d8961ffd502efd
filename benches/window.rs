//! The window step, the whole step and the writing of verdicts; and what a million phones take.
//!
//! `cargo bench --bench window`; compare within one run only.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sentra::{
    bench::{
        state::{Bench, EVENTS, HOT_EVENTS, measure_memory, measure_windows},
        traffic::{Habits, json},
    },
    domain::{time::WallTimeUs, transaction::Record, verdict::Source},
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp},
    },
};

#[path = "../tests/tiny/mod.rs"]
mod tiny;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ORDINARY: Habits = Habits { phones: 1_000, events: EVENTS, counterparties: 8 };

const HOT: Habits = Habits { phones: 1, events: HOT_EVENTS, counterparties: 5_000 };

fn window(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window step and features");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(1));
    for (name, habits) in [("20 events", ORDINARY), ("20,000 events", HOT)] {
        let Bench { mut partition, mut traffic } = Bench::filled(habits);
        // Names are made per step, outside the measured part, and outlive it.
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || {
                    let names: &'static _ = Box::leak(Box::new(traffic.names(1)));
                    Some(traffic.next(names, 0))
                },
                |next| next.take().map(|(transaction, record)| partition.step_decoded(transaction, &record)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole step and verdict");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(1));
    let Bench { mut partition, mut traffic } = Bench::filled(ORDINARY);
    let mut next = || {
        let names = traffic.names(1);
        let (transaction, record) = traffic.next(&names, 0);
        (json(&transaction), record.offset, record.timestamp_ms)
    };
    let record = |text: &str, offset: i64, timestamp_ms: Option<i64>| {
        // Leaked, as a broker's memory outlives the step that borrows it.
        let value: &'static [u8] = Box::leak(text.to_owned().into_boxed_str()).as_bytes();
        Record { offset, timestamp_ms, key: None, value: Some(value), institution: None }
    };
    group.bench_function("step", |bencher| {
        bencher.iter_batched(
            || {
                let (text, offset, timestamp_ms) = next();
                record(&text, offset, timestamp_ms)
            },
            |record| black_box(partition.step(&record)),
            BatchSize::SmallInput,
        );
    });
    let (names, model) = (traffic.names(1), tiny::model("1", 0.0));
    let (transaction, last) = traffic.next(&names, 0);
    let judged = partition.step_decoded(transaction, &last);
    let source = Source { log: "7f3a9c01", partition: 3, offset: judged.offset, previous_offset: 1, epoch: 97 };
    let stamp = Stamp { source, decided_at: WallTimeUs(1_772_352_900_123_456).text(), processing_time_ms: 2 };
    for (name, with_features, raw) in
        [("emit LOW", false, -9.0), ("emit CRITICAL", false, 9.0), ("emit with features", true, -9.0)]
    {
        let emitter = Emitter::new(Arc::clone(&model), with_features);
        let (mut decisions, mut out) = (Decisions::default(), Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| emitter.judged(black_box(&judged), raw, &stamp, &mut decisions, &mut out));
        });
    }
    group.finish();
}

fn figures(_: &mut Criterion) {
    // Whatever is asked for by name, for these are no loops of Criterion's: a million phones take a minute.
    let windows = measure_windows();
    for (what, steps) in windows.by_what() {
        println!("window step{what}: 20 events {:.0} ns, 20,000 events {:.0} ns", steps.phone20_ns, steps.hot20k_ns);
    }
    let memory = measure_memory(1_000_000);
    println!(
        "memory a phone at 20 events: ring {:.0} + profile {:.0} bytes; by the allocator {:.0}",
        memory.ring_bytes_per_phone,
        memory.profile_bytes_per_phone,
        memory.allocator_bytes_per_phone.unwrap_or(f64::NAN),
    );
}

criterion_group!(benches, window, whole, figures);
criterion_main!(benches);
