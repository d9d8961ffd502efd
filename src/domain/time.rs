//! Event time: milliseconds since 1970-01-01T00:00:00Z, as an integer. Not a clock: nothing here asks what time it is.

use serde::{Serialize, Serializer};

use super::{digits::ascii, pen::Pen};

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
        common_ms(text.as_bytes()).or_else(|| Self::parse_any(text))
    }

    /// The same for every form that RFC 3339 has.
    fn parse_any(text: &str) -> Option<Self> {
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

/// The common forms, `yyyy-mm-ddThh:mm:ss[.fff]` with `Z` or `±hh:mm`, from 1970 on; all others are left to the library, which
/// also refuses.
fn common_ms(text: &[u8]) -> Option<EventTimeMs> {
    let (date, rest) = text.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (seconds, zone) = match rest.first_chunk::<8>() {
        Some(eight @ [_, _, _, b'.', ..]) => (u64::from_le_bytes(*eight) & u64::MAX >> 8, &rest[7..]),
        _ => match rest {
            [colon, s0, s1, zone @ ..] => (u64::from_le_bytes([*colon, *s0, *s1, b'.', b'0', b'0', b'0', 0]), zone),
            _ => return None,
        },
    };
    let ahead_ms = match zone {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), _, _, _, _, _] => {
            let ahead = u64::from_le_bytes(*text.last_chunk()?) >> 16;
            let ahead = Digits::of(ahead, &[*sign, b'0', b'0', b':', b'0', b'0', 0, 0])?;
            let (hours, minutes) = (ahead.pair(1), ahead.pair(4));
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * HOUR_MS + minutes * MINUTE_MS) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let date = Digits::of(u64::from_le_bytes(*date), b"0000-00-")?;
    let time = Digits::of(u64::from_le_bytes(*time), b"00T00:00")?;
    let seconds = Digits::of(seconds, b":00.000\0")?;
    let days = days_of((100 * date.pair(0) + date.pair(2)) as u32, date.pair(5) as u32, time.pair(0) as u32)?;
    let (hour, minute, second) = (time.pair(3), time.pair(6), seconds.pair(1));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The last digit's neighbour is none: its pair is ten times itself.
    let milliseconds = 10 * seconds.pair(4) + seconds.pair(6) / 10;
    let ms = days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + milliseconds - ahead_ms;
    (ms >= 0).then_some(EventTimeMs(ms))
}

/// Of eight letters, the value of each pair of digits beside each other: a byte a pair, where its first digit stood.
struct Digits(u64);

impl Digits {
    /// Of letters, the first in the lowest byte, that are as in a form, any digit standing where the form has a 0.
    #[inline(always)]
    fn of(letters: u64, form: &[u8; 8]) -> Option<Self> {
        // Digits become their values, and all else becomes 0 where it is as it should be. Nothing goes beyond its byte, unless
        // a byte is wrong anyhow.
        let digits = letters ^ u64::from_le_bytes(*form);
        let most = form.map(|letter| if letter == b'0' { 9 } else { 0 });
        let beyond = digits.wrapping_add(HALVES - u64::from_le_bytes(most)) | digits;
        (beyond & !HALVES == 0).then(|| Self(digits * 10 + (digits >> 8)))
    }

    #[inline(always)]
    fn pair(&self, at: usize) -> i64 {
        i64::from(self.0.to_le_bytes()[at])
    }
}

/// The greatest value of half a byte's range, in each byte.
const HALVES: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The Julian day of 1970-01-01.
pub const EPOCH_JULIAN_DAY: i64 = 2_440_588;

impl Serialize for EventTimeMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
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
        self.text().serialize(serializer)
    }
}

/// One day in seconds.
const DAY_S: i64 = DAY_MS / SECOND_MS;

/// Days from 0000-03-01, where years end with their leap day, to 1970-01-01; and of 400 years.
const DAYS_TO_EPOCH: i64 = 719_468;
const DAYS_OF_ERA: i64 = 146_097;

/// Days after 0000-03-01 that are more than the years to 9999 have.
const DAYS_OF_ALL_YEARS: i64 = 10_000 * 366;

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01 (C. Neri and L. Schneider, "Euclidean affine
/// functions and their application to calendar algorithms", 2022); `None` outside the years 0 to 9999.
pub fn civil(days: i64) -> Option<(u32, u32, u32)> {
    // The year 0 begins before March: an era is added, and its years taken away again.
    let from_march = days.checked_add(DAYS_TO_EPOCH).filter(|days| *days < DAYS_OF_ALL_YEARS)? + DAYS_OF_ERA;
    let quarters = 4 * u32::try_from(from_march).ok()? + 3;
    let (century, rest) = (quarters / DAYS_OF_ERA as u32, (quarters % DAYS_OF_ERA as u32) | 3);
    // A division by 1,461, the quarter days of a year, whose remainder comes with it.
    let years = 2_939_745 * u64::from(rest);
    let (year, day_of_year) = ((years >> 32) as u32, years as u32 / 2_939_745 / 4);
    // Months from March on: 153 days are five of them.
    let months = 2_141 * day_of_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xffff) / 2_141 + 1);
    let next = u32::from(day_of_year >= 306);
    let year = (100 * century + year + next).checked_sub(400)?;
    (year <= 9_999).then_some((year, month - 12 * next, day))
}

