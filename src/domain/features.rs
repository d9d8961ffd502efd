//! The 24 features of set v1: one table that training, serving, backtest and documentation read.
//!
//! A row is `[f64; 24]` in table order; a missing value is NaN. How a row is computed is in `history`.

/// How many features a row has.
pub const FEATURES: usize = 24;

/// The feature set's name, written into every model folder.
pub const FEATURE_SET: &str = "v1";

/// One event's features, in the order of [`TABLE`]; missing is NaN.
pub type Row = [f64; FEATURES];

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name, as in the model's text and the verdict's `features`.
    pub name: &'static str,
    /// What the number is.
    pub kind: FeatureKind,
    /// The unit, in words.
    pub unit: &'static str,
    /// What it means, and when it is missing.
    pub meaning: &'static str,
    /// The reason code of a verdict that this feature pushed up.
    pub reason: &'static str,
    /// Whether it rests on the profile (missing while warming) rather than on windows or the event alone.
    pub profile: bool,
}

/// What kind of number a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureKind {
    /// A real number.
    Real,
    /// A whole number.
    Count,
    /// 0 or 1.
    Flag,
    /// A code of a closed enum.
    Code,
}

/// Declares the table and one index constant a feature.
macro_rules! features {
    ($($index:ident = $name:literal, $kind:ident, $unit:literal, $reason:literal, $profile:literal, $meaning:literal;)+) => {
        /// The table, in row order.
        pub const TABLE: [Feature; FEATURES] = [
            $(Feature { name: $name, kind: FeatureKind::$kind, unit: $unit, reason: $reason, profile: $profile, meaning: $meaning }),+
        ];
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names are those of the constants they number")]
        enum Position { $($index),+ }
        $(
            #[doc = concat!("Row index of `", $name, "`: ", $meaning)]
            pub const $index: usize = Position::$index as usize;
        )+
    };
}

features! {
    LOG_AMOUNT = "log_amount", Real, "ln(1 + home units)", "AMOUNT", false, "size of the amount; missing for a foreign currency";
    AMOUNT_TO_MEAN = "amount_to_mean", Real, "ratio", "AMOUNT_TO_MEAN", true, "amount over the phone's geometric mean; missing without a past amount";
    AMOUNT_TO_MAX = "amount_to_max", Real, "ratio", "AMOUNT_TO_MAX", true, "amount over the phone's greatest; missing without a past amount";
    AMOUNT_Z = "amount_z", Real, "standard deviations", "AMOUNT_Z", true, "distance of the log amount from the phone's mean; missing below 3 past amounts";
    COUNT_5M = "count_5m", Count, "transactions", "VELOCITY_5M", false, "transactions in 5 minutes, this one included";
    COUNT_1H = "count_1h", Count, "transactions", "VELOCITY_1H", false, "transactions in 1 hour, this one included";
    COUNT_24H = "count_24h", Count, "transactions", "VELOCITY_24H", false, "transactions in 24 hours, this one included";
    SUM_1H = "sum_1h", Real, "home units", "SUM_1H", false, "amount moved in 1 hour, this one included";
    SUM_24H = "sum_24h", Real, "home units", "SUM_24H", false, "amount moved in 24 hours, this one included";
    DEVICE_NEW = "device_new", Flag, "0 or 1", "DEVICE_NEW", true, "the device was not used by this phone before; missing on its first event";
    DEVICE_AGE = "device_age_s", Real, "seconds", "DEVICE_AGE", true, "time since the phone first used this device; missing where it is new";
    DEVICES_7D = "devices_7d", Count, "devices", "DEVICES_7D", false, "distinct devices in 7 days, this one included";
    PLACE_NEW = "place_new", Flag, "0 or 1", "PLACE_NEW", true, "the place was not visited by this phone before; missing on its first event";
    DISTANCE = "distance_km", Real, "kilometres", "DISTANCE", true, "great-circle distance from the previous located event; missing without two places";
    SPEED = "speed_kmh", Real, "kilometres an hour", "SPEED", true, "that distance over the time between; missing with it";
    PLACES_24H = "places_24h", Count, "places", "PLACES_24H", false, "distinct places in 24 hours, this one included";
    COUNTERPARTY_NEW = "counterparty_new", Flag, "0 or 1", "COUNTERPARTY_NEW", true, "never paid or met before; missing without a counterparty and on the phone's first event";
    COUNTERPARTIES_24H = "counterparties_24h", Count, "counterparties", "COUNTERPARTIES_24H", false, "distinct counterparties in 24 hours, this one included";
    RECENCY = "recency_s", Real, "seconds, signed", "RECENCY", true, "time since the previous event in log order; missing on the phone's first event";
    ACCOUNT_AGE = "account_age_d", Real, "days", "ACCOUNT_AGE", true, "since account_opened_at as sent, else since the phone was first seen; missing on its first event";
    HOUR = "hour", Real, "hours, local time", "HOUR", false, "hour of the day with minutes as a fraction, 0 to 24";
    DAY = "day", Code, "0 = Monday", "DAY", false, "day of the week, local time";
    TYPE = "transaction_type", Code, "code", "TRANSACTION_TYPE", false, "what the customer did; missing when absent";
    CHANNEL = "channel", Code, "code", "CHANNEL", false, "how the customer reached the switch; missing when absent";
}

/// The feature names in row order.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    TABLE.iter().map(|feature| feature.name)
}

/// XXH3-64 over the row's 24 little-endian f64 (NaN as the canonical quiet NaN), as 16 hex digits in the verdict.
pub fn digest(row: &Row) -> u64 {
    let canonical = row.map(|value| if value.is_nan() { f64::NAN } else { value }.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(canonical.as_flattened())
}
