//! `sentra feed`: follows the live feed of a serve process in a terminal, and comes back with its cursor when the
//! connection is lost.

mod follower;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use tokio_tungstenite::tungstenite::http::Uri;

use super::{CliError, Globals, Out, run::watch_signals};
use crate::config::{Config, Secret};
use follower::Follower;

/// Follows the live feed in a terminal; when the connection is lost, it comes back with its cursor.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The feed's address [default: ws://serve.host:serve.port/v1/feed of the configuration].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the bearer token; else the variable SENTRA_TOKEN, else serve.token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Only this risk level; may be repeated.
    #[arg(long, value_name = "LEVEL", ignore_case = true, value_parser = ["LOW", "MEDIUM", "HIGH", "CRITICAL"])]
    level: Vec<String>,
    /// Only scores of at least this much.
    #[arg(long, value_name = "SCORE", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_score: Option<u8>,
    /// Only this institution's.
    #[arg(long, value_name = "ID")]
    institution: Option<String>,
    /// Only this phone's.
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// Go on from this cursor, as an earlier run printed it.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print each frame as it is, one a line.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Follows to the end.
    ///
    /// # Errors
    /// The configuration or the token is wrong, the server refuses, or standard output is closed.
    pub fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&stop)?;
        let (url, token) = (self.address(&config)?, self.token(&config)?);
        let mut follower = Follower::new(url, token, self.json, self.cursor.clone(), stop);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut out = Out::stdout();
        let followed = runtime.block_on(follower.run(&mut out));
        if let Err(CliError::Stdout(_)) = followed {
            return followed;
        }
        out.finish()?;
        if let Some(cursor) = &follower.cursor {
            eprintln!("cursor {cursor}");
        }
        followed
    }

    /// The address with the filters.
    fn address(&self, config: &Config) -> Result<String, CliError> {
        let local = || {
            let host = match config.serve.host.as_str() {
                "0.0.0.0" => "127.0.0.1",
                "::" => "[::1]",
                host => host,
            };
            format!("ws://{host}:{}/v1/feed", config.serve.port)
        };
        let url = self.url.clone().unwrap_or_else(local);
        let uri: Uri = url.parse().map_err(|error| CliError::Usage(format!("--url: {error}")))?;
        if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
            return Err(CliError::Usage(String::from("--url: wanted ws:// or wss://")));
        }
        let mut query: Vec<String> = uri.query().into_iter().map(str::to_owned).collect();
        query.extend(self.level.iter().map(|level| format!("level={}", level.to_ascii_uppercase())));
        query.extend(self.min_score.map(|score| format!("min_score={score}")));
        query.extend(self.institution.iter().map(|id| format!("institution={}", escaped(id))));
        query.extend(self.phone.iter().map(|phone| format!("phone={}", escaped(phone))));
        let base = url.split('?').next().unwrap_or_default();
        Ok(format!("{base}?{}", query.join("&")))
    }

    fn token(&self, config: &Config) -> Result<Option<Secret>, CliError> {
        if let Some(path) = &self.token_file {
            let text = fs::read_to_string(path)
                .map_err(|error| CliError::Failed(format!("--token-file: {}: {error}", path.display())))?;
            return Ok(Some(Secret::new(text.trim().to_owned())));
        }
        let variable = std::env::var("SENTRA_TOKEN").ok().filter(|token| !token.is_empty());
        Ok(variable.map(Secret::new).or_else(|| config.serve.token.clone()))
    }
}

/// A query's value: what is not plain becomes %XX.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
