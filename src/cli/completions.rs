//! `sentra completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, Out};

/// Arguments of `sentra completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell to complete in.
    shell: Shell,
}

impl Args {
    pub(super) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sentra", &mut script);
        let mut out = Out::stdout();
        out.text(String::from_utf8_lossy(&script))?;
        out.finish()
    }
}
