//! PostgreSQL: migrations, day partitions, the sink that stores accepted verdicts, and the questions answered from them.
//!
//! Invariant: a verdict is stored exactly once, for rows and position move in one transaction (DESIGN §8). Scoring
//! never waits for any of it.

mod connect;
pub mod copy;
mod cursor;
pub mod days;
mod error;
mod hosts;
pub mod migrate;
pub mod queries;
mod row;
pub mod sink;
mod tls;
mod verdict;

pub use connect::{Database, Purpose, fault, may_take};
pub use cursor::{Cursor, NotACursor};
pub use error::StoreError;
pub use verdict::{Json, StoredModel, StoredSignals, StoredSource, StoredVerdict, Text};
