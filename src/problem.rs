//! What is answered when a request cannot be: a problem document (RFC 9457) that names the field and the way out.
//!
//! Invariant: no problem holds a value that the client or a record brought, so none leaks a phone number into a log of
//! the client's. Every refusal of this interface is one of these, also those of the router and of the limits.

use std::borrow::Cow;

use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a request without the token is told to bring, as `WWW-Authenticate`.
pub const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"sentra\"");

/// A refusal, as it goes out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// Which problem it is, for programs: `urn:sentra:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:sentra:problem:invalid-transaction")]
    kind: String,
    /// The problem in a few words, the same for each of its kind.
    title: &'static str,
    /// The status code.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong here, and the way out.
    detail: Cow<'static, str>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Where the verdict can be fetched later.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field or parameter; empty where it is the whole body.
    pub field: Cow<'static, str>,
    /// From a closed catalogue that may grow; for a transaction, that of invalid records.
    #[schema(example = "PHONE_MASKED")]
    pub code: Cow<'static, str>,
    /// One sentence: what is wrong and the way out.
    pub detail: Cow<'static, str>,
}

/// A refusal in the making; small, for it stands in many results.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    verdict: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of that status; `code` is kebab-case and its own.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (errors, headers) = (Vec::new(), Vec::new());
        Self(Box::new(Parts { status, code, title, detail: detail.into(), errors, verdict: None, headers }))
    }

    /// Nothing is here.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Nothing is here", detail)
    }

    /// A query or path parameter is wrong.
    pub fn parameter(name: &'static str, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let title = "A parameter is wrong";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-parameter", title, "see errors").field(name, code, detail)
    }

    /// Something this process needs is away; asking again later may help.
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>, retry_after_s: u16) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not available for the moment", detail)
            .header(RETRY_AFTER, HeaderValue::from(retry_after_s))
    }

    /// Its kind; a metric's label.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Names a field at fault.
    #[must_use]
    pub fn field(
        mut self,
        field: impl Into<Cow<'static, str>>,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.0.errors.push(FieldError { field: field.into(), code: code.into(), detail: detail.into() });
        self
    }

    /// Says where the verdict can be fetched, in the body and as `Content-Location`.
    #[must_use]
    pub fn verdict_at(mut self, place: String) -> Self {
        if let Ok(value) = HeaderValue::try_from(&place) {
            self.0.headers.push((CONTENT_LOCATION, value));
        }
        self.0.verdict = Some(place);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, code, title, detail, errors, verdict, headers } = *self.0;
        let kind = format!("urn:sentra:problem:{code}");
        let document = Document { kind, title, status: status.as_u16(), detail, errors, verdict };
        // Texts and numbers always serialise; an empty body would still bear its status.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_kind_its_fields_and_where_to_look() {
        let problem = Problem::parameter("limit", "OUT_OF_RANGE", "wanted 1 to 500").verdict_at("/v1/x".to_owned());
        let response = problem.into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[CONTENT_LOCATION], "/v1/x");
    }
}
