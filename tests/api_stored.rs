//! What the HTTP interface answers from a real PostgreSQL, and what it does without one.

mod common;

use std::collections::HashSet;

use common::{
    PATIENCE,
    curl::{Curl, Reply, TOKEN, transaction},
    line::{Setup, Topics, until},
    postgres::{Server, TestDatabase},
    records::Follower,
};
use sentra::domain::features::TABLE;
use serde_json::{Value, json};

fn all_roles(topics: &Topics, database: &str) -> Setup {
    Setup::new(topics)
        .roles("score,sink,serve")
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "10000")
        .with("SENTRA__VERDICT__FEATURES", "true")
        .with("DATABASE_URL", database)
}

/// Asks until the answer has this status, which needs the sink to have come so far.
fn soon(curl: &Curl, path: &str, code: u16) -> Reply {
    let what = || format!("{path} to answer {code}, not {}", curl.get(path).text());
    until(PATIENCE, what, || Some(curl.get(path)).filter(|reply| reply.code == code))
}

#[test]
fn a_late_verdict_is_fetched_where_the_504_says_once_it_is_stored() {
    let (topics, database) = (Topics::create("stored.late", 2), TestDatabase::migrated());
    let setup = Setup::new(&topics)
        .roles("serve")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "2000");
    let serving = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&serving);
    assert_eq!(curl.get("/v1/health").json()["status"], "healthy");
    let late = curl.score(&transaction(1, "LATE-1")).assert_problem(504, "verdict-late");
    let place = late["verdict"].as_str().expect("a place").to_owned();
    curl.get(&place).assert_problem(404, "not-found");
    assert_eq!(curl.get("/v1/verdicts?transaction_id=LATE-1").json(), json!({"verdicts": []}));

    let _scoring = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &database.url).start();
    let fetched = soon(&curl, &place, 200);
    let mut follower = Follower::new(&topics.verdicts, 2);
    follower.read_to_end();
    let found = follower.records.iter().flatten().any(|record| record.value.as_deref() == Some(&fetched.body[..]));
    assert!(found, "the record, byte for byte: {}", fetched.text());
    let listed = curl.get("/v1/verdicts?transaction_id=LATE-1").json();
    assert_eq!(listed, json!({"verdicts": [fetched.json()]}));
    let phone = curl.get("/v1/phones/0700000001").json();
    assert_eq!((&phone["phone_number"], &phone["features"]), (&json!("+254700000001"), &Value::Null));
}

