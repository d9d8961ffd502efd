//! A restored line goes on with the same bytes, whenever the snapshot's slices were taken, whatever entered between
//! them, and wherever the line was cut behind them. Damage gives a named refusal, never another window.
//!
//! `SENTRA_SEED=<seed>` runs one log alone.

mod tiny;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
};

use sentra::{
    domain::{identity::LogId, invalid::Invalid, rules::Rules, time::WallTimeUs, verdict::Source},
    engine::{
        checkpoint::Checkpoint,
        decisions::Decisions,
        emit::{Emitter, Stamp, write_invalid},
        partition::{Partition, Place, Step},
        plan::Logs,
        settle::Settling,
        snapshot::{
            Anchor, End, Format, FrameKind, FrameWriter, Head, Refused, Restored, Restoring, SnapshotIdentity, Taking,
            newest_that_fits,
        },
    },
    model::folder::Model,
};
use traffic::{Dice, Scene, scene};

/// Random logs a run.
const LOGS: u64 = 2_500;

/// The longest log, in records: beyond 128 events of a phone, where running totals take over.
const MOST_RECORDS: i64 = 700;

const LOG: LogId = LogId([0x7F; 16]);

const PLACE: Place = Place { log: LOG, partition: 1, partitions: 3 };

fn identity(rules: &Rules) -> SnapshotIdentity {
    SnapshotIdentity::new(&PLACE, String::from("verdicts"), rules)
}

/// A line that judges one scene; the verdict of offset n stands at verdict offset n.
struct Line<'s> {
    scene: &'s Scene,
    partition: Partition,
    decisions: Decisions,
    model: Arc<Model>,
    emitter: Emitter,
    log: String,
    /// Records that the program fails on.
    given_up: BTreeSet<i64>,
}

impl<'s> Line<'s> {
    fn new(scene: &'s Scene, model: &Arc<Model>) -> Self {
        let partition = Partition::new(Arc::new(scene.rules.clone()), PLACE, 0);
        Self::with(scene, model, partition, Decisions::default())
    }

    fn with(scene: &'s Scene, model: &Arc<Model>, partition: Partition, decisions: Decisions) -> Self {
        let emitter = Emitter::new(Arc::clone(model), true);
        Self {
            scene,
            partition,
            decisions,
            model: Arc::clone(model),
            emitter,
            log: LOG.short(),
            given_up: BTreeSet::new(),
        }
    }

