//! Where everything of the demo is: free ports for what others may have taken, and what is printed of it.
//!
//! Nothing is started here. What the user configured stays, but for what the demo brings along.

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use super::{Broker, CliError, Config, Environment, GROUP, Postgres, Secret};

/// Points the configuration at the demo's own broker, database and ports.
pub(super) fn prepare(config: &mut Config, broker: &Broker, postgres: &Postgres) -> Result<(), CliError> {
    config.environment = Environment::Development;
    config.kafka = broker.config(GROUP);
    config.sink.database_url = Some(Secret::new(postgres.url()));
    config.score.features = true;
    if let Some(listen) = &mut config.telemetry.listen {
        *listen = free(*listen)?;
    }
    let page = format!("{}:{}", config.serve.host, config.serve.port);
    if let Ok(wanted) = page.parse::<SocketAddr>() {
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

/// What is where, for people.
pub(super) fn describe(config: &Config, postgres: &Postgres, took: Duration) -> String {
    let log = config.kafka.embedded_log.map_or_else(String::new, |log| format!("{:032x}", u128::from_be_bytes(log.0)));
    let servers = &config.kafka.bootstrap_servers;
    let mut text =
        String::from("\n  Sentra's demo: simulated customers, real scoring. Nothing here is for production.\n\n");
    let mut line = |name: &str, value: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line("Kafka", &format!("{servers}  (in this process, {} partitions, in memory)", config.topics.partitions));
    line("", &format!("kcat -C -b {servers} -t {} -o end", config.topics.verdicts));
    line("", &format!("SENTRA__KAFKA__EMBEDDED_LOG={log} KAFKA_BOOTSTRAP_SERVERS={servers} sentra verdicts tail"));
    line("psql", &format!("psql '{}'", postgres.url()));
    if let Some(listen) = config.telemetry.listen {
        line("Metrics", &format!("http://{listen}/metrics"));
    }
    let _ =
        write!(text, "\n  ready to begin after {:.1} s; alerts follow; Ctrl-C ends all of it\n", took.as_secs_f64());
    text
}
