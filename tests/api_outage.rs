//! The HTTP interface while its Kafka is away, on a broker of this test's own.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{
    PATIENCE,
    broker::Broker,
    curl::{Curl, transaction},
    line::{Setup, Topics, until},
    postgres::TestDatabase,
};
use sentra::telemetry::STUCK_AFTER;
use serde_json::json;

#[test]
fn while_kafka_is_away_requests_are_told_when_to_come_again_and_afterwards_they_are_answered() {
    let broker = Broker::up();
    let topics = Topics::create("api.outage", 2);
    let database = TestDatabase::migrated();
    let setup = Setup::new(&topics)
        .roles("score,sink,serve")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "5000");
    let mut process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let before = curl.score(&transaction(1, "BEFORE"));
    assert_eq!(before.code, 200, "{}", before.text());

    broker.services("down");
    let began = Instant::now();
    let what = || String::from("a request to be told 503");
    let away = until(PATIENCE, what, || {
        let reply = curl.score(&transaction(1, "AWAY"));
        assert!(matches!(reply.code, 503 | 504), "never anything else: {} {}", reply.code, reply.text());
        (reply.code == 503).then_some(reply)
    });
    away.assert_problem(503, "kafka-away");
    assert!(away.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{away:?}");
    let health = curl.get("/v1/health");
    assert_eq!((health.code, &health.json()["status"]), (503, &json!("unavailable")));
    assert_eq!(health.json()["kafka_connected"], false);
    // Longer than any of its threads may stand still.
    while began.elapsed() < STUCK_AFTER + Duration::from_secs(3) {
        let alive = curl.get("/livez");
        assert_eq!(alive.code, 200, "waiting is no standstill: {}", alive.text());
        thread::sleep(Duration::from_millis(500));
    }

    broker.services("up");
    let after = until(
        PATIENCE * 3,
        || String::from("a verdict after the outage"),
        || {
            let reply = curl.score(&transaction(1, "BEFORE"));
            assert!(matches!(reply.code, 200 | 503 | 504), "{} {}", reply.code, reply.text());
            (reply.code == 200).then_some(reply)
        },
    );
    assert_eq!(after.json()["kind"], "duplicate", "the first decision holds across the outage");
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
}
