//! The embedded broker beside what the rest of Sentra asks of a broker. It needs nothing running.

mod common;

use std::time::Instant;

use common::PATIENCE;
use rdkafka::{
    Message,
    producer::{BaseProducer, BaseRecord, Producer},
};
use sentra::{
    config::{Config, Inputs, TopicsConfig},
    embedded::Broker,
    kafka::{
        client::producer_config,
        layout::Surveyor,
        tail::{From, Tail, TailEvent, Until},
        topics,
    },
};

fn config(broker: impl FnOnce(&TopicsConfig) -> Broker) -> (Config, Broker) {
    let mut config = Config::load(&Inputs::default()).expect("the defaults");
    config.topics.partitions = 4;
    let broker = broker(&config.topics);
    config.kafka = broker.config("embedded");
    (config, broker)
}

fn started() -> (Config, Broker) {
    config(|topics| Broker::start(topics).expect("a broker"))
}

#[test]
fn its_topics_are_found_at_once_and_bear_the_id_that_the_configuration_gives_them() {
    let (config, _broker) = started();
    let began = Instant::now();
    let layout = Surveyor::new(&config).and_then(|surveyor| surveyor.survey()).expect("a layout");
    assert_eq!((layout.transactions, layout.verdicts), (4, 4));
    assert_eq!(Some(*layout.log.as_bytes()), config.kafka.embedded_log.map(|log| log.0));
    assert_eq!(topics::check(&config), Ok(Vec::new()), "nothing there is meant to last");
    assert!(began.elapsed() < PATIENCE, "nothing was asked that is never answered");
}

#[test]
fn each_start_is_another_log() {
    let ((one, _first), (other, _second)) = (started(), started());
    assert_ne!(one.kafka.embedded_log, other.kafka.embedded_log);
    assert_ne!(one.kafka.bootstrap_servers, other.kafka.bootstrap_servers);
}

#[test]
fn a_tail_follows_it_and_goes_on_from_its_cursor_but_not_with_another_logs() {
    let (config, _broker) = started();
    let topic = &config.topics.verdicts;
    let producer: BaseProducer = producer_config(&config.kafka).create().expect("a producer");
    for value in [r#"{"kind":"owner","source":{"log":"00000001","partition":0}}"#, VERDICT] {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(0).payload(value))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
    let mut tail = Tail::open(&config.kafka, topic, From::Earliest, Until::End).expect("a tail");
    let mut accepted = Vec::new();
    while !tail.finished() {
        if let Some(TailEvent::Accepted { message, .. }) = tail.poll(PATIENCE).expect("records") {
            accepted.push(message.offset());
        }
    }
    assert_eq!(accepted, [1]);
    let positions = tail.positions();
    assert!(Tail::open(&config.kafka, topic, From::Positions(positions.clone()), Until::End).is_ok());
    let (other, _broker) = started();
    let refused = Tail::open(&other.kafka, topic, From::Positions(positions), Until::End).err().expect("another log");
    assert!(refused.to_string().contains("another verdict topic"), "{refused}");
}

const VERDICT: &str =
    r#"{"kind":"scored","source":{"log":"00000001","partition":0,"offset":0,"previous_offset":-1,"epoch":0}}"#;
