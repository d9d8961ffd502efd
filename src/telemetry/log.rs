//! Log lines on stderr: JSON for machines, pretty for people, by one filter.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, TelemetryConfig};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("telemetry.log: the filter cannot be read ({0}); use a level such as info")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else already logs.
    #[error("logging was already set up in this process")]
    Twice,
}

/// Sets up logging for the whole process, once.
///
/// # Errors
/// A malformed filter, or a second call.
pub fn init_log(config: &TelemetryConfig) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(&config.log)?;
    let on_terminal = std::io::stderr().is_terminal();
    let pretty = match config.format {
        LogFormat::Auto => on_terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = if pretty {
        lines.with_ansi(on_terminal).with_target(false).compact().try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    set.map_err(|_| LogError::Twice)
}
