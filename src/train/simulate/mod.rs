//! Simulated mobile-money traffic, labelled: the same seed and options give the same bytes.
//!
//! ```text
//! world (customers, businesses, plays) ─► events in time order ─► arrival (disorder, repeats) ─► records as JSON
//! ```
//!
//! People have habits, homes, devices and wealth, and keep Nairobi's hours; agents and merchants are hot phones;
//! frauds and their harmless look-alikes are plays (see [`scheme`]). No clock and no I/O: whoever reads the records
//! decides when and where they go. It is a world to test and to train a first model on, not a likeness of anyone's
//! customers: figures measured on it say how the line works, not how much fraud a bank has.

mod arrival;
mod business;
mod clock;
mod customer;
mod dice;
mod event;
mod institution;
mod json;
mod options;
mod parties;
mod persona;
mod places;
pub mod scheme;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;

pub use self::{
    arrival::Repeat,
    clock::{Shape, intensity},
    event::Label,
    institution::INSTITUTIONS,
    options::{DEFAULT_CUSTOMERS, DEFAULT_START_MS, Disorder, Limit, Options, Restamp},
};
use self::{
    arrival::{Arrival, Arrived},
    event::Event,
    institution::Institution,
    world::World,
};
use crate::domain::{phone::Phone, time::DAY_MS};

/// A transaction's id, built from the simulation's prefix and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    prefix: u32,
    number: u64,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(16);
        json::write_id(&mut out, self.prefix, self.number);
        f.write_str(std::str::from_utf8(&out).map_err(|_| fmt::Error)?)
    }
}

/// One record.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// Event time, milliseconds since 1970.
    pub at_ms: i64,
    /// Whose transaction it is: the Kafka key.
    pub phone: Phone,
    /// Who sends it.
    pub institution_id: &'static str,
    /// Its id.
    pub transaction_id: TransactionId,
    /// What it is.
    pub label: Label,
    /// Whether it bears something new.
    pub repeat: Repeat,
    /// Whether it is the first that arrives of its transaction: a label is due.
    pub earliest: bool,
    /// The transaction as JSON.
    pub json: Vec<u8>,
}

impl Simulated {
    /// An empty record for [`Simulation::read`] to fill.
    pub fn empty() -> Self {
        Self {
            at_ms: 0,
            phone: Phone::E164(0),
            institution_id: "",
            transaction_id: TransactionId { prefix: 0, number: 0 },
            label: Label::Ordinary,
            repeat: Repeat::First,
            earliest: true,
            json: Vec::with_capacity(512),
        }
    }

    /// Appends the label's line: `{"institution_id":…,"transaction_id":…,"fraud":…,"scheme":…,"look_alike":…}`.
    pub fn write_label(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"institution_id\":\"");
        out.extend_from_slice(self.institution_id.as_bytes());
        out.extend_from_slice(b"\",\"transaction_id\":\"");
        json::write_id(out, self.transaction_id.prefix, self.transaction_id.number);
        out.extend_from_slice(if self.label.is_fraud() { b"\",\"fraud\":true" } else { b"\",\"fraud\":false" });
        let named = match self.label {
            Label::Ordinary => None,
            Label::LookAlike(name) => Some(("look_alike", name)),
            Label::Fraud(name) => Some(("scheme", name)),
        };
        if let Some((field, name)) = named {
            for part in [",\"", field, "\":\"", name, "\""] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// A running simulation: an iterator of records in order of arrival.
pub struct Simulation {
    world: World,
    arrival: Arrival,
    limit: Limit,
    end_ms: i64,
    restamp: Option<Restamp>,
    prefix: u32,
    /// The next event, drawn but not sent.
    pending: Option<Event>,
    drawn: u64,
    records: u64,
}

impl Simulation {
    /// A world at its start.
    pub fn new(options: &Options) -> Self {
        let end_ms = match options.limit {
            Limit::Days(days) => options.start_ms.saturating_add(days as i64 * DAY_MS),
            Limit::Records(_) | Limit::None => i64::MAX,
        };
        // Another start is another history: ids of different runs into one topic must not repeat.
        let start_ms = options.restamp.map_or(options.start_ms, |restamp| restamp.start_ms);
        Self {
            world: World::new(options),
            arrival: Arrival::new(options.seed, options.disorder),
            limit: options.limit,
            end_ms,
            restamp: options.restamp,
            prefix: (event::mix(options.seed ^ event::mix(start_ms as u64)) >> 34) as u32,
            pending: None,
            drawn: 0,
            records: 0,
        }
    }

    /// Events to expect on an ordinary day of simulated time.
    pub fn events_a_day(&self) -> f64 {
        self.world.events_a_day()
    }

    /// Overwrites `record` with the next one, keeping its buffer; `false` at the end.
    pub fn read(&mut self, record: &mut Simulated) -> bool {
        if matches!(self.limit, Limit::Records(records) if self.records >= records) {
            return false;
        }
        let Some(Arrived { event, repeat, earliest }) = self.next_arrival() else { return false };
        self.records += 1;
        record.at_ms = event.at_ms;
        record.phone = Phone::E164(event.phone);
        record.institution_id = Institution::of(event.institution).id;
        record.transaction_id = TransactionId { prefix: self.prefix, number: event.number };
        record.label = event.label;
        (record.repeat, record.earliest) = (repeat, earliest);
        record.json.clear();
        event.write_json(&mut record.json, self.prefix, self.world.places());
        true
    }

    fn next_arrival(&mut self) -> Option<Arrived> {
        loop {
            let event = match self.pending.take() {
                Some(event) => event,
                None => self.draw(),
            };
            if event.at_ms >= self.end_ms {
                self.pending = Some(event);
                return self.arrival.pop();
            }
            if self.arrival.is_due(event.at_ms) {
                self.pending = Some(event);
                return self.arrival.pop();
            }
            if let Some(arrived) = self.arrival.send(event) {
                return Some(arrived);
            }
        }
    }

    fn draw(&mut self) -> Event {
        let event = self.world.next();
        let Some(restamp) = self.restamp else { return event };
        let at_ms = restamp.start_ms + (self.drawn as f64 * 1_000.0 / restamp.per_second) as i64;
        self.drawn += 1;
        let moved_ms = at_ms - event.at_ms;
        Event {
            at_ms,
            sim_swapped_ms: event.sim_swapped_ms.map(|swapped_ms| swapped_ms + moved_ms),
            opened_ms: event.opened_ms + moved_ms,
            ..event
        }
    }
}

impl Iterator for Simulation {
    type Item = Simulated;

    fn next(&mut self) -> Option<Simulated> {
        let mut record = Simulated::empty();
        self.read(&mut record).then_some(record)
    }
}
