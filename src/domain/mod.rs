//! What Sentra reasons about: pure and total values. No I/O, no clock, no logging, no randomness.

pub mod amount;
mod blanks;
pub mod decode;
mod digits;
pub mod encode;
pub mod features;
pub mod flags;
pub mod history;
pub mod hot;
pub mod identity;
pub mod invalid;
pub mod partitioner;
pub mod phone;
pub mod place;
pub mod policy;
pub mod profile;
pub mod reasons;
pub mod ring;
pub mod row;
pub mod rules;
pub mod signals;
mod specials;
pub mod stored;
pub mod time;
pub mod transaction;
pub mod verdict;
pub mod window;
