//! From traffic to a model: simulated traffic, the data set, fitting, the report. Offline; never on the scoring path.
//!
//! ```text
//! simulate, or a folder ─► dataset (the engine's own step) ─► fit (by time) ─► report, model folder
//! ```

pub mod dataset;
pub mod fit;
pub mod report;
pub mod simulate;
#[cfg(test)]
mod tests;
