//! How a command ends when it does not end well: what is printed, and the exit code.

use std::{io, process::ExitCode};

use crate::config::{ConfigErrors, EXIT_CONFIG};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong; exit code 78, one line a problem.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The configuration is wrong in a way that only the cluster shows; exit code 78.
    #[error("{0}")]
    Settings(String),
    /// Standard output cannot be written; a reader that has seen enough (`| head`) is no failure.
    #[error("standard output cannot be written: {0}")]
    Stdout(#[from] io::Error),
    /// Wrong usage that clap cannot see, such as two values that exclude each other; exit code 2.
    #[error("{0}; see --help")]
    Usage(String),
    /// Anything else; exit code 1. The text names the setting or thing and the way out.
    #[error("{0}")]
    Failed(String),
    /// The command did its work and the answer is no (a failed check); the reasons are already printed.
    #[error("")]
    No,
}

/// The exit code of wrong usage, as clap's own.
const EXIT_USAGE: u8 = 2;

impl CliError {
    /// Wraps any error as the command's failure.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// Prints the error to stderr, each line prefixed, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::No) && !self.is_closed_pipe() {
            for line in self.to_string().lines() {
                eprintln!("sentra: {line}");
            }
        }
        ExitCode::from(self.code())
    }

    /// 1, 2 for wrong usage, 78 for the configuration; 0 where the reader of a pipe simply left.
    pub fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Settings(_) => EXIT_CONFIG,
            Self::Usage(_) => EXIT_USAGE,
            Self::Stdout(_) if self.is_closed_pipe() => 0,
            Self::Stdout(_) | Self::Failed(_) | Self::No => 1,
        }
    }

    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
