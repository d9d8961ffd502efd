//! A feature's thresholds, and where values lie among them: the ranks that `bytes` compares.

/// The most thresholds of a feature: ranks 0..=254, and 255 for what goes right at every split.
pub(super) const MOST_THRESHOLDS: usize = 254;

/// Room for them, a power of two.
const ROOM: usize = 256;

/// Thresholds of two registers.
const SIXTEEN: usize = 16;

/// Thresholds of one feature, rising.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    /// Filled up with infinity, above which nothing is.
    all: [f64; ROOM],
    /// How many steps their search takes.
    steps: u32,
    /// The last of each sixteen.
    lasts: [f64; SIXTEEN],
}

impl Thresholds {
    /// Of at most [`MOST_THRESHOLDS`].
    pub(super) fn of(own: &[f64]) -> Self {
        let all: [f64; ROOM] = std::array::from_fn(|at| own.get(at).copied().unwrap_or(f64::INFINITY));
        let lasts = std::array::from_fn(|sixteen| all[SIXTEEN * sixteen + SIXTEEN - 1]);
        Self { all, steps: (own.len() + 1).next_power_of_two().ilog2(), lasts }
    }

    /// How many lie below each value; none below NaN. All values are searched for in step, so that their loads overlap.
    #[inline(always)]
    pub(super) fn below(&self, values: &[f64], found: &mut [u16]) {
        for step in (0..self.steps).rev().map(|bit| 1_u16 << bit) {
            for (found, value) in found.iter_mut().zip(values) {
                let below = self.all[usize::from(*found + step - 1) % ROOM] < *value;
                *found += step * u16::from(below);
            }
        }
    }

    /// The same by sixteens: in which of them a value lies, then where in it. Two looks, in place of up to eight steps, each of
    /// which would have to gather.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    pub(super) fn below_avx512(&self, values: &[f64], found: &mut [u16]) {
        for (found, value) in found.iter_mut().zip(values) {
            *found = self.one_below_avx512(*value);
        }
    }

    /// The same of one value.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,popcnt")]
    pub(super) fn one_below_avx512(&self, value: f64) -> u16 {
        // The very last is infinite: never are all sixteen below.
        let sixteen = if self.steps <= SIXTEEN.ilog2() { 0 } else { count_below(&self.lasts, value) };
        sixteen * SIXTEEN as u16 + count_below(&self.all.as_chunks().0[usize::from(sixteen) % SIXTEEN], value)
    }
}

/// Whether this processor has what the functions for AVX-512 are compiled for.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("popcnt")
}

/// How many of sixteen lie below a value: the outcomes of two comparisons, counted as bits.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,popcnt")]
fn count_below(sixteen: &[f64; SIXTEEN], value: f64) -> u16 {
    use std::arch::x86_64::{_CMP_LT_OQ, _mm512_cmp_pd_mask, _mm512_loadu_pd, _mm512_set1_pd};
    let value = _mm512_set1_pd(value);
    let [low, high] = [0, 8].map(|from| {
        // SAFETY: the load is of eight values of the sixteen, wherever they lie.
        let eight = unsafe { _mm512_loadu_pd(sixteen[from..].as_ptr()) };
        u16::from(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(eight, value))
    });
    (low | high << 8).count_ones() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_as_many_thresholds_below_it_as_a_search_of_the_list_finds() {
        for count in [0, 1, 2, 14, 15, 16, 17, 31, 32, 128, 239, 240, 253, MOST_THRESHOLDS] {
            let own: Vec<f64> = (0..count).map(|at| at as f64 * 1.5 - 7.0).collect();
            let near = own.iter().flat_map(|at| [at.next_down(), *at, at.next_up()]);
            let values: Vec<f64> = near.chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e300]).collect();
            let expected: Vec<u16> =
                values.iter().map(|value| own.partition_point(|threshold| *threshold < *value) as u16).collect();
            let thresholds = Thresholds::of(&own);
            let mut found = vec![0; values.len()];
            thresholds.below(&values, &mut found);
            assert_eq!(found, expected, "{count} thresholds");
            #[cfg(target_arch = "x86_64")]
            if has_avx512() {
                let mut found = vec![0; values.len()];
                // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
                unsafe { thresholds.below_avx512(&values, &mut found) };
                assert_eq!(found, expected, "{count} thresholds by sixteens");
            }
        }
    }
}
