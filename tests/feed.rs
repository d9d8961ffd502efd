//! The live feed over real sockets and a real Kafka: what a client sees, what it does wrongly, who may come in, and
//! that its cursors lose and repeat nothing across restarts and processes.

mod common;

use common::{
    PATIENCE,
    feed::{Client, Ended, Log, Place, Serving, by_partition, place, post_ticket},
    line::{Topics, until},
    schemas::{assert_valid, validator},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

#[test]
fn verdicts_come_as_they_stand_in_the_topic_and_every_frame_fits_the_schema() {
    let topics = Topics::create("feed", 2);
    let mut log = Log::begin(&topics);
    log.verdicts(0, [10, 20]);
    let serving = Serving::start(&topics, &[]);
    let mut client = serving.client("");
    let hello = client.next().expect("hello");
    assert_eq!((&hello["type"], &hello["resumed"], &hello["partitions"]), (&json!("hello"), &json!(false), &json!(2)));
    log.zombies(0, 0);
    log.verdicts(0, [30, 95]);
    log.owner(0);
    log.zombies(0, 3);
    log.verdicts(0, [40]);
    log.verdicts(1, [50]);
    log.skip(1);
    log.invalid(1);
    let (mut frames, mut verdicts, mut gaps) = (vec![hello], Vec::new(), 0);
    let mut told = Value::Null;
    while verdicts.len() < 5 || told["total"] != 5 {
        let frame = client.next().expect("a frame");
        match frame["type"].as_str() {
            Some("verdict") => verdicts.push(frame.clone()),
            Some("gap") => {
                assert_eq!((&frame["reason"], &frame["partition"]), (&json!("missing"), &json!(1)));
                gaps += 1;
            }
            _ => told = frame.clone(),
        }
        frames.push(frame);
    }
    assert_eq!(gaps, 1);
    let seen: Vec<Place> = verdicts.iter().map(place).collect();
    assert_eq!(by_partition(&seen), [(0, 3), (0, 4), (0, 9), (1, 1), (1, 2)]);
    let blocked = verdicts.iter().find(|frame| frame["verdict"]["risk_score"] == 95).expect("it");
    assert_eq!(blocked["verdict"], common::feed::verdict(0, 0, 3, 2, 95), "the verdict's bytes are untouched");

    serving.process.signal(libc::SIGTERM);
    let Ended { bye, code } = client.end();
    assert_eq!((code, &bye["reason"]), (1001, &json!("shutdown")), "{bye}");
    frames.push(bye);
    let schema = validator("feed-frame");
    frames.iter().for_each(|frame| assert_valid(&schema, frame));
}

#[test]
fn filters_are_the_servers_work() {
    let topics = Topics::create("filters", 1);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let mut clients = Vec::new();
    for (query, wanted) in [
        ("", vec![1, 2, 3, 4, 5, 6]),
        ("level=HIGH&level=critical", vec![2, 3]),
        ("level=LOW,MEDIUM", vec![1, 4, 5]),
        ("min_score=71", vec![3]),
        ("institution=bank-02", vec![4]),
        ("phone=0700000002", vec![5]),
        ("phone=%2B254700000002&min_score=50", vec![]),
        ("phone=+254700000002", vec![5]),
    ] {
        let mut client = serving.client(query);
        client.next_of("hello");
        clients.push((query, wanted, client));
    }
    log.verdicts(0, [10, 70, 99]);
    log.special(0, &json!({"institution_id": "bank-02"}));
    log.special(0, &json!({"phone_number": "+254700000002", "risk_score": 45, "risk_level": "MEDIUM"}));
    log.invalid(0);
    for (query, wanted, client) in &mut clients {
        let mut seen = Vec::new();
        loop {
            let frame = client.next().expect("a frame");
            match frame["type"].as_str() {
                Some("verdict") => seen.push(place(&frame).1),
                _ if frame["total"] == 6 => break,
                _ => {}
            }
        }
        assert_eq!(&seen, wanted, "{query}");
    }
    // A frame replaces the filter from there on.
    let (_, _, client) = &mut clients[3];
    client.send(r#"{"type":"filter","level":["LOW"],"institution":"bank-02"}"#);
    let hello = client.next_of("hello");
    assert_eq!(hello["filter"], json!({"level": ["LOW"], "institution": "bank-02"}));
    log.verdicts(0, [99, 10]);
    log.special(0, &json!({"institution_id": "bank-02"}));
    assert_eq!(place(&client.next_of("verdict")), (0, 9));
}

#[test]
fn what_a_client_asks_wrongly_is_told_and_closed_and_the_others_do_not_notice() {
    let topics = Topics::create("wrong", 1);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let mut good = serving.client("");
    good.next_of("hello");
    let phone = "+254799999999";
    for (query, word) in [
        ("cursor=zzz", "cursor"),
        ("cursor=00", "cursor"),
        ("cursor=%ff%fe", "cursor"),
        ("level=SEVERE", "level"),
        ("min_score=-1", "min_score"),
        ("min_score=101", "min_score"),
        ("phone=%2B2547****9999", "phone"),
        ("phone=99999", "phone"),
        ("institution=a%20b", "institution"),
        ("colour=red", "colour"),
        (&format!("cursor={}", "0".repeat(20_000)), "cursor"),
    ] {
        let Ended { bye, code } = serving.client(query).end();
        assert_eq!((code, &bye["reason"]), (1008, &json!("bad_request")), "{query}: {bye}");
        let detail = bye["detail"].as_str().expect("a detail");
        assert!(detail.contains(word) && !detail.contains("9999"), "{query}: {detail}");
    }
    let huge = |bytes: usize| Message::text(format!(r#"{{"type":"filter","phone":"{phone}{}"}}"#, " ".repeat(bytes)));
    for (message, code, reason) in [
        (Message::text("{}"), 1003, "bad_frame"),
        (Message::text("nonsense"), 1003, "bad_frame"),
        (Message::text(r#"{"type":"subscribe"}"#), 1003, "bad_frame"),
        (Message::text(r#"{"type":"filter","min_score":7000}"#), 1003, "bad_frame"),
        (Message::text(format!("{}{}", "[".repeat(2_000), "]".repeat(2_000))), 1003, "bad_frame"),
        (Message::binary(vec![0, 159, 146, 150]), 1003, "bad_frame"),
        (huge(5_000), 1009, "too_large"),
        (huge(100_000), 1009, "too_large"),
    ] {
        let mut client = serving.client("");
        client.next_of("hello");
        client.send_message(message.clone()).expect("sent");
        let Ended { bye, code: found } = client.end();
        assert_eq!((found, &bye["reason"]), (code, &json!(reason)), "{bye}");
        assert!(bye["cursor"].is_string(), "{bye}");
    }
    log.verdicts(0, [50]);
    assert_eq!(place(&good.next_of("verdict")), (0, 1));
    let said = serving.process.log();
    assert!(!said.contains("9999") && !said.contains("panicked"), "{said}");
    let refused = serving.process.metric("sentra_feed_closed_total{reason=\"bad_request\"}");
    assert_eq!(refused, Some(11.0));
}

/// The status with which a session was refused.
fn status(result: Result<Client, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let problem: Value = serde_json::from_slice(body).expect("a problem document");
            assert_eq!(problem["status"], response.status().as_u16());
            assert!(problem["detail"].is_string());
            response.status().as_u16()
        }
        Err(error) => panic!("{error}"),
        Ok(_) => 101,
    }
}

#[test]
fn the_bearer_or_a_ticket_that_is_good_once_opens_and_no_foreign_page_comes_in() {
    const TOKEN: &str = "a-token-of-some-length";
    let topics = Topics::create("auth", 1);
    let serving = Serving::start(
        &topics,
        &[("SENTRA__SERVE__TOKEN", TOKEN), ("SENTRA__SERVE__CORS_ORIGINS", "https://console.example.com")],
    );
    let (port, bearer) = (serving.port, format!("Bearer {TOKEN}"));
    let own = format!("http://127.0.0.1:{port}");
    assert_eq!(post_ticket(port, None).0, 401);
    assert_eq!(post_ticket(port, Some("Bearer wrong-token-of-length")).0, 401);
    let (code, given) = post_ticket(port, Some(&bearer));
    assert_eq!((code, &given["expires_in_s"]), (201, &json!(30)));
    let query = format!("ticket={}", given["ticket"].as_str().expect("a ticket"));
    for (query, headers, wanted) in [
        ("", vec![], 401),
        ("ticket=nonsense", vec![], 401),
        ("", vec![("authorization", "Bearer wrong")], 401),
        ("", vec![("authorization", bearer.as_str())], 101),
        (&query, vec![("origin", "https://evil.example.com")], 403),
        (&query, vec![("origin", own.as_str())], 101),
        (&query, vec![("origin", own.as_str())], 401),
        (&query, vec![], 401),
        ("", vec![("authorization", bearer.as_str()), ("origin", "https://console.example.com")], 101),
        ("", vec![("authorization", bearer.as_str()), ("origin", "null")], 403),
    ] {
        let shown = (query, &headers);
        assert_eq!(status(Client::connect(port, query, &headers)), wanted, "{shown:?}");
    }
    assert!(!serving.process.log().contains(TOKEN));
}

#[test]
fn there_is_room_for_so_many_clients_and_again_when_one_leaves() {
    let topics = Topics::create("full", 1);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__FEED_CLIENTS", "2")]);
    let mut one = serving.client("");
    let _two = serving.client("");
    assert_eq!(status(Client::connect(serving.port, "", &[])), 503);
    one.next_of("hello");
    drop(one);
    let room = || serving.process.metric("sentra_feed_clients").filter(|clients| *clients < 2.0);
    until(PATIENCE, || String::from("room"), room);
    assert_eq!(status(Client::connect(serving.port, "", &[])), 101);
}

#[test]
fn a_client_that_answers_no_ping_is_closed_as_idle_and_one_that_does_stays() {
    let topics = Topics::create("feed.idle", 1);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__FEED_PING", "1s")]);
    let mut deaf = serving.client("");
    assert_eq!(deaf.next_of("hello")["ping_s"], 1);
    let mut good = serving.client("");
    good.next_of("hello");
    // Who reads answers pings; the deaf one does not read, and what it is told waits for it.
    let closed = || {
        good.next_of("stats");
        serving.process.metric("sentra_feed_closed_total{reason=\"idle\"}").filter(|closed| *closed == 1.0)
    };
    until(PATIENCE, || String::from("the deaf one to be closed"), closed);
    let Ended { bye, code } = deaf.end();
    assert_eq!((&bye["reason"], code), (&json!("idle"), 4009));
    assert!(bye["cursor"].is_string(), "{bye}");
    log.verdicts(0, [50]);
    good.next_of("verdict");
    let left = || serving.process.metric("sentra_feed_clients").filter(|clients| *clients == 1.0);
    until(PATIENCE, || String::from("the good one alone"), left);
}
