//! What 64 rows do together, a row a lane: compare their ranks, tell the numbers of their leaves, add those. Each by plain code and,
//! where the compiler would not find them, by the vectors that a processor has: the same bits.

/// Rows that one word tells of.
pub(super) const LANES: usize = 64;

/// The most leaves of a tree, and the bits of their numbers.
pub(super) const LEAVES: usize = 32;
pub(super) const PLANES: usize = 5;

/// Lanes whose sums stay in registers meanwhile.
const AT_ONCE: usize = 8;

/// Values from the beginning of a line of the cache on: a vector that lies across two lines is loaded at half the speed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Aligned<T>(pub(super) T);

/// A tree's leaves in the order of this plan, as many as there can be.
pub(super) type Leaves = Aligned<[f64; LEAVES]>;

/// What each lane's trees said so far.
pub(super) type Sums = Aligned<[f64; LANES]>;

/// The leaf of one tree that each lane reached.
pub(super) type Reached = Aligned<[u8; LANES]>;

/// Adds the leaves that each lane reached in some trees, in their order.
#[inline(always)]
pub(super) fn add_leaves(trees: &[Leaves], reached: &[Reached], sums: &mut Sums) {
    for (at, sums) in sums.0.as_chunks_mut::<AT_ONCE>().0.iter_mut().enumerate() {
        for (leaves, reached) in trees.iter().zip(reached) {
            for (sum, leaf) in sums.iter_mut().zip(&reached.0.as_chunks::<AT_ONCE>().0[at]) {
                *sum += leaves.0[usize::from(*leaf) % LEAVES];
            }
        }
    }
}

/// The same with a tree's leaves in four registers, from which a lane takes its own, and the sums in eight.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub(super) fn add_leaves_avx512(trees: &[Leaves], reached: &[Reached], sums: &mut Sums) {
    use std::arch::x86_64::{
        _mm_loadl_epi64, _mm512_add_pd, _mm512_cvtepu8_epi64, _mm512_loadu_pd, _mm512_mask_blend_pd,
        _mm512_permutex2var_pd, _mm512_set1_epi64, _mm512_storeu_pd, _mm512_test_epi64_mask,
    };
    // SAFETY: each load is of eight values of an array, wherever they lie.
    let load = |eight: &[f64; 8]| unsafe { _mm512_loadu_pd(eight.as_ptr()) };
    let mut all: [_; LANES / 8] = std::array::from_fn(|at| load(&sums.0.as_chunks().0[at]));
    for (leaves, reached) in trees.iter().zip(reached) {
        let [a, b, c, d] = std::array::from_fn(|at| load(&leaves.0.as_chunks().0[at]));
        for (sums, reached) in all.iter_mut().zip(reached.0.as_chunks::<8>().0) {
            // SAFETY: the load is of the eight bytes.
            let leaf = _mm512_cvtepu8_epi64(unsafe { _mm_loadl_epi64(reached.as_ptr().cast()) });
            let (left, right) = (_mm512_permutex2var_pd(a, leaf, b), _mm512_permutex2var_pd(c, leaf, d));
            let is_right = _mm512_test_epi64_mask(leaf, _mm512_set1_epi64(16));
            *sums = _mm512_add_pd(*sums, _mm512_mask_blend_pd(is_right, left, right));
        }
    }
    for (to, sums) in sums.0.as_chunks_mut::<8>().0.iter_mut().zip(all) {
        // SAFETY: the store is of the eight values.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), sums) };
    }
}

/// The lanes whose rank is above a threshold.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn above(ranks: &[i8; LANES], threshold: i8) -> u64 {
    use std::arch::x86_64::{_mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let parts = ranks.as_chunks::<16>().0;
    let mut lanes = 0;
    for at in (0..LANES / 16).rev() {
        // SAFETY: every x86_64 has SSE2, and the load is of the 16 ranks, wherever they lie.
        let above = unsafe {
            let ranks = _mm_loadu_si128(parts[at].as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpgt_epi8(ranks, _mm_set1_epi8(threshold)))
        };
        lanes = lanes << 16 | u64::from(above as u16);
    }
    lanes
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn above(ranks: &[i8; LANES], threshold: i8) -> u64 {
    ranks.iter().rev().fold(0, |lanes, rank| lanes << 1 | u64::from(*rank > threshold))
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub(super) fn above_avx512(ranks: &[i8; LANES], threshold: i8) -> u64 {
    use std::arch::x86_64::{_mm512_cmpgt_epi8_mask, _mm512_loadu_epi8, _mm512_set1_epi8};
    // SAFETY: the load is of the 64 ranks, wherever they lie.
    _mm512_cmpgt_epi8_mask(unsafe { _mm512_loadu_epi8(ranks.as_ptr()) }, _mm512_set1_epi8(threshold))
}

/// Each lane's number, of the lanes' bits.
#[inline(always)]
pub(super) fn numbers(planes: &[u64; PLANES]) -> Reached {
    let mut numbers = Aligned([0; LANES]);
    for (eight, to) in numbers.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut sum = 0;
        for plane in planes.iter().rev() {
            sum = sum << 1 | SPREAD[usize::from((plane >> (8 * eight)) as u8)];
        }
        *to = sum.to_le_bytes();
    }
    numbers
}

/// Of each byte, its bits as the lowest of eight bytes.
static SPREAD: [u64; 256] = {
    let mut spread = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            spread[byte] |= (byte as u64 >> bit & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    spread
};

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
pub(super) fn numbers_avx512(planes: &[u64; PLANES]) -> Reached {
    use std::arch::x86_64::{_mm512_mask_add_epi8, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_epi8};
    let mut sum = _mm512_setzero_si512();
    for (bit, plane) in planes.iter().enumerate() {
        sum = _mm512_mask_add_epi8(sum, *plane, sum, _mm512_set1_epi8(1 << bit));
    }
    let mut numbers = Aligned([0; LANES]);
    // SAFETY: the store is of the 64 bytes of the array.
    unsafe { _mm512_storeu_epi8(numbers.0.as_mut_ptr().cast(), sum) };
    numbers
}
