//! One turn: poll a batch, step each record, score the rows together, write and produce the verdicts.

use std::time::{Duration, Instant};

use rdkafka::{
    consumer::BaseConsumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers, Message},
};

use super::{
    Shard, ShardError, Shared, Slots,
    context::InputContext,
    deliver::Verdicts,
    ownership::wall_time,
    slot::{Held, Slot, Stage},
};
use crate::{
    domain::{features::Row, partitioner::partition_of, time::WallTimeUs, transaction::Record, verdict::Source},
    engine::{
        emit::{Emitted, Emitter, Stamp},
        partition::{Partition, Read, Step},
    },
    telemetry::{
        Stage as Timed, Tally, Telemetry,
        facts::{BrokerLost, Fact, Recovered},
    },
};

/// How long a turn waits for its first record: acknowledgements are served at least so often.
const WAIT: Duration = Duration::from_millis(5);

/// Trace headers passed through, and their limit together.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];
const MOST_TRACE_BYTES: usize = 512;

/// A record on its way through the turn.
struct Pending<'m> {
    message: &'m BorrowedMessage<'m>,
    step: Step<'m>,
    /// Its row in the batch, where it has one.
    row: usize,
    /// Whether it has headers: asking the client twice costs as much as reading them.
    headed: bool,
}

/// Polls until there is nothing more, or an error, or `most` records.
fn poll(consumer: &BaseConsumer<InputContext>, most: usize) -> (Vec<BorrowedMessage<'_>>, Option<KafkaError>) {
    let mut messages = Vec::with_capacity(most);
    let mut wait = WAIT;
    while messages.len() < most {
        match consumer.poll(wait) {
            Some(Ok(message)) => messages.push(message),
            Some(Err(error)) => return (messages, Some(error)),
            None => break,
        }
        wait = Duration::ZERO;
    }
    (messages, None)
}

