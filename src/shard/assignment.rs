//! The shard's consumer: a member of the group whose partitions are placed, paused and resumed by the turn.

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult},
};

use super::context::InputContext;
use crate::{
    config::Config,
    kafka::{
        client::consumer_config,
        group::{member_name, name_client},
    },
};

/// How a shard's consumer is set; the benchmark's yardsticks take the same.
pub(crate) fn consumer_settings(config: &Config) -> ClientConfig {
    let mut client = consumer_config(&config.kafka);
    client.set("statistics.interval.ms", "2000");
    if client.get("session.timeout.ms").is_none() {
        client.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "1500");
    }
    client
}

/// A static member is back within this time, or its partitions go to others.
const STATIC_SESSION_MS: (&str, &str) = ("10000", "2500");

/// How a shard's consumer is set in its group: its host named, and its own name where the process has one.
pub(super) fn member_settings(config: &Config, instance: Option<&str>, shard: usize) -> ClientConfig {
    let mut client = consumer_settings(config);
    name_client(&mut client, &config.kafka);
    if let Some(instance) = instance {
        client.set("group.instance.id", member_name(instance, shard));
        if !config.kafka.properties.contains_key("session.timeout.ms") {
            client.set("session.timeout.ms", STATIC_SESSION_MS.0).set("heartbeat.interval.ms", STATIC_SESSION_MS.1);
        }
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
        Self::made(settings, topic, InputContext::new(topic))
    }

    /// The same, but that partitions which are to go are given up by [`Input::give_up`], once they are drained.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn join(settings: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        Self::made(settings, topic, InputContext::draining(topic))
    }

    fn made(settings: &ClientConfig, topic: &str, context: InputContext) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<InputContext> = settings.create_with_context(context)?;
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

    /// Lets go of the partitions that the group wants back: all of them together, for it goes on as soon as some do.
    ///
    /// # Errors
    /// They are no longer assigned.
    pub fn give_up(&self) -> KafkaResult<()> {
        let partitions = self.consumer.context().take_leaving();
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        self.consumer.incremental_unassign(&list)
    }

    /// From now on partitions go at once: nobody waits for them to be drained.
    pub fn close_soon(&self) {
        self.consumer.context().close_soon();
        if let Err(error) = self.give_up() {
            tracing::debug!(%error, "partitions were no longer assigned");
        }
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

impl Drop for Input {
    /// Closing waits for the partitions to be given up.
    fn drop(&mut self) {
        self.close_soon();
    }
}
