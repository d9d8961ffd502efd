//! What is wrong with a configuration: a list of problems, each one line that names setting, source and way out.

use std::fmt;

use super::settings::Source;

/// The exit code of a process that was configured wrongly (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// One problem; prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting or property at fault; empty where the whole source is.
    pub key: String,
    /// Where it was given.
    pub source: Source,
    /// What is wrong and the way out; never a secret.
    pub what: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, source: Source, what: impl Into<String>) -> Self {
        Self { key: key.into(), source, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.replace(['\n', '\r'], " ");
        if self.key.is_empty() {
            write!(f, "{}: {what}", self.source)
        } else {
            write!(f, "{} ({}): {what}", self.key, self.source)
        }
    }
}

/// All problems of a configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
