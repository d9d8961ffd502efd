//! The interface's description (OpenAPI 3.1): the operations from the code, the contracts from `schemas/`, so that
//! neither is written twice. `schemas/openapi.json` is a copy that a test holds to this.

use std::sync::OnceLock;

use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::routes;

/// The committed contracts and the names they have in the description.
const CONTRACTS: [(&str, &str); 2] = [
    ("Transaction", include_str!("../../schemas/transaction.schema.json")),
    ("Verdict", include_str!("../../schemas/verdict.schema.json")),
];

/// What of a contract is said elsewhere in the description.
const OWN: [&str; 3] = ["$schema", "$id", "title"];

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
        for (name, text) in CONTRACTS {
            contract(&mut document["components"]["schemas"], name, text);
        }
        let text = serde_json::to_string_pretty(&document).expect("JSON is text");
        text + "\n"
    })
}

/// Puts a contract below the components, its definitions beside it.
fn contract(schemas: &mut Value, name: &str, text: &str) {
    let mut schema: Value = serde_json::from_str(text).expect("the committed contracts are JSON, which a test holds");
    let Some(fields) = schema.as_object_mut() else { return };
    OWN.iter().for_each(|own| drop(fields.remove(*own)));
    let definitions = fields.remove("$defs").unwrap_or_default();
    for (part, mut definition) in definitions.as_object().cloned().unwrap_or_default() {
        rename(&mut definition, name);
        schemas[format!("{name}-{part}")] = definition;
    }
    rename(&mut schema, name);
    schemas[name] = schema;
}

/// `#/$defs/part` becomes `#/components/schemas/Name-part`.
fn rename(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replace("#/$defs/", &format!("#/components/schemas/{name}-"));
                    }
                    value => rename(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name)),
        _ => {}
    }
}
