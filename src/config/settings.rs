//! Every setting with its value and source: layers are applied in rising order, and what is wrong in any of them
//! is collected, not thrown. Not yet a [`Config`](super::Config): limits between settings are judged in `build`.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{
    error::{ConfigErrors, Problem},
    file::{self, read_bounded},
    inputs::{DEFAULT_FILE, FILE_VARIABLE, Inputs},
    properties::{self, Property},
    secret::Secret,
    table::{Id, PREFIX, PROPERTIES, TABLE},
    value::{Shape, Value},
};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table.
    Default,
    /// A line of the configuration file; line 0 is the file as a whole.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable.
    Variable(String),
    /// `--set`.
    CommandLine,
}

/// One value as a source gave it, not yet judged.
#[derive(Clone)]
pub(super) struct Given {
    /// `section.name`, in lower case.
    pub key: String,
    pub text: String,
    pub shape: Shape,
    pub source: Source,
}

/// A setting's present value.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// `None` is unset.
    pub value: Option<Value>,
    /// Where it came from.
    pub source: Source,
    /// Whether a source gave something unusable, so that the value is not what was meant.
    pub(super) failed: bool,
}

/// Every setting with its value and source.
#[derive(Clone, Debug)]
pub struct Settings {
    resolved: Vec<Resolved>,
    properties: BTreeMap<String, Property>,
    problems: Vec<Problem>,
}

/// The longest secret read from a file, in bytes: a key chain fits, a wrong path to something big does not.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// How alike two names must be for the one to be suggested for the other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

impl Settings {
    /// Reads every source.
    ///
    /// # Errors
    /// Everything that is wrong in any source, and between settings.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigErrors> {
        let mut settings = Self::defaults();
        for layer in layers(inputs, &mut settings.problems) {
            settings.apply(layer);
        }
        let between = super::build::conflicts(&settings);
        settings.problems.extend(between);
        match settings.problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigErrors(settings.problems)),
        }
    }

    /// The table's defaults alone.
    pub fn defaults() -> Self {
        let resolved = TABLE.iter().map(|setting| {
            // A test holds every default to its kind.
            let value = setting.default.and_then(|text| setting.kind.parse(text, Shape::Untyped).ok());
            Resolved { value, source: Source::Default, failed: false }
        });
        Self { resolved: resolved.collect(), properties: BTreeMap::new(), problems: Vec::new() }
    }

    /// A setting's value and source.
    pub fn get(&self, id: Id) -> &Resolved {
        &self.resolved[id.0]
    }

    /// The raw librdkafka properties, by name.
    pub fn properties(&self) -> &BTreeMap<String, Property> {
        &self.properties
    }

    /// One layer: a setting may stand in it once, under whichever of its names.
    fn apply(&mut self, layer: Layer) {
        let mut seen: BTreeMap<String, Source> = BTreeMap::new();
        for given in layer.givens {
            let Some((target, given)) = self.target(given) else { continue };
            let name = target.to_string();
            match seen.get(&name) {
                Some(earlier) if layer.once => {
                    let what = format!("is given twice, also by {earlier}; keep one of them");
                    self.problems.push(Problem::new(name, given.source, what));
                    continue;
                }
                _ => seen.insert(name, given.source.clone()),
            };
            match target {
                Target::Setting(id) => self.set(id, given),
                Target::Property(name) => match properties::check(&name, &given) {
                    Ok(property) => drop(self.properties.insert(name, property)),
                    Err(what) => self.problems.push(Problem::new(target_key(&name), given.source, what)),
                },
            }
        }
    }

    /// What a given value is for; a `_file` is read here. `None` where it is for nothing, which is then a problem.
    fn target(&mut self, given: Given) -> Option<(Target, Given)> {
        let prefix =
            |rest: &str| rest.strip_prefix(PROPERTIES).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned);
        let (target, from_file) = if let Some(name) = prefix(&given.key) {
            match properties::secret_file_of(&name) {
                Some(secret) => (Target::Property(secret.to_owned()), true),
                None => (Target::Property(name), false),
            }
        } else if let Some(id) = Id::find(&given.key) {
            (Target::Setting(id), false)
        } else if let Some(id) =
            given.key.strip_suffix("_file").and_then(Id::find).filter(|id| id.setting().is_secret())
        {
            (Target::Setting(id), true)
        } else {
            self.problems.push(Problem::new(&given.key, given.source.clone(), unknown(&given)));
            return None;
        };
        if !from_file {
            return Some((target, given));
        }
        match read_bounded(given.text.as_ref(), MAX_SECRET_BYTES) {
            // Editors and `echo` end files with a newline that is no part of the secret.
            Ok(text) => {
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                Some((target, Given { text, shape: Shape::Untyped, ..given }))
            }
            Err(why) => {
                let what = format!("the file {:?} {why}; write the secret there or correct the path", given.text);
                self.problems.push(Problem::new(given.key, given.source, what));
                None
            }
        }
    }

    fn set(&mut self, id: Id, given: Given) {
        let setting = id.setting();
        let slot = &mut self.resolved[id.0];
        if setting.is_secret() && given.source == Source::CommandLine && !given.key.ends_with("_file") {
            let what = format!("a secret on the command line is seen by every user; use {}_FILE", setting.variable());
            self.problems.push(Problem::new(setting.key, given.source, what));
            return;
        }
        match setting.kind.parse(&given.text, given.shape) {
            Ok(value) => *slot = Resolved { value: Some(value), source: given.source, failed: false },
            Err(what) => {
                slot.failed = true;
                self.problems.push(Problem::new(setting.key, given.source, what));
            }
        }
    }
}