/// Applies the messages in order; the rows of those to be scored go to `rows`.
fn step<'m>(
    messages: &'m [BorrowedMessage<'m>],
    slots: &mut Slots,
    rows: &mut Vec<Row>,
    telemetry: &Telemetry,
) -> Vec<Pending<'m>> {
    let mut pending = Vec::with_capacity(messages.len());
    let mut ahead = Vec::with_capacity(AHEAD);
    rows.clear();
    for messages in messages.chunks(AHEAD) {
        ahead.extend(messages.iter().filter_map(|message| Ahead::read(message, slots)));
        ahead.iter_mut().for_each(|ahead| ahead.look_for(slots));
        ahead.iter().for_each(|ahead| ahead.fetch(slots));
        for Ahead { message, record, headed, read } in ahead.drain(..) {
            let Some(slot) = slots.get_mut(&message.partition()) else { continue };
            if let Some(step) = slot.take(&record, read, telemetry) {
                let row = rows.len();
                if let Step::Judged(judged) = &step {
                    rows.push(judged.row);
                }
                pending.push(Pending { message, step, row, headed });
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
    message: &'m BorrowedMessage<'m>,
    record: Record<'m>,
    headed: bool,
    /// `None` where its partition is not live: it may be for the replay, or for nobody.
    read: Option<Read<'m>>,
}

impl<'m> Ahead<'m> {
    /// Reads a message. A rebalance inside poll may have taken the partition: then the next owner judges it.
    fn read(message: &'m BorrowedMessage<'m>, slots: &Slots) -> Option<Self> {
        let slot = slots.get(&message.partition())?;
        let (record, headed) = record(message);
        let read = slot.live_engine().map(|engine| engine.read(&record));
        Some(Self { message, record, headed, read })
    }

    fn look_for(&mut self, slots: &Slots) {
        let engine = slots.get(&self.message.partition()).and_then(Slot::live_engine);
        if let Some((engine, read)) = engine.zip(self.read.as_mut()) {
            engine.look_for(read);
        }
    }

    fn fetch(&self, slots: &Slots) {
        let engine = slots.get(&self.message.partition()).and_then(Slot::live_engine);
        if let Some((engine, read)) = engine.zip(self.read.as_ref()) {
            engine.fetch(read);
        }
    }
}

impl Shard {
    /// One turn.
    pub(super) fn turn(&mut self) -> Result<(), ShardError> {
        self.take_answers();
        self.pursue_claims();
        self.poll_and_judge()?;
        self.take_notices();
        self.take_acknowledgements();
        self.release_held();
        self.pursue_leaving();
        self.throttle();
        self.pursue_snapshot();
        self.keep_house()
    }

    fn poll_and_judge(&mut self) -> Result<(), ShardError> {
        let Self {
            input,
            slots,
            shared,
            scratch,
            scorer,
            emitter,
            verdicts,
            letters,
            short_log,
            number,
            tally,
            snapshots,
            ..
        } = self;
        let (messages, failed) = poll(&input.consumer, shared.config.score.batch);
        let began = Instant::now();
        let pending = step(&messages, slots, &mut scratch.rows, &shared.telemetry);
        if !pending.is_empty() {
            let stepped = Instant::now();
            scorer.raw_batch(&scratch.rows, &mut scratch.raw);
            let scored = Instant::now();
            let mut writer = Writer {
                emitter,
                verdicts,
                short_log,
                // One moment for the batch: its scores came about together, and a clock is asked once, not per record.
                decided_at: wall_time(),
                processing_time_ms: whole_ms(scored - began),
                tally,
                buffer: &mut scratch.verdict,
            };
            for one in &pending {
                let Some(slot) = slots.get_mut(&one.message.partition()) else { continue };
                let letter = match &one.step {
                    Step::Invalid(invalid) => Some(letters.write(one.message, invalid)?),
                    Step::Judged(_) => None,
                };
                let raw = scratch.raw.get(one.row).copied().unwrap_or(f64::NAN);
                writer.write(slot, one, raw, letter, shared);
            }
            let metrics = &shared.telemetry.metrics;
            writer.tally.flush();
            metrics.stage(Timed::Step, stepped - began);
            metrics.stage(Timed::Score, scored - stepped);
            metrics.stage(Timed::Deliver, scored.elapsed());
            metrics.stage(Timed::Turn, began.elapsed());
        }
        shared.telemetry.health.progress(*number, Instant::now());
        drop(pending);
        if let Some(snapshots) = snapshots {
            snapshots.begin(&messages, slots, shared);
        }
        drop(messages);
        failed.map_or(Ok(()), |error| self.poll_failed(error))
    }

    /// An error in place of a record.
    fn poll_failed(&mut self, error: KafkaError) -> Result<(), ShardError> {
        let code = error.rdkafka_error_code();
        match (&error, code) {
            (KafkaError::MessageConsumptionFatal(_), _) => Err(self.ended(&error)),
            (_, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => {
                // Retention overtook a partition that was about to be read: its plan is made anew.
                tracing::warn!(%error, "a place in the input is gone; recovering its partitions anew");
                let stuck: Vec<i32> = self
                    .slots
                    .values()
                    .filter(|slot| matches!(slot.stage, Stage::Replaying { .. } | Stage::Live))
                    .map(|slot| slot.partition)
                    .collect();
                stuck.into_iter().for_each(|partition| self.claim_anew(partition, Duration::from_secs(1)));
                Ok(())
            }
            (
                _,
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::AllBrokersDown,
                ),
            ) => {
                let why = crate::kafka::client::describe(&error);
                BrokerLost { shard: self.number, why: &why }.emit(&self.shared.telemetry);
                Ok(())
            }
            _ => {
                tracing::debug!(%error, "the consumer met an error that it retries");
                Ok(())
            }
        }
    }
}

impl Slot {
    /// Applies a record: silently up to h, judging above it. `None` where no verdict is to be written.
    fn take<'m>(&mut self, record: &Record<'m>, read: Option<Read<'m>>, telemetry: &Telemetry) -> Option<Step<'m>> {
        let engine = self.engine.as_mut()?;
        if record.offset < engine.next() {
            return None;
        }
        match &mut self.stage {
            Stage::Live => {
                let read = read.unwrap_or_else(|| engine.read(record));
                Some(engine.apply(read))
            }
            Stage::Replaying { last, replayed } if record.offset <= *last => {
                if let Some(t) = engine.replay(record) {
                    self.decisions.note_time(record.offset, t.0);
                }
                *replayed += 1;
                self.live_from(record.offset + 1, telemetry);
                None
            }
            Stage::Replaying { .. } => {
                // Offsets may have holes (control records): h itself need not come up.
                self.go_live(telemetry);
                self.engine.as_mut().map(|engine| engine.step(record))
            }
            _ => None,
        }
    }

    /// The state, while verdicts go out.
    fn live_engine(&self) -> Option<&Partition> {
        self.engine.as_ref().filter(|_| matches!(self.stage, Stage::Live))
    }

    /// Goes live where the next record lies above h.
    pub(super) fn live_from(&mut self, next: i64, telemetry: &Telemetry) {
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

/// Writes the verdicts of one batch.
struct Writer<'w> {
    emitter: &'w Emitter,
    verdicts: &'w Verdicts,
    short_log: &'w str,
    decided_at: WallTimeUs,
    processing_time_ms: u64,
    tally: &'w mut Tally,
    buffer: &'w mut Vec<u8>,
}

impl Writer<'_> {
    fn write(&mut self, slot: &mut Slot, one: &Pending<'_>, raw: f64, letter: Option<u64>, shared: &Shared) {
        let Some(epoch) = slot.epoch() else { return };
        let (partition, offset) = (slot.partition, one.message.offset());
        let source = Source { log: self.short_log, partition, offset, previous_offset: slot.previous, epoch };
        let stamp = Stamp { source, decided_at: self.decided_at, processing_time_ms: self.processing_time_ms };
        let (emitted, key) = match &one.step {
            Step::Judged(judged) => {
                let emitted = self.emitter.judged(judged, raw, &stamp, &mut slot.decisions, self.buffer);
                if emitted.flags.has(crate::domain::flags::Flags::MISROUTED) {
                    shared.telemetry.metrics.misrouted(judged.transaction.institution_id.as_deref());
                }
                (emitted, Some(judged.key))
            }
            Step::Invalid(invalid) => {
                self.tally.invalid(invalid.reason);
                let misrouted = invalid
                    .read
                    .phone
                    .is_some_and(|phone| partition_of(phone.key().as_bytes(), shared.partitions) != partition);
                (self.emitter.invalid(invalid, misrouted, &stamp, self.buffer), None)
            }
        };
        let own_key = one.message.key().filter(|key| (1..=256).contains(&key.len()));
        let key = key.as_ref().map_or(own_key, |key| Some(key.as_bytes()));
        self.count(&emitted, one.message);
        slot.previous = offset;
        slot.produce(
            self.verdicts,
            offset,
            key,
            self.buffer,
            if one.headed { trace(one.message) } else { Vec::new() },
            letter,
        );
    }

    fn count(&mut self, emitted: &Emitted, message: &BorrowedMessage<'_>) {
        self.tally.verdict(emitted.kind, emitted.flags);
        if let Some(at) = message.timestamp().to_millis() {
            self.tally.latency_ms(self.decided_at.0 / 1_000 - at);
        }
    }
}

impl Slot {
    /// Hands a verdict to the producer, behind those that wait already.
    pub(super) fn produce(
        &mut self,
        verdicts: &Verdicts,
        source: i64,
        key: Option<&[u8]>,
        value: &[u8],
        trace: Vec<(String, Vec<u8>)>,
        letter: Option<u64>,
    ) {
        let free = letter.is_none() && self.held.is_empty();
        if free && verdicts.send(self.partition, self.generation, key, value, &trace).is_ok() {
            self.inflight.push_back(source);
            return;
        }
        self.held.push_back(Held { source, key: key.map(<[u8]>::to_vec), value: value.to_vec(), trace, letter });
    }
}

/// Milliseconds begun, at least one.
fn whole_ms(took: Duration) -> u64 {
    (took.as_micros() as u64).div_ceil(1_000).max(1)
}

/// A broker's message as the engine takes it, and whether it has headers.
fn record<'m>(message: &'m BorrowedMessage<'m>) -> (Record<'m>, bool) {
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

/// The trace headers to pass through.
fn trace(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let traced = headers.iter().filter(|header| TRACE_HEADERS.contains(&header.key));
    let traced: Vec<(String, Vec<u8>)> =
        traced.filter_map(|header| Some((header.key.to_owned(), header.value?.to_vec()))).collect();
    let bytes: usize = traced.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes <= MOST_TRACE_BYTES { traced } else { Vec::new() }
}
