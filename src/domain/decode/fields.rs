//! One rule a field: from its JSON text to a value that the rest of the line can trust.
//!
//! Every method judges its own field alone (coordinates: the pair) and names it in the fault. Nothing here looks at
//! the order of fields or at the log.

use std::borrow::Cow;

use super::{
    Fault, Field, MAX_ID_BYTES, MAX_TEXT_BYTES, is_id,
    tokens::{Token, Tokens},
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

/// Reads fields by the rules.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 'a> {
    pub(super) tokens: &'r Tokens<'a>,
    pub(super) rules: &'r Rules,
}

fn fault<T>(reason: InvalidReason, field: Field) -> Result<T, Fault> {
    Err(Fault { reason, field: Some(field) })
}

impl<'a> Reader<'_, 'a> {
    pub(super) fn transaction_id(self) -> Result<Cow<'a, str>, Fault> {
        let id = self.required(Field::TransactionId)?;
        check_id(&id, Field::TransactionId)?;
        Ok(id)
    }

    pub(super) fn amount(self) -> Result<AmountMinor, Fault> {
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

    pub(super) fn phone(self) -> Result<Phone, Fault> {
        let text = self.required(Field::PhoneNumber)?;
        Phone::parse(&text, &self.rules.calling_code).or_else(|error| {
            let reason = match error {
                PhoneError::Masked => InvalidReason::PhoneMasked,
                PhoneError::Malformed => InvalidReason::PhoneMalformed,
            };
            fault(reason, Field::PhoneNumber)
        })
    }

    pub(super) fn timestamp(self) -> Result<EventTimeMs, Fault> {
        match self.time(Field::Timestamp)? {
            Some(at) => Ok(at),
            None => fault(InvalidReason::MissingField, Field::Timestamp),
        }
    }

    pub(super) fn time(self, field: Field) -> Result<Option<EventTimeMs>, Fault> {
        let Some(text) = self.optional(field)? else { return Ok(None) };
        match EventTimeMs::parse(&text) {
            Some(at) => Ok(Some(at)),
            None => fault(InvalidReason::BadTimestamp, field),
        }
    }

    /// Free text as sent; blank text says as little as none, and counts as absent.
    pub(super) fn text(self, field: Field) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(text) = self.optional(field)? else { return Ok(None) };
        if text.len() > MAX_TEXT_BYTES {
            return fault(InvalidReason::TextTooLong, field);
        }
        Ok(Some(text).filter(|text| !is_blank(text)))
    }

    pub(super) fn currency(self) -> Result<Currency, Fault> {
        match self.optional(Field::Currency)? {
            None => Ok(self.rules.home_currency),
            Some(text) => match Currency::parse(&text) {
                Some(currency) => Ok(currency),
                None => fault(InvalidReason::BadCurrency, Field::Currency),
            },
        }
    }

    pub(super) fn transaction_type(self) -> Result<Option<TransactionType>, Fault> {
        Ok(self.text(Field::TransactionType)?.and_then(|name| TransactionType::from_wire(&name)))
    }

    pub(super) fn channel(self) -> Result<Option<Channel>, Fault> {
        Ok(self.text(Field::Channel)?.and_then(|name| Channel::from_wire(&name)))
    }

    /// A phone where the type says so, or says nothing and the text reads as one; else the trimmed text.
    pub(super) fn counterparty(self) -> Result<Option<Counterparty<'a>>, Fault> {
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
    pub(super) fn geo(self) -> Result<Option<GeoPoint>, Fault> {
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
    pub(super) fn institution(self, header: Option<&'a [u8]>) -> Result<Option<Cow<'a, str>>, Fault> {
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

    fn degrees(self, field: Field) -> Result<Option<f64>, Fault> {
        match self.tokens.get(field)? {
            None => Ok(None),
            Some(Token::Number(number)) => match number.parse::<f64>() {
                Ok(degrees) if degrees.is_finite() => Ok(Some(degrees)),
                _ => fault(InvalidReason::NumberOutOfRange, field),
            },
            Some(_) => fault(InvalidReason::WrongType, field),
        }
    }

    fn text_of(self, quoted: &'a str, field: Field) -> Result<Cow<'a, str>, Fault> {
        match self.tokens.unescape(quoted) {
            Some(text) => Ok(text),
            // The grammar is checked already: what cannot be unescaped is a lone surrogate.
            None => fault(InvalidReason::NotJson, field),
        }
    }

    fn required(self, field: Field) -> Result<Cow<'a, str>, Fault> {
        match self.optional(field)? {
            Some(text) => Ok(text),
            None => fault(InvalidReason::MissingField, field),
        }
    }

    fn optional(self, field: Field) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.tokens.get(field)? {
            None => Ok(None),
            Some(Token::Text(quoted)) => self.text_of(quoted, field).map(Some),
            Some(_) => fault(InvalidReason::WrongType, field),
        }
    }
}

/// 1..=64 of `A-Za-z0-9._:-`.
fn check_id(id: &str, field: Field) -> Result<(), Fault> {
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
