//! The HTTP interface of real processes on a real Kafka, asked by curl.

mod common;

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use common::{
    PATIENCE,
    curl::{Curl, TOKEN, transaction},
    line::{Setup, Topics, soon, until},
    records::Follower,
};
use serde_json::json;

/// Longer than any machine that these run on is slow: what is late in a test is wrong, not late.
const DEADLINE_MS: &str = "10000";

/// Score and serve in one process.
fn both(topics: &Topics) -> Setup {
    Setup::new(topics).roles("score,serve").with("SENTRA__SERVE__SCORE_DEADLINE_MS", DEADLINE_MS)
}

#[test]
fn a_transaction_is_answered_with_its_verdict_and_a_retry_with_the_first_decision() {
    let topics = Topics::create("api.score", 3);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let sent = transaction(1, "TXN-1");
    let first = curl.score(&sent);
    assert_eq!(first.code, 200, "{}", first.text());
    assert_eq!(first.header("content-type"), Some("application/json"));
    let verdict = first.json();
    assert_eq!((&verdict["transaction_id"], &verdict["kind"]), (&json!("TXN-1"), &json!("scored")));
    let fields: Vec<&str> = ["transaction_id", "risk_score", "risk_level", "signals", "recommendation"].to_vec();
    assert!(fields.iter().all(|field| !verdict[*field].is_null()), "{verdict}");
    let again = curl.score(&sent).json();
    assert_eq!((&again["kind"], &again["risk_score"]), (&json!("duplicate"), &verdict["risk_score"]));
    assert_eq!(again["duplicate_of"], verdict["source"]["offset"]);

    // The answer is the record of the topic, and what was produced is the body, both to the byte.
    let partition = verdict["source"]["partition"].as_i64().expect("a partition") as usize;
    let (mut verdicts, mut inputs) = (Follower::new(&topics.verdicts, 3), Follower::new(&topics.transactions, 3));
    verdicts.read_to_end();
    inputs.read_to_end();
    assert!(verdicts.records[partition].iter().any(|record| record.value.as_deref() == Some(&first.body[..])));
    let input = &inputs.records[partition][0];
    assert_eq!((input.value.as_deref(), input.key.as_deref()), (Some(sent.as_bytes()), Some(&b"+254700000001"[..])));
}

