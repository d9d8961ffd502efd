//! Snapshots in the simulation: taken in slices from live state, kept, lost, damaged, and restored by the engine's own
//! code.

use std::sync::Arc;

use sentra::{
    domain::rules::Rules,
    engine::{
        GENERATION,
        checkpoint::Checkpoint,
        decisions::Decisions,
        partition::{Partition, Place},
        snapshot::{Anchor, Format, FrameWriter, Head, Part, Refused, Restored, Restoring, SnapshotIdentity, Taking},
    },
    snapshot::{Name, superseded},
};

use super::{Fault, LOG, Met, Shared};
use crate::traffic::Dice;

pub const PLACE: Place = Place { log: LOG, partition: 0, partitions: 1 };

/// What is kept of the partition, newest first.
#[derive(Default)]
pub struct Depot(Vec<(Name, Vec<u8>)>);

impl Depot {
    pub fn newest_first(&self) -> impl Iterator<Item = &(Name, Vec<u8>)> {
        self.0.iter()
    }

    fn publish(&mut self, name: Name, bytes: Vec<u8>) {
        self.0.retain(|(kept, _)| *kept != name);
        self.0.push((name, bytes));
        self.0.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let names: Vec<Name> = self.0.iter().map(|(name, _)| *name).collect();
        let gone: Vec<Name> = superseded(&names, name).collect();
        self.0.retain(|(kept, _)| !gone.contains(kept));
    }

    /// One is lost, or damaged.
    pub fn harm(&mut self, dice: &mut Dice, met: &mut Met) {
        if self.0.is_empty() {
            return;
        }
        met.snapshots_harmed += 1;
        let at = dice.below(self.0.len() as u64) as usize;
        let bytes = &mut self.0[at].1;
        let byte = dice.below(bytes.len().max(1) as u64) as usize;
        match dice.below(3) {
            _ if bytes.is_empty() => {}
            0 => _ = self.0.remove(at),
            1 => bytes.truncate(byte),
            _ => bytes[byte] ^= 1 << dice.below(8),
        }
    }
}

/// A walk over an owner's state.
pub struct Walk {
    head: Head,
    taking: Taking,
    parts: Vec<Part>,
}

fn identity(rules: &Rules) -> SnapshotIdentity {
    SnapshotIdentity::new(&PLACE, String::from("verdicts"), rules)
}

fn anchor(shared: &Shared, before: i64) -> Option<Anchor> {
    let offset = before - 1;
    let record = shared.input.get(usize::try_from(offset).ok()?)?.record(offset);
    Some(Anchor::of(offset, record.timestamp_ms, record.key, record.value))
}

impl Walk {
    pub fn begin(partition: &mut Partition, checkpoint: Checkpoint, shared: &Shared) -> Self {
        let bounds = partition.bounds();
        let head = Head {
            identity: identity(&shared.rules),
            bounds,
            checkpoint,
            anchor: anchor(shared, bounds.next),
            taken_at_ms: 0,
            version: String::from("simulated"),
            model: String::from("tiny"),
            features_hash: shared.rules.features_hash(),
            policy: Some(String::from("p")),
            engine_generation: Some(GENERATION),
        };
        let (taking, part) = Taking::begin(&head, partition);
        Self { head, taking, parts: vec![part] }
    }

    pub fn slice(&mut self, partition: &mut Partition, decisions: &Decisions, dice: &mut Dice) {
        self.parts.extend(self.taking.slice(partition, decisions, dice.pick(&[1, 300, 10_000])));
    }

    /// s1, once the walk is done.
    pub fn end(&self) -> Option<i64> {
        self.taking.end().map(|end| end.end)
    }

    /// Every verdict below its end is acknowledged (or `shared.fault` does not wait for that).
    pub fn publish(mut self, partition: &Partition, shared: &mut Shared) {
        let Some(end) = self.end() else { return };
        if shared.fault == Fault::WatermarkOfTheEnd {
            self.head.bounds.watermark = partition.bounds().watermark;
            self.parts[0].raw = serde_json::to_vec(&self.head).expect("a head is JSON");
        }
        let mut frames = FrameWriter::new(Format::Current).expect("memory");
        let mut bytes = Vec::new();
        self.parts.iter().for_each(|part| frames.write(part.kind, &part.raw, &mut bytes).expect("zstd"));
        shared.depot.publish(Name { end, epoch: self.head.checkpoint.epoch }, bytes);
    }
}

/// Reads one snapshot, as recovery does.
pub fn restore(bytes: &[u8], shared: &Shared) -> Result<Restored, Refused> {
    let mut restoring = Restoring::new(Arc::clone(&shared.rules), PLACE, identity(&shared.rules))?;
    restoring.feed(bytes)?;
    let restored = restoring.finish()?;
    if let Some(taken_behind) = restored.head.anchor_in(shared.input_start) {
        taken_behind.check(anchor(shared, taken_behind.offset + 1))?;
    }
    Ok(restored)
}
