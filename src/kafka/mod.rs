//! Kafka clients, topics, the verdict tail, dead letters. All of rdkafka lives here, but for the shard's own loop.

pub mod client;
pub mod dead_letters;
pub mod fetch;
pub mod group;
pub mod identity;
pub mod layout;
pub mod load;
pub mod produce;
pub mod properties;
pub mod tail;
pub mod topic_id;
pub mod topics;
pub mod wait;
