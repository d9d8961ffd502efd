//! Where a page of rows ended, as text that travels through a URL: `<milliseconds>-<log>-<partition>-<offset>`.

use std::{fmt, str::FromStr};

use crate::domain::identity::LogId;

/// The last row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The row's record timestamp.
    pub recorded_at_ms: i64,
    /// Its log.
    pub log: String,
    /// Its partition.
    pub partition: i32,
    /// Its source offset.
    pub offset: i64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no cursor: use the one that the page before gave, whole, or none")]
pub struct NotACursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.recorded_at_ms, self.log, self.partition, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        /// The greatest time of fourteen digits, in the year 5138: what the description of the interface promises.
        const LAST_MS: i64 = 99_999_999_999_999;
        let mut parts = text.split('-');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(NotACursor);
        let (at, log, partition, offset) = (part()?, part()?, part()?, part()?);
        let recorded_at_ms = at.parse().ok().filter(|ms| (0..=LAST_MS).contains(ms)).ok_or(NotACursor)?;
        let cursor = Self {
            recorded_at_ms,
            log: log.to_owned(),
            partition: partition.parse().map_err(|_| NotACursor)?,
            offset: offset.parse().map_err(|_| NotACursor)?,
        };
        // Written back it must be the same: no signs, no leading zeros, nothing after it.
        if LogId::is_short(log) && cursor.to_string() == text { Ok(cursor) } else { Err(NotACursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_equal_and_any_other_text_refused() {
        let cursor =
            Cursor { recorded_at_ms: 1_700_000_000_123, log: String::from("7f3a9c01"), partition: 3, offset: 181 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        for text in
            ["", "x", "1-7f3a9c01-3", "1-7f3a9c01-3-4-5", "1-7F3A9C01-3-4", "01-7f3a9c01-3-4", "1-7f3a9c01-+3-4"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
        assert!("99999999999999-7f3a9c01-3-4".parse::<Cursor>().is_ok(), "the greatest that the description allows");
        assert!("100000000000000-7f3a9c01-3-4".parse::<Cursor>().is_err(), "beyond any time");
    }
}
