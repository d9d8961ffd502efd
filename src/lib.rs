//! Sentra decides in milliseconds whether a mobile-money transaction looks like fraud.
//!
//! ```text
//! switch ─► transactions ─► SHARD: decode → window → features → score → decide → encode ─► verdicts
//!            key = phone      one thread, owns its partitions        one verdict per record, same partition
//! ```
//!
//! The log decides: a partition's state after offset n is a pure function of the rules and of records 0..=n, so
//! any process can rebuild it, and the verdict topic itself says who owns a partition (its *epoch*) and how far
//! it got. Modules depend downwards only; `domain`, `model` and `engine` know no I/O, no clock and no logging,
//! which `tests/tidy` holds them to.
//!
//! | module | what it holds |
//! |---|---|
//! | [`domain`] | transaction, window, profile, features, policy, verdict: pure values |
//! | [`model`] | LightGBM text → flat trees, evaluation, explanation, the model folder |
//! | [`engine`] | one partition's step, the reader's rule, replay: bytes in, values out |
//! | [`kafka`] | clients, topics, the verdict tail, dead letters |
//! | [`feed`] | the verdict tail's follower, and the live feed over WebSocket |
//! | [`shard`] | the scoring thread: turn, assignment, recovery, delivery |
//! | [`snapshot`] | where snapshots of the windows are kept, and the thread that writes them |
//! | [`operate`] | what an operator asks of one partition, or does to it, from outside its owner |
//! | [`problem`] | problem documents: what is answered when a request cannot be |
//! | [`store`] | PostgreSQL: migrations, the sink, questions |
//! | [`api`] | the HTTP interface: score, stored verdicts, health, its own description |
//! | [`train`] | simulated traffic, data set, fitting, report |
//! | [`embedded`] | the demo's own broker and database |
//! | [`console`] | the first page: live alerts, rates, reasons |
//! | [`config`] | one table of settings, their sources and checks |
//! | [`telemetry`] | logs, metrics, health |
//! | [`bench`] | the line measured beside its yardsticks |
//! | [`app`] | wiring, start and ordered stop |
//! | [`doctor`] | what may be wrong around Sentra, and what to do |
//! | [`cli`] | the commands |

#![warn(missing_docs)]

pub mod api;
pub mod app;
pub mod bench;
pub mod cli;
pub mod config;
pub mod console;
pub mod doctor;
pub mod domain;
pub mod embedded;
pub mod engine;
pub mod feed;
pub mod kafka;
pub mod model;
pub mod operate;
pub mod problem;
pub mod shard;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod train;
