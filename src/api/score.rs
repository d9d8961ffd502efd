//! `POST /v1/score`: the line for those without Kafka. The transaction is produced, its accepted verdict awaited.
//!
//! Invariant: nothing is decided here. The body is judged by the same reader as the line's before it is produced, so
//! that bad input is refused with its fields; what is produced is the body, byte for byte; what is answered is the
//! verdict, byte for byte. A retry is a second record, which the line answers as a duplicate.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::Instant;

use super::{
    Api,
    awaiting::{Place, Ticket},
    contracts::{Transaction, Verdict},
    pace::Behind,
    submit::{Outcome, Submission, SubmitError},
};
use crate::{
    domain::{
        decode::{MAX_VALUE_BYTES, decode},
        invalid::{Invalid, InvalidReason},
        transaction::Record,
    },
    feed::Accepted,
    problem::{Document, Problem},
};

/// Headers of the trace that pass through to the verdict's consumers.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The longest header that passes through.
const MAX_TRACE_BYTES: usize = 512;

/// Score one transaction and wait for its verdict.
///
/// The transaction enters the same line as those from Kafka. Send the same `transaction_id` again if in doubt: the
/// answer is then the first decision (`kind` is `duplicate`). Treat an unknown `recommendation` as `REVIEW`.
#[utoipa::path(
    post,
    path = "/v1/score",
    tag = "scoring",
    request_body(content = Transaction, content_type = "application/json"),
    responses(
        (status = 200, description = "The verdict.", body = Verdict, content_type = "application/json"),
        (status = 400, description = "The body is no JSON.", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "The body is longer than 65536 bytes.", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as application/json, or is compressed.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "A field breaks a rule; `errors` names it and the way out.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Kafka is away, the line is behind, or too many requests wait; `Retry-After` says when to come again.", body = Document, content_type = "application/problem+json"),
        (status = 504, description = "The verdict did not come in time; `verdict` says where to fetch it.", body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn score(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    declared_as_json(&parts.headers)?;
    let body = read(body).await?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let record = Record { offset: 0, timestamp_ms: Some(now_ms), key: None, value: Some(&body), institution: None };
    let (id, phone) = match decode(&record, &api.config.rules) {
        Ok(transaction) => (transaction.transaction_id.into_owned(), transaction.phone),
        Err(invalid) => return Err(refused(&invalid)),
    };
    let _permit = api.waiting.try_acquire().map_err(|_| {
        let detail = "too many requests wait for their verdicts (serve.max_waiting); come again";
        Problem::unavailable("too-many-waiting", detail, 1)
    })?;
    api.reachable()?;
    let key = phone.key();
    let began = Instant::now();
    let run = api.pace.begin(key.as_bytes(), began.into_std()).map_err(|Behind| {
        let detail = "verdicts come too late for serve.score_deadline_ms, and another request would only wait in vain; \
                      send the transaction again later, with the same transaction_id";
        Problem::unavailable("line-behind", detail, 1)
    })?;
    let deadline = began + Duration::from_millis(api.config.serve.score_deadline_ms);
    let ticket = api.awaiting.expect(&id);
    let headers = traces(&parts.headers);
    let submission =
        Submission { key: key.as_bytes(), value: &body, id: &id, number: ticket.number(), headers: &headers };
    let outcome = api.submitter.submit(&submission).map_err(not_sent)?;
    drop(headers);
    let outcome = verdict(ticket, outcome, deadline).await;
    match &outcome {
        Ok(_) => run.answered(Instant::now().into_std()),
        Err(Miss::Late(Some(_))) => run.unanswered(Instant::now().into_std()),
        // That is the broker's fault and says nothing of the line.
        Err(Miss::Late(None) | Miss::NotSent(_)) => drop(run),
    }
    match outcome {
        Ok(verdict) => Ok(answer(&verdict)),
        Err(Miss::NotSent(error)) => Err(not_sent(error)),
        Err(Miss::Late(place)) => Err(late(&api, &id, place)),
    }
}

/// Why there is no verdict.
#[derive(Debug)]
enum Miss {
    NotSent(SubmitError),
    /// In time; the record's place, where it is known.
    Late(Option<Place>),
}

/// Awaits both, in whichever order they come.
async fn verdict(
    mut ticket: Ticket<Arc<Accepted>>,
    mut outcome: Outcome,
    deadline: Instant,
) -> Result<Arc<Accepted>, Miss> {
    let (mut place, mut told) = (None, false);
    loop {
        tokio::select! {
            biased;
            // What was asked for first, so that a verdict that is there is never given up for the deadline.
            Ok(verdict) = &mut ticket.verdict => return Ok(verdict),
            outcome = &mut outcome, if !told => {
                told = true;
                match outcome {
                    Ok(Ok(at)) => place = Some(at),
                    Ok(Err(error)) => return Err(Miss::NotSent(error)),
                    // The acknowledgement named no place.
                    Err(_) => {}
                }
            }
            () = tokio::time::sleep_until(deadline) => return Err(Miss::Late(place)),
        }
    }
}

fn answer(verdict: &Accepted) -> Response {
    json_bytes(Bytes::copy_from_slice(&verdict.value))
}

/// JSON that is there already.
pub fn json_bytes(bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn declared_as_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &'static str| {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Another media type", detail)
    };
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = essence.map(|value| value.split(';').next().unwrap_or_default().trim());
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(refuse("send the header Content-Type: application/json"));
    }
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(refuse("send the body without Content-Encoding"));
    }
    Ok(())
}

