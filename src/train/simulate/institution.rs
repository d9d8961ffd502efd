//! The institutions that send transactions, each with its own way to spell them.
//!
//! Their habits exercise every form the decoder normalises; none of these names is a real institution.

/// How one institution spells its transactions.
#[derive(Clone, Copy, Debug)]
pub struct Institution {
    /// `institution_id` on the wire.
    pub id: &'static str,
    /// Share of the customers.
    pub share: f64,
    /// `0712…` in place of `+254712…`.
    pub national_numbers: bool,
    /// `"150.00"` in place of `150`.
    pub amounts_as_text: bool,
    /// Sends latitude and longitude.
    pub coordinates: bool,
    /// Sends `sim_swapped_at`.
    pub sim_swaps: bool,
    /// Sends `account_opened_at`.
    pub account_ages: bool,
    /// Timestamps with `+03:00` in place of UTC.
    pub local_time: bool,
}

/// All of them.
pub const INSTITUTIONS: [Institution; 3] = [
    Institution {
        id: "pesa-link",
        share: 0.6,
        national_numbers: false,
        amounts_as_text: false,
        coordinates: true,
        sim_swaps: true,
        account_ages: true,
        local_time: false,
    },
    Institution {
        id: "benki-soko",
        share: 0.25,
        national_numbers: true,
        amounts_as_text: false,
        coordinates: false,
        sim_swaps: true,
        account_ages: false,
        local_time: true,
    },
    Institution {
        id: "tuma-sacco",
        share: 0.15,
        national_numbers: false,
        amounts_as_text: true,
        coordinates: false,
        sim_swaps: false,
        account_ages: true,
        local_time: false,
    },
];

impl Institution {
    /// The institution of an index that came from drawing one.
    pub fn of(index: u8) -> &'static Self {
        &INSTITUTIONS[usize::from(index) % INSTITUTIONS.len()]
    }
}
