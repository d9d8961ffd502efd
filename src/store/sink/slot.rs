//! One verdict partition as the sink reads it: the reader's rule, and what becomes of each record.
//!
//! Invariant: a record is judged once, in offset order; [`Slot::progress`] is exactly what was judged. Pure: it reads
//! no topic and writes no row.

use crate::{
    domain::verdict::{Head, Kind},
    engine::rule::{Fate, Reader, Record},
    kafka::tail::Span,
    store::verdict::StoredVerdict,
    telemetry::sink::Skipped,
};

/// Where the sink stands in a partition: a row of `sentra.sink_progress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The log of the verdicts, once one named it.
    pub log: Option<String>,
    /// The next offset to read.
    pub next: i64,
    /// e of the reader's rule, once known.
    pub epoch: Option<i64>,
    /// The source offset that counted last; -1 before the very first.
    pub last: Option<i64>,
}

impl Progress {
    /// The beginning of a log.
    pub fn beginning(start: i64) -> Self {
        Self { log: None, next: start, epoch: None, last: (start == 0).then_some(-1) }
    }
}

/// What a partition is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Where it stands must be asked of the database.
    Waiting,
    /// Being read.
    Running,
    /// Nothing is stored of it until someone acts.
    Refused(String),
}

/// What becomes of a record.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every record is a row: a box of its own would cost more than the room"
)]
pub enum Taken<'a> {
    /// Nothing, but that the position moved.
    Pass,
    /// Nothing at all: it was judged before, or the partition is not being read.
    Stale,
    /// A row.
    Store {
        /// The verdict.
        verdict: StoredVerdict<'a>,
        /// Whether the columns give its value back.
        whole: bool,
        /// The last source offset that counted, where the verdict names another.
        gap: Option<i64>,
    },
    /// It counts, and cannot be stored.
    Skip(Skipped),
    /// Read on from this offset.
    GoBack(i64),
    /// It is of another log than the rows so far.
    OtherLog(String),
}

