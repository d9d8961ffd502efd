//! What the process says of itself: alive, ready, and in one document for people and for integrators' clients.
//!
//! Invariant: a database that is away makes this role `degraded` and nothing worse, for scoring and the feed go on; a
//! broker that is away makes it `unavailable`. These answer without a token, and then tell of reasons their kinds alone:
//! words of a broker's or a database's name users and hosts, and are for those who bring the token.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{Api, params::Params};
use crate::{
    app::Role,
    problem::{Document, Problem},
    telemetry::{Reason, VERDICT_TAIL},
};

/// What [`crate::telemetry::Health`] calls this role's stop.
pub const STOPPING: &str = "serve";

/// How the process fares.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`; `degraded` where stored verdicts cannot be read; `unavailable` where nothing can be scored.
    status: Status,
    /// Whether a model is served: by this process, or by whoever wrote the newest verdict.
    model_loaded: bool,
    /// Whether the database answers.
    database_connected: bool,
    /// Whether the broker answers and the verdict topic is followed.
    kafka_connected: bool,
    /// The model of the newest verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Model>,
    /// The program's version.
    version: &'static str,
    /// The roles that this process runs.
    roles: Vec<&'static str>,
    /// Seconds since it began to listen.
    uptime_seconds: u64,
    /// What speaks against `healthy`: in words for those who bring the token, else its kinds.
    reasons: Vec<String>,
}

/// A model's name and version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model {
    name: String,
    version: String,
}

/// The one word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Healthy,
    /// Stored verdicts cannot be read.
    Degraded,
    /// Nothing can be scored.
    Unavailable,
}

/// Alive or ready, or why not.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer {
    /// `alive`, `stuck`, `ready` or `not ready`.
    status: &'static str,
    /// Why not: in words for those who bring the token, else the kinds of reasons.
    reasons: Vec<String>,
}

/// Whose readiness is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; it is read by hand, so that its refusal is a problem document")]
pub struct ReadyParams {
    /// One role; without it, all roles of this process.
    #[param(inline, required = false)]
    role: RoleName,
}

/// A role's name.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "see ReadyParams")]
pub enum RoleName {
    /// Transactions in, verdicts out.
    Score,
    /// Verdicts into Postgres.
    Sink,
    /// This interface.
    Serve,
}

/// How the process fares, for people and clients.
#[utoipa::path(
    get,
    path = "/v1/health",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "It scores; `degraded` means that stored verdicts cannot be read.", body = Health),
        (status = 503, description = "Nothing can be scored.", body = Health),
    )
)]
pub async fn health(State(api): State<Api>, headers: HeaderMap) -> Response {
    let mut reasons = told(&api, &headers, api.telemetry.health.unready(Instant::now()));
    let kafka_connected = !api.submitter.is_away() && api.telemetry.health.held(VERDICT_TAIL).is_none();
    if api.submitter.is_away() {
        reasons.push(String::from("kafka: the producer reaches no broker"));
    }
    let database = api.archive.ping().await;
    let database_connected = database.is_ok();
    reasons.extend(database.err());
    let model = api.latest.model().map(|(name, version)| Model { name, version });
    let status = match (kafka_connected, database_connected) {
        (false, _) => Status::Unavailable,
        (true, false) => Status::Degraded,
        (true, true) => Status::Healthy,
    };
    let health = Health {
        status,
        model_loaded: model.is_some() || api.roles.contains(&Role::Score.as_str()),
        database_connected,
        kafka_connected,
        model,
        version: env!("CARGO_PKG_VERSION"),
        roles: api.roles.clone(),
        uptime_seconds: api.began.elapsed().as_secs(),
        reasons,
    };
    let code = if status == Status::Unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(health)).into_response()
}

/// Whether the process is alive, judged by progress.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "health",
    security(()),
    responses((status = 200, description = "Alive.", body = Answer), (status = 503, description = "Stuck.", body = Answer))
)]
pub async fn livez(State(api): State<Api>) -> Response {
    answer("alive", "stuck", api.telemetry.health.stuck(Instant::now()))
}

/// Whether the process, or one role of it, can do its work now.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    params(ReadyParams),
    responses(
        (status = 200, description = "Ready.", body = Answer),
        (status = 404, description = "The role is not run by this process.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "No such role.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Not ready.", body = Answer),
    )
)]
pub async fn readyz(State(api): State<Api>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let now = Instant::now();
    let Some(role) = Params::of(&uri)?.one("role")?.map(str::to_owned) else {
        return Ok(answer("ready", "not ready", told(&api, &headers, api.telemetry.health.unready(now))));
    };
    if !["score", "sink", "serve"].contains(&role.as_str()) {
        return Err(Problem::parameter("role", "UNKNOWN_ROLE", "wanted score, sink or serve"));
    }
    if !api.roles.contains(&role.as_str()) {
        return Err(Problem::not_found(format!(
            "role {role} is not run by this process; /v1/health lists those that are"
        )));
    }
    Ok(answer("ready", "not ready", told(&api, &headers, api.telemetry.health.unready_of(&role, now))))
}

/// All numbers, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "Prometheus' text format.", body = String, content_type = "text/plain"),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn metrics(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], api.telemetry.render()).into_response()
}

/// The reasons as this request may read them.
fn told(api: &Api, headers: &HeaderMap, reasons: Vec<Reason>) -> Vec<String> {
    if api.auth.bearer_ok(headers) {
        return reasons.into_iter().map(|reason| reason.words).collect();
    }
    let mut kinds: Vec<String> = reasons.into_iter().map(|reason| reason.kind.to_owned()).collect();
    kinds.dedup();
    kinds
}

fn answer(good: &'static str, bad: &'static str, reasons: Vec<String>) -> Response {
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, good) } else { (StatusCode::SERVICE_UNAVAILABLE, bad) };
    (code, Json(Answer { status, reasons })).into_response()
}
