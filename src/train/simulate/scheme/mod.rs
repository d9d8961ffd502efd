//! The schemes: each a file with a fraud and its harmless look-alikes. A new scheme is a file and a line in [`SCHEMES`].
//!
//! A play is planned at once, when its time comes: a list of events in time order, which the simulation then lets
//! happen. Labels are put on by [`Scheme`]'s caller, so a play cannot mislabel itself. A play may change its actor
//! for good (a new phone, a locked account), never another customer.

mod draining;
mod structuring;
mod takeover;

use super::{
    customer::Customer,
    dice::Dice,
    event::{Event, Label, Party, Where},
    parties::outsider,
    places::{Place, Places},
};
use crate::domain::{
    time::{DAY_MS, SECOND_MS},
    transaction::TransactionType,
};

/// Plans what happens from the stage's time on.
type Play = fn(&mut Stage<'_>, usize) -> Vec<Event>;

/// One way to steal, and what honest people do that looks like it.
pub struct Scheme {
    /// The label's name.
    pub name: &'static str,
    /// How often it happens, relative to the others.
    weight: f64,
    fraud: Play,
    look_alikes: &'static [(&'static str, Play)],
}

/// All schemes.
pub const SCHEMES: [Scheme; 3] = [takeover::SCHEME, draining::SCHEME, structuring::SCHEME];

/// Tries to find an actor before a play is given up.
const ATTEMPTS: usize = 40;
/// Payments an actor has made before: nobody takes over an empty account.
const MIN_PAST: u32 = 3;

/// Plans one fraud; `None` where nobody is fit for it.
pub fn fraud(stage: &mut Stage<'_>) -> Option<Vec<Event>> {
    let scheme = draw_scheme(stage.dice);
    stage.perform(scheme.fraud, Label::Fraud(scheme.name))
}

/// Plans one harmless look-alike.
pub fn look_alike(stage: &mut Stage<'_>) -> Option<Vec<Event>> {
    let scheme = draw_scheme(stage.dice);
    let (name, play) = scheme.look_alikes[stage.dice.index(scheme.look_alikes.len())];
    stage.perform(play, Label::LookAlike(name))
}

fn draw_scheme(dice: &mut Dice) -> &'static Scheme {
    static ALL: [Scheme; 3] = SCHEMES;
    &ALL[dice.weighted(&SCHEMES.map(|scheme| scheme.weight))]
}

/// What a play is planned on.
pub struct Stage<'a> {
    /// Everyone.
    pub customers: &'a mut [Customer],
    /// Everywhere.
    pub places: &'a Places,
    /// Phones that receive stolen money, used again and again.
    pub mules: &'a [u64],
    /// The draws.
    pub dice: &'a mut Dice,
    /// Now.
    pub at_ms: i64,
}

impl Stage<'_> {
    fn perform(&mut self, play: Play, label: Label) -> Option<Vec<Event>> {
        let actor = self.find_actor()?;
        let mut events = play(self, actor);
        events.sort_by_key(|event| event.at_ms);
        for event in &mut events {
            event.label = label;
        }
        let last_ms = events.last()?.at_ms;
        let customer = &mut self.customers[actor];
        customer.free_from_ms = customer.free_from_ms.max(last_ms + 2 * DAY_MS);
        Some(events)
    }

    /// Somebody with a past and not in another play; the better off are likelier.
    fn find_actor(&mut self) -> Option<usize> {
        let mut found: Option<usize> = None;
        for _ in 0..ATTEMPTS {
            let index = self.dice.index(self.customers.len());
            let customer = &self.customers[index];
            if customer.payments < MIN_PAST
                || customer.free_from_ms > self.at_ms
                || customer.quiet_until_ms > self.at_ms
            {
                continue;
            }
            match found {
                None => found = Some(index),
                Some(first) if self.customers[first].log_amount >= customer.log_amount => return Some(first),
                Some(_) => return Some(index),
            }
        }
        found
    }

    /// The customer's own payment, with the customer's own device and whereabouts.
    fn own(&mut self, actor: usize, at_ms: i64, kind: TransactionType, party: Party, amount_minor: i64) -> Event {
        self.customers[actor].event(self.dice, self.places, at_ms, 0, kind, party, amount_minor)
    }

    /// A payment in the customer's name by somebody else's hand.
    fn stolen(&mut self, actor: usize, at_ms: i64, party: Party, amount_minor: i64, thief: &Thief) -> Event {
        let kind = match party {
            Party::Agent(_) => TransactionType::CashOut,
            Party::Till(_) => TransactionType::Merchant,
            Party::Nobody => TransactionType::Airtime,
            _ => TransactionType::P2p,
        };
        let event = self.own(actor, at_ms, kind, party, amount_minor);
        let device = match thief.device {
            Hand::Victims => event.device,
            Hand::Hidden => None,
            Hand::Own(device) => (!self.dice.chance(0.06)).then_some(device),
        };
        Event { device, place: thief.place.unwrap_or(event.place), ..event }
    }

    /// A phone that takes stolen money: mostly one of the known mules.
    fn mule(&mut self) -> Party {
        Party::Phone(if self.dice.chance(0.5) { self.dice.pick(self.mules) } else { outsider(self.dice) })
    }

    /// `low..=high` seconds in milliseconds.
    fn pause(&mut self, low_s: i64, high_s: i64) -> i64 {
        self.dice.between(low_s * SECOND_MS, high_s * SECOND_MS)
    }

    /// Seconds between two payments of a thief, in a hurry or careful not to look so.
    fn pace(&mut self) -> (i64, i64) {
        if self.dice.chance(0.65) { (20, 400) } else { (600, 9_000) }
    }

    fn home(&self, actor: usize) -> Place {
        self.customers[actor].home
    }
}

/// What a thief brings along.
struct Thief {
    device: Hand,
    /// `None` is wherever the victim is.
    place: Option<Where>,
}

/// Whose device a thief uses.
#[derive(Clone, Copy)]
enum Hand {
    /// The victim's, stolen or controlled from afar.
    Victims,
    /// The thief's own.
    Own(u64),
    /// One that the switch does not learn.
    Hidden,
}
