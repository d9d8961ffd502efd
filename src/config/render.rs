//! The table and the settings as people and tools read them: help, `config show`, JSON Schema, samples.
//! Secrets are masked here and nowhere printed otherwise.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::{
    properties,
    secret::MASK,
    settings::{Resolved, Settings},
    table::{Id, PREFIX, PROPERTIES, PROPERTIES_DOC, Setting, TABLE},
    value::{Kind, Value},
};

/// Every setting as `key = value  # source`, properties after them.
pub fn show_text(settings: &Settings) -> String {
    let rows: Vec<(String, String, String)> = rows(settings);
    let width = |column: fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (keys, values) = (width(|row| &row.0), width(|row| &row.1).min(40));
    let mut text = String::new();
    for (key, value, source) in &rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:keys$}  {value:values$}  {source}");
    }
    text
}

/// Every setting as `{key: {value, source}}`.
pub fn show_json(settings: &Settings) -> Json {
    let rows = rows(settings).into_iter();
    rows.map(|(key, value, source)| (key, json!({"value": value, "source": source}))).collect::<Map<_, _>>().into()
}

fn rows(settings: &Settings) -> Vec<(String, String, String)> {
    let own = Id::all().map(|id| {
        let Resolved { value, source, .. } = settings.get(id);
        (id.setting().key.to_owned(), value_text(id.setting(), value.as_ref()), source.to_string())
    });
    let raw = settings.properties().iter().map(|(name, property)| {
        let shown = properties::masked(name, &property.value).to_owned();
        (format!("{PROPERTIES}.{name}"), shown, property.source.to_string())
    });
    own.chain(raw).collect()
}

fn value_text(setting: &Setting, value: Option<&Value>) -> String {
    match value {
        None => String::from("(unset)"),
        Some(Value::Secret(_)) => MASK.to_owned(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Bool(yes)) => yes.to_string(),
        Some(Value::Millis(ms)) => setting.kind.millis_text(*ms),
        Some(Value::Listen(address)) => address.map_or_else(|| String::from("off"), |address| address.to_string()),
    }
}

/// The settings for `--help`, one line each.
pub fn help() -> String {
    let mut text = String::from("Settings (default), in sentra.toml, as SENTRA__SECTION__NAME, or by --set:\n");
    for setting in TABLE {
        let alias = setting.alias.map(|alias| format!(" Also {alias}.")).unwrap_or_default();
        let _ = writeln!(text, "  {} ({}): {}{alias}", setting.key, setting.default.unwrap_or("unset"), setting.doc);
    }
    let _ = writeln!(text, "  {PROPERTIES}: {PROPERTIES_DOC}");
    text
}

/// JSON Schema 2020-12 of the TOML file.
pub fn schema() -> Json {
    let mut root = Map::new();
    for setting in TABLE {
        let (section, name) = setting.split();
        let properties = match section {
            "" => &mut root,
            _ => section_of(&mut root, section),
        };
        properties.insert(name.to_owned(), setting_schema(setting));
        if setting.is_secret() {
            let doc = format!("File that holds {}.", setting.key);
            properties.insert(format!("{name}_file"), json!({"type": "string", "description": doc}));
        }
    }
    let refused: Map<String, Json> =
        properties::owned().map(|(name, why)| (name.to_owned(), json!({"not": {}, "description": why}))).collect();
    let raw = json!({"type": "object", "description": PROPERTIES_DOC, "properties": refused,
        "additionalProperties": {"type": ["string", "integer", "boolean", "object"]}});
    section_of(&mut root, "kafka").insert(String::from("properties"), raw);
    json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "sentra.toml",
        "type": "object", "additionalProperties": false, "properties": root})
}

/// The `properties` of a section's schema, made where it is not there yet.
fn section_of<'a>(root: &'a mut Map<String, Json>, section: &str) -> &'a mut Map<String, Json> {
    let empty = || json!({"type": "object", "additionalProperties": false, "properties": {}});
    let schema = root.entry(section.to_owned()).or_insert_with(empty);
    schema["properties"].as_object_mut().expect("made as an object just above")
}

