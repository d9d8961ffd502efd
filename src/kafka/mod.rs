//! Kafka clients, topics, the verdict tail, dead letters. All of rdkafka lives here, but for the types it is configured with.

pub mod load;