#[test]
fn many_at_once_each_get_their_own_verdict_also_where_ids_repeat() {
    const CLIENTS: u32 = 8;
    const EACH: u32 = 25;
    let topics = Topics::create("api.many", 4);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let ids: Vec<(String, String)> = thread::scope(|scope| {
        let client = |client: u32| {
            let curl = &curl;
            move || -> Vec<(String, String)> {
                let ask = |n: u32| {
                    // Every fifth id is that of all clients, each for another phone.
                    let id = if n.is_multiple_of(5) { format!("SHARED-{n}") } else { format!("T-{client}-{n}") };
                    let reply = curl.score(&transaction(client, &id));
                    assert_eq!(reply.code, 200, "{}", reply.text());
                    let verdict = reply.json();
                    assert_eq!(verdict["transaction_id"], id);
                    assert_eq!(verdict["phone_number"], format!("+2547{client:08}"), "not another's of the same id");
                    (id, verdict["verdict_id"].as_str().expect("an id").to_owned())
                };
                (0..EACH).map(ask).collect()
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let different: HashSet<&String> = ids.iter().map(|(_, verdict)| verdict).collect();
    assert_eq!(different.len(), (CLIENTS * EACH) as usize);
}

#[test]
fn several_processes_give_the_same_answers() {
    let topics = Topics::create("api.several", 3);
    let (one, other) =
        (both(&topics), Setup::new(&topics).roles("serve").with("SENTRA__SERVE__SCORE_DEADLINE_MS", DEADLINE_MS));
    let (first, second) = (one.start(), other.start());
    let (here, there) = (Curl::new(&one), Curl::new(&other));
    here.await_ready(&first);
    there.await_ready(&second);
    for n in 0..6 {
        let sent = transaction(n, &format!("T-{n}"));
        let (ask, retry) = if n % 2 == 0 { (&here, &there) } else { (&there, &here) };
        let (verdict, again) = (ask.score(&sent).json(), retry.score(&sent).json());
        assert_eq!((&verdict["kind"], &again["kind"]), (&json!("scored"), &json!("duplicate")), "{verdict} {again}");
        assert_eq!(again["duplicate_of"], verdict["source"]["offset"]);
    }
    let health = there.get("/v1/health").json();
    assert_eq!(health["roles"], json!(["serve"]));
    assert_eq!(health["model_loaded"], true, "a process without a model of its own tells of the verdicts' model");
    let elsewhere = there.get("/readyz?role=score");
    elsewhere.assert_problem(404, "not-found");
}

#[test]
fn every_invalid_example_is_refused_by_its_own_code_and_nothing_of_it_is_produced() {
    let topics = Topics::create("api.invalid", 1);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples/transaction/invalid");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let code = name.split("__").next().expect("a code").to_ascii_uppercase();
        let reply = curl.post("/v1/score", &fs::read(&path).expect("an example"));
        let problem = match code.as_str() {
            "VALUE_TOO_LARGE" => {
                reply.assert_problem(413, "body-too-large");
                continue;
            }
            "EMPTY_VALUE" | "INVALID_UTF8" | "NOT_JSON" | "TOO_DEEP" => reply.assert_problem(400, "unreadable-body"),
            _ => reply.assert_problem(422, "invalid-transaction"),
        };
        let error = &problem["errors"][0];
        assert_eq!(error["code"], code, "{name}");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{name}");
        if code.ends_with("FIELD") || code.starts_with("AMOUNT") || code.starts_with("PHONE") {
            assert!(error["field"].as_str().is_some_and(|field| !field.is_empty()), "{name}: {problem}");
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen} examples");
    assert_eq!(common::records::ends(&topics.transactions, 1), [0], "nothing was produced");
}

#[test]
fn every_valid_example_is_scored() {
    let topics = Topics::create("api.valid", 1);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples/transaction/valid");
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("readable").path();
        let reply = curl.post("/v1/score", &fs::read(&path).expect("an example"));
        assert_eq!(reply.code, 200, "{}: {}", path.display(), reply.text());
        assert_ne!(reply.json()["kind"], "invalid", "{}", path.display());
    }
}

#[test]
fn the_token_guards_all_but_health_and_limits_answer_with_problems() {
    let topics = Topics::create("api.token", 1);
    let setup =
        both(&topics).with("SENTRA__SERVE__TOKEN", TOKEN).with("SENTRA__SERVE__CORS_ORIGINS", "https://a.example");
    let process = setup.start();
    let (stranger, known) = (Curl::new(&setup), Curl::new(&setup).with_token());
    stranger.await_ready(&process);
    for open in ["/livez", "/readyz", "/readyz?role=serve", "/v1/health"] {
        assert_eq!(stranger.get(open).code, 200, "{open}");
    }
    for guarded in [
        "/v1/verdicts?transaction_id=T",
        "/v1/verdicts/00000000-0-0",
        "/v1/alerts",
        "/v1/phones/0712345678",
        "/metrics",
        "/openapi.json",
        "/docs/",
    ] {
        let reply = stranger.get(guarded);
        reply.assert_problem(401, "unauthorized");
        assert!(reply.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{guarded}");
        assert_ne!(known.get(guarded).code, 401, "{guarded}");
    }
    stranger.score(&transaction(1, "T")).assert_problem(401, "unauthorized");
    assert_eq!(known.score(&transaction(1, "T")).code, 200);
    let wrong = stranger.run("/metrics", &["-H", "Authorization: Bearer a-token-for-tests-0123456780"], None);
    wrong.assert_problem(401, "unauthorized");
    let page = stranger.run("/docs/", &["-u", &format!("anyone:{TOKEN}")], None);
    assert_eq!(page.code, 200, "a browser brings the token as a password");

    // Other media, sizes, methods, routes.
    let plain = known.run("/v1/score", &["-H", "Content-Type: text/plain"], Some(b"{}"));
    plain.assert_problem(415, "unsupported-media-type");
    let packed = ["-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip"];
    known.run("/v1/score", &packed, Some(b"{}")).assert_problem(415, "unsupported-media-type");
    known.post("/v1/score", &vec![b' '; 65_537]).assert_problem(413, "body-too-large");
    let chunked = ["-H", "Content-Type: application/json", "-H", "Transfer-Encoding: chunked"];
    known.run("/v1/score", &chunked, Some(&vec![b' '; 200_000])).assert_problem(413, "body-too-large");
    known.get("/v1/score").assert_problem(405, "method-not-allowed");
    assert_eq!(known.get("/v1/score").header("allow"), Some("POST"));
    known.get("/v1/nothing").assert_problem(404, "not-found");
    known.get("/%ff").assert_problem(404, "not-found");
    known.get("/v1/verdicts/%ff").assert_problem(404, "not-found");
    assert_eq!(known.run("/v1/health", &["-I"], None).code, 200, "HEAD");

    // What a page of another origin may do.
    let preflight = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST", "-H"];
    let asked = |origin: &str| stranger.run("/v1/score", &[&preflight[..], &[origin]].concat(), None);
    let allowed = asked("Origin: https://a.example");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(asked("Origin: https://b.example").header("access-control-allow-origin"), None);
}

#[test]
fn every_answer_has_its_id_and_the_security_headers_and_is_counted_by_its_route() {
    let topics = Topics::create("api.headers", 1);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let named = curl.run("/v1/health", &["-H", "X-Request-Id: abc-1"], None);
    assert_eq!(named.header("x-request-id"), Some("abc-1"));
    let odd = curl.run("/v1/nothing/+254712345678", &["-H", "X-Request-Id: +254 712"], None);
    assert!(odd.header("x-request-id").is_some_and(|id| id.len() == 16), "{odd:?}");
    for reply in [named, odd, curl.get("/docs/"), curl.get("/openapi.json"), curl.get("/")] {
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(reply.header(name), Some(value));
        }
        assert!(reply.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    }
    let metrics = curl.get("/metrics").text();
    for series in [
        "sentra_http_requests_total{route=\"/v1/health\",status=\"200\"}",
        "sentra_http_requests_total{route=\"none\",status=\"404\"}",
        "sentra_http_request_seconds_bucket{route=\"/v1/health\",le=\"0.2\"}",
        "sentra_http_in_flight 1",
    ] {
        assert!(metrics.contains(series), "{series} in\n{metrics}");
    }
    assert!(!metrics.contains("254712345678"));
}

#[test]
fn a_late_verdict_is_a_504_that_says_where_to_fetch_it_and_too_many_that_wait_a_503() {
    let topics = Topics::create("api.late", 1);
    // Nobody scores.
    let setup = Setup::new(&topics)
        .roles("serve")
        .with("SENTRA__SERVE__SCORE_DEADLINE_MS", "3000")
        .with("SENTRA__SERVE__MAX_WAITING", "1");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    // The first one waits; while it does, there is no room for another.
    let attempt = || {
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| curl.score(&transaction(1, "LATE-1")));
            soon("a request under way", || process.metric("sentra_http_in_flight").is_some_and(|count| count >= 1.0));
            let second = curl.score(&transaction(2, "LATE-2"));
            (first.join().expect("a client"), second)
        });
        // Else the second overtook the first, or came when it was over.
        ((first.code, second.code) == (504, 503)).then_some((first, second))
    };
    let (late, full) = until(PATIENCE * 2, || String::from("one to wait and one to be refused"), attempt);
    full.assert_problem(503, "too-many-waiting");
    assert_eq!(full.header("retry-after"), Some("1"));
    let problem = late.assert_problem(504, "verdict-late");
    let place = problem["verdict"].as_str().expect("a place");
    assert_eq!(late.header("content-location"), Some(place));
    assert!(place.starts_with("/v1/verdicts/") && place.ends_with(|last: char| last.is_ascii_digit()), "{place}");
    let none = curl.get(place).assert_problem(503, "no-database");
    assert!(none["detail"].as_str().is_some_and(|detail| detail.contains("sink.database_url")));
    let health = curl.get("/v1/health");
    assert_eq!((health.code, &health.json()["status"]), (200, &json!("degraded")));
}

#[test]
fn a_stop_answers_what_is_under_way_and_closes_idle_connections() {
    let topics = Topics::create("api.stop", 1);
    let setup = Setup::new(&topics).roles("serve").with("SENTRA__SERVE__SCORE_DEADLINE_MS", "2000");
    let mut process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let idle = TcpStream::connect(("127.0.0.1", setup.api())).expect("a connection");
    let reply = thread::scope(|scope| {
        let waiting = scope.spawn(|| curl.score(&transaction(1, "STOP-1")));
        soon("a request under way", || process.metric("sentra_http_in_flight").is_some_and(|count| count >= 1.0));
        process.signal(libc::SIGTERM);
        waiting.join().expect("a client")
    });
    reply.assert_problem(504, "verdict-late");
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
    assert!(curl.try_run("/livez", &[], None).is_err(), "nobody listens");
    let mut rest = Vec::new();
    idle.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!((&idle).read_to_end(&mut rest).expect("its end"), 0);
}

#[test]
fn a_client_that_sends_slowly_holds_its_connection_for_a_bounded_time_and_others_are_served() {
    let topics = Topics::create("api.slow", 1);
    let setup = Setup::new(&topics).roles("serve").with("SENTRA__SERVE__MAX_CONNECTIONS", "3");
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let slow: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", setup.api())).expect("a connection");
            stream.write_all(b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\n").expect("half a head");
            stream
        })
        .collect();
    assert_eq!(curl.get("/livez").code, 200, "beside them");
    let third = TcpStream::connect(("127.0.0.1", setup.api())).expect("a connection");
    soon("one too many to be refused", || curl.try_run("/livez", &[], None).is_ok_and(|reply| reply.code == 503));
    drop(third);
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE * 2)).expect("a timeout");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("the server ends it");
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    }
    soon("room", || curl.try_run("/livez", &[], None).is_ok_and(|reply| reply.code == 200));
}

