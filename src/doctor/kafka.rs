//! The doctor's look at librdkafka, the broker, the topics and the clock. Only reads.

use std::{
    collections::BTreeSet,
    sync::{Mutex, atomic::AtomicBool},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientContext, Timestamp,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    message::Message,
};

use super::{Health, Line};
use crate::{
    config::Config,
    kafka::{
        client::admin_config,
        tail::RangeReader,
        topics::{
            facts::{Role, Survey, TopicFacts},
            judge::{Severity, judge},
        },
    },
};

/// What librdkafka must have been built with: without it, some broker or topic cannot be spoken to.
const WANTED: &[&str] = &["gzip", "snappy", "ssl", "sasl", "sasl_scram", "sasl_plain", "lz4", "zstd"];
/// What the broker must speak, by librdkafka's names.
const SPOKEN: &[&str] = &["MsgVer2", "IdempotentProducer", "LZ4", "ZSTD"];
/// How long the broker may take to say what it speaks.
const ASK: Duration = Duration::from_secs(5);
/// Partitions whose newest record is looked at for the broker's clock.
const CLOCKS: i32 = 8;
/// How far the broker's clock may lead ours before it is worth a word, in milliseconds.
const LEAD_MS: i64 = 1_000;

/// librdkafka's version and what it was built with.
pub(super) fn library() -> Vec<Line> {
    let (_, version) = rdkafka::util::get_rdkafka_version();
    let features = match rdkafka::ClientConfig::new().create_native_config().and_then(|own| own.get("builtin.features"))
    {
        Ok(features) => features,
        Err(error) => return vec![Line::new(Health::Fail, "librdkafka", error.to_string())],
    };
    vec![built(&version, &features)]
}

fn built(version: &str, features: &str) -> Line {
    let has: Vec<&str> = features.split(',').map(str::trim).collect();
    let missing: Vec<&str> = WANTED.iter().copied().filter(|wanted| !has.contains(wanted)).collect();
    if missing.is_empty() {
        return Line::new(Health::Ok, "librdkafka", format!("{version} with {}", WANTED.join(", ")));
    }
    let text = format!("{version} was built without {}: build with libssl-dev and zlib1g-dev", missing.join(", "));
    Line::new(Health::Fail, "librdkafka", text)
}

/// Broker, topics and clock; without a broker only that.
pub(super) fn broker(config: &Config) -> Vec<Line> {
    let survey = match Survey::connect(&config.kafka) {
        Ok(survey) => survey,
        Err(error) => return vec![Line::new(Health::Fail, "broker", error.to_string())],
    };
    let mut lines = vec![reached(&survey, config), spoken(config)];
    match survey.topics(&config.topics) {
        Err(error) => lines.push(Line::new(Health::Fail, "topics", error.to_string())),
        Ok(topics) => {
            lines.extend(judged(&topics, config));
            lines.extend(topics.iter().filter_map(identified));
            lines.push(clock(&survey, &topics, config));
        }
    }
    lines
}

fn reached(survey: &Survey, config: &Config) -> Line {
    let servers = &config.kafka.bootstrap_servers;
    match survey.client().fetch_metadata(None, ASK) {
        Ok(metadata) => Line::new(Health::Ok, "broker", format!("{} of them at {servers}", metadata.brokers().len())),
        Err(error) => Line::new(Health::Fail, "broker", format!("{servers}: {error}")),
    }
}

/// librdkafka tells which features the broker has only in its log, so one client's log is read for it.
fn spoken(config: &Config) -> Line {
    let part = "broker features";
    let client = admin_config(&config.kafka)
        .set("debug", "feature")
        .set_log_level(RDKafkaLogLevel::Debug)
        .create_with_context(Features::default());
    let client: BaseConsumer<Features> = match client {
        Ok(client) => client,
        Err(error) => return Line::new(Health::Fail, part, crate::kafka::client::describe(&error)),
    };
    // Whether it answers was asked before; here only what the log says meanwhile matters.
    drop(client.fetch_metadata(None, ASK));
    drop(client.poll(Duration::from_millis(200)));
    let seen = client.context().0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    heard(&seen)
}

fn heard(seen: &BTreeSet<String>) -> Line {
    let part = "broker features";
    let missing: Vec<&str> = SPOKEN.iter().copied().filter(|wanted| !seen.contains(*wanted)).collect();
    if seen.is_empty() {
        Line::new(Health::Warn, part, "not told by this librdkafka; Kafka 3.1 or later is needed, for topic ids")
    } else if missing.is_empty() {
        Line::new(Health::Ok, part, SPOKEN.join(", "))
    } else {
        let text = format!("without {}: Kafka 3.1 or later is needed", missing.join(", "));
        Line::new(Health::Fail, part, text)
    }
}

