//! What the demo brings along so that nothing need be installed or configured: a Kafka broker inside this process,
//! and a private PostgreSQL beside it.
//!
//! Invariant: neither outlives the process, whatever ends it, and neither touches what other programs run. Not for
//! production: the broker keeps little, in memory only. Whatever claims durability is tested on real services.

mod broker;
pub mod postgres;

pub use broker::{Broker, BrokerError};
pub use postgres::{Postgres, PostgresError};
