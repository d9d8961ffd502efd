//! Everyone, and what happens next: events in time order through one heap.
//!
//! The invariant: times never go back, and memory is bounded by the number of customers and the plays under way.
//! In which order records arrive, and which come twice, is `arrival`'s.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    business::{Business, Trade},
    clock::{Rhythm, Shape},
    customer::Customer,
    dice::Dice,
    event::{Event, mix},
    options::Options,
    parties::outsider,
    places::Places,
    scheme::{self, Stage},
};

/// Phones that receive stolen money.
const MULES: u64 = 150;
/// Ordinary payments that a payment brings along, see `Customer::follows_at`.
const FOLLOWING: f64 = 0.15;
/// Events a play has on average, used only to space the first.
const TYPICAL_PLAY: f64 = 10.0;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Customer(u32),
    Business(u32),
    /// The next event of a play, by its slot.
    Play(u32),
    Fraud,
    LookAlike,
}

/// The simulated world.
pub struct World {
    dice: Dice,
    places: Places,
    customers: Vec<Customer>,
    businesses: Vec<Business>,
    mules: Vec<u64>,
    people: Rhythm,
    business: Rhythm,
    due: BinaryHeap<Reverse<(i64, u64, Turn)>>,
    scheduled: u64,
    /// Events still to come of each play, the next one last; an empty slot is free.
    plays: Vec<Vec<Event>>,
    free_plays: Vec<u32>,
    fraud: Spacing,
    look_alike: Spacing,
    next_number: u64,
}

/// When plays of one sort happen, so that their events are a given share of all.
struct Spacing {
    /// Events of this sort wanted a day.
    per_day: f64,
    activity: f64,
}

impl World {
    /// Draws everyone.
    pub fn new(options: &Options) -> Self {
        let mut dice = Dice::new(options.seed);
        let places = Places::built_in();
        let population = options.customers.max(1);
        let start_ms = options.start_ms;
        let customers: Vec<Customer> =
            (0..population).map(|index| Customer::draw(&mut dice, &places, index, population, start_ms)).collect();
        let mut businesses = Vec::new();
        for (trade, count) in [(Trade::Agent, options.agents), (Trade::Merchant, options.merchants)] {
            businesses
                .extend((0..count).map(|index| Business::draw(&mut dice, &places, trade, index, population, start_ms)));
        }
        let mules = (0..MULES).map(|_| outsider(&mut dice)).collect();
        let mut world = Self {
            dice,
            places,
            customers,
            businesses,
            mules,
            people: Rhythm::new(Shape::People, start_ms),
            business: Rhythm::new(Shape::Business, start_ms),
            due: BinaryHeap::new(),
            scheduled: 0,
            plays: Vec::new(),
            free_plays: Vec::new(),
            fraud: Spacing { per_day: 0.0, activity: 0.0 },
            look_alike: Spacing { per_day: 0.0, activity: 0.0 },
            next_number: mix(options.seed) % 1_000,
        };
        let per_day = world.events_a_day();
        world.fraud.per_day = per_day * options.fraud_rate;
        world.look_alike.per_day = per_day * options.look_alike_rate;
        world.schedule_all(start_ms);
        world
    }

    /// Events to expect on an ordinary day.
    pub fn events_a_day(&self) -> f64 {
        let people: f64 = self.customers.iter().map(|customer| customer.rate * (1.0 + FOLLOWING)).sum();
        people + self.businesses.iter().map(|business| business.rate).sum::<f64>()
    }

    /// The places that events name.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The next event in time.
    pub fn next(&mut self) -> Event {
        loop {
            let Reverse((at_ms, _, turn)) = self.due.pop().expect("every customer always has a turn in the heap");
            let event = match turn {
                Turn::Customer(index) => self.customer_turn(index, at_ms),
                Turn::Business(index) => Some(self.business_turn(index, at_ms)),
                Turn::Play(slot) => self.play_turn(slot),
                Turn::Fraud | Turn::LookAlike => {
                    self.plan(turn, at_ms);
                    None
                }
            };
            if let Some(event) = event {
                self.next_number += 1;
                return event;
            }
        }
    }

