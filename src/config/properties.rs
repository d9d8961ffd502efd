//! Raw librdkafka properties: which pass, which Sentra owns and why, which are secret. Whether a name or value means
//! anything at all is asked of librdkafka.

use std::ops::RangeInclusive;

use super::{
    secret::MASK,
    settings::{Given, Source},
    value::Shape,
};
use crate::{
    domain::{decode::MAX_VALUE_BYTES, verdict::MAX_VERDICT_BYTES},
    kafka::topics::judge::BATCH_BYTES,
};

/// One property that passed.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// As librdkafka gets it; a secret in some.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Property").field("value", &MASK).field("source", &self.source).finish()
    }
}

/// Properties that are refused, and why: the first column lists names that mean the same.
const OWNED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "is set by kafka.bootstrap_servers"),
    (&["group.id"], "is set by kafka.group"),
    (&["sasl.password"], "is set by kafka.sasl_password or kafka.sasl_password_file"),
    (&["linger.ms", "queue.buffering.max.ms"], "is set by score.linger_ms"),
    (
        &["group.instance.id", "group.protocol", "group.remote.assignor", "partition.assignment.strategy"],
        "is Sentra's: partitions move between shards by the classic cooperative protocol",
    ),
    (
        &[
            "enable.auto.commit",
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "offset.store.method",
            "auto.offset.reset",
        ],
        "is Sentra's: the verdict topic says where to go on, and a silent jump would lose verdicts",
    ),
    (
        &["enable.idempotence", "acks", "request.required.acks", "enable.gapless.guarantee"],
        "is Sentra's: one verdict each, in order, needs an idempotent producer that stops at the first gap",
    ),
    (
        &["message.timeout.ms", "delivery.timeout.ms", "message.send.max.retries", "retries", "queuing.strategy"],
        "is Sentra's: a verdict that timed out would be a gap",
    ),
    (
        &["delivery.report.only.error", "produce.offset.report"],
        "is Sentra's: a partition's owner watches its own acknowledgements",
    ),
    (
        &["transactional.id", "transaction.timeout.ms", "isolation.level"],
        "is Sentra's: exactly once comes from the log's epochs, not from Kafka transactions",
    ),
    (
        &["partitioner", "partitioner_cb"],
        "is Sentra's: a verdict lies in its transaction's partition, and murmur2 places the rest as Java does",
    ),
    (&["enable.partition.eof"], "is Sentra's: recovery ends by offset"),
    (&["statistics.interval.ms"], "is Sentra's: lag, and whether a broker is reached, are read from the statistics"),
    (
        &["queue.buffering.max.messages", "queue.buffering.max.kbytes"],
        "is Sentra's: a producer holds more than all its partitions may have undelivered (score.undelivered)",
    ),
    (&["allow.auto.create.topics"], "is Sentra's: topics are made by `sentra topics apply`, with the right settings"),
];

/// Properties with limits rather than an owner, and what lies beyond them.
const BOUNDED: &[(&[&str], RangeInclusive<i64>, &str)] = &[
    // KIP-91, and librdkafka's own limit for an idempotent producer.
    (
        &["max.in.flight", "max.in.flight.requests.per.connection"],
        1..=5,
        "above that, order is lost when a request is repeated",
    ),
    (
        &["message.max.bytes"],
        MIN_MESSAGE_BYTES..=BATCH_BYTES,
        "below that a record may not fit, above it the verdict topic may refuse a batch for good",
    ),
    (&["batch.size"], 1..=BATCH_BYTES, "above that the verdict topic may refuse a batch for good"),
];

/// The largest record that Sentra produces is the transaction of a request, with its key and headers beside it.
const MIN_MESSAGE_BYTES: i64 = 2 * MAX_VALUE_BYTES as i64;
const _: () = assert!(MAX_VERDICT_BYTES < MAX_VALUE_BYTES, "a verdict fits where a transaction does");

/// Judges a property.
///
/// # Errors
/// Why it is refused and the way out; never its value where that may be secret.
pub(super) fn check(name: &str, given: &Given) -> Result<Property, String> {
    if let Some((_, why)) = OWNED.iter().find(|(names, _)| names.contains(&name)) {
        return Err(format!("{why}; remove it"));
    }
    if let Shape::Other(shape) = given.shape {
        return Err(format!("is {shape}, wanted a text, a number or a boolean"));
    }
    if is_secret(name) && given.source == Source::CommandLine && !given.key.ends_with(FILE_SUFFIX) {
        return Err(format!("a secret on the command line is seen by every user; use {name}{FILE_SUFFIX}"));
    }
    if let Some((_, range, why)) = BOUNDED.iter().find(|(names, ..)| names.contains(&name))
        && !given.text.parse().is_ok_and(|value| range.contains(&value))
    {
        return Err(format!("wanted {} to {}: {why}", range.start(), range.end()));
    }
    if given.text.contains('\0') {
        return Err(String::from("holds a NUL byte; remove it"));
    }
    match crate::kafka::properties::check(name, &given.text) {
        Ok(()) => {}
        // Its words may quote the value.
        Err(_) if is_secret(name) => return Err(String::from("is refused by librdkafka; correct or remove it")),
        Err(why) => return Err(format!("{why}; correct or remove it")),
    }
    Ok(Property { value: given.text.clone(), source: given.source.clone() })
}

/// Each name that is refused, with why.
pub(super) fn owned() -> impl Iterator<Item = (&'static str, &'static str)> {
    OWNED.iter().flat_map(|(names, why)| names.iter().map(move |name| (*name, *why)))
}

const FILE_SUFFIX: &str = ".file";

/// `ssl.key.password.file` → `ssl.key.password`: every secret may come from a file.
pub(super) fn secret_file_of(name: &str) -> Option<&str> {
    name.strip_suffix(FILE_SUFFIX).filter(|name| is_secret(name))
}

/// Whether the property is never printed.
pub(super) fn is_secret(name: &str) -> bool {
    let parts = ["password", "secret", "passphrase", "oauthbearer.config", "key.pem", "assertion.jwt"];
    parts.iter().any(|part| name.contains(part)) && !name.ends_with(FILE_SUFFIX)
}

/// The value as people may see it.
pub(super) fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { MASK } else { value }
}