    fn verdict(&mut self) -> Vec<u8> {
        let offset = self.partition.next();
        let source = Source { log: &self.log, partition: 1, offset, previous_offset: offset - 1, epoch: -1 };
        let stamp = Stamp { source, decided_at: WallTimeUs(0).text(), processing_time_ms: 0 };
        let record = self.scene.records[offset as usize].record(offset);
        let mut out = Vec::new();
        if self.given_up.contains(&offset) {
            self.partition.skip(offset);
            write_invalid(&Invalid::internal(), false, &stamp, &mut out);
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
        self.decisions.forget(self.partition.next(), self.partition.forgotten());
        out
    }

    fn head(&self, settled: i64) -> Head {
        let last = self.partition.next() - 1;
        let before = usize::try_from(last).ok().map(|at| self.scene.records[at].record(last));
        Head {
            identity: identity(&self.scene.rules),
            bounds: self.partition.bounds(),
            checkpoint: Checkpoint { next: settled, epoch: -1, last: settled - 1 },
            anchor: before.map(|record| Anchor::of(record.offset, record.timestamp_ms, record.key, record.value)),
            taken_at_ms: 0,
            version: String::from("test"),
            model: String::from("m/1"),
            features_hash: self.scene.rules.features_hash(),
            policy: Some(String::from("default-1")),
            engine_generation: Some(1),
        }
    }

    /// Every phone's bytes, and the decisions': equal states have equal ones.
    fn contents(&mut self) -> (Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>) {
        let wm = self.partition.watermark();
        self.partition.sweep(10_000);
        let head = self.head(0);
        let (mut taking, _) = Taking::begin(&head, &mut self.partition);
        let mut phones = BTreeMap::new();
        // A slice of one byte holds one phone.
        while let Some(part) = taking.slice(&mut self.partition, &self.decisions, 5) {
            if part.kind == FrameKind::Phones && part.raw.len() > 4 {
                phones.insert(part.raw[12..36].to_vec(), part.raw[36..].to_vec());
            }
        }
        (format!("{wm:?} {:?}", self.partition.bounds()).into_bytes(), phones)
    }
}

/// A walk that begins before offset `from`; slices as the dice fall.
fn snapshot(line: &mut Line<'_>, verdicts: &mut Vec<Vec<u8>>, dice: &mut Dice) -> (Vec<u8>, End) {
    let settled = dice.between((line.partition.next() - 5).max(0), line.partition.next());
    let head = line.head(settled);
    let (mut taking, part) = Taking::begin(&head, &mut line.partition);
    let mut frames = FrameWriter::new(Format::Current).expect("memory");
    let mut bytes = Vec::new();
    frames.write(part.kind, &part.raw, &mut bytes).expect("zstd");
    loop {
        for _ in 0..dice.pick(&[0, 0, 1, 3, 10]) {
            if line.partition.next() < line.scene.records.len() as i64 {
                verdicts.push(line.verdict());
            }
            if dice.percent(20) {
                line.partition.sweep(1_024);
            }
        }
        let part = taking.slice(&mut line.partition, &line.decisions, dice.pick(&[1, 500, 3_000])).expect("no end yet");
        frames.write(part.kind, &part.raw, &mut bytes).expect("zstd");
        if part.kind == FrameKind::End {
            return (bytes, serde_json::from_slice(&part.raw).expect("an end"));
        }
    }
}

fn restore(bytes: &[u8], rules: &Rules, piece: usize) -> Result<Restored, Refused> {
    let mut restoring = Restoring::new(Arc::new(rules.clone()), PLACE, identity(rules))?;
    for piece in bytes.chunks(piece.max(1)) {
        restoring.feed(piece)?;
    }
    restoring.finish()
}

/// The line that a new owner has: `verdicts` are accepted.
fn recovered<'s>(scene: &'s Scene, model: &Arc<Model>, restored: Restored, verdicts: &[Vec<u8>]) -> Line<'s> {
    let Restored { head, mut partition, decisions, .. } = restored;
    let mut settling = Settling::resume(head.told(), decisions, 0, LOG.short());
    for (offset, verdict) in (0..).zip(verdicts).skip(head.checkpoint.next as usize) {
        settling.take(offset, verdict);
    }
    let settled = settling.finish();
    assert_eq!((settled.ignored, settled.first_gap, &settled.foreign), (0, None, &None));
    let mut decisions = settled.decisions;
    for offset in head.bounds.next..verdicts.len() as i64 {
        if settled.skipped.contains(&offset) {
            partition.skip(offset);
            continue;
        }
        let record = scene.records[offset as usize].record(offset);
        if let Some(event_time) = partition.replay(&record) {
            decisions.note_time(offset, event_time.0);
        }
    }
    partition.phones_mut().caught_up();
    Line::with(scene, model, partition, decisions)
}

