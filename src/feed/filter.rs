//! What a client wants to see: levels, a least score, an institution, a phone. Read from the request's query or from a
//! `filter` frame; each replaces the whole filter.
//!
//! Invariant: a filter that cannot be read is refused by the name of its field; none is ever guessed. Pure.

use serde::{Serialize, ser::SerializeMap};
use serde_json::{Map, Value};

use super::item::Tags;
use crate::domain::{
    decode::{MAX_ID_BYTES, is_id},
    phone::{Phone, PhoneError},
    policy::RiskLevel,
};

/// Which verdicts a client wants; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Empty is any, also none.
    levels: Vec<RiskLevel>,
    min_score: Option<u8>,
    institution: Option<String>,
    phone: Option<Phone>,
}

/// Why a filter was refused; never with the value of a phone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a level.
    #[error("level: {0:?} is none of LOW, MEDIUM, HIGH, CRITICAL")]
    Level(String),
    /// Not a score.
    #[error("min_score: wanted a whole number from 0 to 100")]
    MinScore,
    /// Not an institution.
    #[error("institution: wanted 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Institution,
    /// Some digits are masked.
    #[error("phone: some digits are masked, and many people share one mask; give the whole number")]
    MaskedPhone,
    /// Not a phone.
    #[error("phone: wanted E.164 such as +254712345678, a national number, or 64 hex digits")]
    Phone,
    /// No such field.
    #[error("{0:?} is no filter; there are level, min_score, institution and phone")]
    Unknown(String),
    /// A field of another JSON type.
    #[error("{0}: of another type than wanted: level is a text or a list, min_score a number, the others are texts")]
    Type(&'static str),
}

impl Filter {
    /// Takes one parameter of a query; false where it is no filter's. Repeated and comma-separated levels add up, and
    /// an empty value is as if it were not there.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn parameter(&mut self, name: &str, value: &str, calling_code: &str) -> Result<bool, FilterError> {
        if !matches!(name, "level" | "min_score" | "institution" | "phone") {
            return Ok(false);
        }
        if value.is_empty() {
            return Ok(true);
        }
        match name {
            "level" => value.split(',').try_for_each(|level| self.level(level))?,
            "min_score" => self.min_score = Some(score(value.parse().ok())?),
            "institution" => self.institution = Some(institution(value)?),
            // A plus that was not escaped arrives as a blank.
            _ => self.phone = Some(phone(&value.trim_start().replacen(' ', "+", 1), value, calling_code)?),
        }
        Ok(true)
    }

    /// Reads the fields of a `filter` frame, without its type.
    ///
    /// # Errors
    /// A field is unknown or cannot be read.
    pub fn from_frame(fields: &Map<String, Value>, calling_code: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("level" | "min_score" | "institution" | "phone", Value::Null) => {}
                ("level", Value::String(level)) => filter.level(level)?,
                ("level", Value::Array(levels)) => {
                    for level in levels {
                        filter.level(level.as_str().ok_or(FilterError::Type("level"))?)?;
                    }
                }
                ("level", _) => return Err(FilterError::Type("level")),
                ("min_score", Value::Number(number)) => filter.min_score = Some(score(number.as_u64())?),
                ("min_score", _) => return Err(FilterError::Type("min_score")),
                ("institution", Value::String(id)) => filter.institution = Some(institution(id)?),
                ("institution", _) => return Err(FilterError::Type("institution")),
                ("phone", Value::String(number)) => filter.phone = Some(phone(number, number, calling_code)?),
                ("phone", _) => return Err(FilterError::Type("phone")),
                (other, _) => return Err(FilterError::Unknown(other.chars().take(32).collect())),
            }
        }
        Ok(filter)
    }

    /// Whether a verdict with these tags is wanted.
    pub fn wants(&self, tags: &Tags) -> bool {
        (self.levels.is_empty() || tags.level.is_some_and(|level| self.levels.contains(&level)))
            && self.min_score.is_none_or(|least| tags.score.is_some_and(|score| score >= least))
            && (self.institution.is_none() || self.institution.as_deref() == tags.institution.as_deref())
            && (self.phone.is_none() || self.phone == tags.phone)
    }

    /// Whether it lets nothing but alerts through.
    pub fn is_alerts_only(&self) -> bool {
        !self.levels.is_empty() && self.levels.iter().all(|level| is_alert(*level))
    }

    fn level(&mut self, text: &str) -> Result<(), FilterError> {
        let unknown = || FilterError::Level(text.chars().take(16).collect());
        let level = RiskLevel::from_wire(&text.trim().to_ascii_uppercase()).ok_or_else(unknown)?;
        if !self.levels.contains(&level) {
            self.levels.push(level);
        }
        Ok(())
    }
}

impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.levels.is_empty() {
            map.serialize_entry("level", &self.levels)?;
        }
        if let Some(score) = self.min_score {
            map.serialize_entry("min_score", &score)?;
        }
        if let Some(institution) = &self.institution {
            map.serialize_entry("institution", institution)?;
        }
        if let Some(phone) = &self.phone {
            map.serialize_entry("phone", phone)?;
        }
        map.end()
    }
}

