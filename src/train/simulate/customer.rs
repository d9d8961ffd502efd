//! A customer's habits: how often, how much, where, with which device, and with whom.
//!
//! About 250 bytes a customer, whatever the number of events. Habits change slowly: trips, new contacts, a new
//! device now and then. What a scheme does to a customer is in `scheme`.

use super::{
    clock::{is_payday, local_hour, weekday},
    dice::Dice,
    event::{Event, Label, Party, Where},
    institution::INSTITUTIONS,
    parties::{FIRST_CUSTOMER, MAX_PAYMENT_MINOR, agent, paybill, renewed, rounded_minor, somebody, till},
    persona::{MIX, Persona},
    places::{Place, Places},
};
use crate::domain::{
    time::{DAY_MS, HOUR_MS, MINUTE_MS},
    transaction::{Channel, TransactionType},
};

/// Contacts a customer keeps.
const CONTACTS: usize = 8;
/// Tills and paybills a customer keeps going to.
const SHOPS: usize = 4;

/// One customer.
pub struct Customer {
    /// E.164 digits.
    pub phone: u64,
    /// The institution's index.
    pub institution: u8,
    /// The kind of life.
    pub persona: Persona,
    /// Payments a day.
    pub rate: f64,
    /// Mean of the log of an ordinary payment in shillings.
    pub log_amount: f64,
    /// Its spread.
    pub spread: f64,
    /// Where the customer lives.
    pub home: Place,
    work: Place,
    away: Option<(Place, i64)>,
    /// The device in daily use.
    pub device: u64,
    second_device: Option<u64>,
    replace_device_ms: i64,
    uses_app: bool,
    /// Share of payments to somebody new.
    curiosity: f64,
    contacts: [u64; CONTACTS],
    tills: [u32; SHOPS],
    paybills: [u32; 2],
    agents: [u32; 2],
    /// When the account was opened.
    pub opened_ms: i64,
    /// When the SIM was last replaced, if ever.
    pub sim_swapped_ms: Option<i64>,
    /// Nothing ordinary happens before this time: the account is locked after a fraud.
    pub quiet_until_ms: i64,
    /// Another scheme may take this customer from this time on.
    pub free_from_ms: i64,
    /// Payments made so far.
    pub payments: u32,
    last_sent: Option<LastSent>,
    /// Activity reached, see [`super::clock::Rhythm`].
    pub activity: f64,
}

/// What a reversal needs to know.
#[derive(Clone, Copy)]
struct LastSent {
    number: u64,
    amount_minor: i64,
    party: Party,
    at_ms: i64,
}

impl Customer {
    /// Draws the customer of this index out of `population`.
    pub fn draw(dice: &mut Dice, places: &Places, index: u64, population: u64, start_ms: i64) -> Self {
        let persona = Persona::draw(dice);
        let home = places.draw(dice);
        let work = if dice.chance(0.25) { places.draw(dice) } else { home };
        let device = dice.bits();
        // Some join while the simulation runs: they have no past.
        let joined_ms = if dice.chance(0.08) { (dice.unit() * 30.0 * DAY_MS as f64) as i64 } else { 0 };
        let opened_ms = if joined_ms > 0 {
            start_ms + joined_ms
        } else {
            start_ms - (dice.exponential(900.0 * DAY_MS as f64) as i64).min(5_000 * DAY_MS)
        };
        Self {
            phone: FIRST_CUSTOMER + index,
            institution: dice.weighted(&INSTITUTIONS.map(|institution| institution.share)) as u8,
            persona,
            rate: dice.log_normal(0.8, 0.75).clamp(0.1, 25.0),
            log_amount: persona.log_amount() + 0.7 * dice.normal(),
            spread: dice.range(0.5, 1.1),
            home,
            work,
            away: None,
            device,
            second_device: dice.chance(0.12).then(|| dice.bits()),
            replace_device_ms: start_ms + device_life_ms(dice),
            uses_app: dice.chance(persona.app_share()),
            curiosity: dice.range(0.03, 0.16) * if persona == Persona::Trader { 2.0 } else { 1.0 },
            contacts: std::array::from_fn(|_| somebody(dice, population)),
            tills: std::array::from_fn(|_| till(dice, home)),
            paybills: std::array::from_fn(|_| paybill(dice)),
            agents: std::array::from_fn(|_| agent(dice, home)),
            opened_ms,
            sim_swapped_ms: dice
                .chance(0.15)
                .then(|| opened_ms + ((start_ms - opened_ms).max(0) as f64 * dice.unit()) as i64),
            quiet_until_ms: start_ms + joined_ms,
            free_from_ms: start_ms,
            payments: 0,
            last_sent: None,
            activity: 0.0,
        }
    }

