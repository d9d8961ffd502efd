//! A verdict between JSON and row: what the columns hold, and the JSON of contract C5 that they give back.
//!
//! Invariant: the JSON given back is the record's value to the byte, features aside, which a row rounds to `float4`.
//! Where the columns could not do that (fields of a newer version, another way of writing), the value is kept beside
//! them. It judges nothing: whether a verdict counts is the reader's rule's.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::Error as _,
};
use serde_json::value::RawValue;

use crate::domain::{
    amount::AmountMinor,
    features::{FEATURES, TABLE},
    identity::LogId,
    time::{EventTimeMs, WallTimeUs},
};

/// A text that is borrowed from the record where it needs no unescaping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// JSON as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<'a>(pub Cow<'a, str>);

/// One verdict, in wire order; the fields are those of `schemas/verdict.schema.json`, which describes each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the schema describes each field")]
pub struct StoredVerdict<'a> {
    #[serde(borrow)]
    pub transaction_id: Option<Text<'a>>,
    pub risk_score: Option<u8>,
    #[serde(borrow)]
    pub risk_level: Option<Text<'a>>,
    pub signals: Option<StoredSignals>,
    #[serde(borrow)]
    pub recommendation: Text<'a>,
    pub processing_time_ms: i64,
    #[serde(borrow)]
    pub verdict_id: Text<'a>,
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<i64>,
    #[serde(borrow)]
    pub reasons: Json<'a>,
    #[serde(borrow)]
    pub phone_number: Option<Text<'a>>,
    #[serde(borrow)]
    pub institution_id: Option<Text<'a>>,
    #[serde(deserialize_with = "amount")]
    pub amount: Option<AmountMinor>,
    #[serde(borrow)]
    pub currency: Option<Text<'a>>,
    #[serde(deserialize_with = "event_time")]
    pub event_time: Option<EventTimeMs>,
    #[serde(deserialize_with = "wall_time")]
    pub decided_at: WallTimeUs,
    #[serde(borrow)]
    pub model: Option<StoredModel<'a>>,
    #[serde(borrow)]
    pub policy_version: Text<'a>,
    #[serde(borrow)]
    pub flags: Vec<Text<'a>>,
    #[serde(borrow)]
    pub source: StoredSource<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Json<'a>>,
    #[serde(borrow)]
    pub feature_digest: Option<Text<'a>>,
    pub schema_version: i16,
}

/// The four signals; two decimals fit in a `real`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the schema describes each field")]
pub struct StoredSignals {
    pub velocity: f32,
    pub amount_anomaly: f32,
    pub device_new: f32,
    pub location_change: f32,
}

/// The model a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the schema describes each field")]
pub struct StoredModel<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub version: Text<'a>,
}

/// Where the transaction lies, and by which owner it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the schema describes each field")]
pub struct StoredSource<'a> {
    #[serde(borrow)]
    pub log: Text<'a>,
    pub partition: i32,
    pub offset: i64,
    pub previous_offset: i64,
    pub epoch: i64,
}

impl<'a> StoredVerdict<'a> {
    /// Reads a record's value, and tells whether the columns alone give it back. `None` for a shape this version does
    /// not know.
    pub fn parse(value: &'a [u8]) -> Option<(Self, bool)> {
        let verdict: Self = serde_json::from_slice(value).ok()?;
        if !LogId::is_short(&verdict.source.log.0) || verdict.source.partition < 0 || verdict.source.offset < 0 {
            return None;
        }
        let features_fit = verdict.features.as_ref().is_none_or(|features| row_of(features).is_some());
        let whole = features_fit && serde_json::to_vec(&verdict).is_ok_and(|again| again == value) && {
            let source = &verdict.source;
            verdict.verdict_id.0 == format!("{}-{}-{}", source.log.0, source.partition, source.offset)
        };
        Some((verdict, whole))
    }

    /// The features as a row keeps them, a missing one as NaN; `None` where there are none, or others than set v1's.
    pub fn feature_row(&self) -> Option<[f32; FEATURES]> {
        self.features.as_ref().and_then(row_of)
    }
}

/// The object of features that a row's numbers give back.
pub fn features_json(row: &[f32]) -> Option<Json<'static>> {
    struct Named<'r>(&'r [f32]);
    impl Serialize for Named<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(TABLE.iter().map(|feature| feature.name).zip(self.0))
        }
    }
    let text = (row.len() == FEATURES).then(|| serde_json::to_string(&Named(row)))?;
    text.ok().map(|text| Json(Cow::Owned(text)))
}

/// The numbers of an object whose names are those of set v1, in order.
fn row_of(features: &Json<'_>) -> Option<[f32; FEATURES]> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = [f32; FEATURES];

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the features of set v1")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut row = [f32::NAN; FEATURES];
            for (slot, feature) in row.iter_mut().zip(TABLE) {
                match map.next_entry::<&str, Option<f32>>()? {
                    Some((name, value)) if name == feature.name => *slot = value.unwrap_or(f32::NAN),
                    _ => return Err(A::Error::custom("another feature")),
                }
            }
            Ok(row)
        }
    }
    serde_json::Deserializer::from_str(&features.0).deserialize_map(InOrder).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Cow::Borrowed(raw.get())))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AmountMinor>, D::Error> {
    let token = Option::<&RawValue>::deserialize(deserializer)?;
    token.map(|token| AmountMinor::parse(token.get())).transpose().map_err(|_| D::Error::custom("no amount"))
}

