//! A client's cursor: nothing lost and nothing repeated across a server's stop, its crash, another server, and what
//! was written meanwhile; and what is told where the topic no longer has what the cursor wants.

mod common;

use std::collections::BTreeSet;

use common::{
    PATIENCE,
    feed::{Client, Ended, Log, Place, Serving, by_partition, cursor_of, place},
    line::{Topics, until},
};
use serde_json::{Value, json};

/// Verdicts, owners and zombies in all partitions.
fn traffic(log: &mut Log, rounds: usize) {
    for round in 0..rounds {
        let partition = round as i32 % 3;
        log.verdicts(partition, (0..20).map(|at| (round * 7 + at * 5) as u8 % 101));
        if round % 4 == 3 {
            log.owner(partition);
            log.zombies(partition, 3);
        }
    }
}

/// Everything a session sends until it has sent so many verdicts; the cursor that its farewell bears comes too.
fn until_bye(client: &mut Client) -> (Vec<Place>, String) {
    let mut places = Vec::new();
    loop {
        let frame = client.next().expect("a farewell");
        match frame["type"].as_str() {
            Some("verdict") => places.push(place(&frame)),
            Some("bye") => return (places, cursor_of(&frame)),
            _ => {}
        }
    }
}

fn resumed(serving: &Serving, cursor: &str) -> Client {
    let mut client = serving.client(&format!("cursor={cursor}"));
    let hello = client.next_of("hello");
    assert_eq!((&hello["resumed"], cursor_of(&hello)), (&json!(true), cursor.to_owned()));
    client
}

#[test]
fn a_stop_and_a_start_of_the_server_lose_nothing_and_repeat_nothing() {
    let topics = Topics::create("restart", 3);
    let mut log = Log::begin(&topics);
    let mut serving = Serving::start(&topics, &[]);
    let mut client = serving.client("");
    client.next_of("hello");
    let mut seen = Vec::new();
    for round in 0..3 {
        traffic(&mut log, 15);
        if round == 0 {
            seen.extend(client.gather(300).0);
        }
        // The farewell may come amid verdicts.
        serving.process.signal(libc::SIGTERM);
        let (more, cursor) = until_bye(&mut client);
        seen.extend(more);
        serving.process.wait(PATIENCE);
        traffic(&mut log, 15);
        serving = Serving::start(&topics, &[]);
        client = resumed(&serving, &cursor);
        traffic(&mut log, 15);
        let left = log.accepted().len() - seen.len();
        seen.extend(client.gather(left).0);
    }
    assert_eq!(by_partition(&seen), log.accepted());
    assert!(serving.process.metric("sentra_feed_catch_ups_total") >= Some(1.0), "what was written meanwhile was read");
}

#[test]
fn after_a_crash_the_last_cursor_brings_everything_and_places_tell_what_was_seen() {
    let topics = Topics::create("crash", 3);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let mut client = serving.client("");
    let mut cursor = cursor_of(&client.next_of("hello"));
    traffic(&mut log, 12);
    let (mut seen, told) = client.gather(240);
    if !told.is_empty() {
        cursor = told;
    }
    traffic(&mut log, 12);
    serving.process.kill();
    let serving = Serving::start(&topics, &[]);
    let mut client = resumed(&serving, &cursor);
    traffic(&mut log, 3);
    let mut known: BTreeSet<Place> = seen.iter().copied().collect();
    while known.len() < log.accepted().len() {
        let frame = client.next_of("verdict");
        if known.insert(place(&frame)) {
            seen.push(place(&frame));
        }
    }
    assert_eq!(by_partition(&seen), log.accepted());
}

