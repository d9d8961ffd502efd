//! `GET /v1/verdicts`, `/v1/verdicts/{verdict_id}`, `/v1/alerts`, `/v1/phones/{phone}`: what was decided, from the
//! database alone, so that every process behind a balancer gives the same answer.

use axum::{Json, extract::State, http::Uri, response::Response};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    archive::raw,
    contracts::Verdict,
    params::{Params, Segment, segment},
    score::json_bytes,
};
use crate::{
    domain::{
        decode::{MAX_ID_BYTES, is_id},
        features::TABLE,
        identity::LogId,
        phone::{Phone, PhoneError},
        policy::RiskLevel,
        time::EventTimeMs,
    },
    problem::{Document, Problem},
    store::{
        Cursor,
        queries::{MOST_ROWS, Stored},
    },
};

/// Rows of a page where none are asked for.
const USUAL_ROWS: usize = 50;

/// Verdicts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdicts {
    /// The verdicts.
    #[schema(value_type = Vec<Verdict>)]
    verdicts: Vec<Box<RawValue>>,
}

/// A page of alerts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// The verdicts.
    #[schema(value_type = Vec<Verdict>)]
    alerts: Vec<Box<RawValue>>,
    /// For the next page, as the parameter `cursor`; null where this is the last.
    next_cursor: Option<String>,
}

/// What is known of a phone.
#[derive(Debug, Serialize, ToSchema)]
pub struct PhoneView {
    /// The phone, normalised.
    phone_number: String,
    /// Its latest verdicts, newest first.
    #[schema(value_type = Vec<Verdict>)]
    verdicts: Vec<Box<RawValue>>,
    /// The windows and profile as the newest verdict saw them that bears features; null where none does
    /// (verdict.features is off).
    features: Option<Vec<FeatureValue>>,
    /// The verdict that they are of.
    features_of: Option<String>,
}

/// One feature's value.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeatureValue {
    /// As in models and verdicts.
    name: &'static str,
    /// Null where it is missing.
    value: Option<f64>,
    /// In words.
    unit: &'static str,
    /// What it means, and when it is missing.
    meaning: &'static str,
}

/// Which transaction.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters; they are read by hand, so that a refusal names its own")]
pub struct TransactionParams {
    /// The transaction's id, as sent.
    #[param(pattern = "^[A-Za-z0-9._:-]{1,64}$", example = "TXN123456")]
    transaction_id: String,
    /// The most verdicts to give.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u16>,
}

/// Which alerts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "see TransactionParams")]
pub struct AlertParams {
    /// This level and those above it; MEDIUM where absent, which is every alert.
    #[param(inline, required = false)]
    level: AlertLevel,
    /// Only those recorded at this time or later.
    #[param(format = DateTime, nullable = false)]
    since: Option<String>,
    /// Goes on where a page ended: its `next_cursor`.
    #[param(pattern = "^(0|[1-9][0-9]{0,13})-[0-9a-f]{8}-(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})$", nullable = false)]
    cursor: Option<String>,
    /// The most alerts to give.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u16>,
}

/// A level of alerts.
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "see TransactionParams")]
pub enum AlertLevel {
    /// 40 and above: go, and queue.
    Medium,
    /// 70 and above: step up or hold.
    High,
    /// 90 and above: decline.
    Critical,
}

/// How many verdicts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "see TransactionParams")]
pub struct LimitParams {
    /// The most verdicts to give.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u16>,
}

/// One verdict.
#[utoipa::path(
    get,
    path = "/v1/verdicts/{verdict_id}",
    tag = "verdicts",
    params(("verdict_id" = String, Path, description = "log-partition-offset of the transaction.",
        pattern = "^[0-9a-f]{8}-[0-9]+-[0-9]+$", example = "7f3a9c01-3-181")),
    responses(
        (status = 200, description = "The verdict.", body = Verdict),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "No such verdict is stored, or not yet.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "That is no verdict's id.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or there is none.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn verdict(State(api): State<Api>, id: Segment) -> Result<Response, Problem> {
    let id = segment(id)?;
    let shaped = |text: &str| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let parts: Vec<&str> = id.split('-').collect();
    let ([log, partition, offset], true) = (parts.as_slice(), parts.len() == 3) else { return Err(no_verdict_id()) };
    if !LogId::is_short(log) || !shaped(partition) || !shaped(offset) {
        return Err(no_verdict_id());
    }
    let none = || Problem::not_found("no such verdict is stored; a recent one may be on its way, so ask again");
    // Numbers beyond what Kafka has are of no verdict.
    let (Ok(partition), Ok(offset)) = (partition.parse::<i32>(), offset.parse::<i64>()) else { return Err(none()) };
    let found = api.archive.ask(|reader| reader.verdict(log, partition, offset)).await?;
    found.map(|stored| json_bytes(stored.json())).ok_or_else(none)
}

fn no_verdict_id() -> Problem {
    Problem::parameter("verdict_id", "NOT_AN_ID", "wanted the field verdict_id of a verdict: log-partition-offset")
}

