//! Settling a partition (C1.3): the new owner reads the verdict partition up to its own owner record. That fixes h,
//! the last input offset with an accepted verdict, and the decisions that duplicates may repeat.

use super::{
    checkpoint::Checkpoint,
    decisions::{Decisions, Maker},
    rule::{Fate, Reader, Record},
};
use crate::domain::{
    policy::{Decision, Recommendation, RiskLevel},
    verdict::Head,
};

/// What has been read so far.
#[derive(Debug)]
pub struct Settling {
    reader: Reader,
    log: String,
    decisions: Decisions,
    /// h is not below it, whatever is read.
    floor: i64,
    foreign: Option<String>,
    ignored: u64,
    first_gap: Option<(i64, i64)>,
}

/// What the verdict partition says of the past.
#[derive(Debug)]
pub struct Settled {
    /// h: the input offset of the last accepted verdict; `None` where the partition holds none.
    pub last: Option<i64>,
    /// The decisions of accepted verdicts.
    pub decisions: Decisions,
    /// Another log's short id, where an accepted verdict bears one.
    pub foreign: Option<String>,
    /// Zombies' verdicts ignored.
    pub ignored: u64,
    /// The first break in the chain: the input offset that counted before, and the one the verdict names.
    pub first_gap: Option<(i64, i64)>,
}

impl Settling {
    /// Begins at the verdict partition's first offset; `log` is this transaction topic's short id.
    pub fn new(start: i64, log: String) -> Self {
        let reader = Reader::new(start, None, start);
        // From its very first record on, the chain begins behind -1.
        let reader = if start == 0 { reader.after(Some(-1)) } else { reader };
        Self { reader, log, decisions: Decisions::default(), floor: -1, foreign: None, ignored: 0, first_gap: None }
    }

    /// Goes on from a checkpoint, with the decisions of offsets up to its h (a snapshot's), in a log that begins at
    /// `log_start`. Where retention has taken records behind the checkpoint, reading begins at the log's start.
    pub fn resume(from: Checkpoint, decisions: Decisions, log_start: i64, log: String) -> Self {
        let start = from.next.max(log_start);
        let reader = Reader::new(start, Some(from.epoch), log_start);
        let reader = if start == from.next { reader.after(Some(from.last)) } else { reader };
        Self { reader, log, decisions, floor: from.last, foreign: None, ignored: 0, first_gap: None }
    }

    /// Takes the record at `offset`. A fate of [`Fate::GoBack`] cannot come up: reading begins at the log's start.
    pub fn take(&mut self, offset: i64, value: &[u8]) -> Fate {
        let head = Head::parse(value);
        let record = Record::of(head.as_ref());
        let before = self.reader.last();
        let fate = self.reader.take(offset, record);
        match (fate, record, head) {
            (Fate::Ignored, ..) => self.ignored += 1,
            (Fate::Accepted { gap }, Record::Verdict { source, previous, .. }, Some(head)) => {
                if gap && self.first_gap.is_none() {
                    self.first_gap = Some((before.unwrap_or(-1), previous));
                }
                if head.source.log != self.log {
                    self.foreign = Some(head.source.log.to_string());
                }
                if let Some((decision, maker)) = made(&head) {
                    self.decisions.remember(source, decision, &maker);
                }
            }
            _ => {}
        }
        fate
    }

    /// The next offset to read.
    pub fn next(&self) -> i64 {
        self.reader.next()
    }

    /// Ends the reading.
    pub fn finish(self) -> Settled {
        let Self { reader, decisions, floor, foreign, ignored, first_gap, .. } = self;
        // -1 stands for "before the very first", not for an offset.
        let last = Some(reader.last().unwrap_or(-1).max(floor)).filter(|last| *last >= 0);
        Settled { last, decisions, foreign, ignored, first_gap }
    }
}

/// The decision a verdict's head tells, where it tells one whole.
fn made(head: &Head<'_>) -> Option<(Decision, Maker)> {
    let level = head.risk_level.as_deref().and_then(RiskLevel::from_wire)?;
    let recommendation = head.recommendation.as_deref().and_then(Recommendation::from_wire)?;
    let score = head.risk_score.filter(|score| *score <= 100)?;
    let model = head.model.as_ref()?;
    let maker = Maker {
        model: model.name.to_string(),
        model_version: model.version.to_string(),
        policy_version: head.policy_version.as_deref().unwrap_or_default().to_owned(),
    };
    Some((Decision { score, level, recommendation }, maker))
}
