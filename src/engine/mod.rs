//! One partition as a deterministic state machine over its log, and the protocol that decides which verdicts count.
//! Pure: bytes in, values out.
//!
//! ```text
//! record ─► partition (step): windows, features, duplicates ─► emit: score, policy ─► verdict bytes
//! verdict topic ─► rule (reader's rule) ─► settle: h and past decisions ─► plan: where to replay, where to go on
//! acknowledgement ─► chain: contiguous, or a jump
//! ```
//!
//! `snapshot` stores a `partition::Partition` as of an input offset; `plan::Start` names the offset that replay begins at.

/// Counts the engine's changes that give the same log another state or other verdicts: an owner of a lower generation
/// never takes a partition over, unless it is told to (`score.take_over`).
pub const GENERATION: u32 = 1;

/// Counts those of them that give another state: a snapshot of another one is not restored. Where only verdicts change,
/// this stays, and a release that is told to take over goes back to its predecessor's snapshots without replay.
pub const STATE_GENERATION: u32 = 1;

pub mod chain;
pub mod checkpoint;
pub mod decisions;
pub mod delivery;
pub mod edition;
pub mod emit;
pub mod partition;
pub mod phones;
pub mod plan;
pub mod rule;
pub mod settle;
pub mod snapshot;
