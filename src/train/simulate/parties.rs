//! Whom one can pay: the numbers of customers, outsiders, tills, agents and paybills, and how amounts are rounded.

use super::{dice::Dice, event::mix, places::Place};

/// The first subscriber number of simulated customers: +254 710 000 000.
pub const FIRST_CUSTOMER: u64 = 254_710_000_000;
/// The greatest single payment that the operators allow, in minor units.
pub const MAX_PAYMENT_MINOR: i64 = 25_000_000;
/// Numbers above this one belong to people outside the simulation.
const FIRST_OUTSIDER: u64 = 254_750_000_000;
/// How many outsiders there are to meet.
const OUTSIDERS: i64 = 20_000_000;
/// Tills in one place.
const TILLS: i64 = 400;
/// Agents in one place.
const AGENTS: i64 = 120;
/// Paybills of the country.
const PAYBILLS: i64 = 300;

/// Shillings to minor units, rounded to a multiple of `step` shillings from 4 steps on.
pub fn rounded_minor(shillings: f64, step: f64) -> i64 {
    let shillings = shillings.clamp(1.0, 1e7);
    let whole = if shillings >= 4.0 * step { libm::round(shillings / step) * step } else { libm::ceil(shillings) };
    whole as i64 * 100
}

/// A phone to pay: a customer, or an outsider.
pub fn somebody(dice: &mut Dice, population: u64) -> u64 {
    if dice.chance(0.6) { FIRST_CUSTOMER + dice.index(population as usize) as u64 } else { outsider(dice) }
}

/// A phone that no customer has.
pub fn outsider(dice: &mut Dice) -> u64 {
    FIRST_OUTSIDER + dice.between(0, OUTSIDERS) as u64
}

/// A till in a place; a few have most of the trade.
pub fn till(dice: &mut Dice, place: Place) -> u32 {
    let popular = dice.between(0, TILLS - 1).min(dice.between(0, TILLS - 1));
    500_000 + u32::from(place.0) * TILLS as u32 + popular as u32
}

/// An agent in a place.
pub fn agent(dice: &mut Dice, place: Place) -> u32 {
    120_000 + u32::from(place.0) * AGENTS as u32 + dice.between(0, AGENTS - 1) as u32
}

/// A paybill of the country.
pub fn paybill(dice: &mut Dice) -> u32 {
    let popular = dice.between(0, PAYBILLS - 1).min(dice.between(0, PAYBILLS - 1));
    200_000 + (mix(popular as u64) % 700_000) as u32
}

/// The habit in `slot`, or somebody new who takes the slot every other time.
pub fn renewed<T: Copy>(dice: &mut Dice, new: bool, slot: &mut T, draw: impl FnOnce(&mut Dice) -> T) -> T {
    if !new {
        return *slot;
    }
    let fresh = draw(dice);
    if dice.chance(0.5) {
        *slot = fresh;
    }
    fresh
}
