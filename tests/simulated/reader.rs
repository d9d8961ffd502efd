//! A follower of the verdict log by the reader's rule: from the start, from a stored position, or joining anywhere.

use sentra::{
    domain::verdict::Head,
    engine::rule::{Fate, Reader, Record},
};

use super::{Fault, Met, VerdictLog};

pub struct Follower {
    pub reader: Reader,
    /// It counts from this position on.
    pub begin: i64,
    /// (position, source offset) of every verdict that counted.
    pub seen: Vec<(i64, i64)>,
    pub gaps: u64,
    /// Exact from this position on; `None` before that is known.
    pub exact_from: Option<i64>,
}

impl Follower {
    pub fn from_start() -> Self {
        Self::new(Reader::new(0, None, 0).after(Some(-1)), 0)
    }

    pub fn stored(other: &Self) -> Self {
        let reader = Reader::new(other.reader.next(), other.reader.epoch(), 0).after(other.reader.last().or(Some(-1)));
        Self::new(reader, other.reader.next())
    }

    pub fn joining(at: i64, log_start: i64, fault: Fault) -> Self {
        let log_start = if fault == Fault::FirstEpochMet { i64::MAX } else { log_start };
        Self::new(Reader::new(at, None, log_start), at)
    }

    fn new(reader: Reader, begin: i64) -> Self {
        Self { reader, begin, seen: Vec::new(), gaps: 0, exact_from: Some(begin) }
    }

    /// Retention is longer than it takes a reader to learn e, where it can, and to catch up.
    pub fn oldest_needed(&self) -> i64 {
        if self.reader.epoch().is_some() || self.exact_from.is_none() { self.reader.next() } else { 0 }
    }

    /// Whether it is exact from its beginning on: e is known, or the first verdict it meets names a record that the log
    /// still has. If not, it is from the next owner record on.
    pub fn is_certain(&mut self, log: &VerdictLog) -> bool {
        let is_certain = self.reader.epoch().is_some() || log.start == 0 || self.meets_its_epoch(log);
        self.exact_from = self.exact_from.filter(|_| is_certain);
        is_certain
    }

    fn meets_its_epoch(&self, log: &VerdictLog) -> bool {
        let first = (self.begin..log.end()).find_map(|at| match record(log, at) {
            Record::Verdict { epoch, .. } => Some(epoch >= log.start),
            Record::Owner => Some(true),
            Record::Unknown => None,
        });
        first == Some(true)
    }

    /// Reads up to `most` records of what the log has.
    pub fn read(&mut self, log: &VerdictLog, most: i64, met: &mut Met) {
        let mut left = most;
        while self.reader.next() < log.end() && left > 0 {
            left -= 1;
            let at = self.reader.next();
            let record = record(log, at);
            match self.reader.take(at, record) {
                Fate::Accepted { gap } => {
                    // What an uncertain reader counted last, before it met an owner record, may be a zombie's.
                    let follows =
                        self.exact_from.is_some() && (!self.seen.is_empty() || self.exact_from == Some(self.begin));
                    self.gaps += u64::from(gap && follows);
                    let Record::Verdict { source, .. } = record else { panic!("only verdicts count") };
                    if self.exact_from.is_some() {
                        self.seen.push((at, source));
                    }
                }
                Fate::Owner if self.exact_from.is_none() => self.exact_from = Some(at),
                Fate::GoBack { .. } => met.went_back += 1,
                Fate::Ignored => met.zombie_verdicts += 1,
                Fate::Owner | Fate::Unknown | Fate::Before => {}
            }
        }
    }
}

fn record(log: &VerdictLog, at: i64) -> Record {
    Record::of(Head::parse(log.get(at)).as_ref())
}
