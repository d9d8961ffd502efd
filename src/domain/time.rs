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
        self.text().as_str().to_owned()
    }

    /// The same without allocation.
    pub fn text(self) -> TimeText {
        TimeText::new(self.0.div_euclid(1_000), self.0.rem_euclid(1_000) as u32, 3)
    }
}

impl Serialize for EventTimeMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

/// A point in wall-clock time, microseconds since the Unix epoch: only `decided_at` has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTimeUs(pub i64);

impl WallTimeUs {
    /// RFC 3339 in UTC with six decimals, without allocation.
    pub fn text(self) -> TimeText {
        TimeText::new(self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000) as u32, 6)
    }
}

impl Serialize for WallTimeUs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

/// The longest text of a time: `yyyy-mm-ddThh:mm:ss.ffffffZ`.
const LONGEST: usize = 27;

/// Where the fraction of a second begins in it.
const FRACTION_AT: usize = 20;

/// A time's text on the stack, all ASCII.
#[derive(Clone, Copy, Debug)]
pub struct TimeText {
    bytes: [u8; LONGEST],
    len: usize,
}

impl TimeText {
    /// `yyyy-mm-ddThh:mm:ss.fffZ`: `seconds` since 1970 and a `fraction` of `decimals` digits (3 or 6).
    fn new(seconds: i64, fraction: u32, decimals: usize) -> Self {
        let mut text = Self { bytes: *b"9999-12-31T23:59:59Z.......", len: FRACTION_AT };
        let Ok(at) = time::OffsetDateTime::from_unix_timestamp(seconds) else { return text };
        let (date, (hour, minute, second)) = (at.date(), at.to_hms());
        text.digits(0, 4, date.year().unsigned_abs());
        for (from, value) in [(5, u8::from(date.month())), (8, date.day()), (11, hour), (14, minute), (17, second)] {
            text.digits(from, 2, u32::from(value));
        }
        text.bytes[FRACTION_AT - 1] = b'.';
        text.digits(FRACTION_AT, decimals, fraction);
        text.bytes[FRACTION_AT + decimals] = b'Z';
        text.len = FRACTION_AT + decimals + 1;
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Built of ASCII alone.
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes the last `count` decimal digits of `value` at `from`.
    fn digits(&mut self, from: usize, count: usize, mut value: u32) {
        for place in self.bytes[from..from + count].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
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
        assert_eq!(EventTimeMs(253_402_300_800_000).to_rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(WallTimeUs(1_772_352_900_000_042).text().as_str(), "2026-03-01T08:15:00.000042Z");
        assert_eq!(WallTimeUs(-1).text().as_str(), "1969-12-31T23:59:59.999999Z");
    }
}