    fn schedule_all(&mut self, start_ms: i64) {
        // Activity counts from the full hour; nothing happens before the start.
        let (people, business) = (self.people.activity_at(start_ms), self.business.activity_at(start_ms));
        self.customers.iter_mut().for_each(|customer| customer.activity = people);
        self.businesses.iter_mut().for_each(|other| other.activity = business);
        (self.fraud.activity, self.look_alike.activity) = (people, people);
        for index in 0..self.customers.len() {
            self.schedule_customer(index as u32, start_ms);
        }
        for index in 0..self.businesses.len() {
            self.schedule_business(index as u32);
        }
        for turn in [Turn::Fraud, Turn::LookAlike] {
            self.space(turn, TYPICAL_PLAY);
        }
    }

    fn push(&mut self, at_ms: i64, turn: Turn) {
        self.scheduled += 1;
        self.due.push(Reverse((at_ms, self.scheduled, turn)));
    }

    fn schedule_customer(&mut self, index: u32, after_ms: i64) {
        let customer = &mut self.customers[index as usize];
        customer.activity += self.dice.exponential(1.0 / customer.rate);
        let mut at_ms = self.people.time_of(customer.activity);
        if at_ms < after_ms {
            // Somebody who did several things in a row goes on from there.
            customer.activity = self.people.activity_at(after_ms) + self.dice.exponential(1.0 / customer.rate);
            at_ms = self.people.time_of(customer.activity);
        }
        self.push(at_ms, Turn::Customer(index));
    }

    fn schedule_business(&mut self, index: u32) {
        let business = &mut self.businesses[index as usize];
        business.activity += self.dice.exponential(1.0 / business.rate);
        let at_ms = self.business.time_of(business.activity);
        self.push(at_ms, Turn::Business(index));
    }

    fn customer_turn(&mut self, index: u32, at_ms: i64) -> Option<Event> {
        let population = self.customers.len() as u64;
        let customer = &mut self.customers[index as usize];
        if at_ms < customer.quiet_until_ms {
            let until_ms = customer.quiet_until_ms;
            self.schedule_customer(index, until_ms);
            return None;
        }
        let event = customer.pay(&mut self.dice, &self.places, population, at_ms, self.next_number);
        match customer.follows_at(&mut self.dice, at_ms) {
            Some(next_ms) => self.push(next_ms, Turn::Customer(index)),
            None => self.schedule_customer(index, at_ms),
        }
        Some(event)
    }

    fn business_turn(&mut self, index: u32, at_ms: i64) -> Event {
        let population = self.customers.len() as u64;
        let number = self.next_number;
        let event = self.businesses[index as usize].trade(&mut self.dice, population, at_ms, number);
        self.schedule_business(index);
        event
    }

    fn play_turn(&mut self, slot: u32) -> Option<Event> {
        let play = &mut self.plays[slot as usize];
        let event = play.pop()?;
        match play.last().map(|next| next.at_ms) {
            Some(next_ms) => self.push(next_ms, Turn::Play(slot)),
            None => self.free_plays.push(slot),
        }
        Some(Event { number: self.next_number, ..event })
    }

    fn plan(&mut self, turn: Turn, at_ms: i64) {
        let mut stage = Stage {
            customers: &mut self.customers,
            places: &self.places,
            mules: &self.mules,
            dice: &mut self.dice,
            at_ms,
        };
        let planned = if turn == Turn::Fraud { scheme::fraud(&mut stage) } else { scheme::look_alike(&mut stage) };
        // Where nobody was fit, try again soon.
        let events = planned.as_ref().map_or(1, Vec::len);
        self.space(turn, events as f64);
        let Some(mut events) = planned else { return };
        events.reverse();
        let Some(first_ms) = events.last().map(|event| event.at_ms) else { return };
        let slot = match self.free_plays.pop() {
            Some(slot) => slot,
            None => {
                self.plays.push(Vec::new());
                (self.plays.len() - 1) as u32
            }
        };
        self.plays[slot as usize] = events;
        self.push(first_ms, Turn::Play(slot));
    }

    /// Waits as long as `events` of this sort last at the wanted rate.
    fn space(&mut self, turn: Turn, events: f64) {
        let spacing = if turn == Turn::Fraud { &mut self.fraud } else { &mut self.look_alike };
        if spacing.per_day <= 0.0 {
            return;
        }
        spacing.activity += self.dice.exponential(events / spacing.per_day);
        let at_ms = self.people.time_of(spacing.activity);
        self.push(at_ms, turn);
    }
}
