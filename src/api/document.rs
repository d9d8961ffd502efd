//! The interface's description (OpenAPI 3.1): the operations from the code, the contracts from `schemas/`, so that
//! neither is written twice. `schemas/openapi.json` is a copy that a test holds to this.

use std::sync::OnceLock;

use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{contracts, routes};
use crate::problem::Document;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sentra",
        description = "Scores mobile-money transactions for fraud. The contracts change by addition only: ignore fields \
                       you do not know, and treat an unknown `recommendation` as `REVIEW`. Every refusal is a problem \
                       document (RFC 9457).",
        license(name = "proprietary")
    ),
    paths(feed_tickets),
    components(schemas(Ticket)),
    tags(
        (name = "scoring", description = "One transaction in, its verdict out."),
        (name = "verdicts", description = "What was decided, from the database."),
        (name = "feed", description = "Verdicts as they are made, over WebSocket at `/v1/feed`: see the AsyncAPI document."),
        (name = "health", description = "Whether the process fares well."),
    ),
    security(("token" = [])),
    modifiers(&Token)
)]
pub(super) struct Described;

/// What opens one connection to the live feed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the feed answers")]
struct Ticket {
    /// For `?ticket=` of `/v1/feed`; good once.
    ticket: String,
    /// How long it is good, in seconds.
    expires_in_s: u64,
}

/// A ticket for the live feed, for browsers, which cannot send the token with a WebSocket.
#[utoipa::path(
    post,
    path = "/v1/feed/tickets",
    tag = "feed",
    responses(
        (status = 201, description = "A ticket.", body = Ticket),
        (status = 401, description = "The token is missing or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many tickets are out; `Retry-After` says when to come again.", body = Document, content_type = "application/problem+json"),
    )
)]
#[expect(dead_code, reason = "describes a route of the feed's")]
fn feed_tickets() {}

/// The one way to say who asks.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The token of serve.token."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// The description as JSON text, indented, with a newline at its end.
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document = serde_json::to_value(routes::described().1).expect("a description is JSON");
        contracts::insert(&mut document["components"]["schemas"]);
        let text = serde_json::to_string_pretty(&document).expect("JSON is text");
        text + "\n"
    })
}
