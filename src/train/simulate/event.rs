//! One simulated transaction, self-contained and small; how it is put into bytes is in `json`.

use super::places::Place;
use crate::domain::transaction::{Channel, TransactionType};

/// The other side of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Nobody named: airtime for oneself, a loan.
    Nobody,
    /// A subscriber, E.164 digits.
    Phone(u64),
    /// A merchant's till.
    Till(u32),
    /// A paybill.
    Paybill(u32),
    /// An agent's number.
    Agent(u32),
}

/// A point on the map a switch saw: a place and whether it was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The switch did not learn it.
    Unknown,
    /// In or near this place.
    At(Place),
}

/// What became of a transaction: ordinary, harmless though it looks bad, or fraud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Everyday life.
    Ordinary,
    /// Harmless, but shaped like the named scheme.
    LookAlike(&'static str),
    /// Fraud of the named scheme.
    Fraud(&'static str),
}

impl Label {
    /// Whether it is fraud.
    pub fn is_fraud(self) -> bool {
        matches!(self, Self::Fraud(_))
    }
}

/// One transaction before it is put into bytes.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Event time.
    pub at_ms: i64,
    /// Number of the transaction within the simulation, from which its id derives.
    pub number: u64,
    /// The initiator, E.164 digits.
    pub phone: u64,
    /// The sender, an index of [`super::institution::INSTITUTIONS`].
    pub institution: u8,
    /// What was done.
    pub kind: TransactionType,
    /// By which way.
    pub channel: Channel,
    /// Minor units.
    pub amount_minor: i64,
    /// The other side.
    pub party: Party,
    /// The device's identity; `None` where the switch did not learn it.
    pub device: Option<u64>,
    /// The place.
    pub place: Where,
    /// The number of the transaction that this one reverses.
    pub reverses: Option<u64>,
    /// When the SIM was last replaced.
    pub sim_swapped_ms: Option<i64>,
    /// When the account was opened.
    pub opened_ms: i64,
    /// What it is.
    pub label: Label,
}

/// Spreads bits (the finaliser of SplitMix64).
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
