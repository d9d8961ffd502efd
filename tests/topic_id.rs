//! Topic ids from a real broker, as the user of all rights and as users with few and none.

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, SaslUser};
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use sentra::kafka::topic_id::{TopicIdError, topic_id};

fn admin_as(user: SaslUser) -> AdminClient<DefaultClientContext> {
    common::client(&common::sasl(user)).create().expect("an admin client")
}

#[test]
fn a_topic_keeps_its_id_and_a_topic_created_anew_has_another() {
    let topic = common::unique_topic("topic-id");
    let admin = common::admin();
    common::create_topic(&topic, 3, &[]);
    let first = topic_id(admin.inner(), &topic, PATIENCE).expect("an id");
    assert_eq!(topic_id(admin.inner(), &topic, PATIENCE), Ok(first));
    assert_eq!(topic_id(common::admin().inner(), &topic, PATIENCE), Ok(first), "another client sees the same");

    common::delete_topic(&topic);
    common::create_topic(&topic, 3, &[]);
    let second = topic_id(admin.inner(), &topic, PATIENCE).expect("an id");
    assert_ne!(first, second);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let topic = common::unique_topic("absent");
    let error = topic_id(common::admin().inner(), &topic, PATIENCE).expect_err("no such topic");
    assert_eq!(error, TopicIdError::Unknown { topic });
}

#[test]
fn a_name_with_a_zero_byte_is_no_topic() {
    let error = topic_id(common::admin().inner(), "a\0b", PATIENCE).expect_err("no such topic");
    assert_eq!(error, TopicIdError::Unknown { topic: String::from("a\0b") });
}

#[test]
fn least_privilege_is_enough_to_read_the_id_and_no_privilege_is_not() {
    let topic = common::unique_topic("sasl.transactions");
    common::create_topic(&topic, 1, &[]);
    let expected = topic_id(common::admin().inner(), &topic, PATIENCE).expect("an id");
    assert_eq!(topic_id(admin_as(SaslUser::Sentra).inner(), &topic, PATIENCE), Ok(expected));
    let refused = topic_id(admin_as(SaslUser::Stranger).inner(), &topic, PATIENCE).expect_err("refused");
    assert_eq!(refused, TopicIdError::Refused { topic });
}

#[test]
fn a_broker_that_is_not_there_is_an_error_within_the_time_given() {
    // Port 9 is the discard service's, which nobody runs.
    let admin: AdminClient<DefaultClientContext> =
        common::client(&[("bootstrap.servers", String::from("127.0.0.1:9"))]).create().expect("an admin client");
    let began = Instant::now();
    let error = topic_id(admin.inner(), "any", Duration::from_millis(500)).expect_err("nobody there");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert!(
        matches!(&error, TopicIdError::Failed { code, .. } if *code == RDKafkaErrorCode::OperationTimedOut),
        "{error}"
    );
}
