//! Settling a partition (C1.3): the new owner reads the verdict partition up to its own owner record. That fixes h,
//! the last input offset with an accepted verdict, and the decisions that duplicates may repeat.
//!
//! A checkpoint that the group committed lies on the way, as a rule: reading still begins at the log's start, for the
//! decisions, but from there on e and h are exact, whatever retention took; and h is never below it. A snapshot's
//! checkpoint is where reading begins, for its decisions come with it.
//!
//! Owners commit every second: retention overtakes the newest checkpoint only where a group was away for longer than
//! verdicts are kept. Then what remains may be a zombie's, whose successor's record is gone; that is doubted by name.

use std::{collections::BTreeSet, sync::Arc};

use thiserror::Error;

use super::{
    checkpoint::{Checkpoint, Elsewhere, Told},
    decisions::{Decisions, Maker},
    edition::{Edition, Lineage},
    rule::{Fate, Reader, Record},
};
use crate::domain::{
    invalid::InvalidReason,
    policy::{Decision, Recommendation, RiskLevel},
    verdict::{Digest, Head},
};

/// What has been read so far.
#[derive(Debug)]
pub struct Settling {
    reader: Reader,
    log: String,
    decisions: Decisions,
    skipped: BTreeSet<i64>,
    witness: Option<Witness>,
    /// h is never below it.
    least: i64,
    /// Whether e and h were known where reading began: what the rule accepts since is exactly what counts.
    exact: bool,
    /// A place ahead at which e and h are known.
    ahead: Option<Told>,
    /// Where reading began.
    start: i64,
    /// The checkpoint's place, where retention has taken records behind it.
    torn: Option<i64>,
    /// The epoch of the verdict that counted last.
    counted: Option<i64>,
    doubt: Option<Doubt>,
    /// The owners so far, and those before the newest record.
    owners: [Lineage; 2],
    /// What the first owner record that names a count names.
    partitions: Option<i32>,
    foreign: Option<String>,
    ignored: u64,
    first_gap: Option<(i64, i64)>,
}

/// A verdict that tells whether replay gives the state that judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The input offset.
    pub offset: i64,
    /// The digest of its features.
    pub digest: Digest,
}

/// What the verdict partition says of the past.
#[derive(Debug)]
pub struct Settled {
    /// h: the input offset of the last accepted verdict; `None` where the partition holds none.
    pub last: Option<i64>,
    /// Whether it is known that no verdict was ever accepted.
    pub untouched: bool,
    /// The decisions of accepted verdicts.
    pub decisions: Decisions,
    /// The records that the program failed on, by their accepted verdicts: no replay may apply them. From a
    /// checkpoint on, all of them above its h are known, for their verdicts lie behind it: a snapshot needs no more.
    /// Replay from the input's start needs verdicts kept as long as the input, as `sentra topics check` asks for.
    pub skipped: BTreeSet<i64>,
    /// The newest accepted verdict with features: what replay must come to there.
    pub witness: Option<Witness>,
    /// Why what was read cannot be all that was written.
    pub doubt: Option<Doubt>,
    /// The owners up to the last record read.
    pub owners: Lineage,
    /// The same without the newest owner record: where that is the reader's own, those before it.
    pub before: Lineage,
    /// How many partitions the log began with, as far as owner records name it.
    pub partitions: Option<i32>,
    /// Another log's short id, where an accepted verdict bears one.
    pub foreign: Option<String>,
    /// Zombies' verdicts ignored.
    pub ignored: u64,
    /// The first break in the chain: the input offset that counted before, and the one the verdict names.
    pub first_gap: Option<(i64, i64)>,
}