/// The verdicts of a transaction id, newest first: ids repeat.
#[utoipa::path(
    get,
    path = "/v1/verdicts",
    tag = "verdicts",
    params(TransactionParams),
    responses(
        (status = 200, description = "The verdicts; none where nothing is stored.", body = Verdicts),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or there is none.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn verdicts(State(api): State<Api>, uri: Uri) -> Result<Json<Verdicts>, Problem> {
    let params = Params::of(&uri)?;
    let limit = limit(&params)?;
    let name = "transaction_id";
    let Some(id) = params.one(name)? else {
        return Err(Problem::parameter(name, "MISSING", "say whose verdicts: ?transaction_id=…"));
    };
    if id.len() > MAX_ID_BYTES || !is_id(id.as_bytes()) {
        return Err(Problem::parameter(name, "NOT_AN_ID", "wanted 1 to 64 of A-Z a-z 0-9 . _ : -"));
    }
    let found = api.archive.ask(|reader| reader.verdicts_of_transaction(id, limit)).await?;
    Ok(Json(Verdicts { verdicts: raw(&found) }))
}

/// Verdicts of some level or above, newest first, page by page.
#[utoipa::path(
    get,
    path = "/v1/alerts",
    tag = "verdicts",
    params(AlertParams),
    responses(
        (status = 200, description = "A page.", body = Alerts),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or there is none.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn alerts(State(api): State<Api>, uri: Uri) -> Result<Json<Alerts>, Problem> {
    let params = Params::of(&uri)?;
    let limit = limit(&params)?;
    let level = match params.one("level")? {
        None | Some("MEDIUM") => RiskLevel::Medium,
        Some("HIGH") => RiskLevel::High,
        Some("CRITICAL") => RiskLevel::Critical,
        Some(_) => return Err(Problem::parameter("level", "UNKNOWN_LEVEL", "wanted MEDIUM, HIGH or CRITICAL")),
    };
    let since = params.one("since")?.map(time).transpose()?;
    let cursor = params.one("cursor")?.map(str::parse::<Cursor>).transpose().map_err(|_| {
        Problem::parameter("cursor", "NOT_A_CURSOR", "wanted the next_cursor of the page before, whole, or none")
    })?;
    let page = api.archive.ask(|reader| reader.alerts(level, since, cursor.as_ref(), limit)).await?;
    Ok(Json(Alerts { alerts: raw(&page.items), next_cursor: page.next.map(|next| next.to_string()) }))
}

/// A phone's latest verdicts, and its windows as the newest of them saw them.
#[utoipa::path(
    get,
    path = "/v1/phones/{phone}",
    tag = "verdicts",
    params(
        ("phone" = String, Path, description = "In any form that transactions may have.",
            pattern = "^(\\+[1-9][0-9]{7,14}|0[17][0-9]{8}|[0-9A-Fa-f]{64})$", example = "+254712345678"),
        LimitParams,
    ),
    responses(
        (status = 200, description = "What is stored of it.", body = PhoneView),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is stored of this phone.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "That is no phone, or the limit is wrong.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or there is none.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn phone(State(api): State<Api>, phone: Segment, uri: Uri) -> Result<Json<PhoneView>, Problem> {
    let limit = limit(&Params::of(&uri)?)?;
    let phone = Phone::parse(&segment(phone)?, &api.config.rules.calling_code).map_err(|error| match error {
        PhoneError::Masked => {
            Problem::parameter("phone", "PHONE_MASKED", "the number is masked; ask for the whole one")
        }
        PhoneError::Malformed => Problem::parameter(
            "phone",
            "PHONE_MALFORMED",
            "wanted E.164 (+254712345678), a national form, or 64 hex digits",
        ),
    })?;
    let phone_number = phone.to_string();
    let found = api.archive.ask(|reader| reader.phone(&phone_number, limit)).await?;
    if found.is_empty() {
        return Err(Problem::not_found("nothing is stored of this phone; a recent verdict may be on its way"));
    }
    let newest = found.iter().find_map(|stored| Some((features(stored)?, stored)));
    let features_of = newest.as_ref().map(|(_, stored)| stored.verdict.verdict_id.0.clone().into_owned());
    let features = newest.map(|(features, _)| features);
    Ok(Json(PhoneView { phone_number, verdicts: raw(&found), features, features_of }))
}

/// A verdict's features by the table, where it bears them.
fn features(stored: &Stored) -> Option<Vec<FeatureValue>> {
    let values: Value = serde_json::from_str(&stored.verdict.features.as_ref()?.0).ok()?;
    let value = |name: &str| values.get(name).and_then(Value::as_f64);
    let lines = TABLE.iter().map(|feature| FeatureValue {
        name: feature.name,
        value: value(feature.name),
        unit: feature.unit,
        meaning: feature.meaning,
    });
    Some(lines.collect())
}

fn limit(params: &Params) -> Result<usize, Problem> {
    let Some(text) = params.one("limit")? else { return Ok(USUAL_ROWS) };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| plain && (1..=MOST_ROWS).contains(limit));
    limit.ok_or_else(|| {
        Problem::parameter("limit", "OUT_OF_RANGE", format!("wanted a whole number from 1 to {MOST_ROWS}"))
    })
}

/// A point in time; what lies before 1970 is before everything.
fn time(text: &str) -> Result<EventTimeMs, Problem> {
    let ancient = || OffsetDateTime::parse(text, &Rfc3339).is_ok_and(|at| at < OffsetDateTime::UNIX_EPOCH);
    EventTimeMs::parse(text).or_else(|| ancient().then_some(EventTimeMs(0))).ok_or_else(|| {
        Problem::parameter("since", "NOT_A_TIME", "wanted RFC 3339, such as 2026-03-02T10:00:00Z (+ is %2B in a query)")
    })
}
