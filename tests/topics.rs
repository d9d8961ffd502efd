//! `sentra topics`, `doctor` and `verdicts tail` as a user runs them, on a real Kafka.

mod common;

use std::{
    process::{Command, Output},
    time::Duration,
};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

struct Line {
    prefix: String,
    more: Vec<(&'static str, String)>,
}

impl Line {
    fn new() -> Self {
        Self { prefix: common::unique_topic("line"), more: Vec::new() }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.more.push((name, value.to_owned()));
        self
    }

    fn topic(&self, end: &str) -> String {
        format!("{}.{end}", self.prefix)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sentra"))
            .args(arguments)
            .env("KAFKA_BOOTSTRAP_SERVERS", common::kafka())
            .env("SENTRA__TOPICS__TRANSACTIONS", self.topic("in"))
            .env("SENTRA__TOPICS__VERDICTS", self.topic("out"))
            .env("SENTRA__TOPICS__DLQ", self.topic("dlq"))
            .env("SENTRA__TOPICS__PARTITIONS", "4")
            .envs(self.more.iter().map(|(name, value)| (*name, value)))
            .output()
            .expect("sentra runs")
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn plan_changes_nothing_apply_creates_once_and_check_agrees() {
    let line = Line::new();
    let check = line.run(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(1), "{}", err(&check));
    assert_eq!(out(&check).matches("does not exist").count(), 3, "{}", out(&check));
    for _ in 0..2 {
        let plan = line.run(&["topics", "plan"]);
        assert_eq!(out(&plan).matches("would create").count(), 3, "{}{}", out(&plan), err(&plan));
    }
    let apply = line.run(&["topics", "apply"]);
    assert!(apply.status.success(), "{}", err(&apply));
    assert_eq!(out(&apply).matches(": created, 4 partitions").count(), 3, "{}", out(&apply));
    let again = line.run(&["topics", "apply"]);
    assert!(again.status.success() && !out(&again).contains("created"), "{}", out(&again));
    let check = line.run(&["topics", "check"]);
    let text = out(&check);
    assert!(check.status.success(), "{text}");
    assert!(text.contains("LogAppendTime") && text.contains("warn: ") && !text.contains("fail: "), "{text}");
    let strict = Line { prefix: line.prefix.clone(), more: Vec::new() }.set("ENVIRONMENT", "production");
    let check = strict.run(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(1), "{}", out(&check));
    assert!(out(&check).contains("fail: ") && out(&check).contains("copies"), "{}", out(&check));
}

#[test]
fn a_partition_count_is_never_changed_and_the_reason_is_said() {
    let line = Line::new();
    common::create_topic(&line.topic("in"), 3, &[("retention.ms", "604800000")]);
    common::create_topic(&line.topic("out"), 5, &[("cleanup.policy", "compact"), ("retention.ms", "604800000")]);
    let apply = line.run(&["topics", "apply"]);
    let text = out(&apply);
    assert!(apply.status.success(), "{}", err(&apply));
    assert!(text.contains("a count is never changed") && text.contains(".dlq: created, 3 partitions"), "{text}");
    let check = line.run(&["topics", "check", "--json"]);
    assert_eq!(check.status.code(), Some(1));
    let findings: serde_json::Value = serde_json::from_slice(&check.stdout).expect("JSON");
    let fails: Vec<&str> = findings
        .as_array()
        .expect("a list")
        .iter()
        .filter(|found| found["severity"] == "fail")
        .filter_map(|found| found["text"].as_str())
        .collect();
    for words in ["must be equal", "compaction", "one segment"] {
        assert_eq!(fails.iter().filter(|fail| fail.contains(words)).count(), 1, "{words}: {fails:?}");
    }
    assert_eq!(fails.len(), 3, "{fails:?}");
}

#[test]
fn without_permission_a_topic_is_not_called_right() {
    let mut line = Line::new();
    line.prefix = common::unique_topic("sasl.transactions");
    let create = line.run(&["topics", "apply"]);
    assert!(create.status.success(), "{}", err(&create));
    for (name, value) in common::sasl(common::SaslUser::Stranger) {
        match name {
            "bootstrap.servers" => line.more.push(("KAFKA_BOOTSTRAP_SERVERS", value)),
            "sasl.password" => line.more.push(("SENTRA__KAFKA__SASL_PASSWORD", value)),
            "security.protocol" => line.more.push(("SENTRA__KAFKA__PROPERTIES__SECURITY_PROTOCOL", value)),
            "sasl.mechanism" => line.more.push(("SENTRA__KAFKA__PROPERTIES__SASL_MECHANISM", value)),
            "ssl.ca.location" => line.more.push(("SENTRA__KAFKA__PROPERTIES__SSL_CA_LOCATION", value)),
            "sasl.username" => line.more.push(("SENTRA__KAFKA__PROPERTIES__SASL_USERNAME", value)),
            other => panic!("{other} is not passed on"),
        }
    }
    let check = line.run(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(1), "{}{}", out(&check), err(&check));
    assert!(out(&check).contains("grant"), "{}", out(&check));
    line.more.push(("SENTRA__KAFKA__SASL_PASSWORD", String::from("wrong")));
    let check = line.run(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(err(&check).contains("kafka.sasl_password") && err(&check).lines().count() == 1, "{}", err(&check));
}

#[test]
fn an_absent_broker_is_one_line_that_names_the_setting() {
    let line = Line::new().set("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let check = line.run(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(err(&check).contains("kafka.bootstrap_servers") && err(&check).lines().count() == 1, "{}", err(&check));
}

#[test]
fn doctor_says_ok_or_what_to_do_of_each_part() {
    let line = Line::new().set("SENTRA__TELEMETRY__LISTEN", "127.0.0.1:0");
    let early = line.run(&["doctor"]);
    assert_eq!(early.status.code(), Some(1));
    assert_eq!(out(&early).matches("sentra topics apply").count(), 3, "{}", out(&early));
    line.run(&["topics", "apply"]);
    let doctor = line.run(&["doctor"]);
    let text = out(&doctor);
    for part in
        ["librdkafka", "broker", "broker features", "topics", "topic id", "clock", "model", "telemetry", "open files"]
    {
        assert!(text.contains(&format!(" {part}: ")), "{part}:\n{text}{}", err(&doctor));
    }
    assert_eq!(doctor.status.success(), !text.contains("fail "), "{text}");
    for part in ["librdkafka", "broker", "broker features", "telemetry"] {
        assert!(text.contains(&format!("ok   {part}: ")), "{part}:\n{text}");
    }
    let absent = Line::new().set("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let doctor = absent.run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1));
    let lines: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let broker = lines.as_array().expect("a list").iter().find(|line| line["part"] == "broker").expect("broker");
    assert_eq!(broker["health"], "fail");
}

#[test]
fn tail_prints_what_counts_filters_checks_gaps_and_goes_on_by_cursor() {
    let line = Line::new();
    common::create_topic(&line.topic("out"), 1, &[]);
    let verdict = |epoch: i64, source: i64, previous: i64, score: i64| {
        format!(
            r#"{{"kind":"scored","risk_score":{score},"risk_level":"LOW","source":{{"log":"7f3a9c01","partition":0,"offset":{source},"previous_offset":{previous},"epoch":{epoch}}}}}"#
        )
    };
    let owner = String::from(r#"{"kind":"owner","source":{"log":"7f3a9c01","partition":0}}"#);
    write(&line, &[owner.clone(), verdict(0, 0, -1, 10), owner, verdict(0, 1, 0, 20), verdict(2, 1, 0, 30)]);
    let run = line.run(&["verdicts", "tail", "--until-end", "--json", "--gaps"]);
    assert!(run.status.success(), "{}", err(&run));
    assert_eq!(out(&run), format!("{}\n{}\n", verdict(0, 0, -1, 10), verdict(2, 1, 0, 30)));
    assert!(err(&run).contains("accepted 2, ignored 1, owners 2, lost 0, unknown 0, gaps 0"), "{}", err(&run));
    let cursor = err(&run).lines().find_map(|line| line.strip_prefix("cursor ").map(str::to_owned)).expect("a cursor");
    let filtered = line.run(&["verdicts", "tail", "--until-end", "--min-score", "30"]);
    assert_eq!(out(&filtered).lines().count(), 1, "{}", out(&filtered));
    write(&line, &[verdict(2, 3, 2, 40)]);
    let later = line.run(&["verdicts", "tail", "--until-end", "--json", "--gaps", "--from", &cursor]);
    assert_eq!(out(&later), format!("{}\n", verdict(2, 3, 2, 40)));
    assert_eq!(later.status.code(), Some(1), "a gap: {}", err(&later));
    assert!(err(&later).contains("1 gaps"), "{}", err(&later));
    let other = Line::new();
    common::create_topic(&other.topic("out"), 1, &[]);
    let foreign = other.run(&["verdicts", "tail", "--until-end", "--from", &cursor]);
    assert!(foreign.status.code() == Some(1) && err(&foreign).contains("another verdict topic"), "{}", err(&foreign));
    let garbage = other.run(&["verdicts", "tail", "--from", "yesterday"]);
    assert_eq!(garbage.status.code(), Some(2), "{}", err(&garbage));
}

#[test]
fn tail_ends_cleanly_on_sigterm() {
    let line = Line::new();
    common::create_topic(&line.topic("out"), 1, &[]);
    let child = Command::new(env!("CARGO_BIN_EXE_sentra"))
        .args(["verdicts", "tail"])
        .env("KAFKA_BOOTSTRAP_SERVERS", common::kafka())
        .env("SENTRA__TOPICS__VERDICTS", line.topic("out"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("sentra runs");
    std::thread::sleep(Duration::from_secs(2));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && err(&output).contains("cursor "), "{}", err(&output));
}

fn write(line: &Line, values: &[String]) {
    let producer: BaseProducer =
        common::client(&[("bootstrap.servers", common::kafka())]).create().expect("a producer");
    for value in values {
        let topic = line.topic("out");
        let record = BaseRecord::<[u8], str>::to(&topic).partition(0).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(common::PATIENCE).expect("flushed");
}