/// The verdict partition contradicts the group's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Doubt {
    /// It is of other topics.
    #[error(
        "the group's checkpoint is of {0}: a topic was created anew; give the new topics a kafka.group of their own"
    )]
    Elsewhere(#[from] Elsewhere),
    /// It lies beyond the end.
    #[error(
        "verdicts end at {end}, but the group's checkpoint lies at {next}: the partition's tail was lost (an unclean \
         election?); begin with new topics, or stop the group's processes and delete its offset of this partition to judge \
         what was lost again"
    )]
    Beyond {
        /// The checkpoint's next offset.
        next: i64,
        /// The partition's end.
        end: i64,
    },
    /// Verdicts it counted are missing.
    #[error(
        "verdicts below {next} reach input offset {found}, but the group's checkpoint there says {last}: the partition's \
         tail was lost and written again (an unclean election?); begin with new topics, or stop the group's processes and \
         delete its offset of this partition to judge what was lost again"
    )]
    Short {
        /// The checkpoint's next offset.
        next: i64,
        /// What was read.
        found: i64,
        /// What it says.
        last: i64,
    },
    /// An owner that it does not know of came before it.
    #[error(
        "below {next} an owner of epoch {found} follows, of which the group's checkpoint there says nothing, but epoch \
         {epoch}: the partition's tail was lost and written again (an unclean election?); begin with new topics, or stop \
         the group's processes and delete its offset of this partition to judge what was lost again"
    )]
    Rewritten {
        /// The checkpoint's next offset.
        next: i64,
        /// The epoch read.
        found: i64,
        /// The one it says.
        epoch: i64,
    },
    /// Records behind it are deleted, and with them, perhaps, a newer owner's than the one whose verdicts remain.
    #[error(
        "the group's checkpoint lies at {next}, verdicts below {start} are deleted, and those that remain are of epoch \
         {epoch}, whose owner a newer one may have followed: the group was away for longer than verdicts are kept; stop \
         its processes and delete its offset of this partition to go on behind input offset {found}, where they end, though \
         some before it may never have counted"
    )]
    Torn {
        /// The checkpoint's next offset.
        next: i64,
        /// The partition's first offset.
        start: i64,
        /// Whose verdicts remain.
        epoch: i64,
        /// The last input offset that they judge.
        found: i64,
    },
}

impl Settling {
    /// Begins at the verdict partition's first offset; `log` is this transaction topic's short id.
    pub fn new(start: i64, log: String) -> Self {
        let reader = Reader::new(start, None, start);
        // From its very first record on, the chain begins behind -1.
        let reader = if start == 0 { reader.after(Some(-1)) } else { reader };
        Self::reading(reader, Decisions::default(), -1, log)
    }

    /// Goes on from a checkpoint, with the decisions of offsets up to its h (a snapshot's), in a log that begins at
    /// `log_start`. Where retention has taken records behind the checkpoint, reading begins at the log's start.
    pub fn resume(from: Told, decisions: Decisions, log_start: i64, log: String) -> Self {
        let Told { checkpoint, edition } = from;
        let mut settling = Self::reading(continuing(checkpoint, log_start), decisions, checkpoint.last, log);
        settling.serves(checkpoint.epoch, edition);
        settling
    }

    fn reading(reader: Reader, decisions: Decisions, least: i64, log: String) -> Self {
        let (exact, start) = (reader.last().is_some(), reader.next());
        Self {
            reader,
            log,
            decisions,
            skipped: BTreeSet::new(),
            witness: None,
            least,
            exact,
            ahead: None,
            start,
            torn: None,
            counted: None,
            doubt: None,
            owners: [Lineage::default(); 2],
            partitions: None,
            foreign: None,
            ignored: 0,
            first_gap: None,
        }
    }

    /// Settles on no less than the group's checkpoint says, in a verdict partition that now ends at `end`. Call it
    /// before the first record.
    pub fn knowing(mut self, told: Result<Option<Told>, Elsewhere>, end: i64) -> Self {
        let told = match told {
            Ok(Some(told)) => told,
            Ok(None) => return self,
            Err(elsewhere) => {
                self.doubt = Some(elsewhere.into());
                return self;
            }
        };
        let (Checkpoint { next, epoch, .. }, at) = (told.checkpoint, self.reader.next());
        if next > end {
            self.doubt = Some(Doubt::Beyond { next, end });
        } else if next > at {
            if epoch < at && !self.exact {
                // Its owner's record is deleted: whoever wrote before that one is a zombie from here on.
                self.reader = Reader::new(at, self.reader.epoch().max(Some(epoch)), at);
            }
            self.ahead = Some(told);
        } else {
            self.torn = (next < at && !self.exact).then_some(next);
            self.pass(told);
        }
        self
    }

    fn serves(&mut self, epoch: i64, edition: Option<Edition>) {
        self.owners[0].serves(epoch, edition);
    }

    fn pass_below(&mut self, offset: i64) {
        if let Some(told) = self.ahead.take_if(|told| told.checkpoint.next <= offset) {
            self.pass(told);
        }
    }

    /// The place of a checkpoint is reached, or lies behind: its e tells zombies from owners in either case.
    fn pass(&mut self, told: Told) {
        let Checkpoint { epoch, last, .. } = told.checkpoint;
        self.doubt = self.doubt.take().or_else(|| self.contradiction(told.checkpoint));
        self.serves(epoch, told.edition);
        if !self.exact {
            let (at, known) = (self.reader.next(), self.reader.epoch());
            let reader = Reader::new(at, known.max(Some(epoch)), at);
            self.exact = self.torn.is_none();
            self.reader = if self.exact { reader.after(Some(last)) } else { reader };
        }
        self.least = self.least.max(last);
    }

