//! Sources, precedence, and what is said when something is wrong.

mod kinds;
mod properties;
mod serve;

use std::{ffi::OsString, path::PathBuf};

use super::{table::*, *};

/// A folder with an optional sentra.toml, and what the process is told.
struct Given {
    folder: tempfile::TempDir,
    inputs: Inputs,
}

fn given(toml: &str) -> Given {
    let folder = tempfile::tempdir().unwrap();
    if !toml.is_empty() {
        std::fs::write(folder.path().join("sentra.toml"), toml).unwrap();
    }
    let inputs = Inputs { folder: folder.path().to_owned(), ..Inputs::default() };
    Given { folder, inputs }
}

impl Given {
    fn var(mut self, name: &str, value: &str) -> Self {
        self.inputs.variables.insert(name.to_owned(), OsString::from(value));
        self
    }

    fn set(mut self, pair: &str) -> Self {
        self.inputs.set.push(pair.to_owned());
        self
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn load(&self) -> Config {
        Config::load(&self.inputs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn lines(&self) -> Vec<String> {
        let errors = Config::load(&self.inputs).expect_err("must be refused").to_string();
        let folder = format!("{}/", self.folder.path().display());
        errors.lines().map(|line| line.replace(&folder, "")).collect()
    }
}

#[test]
fn every_default_is_valid_and_equals_the_rules_own() {
    for setting in TABLE {
        let Some(text) = setting.default else { continue };
        let parsed = setting.kind.parse(text, value::Shape::Untyped);
        assert!(parsed.is_ok(), "{}: {parsed:?}", setting.key);
    }
    let config = given("").load();
    assert_eq!(config.rules, Rules::default());
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.kafka.bootstrap_servers, "localhost:9092");
    assert!(config.kafka.properties.is_empty());
    assert_eq!(config.topics.verdicts, "sentra.verdicts");
    assert_eq!(
        config.score,
        ScoreConfig {
            shards: 0,
            batch: 256,
            linger_ms: 5,
            undelivered: 10_000,
            features: false,
            instance: None,
            take_over: false,
            lag_ready: Some(std::time::Duration::from_secs(30)),
        }
    );
    assert_eq!(config.telemetry.listen, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(config.model, ModelConfig { path: PathBuf::from("models"), backend: Backend::Compiled });
    assert!(config.sink.database_url.is_none());
}

#[test]
fn each_source_beats_the_one_below_it() {
    let mut inputs = given("[kafka]\nbootstrap_servers = 'file:1'\n");
    assert_eq!(inputs.load().kafka.bootstrap_servers, "file:1");
    inputs = inputs.var("KAFKA_BOOTSTRAP_SERVERS", "familiar:2");
    assert_eq!(inputs.load().kafka.bootstrap_servers, "familiar:2");
    inputs = inputs.var("SENTRA__KAFKA__BOOTSTRAP_SERVERS", "own:3");
    assert_eq!(inputs.load().kafka.bootstrap_servers, "own:3");
    inputs = inputs.set("kafka.bootstrap_servers=line:4").set("kafka.bootstrap_servers=line:5");
    assert_eq!(inputs.load().kafka.bootstrap_servers, "line:5", "the last on the command line wins");
}

#[test]
fn the_familiar_variables_are_read() {
    let inputs = given("")
        .var("DATABASE_URL", "postgres://u:pw@db/sentra")
        .var("API_HOST", "0.0.0.0")
        .var("SENTRA__SERVE__TOKEN", "0123456789abcdef")
        .var("API_PORT", "8080")
        .var("MODEL_PATH", "/models/x")
        .var("ENVIRONMENT", "production")
        .var("DEBUG", "true")
        .var("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2");
    let config = inputs.load();
    assert_eq!(config.sink.database_url.unwrap().expose(), "postgres://u:pw@db/sentra");
    assert_eq!((config.serve.host.as_str(), config.serve.port), ("0.0.0.0", 8080));
    assert_eq!(config.model.path, PathBuf::from("/models/x"));
    assert_eq!(config.environment, Environment::Production);
    assert_eq!(config.telemetry.log, "info,sentra=debug", "DEBUG raises the log");
    assert_eq!(config.kafka.bootstrap_servers, "a:1,b:2");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config = given("").var("API_PORT", "").var("SENTRA__KAFKA__GROUP", "").load();
    assert_eq!((config.serve.port, config.kafka.group.as_str()), (8000, "sentra"));
}

#[test]
fn an_explicit_log_filter_is_not_overruled_by_debug() {
    let config = given("debug = true\n[telemetry]\nlog = 'warn'\n").load();
    assert_eq!(config.telemetry.log, "warn");
}

#[test]
fn the_file_is_found_by_name_variable_or_folder_in_that_order() {
    let inputs = given("[kafka]\ngroup = 'folder'\n");
    assert_eq!(inputs.load().kafka.group, "folder");
    let by_variable = inputs.file("v.toml", "[kafka]\ngroup = 'variable'\n");
    let mut inputs = inputs.var("SENTRA_CONFIG", &by_variable);
    assert_eq!(inputs.load().kafka.group, "variable");
    inputs.inputs.file = Some(inputs.file("n.toml", "[kafka]\ngroup = 'named'\n").into());
    assert_eq!(inputs.load().kafka.group, "named");
    inputs.inputs.file = Some(PathBuf::from("/nowhere/sentra.toml"));
    assert_eq!(inputs.lines().len(), 1);
    assert!(inputs.lines()[0].starts_with("file /nowhere/sentra.toml: cannot be read"), "{:?}", inputs.lines());
}

#[test]
fn properties_merge_over_sources_and_underscores_become_dots() {
    let config = given(
        "[kafka.properties]\n'fetch.wait.max.ms' = 50\nssl.ca.location = '/ca'\nsocket.keepalive.enable = true\n",
    )
    .var("SENTRA__KAFKA__PROPERTIES__security_protocol", "SASL_SSL")
    .var("SENTRA__KAFKA__PROPERTIES__SSL_CA_LOCATION", "/other")
    .set("kafka.properties.client.id=me")
    .load();
    let properties: Vec<(&str, &str)> =
        config.kafka.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        properties,
        [
            ("client.id", "me"),
            ("fetch.wait.max.ms", "50"),
            ("security.protocol", "SASL_SSL"),
            ("socket.keepalive.enable", "true"),
            ("ssl.ca.location", "/other"),
        ]
    );
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let inputs = given("");
    let password = inputs.file("password", "hunter2\n");
    let key = inputs.file("key", "k3y\r\n");
    let url = inputs.file("url", "postgres://db");
    let config = inputs
        .var("SENTRA__KAFKA__SASL_PASSWORD_FILE", &password)
        .var("SENTRA__KAFKA__PROPERTIES__SSL_KEY_PASSWORD_FILE", &key)
        .var("DATABASE_URL_FILE", &url)
        .load();
    assert_eq!(config.kafka.properties["sasl.password"], "hunter2");
    assert_eq!(config.kafka.properties["ssl.key.password"], "k3y");
    assert_eq!(config.sink.database_url.unwrap().expose(), "postgres://db");
}

#[test]
fn all_problems_are_told_at_once_each_in_one_line() {
    let inputs = given("tpoics = 1\n[score]\nshard = 2\nbatch = 'many'\n[time]\nlateness = '24'\n")
        .var("SENTRA__KAFKA__GRUOP", "x")
        .var("API_PORT", "eighty")
        .var("SENTRA_SCORE_LINGER_MS", "1")
        .set("model.backend=onnx")
        .set("nonsense");
    assert_eq!(
        inputs.lines(),
        [
            "variable SENTRA_SCORE_LINGER_MS: is not read; did you mean SENTRA__SCORE__LINGER_MS?",
            "command line: --set wants section.name=value",
            "score.batch (file sentra.toml:4): is a text, wanted a whole number from 1 to 8192",
            "score.shard (file sentra.toml:3): is no setting; did you mean score.shards?",
            "time.lateness (file sentra.toml:6): \"24\" is not a duration with its unit (ms, s, m, h, d) from 1s to 32d",
            "tpoics (file sentra.toml:1): is no setting; did you mean topics.dlq?",
            "serve.port (variable API_PORT): \"eighty\" is not a whole number from 0 to 65535",
            "kafka.gruop (variable SENTRA__KAFKA__GRUOP): is no setting; did you mean SENTRA__KAFKA__GROUP?",
            "model.backend (command line): \"onnx\" is not one of compiled, lightgbm",
        ]
    );
}

#[test]
fn a_setting_in_the_wrong_section_is_pointed_to_the_right_one() {
    let lines = given("[score]\nfeatures = true\n").lines();
    assert_eq!(lines, ["score.features (file sentra.toml:2): is no setting; did you mean verdict.features?"]);
}

#[test]
fn the_same_setting_twice_in_one_layer_is_a_problem() {
    let inputs = given("").var("SENTRA__KAFKA__GROUP", "a").var("SENTRA__kafka__group", "b");
    assert_eq!(inputs.lines().len(), 1);
    let inputs = given("");
    let file = inputs.file("p", "x");
    let lines = inputs.var("DATABASE_URL", "postgres://y").var("DATABASE_URL_FILE", &file).lines();
    assert_eq!(
        lines,
        [
            "sink.database_url (variable DATABASE_URL_FILE): is given twice, also by variable DATABASE_URL; keep one of them"
        ]
    );
}

#[test]
fn limits_between_settings_are_checked() {
    for (pairs, start) in [
        (&["time.lateness=32d", "time.forget=39d"][..], None),
        (&["time.lateness=10d", "time.forget=16d"], Some("time.forget (command line): time.forget must be at least")),
        (&["score.batch=512", "score.undelivered=511"], Some("score.undelivered (command line)")),
        (&["score.batch=512", "score.undelivered=512"], None),
        (&["topics.dlq=sentra.verdicts"], Some("topics.dlq (command line): topics.verdicts and topics.dlq must be")),
        (&["time.lateness=33d"], Some("time.lateness (command line): \"33d\" is not a duration")),
        (&["time.duplicates=8d"], Some("time.duplicates (command line)")),
    ] {
        let inputs = pairs.iter().fold(given(""), |inputs, pair| inputs.set(pair));
        match start {
            None => drop(inputs.load()),
            Some(start) => assert!(inputs.lines()[0].starts_with(start), "{pairs:?}: {:?}", inputs.lines()),
        }
    }
}

#[test]
fn a_connection_string_is_judged_by_its_form_without_being_shown() {
    for (url, words) in [
        ("hunter2", "invalid connection string"),
        ("postgres://sink:hunter2@db/sentra?colour=red", "unknown option `colour`"),
        ("postgres://sink:hunter2@db/sentra?sslmode=on", "sslmode is none of"),
    ] {
        let lines = given("").var("DATABASE_URL", url).lines();
        assert!(lines.len() == 1 && lines[0].starts_with("sink.database_url (variable DATABASE_URL): "), "{lines:?}");
        assert!(lines[0].contains(words) && !lines[0].contains("hunter2"), "{lines:?}");
    }
}

#[test]
fn secrets_are_never_printed() {
    const SECRET: &str = "hunter2hunter2";
    let toml = format!("[kafka]\nsasl_password = '{SECRET}'\n[kafka.properties]\n'ssl.key.password' = '{SECRET}'\n");
    let inputs = given(&toml).var("DATABASE_URL", &format!("postgres://sink:{SECRET}@db/sentra"));
    let settings = Settings::load(&inputs.inputs).unwrap();
    let config = settings.config().unwrap();
    assert_eq!(config.kafka.properties["sasl.password"], SECRET);
    let printed = [
        format!("{config:?}{settings:?}{:?}", config.sink.database_url),
        render::show_text(&settings),
        render::show_json(&settings).to_string(),
    ];
    for text in printed {
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains(secret::MASK));
    }
    let refused = [
        given("").set(&format!("kafka.sasl_password={SECRET}")),
        given("").set(&format!("kafka.properties.ssl.key.password={SECRET}")),
        given(&format!("[kafka]\nsasl_password = ['{SECRET}']\n")),
        given(&format!("[kafka]\nsasl_pasword = '{SECRET}'\n")),
        given(&format!("[kafka]\nsasl_password = '{SECRET}\n")),
        given(&format!("[kafka.properties]\n'sasl.password' = '{SECRET}'\n")),
        given("").set(&format!("kafka.bootstrap_servers=SASL://me:{SECRET}@host")),
    ];
    for inputs in refused {
        let text = inputs.lines().join("\n");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn the_committed_samples_are_current() {
    for (file, current) in [("deploy/sentra.toml", render::sample_toml()), (".env.example", render::sample_env())] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == current, "{file} is not current: write it anew with `sentra config schema --as …`");
    }
}

#[test]
fn the_samples_with_their_defaults_uncommented_are_valid_and_change_nothing() {
    let settings_of = |text: &str| {
        let is_setting = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
        let lines = text.lines().map(|line| line.strip_prefix("# ").filter(|bare| is_setting(bare)).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    };
    let toml = settings_of(&render::sample_toml());
    assert!(toml.contains("\nlateness = \"24h\"\n"), "{toml}");
    assert_eq!(format!("{:?}", given(&toml).load()), format!("{:?}", given("").load()));
    let mut inputs = given("");
    let env = render::sample_env();
    let pairs =
        env.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('=')).filter(|(name, _)| !name.contains(' '));
    for (name, value) in pairs {
        inputs = inputs.var(name, value);
    }
    let with_default = TABLE.iter().filter(|setting| setting.default.is_some()).count();
    assert!(inputs.inputs.variables.len() >= with_default);
    assert_eq!(format!("{:?}", inputs.load()), format!("{:?}", given("").load()));
}

#[test]
fn the_schema_agrees_with_the_loader() {
    let schema = jsonschema::validator_for(&render::schema()).unwrap();
    for (toml, fits) in [
        ("[score]\nbatch = 12\n[kafka.properties]\n'ssl.ca.location' = '/ca'\n", true),
        ("environment = 'production'\n[time]\nlateness = '48h'\nmax_future = 'off'\nutc_offset = '-05:30'\n", true),
        ("[kafka]\nsasl_password_file = '/dev/null'\nbootstrap_servers = '[::1]:9092'\n", true),
        ("[score]\nbatch = 0\n", false),
        ("[score]\nbatches = 1\n", false),
        ("[time]\nlateness = '24'\n", false),
        ("[model]\nbackend = 'onnx'\n", false),
        ("[windows]\nhome_currency = 'kes'\n", false),
        ("[kafka.properties]\n'group.id' = 'x'\n", false),
    ] {
        let json = serde_json::to_value(::toml::from_str::<::toml::Table>(toml).unwrap()).unwrap();
        assert_eq!(schema.is_valid(&json), fits, "{toml}");
        let loads = match Config::load(&given(toml).inputs) {
            Ok(_) => true,
            Err(errors) => errors.0.iter().all(|problem| problem.what.contains("empty")),
        };
        assert_eq!(loads, fits, "{toml}");
    }
}
