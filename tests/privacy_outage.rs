//! A run of all roles through an outage of Kafka and one of PostgreSQL, with everything logged: what is said of failures
//! holds no phone number, token or body either. On a broker and a server of this test's own.

mod common;

use common::{
    PATIENCE,
    broker::Broker,
    curl::Curl,
    feed::Client,
    line::{Setup, Topics, until},
    postgres::{Server, TestDatabase},
    produce::{Sender, Sent},
    secrets::{MARK, PHONE, TOKEN, assert_none_told, bearer, now},
};

fn transaction(id: &str) -> String {
    format!(
        r#"{{"transaction_id":"{MARK}-{id}","amount":9,"phone_number":"0{PHONE}","timestamp":"{}","location":"{MARK}"}}"#,
        now()
    )
}

/// Good records and bad ones, by Kafka.
fn send(topics: &Topics) {
    let values = [transaction("K"), format!("{MARK}{{"), format!(r#"{{"phone_number":"+254{PHONE}"}}"#)];
    let key = Some(format!("+254{PHONE}").into_bytes());
    let records = values.map(|value| Sent { key: key.clone(), value: Some(value.into_bytes()), ..Sent::default() });
    Sender::default().send_all(&topics.transactions, records.iter());
}

/// Asks for everything there is; the status of a score.
fn ask(curl: &Curl, id: &str) -> u16 {
    let with = |path: &str, body: Option<&str>| {
        let headers = ["-H", "Content-Type: application/json", "-H", &bearer()];
        curl.run(path, &headers, body.map(str::as_bytes))
    };
    for path in [
        format!("/v1/phones/+254{PHONE}"),
        format!("/v1/verdicts?transaction_id={MARK}-{id}"),
        String::from("/v1/alerts"),
        String::from("/v1/health"),
    ] {
        let reply = with(&path, None);
        assert!(matches!(reply.code, 200 | 404 | 503), "{path}: {} {}", reply.code, reply.text());
    }
    with("/v1/score", Some(&transaction(id))).code
}

#[test]
fn through_outages_of_kafka_and_postgresql_no_phone_number_token_or_body_is_in_any_log_line_or_metric() {
    let (broker, server) = (Broker::up(), Server::up());
    let (topics, database) = (Topics::create("privacy.outage", 2), TestDatabase::on(&server.url()));
    database.migrate();
    let setup = Setup::new(&topics)
        .roles("score,sink,serve")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SERVE__TOKEN", TOKEN)
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "3000")
        .with("SENTRA__TELEMETRY__LOG", "debug,sentra=trace");
    let mut process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let query = format!("phone=%2B254{PHONE}");
    let authorization = format!("Bearer {TOKEN}");
    let feed = Client::connect(setup.api(), &query, &[("authorization", &authorization)]).expect("a session");
    let scored = |id: &'static str| {
        until(PATIENCE * 3, || format!("{id} to be scored"), || Some(ask(&curl, id)).filter(|code| *code == 200));
    };
    scored("BEFORE");
    send(&topics);

    server.crash();
    let lost = || process.metric("sentra_sink_database_up").filter(|up| *up == 0.0);
    scored("WITHOUT-ROWS");
    send(&topics);
    until(PATIENCE, || String::from("the sink to notice"), lost);
    server.services("up");
    let stored = || {
        let rows = database.try_query("SELECT count(*) FROM sentra.verdicts").ok()?[0].get::<_, i64>(0);
        (rows >= 8).then_some(())
    };
    until(PATIENCE * 2, || String::from("all rows"), stored);

    broker.services("down");
    let told = || Some(ask(&curl, "WITHOUT-KAFKA")).filter(|code| *code == 503);
    until(PATIENCE, || String::from("a 503"), told);
    broker.services("up");
    scored("AFTER");
    let metrics = [curl.run("/metrics", &["-H", &bearer()], None).text(), curl_own(&setup)];
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
    drop(feed);

    let log = process.log();
    let ours = log.lines().filter(|line| line.contains("\"level\":\"DEBUG\"") && line.contains("\"sentra::"));
    assert!(ours.count() > 5, "debug logging is on");
    for part in ["the sink stores nothing", "no broker"] {
        assert!(log.contains(part), "the outages are told ({part}):\n{log}");
    }
    assert_none_told("log", &log);
    metrics.iter().for_each(|text| assert_none_told("metrics", text));
}

/// The telemetry listener's numbers.
fn curl_own(setup: &Setup) -> String {
    Curl::at(setup.port()).get("/metrics").text()
}