/// Levels that someone should look at.
pub fn is_alert(level: RiskLevel) -> bool {
    matches!(level, RiskLevel::High | RiskLevel::Critical)
}

fn score(number: Option<u64>) -> Result<u8, FilterError> {
    number.and_then(|number| u8::try_from(number).ok()).filter(|score| *score <= 100).ok_or(FilterError::MinScore)
}

fn institution(id: &str) -> Result<String, FilterError> {
    let good = id.len() <= MAX_ID_BYTES && is_id(id.as_bytes());
    if good { Ok(id.to_owned()) } else { Err(FilterError::Institution) }
}

/// The phone as written, or else as a query may have left it.
fn phone(text: &str, written: &str, calling_code: &str) -> Result<Phone, FilterError> {
    let read = Phone::parse(written, calling_code).or_else(|_| Phone::parse(text, calling_code));
    read.map_err(|error| match error {
        PhoneError::Masked => FilterError::MaskedPhone,
        PhoneError::Malformed => FilterError::Phone,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        for (name, value) in pairs {
            assert!(filter.parameter(name, value, "254")?, "{name} is a filter");
        }
        Ok(filter)
    }

    fn frame(value: Value) -> Result<Filter, FilterError> {
        Filter::from_frame(value.as_object().expect("an object"), "254")
    }

    fn tags() -> Tags {
        Tags {
            level: Some(RiskLevel::High),
            score: Some(78),
            institution: Some(Box::from("bank-a")),
            phone: Phone::parse("+254712345678", "254").ok(),
            ..Tags::default()
        }
    }

    #[test]
    fn a_query_and_a_frame_say_the_same() {
        let asked = query(&[
            ("level", "high"),
            ("level", "CRITICAL,HIGH"),
            ("min_score", "70"),
            ("institution", "bank-a"),
            ("phone", "0712345678"),
        ]);
        let framed = frame(json!({"level": ["HIGH", "critical"], "min_score": 70, "institution": "bank-a",
            "phone": "+254712345678"}));
        assert_eq!(asked, framed);
        let shown = serde_json::to_value(asked.expect("a filter")).expect("JSON");
        let again = frame(shown.clone()).expect("what hello shows is a filter");
        assert_eq!(serde_json::to_value(again).expect("JSON"), shown);
        assert_eq!(query(&[("phone", " 254712345678")]), query(&[("phone", "+254712345678")]), "an unescaped plus");
        assert_eq!(query(&[("level", ""), ("phone", "")]), Ok(Filter::default()));
    }

    #[test]
    fn each_filter_lets_the_verdict_through_or_not() {
        for (fields, wanted) in [
            (json!({}), true),
            (json!({"level": "HIGH"}), true),
            (json!({"level": ["LOW", "CRITICAL"]}), false),
            (json!({"min_score": 78}), true),
            (json!({"min_score": 79}), false),
            (json!({"institution": "bank-a"}), true),
            (json!({"institution": "bank-b"}), false),
            (json!({"phone": "0712345678"}), true),
            (json!({"phone": "0712345679"}), false),
            (json!({"phone": "0712345678", "min_score": 90}), false),
        ] {
            assert_eq!(frame(fields.clone()).expect("a filter").wants(&tags()), wanted, "{fields}");
        }
        let invalid = Tags::default();
        assert!(Filter::default().wants(&invalid));
        assert!(!frame(json!({"min_score": 0})).expect("a filter").wants(&invalid), "no score is below every score");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_field_and_never_shows_a_phone() {
        for (fields, word) in [
            (json!({"level": "SEVERE"}), "level:"),
            (json!({"level": 3}), "level:"),
            (json!({"level": [3]}), "level:"),
            (json!({"min_score": 101}), "min_score:"),
            (json!({"min_score": -1}), "min_score:"),
            (json!({"min_score": "70"}), "min_score:"),
            (json!({"institution": ""}), "institution:"),
            (json!({"institution": "a b"}), "institution:"),
            (json!({"phone": "+2547****9999"}), "phone:"),
            (json!({"phone": "9999"}), "phone:"),
            (json!({"phone": 254700009999_u64}), "phone:"),
            (json!({"colour": "red"}), "colour"),
        ] {
            let error = frame(fields.clone()).expect_err("must be refused").to_string();
            assert!(error.contains(word), "{fields}: {error}");
            assert!(!error.contains("9999"), "{error}");
        }
        assert_eq!(query(&[("min_score", "high")]), Err(FilterError::MinScore));
        assert_eq!(Filter::default().parameter("cursor", "x", "254"), Ok(false));
    }

    #[test]
    fn only_levels_say_that_nothing_but_alerts_is_wanted() {
        assert!(frame(json!({"level": ["HIGH", "CRITICAL"], "min_score": 1})).expect("a filter").is_alerts_only());
        assert!(!frame(json!({"level": ["HIGH", "LOW"]})).expect("a filter").is_alerts_only());
        assert!(!frame(json!({"min_score": 99})).expect("a filter").is_alerts_only());
    }
}
