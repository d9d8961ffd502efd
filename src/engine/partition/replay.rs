//! Silent replay: records change the state as they did when they were judged, and nothing is emitted.

use super::{Judgement, Partition, Step, known};
use crate::domain::{
    features, flags::Flags, history::Prepared, time::EventTimeMs, transaction::Record, verdict::Digest,
};

impl Partition {
    /// Applies the record as [`Partition::step`] does, without judging it: recovery's silent replay.
    /// Returns the event time where the record is readable.
    pub fn replay(&mut self, record: &Record<'_>) -> Option<EventTimeMs> {
        self.next = record.offset + 1;
        let content = self.read(record).0.ok()?;
        let arrival = self.arrive(&content, record.timestamp_ms);
        let rules = &*self.rules;
        if self.phones.holds(&arrival.met.subject, record.offset) {
            return Some(EventTimeMs(arrival.event.t));
        }
        let found = known(&mut self.phones, &arrival, rules);
        let known = found.map(|found| &*self.phones.at(found));
        if arrival.judge(known, rules) == Judgement::Scored {
            arrival.enter(&mut self.phones, found, Prepared::default(), rules);
        }
        Some(EventTimeMs(arrival.event.t))
    }

    /// As [`Partition::replay`], with the digest of the features that the record is judged by: none where state is
    /// incomplete, or a snapshot's copy holds the record already.
    pub fn replay_digest(&mut self, record: &Record<'_>) -> (Option<EventTimeMs>, Option<Digest>) {
        let read = self.read(record);
        if read.0.as_ref().is_ok_and(|unjudged| self.phones.holds(&unjudged.met.subject, record.offset)) {
            return (self.replay(record), None);
        }
        match self.apply(record, read) {
            Step::Judged(judged) => {
                let complete = !judged.flags.has(Flags::WARMING);
                (Some(judged.event_time), complete.then(|| Digest(features::digest(judged.row()))))
            }
            Step::Invalid(_) => (None, None),
        }
    }
}
