//! `sentra migrate`: brings the database to this program's schema.

use super::{CliError, Globals, Out};
use crate::store::{
    Database, StoreError,
    migrate::{Action, Mode, Step, migrate},
};

/// Brings the database of sink.database_url to this program's schema: roles, tables, grants, the next days' partitions.
/// Doing it again changes nothing; several at once wait for each other.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print what would be done; changes nothing.
    #[arg(long)]
    plan: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let Some(url) = &config.sink.database_url else {
            let what = "sink.database_url is not set: give it, or DATABASE_URL, as postgres://user:password@host:5432/database";
            return Err(CliError::Failed(String::from(what)));
        };
        let (mode, made) = if self.plan { (Mode::Plan, "would make") } else { (Mode::Apply, "made") };
        let work = async { migrate(&Database::new(url)?, mode, config.sink.days).await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let steps = runtime.block_on(work).map_err(|error: StoreError| CliError::failed(error))?;
        let mut out = Out::stdout();
        if self.json {
            out.json(&steps)?;
            return out.finish();
        }
        for Step { what, action } in &steps {
            match action {
                Action::Make => out.line(format!("{what}: {made}"))?,
                Action::Right => out.line(format!("{what}: already right"))?,
                Action::Skip { why } => out.line(format!("{what}: left out, {why}"))?,
            }
        }
        out.finish()
    }
}
