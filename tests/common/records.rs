//! Topics read as any consumer reads them, and the reader's rule written a second time, from the design alone.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    PATIENCE, client, kafka,
    line::{Topics, soon},
    schemas::{DEAD_LETTER, VERDICT, assert_valid},
};

/// One record, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its Kafka timestamp.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// The value as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.value.as_deref().unwrap_or_default()).expect("JSON")
    }

    /// Whatever Sentra wrote is as its schema says.
    fn check(&self) {
        if self.headers.iter().any(|(name, _)| name == "__connect.errors.topic") {
            assert_valid(&DEAD_LETTER, &self.added());
        }
        let written: Option<Value> = self.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
        if let Some(written) = written.filter(|written| written["kind"].is_string() && written["source"].is_object()) {
            assert_valid(&VERDICT, &written);
        }
    }

    /// What a dead letter's headers say besides those of the record itself.
    pub fn added(&self) -> Value {
        let added = self.headers.iter().filter(|(name, _)| name.starts_with("__connect.errors."));
        let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().expect("a value")).expect("UTF-8");
        added.map(|(name, value)| (name.clone(), Value::from(text(value)))).collect()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        value.as_ref().map(|value| String::from_utf8(value.clone()).expect("text"))
    }
}

/// Follows all partitions of a topic from the beginning, without a group.
pub struct Follower {
    consumer: BaseConsumer,
    topic: String,
    /// What was read so far, by partition.
    pub records: Vec<Vec<Record>>,
}

impl Follower {
    /// At the beginning of the topic.
    pub fn new(topic: &str, partitions: i32) -> Self {
        Self::of(topic, 0..partitions)
    }

    /// The same of some of its partitions.
    pub fn of(topic: &str, partitions: std::ops::Range<i32>) -> Self {
        let mut config = client(&[("bootstrap.servers", kafka())]);
        config.set("group.id", "test-follower").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        let records = vec![Vec::new(); partitions.end as usize];
        for partition in partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("an assignment");
        Self { consumer, topic: topic.to_owned(), records }
    }

    /// Takes what there is; false where nothing came within `wait`.
    pub fn read(&mut self, wait: Duration) -> bool {
        let Some(polled) = self.consumer.poll(wait) else { return false };
        let Ok(message) = polled else { return false };
        let mut headers = Vec::new();
        if let Some(own) = message.headers() {
            headers = own.iter().map(|one| (one.key.to_owned(), one.value.map(<[u8]>::to_vec))).collect();
        }
        let record = Record {
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp_ms: message.timestamp().to_millis(),
        };
        record.check();
        self.records[message.partition() as usize].push(record);
        true
    }

    /// Reads until the condition holds.
    pub fn read_until(&mut self, patience: Duration, what: &str, mut done: impl FnMut(&[Vec<Record>]) -> bool) {
        let deadline = Instant::now() + patience;
        while !done(&self.records) {
            assert!(Instant::now() < deadline, "waited {patience:?} for {what}; read {:?}", self.counts());
            // The condition may be dear: it is asked when nothing more is there, or now and then.
            for _ in 0..20_000 {
                if !self.read(Duration::from_millis(50)) {
                    break;
                }
            }
        }
    }

    /// Reads up to the ends as they are now.
    pub fn read_to_end(&mut self) {
        let ends = ends(&self.topic, self.records.len() as i32);
        self.read_until(PATIENCE, "the topic's end", |records| {
            records.iter().zip(&ends).all(|(read, end)| read.last().map_or(0, |last| last.offset + 1) >= *end)
        });
    }

    fn counts(&self) -> Vec<usize> {
        self.records.iter().map(Vec::len).collect()
    }
}

/// The end of each partition.
pub fn ends(topic: &str, partitions: i32) -> Vec<i64> {
    let consumer: BaseConsumer = client(&[("bootstrap.servers", kafka())]).create().expect("a consumer");
    let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("the ends").1;
    (0..partitions).map(end).collect()
}

/// Waits until the verdicts of so many records are written, behind one owner record a partition: what is judged may not be yet.
pub fn await_written(topics: &Topics, records: i64) {
    let written = i64::from(topics.partitions) + records;
    soon("all written", || ends(&topics.verdicts, topics.partitions).iter().sum::<i64>() == written);
}

/// What the rule reads of a verdict or owner record.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    /// What the record is.
    pub kind: String,
    /// Where it stands in the chain.
    pub source: Source,
}

/// A verdict's place; an owner record names log and partition only.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// Partition of both topics.
    pub partition: i32,
    /// Input offset.
    #[serde(default)]
    pub offset: i64,
    /// Input offset of the verdict before.
    #[serde(default)]
    pub previous_offset: i64,
    /// The writer's owner record.
    #[serde(default)]
    pub epoch: i64,
}

/// The verdicts of one partition that count, by the reader's rule of the design.
#[derive(Debug, Default)]
pub struct Reading {
    e: i64,
    /// Accepted verdicts: head, and index of the record.
    pub accepted: Vec<(Head, usize)>,
    /// Owner records met.
    pub owners: usize,
    /// Verdicts of zombies.
    pub ignored: usize,
    read: usize,
}

impl Reading {
    /// Goes on with what follows; `records` are all of the partition's so far.
    pub fn follow(&mut self, records: &[Record]) {
        for (index, record) in records.iter().enumerate().skip(self.read) {
            let head: Head = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("a head");
            if head.kind == "owner" {
                self.e = record.offset;
                self.owners += 1;
            } else if head.source.epoch < self.e {
                self.ignored += 1;
            } else {
                self.e = head.source.epoch;
                self.accepted.push((head, index));
            }
        }
        self.read = records.len();
    }

    /// How many kinds of each counted.
    pub fn count_kinds(&self, kinds: &mut HashMap<String, usize>) {
        for (head, _) in &self.accepted {
            *kinds.entry(head.kind.clone()).or_default() += 1;
        }
    }

    /// Every input offset from 0 to `end` exactly once, in order, and no gap in the chain.
    pub fn assert_exact(&self, partition: usize, end: i64) {
        let mut previous = -1;
        for (head, index) in &self.accepted {
            let source = &head.source;
            assert_eq!(source.partition as usize, partition, "record {index} lies in its own partition");
            assert_eq!(
                source.offset,
                previous + 1,
                "partition {partition}, record {index}: each offset once, in order"
            );
            assert_eq!(source.previous_offset, previous, "partition {partition}, record {index}: no gap in the chain");
            previous = source.offset;
        }
        assert_eq!(previous + 1, end, "partition {partition}: every record is judged");
    }
}

/// The verdict without what may differ between two runs: when, how long, and under which epoch.
pub fn timeless(verdict: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(verdict.len());
    let mut rest = verdict;
    for name in ["\"processing_time_ms\":", "\"decided_at\":", "\"epoch\":"] {
        let at = rest.windows(name.len()).position(|bytes| bytes == name.as_bytes()).expect(name) + name.len();
        out.extend_from_slice(&rest[..at]);
        let value = rest[at..].iter().position(|byte| matches!(byte, b',' | b'}')).expect("more behind it");
        rest = &rest[at + value..];
    }
    out.extend_from_slice(rest);
    out
}
