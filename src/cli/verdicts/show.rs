//! A verdict for people, on one line, and the filters. It reads what it knows of a verdict and tolerates the rest:
//! `--json` prints records whole.

use std::{borrow::Cow, fmt::Write as _};

use serde::Deserialize;

/// What is shown and filtered by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shown<'a> {
    #[serde(borrow)]
    transaction_id: Option<Cow<'a, str>>,
    risk_score: Option<u8>,
    #[serde(borrow)]
    risk_level: Option<Cow<'a, str>>,
    #[serde(borrow)]
    recommendation: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    phone_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    institution_id: Option<Cow<'a, str>>,
    amount: Option<serde_json::Number>,
    #[serde(borrow)]
    currency: Option<Cow<'a, str>>,
    #[serde(borrow)]
    decided_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasons: Vec<Reason<'a>>,
    flags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// Which verdicts are printed; the others are read and counted all the same.
#[derive(clap::Args, Debug, Default)]
pub struct Filters {
    /// Only this risk level; may be repeated.
    #[arg(long, value_name = "LEVEL", ignore_case = true, value_parser = ["LOW", "MEDIUM", "HIGH", "CRITICAL"])]
    level: Vec<String>,
    /// Only scores of at least this much.
    #[arg(long, value_name = "SCORE", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_score: Option<u8>,
    /// Only this kind of verdict; may be repeated.
    #[arg(long, value_parser = ["scored", "late", "conflict", "duplicate", "invalid"])]
    kind: Vec<String>,
    /// Only this institution's.
    #[arg(long, value_name = "ID")]
    institution: Option<String>,
    /// Only this phone's, as verdicts spell it: +254712345678.
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// Only this partition's.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

impl Filters {
    /// Whether the verdict is wanted.
    pub fn want(&self, partition: i32, verdict: &Shown<'_>) -> bool {
        let one_of = |wanted: &[String], has: &Option<Cow<'_, str>>| {
            wanted.is_empty()
                || has.as_deref().is_some_and(|has| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(has)))
        };
        let equal = |wanted: &Option<String>, has: &Option<Cow<'_, str>>| {
            wanted.is_none() || wanted.as_deref() == has.as_deref()
        };
        one_of(&self.level, &verdict.risk_level)
            && one_of(&self.kind, &verdict.kind)
            && equal(&self.institution, &verdict.institution_id)
            && equal(&self.phone, &verdict.phone_number)
            && self.min_score.is_none_or(|least| verdict.scores_at_least(least))
            && self.partition.is_none_or(|wanted| wanted == partition)
    }
}

impl<'a> Shown<'a> {
    /// Reads what it knows of a verdict; nothing of one whose shape is unknown.
    pub fn parse(value: &'a [u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }

    /// Whether it has a score, and one of at least this much.
    pub fn scores_at_least(&self, least: u8) -> bool {
        self.risk_score.is_some_and(|score| score >= least)
    }

    /// The line, with colours where they are wanted.
    pub fn line(&self, coloured: bool) -> String {
        fn text<'t>(field: &'t Option<Cow<'_, str>>) -> &'t str {
            field.as_deref().unwrap_or("-")
        }
        let level = text(&self.risk_level);
        let (on, off) = if coloured { (colour(level), "\x1b[0m") } else { ("", "") };
        let score = self.risk_score.map_or(String::from("-"), |score| score.to_string());
        let amount = self.amount.as_ref().map_or(String::from("-"), ToString::to_string);
        let mut line = format!(
            "{} {on}{score:>3} {level:<8} {:<7}{off} {:<9} {} {amount:>10} {:<3} {} {} {}",
            text(&self.decided_at),
            text(&self.recommendation),
            text(&self.kind),
            text(&self.phone_number),
            text(&self.currency),
            text(&self.institution_id),
            text(&self.transaction_id),
            text(&self.verdict_id),
        );
        for reason in &self.reasons {
            // Writing into a String cannot fail.
            let _ = write!(line, " {}", reason.code);
        }
        for flag in &self.flags {
            let _ = write!(line, " [{flag}]");
        }
        plain(&line, coloured)
    }
}

/// Without control characters that a record might carry into a terminal, our own colours aside.
fn plain(line: &str, coloured: bool) -> String {
    let mut rest = line;
    let mut out = String::with_capacity(line.len());
    while let Some(next) = rest.chars().next() {
        let own = COLOURS.iter().chain(&["\x1b[0m"]).find(|code| coloured && rest.starts_with(**code));
        let length = own.map_or(next.len_utf8(), |code| code.len());
        match own {
            Some(code) => out.push_str(code),
            None => out.push(if next.is_control() { '?' } else { next }),
        }
        rest = &rest[length..];
    }
    out
}

const COLOURS: [&str; 4] = ["\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[32m"];

fn colour(level: &str) -> &'static str {
    match level {
        "CRITICAL" => COLOURS[0],
        "HIGH" => COLOURS[1],
        "MEDIUM" => COLOURS[2],
        _ => COLOURS[3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICT: &str = r#"{"transaction_id":"T1","risk_score":78,"risk_level":"HIGH","recommendation":"FLAG",
        "verdict_id":"7f3a9c01-3-181","kind":"scored","reasons":[{"code":"VELOCITY_5M"}],"phone_number":"+254712345678",
        "institution_id":"bank\u001b[2J","amount":50000.00,"currency":"KES","decided_at":"now","flags":["warming"]}"#;

    #[test]
    fn a_line_holds_the_decision_and_no_control_characters_of_the_record() {
        let shown = Shown::parse(VERDICT.as_bytes());
        let line = shown.line(false);
        for part in
            [" 78 HIGH", "FLAG", "+254712345678", "KES", "VELOCITY_5M", "[warming]", "7f3a9c01-3-181", "bank?[2J"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains('\x1b'), "{line:?}");
        assert_eq!(shown.line(true).matches('\x1b').count(), 2);
    }

    #[test]
    fn each_filter_lets_the_verdict_through_or_not() {
        let shown = Shown::parse(VERDICT.as_bytes());
        let some = |text: &str| vec![String::from(text)];
        let none = Filters::default;
        for (filters, wanted) in [
            (none(), true),
            (Filters { level: some("high"), ..none() }, true),
            (Filters { level: some("LOW"), ..none() }, false),
            (Filters { min_score: Some(78), ..none() }, true),
            (Filters { min_score: Some(79), ..none() }, false),
            (Filters { kind: some("scored"), ..none() }, true),
            (Filters { kind: some("late"), ..none() }, false),
            (Filters { phone: Some(String::from("+254712345678")), ..none() }, true),
            (Filters { phone: Some(String::from("+254")), ..none() }, false),
            (Filters { institution: Some(String::from("other")), ..none() }, false),
            (Filters { partition: Some(3), ..none() }, true),
            (Filters { partition: Some(4), ..none() }, false),
        ] {
            assert_eq!(filters.want(3, &shown), wanted, "{filters:?}");
        }
    }
}
