//! The whole line without Kafka: bytes to verdict bytes on one thread, with what each part of it takes.
//!
//! `cargo bench --bench line`; compare within one run only.

use std::{hint::black_box, path::Path, sync::Arc};

use sentra::{
    bench::{clock::thread_cpu_ns, sample::month},
    domain::{
        decode::{Habits, decode_by},
        features::Row,
        identity::LogId,
        partitioner::partition_of,
        rules::Rules,
        time::WallTimeUs,
        transaction::Record,
        verdict::Source,
    },
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp},
        partition::{Partition, Place, Step},
    },
    model::{evaluate::Scores, folder::Model},
    train::simulate::{Simulated, Simulation},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: u64 = 400_000;
const PARTITIONS: i32 = 4;
const BATCH: usize = 256;
const AHEAD: usize = 16;

/// A record of the month, in memory as a broker's fetch would be.
struct Kept {
    partition: usize,
    json: Vec<u8>,
    at_ms: i64,
}

/// One partition's state.
struct Lane {
    engine: Partition,
    decisions: Decisions,
}

/// Nanoseconds of this thread's CPU time: neighbours that take the processor away do not count.
#[derive(Default)]
struct Spent {
    step: u64,
    score: u64,
    emit: u64,
}

fn main() {
    let model = Arc::new(Model::load(Path::new("models")).expect("the default model"));
    let kept = keep();
    let decode_ns = per_record(kept.len(), decode_alone(&kept));
    let spent = whole(&kept, &model);
    let [step, score, emit] = [spent.step, spent.score, spent.emit].map(|took| per_record(kept.len(), took));
    println!("a record of a month's traffic, {} records, {PARTITIONS} partitions, batches of {BATCH}", kept.len());
    println!("decode alone {decode_ns:.0} ns");
    println!(
        "step {step:.0} ns (decode in it), score {score:.0} ns, emit {emit:.0} ns, all {:.0} ns",
        step + score + emit
    );
}

fn keep() -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut record = Simulated::empty();
    let mut simulation = Simulation::new(&month(RECORDS));
    while simulation.read(&mut record) {
        let partition = partition_of(record.phone.key().as_bytes(), PARTITIONS) as usize;
        kept.push(Kept { partition, json: record.json.clone(), at_ms: record.at_ms });
    }
    kept
}

fn record(kept: &Kept, offset: usize) -> Record<'_> {
    Record {
        offset: offset as i64,
        timestamp_ms: Some(kept.at_ms),
        key: None,
        value: Some(&kept.json),
        institution: None,
    }
}

fn decode_alone(kept: &[Kept]) -> u64 {
    let (rules, mut habits) = (Rules::default(), Habits::default());
    let began = thread_cpu_ns();
    for (offset, one) in kept.iter().enumerate() {
        let _ = black_box(decode_by(&mut habits, &record(one, offset), &rules));
    }
    thread_cpu_ns() - began
}

fn whole(kept: &[Kept], model: &Arc<Model>) -> Spent {
    let rules = Arc::new(Rules::default());
    let emitter = Emitter::new(Arc::clone(model), false);
    let lane = |partition| Lane {
        engine: Partition::new(Arc::clone(&rules), Place { log: LogId([7; 16]), partition, partitions: PARTITIONS }, 0),
        decisions: Decisions::default(),
    };
    let mut lanes: Vec<Lane> = (0..PARTITIONS).map(lane).collect();
    let (mut scores, mut out): (Scores, Vec<u8>) = Default::default();
    let mut spent = Spent::default();
    let mut ahead = Vec::with_capacity(AHEAD);
    for (number, batch) in kept.chunks(BATCH).enumerate() {
        let began = thread_cpu_ns();
        let mut steps = Vec::with_capacity(BATCH);
        for (part, batch) in batch.chunks(AHEAD).enumerate() {
            // As a shard's turn does it.
            let first = number * BATCH + part * AHEAD;
            ahead.extend(
                batch
                    .iter()
                    .zip(first..)
                    .map(|(one, offset)| (one.partition, lanes[one.partition].engine.read(&record(one, offset)))),
            );
            ahead.iter_mut().for_each(|(partition, read)| lanes[*partition].engine.look_for(read));
            ahead.iter().for_each(|(partition, read)| lanes[*partition].engine.fetch(read));
            for ((one, offset), (partition, read)) in batch.iter().zip(first..).zip(ahead.drain(..)) {
                let step = lanes[partition].engine.apply(&record(one, offset), read);
                if let Step::Judged(step) = step {
                    steps.push((partition, step));
                }
            }
        }
        let stepped = thread_cpu_ns();
        let rows: Vec<&Row> = steps.iter().map(|(_, judged)| judged.row()).collect();
        model.forest.score(&rows, &mut scores);
        let scored = thread_cpu_ns();
        for (row, (partition, judged)) in steps.iter().enumerate() {
            let source = Source { log: "07070707", partition: 0, offset: judged.offset, previous_offset: 1, epoch: 0 };
            let stamp = Stamp { source, decided_at: WallTimeUs(1_772_352_900_123_456).text(), processing_time_ms: 1 };
            emitter.judged(judged, scores.of(row), &stamp, &mut lanes[*partition].decisions, &mut out);
            black_box(&out);
        }
        spent.step += stepped - began;
        spent.score += scored - stepped;
        spent.emit += thread_cpu_ns() - scored;
    }
    spent
}

fn per_record(records: usize, took_ns: u64) -> f64 {
    took_ns as f64 / records as f64
}
