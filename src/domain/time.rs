//! Event time: milliseconds since 1970-01-01T00:00:00Z, as an integer. Not a clock: nothing here asks what time it is.

use serde::{Serialize, Serializer};

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A point in event time, milliseconds since the Unix epoch; never negative in a valid transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTimeMs(pub i64);

impl EventTimeMs {
    /// Reads an RFC 3339 timestamp; fractions below a millisecond are cut off.
    ///
    /// `None` when the text is no RFC 3339 timestamp or lies before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        use time::{OffsetDateTime, format_description::well_known::Rfc3339};
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let ms = i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
        (ms >= 0).then_some(Self(ms))
    }

    /// RFC 3339 in UTC with three decimals, as verdicts print it.
    pub fn to_rfc3339(self) -> String {
        format_utc(i128::from(self.0) * 1_000_000, 3)
    }
}

impl Serialize for EventTimeMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

/// A point in wall-clock time, microseconds since the Unix epoch: only `decided_at` has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTimeUs(pub i64);

impl Serialize for WallTimeUs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_utc(i128::from(self.0) * 1_000, 6))
    }
}

/// `yyyy-mm-ddThh:mm:ss.fffZ` with `decimals` digits of the second (3 or 6).
fn format_utc(nanos: i128, decimals: usize) -> String {
    use std::fmt::Write;
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return String::from("9999-12-31T23:59:59Z");
    };
    let mut text = String::with_capacity(27);
    let (date, clock) = (at.date(), at.time());
    let fraction = clock.nanosecond() / 10_u32.pow(9 - decimals as u32);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:0decimals$}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        fraction,
    );
    text
}
