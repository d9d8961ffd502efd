//! Structuring: a large sum in many transfers, each just below a limit, over a day and to several people.
//!
//! Look-alikes: the treasurer of a savings group (chama) sharing out; a shop paying wages.

use super::{Scheme, Stage};
use crate::{
    domain::{time::HOUR_MS, transaction::TransactionType},
    train::simulate::{
        event::{Event, Party},
        parties::outsider,
    },
};

/// Transfers above these cost more, are reported or refused, in shillings.
const LIMITS: [i64; 5] = [10_000, 20_000, 35_000, 70_000, 150_000];

pub(super) const SCHEME: Scheme = Scheme {
    name: "structuring",
    weight: 0.25,
    fraud: structuring,
    look_alikes: &[("chama_treasurer", chama_treasurer), ("wages", wages)],
};

fn structuring(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    // The limit that is out of this customer's ordinary, but not out of reach.
    let reach = stage.customers[actor].log_amount + stage.dice.range(1.5, 3.5);
    let above = |limit: &&i64| libm::log(**limit as f64) > reach;
    let limit = LIMITS.iter().find(above).copied().unwrap_or(LIMITS[LIMITS.len() - 1]);
    let takers: Vec<Party> = (0..stage.dice.between(3, 8)).map(|_| stage.mule()).collect();
    let lasts_ms = stage.dice.between(4 * HOUR_MS, 20 * HOUR_MS);
    let count = stage.dice.between(4, 14);
    (0..count)
        .map(|_| {
            let at_ms = stage.at_ms + stage.dice.between(0, lasts_ms);
            let shillings = libm::round(limit as f64 * stage.dice.range(0.92, 0.998) / 100.0) * 100.0;
            let party = stage.dice.pick(&takers);
            stage.own(actor, at_ms, TransactionType::P2p, party, shillings as i64 * 100)
        })
        .collect()
}

fn chama_treasurer(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let share = stage.dice.pick(&[3_000, 5_000, 9_500, 19_500, 34_000, 50_000, 69_000_i64]) * 100;
    share_out(stage, actor, 8, 25, 0.4, |_| share)
}

fn wages(stage: &mut Stage<'_>, actor: usize) -> Vec<Event> {
    let base = stage.dice.between(6, 24) * 1_000;
    share_out(stage, actor, 8, 30, 0.25, |stage| (base + stage.dice.between(0, 12) * 500) * 100)
}

/// Pays `low..=high` people one after another; each is a stranger to the phone with probability `new`.
fn share_out(
    stage: &mut Stage<'_>,
    actor: usize,
    low: i64,
    high: i64,
    new: f64,
    amount: impl Fn(&mut Stage<'_>) -> i64,
) -> Vec<Event> {
    let mut at_ms = stage.at_ms;
    (0..stage.dice.between(low, high))
        .map(|_| {
            let taker =
                if stage.dice.chance(new) { outsider(stage.dice) } else { stage.customers[actor].contact(stage.dice) };
            at_ms += stage.pause(30, 1_500);
            let amount_minor = amount(stage);
            stage.own(actor, at_ms, TransactionType::P2p, Party::Phone(taker), amount_minor)
        })
        .collect()
}
