//! Money: exact integer minor units and ISO 4217 codes. Floats never carry an amount.

use serde::{Serialize, Serializer};

use super::digits::number;

/// An amount in minor units (cents): 1 ..= 10^14, which is 10^12 units at two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmountMinor(pub i64);

/// The greatest amount accepted, in minor units: 10^12 units.
pub const MAX_AMOUNT_MINOR: i64 = 100_000_000_000_000;

/// Why a text is no amount; each is told apart in the invalid verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not a decimal number.
    NotANumber,
    /// Zero or below.
    NotPositive,
    /// More than two decimals by value (`1.50` and `15e-1` are fine, `1.001` is not).
    TooPrecise,
    /// Above 10^12.
    TooLarge,
    /// A magnitude that no number type holds (`1e400`).
    OutOfRange,
}

/// Magnitudes from 10^309 on fit no IEEE double; such a number is no typing error but noise.
const DOUBLE_DIGITS: i64 = 309;

/// 10^13 has more digits before the point than any amount accepted.
const MAX_UNIT_DIGITS: i64 = 13;

impl AmountMinor {
    /// Reads a decimal number by its exact value: `1.50`, `15e-1` and `001.5` are 150 minor units.
    ///
    /// The grammar is JSON's, leading zeros allowed. No floating point is involved, so nothing is rounded.
    ///
    /// # Errors
    /// What is wrong with the value; see [`AmountError`].
    pub fn parse(token: &str) -> Result<Self, AmountError> {
        if let Some(minor) = common(token.as_bytes()) {
            return Ok(Self(minor));
        }
        let decimal = Decimal::split(token).ok_or(AmountError::NotANumber)?;
        let Some((first, last)) = decimal.significant() else { return Err(AmountError::NotPositive) };
        if decimal.negative {
            return Err(AmountError::NotPositive);
        }
        // The value is d.ddd × 10^(digits − 1), its last significant digit worth 10^unit.
        let digits = decimal.place(first).saturating_add(1);
        let unit = decimal.place(last);
        if digits > DOUBLE_DIGITS {
            return Err(AmountError::OutOfRange);
        }
        if digits > MAX_UNIT_DIGITS {
            return Err(AmountError::TooLarge);
        }
        if unit < -2 {
            return Err(AmountError::TooPrecise);
        }
        // At most 13 digits before the point and 2 after it: below 10^15.
        let significand = decimal.digits(first, last).fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let minor = significand * 10_i64.pow((unit + 2) as u32);
        if minor > MAX_AMOUNT_MINOR {
            return Err(AmountError::TooLarge);
        }
        Ok(Self(minor))
    }

    /// The amount in units, for features: exact below 2^53 minor units.
    pub fn units(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

impl Serialize for AmountMinor {
    /// A JSON number without needless decimals: `50000`, `50000.5`, `50000.25`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 100 == 0 {
            serializer.serialize_i64(self.0 / 100)
        } else {
            // Below 2^53 minor units the shortest text of the quotient has at most two decimals.
            serializer.serialize_f64(self.units())
        }
    }
}

/// The minor units of the common form: at most 12 digits and at most two decimals, not 0. All others are left to the rules.
fn common(token: &[u8]) -> Option<i64> {
    let (units, cents) = match token {
        [units @ .., b'.', tenths] => (units, 10 * number(&[*tenths])?),
        [units @ .., b'.', tenths, hundredths] => (units, number(&[*tenths, *hundredths])?),
        units => (units, 0),
    };
    let minor = if units.len() <= 12 { number(units)? * 100 + cents } else { 0 };
    (minor > 0).then_some(minor as i64)
}

/// A decimal number cut into its parts, none of them interpreted; the digits are those of `whole` and `fraction` in a row.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// `-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?`, or nothing.
    fn split(token: &'a str) -> Option<Self> {
        let bytes = token.as_bytes();
        let (negative, bytes) = match bytes.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let (whole, rest) = leading_digits(bytes);
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => match leading_digits(rest) {
                ([], _) => return None,
                parts => parts,
            },
            None => (&[][..], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => read_exponent(rest)?,
            _ => return None,
        };
        (!whole.is_empty()).then_some(Self { negative, whole, fraction, exponent })
    }

    fn digit(&self, index: usize) -> u8 {
        match self.whole.get(index) {
            Some(digit) => *digit,
            None => self.fraction[index - self.whole.len()],
        }
    }

    fn digits(&self, first: usize, last: usize) -> impl Iterator<Item = u8> {
        (first..=last).map(|index| self.digit(index))
    }

    /// The positions of the first and last digit that is not 0; `None` for zero.
    fn significant(&self) -> Option<(usize, usize)> {
        let total = self.whole.len() + self.fraction.len();
        let first = (0..total).find(|index| self.digit(*index) != b'0')?;
        let last = (first..total).rev().find(|index| self.digit(*index) != b'0')?;
        Some((first, last))
    }

    /// The power of ten that the digit at `index` counts.
    fn place(&self, index: usize) -> i64 {
        (self.whole.len() as i64 - 1 - index as i64).saturating_add(self.exponent)
    }
}

