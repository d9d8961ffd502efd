//! One rule a field: from its JSON text to a value that the rest of the line can trust.
//!
//! Every method judges its own field alone (coordinates: the pair) and names it in the fault. Nothing here looks at
//! the order of fields or at the log.

use std::{borrow::Cow, marker::PhantomData};

use super::{
    Fault, Field, MAX_ID_BYTES, MAX_TEXT_BYTES, is_id,
    tokens::{NotText, Token, Tokens},
};
use crate::domain::{
    amount::{AmountError, AmountMinor, Currency},
    blanks::{is_blank, trimmed},
    invalid::InvalidReason,
    phone::{Phone, PhoneError},
    place::GeoPoint,
    rules::Rules,
    time::EventTimeMs,
    transaction::{Channel, Counterparty, CounterpartyId, CounterpartyType, TransactionType},
};

/// Reads fields by the rules; `O` is what it says of a field that it does not take.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 'a, O> {
    pub(super) tokens: &'r Tokens<'a>,
    pub(super) rules: &'r Rules,
    objects: PhantomData<O>,
}

/// What a reader says of a field that it does not take: one rule set serves those who want to know why, and those who do not.
pub(super) trait Objection: From<Fault> + Copy {
    /// Whether only plain tokens are read.
    const ALL_PLAIN: bool;
}

/// The fault itself.
impl Objection for Fault {
    const ALL_PLAIN: bool = false;
}

/// That something is unusual or wrong with a record. It takes no room, so that what is read is not moved about: the quick way
/// for the many records with which nothing is.
#[derive(Clone, Copy)]
pub(super) struct Unusual;

impl From<Fault> for Unusual {
    fn from(_: Fault) -> Self {
        Self
    }
}

impl Objection for Unusual {
    const ALL_PLAIN: bool = true;
}

fn fault<T, O: Objection>(reason: InvalidReason, field: Field) -> Result<T, O> {
    Err(Fault { reason, field: Some(field) }.into())
}

impl<'r, 'a, O: Objection> Reader<'r, 'a, O> {
    pub(super) fn new(tokens: &'r Tokens<'a>, rules: &'r Rules) -> Self {
        Self { tokens, rules, objects: PhantomData }
    }

