//! The closed catalogue of reasons: one code and one sentence a feature, with its value; and those of the other kinds.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    features::{self as f, FEATURES, Row, TABLE},
    invalid::Invalid,
    time::DAY_MS,
    transaction::{Channel, TransactionType},
};

/// The most reasons a verdict bears.
pub const MOST_REASONS: usize = 4;

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// A code of the closed catalogue.
    pub code: Cow<'static, str>,
    /// One sentence with the values, for people.
    pub text: Cow<'static, str>,
    /// The feature's part in the raw score (log odds), where the model gave the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution: Option<f64>,
}

impl Reason {
    /// The largest positive contributions, largest first.
    pub fn largest(row: &Row, contributions: &Row) -> Vec<Self> {
        let mut order: Vec<usize> = (0..FEATURES).filter(|&index| contributions[index] > 0.0).collect();
        order.sort_by(|&a, &b| contributions[b].total_cmp(&contributions[a]).then(a.cmp(&b)));
        order.truncate(MOST_REASONS);
        let reason = |index: usize| Self {
            code: TABLE[index].reason.into(),
            text: sentence(index, row),
            contribution: Some(libm::round(contributions[index] * 1e4) / 1e4),
        };
        order.into_iter().map(reason).collect()
    }

    /// The one reason of a duplicate.
    pub fn duplicate(original: i64) -> Self {
        let text = format!("the same transaction as the one at offset {original}; its verdict is repeated");
        Self { code: "DUPLICATE".into(), text: text.into(), contribution: None }
    }

    /// The reason a conflict bears before all others.
    pub fn conflict(original: i64) -> Self {
        let text = format!("the transaction id was used at offset {original} with another amount or counterparty");
        Self { code: "CONFLICT".into(), text: text.into(), contribution: None }
    }

    /// The one reason of an unreadable record.
    pub fn invalid(invalid: &Invalid) -> Self {
        Self { code: invalid.code().into(), text: invalid.text().into(), contribution: None }
    }
}

/// What a feature's value says, in one sentence.
fn sentence(index: usize, row: &Row) -> Cow<'static, str> {
    let value = row[index];
    if value.is_nan() {
        return format!("{} is not known for this phone", TABLE[index].name.replace('_', " ")).into();
    }
    let words = match index {
        f::LOG_AMOUNT => format!("the amount is {:.2}", libm::expm1(value)),
        f::AMOUNT_TO_MEAN => format!("the amount is {value:.1} times the phone's usual"),
        f::AMOUNT_TO_MAX => format!("the amount is {value:.1} times the phone's greatest so far"),
        f::AMOUNT_Z => format!("the amount lies {value:.1} deviations from the phone's mean"),
        f::COUNT_5M => format!("{value} transactions in 5 minutes"),
        f::COUNT_1H => format!("{value} transactions in 1 hour"),
        f::COUNT_24H => format!("{value} transactions in 24 hours"),
        f::SUM_1H => format!("{value:.2} moved in 1 hour"),
        f::SUM_24H => format!("{value:.2} moved in 24 hours"),
        f::DEVICE_NEW => return either(value, "a device this phone never used before", "a device this phone knows"),
        f::DEVICE_AGE => format!("this device was first used {} ago", span(value)),
        f::DEVICES_7D => format!("{value} devices in 7 days"),
        f::PLACE_NEW => return either(value, "a place this phone never was before", "a place this phone knows"),
        f::DISTANCE => format!("{value:.0} km from the previous place"),
        f::SPEED => format!("{value:.0} km/h from the previous place"),
        f::PLACES_24H => format!("{value} places in 24 hours"),
        f::COUNTERPARTY_NEW => {
            return either(
                value,
                "a counterparty this phone never dealt with before",
                "a counterparty this phone knows",
            );
        }
        f::COUNTERPARTIES_24H => format!("{value} counterparties in 24 hours"),
        f::RECENCY => format!("{} since the phone's previous transaction", span(value)),
        f::ACCOUNT_AGE => format!("the account is {} old", span(value * (DAY_MS / 1_000) as f64)),
        f::HOUR => format!("at {:02.0}:{:02.0} local time", value.trunc(), (value.fract() * 60.0).trunc()),
        f::DAY => format!("on a {}", WEEKDAYS[(value as usize).min(6)]),
        f::TYPE => format!("of type {}", wire_name(TransactionType::ALL, value, TransactionType::as_str)),
        _ => format!("over channel {}", wire_name(Channel::ALL, value, Channel::as_str)),
    };
    words.into()
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn either(value: f64, yes: &'static str, no: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(if value == 1.0 { yes } else { no })
}

fn wire_name<T: Copy>(all: &[T], code: f64, name: impl Fn(T) -> &'static str) -> &'static str {
    all.get(code as usize).map_or("unknown", |value| name(*value))
}

/// A time span in its largest fitting unit.
fn span(seconds: f64) -> String {
    match seconds.abs() {
        s if s >= 172_800.0 => format!("{:.0} days", seconds / 86_400.0),
        s if s >= 7_200.0 => format!("{:.0} hours", seconds / 3_600.0),
        s if s >= 120.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => format!("{seconds:.0} seconds"),
    }
}
