//! How two verdicts about one record differ, field by field. Pure: when, how long and under which epoch a verdict was
//! made are no differences.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// What differs between two runs that agree.
const FREE: [&str; 3] = ["decided_at", "processing_time_ms", "source.epoch"];

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its name, behind its object's with a dot.
    pub field: String,
    /// What the log has; null where it has none.
    pub accepted: Value,
    /// What replay gave; null where it gave none.
    pub replayed: Value,
}

/// Every field that differs. Features that `accepted` does not tell are not compared; their digest is.
pub fn differences(accepted: &Value, replayed: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", accepted, replayed, &mut found);
    if accepted.get("features").is_none() {
        found.retain(|difference| difference.field != "features");
    }
    found
}

fn compare(field: &str, accepted: &Value, replayed: &Value, found: &mut Vec<Difference>) {
    if let (Value::Object(left), Value::Object(right)) = (accepted, replayed) {
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for name in names {
            let field = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(&field, &of(left), &of(right), found);
        }
    } else if accepted != replayed && !FREE.contains(&field) {
        found.push(Difference { field: field.to_owned(), accepted: accepted.clone(), replayed: replayed.clone() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_named_and_those_that_may_are_not() {
        let accepted =
            json!({"risk_score": 3, "decided_at": "then", "source": {"offset": 1, "epoch": 0}, "reasons": []});
        let replayed = json!({"risk_score": 4, "decided_at": "now", "source": {"offset": 1, "epoch": 9}, "reasons": [1],
            "features": {"hour": 1}});
        let fields = |accepted: &Value| -> Vec<String> {
            differences(accepted, &replayed).into_iter().map(|difference| difference.field).collect()
        };
        assert_eq!(fields(&accepted), ["reasons", "risk_score"]);
        let mut told = accepted.clone();
        told["features"] = json!({"hour": 2});
        assert_eq!(fields(&told), ["features.hour", "reasons", "risk_score"]);
        assert_eq!(fields(&replayed), Vec::<String>::new());
    }
}
