//! `sentra config check|show|schema`: what is configured, from where, and what could be.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{CliError, Globals, Out};
use crate::config::{ConfigErrors, Settings, render};

/// Arguments of `sentra config`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = render::help())]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read every source and tell all problems; exit code 78 if there are any.
    Check {
        /// Problems as JSON on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Print every setting, its value and where it came from; secrets are masked.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Describe every setting: JSON Schema of the file, or a commented sample.
    Schema {
        /// What to print.
        #[arg(long = "as", value_enum, default_value = "json")]
        form: Form,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// JSON Schema 2020-12 of sentra.toml.
    Json,
    /// A commented sentra.toml.
    Toml,
    /// A commented .env.
    Env,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let mut out = Out::stdout();
        match self.action {
            Action::Check { json } => check(Settings::load(&globals.inputs()), json, &mut out)?,
            Action::Show { json } => {
                let settings = Settings::load(&globals.inputs())?;
                if json { out.json(&render::show_json(&settings)) } else { out.text(render::show_text(&settings)) }?;
            }
            Action::Schema { form: Form::Json } => out.json(&render::schema())?,
            Action::Schema { form: Form::Toml } => out.text(render::sample_toml())?,
            Action::Schema { form: Form::Env } => out.text(render::sample_env())?,
        }
        out.finish()
    }
}

fn check(loaded: Result<Settings, ConfigErrors>, as_json: bool, out: &mut Out) -> Result<(), CliError> {
    if as_json {
        let problems = loaded.as_ref().err().map_or(&[][..], |errors| errors.0.as_slice());
        let rows = problems.iter().map(|p| json!({"key": p.key, "source": p.source.to_string(), "problem": p.what}));
        out.json(&json!({"ok": problems.is_empty(), "problems": rows.collect::<Vec<_>>()}))?;
        out.flush()?;
    }
    loaded?;
    if as_json { Ok(()) } else { out.line("the configuration is valid") }
}
