//! From settings to the typed [`Config`], and the limits that hold between settings.

use std::time::Duration;

use super::{
    Backend, Config, ConfigErrors, Environment, FeedConfig, Format, KafkaConfig, LogFormat, ModelConfig, ScoreConfig,
    ServeConfig, SinkConfig, SnapshotsConfig, TelemetryConfig, TopicsConfig, error::Problem, settings::Settings,
    table::*, value::Value,
};
use crate::{
    domain::{
        amount::Currency,
        identity::LogId,
        rules::{LONGEST_WINDOW_MS, Rules, Scope},
        time::DAY_MS,
    },
    store::days::Policy,
};

/// What a ring's 32-bit milliseconds hold, with room to spare (2^32 ms is 49.7 d).
const RING_SPAN_MS: i64 = 40 * DAY_MS;

impl Settings {
    /// The typed configuration.
    ///
    /// # Errors
    /// What stands against it between settings; a [`Settings`] from `load` has none.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        let conflicts = conflicts(self);
        if !conflicts.is_empty() {
            return Err(ConfigErrors(conflicts));
        }
        Ok(Config {
            environment: match self.text(ENVIRONMENT) {
                "production" => Environment::Production,
                _ => Environment::Development,
            },
            kafka: self.kafka(),
            topics: TopicsConfig {
                transactions: self.text(TOPICS_TRANSACTIONS).to_owned(),
                verdicts: self.text(TOPICS_VERDICTS).to_owned(),
                dlq: self.text(TOPICS_DLQ).to_owned(),
                partitions: self.int(TOPICS_PARTITIONS) as i32,
                replication: self.int(TOPICS_REPLICATION) as i32,
            },
            rules: self.rules(),
            model: ModelConfig {
                path: self.text(MODEL_PATH).into(),
                backend: match self.text(MODEL_BACKEND) {
                    "lightgbm" => Backend::LightGbm,
                    _ => Backend::Compiled,
                },
            },
            score: ScoreConfig {
                shards: self.int(SCORE_SHARDS) as usize,
                batch: self.int(SCORE_BATCH) as usize,
                linger_ms: self.int(SCORE_LINGER_MS) as u32,
                undelivered: self.int(SCORE_UNDELIVERED) as usize,
                features: self.bool(VERDICT_FEATURES),
                instance: self.get(SCORE_INSTANCE).is_set().then(|| self.text(SCORE_INSTANCE).to_owned()),
                take_over: self.bool(SCORE_TAKE_OVER),
                lag_ready: self.millis(SCORE_LAG_READY).map(|ms| Duration::from_millis(ms as u64)),
            },
            snapshots: self.snapshots(),
            telemetry: self.telemetry(),
            serve: self.serve(),
            sink: self.sink(),
        })
    }

    fn serve(&self) -> ServeConfig {
        let origins = self.text(SERVE_CORS_ORIGINS).split(',').map(str::trim).filter(|origin| !origin.is_empty());
        ServeConfig {
            host: self.text(SERVE_HOST).to_owned(),
            port: self.int(SERVE_PORT) as u16,
            token: self.get(SERVE_TOKEN).secret().cloned(),
            cors_origins: origins.map(str::to_owned).collect(),
            score_deadline_ms: self.int(SERVE_SCORE_DEADLINE_MS) as u64,
            max_waiting: self.int(SERVE_MAX_WAITING) as usize,
            max_connections: self.int(SERVE_MAX_CONNECTIONS) as usize,
            feed: FeedConfig {
                clients: self.int(SERVE_FEED_CLIENTS) as usize,
                backlog: self.int(SERVE_FEED_BACKLOG) as usize,
                catch_ups: self.int(SERVE_FEED_CATCH_UPS) as usize,
                ping: Duration::from_millis(self.millis(SERVE_FEED_PING).unwrap_or_default() as u64),
            },
        }
    }

    fn kafka(&self) -> KafkaConfig {
        let mut properties: std::collections::BTreeMap<String, String> =
            self.properties().iter().map(|(name, property)| (name.clone(), property.value.clone())).collect();
        if let Some(password) = self.get(KAFKA_SASL_PASSWORD).secret() {
            properties.insert(String::from("sasl.password"), password.expose().to_owned());
        }
        let bootstrap_servers = self.text(KAFKA_BOOTSTRAP_SERVERS).to_owned();
        let embedded_log = LogId::from_hex(self.text(KAFKA_EMBEDDED_LOG));
        KafkaConfig { bootstrap_servers, group: self.text(KAFKA_GROUP).to_owned(), embedded_log, properties }
    }

    fn sink(&self) -> SinkConfig {
        SinkConfig {
            database_url: self.get(SINK_DATABASE_URL).secret().cloned(),
            batch: self.int(SINK_BATCH) as usize,
            linger_ms: self.int(SINK_LINGER_MS) as u64,
            timeout: Duration::from_millis(self.millis(SINK_TIMEOUT).unwrap_or_default() as u64),
            days: Policy {
                ahead: self.int(SINK_DAYS_AHEAD) as i32,
                retention: Some(self.int(SINK_RETENTION_DAYS) as i32).filter(|days| *days > 0),
            },
        }
    }

    fn snapshots(&self) -> SnapshotsConfig {
        let interval = self.millis(SNAPSHOTS_INTERVAL).unwrap_or_default();
        SnapshotsConfig {
            location: Some(self.text(SNAPSHOTS_LOCATION).to_owned()).filter(|location| location != "off"),
            interval: Duration::from_millis(interval as u64),
            local_only: self.bool(SNAPSHOTS_LOCAL_ONLY),
            give_up: self.millis(SNAPSHOTS_GIVE_UP).map(|ms| Duration::from_millis(ms as u64)),
            format: match self.text(SNAPSHOTS_FORMAT) {
                "previous" => Format::Previous,
                _ => Format::Current,
            },
        }
    }

    fn rules(&self) -> Rules {
        let currency = self.text(WINDOWS_HOME_CURRENCY).as_bytes().try_into().map_or(Currency::KES, Currency);
        Rules {
            lateness_ms: self.millis(TIME_LATENESS).unwrap_or_default(),
            max_future_ms: self.millis(TIME_MAX_FUTURE),
            duplicate_ms: self.millis(TIME_DUPLICATES).unwrap_or_default(),
            forget_ms: self.millis(TIME_FORGET).unwrap_or_default(),
            utc_offset_ms: self.millis(TIME_UTC_OFFSET).unwrap_or_default(),
            scope: match self.text(WINDOWS_SCOPE) {
                "institution" => Scope::Institution,
                _ => Scope::Network,
            },
            ring_cap: self.int(WINDOWS_RING_CAP) as usize,
            calling_code: self.text(WINDOWS_CALLING_CODE).to_owned(),
            home_currency: currency,
            ..Rules::default()
        }
    }

    fn telemetry(&self) -> TelemetryConfig {
        let log_is_default = self.get(TELEMETRY_LOG).source == super::Source::Default;
        let log = if self.bool(DEBUG) && log_is_default { "info,sentra=debug" } else { self.text(TELEMETRY_LOG) };
        TelemetryConfig {
            listen: match self.get(TELEMETRY_LISTEN).value {
                Some(Value::Listen(address)) => address,
                _ => None,
            },
            log: log.to_owned(),
            format: match self.text(TELEMETRY_FORMAT) {
                "json" => LogFormat::Json,
                "pretty" => LogFormat::Pretty,
                _ => LogFormat::Auto,
            },
        }
    }

    // A setting's kind decides its value's variant, and a test reads every setting of the table through these.

    fn text(&self, id: Id) -> &str {
        match &self.get(id).value {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    fn int(&self, id: Id) -> i64 {
        match self.get(id).value {
            Some(Value::Int(number)) => number,
            _ => 0,
        }
    }

    fn bool(&self, id: Id) -> bool {
        matches!(self.get(id).value, Some(Value::Bool(true)))
    }

    fn millis(&self, id: Id) -> Option<i64> {
        match self.get(id).value {
            Some(Value::Millis(ms)) => ms,
            _ => None,
        }
    }
}

/// What stands against the settings taken together; settings that failed by themselves are not judged again.
pub(super) fn conflicts(settings: &Settings) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut rule = |ids: &[Id], broken: bool, what: String| {
        if broken && !ids.iter().any(|id| settings.get(*id).failed) {
            // The blame goes to the setting that was given last, not to a default.
            let at =
                ids.iter().copied().find(|id| settings.get(*id).source != super::Source::Default).unwrap_or(ids[0]);
            found.push(Problem::new(at.setting().key, settings.get(at).source.clone(), what));
        }
    };
    let lateness = settings.millis(TIME_LATENESS).unwrap_or_default();
    let forget = settings.millis(TIME_FORGET).unwrap_or_default();
    let too_long = lateness.saturating_add(LONGEST_WINDOW_MS) >= RING_SPAN_MS;
    rule(
        &[TIME_LATENESS],
        too_long,
        String::from("time.lateness + 7 d must be below 40 d, the span of a ring; shorten it"),
    );
    let too_short = forget < lateness.saturating_add(LONGEST_WINDOW_MS);
    rule(
        &[TIME_FORGET, TIME_LATENESS],
        too_short,
        String::from("time.forget must be at least 7 d + time.lateness, or windows would be forgotten; lengthen it"),
    );
    rule(
        &[SCORE_UNDELIVERED, SCORE_BATCH],
        settings.int(SCORE_UNDELIVERED) < settings.int(SCORE_BATCH),
        String::from("score.undelivered must be at least score.batch, or one turn could pass it; raise it"),
    );
    let open = !is_loopback(settings.text(SERVE_HOST)) && !settings.get(SERVE_TOKEN).is_set();
    rule(
        &[SERVE_HOST, SERVE_TOKEN],
        open,
        String::from(
            "serve.host is open to other machines, so serve.token (or SENTRA__SERVE__TOKEN_FILE) must be set; \
             set it, or let serve.host be 127.0.0.1",
        ),
    );
    rule(
        &[KAFKA_EMBEDDED_LOG, ENVIRONMENT],
        settings.get(KAFKA_EMBEDDED_LOG).is_set() && settings.text(ENVIRONMENT) == "production",
        String::from(
            "kafka.embedded_log stands in for a real broker's topic id, by which a topic made anew is known; remove it",
        ),
    );
    let fault = settings.get(SINK_DATABASE_URL).secret().and_then(|url| crate::store::fault(url.expose()));
    rule(&[SINK_DATABASE_URL], fault.is_some(), fault.unwrap_or_default());
    let topics = [TOPICS_TRANSACTIONS, TOPICS_VERDICTS, TOPICS_DLQ];
    for (at, a) in topics.into_iter().enumerate() {
        for b in topics.into_iter().skip(at + 1) {
            let what = format!("{} and {} must be different topics", a.setting().key, b.setting().key);
            rule(&[b, a], settings.text(a) == settings.text(b), what);
        }
    }
    found
}

/// Whether only this machine can reach what listens there; a name other than `localhost` may be anything.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
