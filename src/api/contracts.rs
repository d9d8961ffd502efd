//! The two contracts in the description of operations; what they say is in `schemas/`, and is not said again here.
//!
//! Invariant: what the description calls a valid transaction is accepted. The committed schema says in words what the
//! line judges by value; here those words are narrowed to forms that a program can check, for clients are generated
//! from this. It never widens.

use serde_json::{Value, json};
use utoipa::ToSchema;

/// A transaction: `schemas/transaction.schema.json`, which takes this schema's place in the description.
#[derive(ToSchema)]
pub struct Transaction {}

/// A verdict: `schemas/verdict.schema.json`, which takes this schema's place in the description.
#[derive(ToSchema)]
pub struct Verdict {}

/// The committed contracts and the names they have in the description.
const CONTRACTS: [(&str, &str); 2] = [
    ("Transaction", include_str!("../../schemas/transaction.schema.json")),
    ("Verdict", include_str!("../../schemas/verdict.schema.json")),
];

/// What of a contract is said elsewhere in the description.
const OWN: [&str; 3] = ["$schema", "$id", "title"];

/// RFC 3339 from 1970 on.
const TIME: &str = r"^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

/// Above 0, at most 12 digits and two decimals.
const AMOUNT: &str = r"^([1-9][0-9]{0,11}(\.[0-9]{1,2})?|0\.([1-9][0-9]?|0[1-9]))$";

/// E.164, the default country's forms, or a subject.
const PHONE: &str = r"^(\+[1-9][0-9]{7,14}|254[0-9]{9}|0[17][0-9]{8}|[0-9A-Fa-f]{64})$";

/// Puts the contracts among the description's schemas, in place of the empty ones of their names.
pub(super) fn insert(schemas: &mut Value) {
    for (name, text) in CONTRACTS {
        let schema = serde_json::from_str(text).expect("the committed contracts are JSON, which a test holds");
        contract(schemas, name, schema);
    }
    narrow(&mut schemas["Transaction"]);
}

/// Puts a contract below the schemas, its definitions beside it.
fn contract(schemas: &mut Value, name: &str, mut schema: Value) {
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

/// See the module's invariant.
fn narrow(transaction: &mut Value) {
    let fields = &mut transaction["properties"];
    // Nobody reads it, so it is as free as any unknown field.
    fields["schema_version"] = json!({"description": "Not read."});
    fields["amount"]["oneOf"][0]["multipleOf"] = json!(0.01);
    fields["amount"]["oneOf"][1]["pattern"] = json!(AMOUNT);
    fields["phone_number"]["pattern"] = json!(PHONE);
    for time in ["timestamp", "sim_swapped_at", "account_opened_at"] {
        fields[time]["pattern"] = json!(TIME);
    }
    transaction["examples"] = json!([{
        "transaction_id": "TXN123456", "amount": 50000, "phone_number": "+254712345678",
        "timestamp": "2026-03-02T10:00:00+03:00", "device_id": "d-1", "location": "Nairobi",
        "transaction_type": "P2P", "channel": "app", "counterparty": "+254700000001", "counterparty_type": "phone"
    }]);
}
