//! One turn: poll a batch, step each record, score the rows together, write and produce the verdicts.

use std::time::{Duration, Instant};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Headers, Message},
};

use super::{
    Shard, ShardError, Shared, Slots,
    assignment::Input,
    deliver::{SendError, Verdicts},
    letters::DeadLetters,
    ownership::wall_time,
    poison::guarded,
    run::Run,
    slot::{Held, Slot},
    step::{Pending, step},
};
use crate::{
    domain::{
        features::Row,
        flags::Flags,
        invalid::Invalid,
        partitioner::partition_of,
        time::{TimeText, WallTimeUs},
        verdict::Source,
    },
    engine::{
        emit::{Emitted, Emitter, Stamp},
        partition::Step,
    },
    kafka::fetch::Fetched,
    model::evaluate::{Score, Scores},
    telemetry::{
        Stage as Timed, Tally,
        facts::{BrokerLost, Fact},
    },
};

/// How long a turn waits for its first record: acknowledgements are served at least so often.
const WAIT: Duration = Duration::from_millis(5);

/// How long a partition whose reading failed stands before it is read again.
const PLACE_AFTER: Duration = Duration::from_millis(200);

/// Trace headers passed through, and their limit together.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];
const MOST_TRACE_BYTES: usize = 512;

/// What a poll brought.
struct Polled<'q> {
    messages: Vec<Fetched<'q>>,
    failed: Vec<KafkaError>,
    /// Partitions of which it is not known what comes next.
    astray: Vec<i32>,
}

/// Serves the group's events, and takes up to `most` records.
fn poll(input: &Input, most: usize) -> Polled<'_> {
    let mut messages = Vec::with_capacity(most);
    let event = input.consumer.poll(Duration::ZERO);
    let taken = input.fetched.as_ref().map(|fetched| fetched.take(WAIT, most, &mut messages)).unwrap_or_default();
    let (mut astray, mut failed): (Vec<i32>, Vec<KafkaError>) = taken.into_iter().unzip();
    match event {
        None => {}
        Some(Err(error)) => failed.push(error),
        // What is fetched comes out of its own queue alone, or it would not be in order.
        Some(Ok(message)) => astray.push(message.partition()),
    }
    Polled { messages, failed, astray }
}

