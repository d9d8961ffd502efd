//! Reads a stretch of one partition, from an offset up to another, as fast as the broker gives it: what recovery and
//! replay stand on.
//!
//! Invariant: when a read ends well, every record of [from, to) that the log holds was handed over once, in offset
//! order. It applies no rule and keeps no position between reads; only the connection is kept.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};

use super::{TailError, open::refused};
use crate::{
    config::KafkaConfig,
    kafka::client::{Session, Silence, describe, follower_config, is_refused_credentials, is_transient, remind},
};

/// How long one poll waits before the stop flag is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long one question about offsets may take before the stop flag is looked at.
const ASK: Duration = Duration::from_secs(2);
/// The pause before a failed question is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a log may end below a range that it once reached: a new leader learns its high watermark late.
const SHORT_FOR: Duration = Duration::from_secs(30);

/// A log's first offset and its end, one past its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first offset still there.
    pub start: i64,
    /// One past the last.
    pub end: i64,
}

/// Reads stretches of one topic's partitions, one at a time, over one connection.
pub struct RangeReader {
    consumer: BaseConsumer<Session>,
    topic: String,
    /// Whether a read is under way, so that the queue may hold records.
    reading: bool,
    patience: Patience,
}

/// How long a partition's broker may stay silent before the reader says [`TailError::Away`]; for ever by default.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While a question about offsets is asked.
    pub asking: Duration,
    /// Between two records of a read.
    pub reading: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { asking: Duration::MAX, reading: Duration::MAX }
    }
}

impl RangeReader {
    /// A reader of `topic`. Speaks to no broker yet.
    ///
    /// # Errors
    /// The client cannot be made: a property is wrong.
    pub fn open(kafka: &KafkaConfig, topic: &str) -> Result<Self, TailError> {
        Self::made(&follower_config(kafka), topic)
    }

    /// The same, which can also tell what the scoring group committed. It is no member of it.
    ///
    /// # Errors
    /// The client cannot be made: a property is wrong.
    pub fn of_group(kafka: &KafkaConfig, topic: &str) -> Result<Self, TailError> {
        Self::made(follower_config(kafka).set("group.id", &kafka.group), topic)
    }

    fn made(client: &ClientConfig, topic: &str) -> Result<Self, TailError> {
        let consumer = Session::consumer(client).map_err(|error| TailError::client(&error))?;
        Ok(Self { consumer, topic: topic.to_owned(), reading: false, patience: Patience::default() })
    }

