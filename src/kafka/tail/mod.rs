//! The verdict tail: follows all partitions of a verdict topic by the reader's rule (C1.4), without a group, from
//! given positions, for ever or up to the end. Beside it, [`RangeReader`] reads plain stretches of one partition.
//!
//! Invariant: from a start with e, or one that finds it by going back, each verdict that counts is told exactly once
//! and in its partition's order. It stores no position: [`Tail::positions`] are the caller's to keep.

mod error;
mod follow;
mod open;
mod position;
mod range;

use std::time::{Duration, Instant};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};

pub use error::TailError;
pub use follow::Counts;
pub use position::{NoCursor, Position, Positions};
pub use range::{Patience, RangeReader, Span};

use super::{
    client::{Session, Silence, describe, is_refused_credentials, is_transient},
    topic_id::TopicId,
};
use follow::{Follow, Step};

/// How long a question about offsets may take.
const ASK: Duration = Duration::from_secs(10);

/// Where following begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record each partition still has.
    Earliest,
    /// Whatever comes from now on.
    Latest,
    /// Where a follower stood.
    Positions(Positions),
}

/// Where following is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nowhere.
    Forever,
    /// At the ends that the partitions had when following began.
    End,
}

/// What is told of a record.
pub enum TailEvent<'a> {
    /// A verdict that counts.
    Accepted {
        /// The input offset it is of.
        source: i64,
        /// The epoch of its writer, which is e after it.
        epoch: i64,
        /// Whether verdicts are missing before it.
        gap: bool,
        /// The record: partition, offset, key, value, headers.
        message: BorrowedMessage<'a>,
    },
    /// Input was deleted before it was judged; no verdict, but a link of the chain.
    Lost {
        /// The last input offset of it.
        source: i64,
        /// Whether verdicts are missing before it.
        gap: bool,
        /// The record.
        message: BorrowedMessage<'a>,
    },
    /// A zombie's verdict.
    Ignored(BorrowedMessage<'a>),
    /// An owner record.
    Owner(BorrowedMessage<'a>),
    /// A record of an unknown shape.
    Unknown(BorrowedMessage<'a>),
    /// Nothing more is there in this partition: for now, or with [`Until::End`] for good.
    End {
        /// The partition.
        partition: i32,
    },
}

/// Follows one verdict topic.
pub struct Tail {
    consumer: BaseConsumer<Session>,
    topic: String,
    id: TopicId,
    follow: Follow,
    silence: Silence,
}

impl Tail {
    /// The next event, within `timeout`. Lost connections and elections are waited out.
    ///
    /// # Errors
    /// Records were deleted before they were read, the log was cut, another log follows, or the broker refuses.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<TailEvent<'_>>, TailError> {
        let Self { consumer, topic, follow, silence, .. } = self;
        let deadline = Instant::now() + timeout;
        loop {
            if follow.suspect {
                out_of_range(consumer, topic, follow)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let message = match consumer.poll(left) {
                None => {
                    silence.goes_on(consumer.client(), topic);
                    return Ok(None);
                }
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(partition) = at_end(consumer, topic, follow, partition)? {
                        return Ok(Some(TailEvent::End { partition }));
                    }
                    continue;
                }
                Some(Err(error)) => {
                    follow.suspect |= judge(consumer, topic, &error)?;
                    continue;
                }
            };
            let (partition, offset) = (message.partition(), message.offset());
            match follow.take(partition, offset, message.payload().unwrap_or_default()) {
                Step::Accepted { source, epoch, gap } => {
                    return Ok(Some(TailEvent::Accepted { source, epoch, gap, message }));
                }
                Step::Lost { source, gap } => return Ok(Some(TailEvent::Lost { source, gap, message })),
                Step::Ignored => return Ok(Some(TailEvent::Ignored(message))),
                Step::Owner => return Ok(Some(TailEvent::Owner(message))),
                Step::Unknown => return Ok(Some(TailEvent::Unknown(message))),
                Step::GoBack(to) => move_to(consumer, topic, partition, to)?,
                Step::Ended => {
                    if let Some(partition) = at_end(consumer, topic, follow, partition)? {
                        return Ok(Some(TailEvent::End { partition }));
                    }
                }
                Step::OtherLog { found, expected } => {
                    return Err(TailError::OtherLog { topic: topic.clone(), partition, found, expected });
                }
                Step::Pass if Instant::now() >= deadline => return Ok(None),
                Step::Pass => {}
            }
        }
    }

    /// Asks the broker for an offset, to see whether it is there: while following, an outage brings no error.
    ///
    /// # Errors
    /// It does not answer, with the client's last word.
    pub fn probe(&self, timeout: Duration) -> Result<(), TailError> {
        match self.consumer.fetch_watermarks(&self.topic, 0, timeout) {
            Ok(_) => Ok(()),
            Err(error) => Err(TailError::Away { topic: self.topic.clone(), reason: describe(&error) }),
        }
    }

    /// Where this follower stands: what it was told of lies below, all else at or above.
    pub fn positions(&self) -> Positions {
        Positions { topic: self.id, log: self.follow.log, partitions: self.follow.positions() }
    }

    /// What was told so far.
    pub fn counts(&self) -> Counts {
        self.follow.counts
    }

    /// Whether every partition was read up to its fixed end; never so with [`Until::Forever`].
    pub fn finished(&self) -> bool {
        self.follow.tracks.iter().all(|track| track.ended)
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.follow.tracks.len()
    }
}

/// The broker has nothing more in a partition. With a fixed end that is its end: the ends were asked for before the
/// records were, so what is left below holds none. `None` where the end was told before.
fn at_end(
    consumer: &BaseConsumer<Session>,
    topic: &str,
    follow: &mut Follow,
    partition: i32,
) -> Result<Option<i32>, TailError> {
    let Some(track) = follow.tracks.iter_mut().find(|track| track.partition == partition) else { return Ok(None) };
    if track.ended || track.back_to.is_some() {
        return Ok(None);
    }
    if track.end.is_some() {
        track.ended = true;
        change(topic, partition, Offset::Invalid, |list| consumer.incremental_unassign(list))?;
    }
    Ok(Some(partition))
}

/// Reads a partition on from `offset`; what was fetched ahead of it is dropped.
fn move_to(consumer: &BaseConsumer<Session>, topic: &str, partition: i32, offset: i64) -> Result<(), TailError> {
    change(topic, partition, Offset::Invalid, |list| consumer.incremental_unassign(list))?;
    change(topic, partition, Offset::Offset(offset), |list| consumer.incremental_assign(list))
}

fn change(
    topic: &str,
    partition: i32,
    offset: Offset,
    apply: impl FnOnce(&TopicPartitionList) -> Result<(), KafkaError>,
) -> Result<(), TailError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, offset)
        .and_then(|()| apply(&list))
        .map_err(|error| TailError::client(&error))
}

