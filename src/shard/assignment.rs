//! The shard's consumer: a member of the group whose partitions are placed, paused and resumed by the turn.

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult},
};

use super::context::InputContext;
use crate::{config::Config, kafka::client::consumer_config};

/// How a shard's consumer is set; the benchmark's yardsticks take the same.
pub(crate) fn consumer_settings(config: &Config) -> ClientConfig {
    let mut client = consumer_config(&config.kafka);
    client.set("statistics.interval.ms", "2000");
    if client.get("session.timeout.ms").is_none() {
        client.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "1500");
    }
    client
}

/// A topic's consumer: the transactions' of a shard, the verdicts' of a sink.
pub struct Input {
    /// The client; `poll` runs its callbacks.
    pub consumer: BaseConsumer<InputContext>,
    topic: String,
}

impl Input {
    /// Makes the consumer and joins the group of `settings`.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn subscribe(settings: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<InputContext> = settings.create_with_context(InputContext::new(topic))?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// Reads `partition` from `offset` on: a new place in the assignment, never a seek.
    ///
    /// # Errors
    /// The partition is no longer assigned.
    pub fn place(&self, partition: i32, offset: i64) -> KafkaResult<()> {
        self.consumer.incremental_unassign(&self.one(partition, Offset::Invalid)?)?;
        self.consumer.incremental_assign(&self.one(partition, Offset::Offset(offset))?)?;
        // A pause outlives the assignment it was made in.
        self.resume(partition)
    }

    /// Reads nothing more of `partition` for now; what was prefetched of it is thrown away and read again later.
    ///
    /// # Errors
    /// The partition is no longer assigned.
    pub fn pause(&self, partition: i32) -> KafkaResult<()> {
        self.consumer.pause(&self.one(partition, Offset::Invalid)?)
    }

    /// Goes on reading `partition` where it was paused.
    ///
    /// # Errors
    /// The partition is no longer assigned.
    pub fn resume(&self, partition: i32) -> KafkaResult<()> {
        self.consumer.resume(&self.one(partition, Offset::Invalid)?)
    }

    /// Commits next offsets, for lag monitors, with checkpoints as their metadata, for recovery.
    ///
    /// # Errors
    /// The group refuses; synchronously, that says the partition is no longer ours.
    pub fn commit(&self, offsets: impl Iterator<Item = (i32, i64, String)>, mode: CommitMode) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset, checkpoint) in offsets {
            let mut element = list.add_partition(&self.topic, partition);
            element.set_offset(Offset::Offset(offset))?;
            element.set_metadata(checkpoint);
        }
        if list.count() == 0 { Ok(()) } else { self.consumer.commit(&list, mode) }
    }

    fn one(&self, partition: i32, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, offset)?;
        Ok(list)
    }
}
