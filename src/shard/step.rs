//! Stepping a batch: records are read ahead a few at a time, then each changes its partition's state in its turn, and
//! those of live partitions come out judged. A record that the program fails on takes its partition out of the batch,
//! and no other. Scores, verdicts and what becomes of a failed partition are not decided here.

use rdkafka::message::{Headers, Message};

use super::{
    Slots,
    poison::{guarded, spring},
    slot::{Slot, Stage},
};
use crate::{
    domain::{features::Row, invalid::Invalid, prefetch::prefetch, transaction::Record},
    engine::{
        partition::{Partition, Read, Step},
        settle::Witness,
    },
    kafka::fetch::Fetched,
    telemetry::{
        Telemetry,
        facts::{Fact, Recovered, ReplayDiffers},
    },
};

/// A record on its way through the turn.
pub struct Pending<'m> {
    /// The record.
    pub message: &'m Fetched<'m>,
    /// Where it is of. The client's memory is not asked again for what every record is asked.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What it turned out to be.
    pub step: Step<'m>,
    /// The place of its row among the batch's, where it has one.
    pub place: usize,
    /// Whether it has headers: asking the client twice costs as much as reading them.
    pub headed: bool,
    /// Its timestamp, milliseconds since 1970, where the log has one.
    pub timestamp_ms: Option<i64>,
}

impl Pending<'_> {
    /// Its features, where it is to be scored.
    pub fn row(&self) -> Option<&Row> {
        match &self.step {
            Step::Judged(judged) => Some(judged.row()),
            Step::Invalid(_) => None,
        }
    }
}

/// Applies the messages in order.
pub fn step<'m>(messages: &'m [Fetched<'m>], slots: &mut Slots, telemetry: &Telemetry) -> Vec<Pending<'m>> {
    let mut pending = Vec::with_capacity(messages.len());
    let mut ahead = Vec::with_capacity(AHEAD);
    let mut rows = 0;
    let mut coming = messages.chunks(AHEAD).skip(1);
    for messages in messages.chunks(AHEAD) {
        Ahead::fill(&mut ahead, messages, coming.next().unwrap_or_default(), slots);
        let mut at = 0;
        while at < ahead.len() {
            let stepped = guarded(|| {
                while let Some(one) = ahead.get_mut(at) {
                    let stepped = one.step(slots, rows, telemetry);
                    rows += usize::from(stepped.as_ref().is_some_and(|pending| pending.row().is_some()));
                    pending.extend(stepped);
                    at += 1;
                }
            });
            if let (Err(place), Some(Ahead { partition, record, .. })) = (stepped, ahead.get(at)) {
                if let Some(slot) = slots.get_mut(partition) {
                    slot.crashed(record.offset, place);
                }
                at += 1;
            }
        }
    }
    pending
}

/// Records read before the first of them is applied: enough to wait for memory together, few enough to stay in the
/// nearest cache.
const AHEAD: usize = 16;

/// A record read ahead of its turn.
struct Ahead<'m> {
    message: &'m Fetched<'m>,
    partition: i32,
    record: Record<'m>,
    headed: bool,
    /// `None` where its partition is not live: it may be for the replay, or for nobody.
    read: Option<Read<'m>>,
}

impl<'m> Ahead<'m> {
    /// Takes the next messages, those of live partitions read; what is `coming` after them is fetched meanwhile.
    fn fill(ahead: &mut Vec<Self>, messages: &'m [Fetched<'m>], coming: &[Fetched<'_>], slots: &mut Slots) {
        ahead.clear();
        let read = guarded(|| {
            ahead.extend(messages.iter().enumerate().filter_map(|(at, message)| {
                prefetch(coming.get(at).and_then(Fetched::payload).unwrap_or_default());
                Self::unread(message).read(slots)
            }));
            ahead.iter_mut().for_each(|ahead| ahead.look_for(slots));
            ahead.iter().for_each(|ahead| ahead.fetch(slots));
        });
        if read.is_err() {
            // Reading ahead is for speed alone, and changes nothing but habits, which never show: each is read in its turn, and
            // the one at fault shows itself then.
            ahead.clear();
            ahead.extend(messages.iter().map(Self::unread));
        }
    }

    fn unread(message: &'m Fetched<'m>) -> Self {
        let (record, headed) = record(message);
        Self { message, partition: message.partition(), record, headed, read: None }
    }