impl Shard {
    /// One turn.
    pub(super) fn turn(&mut self) -> Result<(), ShardError> {
        self.take_answers();
        self.pursue_claims();
        self.poll_and_judge()?;
        self.pursue_astray();
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
        let Polled { messages, failed, astray } = poll(input, shared.config.score.batch);
        let began = Instant::now();
        for partition in astray {
            if let Some(slot) = slots.get_mut(&partition) {
                slot.astray.get_or_insert(began + PLACE_AFTER);
            }
        }
        let pending = step(&messages, slots, &shared.telemetry);
        if !pending.is_empty() {
            let stepped = Instant::now();
            let rows: Vec<&Row> = pending.iter().filter_map(Pending::row).collect();
            scorer.score(&rows, &mut scratch.scores);
            let scored = Instant::now();
            // One moment for the batch: its scores came about together, and a clock is asked once, not per record.
            let decided_at = wall_time();
            let mut writer = Writer {
                emitter,
                verdicts,
                short_log,
                decided_at,
                decided_at_text: decided_at.text(),
                processing_time_ms: whole_ms(scored - began),
                tally,
                run: &mut scratch.run,
            };
            writer.write_all(&pending, &scratch.scores, slots, letters, shared)?;
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
        self.recover_crashed();
        failed.into_iter().try_for_each(|error| self.poll_failed(error))
    }

    /// An error in place of a record.
    fn poll_failed(&mut self, error: KafkaError) -> Result<(), ShardError> {
        let code = error.rdkafka_error_code();
        match (&error, code) {
            (KafkaError::MessageConsumptionFatal(_), _) => Err(self.ended(&error)),
            (_, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => {
                // Retention overtook a partition that was about to be read. The client does not say which.
                tracing::warn!(%error, "a place in the input is gone; looking for its partition");
                self.doubt_places();
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

/// Writes the verdicts of one batch.
struct Writer<'w> {
    emitter: &'w Emitter,
    verdicts: &'w Verdicts,
    short_log: &'w str,
    decided_at: WallTimeUs,
    decided_at_text: TimeText,
    processing_time_ms: u64,
    tally: &'w mut Tally,
    run: &'w mut Run,
}

impl Writer<'_> {
    /// Writes the verdicts, `scores` being those of the batch's rows, and hands them over. One that the program fails on takes
    /// its partition's later ones with it, and no other's.
    fn write_all(
        &mut self,
        pending: &[Pending<'_>],
        scores: &Scores,
        slots: &mut Slots,
        letters: &mut DeadLetters,
        shared: &Shared,
    ) -> Result<(), KafkaError> {
        let (mut at, mut outcome) = (0, Ok(()));
        while at < pending.len() {
            let written = guarded(|| {
                while let Some(one) = pending.get(at) {
                    if !self.run.takes(one.partition) {
                        self.hand_over(slots);
                    }
                    let slot = slots.get_mut(&one.partition);
                    if let Some(slot) = slot.filter(|slot| slot.is_whole_at(one.offset)) {
                        let letter = match &one.step {
                            Step::Invalid(invalid) => Some(letters.write(one.message, invalid)?),
                            Step::Judged(_) => None,
                        };
                        self.write(slot, one, scores.of(one.place), letter, shared);
                    }
                    at += 1;
                }
                Ok(())
            });
            match (written, pending.get(at)) {
                (Ok(written), _) => {
                    outcome = written;
                    break;
                }
                (Err(place), Some(one)) => {
                    if let Some(slot) = slots.get_mut(&one.partition) {
                        slot.crashed(one.offset, place);
                    }
                    at += 1;
                }
                (Err(_), None) => {}
            }
        }
        self.hand_over(slots);
        outcome
    }

    fn hand_over(&mut self, slots: &mut Slots) {
        let Some(partition) = self.run.partition() else { return };
        match slots.get_mut(&partition) {
            Some(slot) => self.run.hand_over(slot, self.verdicts),
            // Whoever has it now judges them once more.
            None => self.run.clear(),
        }
    }

    fn write(&mut self, slot: &mut Slot, one: &Pending<'_>, score: Score<'_>, letter: Option<u64>, shared: &Shared) {
        let Some(epoch) = slot.epoch() else { return };
        let Pending { partition, offset, .. } = *one;
        let source = Source { log: self.short_log, partition, offset, previous_offset: slot.previous, epoch };
        let stamp = Stamp { source, decided_at: self.decided_at_text, processing_time_ms: self.processing_time_ms };
        let (emitted, key, institution) = match &one.step {
            Step::Judged(judged) => {
                let emitted = self.emitter.judged(judged, score, &stamp, &mut slot.decisions, self.run.room());
                let transaction = judged.transaction();
                (emitted, Some(transaction.phone.key()), transaction.institution_id.as_deref())
            }
            Step::Invalid(invalid) => {
                self.tally.invalid(invalid.reason);
                let misrouted = is_misrouted(invalid, partition, shared.partitions);
                let emitted = self.emitter.invalid(invalid, misrouted, &stamp, self.run.room());
                (emitted, None, invalid.read.institution_id.as_deref())
            }
        };
        if emitted.flags.has(Flags::MISROUTED) {
            shared.telemetry.metrics.misrouted(institution);
        }
        let own_key = || one.message.key().filter(|key| (1..=256).contains(&key.len()));
        let key = key.as_ref().map_or_else(own_key, |key| Some(key.as_bytes()));
        self.count(&emitted, one.timestamp_ms);
        slot.previous = offset;
        let trace = if one.headed { trace(one.message) } else { Vec::new() };
        let plain = letter.is_none() && trace.is_empty() && slot.held.is_empty();
        if plain && self.verdicts.fits(key, self.run.room()) {
            return self.run.gather(partition, offset, key);
        }
        let value = std::mem::take(self.run.room());
        self.run.hand_over(slot, self.verdicts);
        slot.produce(self.verdicts, offset, key, &value, trace, letter);
    }

    fn count(&mut self, emitted: &Emitted, timestamp_ms: Option<i64>) {
        self.tally.verdict(emitted.kind, emitted.flags);
        if let Some(at) = timestamp_ms {
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
        if free && self.is_sent(verdicts.send(self.partition, self.generation, key, value, &trace), source) {
            return;
        }
        self.held.push_back(Held { source, key: key.map(<[u8]>::to_vec), value: value.to_vec(), trace, letter });
    }

    /// Follows what the producer said to the verdict of `source`.
    pub(super) fn is_sent(&mut self, answer: Result<(), SendError>, source: i64) -> bool {
        match answer {
            Ok(()) => {
                self.inflight.push_back(source);
                true
            }
            Err(SendError::Full) => false,
            Err(SendError::Refused(error)) => {
                self.refused = Some(error);
                false
            }
        }
    }
}

/// Whether a record that is no transaction names a phone whose partition is another one.
pub(crate) fn is_misrouted(invalid: &Invalid, partition: i32, partitions: i32) -> bool {
    invalid.read.phone.is_some_and(|phone| partition_of(phone.key().as_bytes(), partitions) != partition)
}

/// Milliseconds begun, at least one.
fn whole_ms(took: Duration) -> u64 {
    (took.as_micros() as u64).div_ceil(1_000).max(1)
}

/// The trace headers to pass through.
pub(crate) fn trace(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let traced = headers.iter().filter(|header| TRACE_HEADERS.contains(&header.key));
    let traced: Vec<(String, Vec<u8>)> =
        traced.filter_map(|header| Some((header.key.to_owned(), header.value?.to_vec()))).collect();
    let bytes: usize = traced.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes <= MOST_TRACE_BYTES { traced } else { Vec::new() }
}