/// Days from 1970-01-01 to a day of the same calendar, whose years are below 10,000; `None` where there is no such day.
fn days_of(year: u32, month: u32, day: u32) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    // The year 0 may begin before March: an era is added, and its days taken away again.
    let year = year + 400 - u32::from(month <= 2);
    let from_march = (month + 9) % 12;
    let (era, of_era) = (i64::from(year / 400) - 1, year % 400);
    let days = of_era * 365 + of_era / 4 - of_era / 100 + (153 * from_march + 2) / 5 + day - 1;
    Some(era * DAYS_OF_ERA + i64::from(days) - DAYS_TO_EPOCH)
}

/// Room for the longest text of a time, `yyyy-mm-ddThh:mm:ss.ffffffZ`.
const ROOM: usize = 32;

/// A time's text on the stack, all ASCII.
#[derive(Clone, Copy, Debug)]
pub struct TimeText {
    bytes: [u8; ROOM],
    len: usize,
}

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TimeText {
    /// `yyyy-mm-ddThh:mm:ss.fffZ`: `seconds` since 1970 and a `fraction` of `decimals` digits (3 or 6).
    #[inline]
    fn new(seconds: i64, fraction: u32, decimals: usize) -> Self {
        let Some((year, month, day)) = civil(seconds.div_euclid(DAY_S)) else {
            return Self { bytes: *b"9999-12-31T23:59:59Z............", len: 20 };
        };
        let second = seconds.rem_euclid(DAY_S) as u32;
        let micros = if decimals == 3 { fraction * 1_000 } else { fraction };
        // Eight digits at a time: yyyymmdd, hhmmssff, and behind four zeros ffff.
        let date = ascii(u64::from(year * 10_000 + month * 100 + day));
        let clock = second / 3_600 * 10_000 + second / 60 % 60 * 100 + second % 60;
        let time = ascii(u64::from(clock * 100 + micros / 10_000));
        let rest = ascii(u64::from(micros % 10_000)) >> 32;
        let pair = |digits: u64, from: usize, to: usize| (digits >> (8 * from) & 0xffff) << (8 * to);
        let letter = |letter: u8, at: usize| u64::from(letter) << (8 * at);
        let thousandths = pair(rest, 0, 6);
        // With three decimals the text ends within this pair, and what comes behind is not read.
        let ended = thousandths & letter(u8::MAX, 6) | letter(b'Z', 7);
        let words = [
            date & 0xffff_ffff | letter(b'-', 4) | pair(date, 4, 5) | letter(b'-', 7),
            pair(date, 6, 0) | letter(b'T', 2) | pair(time, 0, 3) | letter(b':', 5) | pair(time, 2, 6),
            letter(b':', 0)
                | pair(time, 4, 1)
                | letter(b'.', 3)
                | pair(time, 6, 4)
                | if decimals == 3 { ended } else { thousandths },
            pair(rest, 2, 0) | letter(b'Z', 2),
        ];
        let mut text = Self { bytes: [0; ROOM], len: 21 + decimals };
        for (to, word) in text.bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        text
    }

    /// Writes the text.
    #[inline]
    pub(super) fn write(&self, out: &mut Pen<'_>) {
        out.put_part(&self.bytes, self.len);
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
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

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
            assert_eq!(EventTimeMs::parse_any(text), expected.map(EventTimeMs), "{text}");
        }
    }

    #[test]
    fn every_day_is_the_librarys() {
        let first = time::Date::from_calendar_date(0, time::Month::January, 1).unwrap();
        let mut date = first;
        while let Some(next) = date.next_day() {
            let days = i64::from(date.to_julian_day()) - EPOCH_JULIAN_DAY;
            let expected = (date.year().unsigned_abs(), u32::from(u8::from(date.month())), u32::from(date.day()));
            assert_eq!(civil(days), Some(expected));
            assert_eq!(days_of(expected.0, expected.1, expected.2), Some(days));
            date = next;
        }
        assert_eq!(civil(i64::from(first.to_julian_day()) - EPOCH_JULIAN_DAY - 1), None);
        assert_eq!(civil(i64::from(date.to_julian_day()) - EPOCH_JULIAN_DAY + 1), None);
        assert_eq!((civil(i64::MAX), civil(i64::MIN)), (None, None));
    }

    proptest! {
        #[test]
        fn the_common_form_reads_as_the_library_reads_it(
            parts in (1_960_u16..2_120, 0_u8..15, 0_u8..34, 0_u8..26, 0_u8..62, 0_u8..62),
            fraction in prop::option::of(0_u16..1_000),
            zone in prop::option::of((select(&["+", "-"][..]), 0_u8..26, 0_u8..62)),
        ) {
            let (year, month, day, hour, minute, second) = parts;
            let fraction = fraction.map_or_else(String::new, |fraction| format!(".{fraction:03}"));
            let zone = zone.map_or_else(|| "Z".to_owned(), |(sign, hours, minutes)| format!("{sign}{hours:02}:{minutes:02}"));
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            prop_assert_eq!(EventTimeMs::parse(&text), EventTimeMs::parse_any(&text));
            prop_assert_eq!(common_ms(text.as_bytes()).or(EventTimeMs::parse_any(&text)), EventTimeMs::parse_any(&text));
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