#[test]
fn verdicts_alerts_and_phones_are_found_page_by_page_and_bad_questions_are_refused_by_name() {
    let (topics, database) = (Topics::create("stored.asked", 2), TestDatabase::migrated());
    let setup = all_roles(&topics, &database.url);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    // A phone that is drained: large amounts to strangers from ever other devices, within seconds.
    let drain = |n: usize| {
        transaction(7, &format!("DRAIN-{n}"))
            .replace("1500", "145000")
            .replace("\"d7\"", &format!("\"x{n}\""))
            .replace('}', &format!(r#","transaction_type":"P2P","channel":"app","counterparty":"+2547110000{n:02}"}}"#))
    };
    let verdicts: Vec<Value> = (0..30).map(|n| curl.score(&drain(n)).json()).collect();
    let is_alert = |verdict: &&Value| verdict["risk_level"].as_str().is_some_and(|level| level != "LOW");
    let alerts: Vec<&Value> = verdicts.iter().filter(is_alert).collect();
    assert!(alerts.len() > 5, "{} alerts of such a phone", alerts.len());
    let last = verdicts.last().and_then(|verdict| verdict["verdict_id"].as_str()).expect("an id");
    let stored = soon(&curl, &format!("/v1/verdicts/{last}"), 200);
    assert_eq!(stored.json()["transaction_id"], "DRAIN-29");

    // Every alert once, newest first, whatever the page's size.
    let ids = |page: &Value| -> Vec<String> {
        let alerts = page["alerts"].as_array().expect("alerts").iter();
        alerts.map(|alert| alert["verdict_id"].as_str().expect("an id").to_owned()).collect()
    };
    let whole = curl.get("/v1/alerts?limit=500").json();
    assert_eq!(whole["next_cursor"], Value::Null);
    let (mut paged, mut path) = (Vec::new(), String::from("/v1/alerts?limit=4"));
    loop {
        let page = curl.get(&path).json();
        paged.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/alerts?limit=4&cursor={cursor}");
    }
    assert_eq!(paged, ids(&whole));
    assert_eq!(paged.iter().collect::<HashSet<_>>().len(), alerts.len());
    let high = curl.get("/v1/alerts?level=HIGH").json();
    assert!(high["alerts"].as_array().expect("alerts").iter().all(|alert| alert["risk_score"].as_i64() >= Some(70)));
    assert_eq!(ids(&curl.get("/v1/alerts?since=2999-01-01T00:00:00Z").json()), Vec::<String>::new());
    assert_eq!(ids(&curl.get("/v1/alerts?since=0001-01-01T00:00:00Z&limit=500").json()), paged);

    // The phone, by any of its forms.
    let phone = curl.get("/v1/phones/+254700000007?limit=3").json();
    assert_eq!(phone, curl.get("/v1/phones/0700000007?limit=3").json());
    assert_eq!(phone["verdicts"].as_array().map(Vec::len), Some(3));
    assert_eq!(phone["features_of"], *last);
    let features = phone["features"].as_array().expect("features");
    let names: Vec<&str> = features.iter().filter_map(|feature| feature["name"].as_str()).collect();
    assert_eq!(names, TABLE.map(|feature| feature.name));
    let devices = features.iter().find(|feature| feature["name"] == "devices_7d").expect("a feature");
    assert_eq!(devices["value"], 30.0);
    curl.get("/v1/phones/+254799999999").assert_problem(404, "not-found");

    // Another process gives the same answers, to the byte, and takes the first one's cursor.
    let beside = Setup::new(&topics).roles("serve").with("DATABASE_URL", &database.url);
    let other = beside.start();
    let there = Curl::new(&beside);
    there.await_ready(&other);
    let mut asked = vec![format!("/v1/verdicts/{last}"), String::from("/v1/verdicts?transaction_id=DRAIN-29")];
    asked.extend(["/v1/phones/0700000007?limit=3", "/v1/alerts?limit=4", "/v1/alerts?level=HIGH"].map(String::from));
    let cursor = curl.get("/v1/alerts?limit=4").json()["next_cursor"].as_str().expect("more than a page").to_owned();
    asked.push(format!("/v1/alerts?limit=4&cursor={cursor}"));
    for path in asked {
        let (one, two) = (curl.get(&path), there.get(&path));
        assert_eq!((one.code, two.code), (200, 200), "{path}");
        assert_eq!(one.text(), two.text(), "{path}");
    }

    for (path, field) in [
        ("/v1/phones/2547****678", "phone"),
        ("/v1/phones/hello", "phone"),
        ("/v1/phones/0700000007?limit=0", "limit"),
        ("/v1/alerts?limit=501", "limit"),
        ("/v1/alerts?limit=+5", "limit"),
        ("/v1/alerts?limit=5&limit=6", "limit"),
        ("/v1/alerts?level=LOW", "level"),
        ("/v1/alerts?since=yesterday", "since"),
        ("/v1/alerts?cursor=1-2", "cursor"),
        ("/v1/verdicts", "transaction_id"),
        ("/v1/verdicts?transaction_id=a%20b", "transaction_id"),
        ("/v1/verdicts?transaction_id=%00", "transaction_id"),
        ("/v1/verdicts/nothing", "verdict_id"),
    ] {
        let problem = curl.get(path).assert_problem(422, "invalid-parameter");
        assert_eq!(problem["errors"][0]["field"], field, "{path}");
    }
    curl.get("/v1/verdicts/00000000-99999999999999999999-1").assert_problem(404, "not-found");
}

#[test]
fn without_its_database_the_interface_scores_on_is_degraded_and_recovers_by_itself() {
    let server = Server::up();
    let database = TestDatabase::on(&server.url());
    let topics = Topics::create("stored.away", 1);
    let setup = all_roles(&topics, &database.url).roles("score,serve");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let health = curl.get("/v1/health");
    assert_eq!((health.code, &health.json()["status"]), (200, &json!("degraded")));
    assert!(health.text().contains("sentra migrate"), "{}", health.text());
    database.migrate();
    let healthy = || Some(curl.get("/v1/health").json()).filter(|health| health["status"] == "healthy");
    until(PATIENCE, || curl.get("/v1/health").text(), healthy);
    curl.get("/v1/verdicts/00000000-0-0").assert_problem(404, "not-found");

    server.crash();
    let degraded = || Some(curl.get("/v1/health").json()).filter(|health| health["status"] == "degraded");
    let degraded = until(PATIENCE, || curl.get("/v1/health").text(), degraded);
    assert_eq!((&degraded["database_connected"], &degraded["kafka_connected"]), (&json!(false), &json!(true)));
    let away = curl.get("/v1/verdicts/00000000-0-0");
    away.assert_problem(503, "database-away");
    assert!(away.header("retry-after").is_some());
    assert_eq!(curl.score(&transaction(1, "ON-1")).code, 200, "scoring does not notice");
    assert_eq!(curl.get("/readyz?role=serve").code, 200);
    server.services("up");
    until(PATIENCE, || curl.get("/v1/health").text(), healthy);
    assert!(!process.log().contains("postgres://"), "no connection string in the log");
}

#[test]
fn what_a_database_says_of_users_and_hosts_is_told_with_the_token_and_on_the_telemetry_listener_alone() {
    let (topics, database) = (Topics::create("stored.told", 1), TestDatabase::migrated());
    let (_, place) = database.url.split_once('@').expect("a user");
    let setup = Setup::new(&topics)
        .roles("sink,serve")
        .with("SENTRA__SERVE__TOKEN", TOKEN)
        .with("DATABASE_URL", &format!("postgres://nobody_here:wrong@{place}"));
    let process = setup.start();
    let (stranger, known) = (Curl::new(&setup), Curl::new(&setup).with_token());
    let told = || process.get("/readyz").filter(|answer| answer.body.contains("nobody_here"));
    until(PATIENCE, || String::from("PostgreSQL's own words"), told);
    for path in ["/readyz", "/readyz?role=sink", "/v1/health"] {
        let (open, whole) = (stranger.try_run(path, &[], None).expect("an answer"), known.get(path));
        assert_eq!(open.code, whole.code, "{path}");
        assert!(whole.text().contains("nobody_here"), "{path}: {}", whole.text());
        assert!(!open.text().contains("nobody_here"), "{path}: {}", open.text());
        assert!(open.text().contains("\"sink needs PostgreSQL\""), "its kind is told: {}", open.text());
    }
}
