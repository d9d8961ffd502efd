//! `sentra run`: the roles of the line, until a signal.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{CliError, Globals};
use crate::{
    app::{self, Role},
    telemetry::init_log,
};

/// Runs roles of the line until SIGTERM or SIGINT; a second signal ends at once.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which roles.
    #[arg(long, value_delimiter = ',', default_value = "score,sink,serve", value_parser = role_parser())]
    pub roles: Vec<Role>,
}

/// Exit code after a second signal, as a shell gives it for SIGTERM.
const EXIT_AT_ONCE: i32 = 143;

impl Args {
    /// Runs to the end.
    ///
    /// # Errors
    /// Configuration, model, listener, topics or a shard failed.
    pub fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        init_log(&config.telemetry).map_err(CliError::failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&stop)?;
        app::run(config, &self.roles, &stop).map_err(|error| match error.is_configuration() {
            true => CliError::Settings(error.to_string()),
            false => CliError::failed(error),
        })
    }
}

/// The roles by name; clap lists them in the help and in its errors.
fn role_parser() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.as_str()))
        .map(|name| Role::from_wire(&name).expect("only the roles' own names pass"))
}

/// The first SIGTERM or SIGINT asks for an ordered stop, the second ends the process.
pub(super) fn watch_signals(stop: &Arc<AtomicBool>) -> Result<(), CliError> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return tracing::error!("signals cannot be watched; only SIGKILL ends this process");
        };
        loop {
            tokio::select! {
                biased;
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                process::exit(EXIT_AT_ONCE);
            }
            tracing::info!("stopping: in-flight work is finished first; a second signal ends at once");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}
