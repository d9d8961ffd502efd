//! Nairobi's day: how much happens in each hour, and the way from expected activity to event time.
//!
//! An actor with rate λ a day moves along *activity*, in which it is a plain Poisson process; [`Rhythm`] turns
//! activity into event time, hour by hour. The invariant: mean activity over an ordinary week is one a day.

use crate::domain::time::{DAY_MS, HOUR_MS};

/// East Africa Time is UTC+3 all the year round.
pub const NAIROBI_OFFSET_MS: i64 = 3 * HOUR_MS;

const HOURS: usize = 24;
/// More happens from the 25th to the 2nd, when wages are paid.
const PAYDAY_FACTOR: f64 = 1.35;

/// Relative activity by local hour: two peaks and a night trough.
const WEEKDAY: [f64; HOURS] = [
    0.16, 0.09, 0.06, 0.05, 0.08, 0.25, 0.65, 1.10, 1.55, 1.75, 1.70, 1.50, 1.40, 1.30, 1.25, 1.35, 1.65, 2.05, 2.20,
    1.95, 1.50, 1.05, 0.65, 0.35,
];
/// The weekend starts later and has a flatter morning.
const WEEKEND: [f64; HOURS] = [
    0.30, 0.20, 0.12, 0.08, 0.08, 0.15, 0.35, 0.65, 1.00, 1.30, 1.50, 1.55, 1.50, 1.45, 1.35, 1.35, 1.50, 1.75, 1.90,
    1.80, 1.50, 1.15, 0.85, 0.55,
];
/// Shops and agents keep opening hours.
const OPENING: [f64; HOURS] = [
    0.02, 0.01, 0.01, 0.01, 0.02, 0.10, 0.50, 1.30, 1.80, 2.00, 1.95, 1.80, 1.65, 1.55, 1.50, 1.60, 1.85, 2.15, 2.10,
    1.60, 0.90, 0.40, 0.12, 0.04,
];

/// Whose day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Customers: weekdays and weekends differ.
    People,
    /// Agents and shops: opening hours, quieter Sundays.
    Business,
}

/// Activity by the hour from a start time on, extended as time goes on: 8 bytes an hour.
pub struct Rhythm {
    shape: Shape,
    first_hour_ms: i64,
    /// Activity accumulated at the end of each hour.
    reached: Vec<f64>,
}

impl Rhythm {
    /// Activity from the hour of `start_ms` on.
    pub fn new(shape: Shape, start_ms: i64) -> Self {
        Self { shape, first_hour_ms: start_ms.div_euclid(HOUR_MS) * HOUR_MS, reached: Vec::new() }
    }

    /// The event time at which accumulated activity reaches `activity` (in days' worth, from the start).
    pub fn time_of(&mut self, activity: f64) -> i64 {
        while self.reached.last().is_none_or(|last| *last <= activity) {
            self.extend();
        }
        let hour = self.reached.partition_point(|reached| *reached <= activity);
        let before = if hour == 0 { 0.0 } else { self.reached[hour - 1] };
        let share = (activity - before) / (self.reached[hour] - before);
        self.first_hour_ms + hour as i64 * HOUR_MS + (share * HOUR_MS as f64) as i64
    }

    /// Activity accumulated at `at_ms`, the inverse of [`Rhythm::time_of`].
    pub fn activity_at(&mut self, at_ms: i64) -> f64 {
        let since = (at_ms - self.first_hour_ms).max(0);
        let hour = (since / HOUR_MS) as usize;
        while self.reached.len() <= hour {
            self.extend();
        }
        let before = if hour == 0 { 0.0 } else { self.reached[hour - 1] };
        before + (self.reached[hour] - before) * (since % HOUR_MS) as f64 / HOUR_MS as f64
    }

    fn extend(&mut self) {
        let at_ms = self.first_hour_ms + self.reached.len() as i64 * HOUR_MS;
        let before = self.reached.last().copied().unwrap_or(0.0);
        self.reached.push(before + intensity(self.shape, at_ms) / HOURS as f64);
    }
}

/// Relative activity of the hour that contains `at_ms`; an ordinary week's mean is one.
pub fn intensity(shape: Shape, at_ms: i64) -> f64 {
    let local = at_ms + NAIROBI_OFFSET_MS;
    let hour = local.div_euclid(HOUR_MS).rem_euclid(HOURS as i64) as usize;
    let weekday = weekday(at_ms);
    let (table, day) = match (shape, weekday) {
        (Shape::People, 0..=4) => (&WEEKDAY, 1.0),
        (Shape::People, _) => (&WEEKEND, 0.95),
        (Shape::Business, 0..=5) => (&OPENING, 1.06),
        (Shape::Business, _) => (&OPENING, 0.64),
    };
    let payday = if is_payday(at_ms) { PAYDAY_FACTOR } else { 1.0 };
    table[hour] * day * payday * HOURS as f64 / table.iter().sum::<f64>()
}

/// The local day of the week, 0 = Monday.
pub fn weekday(at_ms: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    ((at_ms + NAIROBI_OFFSET_MS).div_euclid(DAY_MS) + 3).rem_euclid(7)
}

/// The local hour of the day with a fraction.
pub fn local_hour(at_ms: i64) -> f64 {
    (at_ms + NAIROBI_OFFSET_MS).rem_euclid(DAY_MS) as f64 / HOUR_MS as f64
}

/// Whether wages were just paid: the 25th to the 2nd.
pub fn is_payday(at_ms: i64) -> bool {
    let day = time::OffsetDateTime::from_unix_timestamp((at_ms + NAIROBI_OFFSET_MS).div_euclid(1_000));
    day.is_ok_and(|at| at.day() >= 25 || at.day() <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05T00:00:00+03:00, a Monday.
    const MONDAY_MS: i64 = 1_767_560_400_000;

    #[test]
    fn time_and_activity_are_each_others_inverse() {
        let mut rhythm = Rhythm::new(Shape::People, MONDAY_MS);
        for step in 1..500 {
            let at_ms = rhythm.time_of(f64::from(step) * 0.137);
            let back = rhythm.activity_at(at_ms);
            assert!((back - f64::from(step) * 0.137).abs() < 1e-4, "step {step}: {back}");
        }
    }

    #[test]
    fn an_ordinary_week_has_a_mean_activity_of_one_a_day() {
        for shape in [Shape::People, Shape::Business] {
            let week_ms = MONDAY_MS + 7 * DAY_MS;
            let mean = Rhythm::new(shape, MONDAY_MS).activity_at(week_ms) / 7.0;
            assert!((mean - 1.0).abs() < 0.02, "{shape:?}: {mean}");
        }
    }

    #[test]
    fn the_calendar_is_nairobis() {
        assert_eq!(weekday(MONDAY_MS), 0);
        assert_eq!(weekday(MONDAY_MS - 1), 6);
        assert_eq!(local_hour(MONDAY_MS + 90 * 60_000), 1.5);
        assert!(!is_payday(MONDAY_MS));
        assert!(is_payday(MONDAY_MS + 20 * DAY_MS));
    }
}
