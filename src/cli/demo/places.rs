//! Where everything of the demo is: free ports for what others may have taken, what is printed of it, and the same as
//! variables in a file, for other terminals.
//!
//! Nothing is started here. What the user configured stays, but for what the demo brings along.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Broker, CliError, Config, Environment, GROUP, Postgres, Secret};

/// The file of variables, while the demo runs.
pub(super) struct Told(PathBuf);

impl Told {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // Left behind it would only name what is gone.
        let _ = fs::remove_file(&self.0);
    }
}

/// Points the configuration at the demo's own broker, database and ports.
pub(super) fn prepare(config: &mut Config, broker: &Broker, postgres: &Postgres) -> Result<(), CliError> {
    config.environment = Environment::Development;
    config.kafka = broker.config(GROUP);
    config.sink.database_url = Some(Secret::new(postgres.url()));
    config.score.features = true;
    // The broker forgets everything at the end, and so may the windows.
    config.snapshots.location = None;
    if let Some(listen) = &mut config.telemetry.listen {
        *listen = free(*listen)?;
    }
    let host = config.serve.host.as_str();
    if let Some(wanted) = (host, config.serve.port).to_socket_addrs().ok().and_then(|mut all| all.next()) {
        config.serve.port = free(wanted)?.port();
    }
    Ok(())
}

/// The wanted address, or one with a port that is free where somebody else has that.
fn free(wanted: SocketAddr) -> Result<SocketAddr, CliError> {
    let bound = TcpListener::bind(wanted).or_else(|_| TcpListener::bind((wanted.ip(), 0)));
    let told = |error| CliError::Failed(format!("no port is free on {}: {error}", wanted.ip()));
    bound.and_then(|listener| listener.local_addr()).map_err(told)
}

/// Writes the addresses as variables that every command of Sentra's reads.
pub(super) fn write(path: &Path, config: &Config, postgres: &Postgres) -> Result<Told, CliError> {
    let mut lines = vec![
        ("KAFKA_BOOTSTRAP_SERVERS", config.kafka.bootstrap_servers.clone()),
        ("DATABASE_URL", postgres.url()),
        ("API_HOST", config.serve.host.clone()),
        ("API_PORT", config.serve.port.to_string()),
    ];
    if let Some(log) = config.kafka.embedded_log {
        lines.push(("SENTRA__KAFKA__EMBEDDED_LOG", format!("{:032x}", u128::from_be_bytes(log.0))));
    }
    if let Some(listen) = config.telemetry.listen {
        lines.push(("SENTRA__TELEMETRY__LISTEN", listen.to_string()));
    }
    let text: String = lines.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    // For its owner alone: the address of a database without a password.
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written
        .map_err(|error| CliError::Failed(format!("{}: {error}; name another folder with --data", path.display())))?;
    Ok(Told(path.to_owned()))
}

/// What is where, for people.
pub(super) fn describe(config: &Config, postgres: &Postgres, told: &Path, took: Duration) -> String {
    let mut text =
        String::from("\n  Sentra's demo: simulated customers, real scoring. Nothing here is for production.\n\n");
    let mut line = |name: &str, value: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    let (servers, api) =
        (&config.kafka.bootstrap_servers, format!("http://{}:{}", config.serve.host, config.serve.port));
    line("Page", &format!("{api}/  (live alerts; open it in a browser)"));
    line("API", &format!("{api}/docs  (curl {api}/v1/alerts)"));
    line("Kafka", &format!("{servers}  ({} partitions, in this process's memory)", config.topics.partitions));
    if let Some(listen) = config.telemetry.listen {
        line("Metrics", &format!("http://{listen}/metrics"));
    }
    line("psql", &format!("psql '{}'", postgres.url()));
    line("also", &format!(". {} && sentra verdicts tail    (in another terminal)", told.display()));
    let took = took.as_secs_f64();
    let _ = write!(text, "\n  Ready to begin after {took:.1} s. Alerts follow; Ctrl-C ends all of it.\n");
    text
}
