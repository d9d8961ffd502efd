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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_contributions_give_the_reasons_largest_first_and_four_at_most() {
        let mut contributions: Row = [-1.0; FEATURES];
        for (feature, contribution) in [
            (f::SPEED, 0.3),
            (f::COUNT_5M, 0.5),
            (f::LOG_AMOUNT, 0.3),
            (f::HOUR, 0.000_049),
            (f::DEVICE_NEW, 2.123_46),
            (f::CHANNEL, 0.0),
        ] {
            contributions[feature] = contribution;
        }
        let told = |contributions: &Row| {
            let reasons = Reason::largest(&[1.0; FEATURES], contributions);
            reasons.into_iter().map(|reason| (reason.code, reason.contribution)).collect::<Vec<_>>()
        };
        let code = |feature: usize| Cow::from(TABLE[feature].reason);
        let largest = [(f::DEVICE_NEW, 2.1235), (f::COUNT_5M, 0.5), (f::LOG_AMOUNT, 0.3), (f::SPEED, 0.3)];
        assert_eq!(told(&contributions), largest.map(|(feature, part)| (code(feature), Some(part))));
        contributions[f::COUNT_5M] = f64::NAN;
        contributions[f::LOG_AMOUNT] = -0.3;
        let rest = [(f::DEVICE_NEW, 2.1235), (f::SPEED, 0.3), (f::HOUR, 0.0)];
        assert_eq!(told(&contributions), rest.map(|(feature, part)| (code(feature), Some(part))));
        assert_eq!(told(&[0.0; FEATURES]), []);
    }

    #[test]
    fn every_feature_has_a_code_and_a_sentence_of_its_own_with_its_value() {
        let with = |feature: usize, value: f64| {
            let mut row: Row = [f64::NAN; FEATURES];
            row[feature] = value;
            sentence(feature, &row)
        };
        let mut codes: Vec<_> = TABLE.iter().map(|feature| feature.reason).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FEATURES);
        for (feature, value, expected) in [
            (f::LOG_AMOUNT, libm::log1p(1_500.5), "the amount is 1500.50"),
            (f::AMOUNT_TO_MEAN, 3.04, "the amount is 3.0 times the phone's usual"),
            (f::AMOUNT_TO_MAX, 1.25, "the amount is 1.2 times the phone's greatest so far"),
            (f::AMOUNT_Z, -2.5, "the amount lies -2.5 deviations from the phone's mean"),
            (f::COUNT_5M, 9.0, "9 transactions in 5 minutes"),
            (f::COUNT_1H, 10.0, "10 transactions in 1 hour"),
            (f::COUNT_24H, 11.0, "11 transactions in 24 hours"),
            (f::SUM_1H, 0.5, "0.50 moved in 1 hour"),
            (f::SUM_24H, 70_000.0, "70000.00 moved in 24 hours"),
            (f::DEVICE_NEW, 1.0, "a device this phone never used before"),
            (f::DEVICE_NEW, 0.0, "a device this phone knows"),
            (f::DEVICE_AGE, 90.0, "this device was first used 90 seconds ago"),
            (f::DEVICE_AGE, 172_800.0, "this device was first used 2 days ago"),
            (f::DEVICES_7D, 3.0, "3 devices in 7 days"),
            (f::PLACE_NEW, 1.0, "a place this phone never was before"),
            (f::DISTANCE, 480.4, "480 km from the previous place"),
            (f::SPEED, 900.0, "900 km/h from the previous place"),
            (f::PLACES_24H, 2.0, "2 places in 24 hours"),
            (f::COUNTERPARTY_NEW, 1.0, "a counterparty this phone never dealt with before"),
            (f::COUNTERPARTIES_24H, 8.0, "8 counterparties in 24 hours"),
            (f::RECENCY, 7_200.0, "2 hours since the phone's previous transaction"),
            (f::ACCOUNT_AGE, 0.5, "the account is 12 hours old"),
            (f::HOUR, 23.5, "at 23:30 local time"),
            (f::DAY, 6.0, "on a Sunday"),
            (f::TYPE, 1.0, "of type CASH_IN"),
            (f::CHANNEL, 0.0, "over channel ussd"),
            (f::SPEED, f64::NAN, "speed kmh is not known for this phone"),
        ] {
            assert_eq!(with(feature, value), expected);
        }
    }
}