    /// What was read so far against the checkpoint: where it lies ahead, no owner comes between its epoch and its place,
    /// and what is known for certain to count reaches as far as it says.
    fn contradiction(&self, Checkpoint { next, epoch, last }: Checkpoint) -> Option<Doubt> {
        let reached = next >= self.reader.next();
        if let Some(found) = self.reader.epoch().filter(|found| reached && *found > epoch) {
            return Some(Doubt::Rewritten { next, found, epoch });
        }
        let is_certain = self.exact || self.counted.is_some_and(|counted| counted == epoch || counted >= self.start);
        let found = self.reader.last().filter(|found| is_certain && *found < last);
        found.map(|found| Doubt::Short { next, found, last })
    }

    /// Takes the record at `offset`. A fate of [`Fate::GoBack`] cannot come up: reading begins at the log's start.
    pub fn take(&mut self, offset: i64, value: &[u8]) -> Fate {
        self.pass_below(offset);
        let head = Head::parse(value);
        let record = Record::of(head.as_ref());
        let before = self.reader.last();
        let fate = self.reader.take(offset, record);
        match (fate, record, head) {
            (Fate::Ignored, ..) => self.ignored += 1,
            (Fate::Owner, _, Some(head)) => {
                self.owners[1] = self.owners[0];
                self.owners[0].owner(offset, Edition::of(&head));
                self.partitions = self.partitions.or(head.partitions);
            }
            (Fate::Accepted { gap }, Record::Verdict { epoch, source, previous }, Some(head)) => {
                self.serves(epoch, None);
                self.counted = Some(epoch);
                if gap && self.first_gap.is_none() {
                    self.first_gap = Some((before.unwrap_or(-1), previous));
                }
                if head.source.log != self.log {
                    self.foreign = Some(head.source.log.to_string());
                }
                if let Some((decision, maker)) = made(&head) {
                    self.decisions.remember(source, decision, &maker);
                }
                let digest = head.feature_digest.as_deref().and_then(Digest::parse);
                self.witness = digest.map(|digest| Witness { offset: source, digest }).or(self.witness);
                if head.invalid_reason() == Some(InvalidReason::InternalError) {
                    self.skipped.insert(source);
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

    /// The input offset of the verdict that counted last; -1 before the very first, `None` where that is not known.
    pub fn last(&self) -> Option<i64> {
        self.reader.last()
    }

    /// Ends the reading.
    pub fn finish(mut self) -> Settled {
        self.pass_below(self.reader.next());
        if let (Some(next), Some(epoch), Some(found)) = (self.torn, self.counted, self.reader.last())
            && epoch < self.start
        {
            self.doubt.get_or_insert(Doubt::Torn { next, start: self.start, epoch, found });
        }
        let Self {
            reader,
            decisions,
            skipped,
            witness,
            least,
            doubt,
            owners: [owners, before],
            partitions,
            foreign,
            ignored,
            first_gap,
            ..
        } = self;
        // -1 stands for "before the very first", not for an offset.
        let last = Some(reader.last().unwrap_or(-1).max(least)).filter(|last| *last >= 0);
        let untouched = last.is_none() && reader.last() == Some(-1);
        Settled {
            last,
            untouched,
            decisions,
            skipped,
            witness,
            doubt,
            owners,
            before,
            partitions,
            foreign,
            ignored,
            first_gap,
        }
    }
}

/// A reader that goes on from a checkpoint, or from the log's start where that lies behind it.
fn continuing(from: Checkpoint, log_start: i64) -> Reader {
    let start = from.next.max(log_start);
    let reader = Reader::new(start, Some(from.epoch), log_start);
    if start == from.next { reader.after(Some(from.last)) } else { reader }
}

/// The decision a verdict's head tells, where it tells one whole.
fn made(head: &Head<'_>) -> Option<(Decision, Arc<Maker>)> {
    let level = head.risk_level.as_deref().and_then(RiskLevel::from_wire)?;
    let recommendation = head.recommendation.as_deref().and_then(Recommendation::from_wire)?;
    let score = head.risk_score.filter(|score| *score <= 100)?;
    let model = head.model.as_ref()?;
    let maker = Maker {
        model: model.name.to_string(),
        model_version: model.version.to_string(),
        policy_version: head.policy_version.as_deref().unwrap_or_default().to_owned(),
    };
    Some((Decision { score, level, recommendation }, Arc::new(maker)))
}

#[cfg(test)]
mod tests;
