//! The line measured beside its yardsticks, in one run: never a timed test.

pub mod evaluator;
