//! `sentra leave`: removes a process's static members from the scoring group before their session ends.

use super::{CliError, Globals, Out};
use crate::kafka::group;

/// Removes a process's static members from the group of this configuration; prints their names.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The process's score.instance; one that still runs under this name is fenced, and ends.
    #[arg(long, value_name = "NAME")]
    instance: String,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let mut out = Out::stdout();
        for name in group::leave(&config, &self.instance).map_err(CliError::failed)? {
            out.line(name)?;
        }
        out.finish()?;
        Ok(())
    }
}
