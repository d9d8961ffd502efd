//! The bytes of a JSON string that do not stand for themselves: quotes, backslashes and control characters, looked for 64
//! at a time.

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// The last of the control characters that JSON wants escaped.
const LAST_CONTROL: u8 = 0x1f;

/// Marks which bytes of a text are special, a bit each, block after block; so is all behind the last byte.
#[inline]
pub(super) fn mark(text: &[u8], marks: &mut Vec<u64>) {
    marks.clear();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has what the function is compiled for; it is asked in the line above.
        return unsafe { mark_avx512(text, marks) };
    }
    mark_by(of_block, text, marks);
}

/// The same by a function of whole blocks.
#[inline(always)]
fn mark_by(of_block: impl Fn(&[u8; BLOCK]) -> u64, text: &[u8], marks: &mut Vec<u64>) {
    let (blocks, rest) = text.as_chunks();
    marks.extend(blocks.iter().map(&of_block));
    let behind = u64::MAX << rest.len();
    marks.push(match text.last_chunk() {
        _ if rest.is_empty() => behind,
        // The last block, the bytes of the one before it shifted away: a copy would have to wait for its own bytes.
        Some(block) => of_block(block) >> (BLOCK - rest.len()) | behind,
        None => {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            of_block(&block) | behind
        }
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
fn mark_avx512(text: &[u8], marks: &mut Vec<u64>) {
    use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_epi8, _mm512_set1_epi8};
    let of_block = |block: &[u8; BLOCK]| {
        // SAFETY: the load is of the 64 bytes of the block, wherever they lie.
        let block = unsafe { _mm512_loadu_epi8(block.as_ptr().cast()) };
        _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(b'"' as i8))
            | _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(b'\\' as i8))
            | _mm512_cmple_epu8_mask(block, _mm512_set1_epi8(LAST_CONTROL as i8))
    };
    mark_by(of_block, text, marks);
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether no byte is special, eight at a time.
#[inline(never)]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        return !text.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..=LAST_CONTROL));
    };
    // Where a byte is zero its high bit is set, or that of a byte above it too (Mycroft's test): enough to tell that one is.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let special = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * (u64::from(LAST_CONTROL) + 1)) & !word & HIGHS;
        zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control
    };
    text.as_chunks().0.iter().fold(special(last), |found, word| found | special(word)) == 0
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn of_block(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    let parts = block.as_chunks::<16>().0.iter().map(|part| {
        // SAFETY: every x86_64 has SSE2, and the load is of the 16 bytes of the part, wherever they lie.
        let found = unsafe {
            let part = _mm_loadu_si128(part.as_ptr().cast::<__m128i>());
            let quote = _mm_cmpeq_epi8(part, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(part, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(part, _mm_set1_epi8(LAST_CONTROL as i8)), part);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control))
        };
        u64::from(found as u16)
    });
    parts.rev().fold(0, |specials, part| specials << 16 | part)
}

#[cfg(not(target_arch = "x86_64"))]
fn of_block(block: &[u8; BLOCK]) -> u64 {
    let special = |byte: &u8| u64::from(matches!(byte, b'"' | b'\\' | 0..=LAST_CONTROL));
    block.iter().rev().fold(0, |specials, byte| specials << 1 | special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_byte_is_found_wherever_it_stands_and_no_other() {
        for byte in 0..=u8::MAX {
            let special = matches!(byte, b'"' | b'\\' | 0..0x20);
            for length in [1, 17, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
                for at in (0..length).step_by(5).chain([length - 1]) {
                    let mut text = vec![b'!'; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), !special, "{byte} at {at} of {length}");
                    let expected: Vec<u64> = (0..length + 1)
                        .step_by(BLOCK)
                        .map(|from| {
                            let own = |bit: usize| from + bit >= length || (special && from + bit == at);
                            (0..BLOCK).filter(|bit| own(*bit)).fold(0, |marks, bit| marks | 1 << bit)
                        })
                        .collect();
                    let (mut marks, mut by_block) = (vec![7], Vec::new());
                    mark(&text, &mut marks);
                    mark_by(of_block, &text, &mut by_block);
                    assert_eq!((&marks, &by_block), (&expected, &expected), "{byte} at {at} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