    #[inline(always)]
    pub(super) fn transaction_id(self) -> Result<Cow<'a, str>, O> {
        let id = self.required(Field::TransactionId)?;
        check_id(&id, Field::TransactionId)?;
        Ok(id)
    }

    #[inline(always)]
    pub(super) fn amount(self) -> Result<AmountMinor, O> {
        let parsed = match self.tokens.get(Field::Amount)? {
            None => return fault(InvalidReason::MissingField, Field::Amount),
            Some(Token::Other) => return fault(InvalidReason::WrongType, Field::Amount),
            Some(Token::Number(number)) => AmountMinor::parse(number),
            Some(Token::Text(quoted)) => AmountMinor::parse(&self.text_of(quoted, Field::Amount)?),
        };
        parsed.or_else(|error| {
            let reason = match error {
                AmountError::NotANumber => InvalidReason::AmountMalformed,
                AmountError::NotPositive => InvalidReason::AmountNotPositive,
                AmountError::TooPrecise => InvalidReason::AmountTooPrecise,
                AmountError::TooLarge => InvalidReason::AmountTooLarge,
                AmountError::OutOfRange => InvalidReason::NumberOutOfRange,
            };
            fault(reason, Field::Amount)
        })
    }

    #[inline(always)]
    pub(super) fn phone(self) -> Result<Phone, O> {
        let text = self.required(Field::PhoneNumber)?;
        Phone::parse(&text, &self.rules.calling_code).or_else(|error| {
            let reason = match error {
                PhoneError::Masked => InvalidReason::PhoneMasked,
                PhoneError::Malformed => InvalidReason::PhoneMalformed,
            };
            fault(reason, Field::PhoneNumber)
        })
    }

    #[inline(always)]
    pub(super) fn timestamp(self) -> Result<EventTimeMs, O> {
        match self.time(Field::Timestamp)? {
            Some(at) => Ok(at),
            None => fault(InvalidReason::MissingField, Field::Timestamp),
        }
    }

    #[inline(always)]
    pub(super) fn time(self, field: Field) -> Result<Option<EventTimeMs>, O> {
        let Some(text) = self.optional(field)? else { return Ok(None) };
        match EventTimeMs::parse(&text) {
            Some(at) => Ok(Some(at)),
            None => fault(InvalidReason::BadTimestamp, field),
        }
    }

    /// Free text as sent; blank text says as little as none, and counts as absent.
    #[inline(always)]
    pub(super) fn text(self, field: Field) -> Result<Option<Cow<'a, str>>, O> {
        let Some(text) = self.optional(field)? else { return Ok(None) };
        if text.len() > MAX_TEXT_BYTES {
            return fault(InvalidReason::TextTooLong, field);
        }
        Ok(if is_blank(&text) { None } else { Some(text) })
    }

    #[inline(always)]
    pub(super) fn currency(self) -> Result<Currency, O> {
        match self.optional(Field::Currency)? {
            None => Ok(self.rules.home_currency),
            Some(text) => match Currency::parse(&text) {
                Some(currency) => Ok(currency),
                None => fault(InvalidReason::BadCurrency, Field::Currency),
            },
        }
    }

    #[inline(always)]
    pub(super) fn transaction_type(self) -> Result<Option<TransactionType>, O> {
        Ok(self.text(Field::TransactionType)?.and_then(|name| TransactionType::from_wire(&name)))
    }

    #[inline(always)]
    pub(super) fn channel(self) -> Result<Option<Channel>, O> {
        Ok(self.text(Field::Channel)?.and_then(|name| Channel::from_wire(&name)))
    }

    /// A phone where the type says so, or says nothing and the text reads as one; else the trimmed text.
    #[inline(always)]
    pub(super) fn counterparty(self) -> Result<Option<Counterparty<'a>>, O> {
        let kind = self.text(Field::CounterpartyType)?.and_then(|name| CounterpartyType::from_wire(&name));
        let Some(text) = self.text(Field::Counterparty)? else { return Ok(None) };
        let phone = match kind {
            None | Some(CounterpartyType::Phone) => Phone::parse(trimmed(&text), &self.rules.calling_code).ok(),
            Some(_) => None,
        };
        let id = match phone {
            Some(phone) => CounterpartyId::Phone(phone),
            None => CounterpartyId::Other(without_blanks(text)),
        };
        Ok(Some(Counterparty { kind, id }))
    }

    /// Both coordinates or neither; the one that is missing is the one named.
    #[inline(always)]
    pub(super) fn geo(self) -> Result<Option<GeoPoint>, O> {
        let pair = (self.tokens.get(Field::Latitude)?, self.tokens.get(Field::Longitude)?);
        if let (Some(Token::Number(latitude)), Some(Token::Number(longitude))) = pair
            && let Some(point) = GeoPoint::from_common(latitude, longitude)
        {
            return Ok(Some(point));
        }
        match (self.degrees(Field::Latitude)?, self.degrees(Field::Longitude)?) {
            (None, None) => Ok(None),
            (Some(_), None) => fault(InvalidReason::BadCoordinates, Field::Longitude),
            (None, Some(_)) => fault(InvalidReason::BadCoordinates, Field::Latitude),
            (Some(latitude), Some(longitude)) => match GeoPoint::from_degrees(latitude, longitude) {
                Some(point) => Ok(Some(point)),
                None if !(-90.0..=90.0).contains(&latitude) => fault(InvalidReason::BadCoordinates, Field::Latitude),
                None => fault(InvalidReason::BadCoordinates, Field::Longitude),
            },
        }
    }

    /// The header wins unseen: what the body says then is not even judged.
    #[inline(always)]
    pub(super) fn institution(self, header: Option<&'a [u8]>) -> Result<Option<Cow<'a, str>>, O> {
        let field = Field::InstitutionId;
        let id = match header {
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Some(Cow::Borrowed(text)),
                Err(_) => return fault(InvalidReason::BadText, field),
            },
            None => self.optional(field)?,
        };
        if let Some(id) = &id {
            check_id(id, field)?;
        }
        Ok(id)
    }

    fn degrees(self, field: Field) -> Result<Option<f64>, O> {
        match self.tokens.get(field)? {
            None => Ok(None),
            Some(Token::Number(number)) => match number.parse::<f64>() {
                Ok(degrees) if degrees.is_finite() => Ok(Some(degrees)),
                _ => fault(InvalidReason::NumberOutOfRange, field),
            },
            Some(_) => fault(InvalidReason::WrongType, field),
        }
    }

    #[inline(always)]
    fn text_of(self, quoted: &'a str, field: Field) -> Result<Cow<'a, str>, O> {
        match self.tokens.unescape(quoted) {
            Some(text) => Ok(text),
            // The grammar is checked already: what cannot be unescaped is a lone surrogate.
            None => fault(InvalidReason::NotJson, field),
        }
    }

    #[inline(always)]
    fn required(self, field: Field) -> Result<Cow<'a, str>, O> {
        match self.optional(field)? {
            Some(text) => Ok(text),
            None => fault(InvalidReason::MissingField, field),
        }
    }

    #[inline(always)]
    fn optional(self, field: Field) -> Result<Option<Cow<'a, str>>, O> {
        if O::ALL_PLAIN {
            let text = self.tokens.plain(field).or_else(|NotText| fault(InvalidReason::WrongType, field))?;
            return Ok(text.map(Cow::Borrowed));
        }
        match self.tokens.get(field)? {
            None => Ok(None),
            Some(Token::Text(quoted)) => self.text_of(quoted, field).map(Some),
            Some(_) => fault(InvalidReason::WrongType, field),
        }
    }
}

/// 1..=64 of `A-Za-z0-9._:-`.
fn check_id<O: Objection>(id: &str, field: Field) -> Result<(), O> {
    if !is_id(id.as_bytes()) {
        return fault(InvalidReason::BadText, field);
    }
    if id.len() > MAX_ID_BYTES {
        return fault(InvalidReason::TextTooLong, field);
    }
    Ok(())
}

/// Trims without a copy where the text is borrowed.
fn without_blanks(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
        Cow::Owned(text) => Cow::Owned(trimmed(&text).to_owned()),
    }
}