/// Whether an error between the records may mean that a next offset is not in its log; one that passes by itself
/// means nothing.
fn judge(consumer: &BaseConsumer<Session>, topic: &str, error: &KafkaError) -> Result<bool, TailError> {
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Ok(true),
        _ if is_transient(error) || is_refused_credentials(error) => {
            tracing::debug!(topic, %error, "following goes on");
            Ok(false)
        }
        _ => Err(open::refused(consumer, topic, error)),
    }
}

/// Finds the partition whose next offset is not in its log, for the error does not say which. A broker that does not
/// answer is asked again at the next poll.
fn out_of_range(consumer: &BaseConsumer<Session>, topic: &str, follow: &mut Follow) -> Result<(), TailError> {
    for track in follow.tracks.iter_mut().filter(|track| !track.ended) {
        let (partition, wanted) = (track.partition, track.reader.next());
        let Ok((start, end)) = consumer.fetch_watermarks(topic, partition, ASK) else { return Ok(()) };
        match track.back_to {
            // The owner record was deleted while the reader went back for it: what is left is read instead.
            Some(verdict) if wanted < start && start <= verdict => move_to(consumer, topic, partition, start)?,
            _ if wanted < start => {
                return Err(TailError::Gone { topic: topic.to_owned(), partition, wanted, start });
            }
            _ if wanted > end => return Err(TailError::Beyond { topic: topic.to_owned(), partition, wanted, end }),
            // A leader that was behind for a moment: the partition was given up and is taken again.
            _ => move_to(consumer, topic, partition, wanted)?,
        }
    }
    follow.suspect = false;
    Ok(())
}