/// Keeps the features that librdkafka's log says it enables for a broker.
#[derive(Default)]
struct Features(Mutex<BTreeSet<String>>);

impl ClientContext for Features {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some((_, feature)) = line.split_once("Enabling feature ").filter(|_| facility == "APIVERSION") {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(feature.trim().to_owned());
        }
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Features {}

fn judged(topics: &[TopicFacts], config: &Config) -> Vec<Line> {
    if config.kafka.embedded_log.is_some() {
        return vec![Line::new(Health::Ok, "topics", "on a demo's embedded broker, in memory: nothing to judge")];
    }
    let findings = judge(topics, &config.rules, config.environment);
    let line = |severity, topic: &str, text: &str| {
        let health = match severity {
            Severity::Note => Health::Ok,
            Severity::Warn => Health::Warn,
            Severity::Fail => Health::Fail,
        };
        Line::new(health, "topics", format!("{topic}: {text}"))
    };
    findings.iter().map(|found| line(found.severity, &found.topic, &found.text)).collect()
}

fn identified(topic: &TopicFacts) -> Option<Line> {
    let id = topic.shape()?.id.as_ref().ok()?;
    Some(Line::new(Health::Ok, "topic id", format!("{}: {id}", topic.name)))
}

/// The newest timestamps that a broker gave: they cannot lie in its future, so if they lie in ours, our clock is
/// behind. The other direction cannot be seen without writing a record.
fn clock(survey: &Survey, topics: &[TopicFacts], config: &Config) -> Line {
    let stamped = |topic: &&TopicFacts| {
        topic.role != Role::Dlq
            && topic.shape().is_some_and(|shape| shape.text("message.timestamp.type") == Some("LogAppendTime"))
    };
    let newest = topics.iter().filter(stamped).filter_map(|topic| newest_ms(survey, topic, config)).max();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    compared(newest, now)
}

fn compared(newest: Option<i64>, now: i64) -> Line {
    let part = "clock";
    match newest {
        None => Line::new(
            Health::Ok,
            part,
            "not compared: no record bears the broker's time yet, and none is written for this; keep NTP running",
        ),
        Some(newest) if newest - now > LEAD_MS => Line::new(
            Health::Warn,
            part,
            format!("this clock is at least {} ms behind the broker's: look at NTP on both", newest - now),
        ),
        Some(_) => Line::new(
            Health::Ok,
            part,
            "not behind the broker's newest record (a clock ahead cannot be seen without writing)",
        ),
    }
}

fn newest_ms(survey: &Survey, topic: &TopicFacts, config: &Config) -> Option<i64> {
    let stop = AtomicBool::new(false);
    let mut reader = RangeReader::open(&config.kafka, &topic.name).ok()?;
    let mut newest = None;
    for partition in 0..topic.shape()?.partitions.min(CLOCKS) {
        // Asked here with a limit: the reader would wait for a leader for ever.
        let (start, end) = survey.client().fetch_watermarks(&topic.name, partition, ASK).ok()?;
        let read = reader.read_messages(partition, (end - 1).max(start), end, &stop, |message| {
            if let Timestamp::LogAppendTime(ms) = message.timestamp() {
                newest = newest.max(Some(ms));
            }
        });
        read.ok()?;
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_or_broker_that_lacks_something_fails_by_its_name_with_the_way_out() {
        let all = WANTED.join(", ");
        assert_eq!(built("2.12.1", &all).health, Health::Ok);
        let line = built("2.12.1", &all.replace("sasl_scram, ", ""));
        assert!(line.health == Health::Fail && line.text.contains("without sasl_scram: build with"), "{line:?}");
        let spoken = |names: &[&str]| heard(&names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(spoken(SPOKEN).health, Health::Ok);
        let line = spoken(&["MsgVer2", "LZ4", "ZSTD"]);
        assert!(line.health == Health::Fail && line.text.contains("without IdempotentProducer: Kafka 3.1"), "{line:?}");
        assert_eq!(spoken(&[]).health, Health::Warn);
    }

    #[test]
    fn a_clock_behind_the_newest_record_is_warned_of() {
        let now = 1_772_352_900_000;
        for (newest, expected) in [
            (None, Health::Ok),
            (Some(now - 1), Health::Ok),
            (Some(now + LEAD_MS), Health::Ok),
            (Some(now + LEAD_MS + 1), Health::Warn),
        ] {
            assert_eq!(compared(newest, now).health, expected, "{newest:?}");
        }
        assert!(compared(Some(now + 2_500), now).text.contains("at least 2500 ms behind the broker's: look at NTP"));
    }
}