/// What a given value is for.
enum Target {
    Setting(Id),
    Property(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(id) => f.write_str(id.setting().key),
            Self::Property(name) => f.write_str(&target_key(name)),
        }
    }
}

/// A property as a key.
pub(super) fn target_key(name: &str) -> String {
    format!("{PROPERTIES}.{name}")
}

/// The values of one rank.
struct Layer {
    givens: Vec<Given>,
    /// Whether a setting may be given only once in it; on the command line the last one wins.
    once: bool,
}

fn layers(inputs: &Inputs, problems: &mut Vec<Problem>) -> [Layer; 4] {
    let (familiar, own) = variables(inputs, problems);
    let layer = |givens, once| Layer { givens, once };
    [
        layer(from_file(inputs, problems), true),
        layer(familiar, true),
        layer(own, true),
        layer(command_line(inputs, problems), false),
    ]
}

fn from_file(inputs: &Inputs, problems: &mut Vec<Problem>) -> Vec<Given> {
    let named = inputs
        .file
        .clone()
        .or_else(|| inputs.variables.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let path = match named {
        Some(path) => path,
        None => {
            let path = if inputs.folder.as_os_str() == "." {
                PathBuf::from(DEFAULT_FILE)
            } else {
                inputs.folder.join(DEFAULT_FILE)
            };
            if !path.exists() {
                return Vec::new();
            }
            path
        }
    };
    file::read(&path).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    })
}

/// The familiar variables, and Sentra's own; an empty one counts as unset, as compose files leave them.
fn variables(inputs: &Inputs, problems: &mut Vec<Problem>) -> (Vec<Given>, Vec<Given>) {
    let (mut familiar, mut own) = (Vec::new(), Vec::new());
    for (name, value) in inputs.variables.iter().filter(|(_, value)| !value.is_empty()) {
        let source = Source::Variable(name.clone());
        let (key, layer) = match (name.strip_prefix(PREFIX), familiar_key(name)) {
            (Some(rest), _) => (own_key(rest), &mut own),
            (None, Some(key)) => (key, &mut familiar),
            (None, None) => {
                if let Some(id) = misspelt(name) {
                    let what = format!("is not read; did you mean {}?", id.setting().variable());
                    problems.push(Problem::new("", source, what));
                }
                continue;
            }
        };
        match value.to_str() {
            Some(text) => layer.push(Given { key, text: text.to_owned(), shape: Shape::Untyped, source }),
            None => problems.push(Problem::new(key, source, "is not UTF-8; write it again")),
        }
    }
    (familiar, own)
}

/// `DATABASE_URL` → `sink.database_url`; `DATABASE_URL_FILE` → `sink.database_url_file`.
fn familiar_key(name: &str) -> Option<String> {
    TABLE.iter().find_map(|setting| {
        let alias = setting.alias?;
        match name.strip_prefix(alias)? {
            "" => Some(setting.key.to_owned()),
            "_FILE" if setting.is_secret() => Some(format!("{}_file", setting.key)),
            _ => None,
        }
    })
}

/// `KAFKA__PROPERTIES__SECURITY_PROTOCOL` → `kafka.properties.security.protocol`, else `A__B_C` → `a.b_c`.
fn own_key(rest: &str) -> String {
    let key = rest.to_lowercase().replace("__", ".");
    match key.strip_prefix(PROPERTIES) {
        Some(name) if name.starts_with('.') => format!("{PROPERTIES}{}", name.replace('_', ".")),
        _ => key,
    }
}

/// `SENTRA_SCORE_SHARDS`: a setting's name with the wrong number of underscores.
fn misspelt(name: &str) -> Option<Id> {
    let single = |text: &str| text.to_uppercase().replace("__", "_");
    (name.starts_with("SENTRA_") && name != FILE_VARIABLE)
        .then(|| Id::all().find(|id| single(&id.setting().variable()) == single(name)))
        .flatten()
}

fn command_line(inputs: &Inputs, problems: &mut Vec<Problem>) -> Vec<Given> {
    let mut givens = Vec::new();
    for pair in &inputs.set {
        match pair.split_once('=') {
            Some((key, text)) => {
                let (key, text) = (key.trim().to_owned(), text.to_owned());
                givens.push(Given { key, text, shape: Shape::Untyped, source: Source::CommandLine });
            }
            None => problems.push(Problem::new("", Source::CommandLine, "--set wants section.name=value")),
        }
    }
    givens
}

/// The sentence for a key that is nothing, with what may have been meant.
fn unknown(given: &Given) -> String {
    let key = given.key.as_str();
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    if TABLE.iter().any(|setting| setting.split().0 == key) || key == PROPERTIES {
        return format!("is a section, not a setting; write [{key}] and its settings below");
    }
    let by_name = TABLE.iter().find(|setting| setting.key.contains('.') && last(setting.key) == last(key));
    let by_look = || {
        let ranked = TABLE.iter().map(|setting| (strsim::jaro_winkler(setting.key, key), setting));
        ranked.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, setting)| setting)
    };
    match by_name.or_else(by_look) {
        Some(setting) if matches!(given.source, Source::Variable(_)) => {
            format!("is no setting; did you mean {}?", setting.variable())
        }
        Some(setting) => format!("is no setting; did you mean {}?", setting.key),
        None => String::from("is no setting; `sentra config schema` lists all of them"),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "file {}", path.display()),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

impl Resolved {
    /// Whether the value is set at all.
    pub fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The secret, where it is one.
    pub(super) fn secret(&self) -> Option<&Secret> {
        match &self.value {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }
}
