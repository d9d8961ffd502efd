//! How bytes become a transaction: one pass over borrowed JSON, then one rule a field.
//!
//! The pass (`tokens`) finds each known field's text without interpreting it; the rules (`fields`) judge those texts by value:
//! quickly, without a word on why not; and where something is unusual, closely, by the same rules. A record that breaks one is
//! read again field by field, with the same rules once more, for what its `invalid` verdict can still say: so the ways that accept
//! and the way that explains cannot disagree. Equal bytes and rules give equal results. Not here: time against the log,
//! duplicates, partitions; they need more than the record.

mod fields;
mod flat;
mod habits;
mod names;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod tokens;

use std::borrow::Cow;

use super::{
    invalid::{Invalid, InvalidReason, Readable},
    rules::Rules,
    transaction::{Record, Transaction},
};
use fields::{Objection, Reader, Unusual};
pub use habits::Habits;
pub use tokens::Field;
use tokens::Tokens;

/// The longest value that is read, in bytes; a transaction takes some hundreds.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The deepest nesting that is read, the transaction's own object included: only unknown fields nest at all.
pub const MAX_DEPTH: usize = 32;

/// The longest text of a field without a limit of its own, in bytes after unescaping.
pub const MAX_TEXT_BYTES: usize = 256;

/// The longest identifier, in characters (which are ASCII).
pub const MAX_ID_BYTES: usize = 64;

/// Whether a text is of an identifier's letters, `A-Za-z0-9._:-`, and not empty; its length is judged apart.
pub fn is_id(text: &[u8]) -> bool {
    // Without an early end no branch depends on a letter.
    !text.is_empty() && text.iter().fold(true, |all, byte| all & ID_LETTERS[usize::from(*byte)])
}

/// The letters of identifiers.
static ID_LETTERS: [bool; 256] = {
    let mut letters = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        letters[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        byte += 1;
    }
    letters
};

/// The first rule that a record breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    reason: InvalidReason,
    field: Option<Field>,
}

impl From<InvalidReason> for Fault {
    fn from(reason: InvalidReason) -> Self {
        Self { reason, field: None }
    }
}

/// Reads one record as a transaction.
///
/// # Errors
/// The first rule broken: those of the whole value first (size, UTF-8, nesting, JSON, repeated fields), then field by
/// field in the order of [`Field::ALL`]; with it every field that is valid in itself. A value that is no JSON object
/// has no readable field, save the institution of its header.
pub fn decode<'a>(record: &Record<'a>, rules: &Rules) -> Result<Transaction<'a>, Box<Invalid>> {
    decode_by(&mut Habits::default(), record, rules)
}

/// The same, quicker where records are alike: `habits` are of the records before.
///
/// # Errors
/// As [`decode`].
pub fn decode_by<'a>(habits: &mut Habits, record: &Record<'a>, rules: &Rules) -> Result<Transaction<'a>, Box<Invalid>> {
    let mut tokens = Tokens::default();
    if let Err(fault) = fill(&mut tokens, record.value, habits) {
        return Err(explain(fault, &Tokens::default(), record, rules));
    }
    read(&tokens, record, rules).or_else(|Unusual| read_closely(&tokens, record, rules))
}

/// The same for the few records with which something is unusual or wrong, as the quick way found.
#[cold]
fn read_closely<'a>(tokens: &Tokens<'a>, record: &Record<'a>, rules: &Rules) -> Result<Transaction<'a>, Box<Invalid>> {
    read(tokens, record, rules).map_err(|fault| explain(fault, tokens, record, rules))
}

/// Notes the known fields' texts of a value that is one JSON object within the limits.
fn fill<'a>(tokens: &mut Tokens<'a>, value: Option<&'a [u8]>, habits: &mut Habits) -> Result<(), Fault> {
    let value = value.ok_or(InvalidReason::NullValue)?;
    if value.is_empty() {
        return Err(InvalidReason::EmptyValue.into());
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(InvalidReason::ValueTooLarge.into());
    }
    tokens.scan(text_of(value).ok_or(InvalidReason::InvalidUtf8)?, habits)
}

/// The value as text, where it is UTF-8.
fn text_of(value: &[u8]) -> Option<&str> {
    if value.is_ascii() {
        // SAFETY: ASCII is UTF-8. Nearly every transaction is, and that is soon seen.
        return Some(unsafe { std::str::from_utf8_unchecked(value) });
    }
    std::str::from_utf8(value).ok()
}

/// Applies every rule, in the order of [`Field::ALL`].
#[inline(always)]
fn read<'a, O: Objection>(tokens: &Tokens<'a>, record: &Record<'a>, rules: &Rules) -> Result<Transaction<'a>, O> {
    if O::ALL_PLAIN && !tokens.are_plain() {
        // The reason goes no further: who reads plain tokens alone is not told one.
        return Err(Fault::from(InvalidReason::NotJson).into());
    }
    if let Some(field) = tokens.first_repeated() {
        return Err(Fault { reason: InvalidReason::DuplicateField, field: Some(field) }.into());
    }
    let reader = Reader::<O>::new(tokens, rules);
    Ok(Transaction {
        transaction_id: reader.transaction_id()?,
        amount: reader.amount()?,
        phone: reader.phone()?,
        timestamp: reader.timestamp()?,
        device_id: reader.text(Field::DeviceId)?,
        location: reader.text(Field::Location)?,
        currency: reader.currency()?,
        transaction_type: reader.transaction_type()?,
        channel: reader.channel()?,
        counterparty: reader.counterparty()?,
        geo: reader.geo()?,
        original_transaction_id: reader.text(Field::OriginalTransactionId)?,
        sim_swapped_at: reader.time(Field::SimSwappedAt)?,
        account_opened_at: reader.time(Field::AccountOpenedAt)?,
        institution_id: reader.institution(record.institution)?,
    })
}

/// The cold path: what is wrong, and each field that is valid all the same.
#[cold]
fn explain<'a>(fault: Fault, tokens: &Tokens<'a>, record: &Record<'a>, rules: &Rules) -> Box<Invalid> {
    let reader = Reader::<Fault>::new(tokens, rules);
    let amount = reader.amount().ok();
    // An absent currency is the home currency only beside an amount that it could be of.
    let currency = reader.currency().ok().filter(|_| amount.is_some() || tokens.has(Field::Currency));
    let read = Readable {
        transaction_id: reader.transaction_id().ok().map(Cow::into_owned),
        phone: reader.phone().ok(),
        amount,
        currency,
        event_time: reader.timestamp().ok(),
        institution_id: reader.institution(record.institution).ok().flatten().map(Cow::into_owned),
    };
    Box::new(Invalid { reason: fault.reason, field: fault.field.map(Field::as_str), read })
}
