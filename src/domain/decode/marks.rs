//! Where the bytes stand that a reader of JSON texts stops at: quotes, backslashes and control characters.
//!
//! All of a value's marks are found in one pass over blocks of 64 bytes, so that no string is walked byte by byte
//! afterwards. Not a judgement: what a mark means there (an end, an escape, a blank, a fault) is its reader's affair.

/// A block: one bit a byte in a word.
const BLOCK: usize = 64;

/// The most marks before a value's last block; a transaction with every field has 68.
const MOST: usize = 256;

/// The positions of all marks of a value, ascending.
pub(super) struct Marks {
    /// Positions below 64 KiB; the first `count` are set.
    at: [u16; MOST + BLOCK],
    count: usize,
}

impl Marks {
    /// No marks: the place for [`Marks::find`] to write them.
    pub(super) fn none() -> Self {
        Self { at: [0; MOST + BLOCK], count: 0 }
    }

    /// Finds the marks of `bytes`; `None` where they are too many, or stand too far behind, to be kept.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<()> {
        let (blocks, tail) = bytes.as_chunks::<BLOCK>();
        let mut start = 0;
        for block in blocks {
            self.note(start, marked(block))?;
            start += BLOCK;
        }
        if tail.is_empty() {
            return Some(());
        }
        match bytes.last_chunk::<BLOCK>() {
            // The last 64 bytes again, without those that were seen.
            Some(last) => self.note(start, marked(last) >> (BLOCK - tail.len())),
            None => {
                let mut padded = [b' '; BLOCK];
                padded[..tail.len()].copy_from_slice(tail);
                self.note(start, marked(&padded))
            }
        }
    }

    /// The position of the mark with this number, counted from 0.
    pub(super) fn get(&self, number: usize) -> Option<usize> {
        (number < self.count).then(|| usize::from(self.at[number]))
    }

    /// Adds one position a bit of `mask`.
    fn note(&mut self, start: usize, mask: u64) -> Option<()> {
        let start = u16::try_from(start).ok()?;
        let room: &mut [u16; BLOCK] = self.at.get_mut(self.count..)?.first_chunk_mut()?;
        let count = mask.count_ones() as usize;
        // A fixed number of steps costs less than a guess at the right number of them; what is too much is
        // overwritten by the next block.
        let mut rest = mask;
        for slot in &mut room[..USUAL] {
            *slot = start + lowest(rest);
            rest &= rest.wrapping_sub(1);
        }
        if count > USUAL {
            for slot in &mut room[USUAL..count] {
                *slot = start + lowest(rest);
                rest &= rest.wrapping_sub(1);
            }
        }
        self.count += count;
        Some(())
    }
}

/// As many marks as a block of a transaction seldom exceeds.
const USUAL: usize = 12;

/// The lowest bit's number; 63 for no bit, which spares the processor the question.
fn lowest(mask: u64) -> u16 {
    (mask | 1 << 63).trailing_zeros() as u16
}

/// One bit a byte that is a quote, a backslash or below 0x20.
#[cfg(target_arch = "x86_64")]
fn marked(block: &[u8; BLOCK]) -> u64 {
    // SAFETY: every processor of this architecture has SSE2.
    unsafe { marked_by_vectors(block) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn marked_by_vectors(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let (quote, backslash, control) = (_mm_set1_epi8(0x22), _mm_set1_epi8(0x5c), _mm_set1_epi8(0x1f));
    let (pairs, _) = block.as_chunks::<16>();
    pairs.iter().rev().fold(0, |mask, pair| {
        let (words, _) = pair.as_chunks::<8>();
        let bytes = _mm_set_epi64x(i64::from_le_bytes(words[1]), i64::from_le_bytes(words[0]));
        let ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes);
        mask << 16 | u64::from(_mm_movemask_epi8(_mm_or_si128(ends, controls)) as u16)
    })
}

/// The same eight bytes at a time, for processors of other makes.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn marked_by_words(block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        let word = u64::from_le_bytes(*word);
        let hits = [word ^ (ONES * 0x22), word ^ (ONES * 0x5c), word & (ONES * 0xe0)].map(zero_bytes);
        // Eight high bits, gathered into the top byte.
        let hits = hits[0] | hits[1] | hits[2];
        (mask << 8) | ((hits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56)
    })
}
#[cfg(not(target_arch = "x86_64"))]
use marked_by_words as marked;

#[cfg(any(test, not(target_arch = "x86_64")))]
const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each zero byte.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn zero_bytes(word: u64) -> u64 {
    !((word & (ONES * 0x7f)).wrapping_add(ONES * 0x7f) | word | (ONES * 0x7f))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn found(bytes: &[u8]) -> Option<Vec<usize>> {
        let mut marks = Marks::none();
        marks.find(bytes)?;
        Some((0..).map_while(|number| marks.get(number)).collect())
    }

    fn by_hand(bytes: &[u8]) -> Vec<usize> {
        (0..bytes.len()).filter(|at| matches!(bytes[*at], b'"' | b'\\' | 0..0x20)).collect()
    }

    #[test]
    fn every_byte_is_judged_alike_in_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b'!'; BLOCK];
                block[at] = byte;
                assert_eq!(marked(&block), (by_hand(&block).len() as u64) << at, "{byte} {at}");
                assert_eq!(marked_by_words(&block), marked(&block), "{byte} {at}");
            }
        }
    }

    #[test]
    fn more_marks_than_fit_are_refused_not_lost() {
        let most = (0..1_000).take_while(|count| found(&vec![b'"'; *count]).is_some()).count() - 1;
        assert!((MOST..=MOST + BLOCK).contains(&most), "{most}");
        assert_eq!(found(&vec![b'\n'; 65_536]), None);
        let far = [vec![b' '; 65_535], vec![b'"']].concat();
        assert_eq!(found(&far), Some(vec![65_535]));
        assert_eq!(found(&[far, vec![b' '; 64]].concat()), None);
    }

    proptest! {
        #[test]
        fn the_marks_are_those_of_a_search_by_hand(bytes in vec(prop_oneof![Just(b'"'), Just(b'a'), any::<u8>()], 0..400)) {
            prop_assume!(by_hand(&bytes).len() <= MOST);
            prop_assert_eq!(found(&bytes), Some(by_hand(&bytes)));
            let (blocks, _) = bytes.as_chunks::<BLOCK>();
            for block in blocks {
                prop_assert_eq!(marked_by_words(block), marked(block));
            }
        }
    }
}
