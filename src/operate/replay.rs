//! One verdict made again: the state is rebuilt up to its record, from the newest snapshot that fits or from the log's
//! start, the record is judged without anything being emitted, and what comes out is compared with what counts.

use std::{ops::ControlFlow, sync::Arc};

use serde_json::Value;

use super::{
    Desk, OperateError,
    difference::{Difference, differences},
};
use crate::{
    domain::{
        invalid::Invalid,
        time::WallTimeUs,
        transaction::Record,
        verdict::{Head, Kind, Source},
    },
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp, write_invalid},
        partition::{Partition, Step},
        rule::Fate,
        settle::Settling,
        snapshot::{Refused, Restored, Restoring, SnapshotIdentity},
    },
    kafka::tail::Span,
    model::{evaluate::Scores, folder::Model, scorer::Scorer},
    shard::{found_at, guarded, is_misrouted, read_snapshot, record, watch_panics},
    snapshot::{Depot, DepotError, Name},
};

/// Verdict offsets read at a time: reading ends soon behind the one looked for.
const STRETCH: i64 = 100_000;

/// A verdict made again.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What replay gave, with features; when it was decided, and in what time, is the accepted one's.
    pub verdict: Value,
    /// What counts.
    pub accepted: Value,
    /// The first record replayed: where a snapshot's state ends, or the log begins.
    pub from: i64,
    /// Where the verdict that counts stands in the verdict partition.
    pub at: i64,
    /// How they differ.
    pub differences: Vec<Difference>,
    /// What may make them differ: snapshots passed over, a log whose head is gone, another model.
    pub notes: Vec<String>,
}

/// Where replay begins.
struct Begin {
    partition: Partition,
    settling: Settling,
}

/// The verdict that counts, and what is known before it.
struct Accepted {
    at: i64,
    value: Vec<u8>,
    previous: Option<i64>,
}

