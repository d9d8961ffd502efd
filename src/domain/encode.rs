//! A verdict's bytes, written field by field: what `serde_json` makes of [`Verdict`], to the byte, in a fraction of
//! the time. Its shape is [`Verdict`]'s; a test holds the two together. Rare and variable parts are left to `serde_json`.

use serde::Serialize;

use super::{
    amount::AmountMinor,
    digits::{hex, push, write},
    flags::Flags,
    phone::Phone,
    reasons::Reason,
    signals::Signals,
    specials::is_plain,
    verdict::{Source, Verdict},
};

/// Two decimals have so many values from 0 to 1.
const HUNDREDTHS: f64 = 100.0;

/// Nearly every verdict without features takes less.
const USUAL_BYTES: usize = 1_024;

/// Appends `verdict` as JSON.
pub fn encode(verdict: &Verdict<'_>, out: &mut Vec<u8>) {
    out.reserve(USUAL_BYTES);
    text_field(out, b"{\"transaction_id\":\"", verdict.transaction_id);
    field(out, b",\"risk_score\":", verdict.risk_score, |out, score| write(out, u64::from(score)));
    quoted_field(out, b",\"risk_level\":\"", verdict.risk_level.map(|level| level.as_str().as_bytes()));
    field(out, b",\"signals\":", verdict.signals, signals);
    out.extend_from_slice(b",\"recommendation\":\"");
    out.extend_from_slice(verdict.recommendation.as_str().as_bytes());
    out.extend_from_slice(b"\",\"processing_time_ms\":");
    write(out, verdict.processing_time_ms);
    out.extend_from_slice(b",\"verdict_id\":\"");
    out.extend_from_slice(verdict.verdict_id.0.log.as_bytes());
    for part in [i64::from(verdict.verdict_id.0.partition), verdict.verdict_id.0.offset] {
        out.push(b'-');
        signed(out, part);
    }
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(verdict.kind.as_str().as_bytes());
    out.push(b'"');
    if let Some(original) = verdict.duplicate_of {
        out.extend_from_slice(b",\"duplicate_of\":");
        signed(out, original);
    }
    reasons(out, verdict.reasons);
    quoted_by(out, b",\"phone_number\":\"", verdict.phone_number, |out, phone: Phone| phone.write(out));
    text_field(out, b",\"institution_id\":\"", verdict.institution_id);
    field(out, b",\"amount\":", verdict.amount, amount);
    quoted_by(out, b",\"currency\":\"", verdict.currency, |out, currency| out.extend_from_slice(&currency.0));
    quoted_by(out, b",\"event_time\":\"", verdict.event_time, |out, at| at.text().write(out));
    quoted_by(out, b",\"decided_at\":\"", Some(verdict.decided_at), |out, at| at.write(out));
    field(out, b",\"model\":", verdict.model, |out, model| {
        text_field(out, b"{\"name\":\"", Some(model.name));
        text_field(out, b",\"version\":\"", Some(model.version));
        out.push(b'}');
    });
    text_field(out, b",\"policy_version\":\"", Some(verdict.policy_version));
    flags(out, verdict.flags);
    source(out, &verdict.source);
    if let Some(features) = &verdict.features {
        out.extend_from_slice(b",\"features\":");
        by_serde(out, features);
    }
    quoted_by(out, b",\"feature_digest\":\"", verdict.feature_digest, |out, digest| {
        push(out, hex((digest.0 >> 32) as u32), 8);
        push(out, hex(digest.0 as u32), 8);
    });
    out.extend_from_slice(b",\"schema_version\":");
    write(out, u64::from(verdict.schema_version));
    out.push(b'}');
}

