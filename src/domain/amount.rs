//! Money: exact integer minor units and ISO 4217 codes. Floats never carry an amount.

use serde::{Serialize, Serializer};

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
}

impl AmountMinor {
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

/// An ISO 4217 code: three upper-case letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub [u8; 3]);

impl Currency {
    /// Kenyan shillings, the default home currency.
    pub const KES: Self = Self(*b"KES");

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
