//! Kinds of life: what people of a kind pay for, how much, and by which way.

use super::dice::Dice;
use crate::domain::transaction::TransactionType;

/// What kind of life a customer leads; weights of payments in the order of [`MIX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// Wages by bank, shops and bills by app.
    Salaried,
    /// Small amounts, airtime, friends.
    Student,
    /// Rural, few payments, mostly cash.
    Farmer,
    /// Buys stock from many suppliers.
    Trader,
    /// Lives on many small jobs.
    Casual,
}

/// The kinds of life and how common they are.
const PERSONAS: [(Persona, f64); 5] = [
    (Persona::Salaried, 0.25),
    (Persona::Student, 0.18),
    (Persona::Farmer, 0.20),
    (Persona::Trader, 0.12),
    (Persona::Casual, 0.25),
];

/// The kinds that [`Persona::mix`] weighs.
pub(super) const MIX: [TransactionType; 6] = [
    TransactionType::P2p,
    TransactionType::CashOut,
    TransactionType::Merchant,
    TransactionType::Bill,
    TransactionType::Airtime,
    TransactionType::Loan,
];

impl Persona {
    /// A kind of life, drawn by how common it is.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        PERSONAS[dice.weighted(&PERSONAS.map(|(_, weight)| weight))].0
    }

    /// The weights of [`MIX`].
    pub(super) fn mix(self) -> [f64; 6] {
        match self {
            Self::Salaried => [0.30, 0.09, 0.35, 0.12, 0.12, 0.02],
            Self::Student => [0.28, 0.12, 0.26, 0.03, 0.28, 0.03],
            Self::Farmer => [0.34, 0.28, 0.12, 0.05, 0.18, 0.03],
            Self::Trader => [0.48, 0.14, 0.18, 0.08, 0.10, 0.02],
            Self::Casual => [0.34, 0.20, 0.20, 0.04, 0.18, 0.04],
        }
    }

    /// Mean of the log of an ordinary payment in shillings.
    pub(super) fn log_amount(self) -> f64 {
        match self {
            Self::Salaried => 7.2,
            Self::Student => 5.6,
            Self::Farmer => 6.3,
            Self::Trader => 7.5,
            Self::Casual => 6.1,
        }
    }

    /// Share of these customers that use the app.
    pub(super) fn app_share(self) -> f64 {
        match self {
            Self::Salaried => 0.75,
            Self::Student => 0.6,
            Self::Farmer => 0.06,
            Self::Trader => 0.4,
            Self::Casual => 0.2,
        }
    }
}
