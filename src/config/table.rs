//! The table of settings: name, kind, default, meaning. Code, help, schema, `.env.example` and the sample TOML file
//! all read it, and nothing else states a default.

use super::value::Kind;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.name`, or a bare name at the top of the file.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as text; `None` is unset.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub doc: &'static str,
    /// A familiar variable that sets it too.
    pub alias: Option<&'static str>,
}

impl Setting {
    const fn new(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { key, kind, default: Some(default), doc, alias: None }
    }

    const fn unset(key: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { key, kind, default: None, doc, alias: None }
    }

    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// Whether its value is never printed, and may come from a file.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Token)
    }

    /// The section, empty at the top of the file, and the name in it.
    pub fn split(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// `SENTRA__SECTION__NAME`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replace('.', "__").to_uppercase())
    }
}

/// What every variable of Sentra's own begins with.
pub const PREFIX: &str = "SENTRA__";

/// The table of raw librdkafka properties: a section of its own, not a setting.
pub const PROPERTIES: &str = "kafka.properties";

/// What [`PROPERTIES`] is, for help, schema and samples.
pub const PROPERTIES_DOC: &str = "Raw librdkafka properties, such as \"security.protocol\"; as a variable, \
    SENTRA__KAFKA__PROPERTIES__SECURITY_PROTOCOL (each _ becomes a dot; no property has an underscore). \
    A secret property also takes its name + \".file\". Those that Sentra owns are refused.";

/// A setting's place in [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub(super) usize);

impl Id {
    /// The setting.
    pub fn setting(self) -> &'static Setting {
        &TABLE[self.0]
    }

    /// The setting of that key.
    pub fn find(key: &str) -> Option<Self> {
        TABLE.iter().position(|setting| setting.key == key).map(Self)
    }

    /// Every setting, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).map(Self)
    }
}

/// Declares the table and one [`Id`] constant a setting.
macro_rules! settings {
    ($($id:ident: $setting:expr;)+) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names are those of the constants they number")]
        enum Position { $($id),+ }
        $(
            #[doc = concat!("The setting `", stringify!($id), "`.")]
            pub const $id: Id = Id(Position::$id as usize);
        )+
        /// Every setting, by section.
        pub const TABLE: &[Setting] = &[$($setting),+];
    };
}

settings! {
    ENVIRONMENT: Setting::new("environment", Kind::Choice(&["development", "production"]), "development",
        "Where this runs: production refuses to start on topics that could lose or repeat verdicts, development only warns.").alias("ENVIRONMENT");
    DEBUG: Setting::new("debug", Kind::Bool, "false",
        "Log Sentra's own steps in detail, where telemetry.log is not set.").alias("DEBUG");

    KAFKA_BOOTSTRAP_SERVERS: Setting::new("kafka.bootstrap_servers", Kind::Servers, "localhost:9092",
        "Brokers to begin with, host:port, separated by commas.").alias("KAFKA_BOOTSTRAP_SERVERS");
    KAFKA_GROUP: Setting::new("kafka.group", Kind::Text, "sentra",
        "Consumer group: processes of one group share the partitions.");
    KAFKA_EMBEDDED_LOG: Setting::unset("kafka.embedded_log", Kind::LogId,
        "Id of the log on a demo's embedded broker, which knows no topic ids; sentra demo prints it. Never for a real broker.");
    KAFKA_SASL_PASSWORD: Setting::unset("kafka.sasl_password", Kind::Secret,
        "Password for SASL; name and mechanism go into kafka.properties (sasl.username, sasl.mechanism, security.protocol).");

    TOPICS_TRANSACTIONS: Setting::new("topics.transactions", Kind::Topic, "sentra.transactions", "Topic of transactions, in.");
    TOPICS_VERDICTS: Setting::new("topics.verdicts", Kind::Topic, "sentra.verdicts", "Topic of verdicts, out.");
    TOPICS_DLQ: Setting::new("topics.dlq", Kind::Topic, "sentra.transactions.dlq", "Topic of records that could not be read.");
    TOPICS_PARTITIONS: Setting::new("topics.partitions", Kind::Int(1, 4_096), "32",
        "Partitions that topics apply gives each topic; fixed for the topics' life.");
    TOPICS_REPLICATION: Setting::new("topics.replication", Kind::Int(1, 7), "1",
        "Replicas that topics apply gives each topic; production wants 3.");

    TIME_LATENESS: Setting::new("time.lateness", Kind::Duration { min: "1s", max: "32d", off: false }, "24h",
        "How far behind its partition's newest event a transaction may be and still enter the windows.");
    TIME_MAX_FUTURE: Setting::new("time.max_future", Kind::Duration { min: "0s", max: "365d", off: true }, "5m",
        "How far a timestamp may lead its Kafka record before it is cut; off for replays.");
    TIME_DUPLICATES: Setting::new("time.duplicates", Kind::Duration { min: "1s", max: "7d", off: false }, "24h",
        "How long an original is remembered for its duplicates.");
    TIME_FORGET: Setting::new("time.forget", Kind::Duration { min: "7d", max: "3650d", off: false }, "180d",
        "How long a silent phone is remembered.");
    TIME_UTC_OFFSET: Setting::new("time.utc_offset", Kind::UtcOffset, "+03:00",
        "Local time's offset from UTC, for the features hour and day.");

    WINDOWS_SCOPE: Setting::new("windows.scope", Kind::Choice(&["network", "institution"]), "network",
        "Whose history a phone has: one over the whole network, or one at each institution.");
    WINDOWS_RING_CAP: Setting::new("windows.ring_cap", Kind::Int(64, 65_536), "32768",
        "Events kept one by one for a phone; beyond it, long windows count by hourly panes.");
    WINDOWS_CALLING_CODE: Setting::new("windows.calling_code", Kind::CallingCode, "254",
        "Country calling code of phone numbers in national form, without plus.");
    WINDOWS_HOME_CURRENCY: Setting::new("windows.home_currency", Kind::Currency, "KES",
        "Currency of sums and means, and of transactions that name none.");

    MODEL_PATH: Setting::new("model.path", Kind::Path, "models",
        "A model's version folder, or a folder of models whose file active names one.").alias("MODEL_PATH");
    MODEL_BACKEND: Setting::new("model.backend", Kind::Choice(&["compiled", "lightgbm"]), "compiled",
        "What evaluates the trees: Sentra's own compiled form, or LightGBM's library.");

    SCORE_SHARDS: Setting::new("score.shards", Kind::Int(0, 256), "0", "Scoring threads; 0 is one a core.");
    SCORE_BATCH: Setting::new("score.batch", Kind::Int(1, 8_192), "256", "Most records a shard takes in one turn.");
    SCORE_LINGER_MS: Setting::new("score.linger_ms", Kind::Int(0, 1_000), "5",
        "Milliseconds the producer waits for more verdicts to send together.");
    SCORE_UNDELIVERED: Setting::new("score.undelivered", Kind::Int(1, 1_000_000), "10000",
        "Unacknowledged verdicts of one partition at which that partition is paused.");
    SCORE_INSTANCE: Setting::unset("score.instance", Kind::Member,
        "This process's name in its group, of its own in the whole group: its shards keep their partitions over a restart within the session. In production the host's name when unset; in development none, and shards leave as they stop.");
    SCORE_TAKE_OVER: Setting::new("score.take_over", Kind::Bool, "false",
        "Take partitions whose last owner works by other settings or a newer engine: for one deliberate start of all processes.");
    SCORE_LAG_READY: Setting::new("score.lag_ready", Kind::Duration { min: "1s", max: "7d", off: true }, "30s",
        "How long a record may have waited before /readyz says no: longer than a hand-over takes, far shorter than anybody waits for a verdict; off for a line that may lag.");

    SNAPSHOTS_LOCATION: Setting::new("snapshots.location", Kind::Text, "snapshots",
        "Where snapshots of the windows are kept: a folder, s3://bucket/prefix, or off. For S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION count, AWS_ENDPOINT and AWS_ALLOW_HTTP for another store than Amazon's.");
    SNAPSHOTS_INTERVAL: Setting::new("snapshots.interval", Kind::Duration { min: "1s", max: "7d", off: false }, "5m",
        "How long after a partition's snapshot the next one is begun.");
    SNAPSHOTS_LOCAL_ONLY: Setting::new("snapshots.local_only", Kind::Bool, "false",
        "Whether a group on several hosts may keep snapshots in each host's own folder: a partition that moves is replayed from the log.");
    SNAPSHOTS_GIVE_UP: Setting::new("snapshots.give_up", Kind::Duration { min: "1s", max: "30d", off: true }, "off",
        "How long a restart waits for snapshots that cannot be read, where the log's head is deleted: after that the rest is replayed, and features are missing or flagged warming for up to 30 days. Off waits for as long as it takes.");
    SNAPSHOTS_FORMAT: Setting::new("snapshots.format", Kind::Choice(&["current", "previous"]), "current",
        "How snapshots, and checkpoints in the group's offsets, are written: current, or previous, as the release before this one reads them, while the group goes to this release or back.");

    VERDICT_FEATURES: Setting::new("verdict.features", Kind::Bool, "false", "Add the 24 features to each verdict.");

    TELEMETRY_LISTEN: Setting::new("telemetry.listen", Kind::Listen, "127.0.0.1:9464",
        "Where /livez, /readyz and /metrics answer, ip:port; off for nowhere.");
    TELEMETRY_LOG: Setting::new("telemetry.log", Kind::Filter, "info",
        "What is logged: a level, or a list such as info,sentra::shard=debug.");
    TELEMETRY_FORMAT: Setting::new("telemetry.format", Kind::Choice(&["auto", "json", "pretty"]), "auto",
        "Shape of log lines; auto is pretty on a terminal, else json.");

    SERVE_HOST: Setting::new("serve.host", Kind::Host, "127.0.0.1",
        "Address of the HTTP interface; any but this machine's own (loopback) also wants serve.token.").alias("API_HOST");
    SERVE_PORT: Setting::new("serve.port", Kind::Int(0, 65_535), "8000",
        "Port of the HTTP interface; 0 takes a free one.").alias("API_PORT");
    SERVE_TOKEN: Setting::unset("serve.token", Kind::Token,
        "Bearer token that every request must bring, but for /v1/health, /livez and /readyz; at least 16 characters.");
    SERVE_CORS_ORIGINS: Setting::unset("serve.cors_origins", Kind::Origins,
        "Web origins whose pages may call the HTTP interface, separated by commas; none when unset.");
    SERVE_SCORE_DEADLINE_MS: Setting::new("serve.score_deadline_ms", Kind::Int(1, 10_000), "200",
        "How long POST /v1/score waits for the verdict before it says where to fetch it.");
    SERVE_MAX_WAITING: Setting::new("serve.max_waiting", Kind::Int(1, 100_000), "1024",
        "Requests that may wait for a verdict at once; more are told to come again.");
    SERVE_MAX_CONNECTIONS: Setting::new("serve.max_connections", Kind::Int(1, 100_000), "4096",
        "Connections to the HTTP interface at once, live feeds (serve.feed_clients) apart; more are closed.");
    SERVE_FEED_CLIENTS: Setting::new("serve.feed_clients", Kind::Int(1, 100_000), "2000",
        "Clients of the live feed at once; more are told to come again.");
    SERVE_FEED_BACKLOG: Setting::new("serve.feed_backlog", Kind::Int(64, 1_000_000), "16384",
        "Newest frames kept for all clients of the feed; one that lags half of it behind gets only alerts.");
    SERVE_FEED_CATCH_UPS: Setting::new("serve.feed_catch_ups", Kind::Int(1, 256), "4",
        "Clients that may read the topic at once to catch up from a cursor; others wait, or are told to come again.");
    SERVE_FEED_PING: Setting::new("serve.feed_ping", Kind::Duration { min: "1s", max: "1h", off: false }, "20s",
        "How often a client of the feed is asked whether it is there; one that says nothing to three pings is closed. Less than a proxy's idle time.");

    SINK_DATABASE_URL: Setting::unset("sink.database_url", Kind::Secret,
        "PostgreSQL connection string, postgres://user:password@host:5432/database?sslmode=verify-full; for sink and serve.").alias("DATABASE_URL");
    SINK_BATCH: Setting::new("sink.batch", Kind::Int(1, 100_000), "10000", "Most rows the sink stores in one transaction.");
    SINK_LINGER_MS: Setting::new("sink.linger_ms", Kind::Int(0, 60_000), "100",
        "Milliseconds the sink waits for more verdicts to store together.");
    SINK_TIMEOUT: Setting::new("sink.timeout", Kind::Duration { min: "2s", max: "4m", off: false }, "60s",
        "How long one transaction or question of the sink's may take before the database counts as away.");
    SINK_RETENTION_DAYS: Setting::new("sink.retention_days", Kind::Int(0, 36_500), "90",
        "Whole days of stored verdicts kept before today's; older ones are dropped. 0 keeps all.");
    SINK_DAYS_AHEAD: Setting::new("sink.days_ahead", Kind::Int(1, 60), "3",
        "Days after today whose partition is made already.");
}
