//! Why a request became no session: the problems of the feed's own.

use std::borrow::Cow;

use axum::{
    extract::ws::rejection::WebSocketUpgradeRejection,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
};

use crate::problem::{BEARER, Problem};

/// A refusal with its reason and the way out; `code` is a metric's label.
pub fn refused(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(status, code, status.canonical_reason().unwrap_or("Refused"), detail)
}

/// Nobody said who they are.
pub fn unauthorized(detail: &'static str) -> Problem {
    refused(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(WWW_AUTHENTICATE, BEARER)
}

/// Not now.
pub fn later(code: &'static str, detail: impl Into<Cow<'static, str>>, after_s: u16) -> Problem {
    refused(StatusCode::SERVICE_UNAVAILABLE, code, detail).header(RETRY_AFTER, HeaderValue::from(after_s))
}

/// A plain request where a WebSocket is.
pub fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Problem {
    let detail = format!("{}; this is a WebSocket: connect with ws:// or wss://", rejection.body_text());
    refused(rejection.status(), "no-websocket", detail)
}
