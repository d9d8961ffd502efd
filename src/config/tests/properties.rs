//! Raw properties of the Kafka client: which are refused, which are bounded, what is said of unknown ones.

use super::*;

#[test]
fn properties_that_sentra_owns_are_refused_by_name() {
    for name in [
        "bootstrap.servers",
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "enable.idempotence",
        "acks",
        "message.timeout.ms",
        "enable.gapless.guarantee",
        "partition.assignment.strategy",
        "partitioner",
        "enable.partition.eof",
        "statistics.interval.ms",
        "queue.buffering.max.messages",
        "queue.buffering.max.kbytes",
        "group.protocol",
        "isolation.level",
        "transactional.id",
        "sasl.password",
    ] {
        let lines = given(&format!("[kafka.properties]\n'{name}' = 'x'\n")).lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(&format!("kafka.properties.{name} (file sentra.toml:2): is ")), "{lines:?}");
        assert!(lines[0].ends_with("; remove it"), "{lines:?}");
    }
}

#[test]
fn properties_that_librdkafka_does_not_know_or_take_are_told_at_load() {
    let lines = given("[kafka.properties]\n'securty.protocol' = 'SSL'\n'security.protocol' = 'SLS'\n").lines();
    assert_eq!(
        lines,
        [
            "kafka.properties.security.protocol (file sentra.toml:3): Invalid value \"SLS\" for configuration property \
             \"security.protocol\"; correct or remove it",
            "kafka.properties.securty.protocol (file sentra.toml:2): No such configuration property: \
             \"securty.protocol\"; correct or remove it",
        ]
    );
}

#[test]
fn requests_in_flight_and_the_sizes_of_records_and_batches_stay_within_what_order_and_topics_bear() {
    for (name, least, most) in [
        ("max.in.flight", 1, 5),
        ("max.in.flight.requests.per.connection", 1, 5),
        ("message.max.bytes", 131_072, 1_000_000),
        ("batch.size", 1, 1_000_000),
    ] {
        let set = |value: i64| given("").set(&format!("kafka.properties.{name}={value}"));
        for value in [least, most] {
            assert_eq!(set(value).load().kafka.properties[name], value.to_string());
        }
        for value in [least - 1, most + 1] {
            let start = format!("kafka.properties.{name} (command line): wanted {least} to {most}: ");
            let lines = set(value).lines();
            assert!(lines.len() == 1 && lines[0].starts_with(&start), "{lines:?}");
        }
    }
}
