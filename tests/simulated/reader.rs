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
        Self { reader, begin, seen: Vec::new(), gaps: 0 }
    }

    /// Retention is longer than it takes a reader to learn e and to catch up.
    pub fn oldest_needed(&self) -> i64 {
        if self.reader.epoch().is_some() { self.reader.next() } else { 0 }
    }

    /// Whether it must be exact: e is known, or the first verdict it meets names a record that the log still has.
    pub fn is_certain(&self, log: &VerdictLog) -> bool {
        if self.reader.epoch().is_some() || log.start == 0 {
            return true;
        }
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
                    self.gaps += u64::from(gap);
                    let Record::Verdict { source, .. } = record else { panic!("only verdicts count") };
                    self.seen.push((at, source));
                }
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
