//! The pass over the bytes: which known field has which JSON text.
//!
//! An object takes the fast pass (`flat`); serde_json reads what that leaves, and alone refuses. Nothing is
//! interpreted or copied here. Unknown fields are skipped, but may not nest
//! without bound; their keys must be readable text, or nobody could tell that they are unknown.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Fault, Habits, MAX_DEPTH, flat};
use crate::domain::{invalid::InvalidReason, transaction::wire_enum};

wire_enum! {
    /// The fields of a transaction, in the order in which they are judged.
    Field {
        /// Required: the sender's identifier.
        TransactionId = "transaction_id",
        /// Required: a number or its text.
        Amount = "amount",
        /// Required: the initiator.
        PhoneNumber = "phone_number",
        /// Required: RFC 3339.
        Timestamp = "timestamp",
        /// The device, as the switch names it.
        DeviceId = "device_id",
        /// A place's name.
        Location = "location",
        /// ISO 4217.
        Currency = "currency",
        /// What the customer did.
        TransactionType = "transaction_type",
        /// How the customer reached the switch.
        Channel = "channel",
        /// What kind of number the counterparty is.
        CounterpartyType = "counterparty_type",
        /// The other side.
        Counterparty = "counterparty",
        /// Degrees north.
        Latitude = "latitude",
        /// Degrees east.
        Longitude = "longitude",
        /// The reversed transaction.
        OriginalTransactionId = "original_transaction_id",
        /// RFC 3339.
        SimSwappedAt = "sim_swapped_at",
        /// RFC 3339.
        AccountOpenedAt = "account_opened_at",
        /// The sender; the header wins.
        InstitutionId = "institution_id",
    }
}

const FIELDS: usize = Field::ALL.len();

/// The JSON text of each known field, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens<'a> {
    raw: [Option<&'a str>; FIELDS],
    /// One bit a field that stands more than once.
    repeated: u32,
    too_deep: bool,
    /// Whether a backslash stands anywhere: without one, no text needs unescaping.
    pub(super) escaped: bool,
}

/// A field's text by its JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A string, still quoted and escaped.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    /// True, false, an array or an object: no field has such a value.
    Other,
}

impl<'a> Tokens<'a> {
    /// Reads `text` as one JSON object into these, which are empty.
    pub(super) fn scan(&mut self, text: &'a str, habits: &mut Habits) -> Result<(), Fault> {
        if flat::scan(text, self, habits).is_none() {
            *self = Self::parse(text)?;
        }
        Ok(())
    }

    /// The same by serde_json alone: any object, and the reason where there is none.
    #[cold]
    pub(super) fn parse(text: &'a str) -> Result<Self, Fault> {
        match serde_json::from_str::<Self>(text) {
            Ok(tokens) if !tokens.too_deep => Ok(Self { escaped: text.contains('\\'), ..tokens }),
            Ok(_) => Err(InvalidReason::TooDeep.into()),
            Err(_) => Err(misshapen(text)),
        }
    }

    /// Whether each field's text is what stands between its quotes: no field stands twice, and no text needs unescaping.
    pub(super) fn are_plain(&self) -> bool {
        self.repeated == 0 && !self.escaped
    }

    /// The text of a field of plain ones; `None` when absent or null.
    ///
    /// # Errors
    /// It is neither a string nor null.
    #[inline(always)]
    pub(super) fn plain(&self, field: Field) -> Result<Option<&'a str>, NotText> {
        let Some(raw) = self.raw[field as usize] else { return Ok(None) };
        match unquoted(raw) {
            None if raw != "null" => Err(NotText),
            text => Ok(text),
        }
    }

    /// The field's value; `None` when absent or null. A field that stands twice has no value but a fault.
    #[inline(always)]
    pub(super) fn get(&self, field: Field) -> Result<Option<Token<'a>>, Fault> {
        if self.repeated & bit(field) != 0 {
            return Err(Fault { reason: InvalidReason::DuplicateField, field: Some(field) });
        }
        let Some(raw) = self.raw[field as usize] else { return Ok(None) };
        Ok(match raw.as_bytes().first() {
            Some(b'"') => Some(Token::Text(raw)),
            Some(b'-' | b'0'..=b'9') => Some(Token::Number(raw)),
            Some(b'n') => None,
            _ => Some(Token::Other),
        })
    }

    /// Unquotes and unescapes a string token of these; borrowed unless an escape forces a copy. `None` at a lone surrogate.
    pub(super) fn unescape(&self, quoted: &'a str) -> Option<Cow<'a, str>> {
        if self.escaped && quoted.contains('\\') {
            return serde_json::from_str::<String>(quoted).ok().map(Cow::Owned);
        }
        unquoted(quoted).map(Cow::Borrowed)
    }

    /// Whether the field was sent at all.
    pub(super) fn has(&self, field: Field) -> bool {
        self.raw[field as usize].is_some_and(|raw| raw != "null")
    }

    /// The first known field, in judging order, that stands more than once.
    pub(super) fn first_repeated(&self) -> Option<Field> {
        Field::ALL.get(self.repeated.trailing_zeros() as usize).copied()
    }

    /// Notes a field's text.
    pub(super) fn insert(&mut self, field: Field, raw: &'a str) {
        if self.raw[field as usize].replace(raw).is_some() {
            self.repeated |= bit(field);
        }
    }
}

/// A field's value is no string.
pub(super) struct NotText;

/// What stands between a string's quotes; `None` for what is no string.
#[inline(always)]
fn unquoted(raw: &str) -> Option<&str> {
    raw.strip_prefix("\"")?.strip_suffix("\"")
}

fn bit(field: Field) -> u32 {
    1 << (field as u32)
}

/// Why serde_json refused `text`: nesting first, for it names the cause; then grammar; then shape.
#[cold]
fn misshapen(text: &str) -> Fault {
    if nests_too_deep(text, MAX_DEPTH) {
        return InvalidReason::TooDeep.into();
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if !raw.get().starts_with('{') => InvalidReason::NotAnObject.into(),
        // What is left is a key with a lone surrogate.
        _ => InvalidReason::NotJson.into(),
    }
}

/// Whether brackets outside strings nest more than `limit` deep. Total on any text, JSON or not.
pub(super) fn nests_too_deep(text: &str, limit: usize) -> bool {
    if !text.starts_with(['{', '[', ' ', '\t', '\n', '\r']) {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

impl<'de: 'a, 'a> Deserialize<'de> for Tokens<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Tokens<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transaction object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tokens = Tokens::default();
        while let Some(Key(known)) = map.next_key::<Key>()? {
            let raw: &'de RawValue = map.next_value()?;
            // A nested value is a wrong type anyway; how deep it is decides only which fault is named.
            tokens.too_deep |= nests_too_deep(raw.get(), MAX_DEPTH - 1);
            if let Some(field) = known {
                tokens.insert(field, raw.get());
            }
        }
        Ok(tokens)
    }
}

/// A field's name; `None` when unknown.
struct Key(Option<Field>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Key, E> {
        Ok(Key(Field::from_wire(name)))
    }
}
