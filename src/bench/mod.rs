//! The line measured beside its yardsticks, in one run: never a timed test.
//!
//! ```text
//! simulated transactions ─► input topic ─┬─► sentra run            ─► verdicts     (the line)
//!                                        ├─► sentra bench-pass     ─► same bytes   (pass-through)
//!                                        ├─► sentra bench-pass     ─► verdicts' bytes, made beforehand
//!                     POST /v1/score ────┴─► sentra run            ─► answers      (the interface)
//! ```
//!
//! Whatever is measured on Kafka is a child process of its own, so that its CPU time is that of the client alone.
//! Absolute figures belong to a machine and its neighbours; what is judged is ratios within one run.

mod child;
pub mod clock;
pub mod drain;
pub mod evaluator;
pub mod feed;
mod http;
pub mod latency;
mod load;
pub mod pass;
mod progress;
pub mod report;
mod rig;
pub mod sample;
pub mod score;
pub mod sink;
pub mod snapshots;
pub mod state;
pub mod traffic;

pub use child::measure_memory_apart;
pub use rig::{BenchError, Rig};
