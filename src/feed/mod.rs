//! The live feed: follows the verdicts that count and hands them to whoever watches.
//!
//! Invariant: a verdict that counts is told to each listener once, in its partition's order; a client sees each one
//! that its filter lets through once, or is told what is missing. Nothing here ever slows the verdict topic's writers.

mod follow;

pub use follow::{Accepted, FollowError, Follower, Listener};
