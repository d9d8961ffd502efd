//! Why a request became no session, as an RFC 9457 problem document like those of the other routes.

use std::borrow::Cow;

use axum::{
    extract::ws::rejection::WebSocketUpgradeRejection,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub struct Problem {
    /// What it is, in kebab case; a metric's label.
    pub code: &'static str,
    status: StatusCode,
    detail: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A refusal with its reason and the way out.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status, detail: detail.into(), header: None }
    }

    /// Nobody said who they are.
    pub fn unauthorized(detail: &'static str) -> Self {
        let header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sentra\"")));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail) }
    }

    /// Not now.
    pub fn later(code: &'static str, detail: impl Into<Cow<'static, str>>, after_s: u16) -> Self {
        let header = Some((RETRY_AFTER, HeaderValue::from(after_s)));
        Self { header, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// A plain request where a WebSocket is.
    pub fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Self {
        let detail = format!("{}; this is a WebSocket: connect with ws:// or wss://", rejection.body_text());
        Self::new(rejection.status(), "no-websocket", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { code, status, detail, header } = self;
        let body = json!({
            "type": format!("urn:sentra:problem:{code}"),
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": detail,
        });
        let fixed = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, fixed, body.to_string()).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