#[test]
fn any_server_takes_the_cursor_of_any_other() {
    let topics = Topics::create("two", 3);
    let mut log = Log::begin(&topics);
    let servers = [Serving::start(&topics, &[]), Serving::start(&topics, &[])];
    let mut client = servers[0].client("");
    let mut cursor = cursor_of(&client.next_of("hello"));
    let mut seen = Vec::new();
    for round in 0..6 {
        traffic(&mut log, 6);
        let left = log.accepted().len() - seen.len();
        // Each round ends at a cursor that stands behind all that was seen.
        seen.extend(client.gather(left).0);
        let frame = client.next_of("stats");
        assert_eq!(client_total(&frame), log.accepted().len() as u64);
        cursor = cursor_of(&frame);
        client = resumed(&servers[(round + 1) % 2], &cursor);
    }
    assert!(!cursor.is_empty());
    assert_eq!(by_partition(&seen), log.accepted());
    let caught_up =
        servers.iter().filter_map(|server| server.process.metric("sentra_feed_catch_ups_total")).sum::<f64>();
    assert!(caught_up <= 1.0, "the newest verdicts are at hand: {caught_up}");
}

fn client_total(stats: &Value) -> u64 {
    stats["total"].as_u64().expect("a total")
}

#[test]
fn many_clients_with_an_old_cursor_take_turns_and_each_sees_all_of_it() {
    const CLIENTS: usize = 12;
    let topics = Topics::create("many", 3);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let cursor = cursor_of(&serving.client("").next_of("hello"));
    drop(serving);
    traffic(&mut log, 60);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__FEED_CATCH_UPS", "2")]);
    let all = log.accepted();
    std::thread::scope(|scope| {
        let catch_up = || {
            // One that is told to come again does.
            let answer = until(
                4 * PATIENCE,
                || String::from("a turn"),
                || {
                    let mut client = resumed(&serving, &cursor);
                    let mut places = Vec::new();
                    while places.len() < all.len() {
                        let frame = client.next().expect("a frame");
                        match frame["type"].as_str() {
                            Some("verdict") => places.push(place(&frame)),
                            Some("bye") => {
                                assert_eq!(frame["reason"], "busy");
                                return None;
                            }
                            _ => {}
                        }
                    }
                    Some(places)
                },
            );
            assert_eq!(by_partition(&answer), all);
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(catch_up)).collect();
        clients.into_iter().for_each(|client| client.join().expect("a client"));
    });
    let waits = || serving.process.metric("sentra_feed_catching_up").filter(|busy| *busy == 0.0);
    until(PATIENCE, || String::from("the end of all catch-ups"), waits);
}

#[test]
fn a_filter_holds_while_catching_up_too_and_may_change_on_the_way() {
    let topics = Topics::create("filtered", 3);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let cursor = cursor_of(&serving.client("").next_of("hello"));
    drop(serving);
    log.verdicts(0, (0..2_000).map(|at| (at % 100) as u8));
    let serving = Serving::start(&topics, &[]);
    let mut client = serving.client(&format!("cursor={cursor}&level=CRITICAL"));
    let (seen, _) = client.gather(200);
    assert_eq!(seen.len(), 200);
    log.verdicts(0, [10, 99]);
    assert_eq!(client.next_of("verdict")["verdict"]["risk_score"], 99);
}

#[test]
fn a_cursor_whose_verdicts_are_gone_or_of_another_topic_is_told_to_begin_anew() {
    let (topics, others) = (Topics::create("gone", 2), Topics::create("other", 2));
    let mut log = Log::begin(&topics);
    Log::begin(&others);
    let serving = Serving::start(&topics, &[]);
    let ours = cursor_of(&serving.client("").next_of("hello"));
    let other = Serving::start(&others, &[]);
    let theirs = cursor_of(&other.client("").next_of("hello"));
    log.verdicts(0, [1, 2, 3]);
    log.verdicts(1, [1, 2, 3]);
    drop(serving);
    common::delete_records(&topics.verdicts, 1, 3);
    let serving = Serving::start(&topics, &[]);
    for cursor in [ours, theirs] {
        let Ended { bye, code } = serving.client(&format!("cursor={cursor}")).end();
        assert_eq!((code, &bye["reason"]), (4010, &json!("resync_required")), "{bye}");
        assert!(bye["detail"].as_str().is_some_and(|detail| detail.contains("without a cursor")), "{bye}");
    }
}