fn flags(out: &mut Vec<u8>, flags: Flags) {
    out.extend_from_slice(b",\"flags\":[");
    for (at, name) in flags.names().enumerate() {
        out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

fn source(out: &mut Vec<u8>, source: &Source<'_>) {
    out.extend_from_slice(b",\"source\":{\"log\":\"");
    out.extend_from_slice(source.log.as_bytes());
    out.extend_from_slice(b"\",\"partition\":");
    signed(out, i64::from(source.partition));
    out.extend_from_slice(b",\"offset\":");
    signed(out, source.offset);
    out.extend_from_slice(b",\"previous_offset\":");
    signed(out, source.previous_offset);
    out.extend_from_slice(b",\"epoch\":");
    signed(out, source.epoch);
    out.push(b'}');
}

fn signals(out: &mut Vec<u8>, signals: Signals) {
    out.extend_from_slice(b"{\"velocity\":");
    hundredths(out, signals.velocity);
    out.extend_from_slice(b",\"amount_anomaly\":");
    hundredths(out, signals.amount_anomaly);
    out.extend_from_slice(b",\"device_new\":");
    hundredths(out, signals.device_new);
    out.extend_from_slice(b",\"location_change\":");
    hundredths(out, signals.location_change);
    out.push(b'}');
}

fn reasons(out: &mut Vec<u8>, reasons: &[Reason]) {
    out.extend_from_slice(b",\"reasons\":[");
    for (at, Reason { code, text, contribution }) in reasons.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text_field(out, b"{\"code\":\"", Some(code));
        text_field(out, b",\"text\":\"", Some(text));
        if let Some(contribution) = contribution {
            out.extend_from_slice(b",\"contribution\":");
            by_serde(out, contribution);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// A value from 0 to 1 with two decimals; any other is left to `serde_json`.
fn hundredths(out: &mut Vec<u8>, value: f64) {
    let count = (value * HUNDREDTHS + 0.5) as u8;
    if f64::from(count) / HUNDREDTHS != value || count > 100 || value.is_sign_negative() {
        return by_serde(out, &value);
    }
    let end = out.len() + if count.is_multiple_of(10) { 3 } else { 4 };
    out.extend_from_slice(&TEXTS[usize::from(count)]);
    out.truncate(end);
}

/// Every hundredth from 0 to 1 with two decimals.
static TEXTS: [[u8; 4]; 101] = {
    let mut texts = [*b"0.00"; 101];
    let mut count = 0;
    while count <= 100 {
        texts[count] = [b'0' + (count / 100) as u8, b'.', b'0' + (count % 100 / 10) as u8, b'0' + (count % 10) as u8];
        count += 1;
    }
    texts
};

/// Minor units as units, without needless decimals.
fn amount(out: &mut Vec<u8>, amount: AmountMinor) {
    let Ok(minor) = u64::try_from(amount.0) else { return by_serde(out, &amount) };
    let (units, rest) = (minor / 100, (minor % 100) as u8);
    write(out, units);
    if rest > 0 {
        out.extend_from_slice(&[b'.', b'0' + rest / 10]);
        if !rest.is_multiple_of(10) {
            out.push(b'0' + rest % 10);
        }
    }
}

/// A field's name has a length that the compiler knows: it is written as words, not copied.
#[inline(always)]
fn field<const N: usize, T>(out: &mut Vec<u8>, name: &[u8; N], value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.extend_from_slice(name);
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// A text in which nothing needs an escape; the opening quote is the name's last byte.
#[inline(always)]
fn quoted_field<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], text: Option<&[u8]>) {
    quoted_by(out, name, text, |out, text| out.extend_from_slice(text));
}

/// The same of a value that is written letter by letter.
#[inline(always)]
fn quoted_by<const N: usize, T>(
    out: &mut Vec<u8>,
    name: &[u8; N],
    value: Option<T>,
    write: impl FnOnce(&mut Vec<u8>, T),
) {
    match value {
        Some(value) => {
            out.extend_from_slice(name);
            write(out, value);
            out.push(b'"');
        }
        None => {
            out.extend_from_slice(&name[..N - 1]);
            out.extend_from_slice(b"null");
        }
    }
}

/// A text that somebody else chose: copied where nothing in it needs an escape. The name is as of [`quoted_field`].
#[inline(always)]
fn text_field<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], text: Option<&str>) {
    match text {
        Some(text) if !is_plain(text.as_bytes()) => {
            out.extend_from_slice(&name[..N - 1]);
            by_serde(out, &text);
        }
        _ => quoted_field(out, name, text.map(str::as_bytes)),
    }
}

fn signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write(out, number.unsigned_abs());
}

