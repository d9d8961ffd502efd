//! Configuration: one table of settings, read from defaults, a TOML file, variables and the command line.
//!
//! ```text
//! defaults < sentra.toml < DATABASE_URL, API_HOST, … < SENTRA__SECTION__KEY < --set section.key=value
//! ```
//!
//! Invariant: a [`Config`] exists only if every setting was valid, known and in keeping with the others; all
//! problems are reported at once, each naming its setting, its source and the way out. Secrets are never printed.
//! It is not a place for behaviour: nothing here connects, listens or reads a clock.

mod build;
mod error;
mod file;
mod inputs;
mod properties;
pub mod render;
mod secret;
mod settings;
pub mod table;
#[cfg(test)]
mod tests;

mod value;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

pub use error::{ConfigErrors, EXIT_CONFIG, Problem};
pub use inputs::Inputs;
pub use secret::Secret;
pub use settings::{Settings, Source};

use crate::domain::{identity::LogId, rules::Rules};
pub use crate::{engine::snapshot::Format, model::scorer::Backend, store::days::Policy};

/// Everything Sentra is told, valid and typed.
#[derive(Clone, Debug)]
pub struct Config {
    /// How strictly the surroundings are judged.
    pub environment: Environment,
    /// The broker and how to speak to it.
    pub kafka: KafkaConfig,
    /// The names and shape of the topics.
    pub topics: TopicsConfig,
    /// What state and features depend on (time and windows).
    pub rules: Rules,
    /// Which model is served.
    pub model: ModelConfig,
    /// The scoring shards.
    pub score: ScoreConfig,
    /// Logs, metrics and health.
    pub telemetry: TelemetryConfig,
    /// Where windows are kept across restarts; read by the score role.
    pub snapshots: SnapshotsConfig,
    /// The HTTP interface; read by the serve role.
    pub serve: ServeConfig,
    /// The database; read by the sink role.
    pub sink: SinkConfig,
}

/// How strictly the surroundings are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Unsafe topic settings are warned of.
    Development,
    /// Unsafe topic settings are refused.
    Production,
}

/// The broker and how to speak to it. `Debug` masks secret properties.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Comma-separated `host:port` list.
    pub bootstrap_servers: String,
    /// The consumer group.
    pub group: String,
    /// The log's id where the broker is the embedded one, which knows no topic ids.
    pub embedded_log: Option<LogId>,
    /// Raw librdkafka properties, secrets among them (`sasl.password`); none that Sentra owns.
    pub properties: BTreeMap<String, String>,
}

/// The names and shape of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsConfig {
    /// Transactions in.
    pub transactions: String,
    /// Verdicts out.
    pub verdicts: String,
    /// Dead letters.
    pub dlq: String,
    /// Partitions of each, for `topics apply`.
    pub partitions: i32,
    /// Replicas of each, for `topics apply`.
    pub replication: i32,
}

/// Which model is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// A model's version folder, or a folder of models with an `active` one.
    pub path: PathBuf,
    /// What evaluates the trees.
    pub backend: Backend,
}

/// The scoring shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreConfig {
    /// Scoring threads; 0 is one a core.
    pub shards: usize,
    /// Greatest number of records a turn takes.
    pub batch: usize,
    /// How long the producer waits to fill a batch, in milliseconds.
    pub linger_ms: u32,
    /// Undelivered verdicts of one partition at which only that partition is paused.
    pub undelivered: usize,
    /// Whether verdicts carry their features (`verdict.features`).
    pub features: bool,
    /// This process's name in its group: its shards are static members of it. `None` is chosen by `app`.
    pub instance: Option<String>,
    /// Whether partitions of another edition's owner are taken over.
    pub take_over: bool,
    /// How long a record may wait before the process is not ready; `None` for ever.
    pub lag_ready: Option<Duration>,
}

/// Logs, metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Where `/livez`, `/readyz` and `/metrics` answer; `None` is nowhere.
    pub listen: Option<SocketAddr>,
    /// The log filter, already known to be well formed.
    pub log: String,
    /// The shape of log lines.
    pub format: LogFormat,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// The HTTP interface; read by the serve role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// What a request must bring; without one only this machine is listened to.
    pub token: Option<Secret>,
    /// Origins whose pages may call.
    pub cors_origins: Vec<String>,
    /// How long a request waits for its verdict, in milliseconds.
    pub score_deadline_ms: u64,
    /// Requests that may wait at once.
    pub max_waiting: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// The live feed.
    pub feed: FeedConfig,
}

/// The live feed's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Clients at once.
    pub clients: usize,
    /// Newest frames kept for all of them.
    pub backlog: usize,
    /// Clients that catch up from the topic at once.
    pub catch_ups: usize,
    /// Between two questions whether a client is there.
    pub ping: Duration,
}

/// Where snapshots of the windows are kept, and how often they are taken; read by the score role.
#[derive(Clone, Debug)]
pub struct SnapshotsConfig {
    /// A folder or `s3://bucket/prefix`; `None` where none are kept.
    pub location: Option<String>,
    /// How long after a partition's snapshot the next one is begun.
    pub interval: Duration,
    /// Whether several hosts may keep snapshots in folders of their own.
    pub local_only: bool,
    /// How long a restart waits for snapshots that cannot be read, where the log alone does not give the same state;
    /// `None` is for as long as it takes.
    pub give_up: Option<Duration>,
    /// How snapshots and checkpoints are written.
    pub format: Format,
}

/// The database; read by the sink role.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Connection string; `None` where no database is configured.
    pub database_url: Option<Secret>,
    /// Most rows of one transaction.
    pub batch: usize,
    /// How long to wait for more rows, in milliseconds.
    pub linger_ms: u64,
    /// The longest that a transaction may take; the server's own limits are parts of it.
    pub timeout: Duration,
    /// Which day partitions there are.
    pub days: Policy,
}

impl Config {
    /// Reads every source and checks all of it.
    ///
    /// # Errors
    /// All problems found, in one value; its `Display` is one line each.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigErrors> {
        Settings::load(inputs).and_then(|settings| settings.config())
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> =
            self.properties.iter().map(|(name, value)| (name.as_str(), properties::masked(name, value))).collect();
        f.debug_struct("KafkaConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group", &self.group)
            .field("embedded_log", &self.embedded_log)
            .field("properties", &shown)
            .finish()
    }
}
