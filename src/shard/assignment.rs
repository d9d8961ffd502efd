//! The shard's consumer: a member of the group whose partitions are placed, paused and resumed by the turn.

use std::sync::{Arc, Weak};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::context::InputContext;
use crate::{
    config::Config,
    kafka::{
        client::{TELLS, consumer_config, tie},
        fetch::FetchQueue,
        group::{member_name, name_client},
    },
};

/// `session.timeout.ms` and `heartbeat.interval.ms` of members that come and go: a dead one is missed soon.
const SESSION_MS: (&str, &str) = ("6000", "1500");

/// A static member is back within this time, or its partitions go to others.
const STATIC_SESSION_MS: (&str, &str) = ("10000", "2500");

/// How a shard's consumer is set; the benchmark's yardsticks take the same.
pub(crate) fn consumer_settings(config: &Config) -> ClientConfig {
    let mut client = consumer_config(&config.kafka);
    client.set(TELLS.0, TELLS.1);
    set_session(&mut client, config, SESSION_MS);
    client
}

/// How a shard's consumer is set in its group: its host named, and its own name where the process has one.
pub(super) fn member_settings(config: &Config, instance: Option<&str>, shard: usize) -> ClientConfig {
    let mut client = consumer_settings(config);
    name_client(&mut client, &config.kafka);
    if let Some(instance) = instance {
        client.set("group.instance.id", member_name(instance, shard));
        set_session(&mut client, config, STATIC_SESSION_MS);
    }
    client
}

/// The user's own properties win.
fn set_session(client: &mut ClientConfig, config: &Config, (session, heartbeat): (&str, &str)) {
    for (name, value) in [("session.timeout.ms", session), ("heartbeat.interval.ms", heartbeat)] {
        if !config.kafka.properties.contains_key(name) {
            client.set(name, value);
        }
    }
}

/// A topic's consumer: the transactions' of a shard, the verdicts' of a sink.
pub struct Input {
    /// Where the records of a shard's input come out; a sink's come out of `poll`.
    pub fetched: Option<FetchQueue<InputContext>>,
    /// The client; `poll` runs its callbacks.
    pub consumer: Arc<BaseConsumer<InputContext>>,
    topic: String,
}

/// Asks an [`Input`]'s group from another thread, for the answer may take as long as a broker hangs. It keeps the
/// consumer from being closed only while it asks.
#[derive(Clone)]
pub struct Asker {
    consumer: Weak<BaseConsumer<InputContext>>,
    topic: String,
}

impl Input {
    /// Makes the consumer and joins the group of `settings`.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn subscribe(settings: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        Self::made(settings, topic, InputContext::new(topic), false)
    }

    /// The same, but that partitions which are to go are given up by [`Input::give_up`], once they are drained, and that
    /// records come out of a queue of their own.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn join(settings: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        Self::made(settings, topic, InputContext::draining(topic), true)
    }

    fn made(settings: &ClientConfig, topic: &str, context: InputContext, apart: bool) -> Result<Self, KafkaError> {
        let consumer: Arc<BaseConsumer<InputContext>> = Arc::new(settings.create_with_context(context)?);
        tie(consumer.client(), settings)?;
        consumer.subscribe(&[topic])?;
        let fetched = apart.then(|| FetchQueue::new(Arc::clone(&consumer)));
        Ok(Self { fetched, consumer, topic: topic.to_owned() })
    }

    /// For questions to the group that the turn cannot wait for.
    pub fn asker(&self) -> Asker {
        Asker { consumer: Arc::downgrade(&self.consumer), topic: self.topic.clone() }
    }

    /// Reads `partition` from `offset` on: a new place in the assignment, never a seek.
    ///
    /// # Errors
    /// The partition is no longer assigned.
    pub fn place(&self, partition: i32, offset: i64) -> KafkaResult<()> {
        self.consumer.incremental_unassign(&self.one(partition, Offset::Invalid)?)?;
        self.consumer.incremental_assign(&self.one(partition, Offset::Offset(offset))?)?;
        if let Some(fetched) = &self.fetched {
            fetched.send_here(&self.topic, partition);
        }
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
    /// The group refuses, where it is waited for.
    pub fn commit(&self, offsets: impl Iterator<Item = (i32, i64, String)>, mode: CommitMode) -> KafkaResult<()> {
        let list = committed(&self.topic, offsets)?;
        if list.count() == 0 { Ok(()) } else { self.consumer.commit(&list, mode) }
    }

    fn one(&self, partition: i32, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.topic, partition, offset)?;
        Ok(list)
    }
}

impl Asker {
    /// Commits one partition's next offset and checkpoint, and waits: the group's generation fences who has lost it.
    ///
    /// # Errors
    /// The partition is no longer ours, nobody answers, or the consumer is gone.
    pub fn is_ours(&self, partition: i32, offset: i64, checkpoint: String) -> KafkaResult<()> {
        let consumer = self.consumer.upgrade().ok_or(KafkaError::ConsumerCommit(RDKafkaErrorCode::BrokerDestroy))?;
        let list = committed(&self.topic, std::iter::once((partition, offset, checkpoint)))?;
        consumer.commit(&list, CommitMode::Sync)
    }
}

fn committed(topic: &str, offsets: impl Iterator<Item = (i32, i64, String)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset, checkpoint) in offsets {
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(checkpoint);
    }
    Ok(list)
}

impl Drop for Input {
    /// Closing waits for the partitions to be given up.
    fn drop(&mut self) {
        self.close_soon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    #[test]
    fn a_users_session_and_heartbeat_win_one_by_one_over_what_sentra_suggests() {
        for (given, instance, session, heartbeat) in [
            (None, None, "6000", "1500"),
            (None, Some("here"), "10000", "2500"),
            (Some(("heartbeat.interval.ms", "700")), None, "6000", "700"),
            (Some(("session.timeout.ms", "45000")), Some("here"), "45000", "2500"),
        ] {
            let mut config = Config::load(&Inputs::default()).unwrap();
            config.kafka.properties.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let client = member_settings(&config, instance, 0);
            assert_eq!(client.get("session.timeout.ms"), Some(session), "{given:?} {instance:?}");
            assert_eq!(client.get("heartbeat.interval.ms"), Some(heartbeat), "{given:?} {instance:?}");
        }
    }
}