impl Desk {
    /// Makes the verdict about the record at `offset` again.
    ///
    /// # Errors
    /// The record, its verdict or the model is not there, a log cannot be read, or the program fails on a record.
    pub fn replay(&mut self, partition: i32, offset: i64) -> Result<Replayed, OperateError> {
        self.check(partition)?;
        let not_there = |why: String| OperateError::NotThere { partition, offset, why };
        let input = self.transactions.span(partition, &self.stop)?;
        if !(input.start..input.end).contains(&offset) {
            return Err(not_there(format!("the input holds {} to {}", input.start, input.end - 1)));
        }
        let model = Arc::new(Model::load(&self.config.model.path)?);
        let mut notes = Vec::new();
        let Begin { partition: mut state, mut settling } = self.begin(partition, offset, input, &mut notes)?;
        let Accepted { at, value, previous } = self.accepted(partition, offset, &mut settling)?;
        let log = self.log().short();
        let head = Head::parse(&value).ok_or_else(|| not_there(String::from("its verdict cannot be read")))?;
        if let Some(made) =
            head.model.as_ref().filter(|made| (&*made.name, &*made.version) != (&model.name, &model.version))
        {
            notes.push(format!(
                "the verdict is by model {}/{}, replayed with {}/{}",
                made.name, made.version, model.name, model.version
            ));
        }
        let source = Source {
            log: &log,
            partition,
            offset,
            previous_offset: previous.or(head.source.previous_offset).unwrap_or(-1),
            epoch: head.source.epoch.unwrap_or(-1),
        };
        let stamp = Stamp { source, decided_at: WallTimeUs(0).text(), processing_time_ms: 1 };
        let settled = settling.finish();
        let mut judge = Judge {
            scorer: Scorer::new(&model, self.config.model.backend)?,
            emitter: Emitter::new(model, true),
            decisions: settled.decisions,
            partitions: self.layout.transactions,
            out: Vec::new(),
        };
        let from = state.next();
        watch_panics();
        let mut outcome = ControlFlow::Continue(());
        self.transactions.read_messages(partition, state.next(), offset + 1, &self.stop, |message| {
            if outcome.is_break() {
                return;
            }
            let (record, _) = record(message);
            let skipped = settled.skipped.contains(&record.offset);
            let applied = guarded(|| judge.take(&mut state, &record, skipped, &stamp));
            if let Err(place) = applied {
                outcome = ControlFlow::Break(OperateError::Fails { partition, offset: record.offset, place });
            }
        })?;
        if let ControlFlow::Break(error) = outcome {
            return Err(error);
        }
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|error| not_there(error.to_string()));
        let (mut verdict, accepted) = (read(&judge.out)?, read(&value)?);
        for moment in ["decided_at", "processing_time_ms"] {
            verdict[moment] = accepted[moment].clone();
        }
        Ok(Replayed { differences: differences(&accepted, &verdict), verdict, accepted, from, at, notes })
    }

    /// The state before the first record to be replayed.
    fn begin(
        &mut self,
        partition: i32,
        offset: i64,
        input: Span,
        notes: &mut Vec<String>,
    ) -> Result<Begin, OperateError> {
        let verdict_start = self.verdicts.span(partition, &self.stop)?.start;
        let log = self.log().short();
        if let Some(depot) = self.depot.clone() {
            let fitting = depot.list(partition)?.into_iter().filter(|name| name.end <= offset);
            for name in fitting {
                match self.restored(&depot, partition, name, input) {
                    Ok(Restored { head, partition, decisions, .. }) => {
                        let settling = Settling::resume(head.told(), decisions, verdict_start, log);
                        return Ok(Begin { partition, settling });
                    }
                    Err(Unfit::Refused(why)) => notes.push(format!("snapshot {name} is passed over: {why}")),
                    Err(Unfit::Failed(error)) => return Err(error),
                }
            }
        }
        if input.start > 0 {
            notes.push(format!("the input begins at {}: what came before is not known to this replay", input.start));
        }
        let rules = Arc::new(self.config.rules.clone());
        let state = Partition::new(rules, self.place(partition), input.start);
        Ok(Begin { partition: state, settling: Settling::new(verdict_start, log) })
    }

    fn restored(&mut self, depot: &Depot, partition: i32, name: Name, input: Span) -> Result<Restored, Unfit> {
        let (rules, place) = (Arc::new(self.config.rules.clone()), self.place(partition));
        let own = SnapshotIdentity::new(&place, self.layout.verdict_log.to_string(), &rules);
        let restoring = Restoring::new(rules, place, own)?;
        let restored: Restored = read_snapshot::<Unfit>(depot, name, restoring, partition)?;
        let from = restored.head.bounds.next;
        if from < input.start {
            return Err(Unfit::Refused(format!("the input begins at {}, behind its own begin {from}", input.start)));
        }
        if let Some(anchor) = restored.head.anchor_in(input.start) {
            let found = found_at(&mut self.transactions, partition, anchor.offset, &self.stop);
            anchor.check(found.map_err(OperateError::from)?)?;
        }
        Ok(restored)
    }

    /// Settles up to the verdict about `offset`.
    fn accepted(&mut self, partition: i32, offset: i64, settling: &mut Settling) -> Result<Accepted, OperateError> {
        let Span { start, end } = self.verdicts.span(partition, &self.stop)?;
        let (mut found, mut first) = (None, None);
        let mut from = settling.next();
        while found.is_none() && from < end && settling.last().is_none_or(|last| last < offset) {
            let to = end.min(from + STRETCH);
            self.verdicts.read_range(partition, from, to, &self.stop, |at, value| {
                let (value, previous) = (value.unwrap_or_default(), settling.last());
                // What comes behind the one looked for is not settled: decisions are as they were.
                if found.is_some() || previous.is_some_and(|last| last >= offset) {
                    return;
                }
                if matches!(settling.take(at, value), Fate::Accepted { .. }) {
                    first = first.or(settling.last());
                    if settling.last() == Some(offset) {
                        found = Some(Accepted { at, value: value.to_vec(), previous });
                    }
                }
            })?;
            from = to;
        }
        let found = found
            .filter(|found: &Accepted| Head::parse(&found.value).is_none_or(|head| head.kind != Kind::Lost.as_str()));
        found.ok_or_else(|| {
            let why = match (first.filter(|first| *first > offset && start > 0), settling.last()) {
                (Some(first), _) => {
                    format!("its verdict is deleted: the verdict partition begins with the one about {first}")
                }
                (None, Some(last)) if last >= offset => {
                    String::from("it has no verdict: it is no record, or was deleted before it was judged")
                }
                (None, last) => format!("it has no verdict that counts yet: those reach {}", last.unwrap_or(-1)),
            };
            OperateError::NotThere { partition, offset, why }
        })
    }
}

/// Applies records, and judges the last one.
struct Judge {
    scorer: Scorer,
    emitter: Emitter,
    decisions: Decisions,
    partitions: i32,
    out: Vec<u8>,
}

impl Judge {
    /// Replays a record before the one that `stamp` is about; judges that one.
    fn take(&mut self, state: &mut Partition, record: &Record<'_>, skipped: bool, stamp: &Stamp<'_>) {
        let Source { partition, offset, .. } = stamp.source;
        if skipped {
            state.skip(record.offset);
            write_invalid(&Invalid::internal(), false, stamp, &mut self.out);
        } else if record.offset < offset {
            if let Some(t) = state.replay(record) {
                self.decisions.note_time(record.offset, t.0);
            }
        } else {
            match state.step(record) {
                Step::Judged(judged) => {
                    let mut scores = Scores::default();
                    self.scorer.score(&[*judged.row()], &mut scores);
                    self.emitter.judged(&judged, scores.of(0), stamp, &mut self.decisions, &mut self.out);
                }
                Step::Invalid(invalid) => {
                    let misrouted = is_misrouted(&invalid, partition, self.partitions);
                    write_invalid(&invalid, misrouted, stamp, &mut self.out);
                }
            }
        }
    }
}

/// Why a snapshot is not begun with.
enum Unfit {
    Refused(String),
    Failed(OperateError),
}

impl From<Refused> for Unfit {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused.to_string())
    }
}

impl From<DepotError> for Unfit {
    fn from(error: DepotError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<OperateError> for Unfit {
    fn from(error: OperateError) -> Self {
        Self::Failed(error)
    }
}
