//! The interface's description (OpenAPI 3.1): the operations from the code, the contracts from `schemas/`, so that
//! neither is written twice. `schemas/openapi.json` is a copy that a test holds to this.

use std::sync::OnceLock;

use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{contracts, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sentra",
        description = "Scores mobile-money transactions for fraud. The contracts change by addition only: ignore fields \
                       you do not know, and treat an unknown `recommendation` as `REVIEW`. Every refusal is a problem \
                       document (RFC 9457).",
        license(name = "proprietary")
    ),
    tags(
        (name = "scoring", description = "One transaction in, its verdict out."),
        (name = "verdicts", description = "What was decided, from the database."),
        (name = "health", description = "Whether the process fares well."),
    ),
    security(("token" = [])),
    modifiers(&Token)
)]
pub(super) struct Described;

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
