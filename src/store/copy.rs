//! Rows in PostgreSQL's binary COPY format (its documentation, "COPY", Binary Format), encoded before any transaction.
//!
//! Invariant: a row is encoded whole or not at all, and what is encoded PostgreSQL takes. It speaks to no server.

use std::io::Cursor;

use super::{
    days::Day,
    verdict::{StoredVerdict, Text},
};
use crate::domain::amount::AmountMinor;

/// The statement that takes the rows; its columns are in the order of [`Rows::push`].
pub const STATEMENT: &str = "COPY sentra.verdicts (source_offset, previous_offset, epoch, verdict_offset, recorded_at,
    decided_at, event_time, duplicate_of, processing_time_ms, day, partition, velocity, amount_anomaly, device_new,
    location_change, risk_score, schema_version, log, kind, transaction_id, phone_number, institution_id, amount,
    currency, risk_level, recommendation, model_name, model_version, policy_version, feature_digest, flags, reasons,
    features, raw) FROM STDIN BINARY";

const COLUMNS: i16 = 34;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// PostgreSQL's own times begin in 2000.
const YEAR_2000_US: i64 = 946_684_800_000_000;
const YEAR_2000_DAY: i32 = 10_957;
/// The types of array elements, by object id.
const TEXT_OID: i32 = 25;
const FLOAT4_OID: i32 = 700;
/// A chunk is handed over whole; a row is far smaller.
const CHUNK_BYTES: usize = 256 * 1024;

/// What stands beside a verdict in its row.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The record's offset in the verdict topic.
    pub verdict_offset: i64,
    /// The record's timestamp, in milliseconds since 1970.
    pub recorded_ms: i64,
    /// Its day.
    pub day: Day,
    /// The record's value, where the columns would not give it back.
    pub raw: Option<&'a str>,
}

/// A text that PostgreSQL does not take: it holds a NUL character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstorable;

/// Encoded rows.
#[derive(Debug, Default)]
pub struct Rows {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    count: usize,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// How many bytes they take, about.
    pub fn bytes(&self) -> usize {
        self.full.len() * CHUNK_BYTES + self.last.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encodes one more row.
    ///
    /// # Errors
    /// A text holds a NUL character; nothing is added.
    pub fn push(&mut self, verdict: &StoredVerdict<'_>, place: Place<'_>) -> Result<(), Unstorable> {
        if self.last.len() >= CHUNK_BYTES {
            self.full.push(std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4)));
        }
        if self.full.is_empty() && self.last.is_empty() {
            self.last.extend_from_slice(HEADER);
        }
        let begin = self.last.len();
        let mut row = Row { out: &mut self.last, unstorable: false };
        row.verdict(verdict, place);
        if row.unstorable {
            self.last.truncate(begin);
            return Err(Unstorable);
        }
        self.count += 1;
        Ok(())
    }

    /// The bytes to send, in chunks, the end mark included; none where there are no rows.
    pub fn chunks(mut self) -> impl Iterator<Item = Cursor<Vec<u8>>> {
        if self.count > 0 {
            self.last.extend_from_slice(&(-1_i16).to_be_bytes());
            self.full.push(self.last);
        }
        self.full.into_iter().map(Cursor::new)
    }
}

/// A row being written.
struct Row<'o> {
    out: &'o mut Vec<u8>,
    unstorable: bool,
}

