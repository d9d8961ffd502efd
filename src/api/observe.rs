//! What is done round every request: an id, a bound on its time, a catch for panics, security headers, and the numbers.
//!
//! Invariant: the labels are closed sets (the route as it is declared, the status), so no path and no value of a
//! client's becomes one. Request ids are echoed and never logged: a client may put anything into its own. What failed
//! is found in the log by a number of our own making, which the answer names.

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use crate::{domain::decode::is_id, problem::Problem, telemetry::Telemetry};

/// The header by which a request is told apart.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request may take, its body included; a verdict's deadline is at most 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest request id that is taken over.
const MAX_ID: usize = 64;

/// The policy of all that is no page: nothing may be loaded or framed.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Runs a request and sees that it ends in an answer.
pub async fn observe(State(telemetry): State<Telemetry>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let id = request_id(request.headers());
    let began = Instant::now();
    let in_flight = InFlight::begin(&telemetry);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            // The panic's own line, with its place, stands just before.
            let incident = new_id();
            tracing::error!(route, incident, "a request's handler panicked; the process goes on");
            let detail = format!("this is a fault of the server's; tell its operator the incident {incident}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", detail).into_response()
        }
        Err(_elapsed) => {
            let detail = "the request did not come, or its work was not done, in time; send it whole and at once";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "It took too long", detail).into_response()
        }
    };
    drop(in_flight);
    telemetry.metrics.http.answered(&route, response.status().as_u16(), began.elapsed());
    dress(response.headers_mut(), id);
    response
}

/// Headers that every answer bears, where its handler set no other value.
fn dress(headers: &mut HeaderMap, id: HeaderValue) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, NO_PAGE),
    ] {
        headers.entry(name).or_insert(value);
    }
    headers.insert(REQUEST_ID, id);
}

/// The client's own id where it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| value.len() <= MAX_ID && is_id(value.as_bytes());
    let made = || HeaderValue::try_from(new_id()).unwrap_or(HeaderValue::from_static("0"));
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(made)
}

/// 16 hex digits that no other request of this process has had, and hardly one of another.
fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut seed = [0; 24];
    seed[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    seed[8..16].copy_from_slice(&now.to_le_bytes());
    seed[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&seed))
}

/// Counts a request as under way until it is dropped, also where its client went away.
struct InFlight(Telemetry);

impl InFlight {
    fn begin(telemetry: &Telemetry) -> Self {
        telemetry.metrics.http.in_flight.inc();
        Self(telemetry.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.http.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::get};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic holds it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn fails() {
        panic!("on purpose, by a test");
    }

    #[tokio::test]
    async fn a_failed_request_is_found_in_the_log_by_the_incident_that_its_answer_names() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let app = Router::new().route("/fails", get(fails)).layer(from_fn_with_state(Telemetry::new(0), observe));
        let request = Request::get("/fails").header(REQUEST_ID, "254712345678").body(Body::empty());
        let response = app.oneshot(request.expect("a request")).await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()[REQUEST_ID]),
            (500, &HeaderValue::from_static("254712345678"))
        );
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let incident = problem["detail"].as_str().and_then(|detail| detail.rsplit(' ').next()).expect("a detail");
        let log = String::from_utf8(log.0.lock().expect("no panic holds it").clone()).expect("text");
        assert_eq!(incident.len(), 16, "{problem}");
        assert!(log.contains(&format!("\"incident\":\"{incident}\"")), "{log}");
        assert!(!log.contains("254712345678"), "a client's id may be anything: {log}");
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let with = |value: &str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(value).expect("a value"))]);
        assert_eq!(request_id(&with("abc-1:2.3_4")), "abc-1:2.3_4");
        for insane in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
            let made = request_id(&with(insane));
            assert_eq!(made.len(), 16, "{insane:?} became {made:?}");
        }
        assert_ne!(new_id(), new_id());
    }
}
