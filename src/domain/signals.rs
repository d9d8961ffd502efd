//! Four signals for people, each 0 to 1, by documented formulas on features: not by the model.
//!
//! Each is the greatest of a few ramps. A ramp is 0 up to the 95 % quantile of the training data and 1 from its
//! 99 % quantile on (where the two are close, from half the former or half a unit above it), linear between: a signal means "how far into the unusual twentieth".

use serde::Serialize;

use super::features::{self as f, FEATURES, Row};

/// Where a feature's ramp begins and ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Up to here the signal is 0.
    pub from: f64,
    /// From here on it is 1.
    pub to: f64,
}

/// One ramp a feature, in row order, from the model folder's `scaling.json`.
pub type Ramps = [Ramp; FEATURES];

/// The signals of one event, rounded to two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Signals {
    /// Counts and sums in short windows: ramps of count_5m, count_1h, count_24h, sum_1h, sum_24h.
    pub velocity: f64,
    /// The amount beside the phone's own: ramps of amount_z, amount_to_max, log_amount.
    pub amount_anomaly: f64,
    /// 1 for a device never used before, falling to 0 over its first week; else the ramp of devices_7d.
    pub device_new: f64,
    /// The ramps of distance and speed; at least a half for a place never visited before.
    pub location_change: f64,
}

/// A device counts as new, less and less, for a week.
const DEVICE_WEEK_S: f64 = 7.0 * 86_400.0;

impl Ramp {
    /// 0 below `from`, 1 above `to`, linear between; 0 for a missing value.
    pub fn of(self, value: f64) -> f64 {
        if value.is_nan() || value <= self.from {
            0.0
        } else if value >= self.to {
            1.0
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }
}

impl Signals {
    /// Computes the signals of a row.
    pub fn of(row: &Row, ramps: &Ramps) -> Self {
        let greatest =
            |features: &[usize]| features.iter().map(|&index| ramps[index].of(row[index])).fold(0.0, f64::max);
        let device = if row[f::DEVICE_NEW] == 1.0 {
            1.0
        } else if row[f::DEVICE_AGE] < DEVICE_WEEK_S {
            // Habit outweighs youth: a phone's first device is not new to it for long.
            (1.0 - row[f::DEVICE_AGE].max(0.0) / DEVICE_WEEK_S) * f64::from(u8::from(row[f::DEVICES_7D] > 1.0))
        } else {
            0.0
        };
        let place = if row[f::PLACE_NEW] == 1.0 { 0.5 } else { 0.0 };
        Self {
            velocity: rounded(greatest(&[f::COUNT_5M, f::COUNT_1H, f::COUNT_24H, f::SUM_1H, f::SUM_24H])),
            amount_anomaly: rounded(greatest(&[f::AMOUNT_Z, f::AMOUNT_TO_MAX, f::LOG_AMOUNT])),
            device_new: rounded(device.max(greatest(&[f::DEVICES_7D]))),
            location_change: rounded(greatest(&[f::DISTANCE, f::SPEED]).max(place)),
        }
    }
}

/// Halves away from zero, as `round` has it: of a number from 0 to 1 that is soon told.
fn rounded(signal: f64) -> f64 {
    let hundredths = signal * 100.0;
    let whole = f64::from(hundredths as u8);
    (whole + f64::from(u8::from(hundredths - whole >= 0.5))) / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ramps from 10 to 20, and a row in which nothing is unusual.
    const RAMPS: Ramps = [Ramp { from: 10.0, to: 20.0 }; FEATURES];
    const USUAL: Row = [0.0; FEATURES];

    /// Velocity, amount, device and place of the usual row with these values in it.
    fn signals(values: &[(usize, f64)]) -> [f64; 4] {
        let mut row = USUAL;
        row[f::DEVICE_AGE] = 2.0 * DEVICE_WEEK_S;
        values.iter().for_each(|(feature, value)| row[*feature] = *value);
        let Signals { velocity, amount_anomaly, device_new, location_change } = Signals::of(&row, &RAMPS);
        [velocity, amount_anomaly, device_new, location_change]
    }

    #[test]
    fn a_ramp_rises_from_its_beginning_to_its_end() {
        let ramp = RAMPS[0];
        for (value, expected) in
            [(f64::NAN, 0.0), (-1e9, 0.0), (10.0, 0.0), (12.5, 0.25), (20.0, 1.0), (1e9, 1.0), (f64::INFINITY, 1.0)]
        {
            assert_eq!(ramp.of(value), expected, "{value}");
        }
    }

    #[test]
    fn each_signal_is_the_greatest_of_its_own_features_ramps() {
        assert_eq!(signals(&[]), [0.0; 4]);
        let own = [
            &[f::COUNT_5M, f::COUNT_1H, f::COUNT_24H, f::SUM_1H, f::SUM_24H][..],
            &[f::AMOUNT_Z, f::AMOUNT_TO_MAX, f::LOG_AMOUNT],
            &[f::DEVICES_7D],
            &[f::DISTANCE, f::SPEED],
        ];
        for feature in (0..FEATURES).filter(|feature| ![f::DEVICE_NEW, f::PLACE_NEW].contains(feature)) {
            let expected = own.map(|features| if features.contains(&feature) { 0.75 } else { 0.0 });
            assert_eq!(signals(&[(feature, 17.5)]), expected, "{}", f::TABLE[feature].name);
        }
        assert_eq!(signals(&[(f::COUNT_5M, 12.0), (f::SUM_24H, 16.0), (f::COUNT_1H, 14.0)])[0], 0.6);
    }

    #[test]
    fn a_device_is_less_and_less_new_over_its_first_week_where_it_is_not_the_only_one() {
        let device = |new: f64, age_days: f64, devices: f64| {
            signals(&[(f::DEVICE_NEW, new), (f::DEVICE_AGE, age_days * 86_400.0), (f::DEVICES_7D, devices)])[2]
        };
        assert_eq!(device(1.0, f64::NAN, 1.0), 1.0);
        assert_eq!(device(0.0, 0.0, 2.0), 1.0);
        assert_eq!(device(0.0, -1.0, 2.0), 1.0);
        assert_eq!(device(0.0, 3.5, 2.0), 0.5);
        assert_eq!(device(0.0, 7.0, 2.0), 0.0);
        assert_eq!(device(0.0, 0.0, 1.0), 0.0);
        assert_eq!(device(0.0, f64::NAN, 2.0), 0.0);
        assert_eq!(device(0.0, 3.5, 18.0), 0.8);
        assert_eq!(device(f64::NAN, f64::NAN, f64::NAN), 0.0);
    }

    #[test]
    fn a_place_never_visited_before_is_half_a_change_at_least() {
        let place = |new: f64, distance: f64| signals(&[(f::PLACE_NEW, new), (f::DISTANCE, distance)])[3];
        assert_eq!([place(1.0, f64::NAN), place(1.0, 14.0), place(1.0, 19.0)], [0.5, 0.5, 0.9]);
        assert_eq!([place(0.0, f64::NAN), place(0.0, 14.0), place(f64::NAN, 14.0)], [0.0, 0.4, 0.4]);
    }

    proptest! {
        #[test]
        fn a_signal_is_rounded_as_the_library_rounds_it(signal in 0.0..=1.0, hundredths in 0_u8..100) {
            let (whole, half) = (f64::from(hundredths) / 100.0, (f64::from(hundredths) + 0.5) / 100.0);
            for signal in [signal, whole, half, half.next_down(), half.next_up(), 1.0] {
                prop_assert_eq!(rounded(signal).to_bits(), (libm::round(signal * 100.0) / 100.0).to_bits());
            }
        }
    }
}