/// The body, bounded before it is buffered.
async fn read(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, MAX_VALUE_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            InvalidReason::ValueTooLarge.sentence(),
        )),
        Err(_) => Err(unreadable("the body broke off; send it whole")),
    }
}

fn unreadable(detail: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "unreadable-body", "The body is no JSON", detail)
}

/// What the line would call invalid, with its code and sentence.
fn refused(invalid: &Invalid) -> Problem {
    let problem = match invalid.reason {
        InvalidReason::NullValue
        | InvalidReason::EmptyValue
        | InvalidReason::InvalidUtf8
        | InvalidReason::NotJson
        | InvalidReason::TooDeep => unreadable(invalid.reason.sentence()),
        _ => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-transaction",
            "The transaction breaks a rule",
            "correct the fields named in errors and send it again; nothing was recorded",
        ),
    };
    problem.field(invalid.field.unwrap_or_default(), invalid.code(), invalid.reason.sentence())
}

fn not_sent(error: SubmitError) -> Problem {
    let (code, retry_after_s) = match error {
        SubmitError::Away => ("kafka-away", 2),
        SubmitError::Full => ("too-many-waiting", 1),
        SubmitError::Refused(_) => ("kafka-refuses", 30),
    };
    if let SubmitError::Refused(why) = &error {
        tracing::error!(%why, "serve: the broker refuses transactions; check its permissions and the topic's limits");
    }
    Problem::unavailable(code, error.to_string(), retry_after_s)
}

fn late(api: &Api, id: &str, place: Option<Place>) -> Problem {
    let known = place.and_then(|at| Some(format!("{}-{}-{}", api.log()?, at.partition, at.offset)));
    // An id has only letters that stand for themselves in a query.
    let at = known.map_or_else(|| format!("/v1/verdicts?transaction_id={id}"), |id| format!("/v1/verdicts/{id}"));
    let detail = "the verdict did not come within serve.score_deadline_ms; fetch it where the field verdict says, or \
                  send the transaction again with the same transaction_id";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "verdict-late", "The verdict is not there yet", detail).verdict_at(at)
}

/// The trace's headers as they came, those of sane length.
fn traces(headers: &HeaderMap) -> Vec<(&'static str, &[u8])> {
    let named = TRACE_HEADERS.iter().filter_map(|name| Some((*name, headers.get(*name)?.as_bytes())));
    named.filter(|(_, value)| value.len() <= MAX_TRACE_BYTES).collect()
}
