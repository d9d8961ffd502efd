//! A transaction as read: every field valid and normalised. How bytes become one is `decode`.

use std::borrow::Cow;

use super::{
    amount::{AmountMinor, Currency},
    phone::Phone,
    place::GeoPoint,
    time::EventTimeMs,
};

/// One input record as the log has it; the borrowed bytes are the broker's.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The input offset.
    pub offset: i64,
    /// Kafka's record timestamp in milliseconds; `None` where the log has none (−1).
    pub timestamp_ms: Option<i64>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` is a tombstone, which is invalid here.
    pub value: Option<&'a [u8]>,
    /// The last `institution` header, which wins over the body's `institution_id`.
    pub institution: Option<&'a [u8]>,
}

/// A valid transaction; strings borrow from the record unless JSON escapes forced a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction<'a> {
    /// 1..=64 characters of `A-Za-z0-9._:-`; unique within an institution, as far as it keeps its word.
    pub transaction_id: Cow<'a, str>,
    /// Integer minor units of `currency`.
    pub amount: AmountMinor,
    /// ISO 4217; the home currency when absent.
    pub currency: Currency,
    /// The initiator: payer, withdrawing customer, or the agent of a deposit.
    pub phone: Phone,
    /// As sent, not clamped.
    pub timestamp: EventTimeMs,
    /// Absent means unknown, which is a value of its own.
    pub device_id: Option<Cow<'a, str>>,
    /// A place's name as sent.
    pub location: Option<Cow<'a, str>>,
    /// Unknown values count as absent.
    pub transaction_type: Option<TransactionType>,
    /// Unknown values count as absent.
    pub channel: Option<Channel>,
    /// The other side of the payment.
    pub counterparty: Option<Counterparty<'a>>,
    /// Both coordinates, when both were sent.
    pub geo: Option<GeoPoint>,
    /// The reversed transaction, as known to the switch.
    pub original_transaction_id: Option<Cow<'a, str>>,
    /// When the subscriber's SIM was last replaced, as known to the switch.
    pub sim_swapped_at: Option<EventTimeMs>,
    /// When the account was opened, as known to the switch.
    pub account_opened_at: Option<EventTimeMs>,
    /// The sending institution.
    pub institution_id: Option<Cow<'a, str>>,
}

/// The other side of a payment: kept apart by type, phones normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterparty<'a> {
    /// Unknown values count as absent.
    pub kind: Option<CounterpartyType>,
    /// The normalised identity.
    pub id: CounterpartyId<'a>,
}

/// A counterparty's identity.
#[derive(Clone, Debug, PartialEq)]
pub enum CounterpartyId<'a> {
    /// A readable phone (type `phone` or none).
    Phone(Phone),
    /// Anything else, trimmed.
    Other(Cow<'a, str>),
}

/// Declares a closed enum with its wire names and stable codes.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $wire:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in code order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }

            /// Reads a wire name; unknown names are `None`.
            pub fn from_wire(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$variant),)+ _ => None }
            }

            /// A stable small integer, the value of the feature.
            pub fn code(self) -> u8 { self as u8 }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum! {
    /// What the customer did.
    TransactionType {
        /// Person to person.
        P2p = "P2P",
        /// Deposit at an agent.
        CashIn = "CASH_IN",
        /// Withdrawal at an agent.
        CashOut = "CASH_OUT",
        /// Payment to a till.
        Merchant = "MERCHANT",
        /// Payment to a paybill.
        Bill = "BILL",
        /// Airtime top-up.
        Airtime = "AIRTIME",
        /// Loan disbursement or repayment.
        Loan = "LOAN",
        /// Takes another transaction back: counted, never summed.
        Reversal = "REVERSAL",
    }
}

wire_enum! {
    /// How the customer reached the switch.
    Channel {
        /// USSD menu.
        Ussd = "ussd",
        /// Mobile application.
        App = "app",
        /// At an agent's till.
        Agent = "agent",
        /// Programmatic.
        Api = "api",
    }
}

wire_enum! {
    /// What kind of number the counterparty is.
    CounterpartyType {
        /// A subscriber.
        Phone = "phone",
        /// A merchant's till.
        Till = "till",
        /// A paybill account.
        Paybill = "paybill",
        /// An agent.
        Agent = "agent",
        /// A bank account.
        Bank = "bank",
    }
}
