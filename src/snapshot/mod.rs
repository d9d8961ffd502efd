//! Snapshots outside memory: what they are called, where they are kept, and the thread that writes them.
//!
//! What a snapshot holds and what it takes to be restored is [`crate::engine::snapshot`]'s; when one is begun and when
//! it may be published is the shard's.

mod depot;
mod name;
mod writer;

pub use depot::{Depot, DepotError};
pub use name::{Name, NoName, superseded};
pub use writer::{Busy, Ending, Outcome, SnapshotWriter};
