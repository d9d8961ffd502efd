//! The line measured beside its yardsticks, in one run: never a timed test.

pub mod clock;
pub mod evaluator;
pub mod state;
pub mod traffic;
