//! The HTTP interface while its Kafka hangs: connected, and silent. On a broker of this test's own.

mod common;

use common::{
    PATIENCE,
    broker::Broker,
    curl::{Curl, transaction},
    line::{Setup, Topics, until},
};

#[test]
fn a_broker_that_hangs_costs_one_deadline_and_then_requests_are_told_at_once_until_it_answers_again() {
    let broker = Broker::up();
    let topics = Topics::create("api.hang", 1);
    let setup = Setup::new(&topics).roles("serve").with("SENTRA__SERVE__SCORE_DEADLINE_MS", "500");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    // Nobody scores: an acknowledged record is a 504 that names its place.
    let placed =
        || Some(curl.score(&transaction(1, "PLACED"))).filter(|reply| reply.code == 504 && !reply.text().contains('?'));
    until(PATIENCE, || String::from("a place"), placed).assert_problem(504, "verdict-late");

    broker.services("freeze");
    // Since nobody scores, only one request a second is let through.
    let late = || Some(curl.score(&transaction(1, "HANGING"))).filter(|reply| reply.code == 504);
    let hanging = until(PATIENCE, || String::from("one to be let through"), late).assert_problem(504, "verdict-late");
    assert_eq!(hanging["verdict"], "/v1/verdicts?transaction_id=HANGING", "no acknowledgement, so no place");
    let away = until(
        PATIENCE,
        || String::from("the broker to be told away"),
        || Some(curl.score(&transaction(1, "AWAY"))).filter(|reply| reply.text().contains("kafka-away")),
    );
    away.assert_problem(503, "kafka-away");
    assert_eq!(curl.get("/v1/health").code, 503);
    broker.services("thaw");
    until(
        PATIENCE * 2,
        || String::from("an acknowledgement"),
        || {
            let problem = curl.score(&transaction(1, "THAWED"));
            (problem.code == 504 && !problem.text().contains('?')).then_some(())
        },
    );
}
