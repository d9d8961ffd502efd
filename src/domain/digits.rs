//! Digits read and written eight at a time. Numbers are short: a branch a digit is what reading them costs, and bytes that
//! are stored one by one and copied together at once are what writing them costs.

use super::pen::Pen;

/// The value of 1 to 18 ASCII digits; `None` for any other text.
#[inline]
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let (eights, rest) = digits.as_chunks();
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let head = eights.iter().try_fold(0, |sum, next| Some(sum * 100_000_000 + eight(*next)?))?;
    rest.iter().try_fold(head, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// The value of eight ASCII digits: pairs, then fours, then all, each by one multiplication (after D. Lemire, "Quickly
/// parsing eight digits", 2018).
#[inline]
fn eight(digits: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(digits);
    // A digit's upper half is 3, and still is with 6 added.
    let halves = 0xf0f0_f0f0_f0f0_f0f0;
    let threes = word & halves | (word.wrapping_add(0x0606_0606_0606_0606) & halves) >> 4;
    if threes != 0x3333_3333_3333_3333 {
        return None;
    }
    let pairs = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 << 8 | 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 << 16 | 1) >> 16;
    Some((fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// Writes a number's decimal digits.
#[inline(always)]
pub(super) fn write(out: &mut Pen<'_>, number: u64) {
    if number < 10 {
        out.put(&[b'0' + number as u8]);
    } else if number < EIGHT {
        let (digits, length) = few(number);
        out.put_part(&digits.to_le_bytes(), length);
    } else {
        let (digits, length) = many(number);
        out.put_part(&digits, length);
    }
}

/// The digits of a number below [`EIGHT`], the first in the lowest byte, and how many they are.
#[inline(never)]
fn few(number: u64) -> (u64, usize) {
    let digits = ascii(number);
    // A zero has one digit.
    let zeros = ((digits ^ ZEROS).trailing_zeros() / 8).min(7);
    (digits >> (8 * zeros), 8 - zeros as usize)
}

/// The same of any number.
#[inline(never)]
fn many(number: u64) -> ([u8; 24], usize) {
    let (low, rest) = (number % EIGHT, number / EIGHT);
    let (middle, high) = (rest % EIGHT, rest / EIGHT);
    let (first, mut length) = few(if high > 0 { high } else { middle });
    let mut digits = [0; 24];
    digits[..8].copy_from_slice(&first.to_le_bytes());
    for eight in [middle, low].into_iter().skip(usize::from(high == 0)) {
        digits[length..length + 8].copy_from_slice(&ascii(eight).to_le_bytes());
        length += 8;
    }
    (digits, length)
}

/// Eight digits are below this.
pub(super) const EIGHT: u64 = 100_000_000;

/// Eight zeros.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight digits of a number below [`EIGHT`], the first in the lowest byte: fours, then pairs, then each, by
/// multiplications instead of divisions.
#[inline]
pub(super) fn ascii(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | ((pairs - tens * 10) << 8)) + ZEROS
}

/// The eight lower-case hexadecimal digits of a number, the first in the lowest byte.
#[inline]
pub(super) fn hex(number: u32) -> u64 {
    let bytes = u64::from(number.swap_bytes());
    let halves = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    let apart = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = apart >> 4 & 0x000f_000f_000f_000f | (apart & 0x000f_000f_000f_000f) << 8;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    digits + ZEROS + letters * u64::from(b'a' - b'9' - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pen::overwrite;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_digit_is_no_number_wherever_it_stands() {
        for length in 1..=18 {
            for at in 0..length {
                for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                    let mut text = vec![b'9'; length];
                    text[at] = byte;
                    assert_eq!(number(&text), None, "{text:?}");
                }
            }
        }
        assert_eq!((number(b""), number(&[b'0'; 19])), (None, None));
    }

    #[test]
    fn every_four_digits_are_written_right() {
        for number in 0..10_000 {
            let digits = ascii(number * 10_000 + number).to_le_bytes();
            assert_eq!(digits.as_slice(), format!("{number:04}{number:04}").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn digits_read_as_the_library_reads_them(text in "[0-9]{1,18}") {
            prop_assert_eq!(number(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn numbers_are_written_as_the_library_writes_them(wide: u64, shift in 0..64_u32, below in 0..EIGHT) {
            for number in [wide, wide >> shift, below] {
                let mut out = Vec::new();
                overwrite(&mut out, 20, |mut pen| {
                    write(&mut pen, number);
                    pen
                });
                prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
            }
            let text = |word: u64| String::from_utf8(word.to_le_bytes().to_vec()).unwrap();
            prop_assert_eq!(text(ascii(below)), format!("{below:08}"));
            prop_assert_eq!(text(hex(wide as u32)), format!("{:08x}", wide as u32));
        }
    }
}
