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
        let ms = at.unix_timestamp() * 1_000 + i64::from(at.millisecond());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339_and_not_before_1970() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T03:00:00+03:00", Some(0)),
            ("2026-03-01T08:15:00.9999999Z", Some(1_772_352_900_999)),
            ("2026-03-01t08:15:00z", Some(1_772_352_900_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("1969-12-31T23:59:59.999Z", None),
            ("1970-01-01T00:00:00+03:00", None),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01T24:00:00Z", None),
            ("2026-03-01T08:15:00", None),
            ("2026-03-01T08:15Z", None),
            ("2026-03-01", None),
            ("1772352900", None),
            ("+12026-03-01T08:15:00Z", None),
            (" 2026-03-01T08:15:00Z", None),
            ("2026-03-01T08:15:00Z ", None),
            ("2026-03-01T08:15:00+25:00", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(EventTimeMs::parse(text), expected.map(EventTimeMs), "{text}");
        }
    }

    #[test]
    fn a_time_prints_in_utc_and_reads_back() {
        for (ms, text) in [(0, "1970-01-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z")] {
            assert_eq!(EventTimeMs(ms).to_rfc3339(), text);
            assert_eq!(EventTimeMs::parse(text), Some(EventTimeMs(ms)));
        }
    }
}
