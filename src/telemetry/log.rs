//! Log lines on stderr: JSON for machines, pretty for people, by one filter.
//!
//! Invariant: whatever the filter says, libraries tell nothing below info. Their finer lines hold what passes through
//! them: parameters of statements, frames, headers, and so phone numbers and tokens. Ours are written not to.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::panics::tell_panics_by_place;
use crate::config::{LogFormat, TelemetryConfig};

/// Whose debug and trace lines are known to hold no data: our own, and the Kafka client's, which tells of bytes' sizes.
const OURS: [&str; 3] = ["sentra", "librdkafka", "rdkafka"];

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

/// Sets up logging for the whole process, once; panics are lines of it from then on.
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
        lines.with_ansi(on_terminal).with_target(false).compact().finish().with(filter_fn(may_be_told)).try_init()
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        lines.finish().with(filter_fn(may_be_told)).try_init()
    };
    set.map_err(|_| LogError::Twice)?;
    tell_panics_by_place();
    Ok(())
}

/// Whether a line of that origin and level may be told at all.
fn may_be_told(line: &Metadata<'_>) -> bool {
    let target = line.target();
    let of = |own: &str| target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    *line.level() <= Level::INFO || OURS.into_iter().any(of)
}
