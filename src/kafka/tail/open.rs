//! Opening a verdict tail: the topic's id and partitions, the start of each, and whether given positions fit.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{ASK, From, Position, Positions, Span, Tail, TailError, Until, follow::Follow};
use crate::{
    config::KafkaConfig,
    kafka::{
        client::{Session, Silence, describe, follower_config, is_transient},
        identity::identity,
        topic_id::{TopicId, TopicIdError},
    },
};

impl Tail {
    /// Opens `topic` and assigns all its partitions, each with its own start.
    ///
    /// # Errors
    /// No broker answers (later it may), the topic is missing or refused, or the positions are of another topic, do
    /// not name its partitions, or lie outside the log.
    pub fn open(kafka: &KafkaConfig, topic: &str, from: From, until: Until) -> Result<Self, TailError> {
        let consumer = Session::consumer(&follower_config(kafka)).map_err(|error| TailError::client(&error))?;
        let partitions = partitions(&consumer, topic)?;
        let id = identity(kafka, consumer.client(), topic, ASK).map_err(|error| match error {
            TopicIdError::Failed { reason, .. } => TailError::Away { topic: topic.to_owned(), reason },
            other => TailError::Id(other),
        })?;
        let spans =
            (0..partitions).map(|partition| span(&consumer, topic, partition)).collect::<Result<Vec<_>, _>>()?;
        let log = if let From::Positions(positions) = &from { positions.log } else { None };
        let starts = starts(topic, id, from, &spans)?;
        let follow = Follow::new(log, &starts, until);
        let mut list = TopicPartitionList::new();
        for track in follow.tracks.iter().filter(|track| !track.ended) {
            list.add_partition_offset(topic, track.partition, Offset::Offset(track.reader.next()))
                .map_err(|error| TailError::client(&error))?;
        }
        consumer.assign(&list).map_err(|error| TailError::client(&error))?;
        Ok(Self { consumer, topic: topic.to_owned(), id, follow, silence: Silence::begin() })
    }
}

/// The start of each partition, with its span.
fn starts(topic: &str, id: TopicId, from: From, spans: &[Span]) -> Result<Vec<(Position, Span)>, TailError> {
    let positions = match from {
        From::Earliest => (0..).zip(spans).map(|(partition, span)| earliest(partition, *span)).collect(),
        From::Latest => (0..)
            .zip(spans)
            .map(|(partition, span)| Position { partition, next: span.end, epoch: None, last: None })
            .collect(),
        From::Positions(positions) => given(topic, id, positions, spans.len())?,
    };
    for (position, span) in positions.iter().zip(spans) {
        let (partition, wanted) = (position.partition, position.next);
        if wanted > span.end {
            return Err(TailError::Beyond { topic: topic.to_owned(), partition, wanted, end: span.end });
        }
        if wanted < span.start {
            return Err(TailError::Gone { topic: topic.to_owned(), partition, wanted, start: span.start });
        }
    }
    Ok(positions.into_iter().zip(spans.iter().copied()).collect())
}

/// From its very first record on, the chain of a partition begins behind -1.
fn earliest(partition: i32, span: Span) -> Position {
    Position { partition, next: span.start, epoch: None, last: (span.start == 0).then_some(-1) }
}

fn given(topic: &str, id: TopicId, positions: Positions, partitions: usize) -> Result<Vec<Position>, TailError> {
    if positions.topic != id {
        let (found, expected) = (positions.topic.to_string(), id.to_string());
        return Err(TailError::OtherTopic { topic: topic.to_owned(), found, expected });
    }
    let mut given = positions.partitions;
    given.sort_by_key(|position| position.partition);
    let named: BTreeSet<i32> = given.iter().map(|position| position.partition).collect();
    if given.len() != partitions || !named.iter().copied().eq(0..partitions as i32) {
        return Err(TailError::Partitions { topic: topic.to_owned(), partitions: partitions as i32 });
    }
    Ok(given)
}

/// How many partitions the topic has.
fn partitions(consumer: &BaseConsumer<Session>, topic: &str) -> Result<i32, TailError> {
    let metadata =
        consumer.fetch_metadata(Some(topic), ASK).map_err(|error| refused_or_away(consumer, topic, &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let error = found.and_then(|found| found.error()).map(Code::from);
    match (found, error) {
        (Some(found), None) if !found.partitions().is_empty() => Ok(found.partitions().len() as i32),
        (_, Some(code)) => Err(refused_or_away(consumer, topic, &KafkaError::MetadataFetch(code))),
        _ => Err(refused(consumer, topic, &KafkaError::MetadataFetch(Code::UnknownTopicOrPartition))),
    }
}

/// The partition's span now.
fn span(consumer: &BaseConsumer<Session>, topic: &str, partition: i32) -> Result<Span, TailError> {
    match consumer.fetch_watermarks(topic, partition, ASK) {
        Ok((start, end)) => Ok(Span { start, end }),
        Err(error) => Err(refused_or_away(consumer, topic, &error)),
    }
}

fn refused_or_away(consumer: &BaseConsumer<Session>, topic: &str, error: &KafkaError) -> TailError {
    // Errors of the connection wait in the queue; taken out, they reach the context.
    drop(consumer.poll(Duration::ZERO));
    match refused(consumer, topic, error) {
        TailError::Topic { topic, reason } if is_transient(error) && !consumer.context().credentials_refused() => {
            TailError::Away { topic, reason }
        }
        other => other,
    }
}

/// The broker's refusal, with the connection's own reason where it says more.
pub(super) fn refused(consumer: &BaseConsumer<Session>, topic: &str, error: &KafkaError) -> TailError {
    let (topic, session) = (topic.to_owned(), consumer.context());
    match session.last_trouble() {
        Some(reason) if session.credentials_refused() => TailError::Topic { topic, reason },
        _ => TailError::Topic { topic, reason: describe(error) },
    }
}
