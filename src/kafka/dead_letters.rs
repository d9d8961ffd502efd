//! Dead letters as they stand in their topic: which headers Sentra adds to the record's own, and reading them back.
//!
//! Names are Kafka Connect's (KIP-298), which other tools know. Writing letters is the shard's; what a record lacked is
//! the domain's.

use std::sync::atomic::AtomicBool;

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use serde::Serialize;

use super::tail::{RangeReader, Span, TailError};
use crate::config::Config;

/// What the names of added headers begin with.
pub const ADDED: &str = "__connect.";

/// The record's topic.
pub const TOPIC: &str = "__connect.errors.topic";
/// The record's partition.
pub const PARTITION: &str = "__connect.errors.partition";
/// The record's offset.
pub const OFFSET: &str = "__connect.errors.offset";
/// Where it failed: `decode` or `step`.
pub const STAGE: &str = "__connect.errors.stage";
/// The reason's code, as in the verdict.
pub const CLASS: &str = "__connect.errors.exception.class.name";
/// The reason in words.
pub const MESSAGE: &str = "__connect.errors.exception.message";

/// Marks a letter that the broker took only without most of its value.
pub const CUT: &str = "sentra.cut";

/// Where a redriven record comes from: `topic/partition/offset` of its letter.
pub const REDRIVEN: &str = "sentra.redriven.from";

/// A dead letter without the record's own bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Where the letter stands.
    pub partition: i32,
    /// Where the letter stands.
    pub offset: i64,
    /// When it was written, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The record's topic, as the letter tells it.
    pub source_topic: Option<String>,
    /// The record's partition.
    pub source_partition: Option<i32>,
    /// The record's offset.
    pub source_offset: Option<i64>,
    /// Where it failed.
    pub stage: Option<String>,
    /// The reason's code.
    pub class: Option<String>,
    /// The reason in words; it never quotes the record.
    pub message: Option<String>,
    /// Who sent the record, where a header says so.
    pub institution: Option<String>,
    /// Bytes of the record's value.
    pub bytes: usize,
    /// Whether most of the value is missing.
    pub cut: bool,
}

impl Letter {
    /// Reads a letter's headers.
    pub fn of(message: &BorrowedMessage<'_>) -> Self {
        let text = |name: &str| {
            let headers = message.headers()?;
            let value = headers.iter().filter(|header| header.key == name).last()?.value?;
            std::str::from_utf8(value).ok().map(str::to_owned)
        };
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            source_topic: text(TOPIC),
            source_partition: text(PARTITION).and_then(|number| number.parse().ok()),
            source_offset: text(OFFSET).and_then(|number| number.parse().ok()),
            stage: text(STAGE),
            class: text(CLASS),
            message: text(MESSAGE),
            institution: text("institution"),
            bytes: message.payload().map_or(0, <[u8]>::len),
            cut: text(CUT).is_some(),
        }
    }
}

/// The headers that the record had itself.
pub fn own_headers(message: &BorrowedMessage<'_>) -> OwnedHeaders {
    let Some(headers) = message.headers() else { return OwnedHeaders::new() };
    let own = headers.iter().filter(|header| !header.key.starts_with(ADDED) && header.key != CUT);
    own.fold(OwnedHeaders::new(), |own, header| own.insert(Header { key: header.key, value: header.value }))
}

/// Reads the dead letters that there are.
pub struct Mailbox {
    reader: RangeReader,
    partitions: i32,
}

impl Mailbox {
    /// Opens the topic of dead letters, which has as many partitions as the transactions'.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn open(config: &Config, partitions: i32) -> Result<Self, TailError> {
        Ok(Self { reader: RangeReader::open(&config.kafka, &config.topics.dlq)?, partitions })
    }

    /// Hands over each letter of each partition, from `from(partition)` up to the end as it is now.
    ///
    /// # Errors
    /// Stopped, or the broker refuses for good.
    pub fn read(
        &mut self,
        from: impl Fn(i32) -> i64,
        stop: &AtomicBool,
        mut each: impl FnMut(Letter, &BorrowedMessage<'_>),
    ) -> Result<(), TailError> {
        for partition in 0..self.partitions {
            let Span { start, end } = self.reader.span(partition, stop)?;
            let begin = from(partition).max(start);
            self.reader.read_messages(partition, begin, end, stop, |message| each(Letter::of(message), message))?;
        }
        Ok(())
    }

    /// Hands over one letter; false where there is none.
    ///
    /// # Errors
    /// Stopped, or the broker refuses for good.
    pub fn one(
        &mut self,
        partition: i32,
        offset: i64,
        stop: &AtomicBool,
        mut each: impl FnMut(Letter, &BorrowedMessage<'_>),
    ) -> Result<bool, TailError> {
        let Span { start, end } = self.reader.span(partition, stop)?;
        if !(start..end).contains(&offset) {
            return Ok(false);
        }
        let mut found = false;
        self.reader.read_messages(partition, offset, offset + 1, stop, |message| {
            found = true;
            each(Letter::of(message), message);
        })?;
        Ok(found)
    }
}
