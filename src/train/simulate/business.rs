//! Agents and merchants: the hot phones. A deposit's phone is the agent's, a payout's the merchant's.
//!
//! Every [`HOT_EVERY`]th of each kind is hot, with thousands of events a day, every [`BUSIEST_EVERY`]th with more than
//! three thousand; the rest have tens.

use super::{
    dice::Dice,
    event::{Event, Label, Party, Where},
    institution::INSTITUTIONS,
    parties::{FIRST_CUSTOMER, outsider, rounded_minor},
    places::{Place, Places},
};
use crate::domain::{
    time::DAY_MS,
    transaction::{Channel, TransactionType},
};

/// The first agent: +254 790 000 000; merchants follow [`FIRST_MERCHANT`].
const FIRST_AGENT: u64 = 254_790_000_000;
const FIRST_MERCHANT: u64 = 254_795_000_000;
/// One in so many is hot.
pub const HOT_EVERY: u64 = 10;
/// One in so many is busier than the other hot ones, but the first, which the smallest worlds have, too.
const BUSIEST_EVERY: u64 = 50;
/// Customers that come to an ordinary agent again and again.
const REGULARS: i64 = 400;

/// What a business does with its phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trade {
    /// Takes deposits.
    Agent,
    /// Pays suppliers, wages, winnings and refunds.
    Merchant,
}

/// An agent or a merchant.
pub struct Business {
    /// E.164 digits.
    pub phone: u64,
    /// What it does.
    pub trade: Trade,
    /// Events a day.
    pub rate: f64,
    institution: u8,
    home: Place,
    device: u64,
    first_regular: i64,
    log_amount: f64,
    opened_ms: i64,
    /// Activity reached, see [`super::clock::Rhythm`].
    pub activity: f64,
}

impl Business {
    /// Draws the business of this index.
    pub fn draw(dice: &mut Dice, places: &Places, trade: Trade, index: u64, population: u64, start_ms: i64) -> Self {
        let rate = if index > 0 && index.is_multiple_of(BUSIEST_EVERY) {
            dice.range(3_200.0, 4_800.0)
        } else if index.is_multiple_of(HOT_EVERY) {
            dice.range(1_000.0, 2_500.0)
        } else {
            dice.log_normal(4.0, 0.6).min(400.0)
        };
        let (first, log_amount) = match trade {
            Trade::Agent => (FIRST_AGENT, 6.6),
            Trade::Merchant => (FIRST_MERCHANT, 7.2),
        };
        Self {
            phone: first + index,
            trade,
            rate,
            institution: dice.weighted(&INSTITUTIONS.map(|institution| institution.share)) as u8,
            home: places.draw(dice),
            device: dice.bits(),
            first_regular: dice.between(0, population as i64 - 1),
            log_amount: log_amount + 0.3 * dice.normal(),
            opened_ms: start_ms - dice.between(100, 3_000) * DAY_MS,
            activity: 0.0,
        }
    }

    /// Its next deposit or payout.
    pub fn trade(&mut self, dice: &mut Dice, population: u64, at_ms: i64, number: u64) -> Event {
        let kind = match self.trade {
            Trade::Agent if dice.chance(0.97) => TransactionType::CashIn,
            Trade::Merchant if dice.chance(0.12) => TransactionType::Bill,
            _ => TransactionType::P2p,
        };
        Event {
            at_ms,
            number,
            phone: self.phone,
            institution: self.institution,
            kind,
            channel: if self.trade == Trade::Agent { Channel::Agent } else { Channel::Api },
            amount_minor: rounded_minor(dice.log_normal(self.log_amount, 1.0), 50.0),
            party: self.party(dice, kind, population),
            device: (!dice.chance(0.01)).then_some(self.device),
            place: if dice.chance(0.02) { Where::Unknown } else { Where::At(self.home) },
            reverses: None,
            sim_swapped_ms: None,
            opened_ms: self.opened_ms,
            label: Label::Ordinary,
        }
    }

    fn party(&self, dice: &mut Dice, kind: TransactionType, population: u64) -> Party {
        if kind == TransactionType::Bill {
            return Party::Paybill(200_000 + (self.phone % 1_000) as u32 + dice.between(0, 20) as u32);
        }
        if dice.chance(0.25) {
            return Party::Phone(outsider(dice));
        }
        // Regulars live nearby: a stretch of the population, its beginning the likeliest.
        let step = dice.between(0, REGULARS - 1).min(dice.between(0, REGULARS - 1));
        Party::Phone(FIRST_CUSTOMER + (self.first_regular + step) as u64 % population)
    }
}
