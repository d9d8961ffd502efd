//! The evaluator beside LightGBM's own single-row prediction, in one run on one thread.
//!
//! The three are interleaved, round by round, and timed by the thread's own CPU clock: wall time would favour whoever
//! has the shorter rounds when a neighbour takes the core. Each figure is the median of its rounds. Rows are distinct from call to call, as a repeated row would teach the branch predictor its paths.

use super::clock::{median, thread_cpu_ns};
use crate::domain::features::Row;
use crate::model::evaluate::Scores;
use crate::model::folder::Model;
use crate::model::scorer::{self, ScorerError};
use std::hint::black_box;

/// Rows of the batch figure, about what one poll brings.
pub const BATCH_ROWS: usize = 64;

const ROUNDS: usize = 61;
/// Rows a round: enough that the clock costs nothing.
const ROWS_A_ROUND: usize = 512;

/// CPU nanoseconds a row.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct EvaluatorFigures {
    /// LightGBM's fast single-row prediction.
    pub library_single_ns: f64,
    /// Ours, one row alone.
    pub compiled_single_ns: f64,
    /// Ours, 64 rows together.
    pub compiled_batch64_ns: f64,
}

impl EvaluatorFigures {
    /// One row alone as a share of the library's time (to reach: <= 0.6).
    pub fn single_ratio(&self) -> f64 {
        self.compiled_single_ns / self.library_single_ns
    }

    /// A row of 64 as a share of the library's time (to reach: <= 0.25).
    pub fn batch_ratio(&self) -> f64 {
        self.compiled_batch64_ns / self.library_single_ns
    }
}

/// Measures a model on rows, which are used in turn; give some thousands that differ.
///
/// # Errors
/// The library does not take the model.
pub fn measure_evaluator(model: &Model, rows: &[Row]) -> Result<EvaluatorFigures, ScorerError> {
    let mut booster = scorer::booster(model)?;
    let refused = |error: lightgbm3::Error| ScorerError::Refused(error.to_string());
    booster.single_row_fast_init::<f64>(None).map_err(refused)?;
    let rows = whole_rounds(rows);
    let mut rounds = rows.chunks_exact(ROWS_A_ROUND).cycle();
    let mut next_round = || rounds.next().unwrap_or(&[]);
    let mut scores = Scores::default();
    let (mut library, mut single, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let rows = next_round();
        library.push(nanoseconds_a_row(rows, || {
            for row in rows {
                // The scores are thrown away: only the time matters, and an error would be one of `init`'s.
                let _ = black_box(booster.predict_single_row_fast(row));
            }
        }));
        let rows = next_round();
        single.push(nanoseconds_a_row(rows, || {
            for row in rows {
                black_box(model.forest.raw_one(row));
            }
        }));
        let rows = next_round();
        batch.push(nanoseconds_a_row(rows, || {
            for rows in rows.chunks_exact(BATCH_ROWS) {
                model.forest.score(rows, &mut scores);
                black_box(&scores);
            }
        }));
    }
    Ok(EvaluatorFigures {
        library_single_ns: median(library),
        compiled_single_ns: median(single),
        compiled_batch64_ns: median(batch),
    })
}

/// The rows, repeated to fill whole rounds.
fn whole_rounds(rows: &[Row]) -> Vec<Row> {
    rows.iter().copied().cycle().take(rows.len().next_multiple_of(ROWS_A_ROUND)).collect()
}

fn nanoseconds_a_row(rows: &[Row], work: impl FnOnce()) -> f64 {
    let start = thread_cpu_ns();
    work();
    (thread_cpu_ns() - start) as f64 / rows.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_uses_time() {
        let spin = || {
            black_box((0..1_000_000_u64).fold(0, |sum, at| black_box(sum ^ at)));
        };
        assert!(nanoseconds_a_row(&[[0.0; 24]], spin) > 0.0);
    }

    #[test]
    fn rounds_are_whole_however_few_rows_are_given() {
        let rows = whole_rounds(&[[1.0; 24], [2.0; 24], [3.0; 24]]);
        assert_eq!((rows.len(), rows[3][0], rows[511][0]), (ROWS_A_ROUND, 1.0, 2.0));
        assert_eq!(whole_rounds(&[[1.0; 24]; 5_000]).len(), 10 * ROWS_A_ROUND);
    }
}
