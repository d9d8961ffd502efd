//! Testing, then draining: several tiny payments to see whether the account works, then all of it.
//!
//! Look-alikes: a small trader paying many suppliers; airtime and small change before the rent.

use super::{Hand, Scheme, Stage, Thief};
use crate::{
    domain::{
        time::{DAY_MS, HOUR_MS},
        transaction::TransactionType,
    },
    train::simulate::{
        event::{Event, Party, Where},
        parties::{outsider, paybill, till},
    },
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "test_and_drain",
    weight: 0.35,
    fraud: test_and_drain,
    look_alikes: &[("small_trader", small_trader), ("airtime_then_rent", airtime_then_rent)],
};

fn test_and_drain(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let home = stage.home(actor);
    let thief = Thief {
        // A stolen phone is the victim's own device; stolen credentials are used on another.
        device: if stage.dice.chance(0.4) { Hand::Own(stage.dice.bits()) } else { Hand::Victims },
        place: match stage.dice.weighted(&[0.6, 0.25, 0.15]) {
            0 => None,
            1 => Some(Where::At(stage.places.draw_other(stage.dice, home))),
            _ => Some(Where::Unknown),
        },
    };
    let (low_s, high_s) = stage.pace();
    let mut at_ms = stage.at_ms;
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(2, 7) {
        let party = match stage.dice.weighted(&[0.5, 0.3, 0.2]) {
            0 => Party::Phone(outsider(stage.dice)),
            1 => Party::Till(till(stage.dice, home)),
            _ => Party::Nobody,
        };
        let amount = stage.dice.between(1, 20) * 1_000;
        events.push(stage.stolen(actor, at_ms, party, amount, &thief));
        at_ms += stage.pause(low_s, high_s);
    }
    at_ms += stage.pause(60, 1_800);
    let mules: Vec<Party> = (0..stage.dice.between(1, 3)).map(|_| stage.mule()).collect();
    let boldness = stage.dice.range(0.2, 2.9);
    for _ in 0..stage.dice.between(1, 5) {
        let amount = stage.customers[actor].amount_times(stage.dice, libm::exp(boldness));
        let party = stage.dice.pick(&mules);
        events.push(stage.stolen(actor, at_ms, party, amount, &thief));
        at_ms += stage.pause(low_s, high_s);
    }
    stage.customers[actor].quiet_until_ms = at_ms + stage.dice.between(DAY_MS / 2, 2 * DAY_MS);
    events
}

fn small_trader(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let home = stage.home(actor);
    let mut at_ms = stage.at_ms;
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(5, 15) {
        let factor = libm::exp(stage.dice.range(-2.0, 1.2));
        let amount = stage.customers[actor].amount_times(stage.dice, factor);
        let (kind, party) = match stage.dice.weighted(&[0.4, 0.3, 0.3]) {
            0 => (TransactionType::P2p, Party::Phone(stage.customers[actor].contact(stage.dice))),
            1 => (TransactionType::P2p, Party::Phone(outsider(stage.dice))),
            _ => (TransactionType::Merchant, Party::Till(till(stage.dice, home))),
        };
        events.push(stage.own(actor, at_ms, kind, party, amount));
        at_ms += stage.pause(40, 900);
    }
    let stock = libm::exp(stage.dice.range(1.0, 2.6));
    let amount = stage.customers[actor].amount_times(stage.dice, stock);
    let supplier = Party::Till(till(stage.dice, home));
    events.push(stage.own(actor, at_ms, TransactionType::Merchant, supplier, amount));
    events
}

fn airtime_then_rent(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let mut at_ms = stage.at_ms;
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(2, 5) {
        let friend = Party::Phone(stage.customers[actor].contact(stage.dice));
        let (kind, party) = if stage.dice.chance(0.6) {
            (TransactionType::Airtime, Party::Nobody)
        } else {
            (TransactionType::P2p, friend)
        };
        let amount = stage.dice.between(1, 20) * 1_000;
        events.push(stage.own(actor, at_ms, kind, party, amount));
        at_ms += stage.pause(20, 600);
    }
    at_ms += stage.dice.between(0, 2 * HOUR_MS);
    let factor = libm::exp(stage.dice.range(1.2, 3.0));
    let amount = stage.customers[actor].amount_times(stage.dice, factor);
    let (kind, landlord) = if stage.dice.chance(0.6) {
        (TransactionType::Bill, Party::Paybill(paybill(stage.dice)))
    } else {
        (TransactionType::P2p, Party::Phone(outsider(stage.dice)))
    };
    events.push(stage.own(actor, at_ms, kind, landlord, amount));
    events
}
