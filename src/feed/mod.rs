//! The live feed: follows the verdicts that count and hands them to whoever watches, over WebSocket (`/v1/feed`).
//!
//! ```text
//! verdict topic ─► follower ─► hub: one frame a verdict ─► backlog ─┬─► session ─► client
//!        └────────► catch-up, from a client's cursor to the backlog ┘
//! ```
//!
//! Invariant: a verdict that counts is told to each listener once, in its partition's order; a client sees each one
//! that its filter lets through once, or is told what is missing. Nothing a client does slows the follower, and every
//! buffer is bounded. It decides nothing about verdicts.

mod attach;
mod backlog;
mod catch_up;
mod filter;
mod follow;
pub mod frame;
mod hub;
mod item;
mod origin;
mod place;
mod problem;
mod service;
mod session;
mod socket;
mod ticket;

pub use follow::{Accepted, FollowError, Follower, Listener, MOST_PARTITIONS};
pub use hub::Hub;
pub use service::{Bearer, Service};
