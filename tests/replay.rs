//! `run(all) == run(first k); restore; run(rest)`, byte for byte, for random logs and random k.
//!
//! Restoring is what recovery does: the verdict partition is read for h and the decisions so far, and a fresh
//! partition replays the input silently up to h. `SENTRA_SEED=<seed>` runs one log alone.

mod tiny;
mod traffic;

use std::{collections::BTreeSet, env, sync::Arc};

use sentra::{
    domain::{
        flags::Flags,
        identity::LogId,
        invalid::Invalid,
        rules::Rules,
        time::WallTimeUs,
        verdict::{Digest, Kind, OwnerRecord, OwnerSource, SCHEMA_VERSION, Source},
    },
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp, write_invalid},
        partition::{Partition, Place, Step},
        plan::{Logs, plan},
        settle::Settling,
    },
    model::folder::Model,
};
use traffic::{Dice, Scene, scene};

/// Random logs a run.
const LOGS: u64 = 1_500;

/// The longest log, in records: beyond 128 events of a phone, where running totals take over.
const MOST_RECORDS: i64 = 500;

const LOG: LogId = LogId([0x7F; 16]);

/// One ownership: state, decisions and the writer.
struct Line<'s> {
    scene: &'s Scene,
    start: i64,
    partition: Partition,
    decisions: Decisions,
    model: Arc<Model>,
    emitter: Emitter,
    previous: i64,
    log: String,
    /// Records that the program fails on.
    given_up: BTreeSet<i64>,
}

impl<'s> Line<'s> {
    fn new(scene: &'s Scene, start: i64, model: &Arc<Model>) -> Self {
        Self {
            scene,
            start,
            partition: partition(&scene.rules, start),
            decisions: Decisions::default(),
            model: Arc::clone(model),
            emitter: Emitter::new(Arc::clone(model), true),
            previous: -1,
            log: LOG.short(),
            given_up: BTreeSet::new(),
        }
    }

    /// Judges the record at `offset` and gives its verdict. Epoch and times are the same in every run.
    fn verdict(&mut self, offset: i64) -> Vec<u8> {
        let source = Source { log: &self.log, partition: 1, offset, previous_offset: self.previous, epoch: 0 };
        let stamp = Stamp { source, decided_at: WallTimeUs(0).text(), processing_time_ms: 0 };
        let record = self.scene.records[(offset - self.start) as usize].record(offset);
        let mut out = Vec::new();
        if self.given_up.contains(&offset) {
            self.partition.skip(offset);
            write_invalid(&Invalid::internal(), false, &stamp, &mut out);
            self.previous = offset;
            return out;
        }
        match self.partition.step(&record) {
            Step::Judged(judged) => {
                let mut raw = Vec::new();
                self.model.raw_batch(&[judged.row()], &mut raw);
                self.emitter.judged(&judged, raw[0], &stamp, &mut self.decisions, &mut out);
            }
            Step::Invalid(invalid) => {
                self.emitter.invalid(&invalid, false, &stamp, &mut out);
            }
        }
        self.previous = offset;
        self.decisions.forget(self.partition.next(), self.partition.forgotten());
        out
    }

    fn verdicts(&mut self, offsets: std::ops::Range<i64>) -> Vec<Vec<u8>> {
        offsets.map(|offset| self.verdict(offset)).collect()
    }
}

fn partition(rules: &Rules, start: i64) -> Partition {
    Partition::new(Arc::new(rules.clone()), Place { log: LOG, partition: 1, partitions: 3 }, start)
}

/// A new owner's line after recovery: `verdicts` are what the verdict partition holds, behind one owner record.
fn restored<'s>(scene: &'s Scene, start: i64, verdicts: &[Vec<u8>], model: &Arc<Model>) -> Line<'s> {
    let mut line = Line::new(scene, start, model);
    let mut settling = Settling::new(0, LOG.short());
    settling.take(0, &owner_record());
    for (position, verdict) in (1..).zip(verdicts) {
        settling.take(position, verdict);
    }
    let settled = settling.finish();
    assert_eq!((settled.ignored, settled.first_gap, &settled.foreign), (0, None, &None));
    let end = start + scene.records.len() as i64;
    let logs = Logs { input_start: start, input_end: end, verdict_start: 0, partitions: 1 };
    let begin = plan(logs, &settled, None, &LOG.short()).expect("nothing is refused here");
    line.decisions = settled.decisions;
    for offset in begin.replay_from..=begin.last {
        let record = scene.records[(offset - start) as usize].record(offset);
        if settled.skipped.contains(&offset) {
            line.partition.skip(offset);
        } else if let Some(event_time) = line.partition.replay(&record) {
            line.decisions.note_time(offset, event_time.0);
        }
        line.decisions.forget(line.partition.next(), line.partition.forgotten());
    }
    line.previous = begin.previous;
    assert_eq!(begin.last + 1, start + verdicts.len() as i64);
    line
}

fn owner_record() -> Vec<u8> {
    let record = OwnerRecord {
        kind: Kind::Owner,
        source: OwnerSource { log: &LOG.short(), partition: 1 },
        group: "g",
        instance: "i",
        version: "v",
        host: "host",
        engine_generation: 1,
        engine_hash: Digest(7),
        partitions: 1,
        decided_at: WallTimeUs(0),
        schema_version: SCHEMA_VERSION,
    };
    serde_json::to_vec(&record).expect("an owner record is JSON")
}

fn seeds() -> Vec<u64> {
    match env::var("SENTRA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..LOGS).collect(),
    }
}

