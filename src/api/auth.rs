//! Who may ask: one static bearer token, or, without one, whoever sits at this machine.
//!
//! Invariant: tokens are compared in constant time, by their digests, so neither content nor length shows in how long
//! it takes. Without a token the interface listens to loopback alone (the configuration holds that), and answers only
//! to loopback's own names: a web page elsewhere cannot reach it by a name that it lets point here (DNS rebinding).
//! Not accounts: those come later, in front of the same handlers.

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::Secret,
    problem::{BEARER, Problem},
};

/// What a browser that opens a page is told to ask its user for.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"sentra: any name, the token as password\"");

/// Judges requests.
#[derive(Clone)]
pub struct Auth {
    /// The token's digest; `None` lets everybody in who can reach the listener.
    expected: Option<[u8; 32]>,
}

impl Auth {
    /// For the configured token.
    pub fn new(token: Option<&Secret>) -> Self {
        Self { expected: token.map(|token| digest(token.expose().as_bytes())) }
    }

    /// Whether the request brings the bearer token, or none is wanted and it asks for this machine by its own name.
    pub fn bearer_ok(&self, headers: &HeaderMap) -> bool {
        match self.expected {
            None => names_this_machine(headers),
            Some(_) => credentials(headers, "Bearer").is_some_and(|token| self.matches(token.as_bytes())),
        }
    }

    /// The same for a page that a browser opens, which can bring the token only as the password of HTTP's own dialog.
    fn page_ok(&self, headers: &HeaderMap) -> bool {
        let password = || {
            let decoded = BASE64_STANDARD.decode(credentials(headers, "Basic")?).ok()?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            Some(self.matches(&decoded[colon + 1..]))
        };
        self.bearer_ok(headers) || (self.expected.is_some() && password().unwrap_or(false))
    }

    fn matches(&self, token: &[u8]) -> bool {
        self.expected.is_some_and(|expected| bool::from(digest(token).ct_eq(&expected)))
    }
}

/// Lets a request of a program through, or answers 401.
pub async fn guard(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    if auth.bearer_ok(request.headers()) { next.run(request).await } else { auth.refuse(&[BEARER]) }
}

/// Lets a request for a page through, or answers 401 so that a browser asks for the token.
pub async fn guard_page(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    if auth.page_ok(request.headers()) { next.run(request).await } else { auth.refuse(&[BEARER, BASIC]) }
}

impl Auth {
    fn refuse(&self, challenges: &[HeaderValue]) -> Response {
        if self.expected.is_none() {
            let detail = "without serve.token only names of this machine are answered to (127.0.0.1, localhost); \
                          ask by one of them, or set serve.token";
            return Problem::new(StatusCode::FORBIDDEN, "foreign-host", "Another host's name", detail).into_response();
        }
        let detail = "send the header Authorization: Bearer and the token of serve.token";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token is missing or wrong", detail);
        let with = |problem: Problem, value: &HeaderValue| problem.header(WWW_AUTHENTICATE, value.clone());
        challenges.iter().fold(problem, with).into_response()
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The credentials of the one Authorization header, where it has that scheme.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let (found, rest) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|value| value.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_the_token_itself_opens() {
        let auth = Auth::new(Some(&Secret::new(String::from("a-token-of-some-length"))));
        let judge = |value: &str| auth.bearer_ok(&headers(&[("authorization", value)]));
        assert!(judge("Bearer a-token-of-some-length") && judge("bearer  a-token-of-some-length"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer a-token-of-some-lengt", "Bearer a-token-of-some-length2", "Basic x"]
        {
            assert!(!judge(wrong), "{wrong:?}");
        }
        assert!(!auth.bearer_ok(&HeaderMap::new()));
        let mut twice = headers(&[("authorization", "Bearer a-token-of-some-length")]);
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
        assert!(!auth.bearer_ok(&twice), "two of them are ambiguous");
    }

    #[test]
    fn a_page_also_takes_the_token_as_a_password_and_an_interface_does_not() {
        let auth = Auth::new(Some(&Secret::new(String::from("a-token-of-some-length"))));
        let basic = |text: &str| headers(&[("authorization", &format!("Basic {}", BASE64_STANDARD.encode(text)))]);
        assert!(auth.page_ok(&basic("anyone:a-token-of-some-length")));
        assert!(!auth.page_ok(&basic("a-token-of-some-length")) && !auth.page_ok(&basic("x:y")));
        assert!(!auth.bearer_ok(&basic("anyone:a-token-of-some-length")));
    }

    #[test]
    fn without_a_token_only_this_machines_own_names_are_answered_to() {
        let auth = Auth::new(None);
        for own in ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "127.0.0.2", "LOCALHOST"] {
            assert!(auth.bearer_ok(&headers(&[("host", own)])), "{own}");
        }
        for other in ["evil.example", "evil.example:8000", "10.0.0.1", "localhost.evil.example:8000", ""] {
            assert!(!auth.bearer_ok(&headers(&[("host", other)])), "{other:?}");
        }
    }
}
