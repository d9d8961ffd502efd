//! Whose windows a transaction belongs to: a phone number in E.164, or an opaque 64-digit subject.

use std::fmt;

use serde::{Serialize, Serializer};

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