#[test]
fn a_restored_line_goes_on_with_the_same_bytes_wherever_it_was_cut() {
    let model = tiny::model("1", 0.0);
    let mut duplicates = 0_usize;
    for seed in seeds() {
        let scene = scene(seed, MOST_RECORDS);
        let start = if seed % 5 == 0 { 70 } else { 0 };
        let end = start + scene.records.len() as i64;
        let whole = Line::new(&scene, start, &model).verdicts(start..end);
        let dice = &mut Dice::new(!seed);
        for _ in 0..3 {
            let cut = dice.between(0, scene.records.len() as i64) as usize;
            let rest = restored(&scene, start, &whole[..cut], &model).verdicts(start + cut as i64..end);
            for (offset, (went_on, undisturbed)) in (start + cut as i64..).zip(rest.iter().zip(&whole[cut..])) {
                assert!(
                    went_on == undisturbed,
                    "SENTRA_SEED={seed}: cut before record {cut}, offset {offset} differs:\n{}\n{}",
                    String::from_utf8_lossy(went_on),
                    String::from_utf8_lossy(undisturbed),
                );
                duplicates += usize::from(String::from_utf8_lossy(went_on).contains(r#""kind":"duplicate""#));
            }
        }
    }
    assert!(env::var_os("SENTRA_SEED").is_some() || duplicates > 1_000, "only {duplicates} duplicates after a cut");
}

#[test]
fn a_record_that_the_program_fails_on_leaves_no_trace_now_or_in_any_replay() {
    let model = tiny::model("1", 0.0);
    let mut changed = 0_usize;
    for seed in seeds() {
        let scene = scene(seed, MOST_RECORDS);
        let end = scene.records.len() as i64;
        if end == 0 {
            continue;
        }
        let dice = &mut Dice::new(!seed);
        let poison = dice.between(0, end - 1);
        // It fails once all of it has entered: that state is thrown away.
        let mut failing = Line::new(&scene, 0, &model);
        let mut verdicts = failing.verdicts(0..poison);
        let entered = failing.verdict(poison);
        let mut rebuilt = restored(&scene, 0, &verdicts, &model);
        rebuilt.given_up.insert(poison);
        verdicts.extend(rebuilt.verdicts(poison..end));
        let mut never = Line::new(&scene, 0, &model);
        never.given_up.insert(poison);
        assert!(verdicts == never.verdicts(0..end), "SENTRA_SEED={seed}: something of offset {poison} is left");
        // Owners that come later know it from the verdicts alone.
        let cut = dice.between(poison + 1, end) as usize;
        let rest = restored(&scene, 0, &verdicts[..cut], &model).verdicts(cut as i64..end);
        assert!(rest == verdicts[cut..], "SENTRA_SEED={seed}: cut before {cut}, offset {poison} was replayed");
        let undisturbed = failing.verdicts(poison + 1..end);
        changed += usize::from(entered != verdicts[poison as usize] && undisturbed != verdicts[poison as usize + 1..]);
    }
    assert!(env::var_os("SENTRA_SEED").is_some() || changed > 300, "only {changed} logs would have told a trace");
}

#[test]
fn replaying_leaves_the_same_state_as_stepping() {
    for seed in seeds() {
        let scene = scene(seed, MOST_RECORDS);
        let cut = Dice::new(seed).between(0, scene.records.len() as i64) as usize;
        let (mut stepped, mut replayed) = (partition(&scene.rules, 0), partition(&scene.rules, 0));
        for (offset, sent) in (0..).zip(&scene.records[..cut]) {
            let record = sent.record(offset);
            let judged = match stepped.step(&record) {
                Step::Judged(judged) => Some(judged.event_time),
                Step::Invalid(_) => None,
            };
            assert_eq!(replayed.replay(&record), judged, "SENTRA_SEED={seed}");
        }
        let seen = |partition: &Partition| (partition.next(), partition.watermark(), partition.phones());
        assert_eq!(seen(&stepped), seen(&replayed), "SENTRA_SEED={seed}");
        for (offset, sent) in (cut as i64..).zip(&scene.records[cut..]) {
            let record = sent.record(offset);
            // NaN prints as itself, and floats print so that they read back exactly.
            let [left, right] = [&mut stepped, &mut replayed].map(|partition| format!("{:?}", partition.step(&record)));
            assert_eq!(left, right, "SENTRA_SEED={seed}: cut before record {cut}, offset {offset}");
        }
    }
}

#[test]
fn a_log_whose_head_is_gone_is_warming_until_its_state_reaches_back_far_enough() {
    const DAY: i64 = sentra::domain::time::DAY_MS;
    let rules = Rules::default();
    let mut scene = Scene { rules: rules.clone(), records: Vec::new() };
    let begin = 1_772_352_900_000;
    let moments = [0, DAY, 8 * DAY, 8 * DAY + 1, 30 * DAY, 30 * DAY + 1];
    for moment in moments {
        let value = format!(
            r#"{{"transaction_id":"T{moment}","amount":5,"phone_number":"0712345678","timestamp":"{}"}}"#,
            sentra::domain::time::EventTimeMs(begin + moment).to_rfc3339(),
        );
        let sent = traffic::Sent { kafka_ms: None, value: Some(value.into_bytes()), institution: None, truth: None };
        scene.records.push(sent);
    }
    for (start, warming) in [(0, [false; 6]), (9, [true, true, true, true, true, false])] {
        let mut partition = partition(&rules, start);
        for ((offset, sent), expected) in (start..).zip(&scene.records).zip(warming) {
            let record = sent.record(offset);
            let Step::Judged(judged) = partition.step(&record) else { panic!("readable") };
            assert_eq!(judged.flags.has(Flags::WARMING), expected, "start {start}, offset {offset}");
            let first = offset == start;
            let unknown = judged.row()[sentra::domain::features::DEVICE_NEW].is_nan();
            assert_eq!(unknown, first || expected, "a profile that is not whole is missing, not new");
        }
    }
}