#[cold]
fn by_serde(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to a Vec cannot fail, and no field serialises to an error: keys are strings, numbers finite or null.
    serde_json::to_writer(out, value).expect("a verdict has nothing that JSON cannot hold");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        amount::{Currency, MAX_AMOUNT_MINOR},
        features::Row,
        policy::decide,
        time::{EventTimeMs, WallTimeUs},
        verdict::{Digest, Features, Kind, ModelRef, VerdictId},
    };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn by_library(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("JSON")
    }

    #[test]
    fn every_hundredth_is_written_as_the_library_writes_it() {
        for value in (0..=100).map(|count| f64::from(count) / 100.0).chain([1.01, 0.123, -0.0, -0.5, 2.6, f64::NAN]) {
            assert_eq!(written(|out| hundredths(out, value)), by_library(&value));
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_written_as_the_library_writes_it(minor in -5_i64..=MAX_AMOUNT_MINOR, small in 0_i64..100_000) {
            for amount_minor in [AmountMinor(minor), AmountMinor(small)] {
                prop_assert_eq!(written(|out| amount(out, amount_minor)), by_library(&amount_minor));
            }
        }

        #[test]
        fn a_verdict_is_written_as_the_library_writes_it(
            texts in (any::<String>(), "[A-Za-z0-9._:-]{1,64}", ".*"),
            numbers in (any::<i64>(), any::<i32>(), -1_i64..1_000_000_000_000, any::<u64>()),
            phone in (any::<bool>(), 10_000_000_u64..1_000_000_000_000_000, any::<[u8; 32]>()),
            times in (0_i64..253_402_300_800_000, 0_i64..253_402_300_800_000_000),
            shape in (0_u8..=100, any::<[bool; 8]>(), 0_u8..64, 0_usize..6),
            row in any::<Row>(),
            steps in any::<[u8; 4]>(),
        ) {
            let ((name, id, note), (wide, partition, offset, digest)) = (texts, numbers);
            let (score, has, bits, kind) = shape;
            let decision = decide(score);
            let mut flags = Flags::default();
            Flags::ALL.iter().enumerate().for_each(|(at, (flag, _))| flags.set(*flag, bits >> at & 1 == 1));
            let of = |at: usize| f64::from(steps[at] % 101) / 100.0;
            let shown = Signals { velocity: of(0), amount_anomaly: of(1), device_new: of(2), location_change: of(3) };
            let reason = |text: &str, contribution| Reason { code: id.clone().into(), text: text.to_owned().into(), contribution };
            let reasons = [reason(&note, Some(of(0))), reason(&name, None)];
            let source = Source { log: "c0ffee01", partition, offset, previous_offset: offset - 1, epoch: wide };
            let number = if phone.0 { Phone::E164(phone.1) } else { Phone::Subject(phone.2) };
            let verdict = Verdict {
                transaction_id: has[0].then_some(&id),
                risk_score: has[1].then_some(score),
                risk_level: has[1].then_some(decision.level),
                signals: has[2].then_some(shown),
                recommendation: decision.recommendation,
                processing_time_ms: digest,
                verdict_id: VerdictId(source),
                kind: Kind::ALL[kind],
                duplicate_of: has[3].then_some(wide),
                reasons: &reasons[..usize::from(steps[0] % 3)],
                phone_number: has[4].then_some(number),
                institution_id: has[5].then_some(&name),
                amount: has[1].then_some(AmountMinor(offset.max(1))),
                currency: has[1].then_some(Currency::KES),
                event_time: has[4].then_some(EventTimeMs(times.0)),
                decided_at: WallTimeUs(times.1).text(),
                model: has[7].then_some(ModelRef { name: &name, version: &id }),
                policy_version: &note,
                flags,
                source,
                features: has[3].then_some(Features(&row)),
                feature_digest: has[7].then_some(Digest(digest)),
                schema_version: 1,
            };
            prop_assert_eq!(written(|out| encode(&verdict, out)), by_library(&verdict));
        }
    }
}