fn leading_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Signed digits; beyond an i64 the exponent saturates, where no amount reaches anyway.
fn read_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

/// An ISO 4217 code: three upper-case letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub [u8; 3]);

impl Currency {
    /// Kenyan shillings, the default home currency.
    pub const KES: Self = Self(*b"KES");

    /// Reads three ASCII letters, upper-cased.
    #[inline]
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphabetic).then(|| Self(code.map(|letter| letter.to_ascii_uppercase())))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // Built from ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// The code in 15 bits, five a letter, for compact state.
    pub fn to_bits(self) -> u16 {
        self.0.iter().fold(0, |bits, letter| bits << 5 | u16::from(letter.wrapping_sub(b'A') & 31))
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amount_is_judged_by_its_exact_value() {
        let cases = [
            ("1", Ok(100)),
            ("1.5", Ok(150)),
            ("1.50", Ok(150)),
            ("15e-1", Ok(150)),
            ("0.15E+1", Ok(150)),
            ("001.5", Ok(150)),
            ("1.500000000000000000000000000000000", Ok(150)),
            ("0.01", Ok(1)),
            ("1e-2", Ok(1)),
            ("1000000000000", Ok(MAX_AMOUNT_MINOR)),
            ("1e12", Ok(MAX_AMOUNT_MINOR)),
            ("100000000000000000000e-8", Ok(MAX_AMOUNT_MINOR)),
            ("999999999999.99", Ok(MAX_AMOUNT_MINOR - 1)),
            ("50000", Ok(5_000_000)),
            ("0", Err(AmountError::NotPositive)),
            ("-0.00", Err(AmountError::NotPositive)),
            ("0e400", Err(AmountError::NotPositive)),
            ("-1", Err(AmountError::NotPositive)),
            ("-1e400", Err(AmountError::NotPositive)),
            ("1.001", Err(AmountError::TooPrecise)),
            ("1.0000000000000000000000000001", Err(AmountError::TooPrecise)),
            ("1e-3", Err(AmountError::TooPrecise)),
            ("1e-99999999999999999999", Err(AmountError::TooPrecise)),
            ("1000000000000.01", Err(AmountError::TooLarge)),
            ("1000000000001", Err(AmountError::TooLarge)),
            ("9999999999999999999999", Err(AmountError::TooLarge)),
            ("1e308", Err(AmountError::TooLarge)),
            ("1e309", Err(AmountError::OutOfRange)),
            ("1e400", Err(AmountError::OutOfRange)),
            ("1e99999999999999999999", Err(AmountError::OutOfRange)),
            ("", Err(AmountError::NotANumber)),
            ("-", Err(AmountError::NotANumber)),
            ("+1", Err(AmountError::NotANumber)),
            (".5", Err(AmountError::NotANumber)),
            ("1.", Err(AmountError::NotANumber)),
            ("1e", Err(AmountError::NotANumber)),
            ("1e+", Err(AmountError::NotANumber)),
            ("1,000", Err(AmountError::NotANumber)),
            ("1 000", Err(AmountError::NotANumber)),
            (" 1", Err(AmountError::NotANumber)),
            ("0x10", Err(AmountError::NotANumber)),
            ("NaN", Err(AmountError::NotANumber)),
            ("Infinity", Err(AmountError::NotANumber)),
            ("KES 100", Err(AmountError::NotANumber)),
            ("१००", Err(AmountError::NotANumber)),
        ];
        for (token, expected) in cases {
            assert_eq!(AmountMinor::parse(token), expected.map(AmountMinor), "{token}");
        }
    }

    #[test]
    fn a_currency_is_three_letters_upper_cased() {
        for (text, expected) in [("KES", Some("KES")), ("usd", Some("USD")), ("uGx", Some("UGX"))] {
            assert_eq!(Currency::parse(text).as_ref().map(Currency::as_str), expected, "{text}");
        }
        for text in ["", "KE", "KESH", "K3S", "KÉ", " KES", "€"] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_its_own_json(minor in 1..=MAX_AMOUNT_MINOR) {
            let json = serde_json::to_string(&AmountMinor(minor)).expect("an amount is a number");
            prop_assert_eq!(AmountMinor::parse(&json), Ok(AmountMinor(minor)), "{}", json);
        }

        #[test]
        fn shifting_the_point_and_the_exponent_changes_nothing(minor in 1..=MAX_AMOUNT_MINOR, shift in -30_i64..30, zeros in 0_usize..5) {
            let zeros = "0".repeat(zeros);
            let plain = format!("{zeros}{}.{:02}{zeros}", minor / 100, minor % 100);
            let whole = format!("{minor}e-2");
            // minor × 10^shift, with an exponent that takes the shift back.
            let shifted = match shift {
                0.. => format!("{minor}{}e{}", "0".repeat(shift as usize), -2 - shift),
                _ => format!("0.{}{minor}e{}", "0".repeat(-shift as usize), minor.to_string().len() as i64 - shift - 2),
            };
            for token in [plain, whole, shifted] {
                prop_assert_eq!(AmountMinor::parse(&token), Ok(AmountMinor(minor)), "{}", token);
            }
        }
    }
}
