//! Whose windows a transaction belongs to: a phone number in E.164, or an opaque 64-digit subject.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{
    digits::{EIGHT, ascii, hex, number},
    pen::Pen,
};

/// A normalised phone. `Display` gives the Kafka key: `+254712345678`, or 64 lower-case hex digits.
///
/// `Debug` masks the number, so that a log line cannot leak it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phone {
    /// Digits of an E.164 number without the plus, as an integer (they never start with 0).
    E164(u64),
    /// 256 bits chosen by the switch in place of a number.
    Subject([u8; 32]),
}

/// Why a text is no phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneError {
    /// Some digits are masked (`2547****678`): many people share one mask.
    Masked,
    /// Not E.164, not a known national form, not 64 hex digits.
    Malformed,
}

/// The digits that follow the calling code in a national form (`07…`, `01…`) or in `254…`.
const NATIONAL_DIGITS: usize = 9;

/// The hex digits of an opaque subject.
const SUBJECT_DIGITS: usize = 64;

impl Phone {
    /// Normalises a phone: `+` and 8..=15 digits, `254…` and `07…`/`01…` of the home country, or 64 hex digits.
    ///
    /// Separators are no part of any form. The national forms are complete only with nine digits after the
    /// calling code: a shorter number would be somebody else's.
    ///
    /// # Errors
    /// [`PhoneError::Masked`] where digits are masked, else [`PhoneError::Malformed`].
    pub fn parse(text: &str, calling_code: &str) -> Result<Self, PhoneError> {
        let bytes = text.as_bytes();
        if let Some(international) = bytes.strip_prefix(b"+") {
            return e164(b"", international).ok_or_else(|| why_not(text));
        }
        if bytes.len() == SUBJECT_DIGITS {
            return subject(bytes).ok_or_else(|| why_not(text));
        }
        let national = match bytes {
            [b'0', national @ ..] if matches!(national.first(), Some(b'1' | b'7')) => Some(national),
            _ => bytes.strip_prefix(calling_code.as_bytes()),
        };
        national
            .filter(|national| national.len() == NATIONAL_DIGITS)
            .and_then(|national| e164(calling_code.as_bytes(), national))
            .ok_or_else(|| why_not(text))
    }

    /// Writes the phone as a Kafka key.
    #[inline]
    pub(super) fn write(&self, out: &mut Pen<'_>) {
        match self {
            Self::Subject(_) => out.put_all(self.key().as_bytes()),
            Self::E164(digits) => {
                let (text, length) = e164_text(*digits);
                out.put_part(&text.to_le_bytes(), length);
            }
        }
    }

    /// The phone as a Kafka key, without allocation.
    #[inline]
    pub fn key(&self) -> PhoneKey {
        match self {
            Self::E164(digits) => {
                let (text, length) = e164_text(*digits);
                PhoneKey(Key::Number(text.to_le_bytes(), length))
            }
            Self::Subject(subject) => PhoneKey(Key::Subject(subject_text(subject))),
        }
    }
}

/// A subject's key.
#[inline(never)]
fn subject_text(subject: &[u8; SUBJECT_DIGITS / 2]) -> [u8; SUBJECT_DIGITS] {
    let mut digits = [0; SUBJECT_DIGITS];
    for (to, four) in digits.as_chunks_mut().0.iter_mut().zip(subject.as_chunks().0) {
        *to = hex(u32::from_be_bytes(*four)).to_le_bytes();
    }
    digits
}

/// A number's key, its first letter in the lowest byte, and how long it is.
#[inline]
fn e164_text(digits: u64) -> (u128, usize) {
    let all = u128::from(ascii(digits / EIGHT % EIGHT)) | u128::from(ascii(digits % EIGHT)) << 64;
    // At most 15 digits, so that the sign has room.
    let zeros = ((all ^ u128::from_le_bytes([b'0'; 16])).trailing_zeros() / 8).clamp(1, 15);
    (all >> (8 * zeros) << 8 | u128::from(b'+'), 17 - zeros as usize)
}

/// A phone's Kafka key on the stack: `+254712345678`, or 64 lower-case hex digits.
#[derive(Clone, Copy)]
pub struct PhoneKey(Key);

#[derive(Clone, Copy)]
enum Key {
    /// With its sign, and so long.
    Number([u8; 16], usize),
    Subject([u8; SUBJECT_DIGITS]),
}

impl fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneKey(masked)")
    }
}

