//! Following topics without a group: stretches of a partition ([`RangeReader`]).

mod error;
mod range;

pub use error::TailError;
pub use range::{RangeReader, Span};