/// One partition.
#[derive(Debug)]
pub struct Slot {
    /// What it is doing.
    pub stage: Stage,
    /// The topic's end as last told.
    pub end: i64,
    /// The offset of a row that PostgreSQL refuses for itself.
    pub unstorable: Option<i64>,
    reader: Reader,
    log: Option<String>,
    /// Why it is refused for as long as its rows end there.
    objection: Option<(Progress, String)>,
    /// The verdict for whose e the reader went back, until it is reached again.
    back_to: Option<i64>,
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Slot {
    /// A partition just assigned.
    pub fn new() -> Self {
        let reader = Reader::new(0, None, 0);
        Self { stage: Stage::Waiting, end: 0, unstorable: None, reader, log: None, objection: None, back_to: None }
    }

    /// Goes on from where the rows end, if the log still reaches from there.
    pub fn begin(&mut self, at: &Progress, span: Span) {
        self.end = span.end;
        self.reader = Reader::new(at.next, at.epoch, span.start).after(at.last);
        self.log.clone_from(&at.log);
        self.back_to = None;
        self.stage = match at.next {
            next if next < span.start => Stage::Refused(format!(
                "verdicts {next} to {} were deleted before they were stored: raise the verdict topic's retention; to go on \
                 without them set next_offset = {}, epoch = NULL, last_source = NULL in sentra.sink_progress",
                span.start - 1,
                span.start
            )),
            next if next > span.end => Stage::Refused(format!(
                "the log ends at {}, but rows are stored up to {next}: the topic was cut; see sentra.sink_progress",
                span.end
            )),
            _ => match &self.objection {
                Some((place, why)) if place == at => Stage::Refused(why.clone()),
                _ => Stage::Running,
            },
        };
    }

    /// Another log follows in the same topic: no more is stored for as long as the rows end at `at`.
    pub fn object(&mut self, at: Progress, found: &str) {
        let known = self.log.as_deref().unwrap_or("none");
        let why = format!(
            "verdicts of log {found} follow, but the rows are of log {known}: the transaction topic was created anew and the \
             verdict topic was not; give them a new verdict topic"
        );
        self.refuse(at, why);
    }

    /// No more is stored for as long as the rows end at `at`, from the next look at the database on.
    pub fn refuse(&mut self, at: Progress, why: String) {
        self.objection = Some((at, why));
    }

    /// What was judged.
    pub fn progress(&self) -> Progress {
        let (log, last) = (self.log.clone(), self.reader.last());
        match self.back_to {
            Some(verdict) => Progress { log, next: verdict, epoch: None, last },
            None => Progress { log, next: self.reader.next(), epoch: self.reader.epoch(), last },
        }
    }

    /// How many records are between what was judged and the end.
    pub fn lag(&self) -> i64 {
        self.end - self.reader.next()
    }

    /// Judges the record at `offset` of `partition`.
    pub fn take<'a>(&mut self, partition: i32, offset: i64, value: &'a [u8]) -> Taken<'a> {
        if self.stage != Stage::Running || offset < self.reader.next() {
            return Taken::Stale;
        }
        let parsed = StoredVerdict::parse(value).filter(|(verdict, _)| verdict.kind.0 != Kind::Owner.as_str());
        let mut lost = false;
        let record = match &parsed {
            Some((verdict, _)) => {
                let source = &verdict.source;
                Record::Verdict { epoch: source.epoch, source: source.offset, previous: source.previous_offset }
            }
            None => {
                let head = Head::parse(value);
                lost = head.as_ref().is_some_and(|head| head.kind == Kind::Lost.as_str());
                Record::of(head.as_ref())
            }
        };
        let before = self.reader.last();
        let fate = self.reader.take(offset, record);
        if self.back_to.is_some_and(|verdict| offset >= verdict) {
            self.back_to = None;
        }
        match (fate, parsed) {
            (Fate::GoBack { to }, _) => {
                self.back_to = Some(offset);
                Taken::GoBack(to)
            }
            (Fate::Accepted { .. }, _) if self.unstorable == Some(offset) => Taken::Skip(Skipped::Refused),
            // A key of another partition's would stand in that one's way.
            (Fate::Accepted { gap }, Some((verdict, whole))) if verdict.source.partition == partition => {
                let log = &verdict.source.log.0;
                if self.log.as_ref().is_some_and(|known| known != log) {
                    return Taken::OtherLog(log.clone().into_owned());
                }
                self.log.get_or_insert_with(|| log.clone().into_owned());
                Taken::Store { verdict, whole, gap: before.filter(|_| gap) }
            }
            // No transaction, and so no row; the chain goes on from it.
            (Fate::Accepted { .. }, _) if lost => Taken::Pass,
            (Fate::Accepted { .. }, _) => Taken::Skip(Skipped::Unreadable),
            _ => Taken::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { start: 0, end: 100 };

    fn verdict(log: &str, partition: i32, source: i64, epoch: i64) -> Vec<u8> {
        format!(
            r#"{{"transaction_id":null,"risk_score":null,"risk_level":null,"signals":null,"recommendation":"REVIEW","processing_time_ms":2,"verdict_id":"{log}-{partition}-{source}","kind":"invalid","reasons":[],"phone_number":null,"institution_id":null,"amount":null,"currency":null,"event_time":null,"decided_at":"2026-03-01T08:15:00.004213Z","model":null,"policy_version":"default-1","flags":[],"source":{{"log":"{log}","partition":{partition},"offset":{source},"previous_offset":{},"epoch":{epoch}}},"feature_digest":null,"schema_version":1}}"#,
            source - 1
        )
        .into_bytes()
    }

    const OWNER: &[u8] = br#"{"kind":"owner","source":{"log":"7f3a9c01","partition":3},"group":"g","instance":"i","version":"1","decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;

    fn running(at: &Progress) -> Slot {
        let mut slot = Slot::new();
        slot.begin(at, SPAN);
        assert_eq!(slot.stage, Stage::Running);
        slot
    }

    #[test]
    fn verdicts_that_count_are_stored_and_a_zombies_are_not() {
        let mut slot = running(&Progress::beginning(0));
        assert_eq!(slot.take(3, 0, OWNER), Taken::Pass);
        let first = verdict("7f3a9c01", 3, 0, 0);
        assert!(matches!(slot.take(3, 1, &first), Taken::Store { whole: true, gap: None, .. }));
        assert_eq!(slot.take(3, 1, &first), Taken::Stale, "twice is once");
        assert_eq!(slot.take(3, 2, OWNER), Taken::Pass);
        let zombie = verdict("7f3a9c01", 3, 1, 0);
        assert_eq!(slot.take(3, 3, &zombie), Taken::Pass);
        let second = verdict("7f3a9c01", 3, 1, 2);
        assert!(matches!(slot.take(3, 4, &second), Taken::Store { gap: None, .. }));
        let wanted = Progress { log: Some(String::from("7f3a9c01")), next: 5, epoch: Some(2), last: Some(1) };
        assert_eq!(slot.progress(), wanted);
        let far = verdict("7f3a9c01", 3, 9, 2);
        assert!(matches!(slot.take(3, 5, &far), Taken::Store { gap: Some(1), .. }), "a gap is told and stored");
        let lost = br#"{"kind":"lost","source":{"log":"7f3a9c01","partition":3,"offset":19,"previous_offset":9,"epoch":2},"decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;
        assert_eq!(slot.take(3, 6, lost), Taken::Pass, "lost input is no row");
        let behind = verdict("7f3a9c01", 3, 20, 2);
        assert!(matches!(slot.take(3, 7, &behind), Taken::Store { gap: None, .. }), "and a link of the chain");
    }

    #[test]
    fn what_cannot_be_a_row_is_skipped_and_blocks_nothing() {
        let mut slot = running(&Progress::beginning(0));
        assert_eq!(slot.take(3, 0, OWNER), Taken::Pass);
        assert_eq!(slot.take(3, 1, b"\xff not JSON"), Taken::Pass, "no verdict at all");
        let cut =
            br#"{"kind":"scored","source":{"log":"7f3a9c01","partition":3,"offset":0,"previous_offset":-1,"epoch":0}}"#;
        assert_eq!(slot.take(3, 2, cut), Taken::Skip(Skipped::Unreadable), "it counts, and lacks what a row needs");
        assert_eq!(slot.take(3, 3, &verdict("7f3a9c01", 4, 1, 0)), Taken::Skip(Skipped::Unreadable), "another's key");
        slot.unstorable = Some(4);
        assert_eq!(slot.take(3, 4, &verdict("7f3a9c01", 3, 2, 0)), Taken::Skip(Skipped::Refused));
        assert!(matches!(slot.take(3, 5, &verdict("7f3a9c01", 3, 3, 0)), Taken::Store { .. }));
        assert_eq!(slot.take(3, 6, &verdict("00000001", 3, 4, 0)), Taken::OtherLog(String::from("00000001")));
    }

    #[test]
    fn another_log_in_the_same_topic_is_refused_for_as_long_as_the_rows_end_there() {
        let at = Progress { log: Some(String::from("7f3a9c01")), next: 5, epoch: Some(2), last: Some(1) };
        let mut slot = running(&at);
        assert_eq!(slot.take(3, 5, &verdict("00000001", 3, 2, 2)), Taken::OtherLog(String::from("00000001")));
        slot.object(at.clone(), "00000001");
        slot.begin(&at, SPAN);
        assert!(matches!(&slot.stage, Stage::Refused(why) if why.contains("00000001") && why.contains("7f3a9c01")));
        slot.begin(&Progress { next: 7, ..at }, SPAN);
        assert_eq!(slot.stage, Stage::Running, "someone set it right");
    }

    #[test]
    fn without_e_the_reader_goes_back_and_its_place_is_the_verdict_meanwhile() {
        let mut slot = running(&Progress { log: None, next: 50, epoch: None, last: None });
        let late = verdict("7f3a9c01", 3, 40, 20);
        assert_eq!(slot.take(3, 50, &late), Taken::GoBack(20));
        assert_eq!((slot.progress().next, slot.progress().epoch), (50, None));
        assert_eq!(slot.take(3, 20, OWNER), Taken::Pass);
        assert_eq!(slot.take(3, 30, OWNER), Taken::Pass, "a newer owner: what follows of the old one is a zombie's");
        assert_eq!(slot.take(3, 50, &late), Taken::Pass);
        assert_eq!((slot.progress().next, slot.progress().epoch), (51, Some(30)));
    }

    #[test]
    fn a_log_that_no_longer_reaches_is_refused_with_the_way_out() {
        for (next, span, words) in
            [(3, Span { start: 5, end: 9 }, "next_offset = 5"), (10, Span { start: 5, end: 9 }, "the topic was cut")]
        {
            let mut slot = Slot::new();
            slot.begin(&Progress::beginning(next), span);
            assert!(matches!(&slot.stage, Stage::Refused(why) if why.contains(words)), "{:?}", slot.stage);
            assert_eq!(slot.take(3, next, OWNER), Taken::Stale);
        }
    }
}
