//! Standard output, buffered, for data only. A reader that closes the pipe ends the command quietly.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::CliError;

/// Standard output, locked and buffered; [`Out::finish`] must end it, or the tail may be lost.
pub struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    /// Takes standard output.
    pub fn stdout() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Whether what goes there may be coloured: to a terminal, unless NO_COLOR is set.
    pub fn is_coloured() -> bool {
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    }

    /// Writes a text as it is.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn text(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        Ok(self.0.write_all(text.as_ref().as_bytes())?)
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), CliError> {
        self.text(line)?;
        self.text("\n")
    }

    /// Writes bytes as they are, as one line.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.0.write_all(bytes)?;
        self.text("\n")
    }

    /// Writes a value as indented JSON and a newline.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.0, value).map_err(io::Error::from)?;
        self.text("\n")
    }

    /// Hands on what is buffered, for output that is watched live.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.0.flush()?)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The pipe is closed or the disk full.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.flush()
    }
}