    /// The same reader, which gives up where nobody answers for so long.
    #[must_use]
    pub fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The partition's first offset and its end, as its leader has them now. Asks again until `stop`, or patience ends.
    ///
    /// # Errors
    /// Stopped, away, or the broker refuses for good.
    pub fn span(&mut self, partition: i32, stop: &AtomicBool) -> Result<Span, TailError> {
        let began = Instant::now();
        let mut silence = Silence::begin();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(TailError::Stopped);
            }
            match self.consumer.fetch_watermarks(&self.topic, partition, ASK) {
                Ok((start, end)) => return Ok(Span { start, end }),
                Err(error) => {
                    let leaderless = self.is_leaderless(&error, partition);
                    if !leaderless && !is_transient(&error) {
                        return Err(self.refused(&error));
                    }
                    // Whoever has patience to lose has other partitions to look after: an election is not waited for.
                    if leaderless && self.patience.asking < Duration::MAX {
                        return Err(self.away(partition, &error));
                    }
                    // Errors of the connection wait in the queue; taken out, they reach the context. A broker that
                    // restarts may refuse for a moment: once connected, only the caller gives up.
                    if !self.reading {
                        drop(self.consumer.poll(Duration::ZERO));
                        if self.consumer.context().credentials_refused() {
                            return Err(self.refused(&error));
                        }
                    }
                    if began.elapsed() >= self.patience.asking {
                        return Err(self.away(partition, &error));
                    }
                    silence.goes_on(self.consumer.client(), &self.topic);
                    tracing::debug!(topic = %self.topic, partition, %error, "offsets are asked for again");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// The metadata of the offset that the group committed for the partition; `None` where it committed none. Asks
    /// again until `stop`, or patience ends.
    ///
    /// # Errors
    /// Stopped, away, or the broker refuses for good.
    pub fn committed(&mut self, partition: i32, stop: &AtomicBool) -> Result<Option<String>, TailError> {
        let began = Instant::now();
        let mut silence = Silence::begin();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(TailError::Stopped);
            }
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(&self.topic, partition);
            let told = self.consumer.committed_offsets(list, ASK);
            match told.and_then(|list| self.metadata(&list, partition)) {
                Ok(metadata) => return Ok(metadata),
                Err(error) if is_transient(&error) => {
                    if began.elapsed() >= self.patience.asking {
                        return Err(self.away(partition, &error));
                    }
                    silence.goes_on(self.consumer.client(), &self.topic);
                    tracing::debug!(topic = %self.topic, partition, %error, "the group's offset is asked for again");
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
    }

    /// Whether the error says no more than that nobody leads the partition. The client would go on saying so for minutes
    /// from what it remembers: asking for the topic anew is what lets it find the next leader.
    fn is_leaderless(&self, error: &KafkaError, partition: i32) -> bool {
        if error.rdkafka_error_code() != Some(Code::UnknownPartition) {
            return false;
        }
        match self.consumer.fetch_metadata(Some(&self.topic), ASK) {
            Ok(metadata) => {
                metadata.topics().iter().flat_map(|topic| topic.partitions()).any(|known| known.id() == partition)
            }
            Err(_) => {
                remind(self.consumer.client());
                true
            }
        }
    }

    fn metadata(&self, list: &TopicPartitionList, partition: i32) -> KafkaResult<Option<String>> {
        let Some(element) = list.find_partition(&self.topic, partition) else { return Ok(None) };
        element.error()?;
        let is_committed = matches!(element.offset(), Offset::Offset(_));
        Ok(is_committed.then(|| element.metadata().to_owned()))
    }

    /// Hands over offset and value of each record of `partition` in [from, to_exclusive), in order. Returns once
    /// nothing below `to_exclusive` is left, also where its last offsets hold no records. Goes on through lost
    /// connections and elections until `stop`, or patience ends.
    ///
    /// # Errors
    /// Stopped; away; `from` is gone; the log ends below `to_exclusive` and stays so for half a minute; or the broker
    /// refuses for good. What was handed over until then was right.
    pub fn read_range(
        &mut self,
        partition: i32,
        from: i64,
        to_exclusive: i64,
        stop: &AtomicBool,
        mut each: impl FnMut(i64, Option<&[u8]>),
    ) -> Result<(), TailError> {
        self.read_messages(partition, from, to_exclusive, stop, |message| each(message.offset(), message.payload()))
    }

    /// As [`Self::read_range`], with the whole record: key, headers and timestamp too.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub fn read_messages(
        &mut self,
        partition: i32,
        from: i64,
        to_exclusive: i64,
        stop: &AtomicBool,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), TailError> {
        if from >= to_exclusive {
            return Ok(());
        }
        let span = self.span(partition, stop)?;
        if from < span.start {
            return Err(self.gone(partition, from, span));
        }
        let mut range = Range { partition, next: from, to: to_exclusive, reachable: span.end >= to_exclusive };
        self.assign(partition, from)?;
        self.reading = true;
        let read = self.drain(&mut range, stop, &mut each);
        self.reading = false;
        self.consumer.unassign().map_err(|error| TailError::client(&error))?;
        read
    }

    fn drain(
        &mut self,
        range: &mut Range,
        stop: &AtomicBool,
        each: &mut impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), TailError> {
        let mut short_since: Option<Instant> = None;
        let mut heard = Instant::now();
        let mut silence = Silence::begin();
        while range.next < range.to {
            if stop.load(Ordering::Relaxed) {
                return Err(TailError::Stopped);
            }
            if heard.elapsed() >= self.patience.reading {
                return Err(self.away(range.partition, &KafkaError::MessageConsumption(Code::OperationTimedOut)));
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    short_since = None;
                    heard = Instant::now();
                    if message.offset() < range.to {
                        each(&message);
                    }
                    range.next = message.offset() + 1;
                }
                // The broker has nothing more, and had the whole range when it was asked: the rest holds no records.
                Some(Err(KafkaError::PartitionEOF(_))) if range.reachable => return Ok(()),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    heard = Instant::now();
                    short_since.get_or_insert_with(Instant::now);
                    self.reach(range, stop)?;
                }
                Some(Err(error)) => self.judge(&error, range, stop)?,
                None if short_since.is_some_and(|since| since.elapsed() > SHORT_FOR) => {
                    self.reach(range, stop)?;
                    if !range.reachable {
                        let span = self.span(range.partition, stop)?;
                        return Err(self.beyond(range.partition, range.to, span));
                    }
                    short_since = None;
                }
                None => silence.goes_on(self.consumer.client(), &self.topic),
            }
        }
        Ok(())
    }

    /// Looks again whether the log has the whole range. Where it has, it is read anew from where we are: an end of
    /// the partition told before this answer proves nothing, one told after it does.
    fn reach(&mut self, range: &mut Range, stop: &AtomicBool) -> Result<(), TailError> {
        if self.span(range.partition, stop)?.end >= range.to {
            range.reachable = true;
            self.assign(range.partition, range.next)?;
        }
        Ok(())
    }

    fn assign(&self, partition: i32, offset: i64) -> Result<(), TailError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| TailError::client(&error))
    }

    /// What an error between the records means; one that passes by itself is none.
    fn judge(&mut self, error: &KafkaError, range: &Range, stop: &AtomicBool) -> Result<(), TailError> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let span = self.span(range.partition, stop)?;
                match range.next {
                    next if next < span.start => Err(self.gone(range.partition, next, span)),
                    next if next > span.end => Err(self.beyond(range.partition, next, span)),
                    // A leader that was behind for a moment: the partition was given up and is taken again.
                    next => self.assign(range.partition, next),
                }
            }
            _ if is_transient(error) || is_refused_credentials(error) => {
                tracing::debug!(topic = %self.topic, partition = range.partition, %error, "reading goes on");
                Ok(())
            }
            _ => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: &KafkaError) -> TailError {
        refused(&self.consumer, &self.topic, error)
    }

    fn away(&self, partition: i32, error: &KafkaError) -> TailError {
        TailError::Away { topic: self.topic.clone(), reason: format!("partition {partition}: {}", describe(error)) }
    }

    fn gone(&self, partition: i32, wanted: i64, span: Span) -> TailError {
        TailError::Gone { topic: self.topic.clone(), partition, wanted, start: span.start }
    }

    fn beyond(&self, partition: i32, wanted: i64, span: Span) -> TailError {
        TailError::Beyond { topic: self.topic.clone(), partition, wanted, end: span.end }
    }
}

/// A read under way.
struct Range {
    partition: i32,
    next: i64,
    to: i64,
    /// The broker said, before the records now awaited were asked for, that the log reaches `to`.
    reachable: bool,
}
