//! A record that is no transaction: why, and what could be read of it all the same.

use super::{
    amount::{AmountMinor, Currency},
    phone::Phone,
    time::EventTimeMs,
    transaction::wire_enum,
};

/// An unreadable record. It still gets a verdict (kind `invalid`) and a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// The closed reason code.
    pub reason: InvalidReason,
    /// The field at fault, where one is.
    pub field: Option<&'static str>,
    /// What could be read; each is valid in itself.
    pub read: Readable,
}

/// The fields of an invalid record that were valid in themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readable {
    /// `transaction_id`.
    pub transaction_id: Option<String>,
    /// `phone_number`, normalised.
    pub phone: Option<Phone>,
    /// `amount`.
    pub amount: Option<AmountMinor>,
    /// `currency`.
    pub currency: Option<Currency>,
    /// `timestamp`.
    pub event_time: Option<EventTimeMs>,
    /// The sender, from header or body.
    pub institution_id: Option<String>,
}

impl Invalid {
    /// Of a record that the program failed on: nothing of it is read again.
    pub fn internal() -> Self {
        Self { reason: InvalidReason::InternalError, field: None, read: Readable::default() }
    }

    /// The reason's code as verdicts and dead letters spell it.
    pub fn code(&self) -> String {
        self.reason.spelled()
    }

    /// The reason in one sentence, behind the field at fault where one is.
    pub fn text(&self) -> String {
        let sentence = self.reason.sentence();
        self.field.map_or_else(|| sentence.to_owned(), |field| format!("{field}: {sentence}"))
    }
}

wire_enum! {
    /// Why a record is no transaction.
    InvalidReason {
        /// The record has no value.
        NullValue = "null_value",
        /// The value has no bytes.
        EmptyValue = "empty_value",
        /// The value is longer than 64 KiB.
        ValueTooLarge = "value_too_large",
        /// The value is not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// The value is not JSON (including lone surrogates and trailing bytes).
        NotJson = "not_json",
        /// The value is JSON, but no object.
        NotAnObject = "not_an_object",
        /// Nested more deeply than a transaction ever is.
        TooDeep = "too_deep",
        /// A known field stands twice.
        DuplicateField = "duplicate_field",
        /// A required field is absent or null.
        MissingField = "missing_field",
        /// A field has another JSON type than its own.
        WrongType = "wrong_type",
        /// A text is longer than its limit.
        TextTooLong = "text_too_long",
        /// A text has characters that its field does not allow, or is empty.
        BadText = "bad_text",
        /// A number that no field can hold (1e400, NaN).
        NumberOutOfRange = "number_out_of_range",
        /// The amount is no decimal number.
        AmountMalformed = "amount_malformed",
        /// The amount is zero or below.
        AmountNotPositive = "amount_not_positive",
        /// The amount has more than two decimals.
        AmountTooPrecise = "amount_too_precise",
        /// The amount is above 10^12.
        AmountTooLarge = "amount_too_large",
        /// The currency is no ISO 4217 code.
        BadCurrency = "bad_currency",
        /// The phone number is masked.
        PhoneMasked = "phone_masked",
        /// The phone number cannot be normalised.
        PhoneMalformed = "phone_malformed",
        /// A time is not RFC 3339, or lies before 1970.
        BadTimestamp = "bad_timestamp",
        /// A coordinate is out of range, or alone.
        BadCoordinates = "bad_coordinates",
        /// The program failed on the record, which no state holds, now or in any replay.
        InternalError = "internal_error",
    }
}

impl InvalidReason {
    /// The code as verdicts and dead letters spell it.
    pub fn spelled(self) -> String {
        self.as_str().to_ascii_uppercase()
    }

    /// The reason that is spelled so.
    pub fn of_spelled(code: &str) -> Option<Self> {
        Self::from_wire(&code.to_ascii_lowercase())
    }

    /// One sentence for verdict and dead letter: what is wrong and the way out, never the value itself.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NullValue => "the record has no value; send the transaction as a JSON object",
            Self::EmptyValue => "the value is empty; send the transaction as a JSON object",
            Self::ValueTooLarge => "the value is longer than 65536 bytes; send only the documented fields",
            Self::InvalidUtf8 => "the value is not UTF-8; encode the JSON as UTF-8",
            Self::NotJson => "the value is not valid JSON (RFC 8259)",
            Self::NotAnObject => "the value is JSON but not an object",
            Self::TooDeep => "the value is nested too deeply; a transaction is a flat object",
            Self::DuplicateField => "the field stands more than once; send it once",
            Self::MissingField => "the required field is missing or null",
            Self::WrongType => "the field has the wrong JSON type",
            Self::TextTooLong => "the text is too long for this field",
            Self::BadText => "the text is empty or has characters this field does not allow",
            Self::NumberOutOfRange => "the number is out of range",
            Self::AmountMalformed => "the amount is not a decimal number",
            Self::AmountNotPositive => "the amount must be greater than zero",
            Self::AmountTooPrecise => "the amount has more than two decimals",
            Self::AmountTooLarge => "the amount is above 1000000000000",
            Self::BadCurrency => "the currency is not a three-letter ISO 4217 code",
            Self::PhoneMasked => "the phone number is masked; send it whole, or 64 hex digits as an opaque subject",
            Self::PhoneMalformed => "the phone number is not E.164 (+254712345678) nor a national form",
            Self::BadTimestamp => "the time is not RFC 3339 or lies before 1970",
            Self::BadCoordinates => "latitude (-90..90) and longitude (-180..180) must both be sent, in degrees",
            Self::InternalError => {
                "the program failed on this record and leaves it out of every window; check the payment by hand"
            }
        }
    }
}
