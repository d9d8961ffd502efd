//! From a row's columns back to the verdict.

use std::borrow::Cow;

use tokio_postgres::Row;

use super::{
    StoreError,
    verdict::{Json, StoredModel, StoredSignals, StoredSource, StoredVerdict, Text, features_json},
};
use crate::domain::{
    amount::AmountMinor,
    time::{EventTimeMs, WallTimeUs},
};

impl StoredVerdict<'static> {
    /// Reads the columns of [`super::queries`]' selection.
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |name: &str| row.try_get::<_, String>(name).map(owned);
        let maybe = |name: &str| row.try_get::<_, Option<String>>(name).map(|text| text.map(owned));
        let source = StoredSource {
            log: text("log")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("source_offset")?,
            previous_offset: row.try_get("previous_offset")?,
            epoch: row.try_get("epoch")?,
        };
        let score: Option<i16> = row.try_get("risk_score")?;
        let minor: Option<i64> = row.try_get("amount_minor")?;
        let event_ms: Option<i64> = row.try_get("event_ms")?;
        let features: Option<Vec<f32>> = row.try_get("features")?;
        let flags: Vec<String> = row.try_get("flags")?;
        let model = maybe("model_name")?.zip(maybe("model_version")?);
        Ok(Self {
            transaction_id: maybe("transaction_id")?,
            risk_score: score.and_then(|score| u8::try_from(score).ok()),
            risk_level: maybe("risk_level")?,
            signals: signals(row)?,
            recommendation: text("recommendation")?,
            processing_time_ms: row.try_get("processing_time_ms")?,
            verdict_id: owned(format!("{}-{}-{}", source.log.0, source.partition, source.offset)),
            kind: text("kind")?,
            duplicate_of: row.try_get("duplicate_of")?,
            reasons: Json(text("reasons")?.0),
            phone_number: maybe("phone_number")?,
            institution_id: maybe("institution_id")?,
            amount: minor.map(AmountMinor),
            currency: maybe("currency")?,
            event_time: event_ms.map(EventTimeMs),
            decided_at: WallTimeUs(row.try_get("decided_us")?),
            model: model.map(|(name, version)| StoredModel { name, version }),
            policy_version: text("policy_version")?,
            flags: flags.into_iter().map(owned).collect(),
            source,
            features: features.and_then(|row| features_json(&row)),
            feature_digest: maybe("feature_digest")?,
            schema_version: row.try_get("schema_version")?,
        })
    }
}

fn owned(text: String) -> Text<'static> {
    Text(Cow::Owned(text))
}

fn signals(row: &Row) -> Result<Option<StoredSignals>, StoreError> {
    let velocity: Option<f32> = row.try_get("velocity")?;
    let Some(velocity) = velocity else { return Ok(None) };
    Ok(Some(StoredSignals {
        velocity,
        amount_anomaly: row.try_get("amount_anomaly")?,
        device_new: row.try_get("device_new")?,
        location_change: row.try_get("location_change")?,
    }))
}