    /// `None` where a rebalance inside poll has taken the partition: then the next owner judges the message.
    fn read(mut self, slots: &mut Slots) -> Option<Self> {
        let slot = slots.get_mut(&self.partition)?;
        let given_up = slot.given_up.contains(&self.record.offset);
        let live = !given_up && matches!(slot.stage, Stage::Live);
        self.read = slot.engine.as_mut().filter(|_| live).map(|engine| engine.read(&self.record));
        Some(self)
    }

    /// Applies the record; what it turned out to be, where a verdict is to be written.
    fn step(&mut self, slots: &mut Slots, place: usize, telemetry: &Telemetry) -> Option<Pending<'m>> {
        let Self { message, partition, record, headed, read } = self;
        let step = slots.get_mut(partition)?.take(record, read.take(), telemetry)?;
        let (partition, Record { offset, timestamp_ms, .. }) = (*partition, *record);
        Some(Pending { message, partition, offset, step, place, headed: *headed, timestamp_ms })
    }

    fn look_for(&mut self, slots: &Slots) {
        let engine = slots.get(&self.partition).and_then(Slot::live_engine);
        if let Some((engine, read)) = engine.zip(self.read.as_mut()) {
            engine.look_for(read);
        }
    }

    fn fetch(&self, slots: &Slots) {
        let engine = slots.get(&self.partition).and_then(Slot::live_engine);
        if let Some((engine, read)) = engine.zip(self.read.as_ref()) {
            engine.fetch(read);
        }
    }
}

impl Slot {
    /// Applies a record: silently up to h, judging above it. `None` where no verdict is to be written.
    fn take<'m>(&mut self, record: &Record<'m>, read: Option<Read<'m>>, telemetry: &Telemetry) -> Option<Step<'m>> {
        let engine = self.engine.as_mut()?;
        if self.astray.is_some() || record.offset < engine.next() {
            return None;
        }
        let given_up = self.given_up.contains(&record.offset);
        match &mut self.stage {
            Stage::Live if given_up => {
                engine.skip(record.offset);
                Some(Step::Invalid(Box::new(Invalid::internal())))
            }
            Stage::Live => {
                let read = read.unwrap_or_else(|| engine.read(record));
                let step = engine.apply(record, read);
                spring(self.partition, record.offset);
                Some(step)
            }
            Stage::Replaying { last, replayed } if record.offset <= *last => {
                if given_up {
                    engine.skip(record.offset);
                } else {
                    let event_time = match self.witness.filter(|witness| witness.offset == record.offset) {
                        Some(Witness { offset, digest }) => {
                            let (event_time, found) = engine.replay_digest(record);
                            if found.is_some_and(|found| found != digest) {
                                ReplayDiffers { partition: self.partition, offset }.emit(telemetry);
                            }
                            event_time
                        }
                        None => engine.replay(record),
                    };
                    if let Some(t) = event_time {
                        self.decisions.note_time(record.offset, t.0);
                    }
                    spring(self.partition, record.offset);
                }
                *replayed += 1;
                self.live_from(record.offset + 1, telemetry);
                None
            }
            Stage::Replaying { .. } => {
                // Offsets may have holes (control records): h itself need not come up.
                self.go_live(telemetry);
                self.take(record, None, telemetry)
            }
            _ => None,
        }
    }

    /// The state, while verdicts go out.
    fn live_engine(&self) -> Option<&Partition> {
        self.engine.as_ref().filter(|_| matches!(self.stage, Stage::Live))
    }

    /// Goes live where the next record lies above h.
    pub fn live_from(&mut self, next: i64, telemetry: &Telemetry) {
        if matches!(self.stage, Stage::Replaying { last, .. } if next > last) {
            self.go_live(telemetry);
        }
    }

    fn go_live(&mut self, telemetry: &Telemetry) {
        if let Stage::Replaying { replayed, .. } = self.stage {
            self.stage = Stage::Live;
            if let Some(engine) = &mut self.engine {
                engine.phones_mut().caught_up();
            }
            Recovered { partition: self.partition, replayed, took: self.since.elapsed() }.emit(telemetry);
        }
    }
}

/// A broker's message as the engine takes it, and whether it has headers.
pub(crate) fn record<M: Message>(message: &M) -> (Record<'_>, bool) {
    let headers = message.headers();
    let institution = headers.and_then(|headers| {
        headers.iter().filter(|header| header.key == "institution").last().and_then(|header| header.value)
    });
    let record = Record {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().filter(|at| *at >= 0),
        key: message.key(),
        value: message.payload(),
        institution,
    };
    (record, headers.is_some())
}
