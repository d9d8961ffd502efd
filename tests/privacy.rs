//! A full run of all roles with everything logged: no phone number, token or body is in any log line or metric.
//!
//! It runs on the demo, so that nothing is configured away; what is bad or secret comes in by every door there is.

mod common;

use std::{collections::BTreeSet, net::TcpStream, time::Duration};

use common::{
    PATIENCE,
    curl::Curl,
    demo::{Demo, open_folder},
    line::until,
    secrets::{MARK, PHONE, SUBJECT, TOKEN, WRONG, assert_none_told, bearer, is_private, now},
};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio_tungstenite::tungstenite::{
    Message,
    client::{IntoClientRequest, client},
};

#[test]
fn no_phone_number_token_or_body_is_in_any_log_line_or_metric_of_a_full_run() {
    let folder = open_folder();
    let variables = [
        ("SENTRA__TELEMETRY__LOG", "debug,sentra=trace"),
        ("SENTRA__TELEMETRY__FORMAT", "json"),
        ("SENTRA__SERVE__TOKEN", TOKEN),
    ];
    let mut demo = Demo::start(&folder.path().join("data"), &variables, &["--rate", "20"]);
    demo.await_alert();
    let port = demo.variable("API_PORT").parse().expect("a port");
    let curl = Curl::at(port);
    bad_records(&demo);
    requests(&curl);
    feed(port);
    let metrics = metrics(&demo, &curl);
    demo.signal(libc::SIGINT);
    assert!(demo.wait().success());

    let log = demo.err();
    let fine = log.lines().filter(|line| line.contains("\"level\":\"DEBUG\"") && line.contains("sentra::"));
    assert!(fine.count() > 32, "debug logging is on: each partition tells at least of its recovery");
    for (what, text) in [("log", &log), ("metrics", &metrics)] {
        assert_none_told(what, text);
    }
    assert!(is_private("phone +254712345678") && is_private("07987654321") && !is_private("254 records in 712 ms"));
}