impl Row<'_> {
    fn verdict(&mut self, verdict: &StoredVerdict<'_>, place: Place<'_>) {
        let source = &verdict.source;
        self.out.extend_from_slice(&COLUMNS.to_be_bytes());
        self.int8(source.offset);
        self.int8(source.previous_offset);
        self.int8(source.epoch);
        self.int8(place.verdict_offset);
        self.time(place.recorded_ms.saturating_mul(1_000));
        self.time(verdict.decided_at.0);
        self.maybe(verdict.event_time, |row, at| row.time(at.0.saturating_mul(1_000)));
        self.maybe(verdict.duplicate_of, Self::int8);
        self.int8(verdict.processing_time_ms);
        self.field(&(place.day.0 - YEAR_2000_DAY).to_be_bytes());
        self.field(&source.partition.to_be_bytes());
        let signals = verdict.signals.map(|of| [of.velocity, of.amount_anomaly, of.device_new, of.location_change]);
        (0..4).for_each(|at| self.maybe(signals, |row, signals| row.field(&signals[at].to_be_bytes())));
        self.maybe(verdict.risk_score, |row, score| row.field(&i16::from(score).to_be_bytes()));
        self.field(&verdict.schema_version.to_be_bytes());
        self.text(&source.log.0);
        self.text(&verdict.kind.0);
        self.maybe_text(verdict.transaction_id.as_ref());
        self.maybe_text(verdict.phone_number.as_ref());
        self.maybe_text(verdict.institution_id.as_ref());
        self.maybe(verdict.amount, Self::numeric);
        self.maybe_text(verdict.currency.as_ref());
        self.maybe_text(verdict.risk_level.as_ref());
        self.text(&verdict.recommendation.0);
        self.maybe_text(verdict.model.as_ref().map(|model| &model.name));
        self.maybe_text(verdict.model.as_ref().map(|model| &model.version));
        self.text(&verdict.policy_version.0);
        self.maybe_text(verdict.feature_digest.as_ref());
        self.array(TEXT_OID, &verdict.flags, |row, flag| row.text(&flag.0));
        self.field(verdict.reasons.0.as_bytes());
        self.maybe(verdict.feature_row(), |row, features| {
            row.array(FLOAT4_OID, &features, |row, value| row.field(&value.to_be_bytes()));
        });
        self.maybe(place.raw, |row, raw| row.field(raw.as_bytes()));
    }

    fn field(&mut self, bytes: &[u8]) {
        // A record's value is below 1 MiB, and so is each of its parts.
        self.out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.out.extend_from_slice(bytes);
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn int8(&mut self, number: i64) {
        self.field(&number.to_be_bytes());
    }

    fn time(&mut self, us: i64) {
        self.int8(us.saturating_sub(YEAR_2000_US));
    }

    fn text(&mut self, text: &str) {
        self.unstorable |= text.as_bytes().contains(&0);
        self.field(text.as_bytes());
    }

    fn maybe_text(&mut self, text: Option<&Text<'_>>) {
        self.maybe(text, |row, text| row.text(&text.0));
    }

    /// Base 10,000, most significant digit first, weight the exponent of the first.
    fn numeric(&mut self, amount: AmountMinor) {
        let (mut units, rest) = (amount.0 / 100, (amount.0 % 100) as i16);
        let (mut digits, mut count) = ([0_i16; 8], 0);
        while units > 0 {
            digits[count] = (units % 10_000) as i16;
            units /= 10_000;
            count += 1;
        }
        digits[..count].reverse();
        let weight = count as i16 - 1;
        if rest > 0 {
            digits[count] = rest * 100;
            count += 1;
        }
        while count > 0 && digits[count - 1] == 0 {
            count -= 1;
        }
        let weight = if count == 0 { 0 } else { weight };
        self.out.extend_from_slice(&(8 + 2 * count as i32).to_be_bytes());
        for number in [count as i16, weight, 0, 2] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        digits[..count].iter().for_each(|digit| self.out.extend_from_slice(&digit.to_be_bytes()));
    }

    /// One dimension counted from 1; an empty array has none.
    fn array<T>(&mut self, oid: i32, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        let at = self.out.len();
        self.out.extend_from_slice(&0_i32.to_be_bytes());
        let dimensions = i32::from(!items.is_empty());
        for number in [dimensions, 0, oid] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        if !items.is_empty() {
            self.out.extend_from_slice(&(items.len() as i32).to_be_bytes());
            self.out.extend_from_slice(&1_i32.to_be_bytes());
        }
        items.iter().for_each(|item| write(self, item));
        let length = (self.out.len() - at - 4) as i32;
        self.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(amount_minor: i64) -> Vec<i16> {
        let mut out = Vec::new();
        Row { out: &mut out, unstorable: false }.numeric(AmountMinor(amount_minor));
        let length = i32::from_be_bytes(out[..4].try_into().expect("four bytes"));
        assert_eq!(length as usize, out.len() - 4);
        out[4..].chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn an_amount_is_base_ten_thousand_with_the_weight_of_its_first_digit() {
        // Digits, weight, sign, scale, then the digits.
        for (minor, wanted) in [
            (1, vec![1, -1, 0, 2, 100]),
            (100, vec![1, 0, 0, 2, 1]),
            (15_050, vec![2, 0, 0, 2, 150, 5_000]),
            (1_000_000, vec![1, 1, 0, 2, 1]),
            (100_000_000_000_000, vec![1, 3, 0, 2, 1]),
            (123_456_789, vec![3, 1, 0, 2, 123, 4_567, 8_900]),
            (0, vec![0, 0, 0, 2]),
        ] {
            assert_eq!(encoded(minor), wanted, "{minor}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_stored_leaves_no_trace() {
        let text = r#"{"transaction_id":"A","risk_score":null,"risk_level":null,"signals":null,"recommendation":"REVIEW","processing_time_ms":2,"verdict_id":"7f3a9c01-0-0","kind":"invalid","reasons":[],"phone_number":null,"institution_id":null,"amount":null,"currency":null,"event_time":null,"decided_at":"2026-03-01T08:15:00.004213Z","model":null,"policy_version":"default-1","flags":[],"source":{"log":"7f3a9c01","partition":0,"offset":0,"previous_offset":-1,"epoch":0},"feature_digest":null,"schema_version":1}"#;
        let poisoned = text.replace("\"A\"", "\"A\\u0000\"");
        let (good, _) = StoredVerdict::parse(text.as_bytes()).expect("a verdict");
        let (bad, _) = StoredVerdict::parse(poisoned.as_bytes()).expect("a verdict");
        let place = Place { verdict_offset: 1, recorded_ms: 0, day: Day(0), raw: None };
        let bytes = |verdicts: &[&StoredVerdict<'_>]| {
            let mut rows = Rows::default();
            verdicts.iter().for_each(|verdict| _ = rows.push(verdict, place));
            rows.chunks().flat_map(Cursor::into_inner).collect::<Vec<u8>>()
        };
        let alone = bytes(&[&good]);
        assert_eq!(bytes(&[&bad, &good]), alone);
        assert_eq!(bytes(&[&good, &bad]), alone);
        assert_eq!(bytes(&[&bad]), Vec::<u8>::new());
    }
}
