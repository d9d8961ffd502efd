//! A verdict's bytes, written field by field: what `serde_json` makes of [`Verdict`], to the byte, in a fraction of
//! the time. Its shape is [`Verdict`]'s; a test holds the two together. Rare and variable parts are left to `serde_json`.

use serde::Serialize;

use super::{
    amount::AmountMinor,
    digits::{hex, write},
    features::FEATURES,
    flags::Flags,
    pen::{Pen, overwrite},
    phone::Phone,
    reasons::Reason,
    signals::Signals,
    specials::is_plain,
    verdict::{ModelRef, Source, Verdict},
};

/// Two decimals have so many values from 0 to 1.
const HUNDREDTHS: f64 = 100.0;

/// Not below what a verdict has besides texts of its own, features and reasons: its fields' names, and the longest of each number.
const WITHOUT_TEXTS: usize = 1_152;

/// An escaped byte takes so many: `\u001f`.
const ESCAPED: usize = 6;

/// More than a feature or a reason has besides its texts.
const EACH: usize = 64;

/// Overwrites `out` with `verdict` as JSON.
pub fn encode(verdict: &Verdict<'_>, out: &mut Vec<u8>) {
    overwrite(out, most_bytes(verdict), |pen| write_all(verdict, pen));
}

/// Not below the bytes that `verdict` takes.
fn most_bytes(verdict: &Verdict<'_>) -> usize {
    let Verdict { transaction_id, institution_id, model, policy_version, maker, source, features, reasons, .. } =
        verdict;
    let made = match maker {
        Some(maker) => maker.len(),
        None => ESCAPED * (model.map_or(0, |model| model.name.len() + model.version.len()) + policy_version.len()),
    };
    let ids = transaction_id.map_or(0, str::len) + institution_id.map_or(0, str::len) + 2 * source.log.len();
    let texts: usize = reasons.iter().map(|reason| reason.code.len() + reason.text.len()).sum();
    let rows = reasons.len() + features.map_or(0, |_| FEATURES);
    WITHOUT_TEXTS + made + ids + ESCAPED * texts + EACH * rows
}

fn write_all<'r>(verdict: &Verdict<'_>, mut pen: Pen<'r>) -> Pen<'r> {
    let out = &mut pen;
    id_field(out, b"{\"transaction_id\":\"", verdict.transaction_id);
    field(out, b",\"risk_score\":", verdict.risk_score, |out, score| write(out, u64::from(score)));
    quoted_field(out, b",\"risk_level\":\"", verdict.risk_level.map(|level| level.as_str().as_bytes()));
    field(out, b",\"signals\":", verdict.signals, signals);
    out.put(b",\"recommendation\":\"");
    out.put_all(verdict.recommendation.as_str().as_bytes());
    out.put(b"\",\"processing_time_ms\":");
    write(out, verdict.processing_time_ms);
    out.put(b",\"verdict_id\":\"");
    out.put_all(verdict.verdict_id.0.log.as_bytes());
    for part in [i64::from(verdict.verdict_id.0.partition), verdict.verdict_id.0.offset] {
        out.put(b"-");
        signed(out, part);
    }
    out.put(b"\",\"kind\":\"");
    out.put_all(verdict.kind.as_str().as_bytes());
    out.put(b"\"");
    if let Some(original) = verdict.duplicate_of {
        out.put(b",\"duplicate_of\":");
        signed(out, original);
    }
    reasons(out, verdict.reasons);
    quoted_by(out, b",\"phone_number\":\"", verdict.phone_number, |out, phone: Phone| phone.write(out));
    id_field(out, b",\"institution_id\":\"", verdict.institution_id);
    field(out, b",\"amount\":", verdict.amount, amount);
    quoted_by(out, b",\"currency\":\"", verdict.currency, |out, currency| out.put(&currency.0));
    quoted_by(out, b",\"event_time\":\"", verdict.event_time, |out, at| at.text().write(out));
    quoted_by(out, b",\"decided_at\":\"", Some(verdict.decided_at), |out, at| at.write(out));
    match verdict.maker {
        Some(maker) => out.put_all(maker),
        None => maker(out, verdict.model, verdict.policy_version),
    }
    flags(out, verdict.flags);
    source(out, &verdict.source);
    if let Some(features) = &verdict.features {
        out.put(b",\"features\":");
        by_serde(out, features);
    }
    quoted_by(out, b",\"feature_digest\":\"", verdict.feature_digest, |out, digest| {
        out.put(&hex((digest.0 >> 32) as u32).to_le_bytes());
        out.put(&hex(digest.0 as u32).to_le_bytes());
    });
    out.put(b",\"schema_version\":");
    write(out, u64::from(verdict.schema_version));
    out.put(b"}");
    pen
}

/// What a verdict says of the model and the policy, made once for the many verdicts by both: see [`Verdict::maker`].
pub fn written_maker(model: ModelRef<'_>, policy_version: &str) -> Vec<u8> {
    let texts = model.name.len() + model.version.len() + policy_version.len();
    let mut written = Vec::new();
    overwrite(&mut written, EACH + ESCAPED * texts, |mut pen| {
        maker(&mut pen, Some(model), policy_version);
        pen
    });
    written
}

fn maker(out: &mut Pen<'_>, model: Option<ModelRef<'_>>, policy_version: &str) {
    field(out, b",\"model\":", model, |out, model| {
        text_field(out, b"{\"name\":\"", Some(model.name));
        text_field(out, b",\"version\":\"", Some(model.version));
        out.put(b"}");
    });
    text_field(out, b",\"policy_version\":\"", Some(policy_version));
}

