//! `sentra doctor`: one line a part, whether it is well, and what to do where it is not.

use super::{CliError, Globals, Out};
use crate::doctor::{Health, Line, examine};

/// Arguments of `sentra doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let lines = examine(&globals.load()?);
        let mut out = Out::stdout();
        if self.json {
            out.json(&lines)?;
        } else {
            for Line { health, part, text } in &lines {
                let word = match health {
                    Health::Ok => "ok",
                    Health::Warn => "warn",
                    Health::Fail => "fail",
                };
                out.line(format!("{word:<4} {part}: {text}"))?;
            }
        }
        out.finish()?;
        if lines.iter().any(|line| line.health == Health::Fail) { Err(CliError::No) } else { Ok(()) }
    }
}