/// Records that are no transactions, or odd ones, straight into the topic.
fn bad_records(demo: &Demo) {
    let servers = demo.variable("KAFKA_BOOTSTRAP_SERVERS");
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
    let whole = |field: &str, value: &str| {
        let (mut phone, mut amount, mut id, mut time) =
            (format!("\"+254{PHONE}\""), String::from("5"), format!("\"{MARK}\""), format!("\"{}\"", now()));
        match field {
            "phone" => phone = value.to_owned(),
            "amount" => amount = value.to_owned(),
            "id" => id = value.to_owned(),
            "timestamp" => time = value.to_owned(),
            _ => {}
        }
        format!(
            r#"{{"transaction_id":{id},"amount":{amount},"phone_number":{phone},"timestamp":{time},"location":"{MARK}","device_id":"{MARK}","institution_id":"254{PHONE}"}}"#
        )
    };
    let records = [
        whole("", ""),
        whole("", ""),
        whole("amount", "17"),
        whole("phone", &format!("\"07{MARK}\"")),
        whole("phone", &format!("\"0{PHONE}\"")),
        whole("phone", &format!("\"{SUBJECT}\"")),
        whole("phone", &format!("\"2547*****{}\"", &PHONE[5..])),
        whole("amount", &format!("\"{MARK}\"")),
        whole("id", &format!("\"{MARK} with blanks\"")),
        whole("timestamp", &format!("\"{MARK}\"")),
        whole("timestamp", "\"2001-01-01T00:00:00Z\""),
        format!("{MARK}{{"),
        format!("[\"{MARK}\"]"),
        String::new(),
    ];
    let count = records.len();
    for (number, record) in records.iter().enumerate() {
        let headers = OwnedHeaders::new().insert(Header { key: "institution", value: Some(&format!("+254{PHONE}")) });
        let key = format!("+254{PHONE}{}", if number % 2 == 0 { "" } else { MARK });
        let sent = BaseRecord::to("sentra.transactions").key(&key).payload(record).headers(headers);
        producer.send(sent).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
    let judged = || {
        let text = Curl::at(demo.variable("API_PORT").parse().ok()?).run("/metrics", &["-H", &bearer()], None).text();
        let invalid = text.lines().filter(|line| line.starts_with("sentra_invalid_total{"));
        let seen: f64 = invalid.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (seen >= 7.0).then_some(())
    };
    until(PATIENCE, || format!("the {count} bad records to be judged"), judged);
}

/// Every route, rightly and wrongly asked.
fn requests(curl: &Curl) {
    let body =
        format!(r#"{{"transaction_id":"{MARK}-1","amount":9,"phone_number":"0{PHONE}","timestamp":"{}"}}"#, now());
    let json = ["-H", "Content-Type: application/json"];
    let (right, wrong) = (bearer(), format!("Authorization: Bearer {WRONG}"));
    let with = |header: &str, path: &str, body: Option<&str>| {
        curl.run(path, &[&json[..], &["-H", header]].concat(), body.map(str::as_bytes)).code
    };
    assert_eq!(with(&wrong, "/v1/score", Some(&body)), 401);
    let scored = with(&right, "/v1/score", Some(&body));
    assert!(matches!(scored, 200 | 504), "{scored}");
    for bad in [format!("{MARK}{{"), format!(r#"{{"phone_number":"{MARK}{PHONE}"}}"#), format!("\"{PHONE}\"")] {
        assert!((400..500).contains(&with(&right, "/v1/score", Some(&bad))));
    }
    for path in [
        format!("/v1/phones/+254{PHONE}"),
        format!("/v1/phones/{MARK}"),
        format!("/v1/phones/{SUBJECT}"),
        format!("/v1/verdicts?transaction_id={MARK}-1"),
        format!("/v1/verdicts?transaction_id={MARK}%20"),
        format!("/v1/verdicts/{MARK}"),
        format!("/v1/alerts?cursor={MARK}{PHONE}"),
        format!("/v1/alerts?limit=5&{MARK}={PHONE}"),
        format!("/{MARK}/{PHONE}?token={TOKEN}"),
        String::from("/v1/alerts"),
        String::from("/v1/health"),
    ] {
        let code = with(&right, &path, None);
        assert!(code < 500, "{path}: {code}");
    }
}

/// The feed by ticket, with filters by phone, and frames that are none.
fn feed(port: u16) {
    let curl = Curl::at(port);
    let ticket = curl.run("/v1/feed/tickets", &["-X", "POST", "-H", &bearer()], None).json()["ticket"].clone();
    let ticket = ticket.as_str().expect("a ticket").to_owned();
    let open = |query: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("ws://127.0.0.1:{port}/v1/feed?{query}").into_client_request().expect("a request");
        client(request, stream).ok().map(|(socket, _)| socket)
    };
    assert!(open(&format!("ticket={MARK}&phone=%2B254{PHONE}")).is_none(), "a ticket that is none opens nothing");
    let mut socket = open(&format!("ticket={ticket}&phone=%2B254{PHONE}")).expect("a session");
    for text in [format!(r#"{{"type":"filter","phone":"0{PHONE}"}}"#), format!("{MARK}{PHONE}")] {
        socket.send(Message::text(text)).expect("sent");
    }
    let mut frames = BTreeSet::new();
    while let Ok(message) = socket.read() {
        if let Message::Text(text) = &message {
            let frame: serde_json::Value = serde_json::from_str(text).expect("JSON");
            frames.insert(frame["type"].as_str().expect("a type").to_owned());
        }
    }
    assert!(frames.contains("hello") && frames.contains("bye"), "{frames:?}");
}

/// Both listeners' numbers, once the sink has caught up with what was sent.
fn metrics(demo: &Demo, curl: &Curl) -> String {
    let stored = || {
        let path = format!("/v1/verdicts?transaction_id={MARK}-1");
        let reply = curl.run(&path, &["-H", &bearer()], None);
        (reply.code == 200 && !reply.json()["verdicts"].as_array()?.is_empty()).then_some(())
    };
    until(PATIENCE + Duration::from_secs(30), || format!("the row; it said:\n{}", demo.err().len()), stored);
    let own = demo.variable("SENTRA__TELEMETRY__LISTEN");
    let port = own.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let both = [curl.run("/metrics", &["-H", &bearer()], None), Curl::at(port).get("/metrics")];
    let texts: Vec<String> = both.iter().map(|reply| reply.text()).collect();
    assert!(texts.iter().all(|text| text.contains("sentra_events_total")));
    texts.join("\n")
}
