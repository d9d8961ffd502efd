//! Random draws of the simulator: one ChaCha stream, so a seed names a world.
//!
//! Draws are made in a fixed order and mathematics come from `libm`, so the same seed gives the same bytes on every
//! processor. Not cryptography, and never used while scoring.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded source of draws.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream that `seed` names.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in 0 ≤ x < 1.
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A whole number, both ends included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low + 1) as u64;
        // The bias of multiply-shift is below 2^-32 for the spans used here.
        low + ((u128::from(self.bits()) * u128::from(span)) >> 64) as i64
    }

    /// An index below `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.between(0, len as i64 - 1) as usize
    }

    /// Uniform in low ≤ x < high.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(1.0 - self.unit()) * mean
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// e to a normal of this mean and spread.
    pub fn log_normal(&mut self, mean: f64, spread: f64) -> f64 {
        libm::exp(mean + spread * self.normal())
    }

    /// One of `items`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// An index drawn by weight; the weights need not add up to one.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    /// 64 random bits: a device, a phone outside the network.
    pub fn bits(&mut self) -> u64 {
        self.0.random()
    }
}