    /// An ordinary payment at `at_ms`.
    pub fn pay(&mut self, dice: &mut Dice, places: &Places, population: u64, at_ms: i64, number: u64) -> Event {
        if let Some(sent) = self.last_sent.take_if(|sent| at_ms - sent.at_ms < HOUR_MS && dice.chance(0.03)) {
            return self.reverse(dice, places, at_ms, number, sent);
        }
        let kind = MIX[dice.weighted(&self.persona.mix())];
        let place = self.place_at(dice, places, at_ms);
        let party = self.party(dice, kind, place, population);
        let amount_minor = self.amount(dice, kind, at_ms);
        let event = self.event(dice, places, at_ms, number, kind, party, amount_minor);
        if kind == TransactionType::P2p {
            self.last_sent = Some(LastSent { number, amount_minor, party, at_ms });
        }
        event
    }

    /// A payment as this customer's own device and whereabouts shape it.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one field of the payment; a struct would be the event itself"
    )]
    pub fn event(
        &mut self,
        dice: &mut Dice,
        places: &Places,
        at_ms: i64,
        number: u64,
        kind: TransactionType,
        party: Party,
        amount_minor: i64,
    ) -> Event {
        self.payments += 1;
        let place = self.place_at(dice, places, at_ms);
        Event {
            at_ms,
            number,
            phone: self.phone,
            institution: self.institution,
            kind,
            channel: self.channel(dice, kind),
            amount_minor: amount_minor.clamp(100, MAX_PAYMENT_MINOR),
            party,
            device: self.device_at(dice, at_ms),
            place: if dice.chance(0.05) { Where::Unknown } else { Where::At(place) },
            reverses: None,
            sim_swapped_ms: self.sim_swapped_ms,
            opened_ms: self.opened_ms,
            label: Label::Ordinary,
        }
    }

    fn reverse(&mut self, dice: &mut Dice, places: &Places, at_ms: i64, number: u64, sent: LastSent) -> Event {
        let kind = TransactionType::Reversal;
        let event = self.event(dice, places, at_ms, number, kind, sent.party, sent.amount_minor);
        Event { reverses: Some(sent.number), ..event }
    }

    /// Where the customer is, starting and ending trips.
    fn place_at(&mut self, dice: &mut Dice, places: &Places, at_ms: i64) -> Place {
        if self.away.is_some_and(|(_, until_ms)| at_ms >= until_ms) {
            self.away = None;
        }
        if self.away.is_none() && dice.chance(0.003) {
            let until_ms = at_ms + (dice.range(0.4, 5.0) * DAY_MS as f64) as i64;
            self.away = Some((places.draw_other(dice, self.home), until_ms));
        }
        let at_work = weekday(at_ms) < 5 && (8.5..17.0).contains(&local_hour(at_ms));
        match self.away {
            Some((place, _)) => place,
            None if at_work => self.work,
            None => self.home,
        }
    }

    /// Which device, replacing it when its time has come.
    fn device_at(&mut self, dice: &mut Dice, at_ms: i64) -> Option<u64> {
        if at_ms >= self.replace_device_ms {
            self.device = dice.bits();
            self.replace_device_ms = at_ms + device_life_ms(dice);
        }
        // Not every switch learns the device every time, and people borrow phones.
        if dice.chance(0.05) {
            return if dice.chance(0.92) { None } else { Some(dice.bits()) };
        }
        match self.second_device {
            Some(second) if dice.chance(0.15) => Some(second),
            _ => Some(self.device),
        }
    }

    fn channel(&self, dice: &mut Dice, kind: TransactionType) -> Channel {
        match kind {
            TransactionType::CashOut if dice.chance(0.5) => Channel::Agent,
            _ if self.uses_app && dice.chance(0.9) => Channel::App,
            _ => Channel::Ussd,
        }
    }

    /// Who is paid; sometimes somebody new, who may become a habit.
    fn party(&mut self, dice: &mut Dice, kind: TransactionType, place: Place, population: u64) -> Party {
        let new = dice.chance(self.curiosity);
        match kind {
            TransactionType::P2p => {
                let slot = dice.index(CONTACTS).min(dice.index(CONTACTS));
                Party::Phone(renewed(dice, new, &mut self.contacts[slot], |dice| somebody(dice, population)))
            }
            TransactionType::CashOut if place != self.home && place != self.work => Party::Agent(agent(dice, place)),
            TransactionType::CashOut => {
                let slot = dice.index(2);
                Party::Agent(renewed(dice, new, &mut self.agents[slot], |dice| agent(dice, place)))
            }
            TransactionType::Merchant if place != self.home || dice.chance(0.12) => Party::Till(till(dice, place)),
            TransactionType::Merchant => {
                let slot = dice.index(SHOPS).min(dice.index(SHOPS));
                Party::Till(renewed(dice, new, &mut self.tills[slot], |dice| till(dice, place)))
            }
            TransactionType::Bill => {
                let slot = dice.index(2);
                Party::Paybill(renewed(dice, new, &mut self.paybills[slot], paybill))
            }
            TransactionType::Airtime if dice.chance(0.2) => {
                let slot = dice.index(CONTACTS);
                Party::Phone(self.contacts[slot])
            }
            _ => Party::Nobody,
        }
    }

    fn amount(&self, dice: &mut Dice, kind: TransactionType, at_ms: i64) -> i64 {
        let (shift, step) = match kind {
            TransactionType::P2p => (0.0, 50.0),
            TransactionType::CashOut => (0.7, 100.0),
            TransactionType::Merchant => (-0.4, 1.0),
            TransactionType::Bill => (0.6, 10.0),
            TransactionType::Airtime => (-2.4, 10.0),
            _ => (0.4, 50.0),
        };
        let payday = if is_payday(at_ms) { 0.25 } else { 0.0 };
        let shillings = dice.log_normal(self.log_amount + shift + payday, self.spread);
        // Rent, school fees, land: large, but now and then in everyone's life.
        let large = kind != TransactionType::Airtime && dice.chance(0.025);
        let large = if large { libm::exp(dice.range(0.8, 3.0)) } else { 1.0 };
        rounded_minor(shillings * large, step)
    }

    /// An ordinary amount of this customer times `factor`, in minor units and rounded as people round.
    pub fn amount_times(&self, dice: &mut Dice, factor: f64) -> i64 {
        rounded_minor(dice.log_normal(self.log_amount, 0.4) * factor, 50.0)
    }

    /// One of the people this customer knows.
    pub fn contact(&self, dice: &mut Dice) -> u64 {
        dice.pick(&self.contacts)
    }

    /// Gives the customer a new device for good.
    pub fn upgrade_device(&mut self, device: u64) {
        self.device = device;
        self.second_device = None;
    }

    /// Where the customer is when not on a trip.
    pub fn travel_to(&mut self, place: Place, until_ms: i64) {
        self.away = Some((place, until_ms));
    }

    /// Until when the next ordinary payment follows at once, if it does: people often do two things in a row.
    pub fn follows_at(&self, dice: &mut Dice, at_ms: i64) -> Option<i64> {
        dice.chance(0.13).then(|| at_ms + (dice.exponential(6.0) * MINUTE_MS as f64) as i64 + 20_000)
    }
}

/// How long a device lasts: 300 days on average.
fn device_life_ms(dice: &mut Dice) -> i64 {
    (dice.exponential(300.0) * DAY_MS as f64) as i64
}
