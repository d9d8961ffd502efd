//! `sentra topics plan|apply|check`.

use clap::Subcommand;

use super::{CliError, Globals, Out};
use crate::kafka::topics::{
    self,
    judge::{Finding, Severity},
    plan::{Action, Step},
};

/// Arguments of `sentra topics`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Print what apply would do; changes nothing.
    Plan(Shape),
    /// Create the topics that are missing; those that exist stay as they are.
    Apply(Shape),
    /// Say what is wrong with the topics, one reason a line; exit code 1 if anything would break a promise.
    Check(Shape),
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct Shape {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        match self.what {
            What::Plan(shape) => {
                print_steps(&topics::planned(&config).map_err(CliError::failed)?, "would create", shape)
            }
            What::Apply(shape) => print_steps(&topics::apply(&config).map_err(CliError::failed)?, "created", shape),
            What::Check(shape) => print_findings(&topics::check(&config).map_err(CliError::failed)?, shape),
        }
    }
}

fn print_steps(steps: &[Step], create: &str, shape: Shape) -> Result<(), CliError> {
    let mut out = Out::stdout();
    if shape.json {
        out.json(&steps)?;
        return out.finish();
    }
    for Step { topic, action, .. } in steps {
        match action {
            Action::Create(new) => {
                let settings: Vec<_> = new.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
                out.line(format!(
                    "{topic}: {create}, {} partitions, {} copies, {}",
                    new.partitions,
                    new.replication,
                    settings.join(" ")
                ))?;
            }
            Action::Right => out.line(format!("{topic}: already right"))?,
            Action::Differs { differences } => {
                for difference in differences {
                    out.line(format!("{topic}: differs, left as it is: {difference}"))?;
                }
            }
            Action::Hidden => out.line(format!("{topic}: this user may not see it: grant it Describe on the topic"))?,
        }
    }
    out.finish()
}

fn print_findings(findings: &[Finding], shape: Shape) -> Result<(), CliError> {
    let mut out = Out::stdout();
    if shape.json {
        out.json(&findings)?;
    } else {
        for Finding { severity, topic, text } in findings {
            out.line(format!("{}: {topic}: {text}", word(*severity)))?;
        }
        if findings.iter().all(|found| found.severity == Severity::Note) {
            out.line("ok: the topics keep Sentra's promises")?;
        }
    }
    out.finish()?;
    if findings.iter().any(|found| found.severity == Severity::Fail) { Err(CliError::No) } else { Ok(()) }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warn => "warn",
        Severity::Fail => "fail",
    }
}