#[test]
fn a_body_that_does_not_come_is_a_408_and_one_that_breaks_off_is_nobodys() {
    let topics = Topics::create("api.body", 1);
    let setup = Setup::new(&topics).roles("serve");
    let process = setup.start();
    Curl::new(&setup).await_ready(&process);
    let head =
        "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    let mut stream = TcpStream::connect(("127.0.0.1", setup.api())).expect("a connection");
    stream.write_all(head.as_bytes()).expect("a head");
    let mut broken = TcpStream::connect(("127.0.0.1", setup.api())).expect("a connection");
    broken.write_all(head.as_bytes()).expect("a head");
    drop(broken);
    stream.set_read_timeout(Some(PATIENCE * 2)).expect("a timeout");
    let mut said = [0; 1024];
    let count = stream.read(&mut said).expect("an answer");
    let said = String::from_utf8_lossy(&said[..count]);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("application/problem+json"), "{said}");
    assert_eq!(Curl::new(&setup).get("/livez").code, 200);
}

#[test]
fn without_a_token_foreign_names_are_not_answered_to_and_foreign_addresses_not_listened_on() {
    let topics = Topics::create("api.open", 1);
    let setup = both(&topics);
    let process = setup.start();
    let curl = Curl::new(&setup);
    curl.await_ready(&process);
    let rebound = curl.run("/v1/alerts", &["-H", "Host: evil.example"], None);
    rebound.assert_problem(403, "foreign-host");
    let refused = Command::new(env!("CARGO_BIN_EXE_sentra"))
        .args(["run", "--roles", "serve"])
        .env_clear()
        .env("API_HOST", "0.0.0.0")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("serve.host") && said.contains("serve.token"), "{said}");
}

#[test]
fn neither_numbers_nor_tokens_nor_bodies_come_into_the_log() {
    let topics = Topics::create("api.log", 1);
    let setup = both(&topics).with("SENTRA__SERVE__TOKEN", TOKEN).with("SENTRA__TELEMETRY__LOG", "debug");
    let mut process = setup.start();
    let curl = Curl::new(&setup).with_token();
    curl.await_ready(&process);
    assert_eq!(curl.score(&transaction(12_345_678, "SECRET-ID")).code, 200);
    curl.score(r#"{"transaction_id":"SECRET-ID","phone_number":"+254712345678","amount":"SECRET"}"#);
    curl.get("/v1/phones/+254712345678");
    curl.run("/v1/alerts?cursor=SECRET", &["-H", "X-Request-Id: 254712345678"], None);
    process.signal(libc::SIGTERM);
    process.wait(PATIENCE + Duration::from_secs(10));
    let log = process.log();
    for secret in ["712345678", "SECRET", TOKEN] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}