fn seeds(count: u64) -> Vec<u64> {
    match env::var("SENTRA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

#[test]
fn a_restored_line_goes_on_with_the_same_bytes_whenever_its_slices_were_taken() {
    let model = tiny::model("1", 0.0);
    let (mut duplicates, mut entered, mut hot) = (0, 0, 0);
    for seed in seeds(LOGS) {
        let scene = scene(seed, MOST_RECORDS);
        let dice = &mut Dice::new(!seed);
        let end = scene.records.len() as i64;
        let mut line = Line::new(&scene, &model);
        line.given_up = (0..end).filter(|_| dice.percent(3)).collect();
        let mut verdicts: Vec<Vec<u8>> = (0..dice.between(0, end)).map(|_| line.verdict()).collect();
        let from = line.partition.next();
        let (bytes, ended) = snapshot(&mut line, &mut verdicts, dice);
        entered += ended.end - from;
        (0..dice.between(0, end - ended.end)).for_each(|_| verdicts.push(line.verdict()));
        let piece = dice.pick(&[7, 100, 100_000]);
        let restored = restore(&bytes, &scene.rules, piece).unwrap_or_else(|why| panic!("SENTRA_SEED={seed}: {why}"));
        assert_eq!(restored.end, ended);
        hot += u32::from(restored.partition.footprint().totals > 0);
        let mut again = recovered(&scene, &model, restored, &verdicts);
        again.given_up = line.given_up.clone();
        let same = again.contents() == line.contents();
        assert!(same, "SENTRA_SEED={seed}: walk {from}..{}, state differs at {}", ended.end, verdicts.len());
        while line.partition.next() < end {
            let (offset, undisturbed, went_on) = (line.partition.next(), line.verdict(), again.verdict());
            assert!(
                went_on == undisturbed,
                "SENTRA_SEED={seed}: walk {from}..{}, offset {offset} differs:\n{}\n{}",
                ended.end,
                String::from_utf8_lossy(&went_on),
                String::from_utf8_lossy(&undisturbed),
            );
            duplicates += usize::from(String::from_utf8_lossy(&went_on).contains(r#""kind":"duplicate""#));
        }
    }
    println!("{duplicates} duplicates behind a snapshot, {entered} records during walks, {hot} with running totals");
    assert!(env::var_os("SENTRA_SEED").is_some() || (duplicates > 500 && entered > 5_000 && hot > 20), "too dull");
}

/// A small snapshot with its rules.
fn small() -> (Vec<u8>, Rules) {
    let model = tiny::model("1", 0.0);
    let scene = scene(11, MOST_RECORDS);
    let mut line = Line::new(&scene, &model);
    let mut verdicts: Vec<_> = (0..scene.records.len() / 2).map(|_| line.verdict()).collect();
    (snapshot(&mut line, &mut verdicts, &mut Dice::new(3)).0, scene.rules.clone())
}

#[test]
fn a_snapshot_with_any_byte_changed_cut_or_added_is_refused() {
    let (bytes, rules) = small();
    let whole = restore(&bytes, &rules, 100).expect("undamaged");
    assert!(whole.partition.phones() > 0 && whole.end.blocks > 0, "there is something to damage");
    let refused = |damaged: &[u8], what: &str, at: usize| match restore(damaged, &rules, 100) {
        Ok(_) => panic!("restored with {what} at {at} of {}", bytes.len()),
        Err(Refused::Damaged(_) | Refused::NotASnapshot | Refused::Format { .. }) => {}
        Err(other) => panic!("{what} at {at}: {other}"),
    };
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            refused(&damaged, "a bit changed", at);
        }
        refused(&bytes[..at], "an end cut", at);
        let mut damaged = bytes.clone();
        damaged.remove(at);
        refused(&damaged, "a byte left out", at);
        damaged.insert(at, bytes[at]);
        damaged.insert(at, 0x55);
        refused(&damaged, "a byte added", at);
    }
    refused(&[bytes.as_slice(), b"\0"].concat(), "a byte behind", bytes.len());
    refused(&[bytes.as_slice(), bytes.as_slice()].concat(), "itself behind", bytes.len());
}

#[test]
fn what_is_right_but_anothers_is_refused_by_name() {
    let (bytes, rules) = small();
    let place = |log, partition, partitions| Place { log: LogId(log), partition, partitions };
    let read = |place: Place, verdict_log: &str, rules: &Rules| {
        let own = SnapshotIdentity::new(&place, String::from(verdict_log), rules);
        let mut restoring = Restoring::new(Arc::new(rules.clone()), place, own).expect("memory");
        restoring.feed(&bytes).err().map(|why| why.to_string()).unwrap_or_default()
    };
    let other = Rules { duplicate_ms: rules.duplicate_ms + 1, ..rules.clone() };
    for (place, verdict_log, rules, why) in [
        (place([1; 16], 1, 3), "verdicts", &rules, "another transaction topic"),
        (place(LOG.0, 1, 3), "others", &rules, "another verdict topic"),
        (place(LOG.0, 2, 3), "verdicts", &rules, "another partition"),
        (place(LOG.0, 1, 4), "verdicts", &rules, "another partition"),
        (place(LOG.0, 1, 3), "verdicts", &other, "other settings"),
    ] {
        let said = read(place, verdict_log, rules);
        assert!(said.contains(why), "{said:?} says {why:?}");
    }
    // What only features read does not matter to state.
    assert_eq!(read(PLACE, "verdicts", &Rules { utc_offset_ms: 0, ..rules.clone() }), "");
}

#[test]
fn a_snapshot_ahead_of_the_verdicts_gives_way_to_the_one_before_it() {
    let model = tiny::model("1", 0.0);
    let long_enough = |scene: &Scene| scene.records.len() > 130;
    let scene = (0..).map(|seed| scene(seed, MOST_RECORDS)).find(long_enough).expect("a long log");
    let mut line = Line::new(&scene, &model);
    let dice = &mut Dice::new(3);
    let mut verdicts: Vec<Vec<u8>> = (0..40).map(|_| line.verdict()).collect();
    let (older, first) = snapshot(&mut line, &mut verdicts, dice);
    (0..10).for_each(|_| verdicts.push(line.verdict()));
    let (newer, second) = snapshot(&mut line, &mut verdicts, dice);
    assert!(first.end < second.end && second.end <= verdicts.len() as i64);
    let kept = [(second.end, newer), (first.end, older)];
    // What a new owner chooses where the log holds this many verdicts; the offset that replay begins at, and why others
    // were passed over.
    let chosen = |accepted: i64| {
        let mut passed_over = Vec::new();
        let attempt = |(_, bytes): &(i64, Vec<u8>)| {
            let mut restored = restore(bytes, &scene.rules, 100)?;
            let mut settling = restored.settling(Ok(None), (0, accepted), LOG.short())?;
            while settling.next() < accepted {
                let at = settling.next();
                settling.take(at, &verdicts[at as usize]);
            }
            let logs = Logs { input_start: 0, input_end: scene.records.len() as i64, verdict_start: 0, partitions: 1 };
            restored.fit(&settling.finish(), &logs)
        };
        let pass_over = |_, why| {
            passed_over.push(why);
            Ok::<_, Refused>(())
        };
        let found = newest_that_fits(&kept, attempt, pass_over);
        (found.expect("nothing ends the choice").map(|state| state.next()), passed_over)
    };
    let from = |bytes: &[u8]| restore(bytes, &scene.rules, 100).expect("undamaged").head.bounds.next;
    let (older, newer) = (from(&kept[1].1), from(&kept[0].1));
    assert_eq!(chosen(second.end), (Some(newer), Vec::new()), "s1 is h + 1");
    let ahead = |end| Refused::Ahead { end, last: second.end - 2 };
    assert_eq!(chosen(second.end - 1), (Some(older), vec![ahead(second.end)]));
    let (none, why) = chosen(first.end - 1);
    assert_eq!((none, why.len()), (None, 2), "then the log is replayed: {why:?}");
}

#[test]
fn the_record_it_was_taken_behind_must_be_the_one_that_is_there_while_the_log_has_it() {
    let (bytes, rules) = small();
    let head = restore(&bytes, &rules, 100).expect("undamaged").head;
    let anchor = head.anchor.expect("an anchor");
    assert_eq!(head.anchor_in(0), Some(anchor));
    assert_eq!(head.anchor_in(anchor.offset), Some(anchor));
    assert_eq!(head.anchor_in(anchor.offset + 1), None, "retention took it: the topic's id speaks for the log");
    let refused = Err(Refused::Anchor { offset: anchor.offset });
    assert_eq!(anchor.check(Some(anchor)), Ok(()));
    assert_eq!(anchor.check(None), refused);
    for other in [
        Anchor { checksum: !anchor.checksum, ..anchor },
        Anchor { timestamp_ms: anchor.timestamp_ms + 1, ..anchor },
        Anchor { offset: anchor.offset + 1, ..anchor },
    ] {
        assert_eq!(anchor.check(Some(other)), refused, "{other:?}");
    }
}
