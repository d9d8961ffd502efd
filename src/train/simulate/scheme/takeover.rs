//! Account takeover by SIM swap: another's device, often another place, large amounts to new people in a burst.
//!
//! Look-alikes: a new phone and a large purchase; a journey; a hospital bill.

use super::{Hand, Scheme, Stage, Thief};
use crate::{
    domain::{
        time::{DAY_MS, HOUR_MS},
        transaction::TransactionType,
    },
    train::simulate::{
        event::{Event, Party, Where},
        parties::{MAX_PAYMENT_MINOR, agent, outsider, paybill, till},
    },
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "sim_swap_takeover",
    weight: 0.4,
    fraud: takeover,
    look_alikes: &[("phone_upgrade", phone_upgrade), ("journey", journey), ("hospital_bill", hospital_bill)],
};

fn takeover(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let home = stage.home(actor);
    let place = match stage.dice.weighted(&[0.45, 0.35, 0.2]) {
        0 => Some(Where::At(stage.places.draw_other(stage.dice, home))),
        1 => Some(Where::At(home)),
        _ => Some(Where::Unknown),
    };
    let device = if stage.dice.chance(0.85) { Hand::Own(stage.dice.bits()) } else { Hand::Hidden };
    let thief = Thief { device, place };
    let swapped_ms = stage.at_ms - stage.pause(600, 6 * 3_600);
    let mules: Vec<Party> = (0..stage.dice.between(1, 4)).map(|_| stage.mule()).collect();
    let (low_s, high_s) = stage.pace();
    let boldness = stage.dice.range(-0.2, 3.0);
    let mut at_ms = stage.at_ms;
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(2, 9) {
        let party = match thief.place {
            Some(Where::At(here)) if stage.dice.chance(0.2) => Party::Agent(agent(stage.dice, here)),
            _ => stage.dice.pick(&mules),
        };
        let amount = stage.customers[actor].amount_times(stage.dice, libm::exp(boldness));
        let event = stage.stolen(actor, at_ms, party, amount.min(MAX_PAYMENT_MINOR), &thief);
        events.push(Event { sim_swapped_ms: Some(swapped_ms), ..event });
        at_ms += stage.pause(low_s, high_s);
    }
    // The victim finds out, and gets the number back with yet another SIM.
    let customer = &mut stage.customers[actor];
    customer.quiet_until_ms = at_ms + stage.dice.between(DAY_MS / 2, 3 * DAY_MS);
    customer.sim_swapped_ms = Some(customer.quiet_until_ms);
    events
}

fn phone_upgrade(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let device = stage.dice.bits();
    let at_ms = stage.at_ms;
    let customer = &mut stage.customers[actor];
    customer.upgrade_device(device);
    if stage.dice.chance(0.5) {
        customer.sim_swapped_ms = Some(at_ms - HOUR_MS);
    }
    let home = stage.home(actor);
    let mut at_ms = at_ms + stage.pause(60, 7_200);
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(1, 4) {
        let factor = libm::exp(stage.dice.range(0.5, 2.8));
        let amount = stage.customers[actor].amount_times(stage.dice, factor);
        let (kind, party) = match stage.dice.weighted(&[0.5, 0.2, 0.3]) {
            0 => (TransactionType::Merchant, Party::Till(till(stage.dice, home))),
            1 => (TransactionType::Bill, Party::Paybill(paybill(stage.dice))),
            _ => (TransactionType::P2p, Party::Phone(outsider(stage.dice))),
        };
        events.push(stage.own(actor, at_ms, kind, party, amount));
        at_ms += stage.pause(60, 5_400);
    }
    events
}

fn journey(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let home = stage.home(actor);
    let place = stage.places.draw_other(stage.dice, home);
    let lasts_ms = stage.dice.between(HOUR_MS * 8, 3 * DAY_MS);
    let from_ms = stage.at_ms;
    stage.customers[actor].travel_to(place, from_ms + lasts_ms);
    // Some travellers buy a local phone, or lend one.
    let device = stage.dice.chance(0.2).then(|| stage.dice.bits());
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(4, 10) {
        let at_ms = from_ms + stage.dice.between(0, lasts_ms);
        let factor = libm::exp(stage.dice.range(-0.5, 2.0));
        let amount = stage.customers[actor].amount_times(stage.dice, factor);
        let (kind, party) = match stage.dice.weighted(&[0.3, 0.4, 0.3]) {
            0 => (TransactionType::CashOut, Party::Agent(agent(stage.dice, place))),
            1 => (TransactionType::Merchant, Party::Till(till(stage.dice, place))),
            _ => (TransactionType::P2p, Party::Phone(outsider(stage.dice))),
        };
        let event = stage.own(actor, at_ms, kind, party, amount);
        events.push(Event { device: device.or(event.device), place: Where::At(place), ..event });
    }
    events
}

fn hospital_bill(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let hospital = Party::Paybill(paybill(stage.dice));
    let mut at_ms = stage.at_ms;
    let mut events = Vec::new();
    for _ in 0..stage.dice.between(2, 5) {
        let factor = libm::exp(stage.dice.range(1.0, 3.0));
        let amount = stage.customers[actor].amount_times(stage.dice, factor);
        let (kind, party) = if stage.dice.chance(0.7) {
            (TransactionType::Bill, hospital)
        } else {
            (TransactionType::P2p, Party::Phone(stage.customers[actor].contact(stage.dice)))
        };
        events.push(stage.own(actor, at_ms, kind, party, amount));
        at_ms += stage.pause(60, 3_600);
    }
    events
}
