//! Transactions of even habits for measurements, decoded already or as bytes. Not a simulation: `train::simulate` is.

use std::{borrow::Cow, fmt::Write};

use crate::domain::{
    amount::{AmountMinor, Currency},
    phone::Phone,
    time::{DAY_MS, EventTimeMs, HOUR_MS},
    transaction::{Channel, Counterparty, CounterpartyId, CounterpartyType, Record, Transaction, TransactionType},
};

/// How long the ring keeps events by default: the longest window and the lateness.
const KEPT_MS: i64 = 8 * DAY_MS;

/// The moment all measured traffic begins.
const BEGIN_MS: i64 = 1_772_352_900_000;

/// Digits of an identifier.
const ID_DIGITS: usize = 9;

/// How the measured phones behave.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How many there are, served in turn.
    pub phones: u64,
    /// How many events each has within the time that rings reach back.
    pub events: u64,
    /// How many counterparties each has.
    pub counterparties: u64,
}

/// Endless traffic in order of time, a transaction at a time.
#[derive(Clone, Debug)]
pub struct Traffic {
    habits: Habits,
    next: u64,
}

/// What one round of traffic borrows from.
#[derive(Debug, Default)]
pub struct Names {
    text: String,
}

impl Names {
    /// Nine digits for each of `count` numbers from `first` on.
    pub fn new(first: u64, count: u64) -> Self {
        let mut text = String::with_capacity(count as usize * ID_DIGITS);
        for number in first..first + count {
            // Writing to a String cannot fail.
            let _ = write!(text, "{:0ID_DIGITS$}", number % 1_000_000_000);
        }
        Self { text }
    }

    fn get(&self, at: usize) -> &str {
        &self.text[at * ID_DIGITS..(at + 1) * ID_DIGITS]
    }
}

const PLACES: [&str; 3] = ["nairobi", "kisumu", "home, behind the market"];

const DEVICES: [&str; 2] = ["dev-4f1c09aa", "dev-77e0b2c1"];

impl Traffic {
    /// Traffic from its beginning.
    pub fn new(habits: Habits) -> Self {
        Self { habits, next: 0 }
    }

    /// How many transactions fill every phone's ring.
    pub fn to_fill(&self) -> u64 {
        self.habits.phones * self.habits.events
    }

    /// The names of the next `count` transactions, for [`Traffic::next`] to borrow.
    pub fn names(&self, count: u64) -> Names {
        Names::new(self.next, count)
    }

    /// The next transaction, the `at`-th since `names` were made, with its record.
    pub fn next<'a>(&mut self, names: &'a Names, at: usize) -> (Transaction<'a>, Record<'static>) {
        let number = self.next;
        self.next += 1;
        let Habits { phones, counterparties, .. } = self.habits;
        let (phone, round) = (number % phones, number / phones);
        // Mixed, so that neither amounts nor habits follow the order of phones.
        let mixed = (number ^ 0x5DEE_CE66).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let timestamp = BEGIN_MS + (i128::from(number) * i128::from(KEPT_MS) / i128::from(self.to_fill())) as i64;
        let transaction = Transaction {
            transaction_id: Cow::Borrowed(names.get(at)),
            amount: AmountMinor(1_000 + (mixed % 500_000) as i64),
            currency: Currency::KES,
            phone: Phone::E164(254_700_000_000 + phone),
            timestamp: EventTimeMs(timestamp),
            device_id: Some(Cow::Borrowed(DEVICES[usize::from(mixed.is_multiple_of(16))])),
            location: Some(Cow::Borrowed(PLACES[(mixed / 16 % 3) as usize])),
            transaction_type: Some(TransactionType::P2p),
            channel: Some(Channel::App),
            counterparty: Some(Counterparty {
                kind: Some(CounterpartyType::Phone),
                id: CounterpartyId::Phone(Phone::E164(254_720_000_000 + phone * 31 + (mixed + round) % counterparties)),
            }),
            geo: None,
            original_transaction_id: None,
            sim_swapped_at: None,
            account_opened_at: None,
            institution_id: Some(Cow::Borrowed("bank-01")),
        };
        let timestamp_ms = Some(timestamp + HOUR_MS / 3_600);
        (transaction, Record { offset: number as i64, timestamp_ms, key: None, value: None, institution: None })
    }
}

/// The bytes a switch would send for `transaction`.
pub fn json(transaction: &Transaction<'_>) -> String {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let counterparty = match transaction.counterparty.as_ref().map(|other| &other.id) {
        Some(CounterpartyId::Phone(phone)) => phone.to_string(),
        _ => String::new(),
    };
    format!(
        r#"{{"transaction_id":"{}","amount":{}.{:02},"phone_number":"{}","timestamp":"{}","device_id":"{}","location":"{}","transaction_type":"P2P","channel":"app","counterparty":"{counterparty}","counterparty_type":"phone","institution_id":"bank-01"}}"#,
        transaction.transaction_id,
        transaction.amount.0 / 100,
        transaction.amount.0 % 100,
        transaction.phone,
        transaction.timestamp.to_rfc3339(),
        text(&transaction.device_id),
        text(&transaction.location),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{decode::decode, rules::Rules};

    #[test]
    fn the_bytes_decode_to_the_transaction() {
        let mut traffic = Traffic::new(Habits { phones: 3, events: 20, counterparties: 8 });
        let names = traffic.names(100);
        for at in 0..100 {
            let (transaction, record) = traffic.next(&names, at);
            let text = json(&transaction);
            let record = Record { value: Some(text.as_bytes()), ..record };
            assert_eq!(decode(&record, &Rules::default()).expect("readable"), transaction);
        }
    }
}
