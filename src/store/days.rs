//! Day partitions: which day a verdict belongs to, partitions made ahead, and old ones dropped.
//!
//! Invariant: a day's partition is dropped only when all of it is older than the retention. Dropping waits two seconds
//! for questions under way and then leaves it to the next round; no question ever waits for it longer.

use std::fmt;

use time::{Date, OffsetDateTime};
use tokio_postgres::Client;

use super::StoreError;
use crate::domain::time::{DAY_MS, EPOCH_JULIAN_DAY, civil};

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The first day that may have rows.
    pub const FIRST: Self = Self(0);
    /// The last one (2100-01-01): a broken clock makes no day beyond it.
    pub const LAST: Self = Self(47_482);

    /// The day of a time in milliseconds since 1970, within the bounds.
    pub fn of_ms(ms: i64) -> Self {
        let day = i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(Self::LAST.0);
        Self(day).clamp(Self::FIRST, Self::LAST)
    }

    /// Today.
    pub fn today() -> Self {
        Self::of_ms(OffsetDateTime::now_utc().unix_timestamp() * 1_000)
    }

    /// The day as a partition's name ends: `20261123`.
    fn from_partition(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("verdicts_").filter(|digits| digits.len() == 8)?;
        let part = |from: usize, to: usize| digits.get(from..to)?.parse::<u16>().ok();
        let month = time::Month::try_from(u8::try_from(part(4, 6)?).ok()?).ok()?;
        let date = Date::from_calendar_date(i32::from(part(0, 4)?), month, u8::try_from(part(6, 8)?).ok()?).ok()?;
        i32::try_from(i64::from(date.to_julian_day()) - EPOCH_JULIAN_DAY).ok().map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match civil(i64::from(self.0)) {
            Some((year, month, day)) => write!(f, "{year:04}-{month:02}-{day:02}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// What there should be: days from today on, and none older than the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many days after today have their partition already.
    pub ahead: i32,
    /// How many whole days before today are kept; `None` is all.
    pub retention: Option<i32>,
}

impl Policy {
    /// The days from today on that have a partition.
    pub fn wanted(self, today: Day) -> impl Iterator<Item = Day> {
        (today.0..=today.0.saturating_add(self.ahead)).map(Day)
    }

    /// Whether a day's rows are not kept any more.
    pub fn is_over(self, day: Day, today: Day) -> bool {
        self.retention.is_some_and(|days| day.0 < today.0.saturating_sub(days))
    }
}

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Days that were made.
    pub made: Vec<Day>,
    /// Days that were dropped.
    pub dropped: Vec<Day>,
}

/// The days that have partitions.
///
/// # Errors
/// The database fails.
pub async fn present(client: &Client) -> Result<Vec<Day>, StoreError> {
    let names = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass('sentra.verdicts')";
    let rows = client.query(names, &[]).await?;
    let mut days: Vec<Day> = rows.iter().filter_map(|row| Day::from_partition(row.get::<_, &str>(0))).collect();
    days.sort_unstable();
    Ok(days)
}

/// Makes a day's partition; false where it was there.
///
/// # Errors
/// The database fails.
pub async fn make(client: &Client, day: Day) -> Result<bool, StoreError> {
    let made = client.query_one("SELECT sentra.make_day($1::text::date)", &[&day.to_string()]).await?;
    Ok(made.try_get(0)?)
}

/// Makes what should be there and drops what should not; the session is the owner's.
///
/// # Errors
/// The database fails, or a question under way keeps a partition from being dropped; what was done until then holds.
pub async fn keep(client: &Client, policy: Policy, today: Day) -> Result<Round, StoreError> {
    let mut round = Round::default();
    let there = present(client).await?;
    for day in policy.wanted(today).filter(|day| !there.contains(day)) {
        if make(client, day).await? {
            round.made.push(day);
        }
    }
    for day in there.into_iter().filter(|day| policy.is_over(*day, today)) {
        let name = day.to_string().replace('-', "");
        client.batch_execute(&format!("DROP TABLE IF EXISTS sentra.verdicts_{name}")).await?;
        round.dropped.push(day);
    }
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_utc_and_written_as_postgres_reads_it() {
        for (ms, text) in [
            (0, "1970-01-01"),
            (DAY_MS - 1, "1970-01-01"),
            (1_795_392_000_000, "2026-11-23"),
            (-1, "1970-01-01"),
            (i64::MAX, "2100-01-01"),
        ] {
            assert_eq!(Day::of_ms(ms).to_string(), text);
        }
        assert_eq!(Day::from_partition("verdicts_20261123"), Some(Day::of_ms(1_795_392_000_000)));
        assert_eq!(Day::from_partition("verdicts_old"), None);
        assert_eq!(Day::from_partition("verdicts_20261332"), None);
    }

    #[test]
    fn retention_keeps_whole_days_and_today_is_always_wanted() {
        let today = Day(1_000);
        let policy = Policy { ahead: 2, retention: Some(3) };
        assert_eq!(policy.wanted(today).collect::<Vec<_>>(), [Day(1_000), Day(1_001), Day(1_002)]);
        assert!(!policy.is_over(Day(997), today));
        assert!(policy.is_over(Day(996), today));
        assert!(!Policy { retention: None, ..policy }.is_over(Day(0), today));
    }
}