fn setting_schema(setting: &Setting) -> Json {
    let mut schema = match setting.kind {
        Kind::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Choice(words) => json!({"type": "string", "enum": words}),
        Kind::Duration { off: false, .. } => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Kind::Duration { off: true, .. } => json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|off)$"}),
        Kind::UtcOffset => json!({"type": "string", "pattern": "^(Z|[+-][0-9]{2}:[0-5][0-9])$"}),
        Kind::Currency => json!({"type": "string", "pattern": "^[A-Z]{3}$"}),
        Kind::LogId => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        Kind::CallingCode => json!({"type": "string", "pattern": "^[1-9][0-9]{0,2}$"}),
        Kind::Topic => json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"}),
        Kind::Member => json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,200}$"}),
        Kind::Text
        | Kind::Servers
        | Kind::Path
        | Kind::Listen
        | Kind::Host
        | Kind::Origins
        | Kind::Filter
        | Kind::Secret => json!({"type": "string", "minLength": 1}),
        Kind::Token => json!({"type": "string", "pattern": "^[A-Za-z0-9._~+/=-]{16,512}$"}),
    };
    schema["description"] = json!(format!("{} Wanted: {}.", setting.doc, setting.kind.describe()));
    if let Some(Ok(default)) = setting.default.map(|text| default_json(setting.kind, text)) {
        schema["default"] = default;
    }
    schema
}

fn default_json(kind: Kind, text: &str) -> serde_json::Result<Json> {
    if kind.is_quoted() { Ok(json!(text)) } else { serde_json::from_str(text) }
}

/// `deploy/sentra.toml`: every setting with its meaning, commented out at its default.
pub fn sample_toml() -> String {
    let mut text = String::from(
        "# Sentra's settings, each at its default. Uncomment what should differ; unknown names are errors.\n\
         # Written by `sentra config schema --as toml`. Secrets are better given as files or variables.\n\n",
    );
    let mut at = "";
    for setting in TABLE {
        let (section, name) = setting.split();
        if section != at {
            if at == "kafka" {
                text.push_str(&sample_properties());
            }
            let _ = write!(text, "\n[{section}]\n");
            at = section;
        }
        let _ = writeln!(text, "# {} Wanted: {}.", setting.doc, setting.kind.describe());
        let _ = match (setting.default, setting.kind.is_quoted()) {
            (Some(default), true) => writeln!(text, "# {name} = {default:?}"),
            (Some(default), false) => writeln!(text, "# {name} = {default}"),
            (None, _) if setting.is_secret() => writeln!(text, "# Unset. From a file: {name}_file=PATH"),
            (None, _) => writeln!(text, "# Unset."),
        };
    }
    text
}

fn sample_properties() -> String {
    format!("\n[{PROPERTIES}]\n# {PROPERTIES_DOC}\n# For example: \"security.protocol\"=\"SASL_SSL\"\n")
}

/// `.env.example`: every setting as a variable, the familiar name where there is one.
pub fn sample_env() -> String {
    let mut text = String::from(
        "# Sentra's settings as variables, each at its default; they beat the file. Empty ones count as unset.\n\
         # Written by `sentra config schema --as env`.\n",
    );
    for setting in TABLE {
        let own = setting.variable();
        let name = setting.alias.unwrap_or(&own);
        let _ = writeln!(text, "\n# {} Wanted: {}.", setting.doc, setting.kind.describe());
        let _ = match setting.default {
            Some(default) => writeln!(text, "# {name}={default}"),
            None if setting.is_secret() => writeln!(text, "# Unset. From a file: {name}_FILE"),
            None => writeln!(text, "# Unset."),
        };
    }
    let _ =
        writeln!(text, "\n# {PROPERTIES_DOC}\n# For example: {PREFIX}KAFKA__PROPERTIES__SECURITY_PROTOCOL is SASL_SSL");
    text
}

impl Kind {
    /// Whether a TOML value of the kind stands in quotes.
    fn is_quoted(self) -> bool {
        !matches!(self, Self::Int(..) | Self::Bool)
    }
}