#[inline(always)]
fn flags(out: &mut Pen<'_>, flags: Flags) {
    if flags == Flags::default() {
        return out.put(b",\"flags\":[]");
    }
    out.put(b",\"flags\":[");
    for (at, name) in flags.names().enumerate() {
        out.put_all(if at == 0 { b"\"" } else { b",\"" });
        out.put_all(name.as_bytes());
        out.put(b"\"");
    }
    out.put(b"]");
}

#[inline(always)]
fn source(out: &mut Pen<'_>, source: &Source<'_>) {
    out.put(b",\"source\":{\"log\":\"");
    out.put_all(source.log.as_bytes());
    out.put(b"\",\"partition\":");
    signed(out, i64::from(source.partition));
    out.put(b",\"offset\":");
    signed(out, source.offset);
    out.put(b",\"previous_offset\":");
    signed(out, source.previous_offset);
    out.put(b",\"epoch\":");
    signed(out, source.epoch);
    out.put(b"}");
}

#[inline(always)]
fn signals(out: &mut Pen<'_>, signals: Signals) {
    out.put(b"{\"velocity\":");
    hundredths(out, signals.velocity);
    out.put(b",\"amount_anomaly\":");
    hundredths(out, signals.amount_anomaly);
    out.put(b",\"device_new\":");
    hundredths(out, signals.device_new);
    out.put(b",\"location_change\":");
    hundredths(out, signals.location_change);
    out.put(b"}");
}

#[inline(always)]
fn reasons(out: &mut Pen<'_>, reasons: &[Reason]) {
    out.put(b",\"reasons\":[");
    for (at, Reason { code, text, contribution }) in reasons.iter().enumerate() {
        if at > 0 {
            out.put(b",");
        }
        text_field(out, b"{\"code\":\"", Some(code));
        text_field(out, b",\"text\":\"", Some(text));
        if let Some(contribution) = contribution {
            out.put(b",\"contribution\":");
            by_serde(out, contribution);
        }
        out.put(b"}");
    }
    out.put(b"]");
}

/// A value from 0 to 1 with two decimals; any other is left to `serde_json`.
#[inline(always)]
fn hundredths(out: &mut Pen<'_>, value: f64) {
    if value.to_bits() == 0 {
        return out.put(b"0.0");
    }
    let count = (value * HUNDREDTHS + 0.5) as u8;
    if f64::from(count) / HUNDREDTHS != value || count > 100 || value.is_sign_negative() {
        return by_serde(out, &value);
    }
    out.put_part(&TEXTS[usize::from(count)], if count.is_multiple_of(10) { 3 } else { 4 });
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
#[inline(always)]
fn amount(out: &mut Pen<'_>, amount: AmountMinor) {
    let Ok(minor) = u64::try_from(amount.0) else { return by_serde(out, &amount) };
    let (units, rest) = (minor / 100, (minor % 100) as u8);
    write(out, units);
    if rest > 0 {
        out.put(&[b'.', b'0' + rest / 10]);
        if !rest.is_multiple_of(10) {
            out.put(&[b'0' + rest % 10]);
        }
    }
}

/// A field's name has a length that the compiler knows: it is written as words, not copied.
#[inline(always)]
fn field<const N: usize, T>(out: &mut Pen<'_>, name: &[u8; N], value: Option<T>, write: impl FnOnce(&mut Pen<'_>, T)) {
    out.put(name);
    match value {
        Some(value) => write(out, value),
        None => out.put(b"null"),
    }
}

/// A text in which nothing needs an escape; the opening quote is the name's last byte.
#[inline(always)]
fn quoted_field<const N: usize>(out: &mut Pen<'_>, name: &[u8; N], text: Option<&[u8]>) {
    quoted_by(out, name, text, |out, text| out.put_all(text));
}

/// The same of a value that is written letter by letter.
#[inline(always)]
fn quoted_by<const N: usize, T>(
    out: &mut Pen<'_>,
    name: &[u8; N],
    value: Option<T>,
    write: impl FnOnce(&mut Pen<'_>, T),
) {
    match value {
        Some(value) => {
            out.put(name);
            write(out, value);
            out.put(b"\"");
        }
        None => {
            out.put_all(&name[..N - 1]);
            out.put(b"null");
        }
    }
}

/// An identifier: none of its letters needs an escape.
#[inline(always)]
fn id_field<const N: usize>(out: &mut Pen<'_>, name: &[u8; N], id: Option<&str>) {
    debug_assert!(id.is_none_or(|id| is_plain(id.as_bytes())), "an identifier has letters of identifiers alone");
    quoted_field(out, name, id.map(str::as_bytes));
}

/// A text that somebody else chose: copied where nothing in it needs an escape. The name is as of [`quoted_field`].
#[inline(always)]
fn text_field<const N: usize>(out: &mut Pen<'_>, name: &[u8; N], text: Option<&str>) {
    match text {
        Some(text) if !is_plain(text.as_bytes()) => {
            out.put_all(&name[..N - 1]);
            by_serde(out, &text);
        }
        _ => quoted_field(out, name, text.map(str::as_bytes)),
    }
}

#[inline(always)]
fn signed(out: &mut Pen<'_>, number: i64) {
    if number < 0 {
        out.put(b"-");
    }
    write(out, number.unsigned_abs());
}

fn by_serde(out: &mut Pen<'_>, value: &impl Serialize) {
    out.put_all(&serialized(value));
}

/// It is not told of the pen.
#[cold]
fn serialized(value: &impl Serialize) -> Vec<u8> {
    // No field serialises to an error: keys are strings, numbers finite or null.
    serde_json::to_vec(value).expect("a verdict has nothing that JSON cannot hold")
}

#[cfg(test)]
mod tests;
