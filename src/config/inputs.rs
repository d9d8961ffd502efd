//! What configuration is read from, taken from the process once, so that tests can give their own.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// Everything configuration is read from, besides the files it names.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--config`: the file to read; it must exist.
    pub file: Option<PathBuf>,
    /// `--set key=value`, in order; the last one of a key wins.
    pub set: Vec<String>,
    /// The process's variables.
    pub variables: BTreeMap<String, OsString>,
    /// The folder where `sentra.toml` is looked for when no file is named.
    pub folder: PathBuf,
}

/// The variable that names the file where `--config` does not.
pub const FILE_VARIABLE: &str = "SENTRA_CONFIG";

/// The file read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "sentra.toml";

impl Inputs {
    /// The process's variables and folder, with what the command line says.
    pub fn from_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        // A name that is not UTF-8 can be none of ours.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Self { file, set, variables, folder: PathBuf::from(".") }
    }
}
