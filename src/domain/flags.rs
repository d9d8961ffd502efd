//! What was unusual about an event: a closed set of flags, printed as an array of names.

use serde::{Serialize, Serializer, ser::SerializeSeq};

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// t lies before the phone's newest event.
    pub const OUT_OF_ORDER: Self = Self(1);
    /// The timestamp led the record's Kafka timestamp too far and was cut.
    pub const TIME_ADJUSTED: Self = Self(2);
    /// The phone has more events than its ring holds; 24 h and 7 d are by hourly panes.
    pub const SATURATED: Self = Self(4);
    /// State does not yet reach back far enough to be complete.
    pub const WARMING: Self = Self(8);
    /// The record lies in another partition than its phone's.
    pub const MISROUTED: Self = Self(16);
    /// Another currency than the home currency: in no sum or mean.
    pub const FOREIGN_CURRENCY: Self = Self(32);

    /// Every flag with its wire name, in printing order.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::OUT_OF_ORDER, "out_of_order"),
        (Self::TIME_ADJUSTED, "time_adjusted"),
        (Self::SATURATED, "saturated"),
        (Self::WARMING, "warming"),
        (Self::MISROUTED, "misrouted"),
        (Self::FOREIGN_CURRENCY, "foreign_currency"),
    ];

    /// Adds `flag` when `on`.
    pub fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        }
    }

    /// Whether every flag of `flag` is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// The names set, in printing order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for name in self.names() {
            seq.serialize_element(name)?;
        }
        seq.end()
    }
}
