//! The TOML file as a flat list of `section.name` and value, each with its line. Not a judge of names: that is
//! `settings`. A syntax error is told by line and column only, since the line itself may hold a secret.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{
    error::Problem,
    settings::{Given, Source},
    table::{Id, PROPERTIES, TABLE},
    value::Shape,
};

/// The greatest file read, in bytes: far above any configuration, far below what hurts.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the file into the list.
///
/// # Errors
/// The file cannot be read, or each place where it is not TOML.
pub(super) fn read(path: &Path) -> Result<Vec<Given>, Vec<Problem>> {
    let source = |line| Source::File { path: path.to_owned(), line };
    let problem = |line, what: String| Problem::new("", source(line), what);
    let text = read_bounded(path, MAX_FILE_BYTES)
        .map_err(|what| vec![problem(0, format!("{what}; name a readable file with --config or SENTRA_CONFIG"))])?;
    let lines = Lines::of(&text);
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let line = |error: &toml::de::Error| error.span().map_or(0, |span| lines.line(span.start));
        return Err(errors
            .iter()
            .map(|error| problem(line(error), format!("is not TOML: {}", error.message())))
            .collect());
    }
    let mut flat = Flat { source: &source, lines: &lines, givens: Vec::new() };
    flat.walk("", table.get_ref());
    Ok(flat.givens)
}

/// A whole file as text, if it is no longer than `limit` bytes.
///
/// # Errors
/// Why not, in words; never what it holds.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read ({error})"))?;
    let mut text = String::new();
    match file.take(limit + 1).read_to_string(&mut text) {
        Ok(bytes) if bytes as u64 > limit => Err(format!("is longer than {limit} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read ({error})")),
    }
}

struct Flat<'a> {
    source: &'a dyn Fn(usize) -> Source,
    lines: &'a Lines,
    givens: Vec<Given>,
}

impl Flat<'_> {
    /// Descends where the path is a section (or inside the table of properties); all else is a leaf.
    fn walk(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
            match value.get_ref() {
                DeValue::Table(inner) if is_section(&key) => self.walk(&key, inner),
                leaf => {
                    let (text, shape) = leaf_text(leaf);
                    let source = (self.source)(self.lines.line(name.span().start));
                    self.givens.push(Given { key, text, shape, source });
                }
            }
        }
    }
}

fn is_section(key: &str) -> bool {
    key == PROPERTIES
        || key.strip_prefix(PROPERTIES).is_some_and(|rest| rest.starts_with('.'))
        || (Id::find(key).is_none() && TABLE.iter().any(|setting| setting.split().0 == key))
}

fn leaf_text(value: &DeValue<'_>) -> (String, Shape) {
    match value {
        DeValue::String(text) => (text.to_string(), Shape::Text),
        DeValue::Boolean(yes) => (yes.to_string(), Shape::Bool),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => (number.to_string(), Shape::Int),
            Err(_) => (number.as_str().to_owned(), Shape::Int),
        },
        DeValue::Float(_) => (String::new(), Shape::Other("a fraction")),
        DeValue::Datetime(_) => (String::new(), Shape::Other("a date")),
        DeValue::Array(_) => (String::new(), Shape::Other("a list")),
        DeValue::Table(_) => (String::new(), Shape::Other("a table")),
    }
}

/// Where each line begins, to name an offset's line.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}