fn event_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EventTimeMs>, D::Error> {
    let text = Option::<Text<'de>>::deserialize(deserializer)?;
    text.map(|text| EventTimeMs::parse(&text.0).ok_or_else(|| D::Error::custom("no time"))).transpose()
}

/// A time with microseconds: whole milliseconds as event times have them, and the three digits after.
fn wall_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTimeUs, D::Error> {
    let text = Text::deserialize(deserializer)?;
    microseconds(&text.0).map(WallTimeUs).ok_or_else(|| D::Error::custom("no time with microseconds"))
}

fn microseconds(text: &str) -> Option<i64> {
    const MILLISECONDS_END: usize = "yyyy-mm-ddThh:mm:ss.fff".len();
    let (head, tail) = text.split_at_checked(MILLISECONDS_END)?;
    let digits =
        tail.strip_suffix('Z').filter(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    let ms = EventTimeMs::parse(&format!("{head}Z"))?.0;
    Some(ms * 1_000 + digits.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"transaction_id":"TXN1","risk_score":78,"risk_level":"HIGH","signals":{"velocity":0.85,"amount_anomaly":0.72,"device_new":1.0,"location_change":0.0},"recommendation":"FLAG","processing_time_ms":2,"verdict_id":"7f3a9c01-3-181","kind":"scored","reasons":[{"code":"VELOCITY_5M","text":"9 transactions in 5 minutes","contribution":0.31}],"phone_number":"+254712345678","institution_id":null,"amount":50000.5,"currency":"KES","event_time":"2026-03-01T08:15:00.000Z","decided_at":"2026-03-01T08:15:00.004213Z","model":{"name":"default","version":"1"},"policy_version":"default-1","flags":["out_of_order"],"source":{"log":"7f3a9c01","partition":3,"offset":181,"previous_offset":180,"epoch":97},"feature_digest":"0123456789abcdef","schema_version":1}"#;

    fn whole(text: &str) -> Option<bool> {
        StoredVerdict::parse(text.as_bytes()).map(|(_, whole)| whole)
    }

    #[test]
    fn a_verdict_of_ours_is_given_back_to_the_byte() {
        let (verdict, whole) = StoredVerdict::parse(PLAIN.as_bytes()).expect("a verdict");
        assert!(whole);
        assert_eq!(verdict.amount, Some(AmountMinor(5_000_050)));
        assert_eq!(verdict.decided_at.0 % 1_000_000, 4_213);
        assert!(matches!(verdict.phone_number, Some(Text(Cow::Borrowed(_)))), "nothing is copied");
        assert_eq!(serde_json::to_string(&verdict).expect("JSON"), PLAIN);
    }

    #[test]
    fn what_the_columns_would_lose_is_told() {
        for (from, to) in [
            (r#""schema_version":1"#, r#""schema_version":1,"new_field":1"#),
            (r#""amount":50000.5"#, r#""amount":50000.50"#),
            (r#""velocity":0.85"#, r#""velocity":0.8512345678"#),
            (r#""verdict_id":"7f3a9c01-3-181""#, r#""verdict_id":"7f3a9c01-3-182""#),
            (r#""kind""#, r#" "kind""#),
            (r#""schema_version":1"#, r#""schema_version":1,"features":{"log_amount":1.0}"#),
        ] {
            assert_eq!(whole(&PLAIN.replace(from, to)), Some(false), "{to}");
        }
    }

    #[test]
    fn shapes_it_does_not_know_are_none() {
        for (from, to) in [
            (r#""log":"7f3a9c01""#, r#""log":"7F3A9C01""#),
            (r#""offset":181"#, r#""offset":-181"#),
            (r#""amount":50000.5"#, r#""amount":"much""#),
            (r#""decided_at":"2026-03-01T08:15:00.004213Z""#, r#""decided_at":"yesterday""#),
            ("}", ""),
        ] {
            assert_eq!(whole(&PLAIN.replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn features_are_read_in_order_and_given_back_as_real_numbers() {
        let row: [f32; FEATURES] = std::array::from_fn(|at| if at == 3 { f32::NAN } else { at as f32 / 8.0 });
        let features = features_json(&row).expect("a row");
        let text = PLAIN.replace(r#""feature_digest""#, &format!(r#""features":{},"feature_digest""#, features.0));
        let (verdict, whole) = StoredVerdict::parse(text.as_bytes()).expect("a verdict");
        assert!(whole);
        let read = verdict.feature_row().expect("a row");
        assert!(read.iter().zip(row).all(|(read, row)| read.to_bits() == row.to_bits()));
    }
}
