//! One event's row of features, from the event itself, its windows and the profile before it.
//!
//! Only `libm` is used for mathematics: the same bits on every processor.

use super::{
    features::{self as f, FEATURES, Row},
    identity::Identity,
    place::GeoPoint,
    profile::{Kind, Profile, Recognised},
    ring::Event,
    rules::Rules,
    time::{DAY_MS, HOUR_MS, SECOND_MS},
    transaction::Transaction,
    window::Windows,
};

const MINUTES_5: usize = 1;
const HOUR_1: usize = 2;
const HOURS_24: usize = 3;
const DAYS_7: usize = 4;

/// Below this many past amounts a z-score says nothing.
const Z_FROM: u64 = 3;

/// The least deviation of log amounts that a z-score divides by: habits are never sharper than 5 %.
const LEAST_DEVIATION: f64 = 0.05;

/// The mean radius of the Earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.008_8;

/// The log amount that features and means use: ln(1 + units).
pub fn log_amount(minor: i64) -> f64 {
    libm::log1p(minor as f64 / 100.0)
}

/// Overwrites the row. `profile` is `None` where the phone has none yet, or none that can be relied on; with it comes what it
/// knows of the event.
pub fn compute(
    row: &mut Row,
    transaction: &Transaction<'_>,
    event: &Event,
    geo: Option<GeoPoint>,
    windows: &Windows,
    profile: Option<(&Profile, &Recognised)>,
    rules: &Rules,
) {
    *row = [f64::NAN; FEATURES];
    let home = transaction.currency == rules.home_currency;
    if home {
        row[f::LOG_AMOUNT] = log_amount(transaction.amount.0);
    }
    velocity(row, windows);
    calendar(row, event.t + rules.utc_offset_ms);
    if let Some(kind) = transaction.transaction_type {
        row[f::TYPE] = f64::from(kind.code());
    }
    if let Some(channel) = transaction.channel {
        row[f::CHANNEL] = f64::from(channel.code());
    }
    if let Some((profile, recognised)) = profile {
        if home && profile.amounts.count > 0 {
            amounts(row, transaction.amount.0, profile);
        }
        habits(row, event, geo, profile, recognised);
    }
    if let Some(opened) =
        transaction.account_opened_at.map(|at| at.0).or(profile.map(|(profile, _)| profile.first_seen))
    {
        row[f::ACCOUNT_AGE] = (event.t - opened) as f64 / DAY_MS as f64;
    }
}

fn velocity(row: &mut Row, windows: &Windows) {
    row[f::COUNT_5M] = f64::from(windows.count[MINUTES_5]);
    row[f::COUNT_1H] = f64::from(windows.count[HOUR_1]);
    row[f::COUNT_24H] = f64::from(windows.count[HOURS_24]);
    row[f::SUM_1H] = windows.sum[HOUR_1] as f64 / 100.0;
    row[f::SUM_24H] = windows.sum[HOURS_24] as f64 / 100.0;
    row[f::DEVICES_7D] = f64::from(windows.devices[DAYS_7]);
    row[f::PLACES_24H] = f64::from(windows.places[HOURS_24]);
    row[f::COUNTERPARTIES_24H] = f64::from(windows.counterparties[HOURS_24]);
}

fn calendar(row: &mut Row, local_ms: i64) {
    row[f::HOUR] = local_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
    // 1970-01-01 was a Thursday, day 3 of a week that begins on Monday.
    row[f::DAY] = (local_ms.div_euclid(DAY_MS) + 3).rem_euclid(7) as f64;
}

fn amounts(row: &mut Row, minor: i64, profile: &Profile) {
    let from_mean = row[f::LOG_AMOUNT] - profile.amounts.mean;
    row[f::AMOUNT_TO_MEAN] = libm::exp(from_mean);
    row[f::AMOUNT_TO_MAX] = minor as f64 / profile.greatest as f64;
    if profile.amounts.count >= Z_FROM {
        let deviation = profile.amounts.deviation().unwrap_or(0.0).max(LEAST_DEVIATION);
        row[f::AMOUNT_Z] = from_mean / deviation;
    }
}

fn habits(row: &mut Row, event: &Event, geo: Option<GeoPoint>, profile: &Profile, recognised: &Recognised) {
    let since = recognised.device_since;
    row[f::DEVICE_NEW] = f64::from(u8::from(since.is_none()));
    if let Some(since) = since {
        row[f::DEVICE_AGE] = (event.t - since) as f64 / SECOND_MS as f64;
    }
    row[f::PLACE_NEW] = f64::from(u8::from(!recognised.knows(Kind::Place)));
    if event.ids.counterparty != Identity::ABSENT {
        row[f::COUNTERPARTY_NEW] = f64::from(u8::from(!recognised.knows(Kind::Counterparty)));
    }
    row[f::RECENCY] = (event.t - profile.previous) as f64 / SECOND_MS as f64;
    if let (Some(here), Some((there, then))) = (geo, profile.located) {
        let km = distance_km(here, there);
        // A second is the least time between two places: two events in one millisecond have a finite speed.
        let hours = (event.t - then).abs().max(SECOND_MS) as f64 / HOUR_MS as f64;
        row[f::DISTANCE] = km;
        row[f::SPEED] = km / hours;
    }
}

/// Great-circle distance in kilometres (haversine, Sinnott 1984).
pub fn distance_km(a: GeoPoint, b: GeoPoint) -> f64 {
    if a == b {
        return 0.0;
    }
    let radians = |e7: i32| f64::from(e7) * 1e-7 * (std::f64::consts::PI / 180.0);
    let (lat_a, lat_b) = (radians(a.lat_e7), radians(b.lat_e7));
    let sin_lat = libm::sin((lat_b - lat_a) / 2.0);
    let sin_lon = libm::sin((radians(b.lon_e7) - radians(a.lon_e7)) / 2.0);
    let h = sin_lat * sin_lat + libm::cos(lat_a) * libm::cos(lat_b) * sin_lon * sin_lon;
    2.0 * EARTH_KM * libm::asin(libm::sqrt(h.clamp(0.0, 1.0)))
}