impl PhoneKey {
    /// The key's bytes, all ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Key::Number(text, length) => &text[..*length],
            Key::Subject(digits) => digits,
        }
    }
}

/// 8..=15 digits in all, the first not 0; `code` may be empty.
fn e164(code: &[u8], rest: &[u8]) -> Option<Phone> {
    let fits = (8..=15).contains(&(code.len() + rest.len()));
    if !fits || code.first().or(rest.first()) == Some(&b'0') {
        return None;
    }
    let before = if code.is_empty() { 0 } else { number(code)? };
    Some(Phone::E164(before * 10_u64.pow(rest.len() as u32) + number(rest)?))
}

fn subject(hex: &[u8]) -> Option<Phone> {
    let mut bytes = [0_u8; SUBJECT_DIGITS / 2];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
    }
    Some(Phone::Subject(bytes))
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Masked is what would be a number but for its mask: `2547****678`, `07xxxxxx12`, `•••• 678`.
#[cold]
fn why_not(text: &str) -> PhoneError {
    let mut masked = false;
    for letter in text.chars() {
        match letter {
            '*' | '•' | '●' | 'x' | 'X' => masked = true,
            '0'..='9' | '+' | ' ' | '-' | '(' | ')' => {}
            _ => return PhoneError::Malformed,
        }
    }
    // Letters alone are a word; a mask of other signs may hide every digit.
    let visible = text.contains(|letter: char| letter.is_ascii_digit() || matches!(letter, '*' | '•' | '●'));
    if masked && visible { PhoneError::Masked } else { PhoneError::Malformed }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::E164(digits) => write!(f, "+{digits}"),
            Self::Subject(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::E164(_) => "Phone(+***)",
            Self::Subject(_) => "Phone(subject ***)",
        })
    }
}

impl Serialize for Phone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUBJECT: &str = "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff";

    #[test]
    fn every_known_form_becomes_the_same_phone() {
        for text in ["+254712345678", "254712345678", "0712345678"] {
            assert_eq!(Phone::parse(text, "254"), Ok(Phone::E164(254_712_345_678)), "{text}");
        }
        let cases = [
            ("0112345678", "254", "+254112345678"),
            ("0712345678", "256", "+256712345678"),
            ("+15551234567", "254", "+15551234567"),
            ("+12345678", "254", "+12345678"),
            ("+123456789012345", "254", "+123456789012345"),
            (SUBJECT, "254", &SUBJECT.to_ascii_lowercase()),
        ];
        for (text, code, expected) in cases {
            assert_eq!(Phone::parse(text, code).map(|phone| phone.to_string()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_phone_is_masked_or_malformed() {
        use PhoneError::{Malformed, Masked};
        let cases = [
            ("2547****678", Masked),
            ("+2547*****678", Masked),
            ("07xxxxxx78", Masked),
            ("+254 7XX XXX 678", Masked),
            ("2547••••678", Masked),
            ("************", Masked),
            ("", Malformed),
            ("+", Malformed),
            ("+1234567", Malformed),
            ("+1234567890123456", Malformed),
            ("+0712345678", Malformed),
            ("0712 345 678", Malformed),
            ("07123456", Malformed),
            ("071234567890", Malformed),
            ("0212345678", Malformed),
            ("25471234567", Malformed),
            ("2547123456789", Malformed),
            ("712345678", Malformed),
            ("00254712345678", Malformed),
            ("+25471234567a", Malformed),
            ("xxxx", Malformed),
            ("Max", Malformed),
            ("٠٧١٢٣٤٥٦٧٨", Malformed),
            (&SUBJECT[1..], Malformed),
            (&SUBJECT.replace('0', "g"), Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(Phone::parse(text, "254"), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_phone_never_shows_in_debug() {
        let phone = Phone::parse("+254712345678", "254").expect("a phone");
        assert!(!format!("{phone:?}").contains("712"));
    }

    proptest! {
        #[test]
        fn the_key_is_the_text_and_reads_back(digits in 10_000_000_u64..1_000_000_000_000_000, bytes: [u8; 32]) {
            for phone in [Phone::E164(digits), Phone::Subject(bytes)] {
                let text = phone.to_string();
                let key = phone.key();
                prop_assert_eq!(key.as_bytes(), text.as_bytes());
                prop_assert_eq!(Phone::parse(&text, "254"), Ok(phone));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*", code in "[0-9]{0,4}") {
            let _ = Phone::parse(&text, &code);
        }
    }
}
