//! The model: LightGBM's text parsed into flat arrays, evaluated to the bit as the library does, explained, and
//! turned into a score. No I/O but `folder`, which reads and writes a model's files.
//!
//! ```text
//! model.txt ─► forest (flat trees) ─► evaluate: raw score ─► calibrate: log odds ─► risk_score 0..=100
//!                                  └► explain: contributions of the features (Saabas)
//! ```

#[cfg(target_arch = "x86_64")]
mod alone;
mod bytes;
pub mod calibrate;
mod error;
pub mod evaluate;
pub mod explain;
pub mod folder;
pub mod forest;
mod lanes;
pub mod metrics;
mod plan;
pub mod scaling;
pub mod score_map;
pub mod scorer;
mod text;
mod thresholds;
