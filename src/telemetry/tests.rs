//! Health over a real socket, and facts that count.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{facts::*, *};
use crate::domain::{flags::Flags, history::Footprint, invalid::InvalidReason, verdict::Kind};

/// Status code and body of a GET.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn serving(shards: usize) -> (Telemetry, Server) {
    let telemetry = Telemetry::new(shards);
    let server = Server::start("127.0.0.1:0".parse().unwrap(), telemetry.clone()).unwrap();
    (telemetry, server)
}

fn reasons(address: SocketAddr) -> (u16, Vec<String>) {
    let (code, body) = get(address, "/readyz");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    (code, serde_json::from_value(body["reasons"].clone()).unwrap())
}

#[test]
fn readiness_tells_every_reason_and_ends_when_the_last_is_gone() {
    let (telemetry, server) = serving(2);
    assert_eq!(reasons(server.address()).0, 503, "no shard has joined");
    telemetry.health.joined(0);
    telemetry.health.joined(1);
    assert_eq!(reasons(server.address()), (200, vec![]));

    telemetry.emit(BrokerLost { shard: 1, why: "connection refused" });
    telemetry.emit(RecoveryStarted { partition: 3, shard: 0 });
    telemetry.emit(RecoveryStarted { partition: 4, shard: 1 });
    telemetry.emit(RecoveryStarted { partition: 7, shard: 0 });
    telemetry.emit(PartitionRefused { partition: 7, why: "the verdict topic has 6 partitions; make it 8" });
    telemetry.health.hold("topics", Some(String::from("sentra.verdicts is missing; run `sentra topics apply`")));
    assert_eq!(
        reasons(server.address()),
        (
            503,
            vec![
                String::from("shard 1 has reached no broker for 0 s: connection refused"),
                String::from("partitions recovering: 2"),
                String::from("partition 7 is refused: the verdict topic has 6 partitions; make it 8"),
                String::from("topics: sentra.verdicts is missing; run `sentra topics apply`"),
            ]
        )
    );
    telemetry.emit(BrokerBack { shard: 1 });
    telemetry.emit(Recovered { partition: 3, replayed: 10, took: Duration::from_millis(70) });
    telemetry.emit(PartitionGone { partition: 4, shard: 1 });
    telemetry.emit(PartitionGone { partition: 7, shard: 1 });
    assert_eq!(
        reasons(server.address()).1.len(),
        2,
        "a shard that has it no longer does not speak for the one that has"
    );
    telemetry.emit(PartitionGone { partition: 7, shard: 0 });
    telemetry.health.hold("topics", None);
    assert_eq!(reasons(server.address()), (200, vec![]));
}

#[test]
fn partitions_that_are_late_speak_against_readiness_until_their_shard_says_otherwise() {
    let telemetry = Telemetry::new(0);
    let now = Instant::now();
    let late = |partition| Delay { partition, verdicts: UNDELIVERED_FOR, ..Delay::default() };
    telemetry.health.delayed(0, vec![late(3)]);
    telemetry.health.delayed(1, vec![late(4), Delay { partition: 5, ..Delay::default() }]);
    let reasons: Vec<String> = telemetry.health.unready(now).into_iter().map(|reason| reason.words).collect();
    assert_eq!(reasons, ["verdicts not acknowledged: partitions 3, 4 (for 5 s)"]);
    assert_eq!(telemetry.health.unready_of("score", now).len(), 1);
    assert!(telemetry.health.unready_of("serve", now).is_empty(), "another role's");
    telemetry.health.delayed(0, Vec::new());
    telemetry.health.delayed(1, vec![Delay { partition: 5, ..Delay::default() }]);
    assert!(telemetry.health.unready(now).is_empty());
}

#[test]
fn liveness_is_progress_of_every_shard() {
    let (telemetry, server) = serving(2);
    assert_eq!(get(server.address(), "/livez").0, 200);
    let later = Instant::now() + STUCK_AFTER + Duration::from_secs(2);
    assert_eq!(telemetry.health.stuck(later).len(), 2, "a process that never turns is stuck too");
    telemetry.health.progress(0, later);
    let stuck = telemetry.health.stuck(later);
    assert_eq!(stuck.len(), 1);
    assert!(stuck[0].starts_with("shard 1 has not turned for 3"), "{stuck:?}");
    telemetry.health.progress(1, later);
    assert!(telemetry.health.stuck(later + STUCK_AFTER).is_empty());
    assert!(!telemetry.health.stuck(later + STUCK_AFTER + Duration::from_millis(1)).is_empty());
}

#[test]
fn a_process_that_does_not_turn_is_not_alive_and_says_which_part() {
    let began = Instant::now().checked_sub(2 * STUCK_AFTER).expect("the machine runs for longer");
    let telemetry = Telemetry { health: Health::born(2, began), ..Telemetry::new(2) };
    let server = Server::start("127.0.0.1:0".parse().unwrap(), telemetry.clone()).unwrap();
    telemetry.health.progress(0, Instant::now());
    let (code, body) = get(server.address(), "/livez");
    assert_eq!(code, 503);
    assert!(body.contains("shard 1 has not turned for 6") && !body.contains("shard 0"), "{body}");
    telemetry.health.progress(1, Instant::now());
    assert_eq!(get(server.address(), "/livez").0, 200);
}

#[test]
fn liveness_is_progress_of_the_follower_and_the_sink_too_where_the_process_has_them() {
    let telemetry = Telemetry::new(0);
    let later = Instant::now() + STUCK_AFTER * 2;
    assert!(telemetry.health.stuck(later).is_empty(), "it has none");
    Loop::ALL.iter().for_each(|each| telemetry.health.beat(*each, Instant::now()));
    let stuck = telemetry.health.stuck(later);
    assert!(stuck[0].starts_with("the verdict tail's follower has not turned for "), "{stuck:?}");
    assert!(stuck[1].starts_with("the sink has not turned for "), "{stuck:?}");
    telemetry.health.beat(Loop::Follower, later);
    assert_eq!(telemetry.health.stuck(later).len(), 1);
    telemetry.health.beat(Loop::Sink, later);
    assert!(telemetry.health.stuck(later + STUCK_AFTER).is_empty());
}

#[test]
fn a_port_in_use_is_one_line_with_the_setting_and_the_way_out() {
    let (telemetry, server) = serving(1);
    let Err(error) = Server::start(server.address(), telemetry) else { panic!("the port is taken") };
    let wanted = format!("telemetry.listen: {} is in use; choose another port, or \"off\"", server.address());
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_dropped_server_frees_its_port() {
    let (telemetry, server) = serving(1);
    let address = server.address();
    let _idle = TcpStream::connect(address).unwrap();
    drop(server);
    assert!(Server::start(address, telemetry).is_ok());
}

#[test]
fn facts_and_tallies_arrive_in_the_metrics() {
    let (telemetry, server) = serving(1);
    let mut tally = Tally::new(&telemetry.metrics);
    let mut flags = Flags::default();
    flags.set(Flags::MISROUTED, true);
    flags.set(Flags::OUT_OF_ORDER, true);
    tally.verdict(Kind::Scored, flags);
    tally.verdict(Kind::Scored, Flags::default());
    tally.verdict(Kind::Invalid, Flags::default());
    tally.invalid(InvalidReason::NotJson);
    tally.latency_ms(7);
    let unflushed = get(server.address(), "/metrics").1;
    assert!(unflushed.contains("sentra_events_total{kind=\"scored\"} 0"), "{unflushed}");
    tally.flush();
    tally.flush();
    telemetry.metrics.stage(Stage::Score, Duration::from_micros(80));
    telemetry.metrics.partition_at(5, 12, 1_700_000_000_500);
    telemetry.metrics.delays(5, Duration::from_millis(1_500), Duration::from_secs(40));
    telemetry.metrics.state(0, 3, Footprint { ring: 1_000, totals: 200, profile: 400 });
    telemetry.emit(RecoveryStarted { partition: 5, shard: 0 });
    telemetry.emit(EpochTaken { partition: 5, epoch: 9 });
    telemetry.emit(ZombieIgnored { partition: 5, verdicts: 4 });
    telemetry.emit(GapSeen { partition: 5, expected: 1, found: 2 });
    telemetry.emit(PartitionPaused { partition: 5, undelivered: 10_000, letter_bytes: 0 });
    telemetry.emit(DeadLettered { partition: 5, offset: 1, reason: InvalidReason::NotJson, fate: LetterFate::Whole });
    for fate in [LetterFate::Cut, LetterFate::Lost] {
        telemetry.emit(DeadLettered { partition: 5, offset: 2, reason: InvalidReason::NotJson, fate });
    }
    telemetry.emit(RecordCrashed { partition: 5, offset: 3, place: "src/x.rs:1:1", times: 1 });
    telemetry.emit(BrokerLost { shard: 0, why: "x" });
    let (code, text) = get(server.address(), "/metrics");
    assert_eq!(code, 200);
    for line in [
        "sentra_events_total{kind=\"scored\"} 2",
        "sentra_events_total{kind=\"invalid\"} 1",
        "sentra_events_total{kind=\"late\"} 0",
        "sentra_event_flags_total{flag=\"misrouted\"} 1",
        "sentra_event_flags_total{flag=\"out_of_order\"} 1",
        "sentra_invalid_total{reason=\"not_json\"} 1",
        "sentra_verdict_latency_seconds_bucket{le=\"0.005\"} 0",
        "sentra_verdict_latency_seconds_bucket{le=\"0.01\"} 1",
        "sentra_stage_seconds_bucket{stage=\"score\",le=\"0.0001\"} 1",
        "sentra_lag_records{partition=\"5\"} 12",
        "sentra_watermark_seconds{partition=\"5\"} 1700000000.5",
        "sentra_undelivered{partition=\"5\"} 10000",
        "sentra_undelivered_age_seconds{partition=\"5\"} 1.5",
        "sentra_lag_seconds{partition=\"5\"} 40",
        "sentra_partitions{state=\"paused\"} 1",
        "sentra_partitions{state=\"running\"} 0",
        "sentra_epochs_taken_total 1",
        "sentra_gaps_total 1",
        "sentra_zombie_verdicts_ignored_total 4",
        "sentra_dead_letters_total 2",
        "sentra_dead_letters_cut_total 1",
        "sentra_dead_letters_lost_total 1",
        "sentra_record_crashes_total 1",
        "sentra_phones{shard=\"0\"} 3",
        "sentra_state_bytes{part=\"ring\",shard=\"0\"} 1000",
        "sentra_state_bytes{part=\"totals\",shard=\"0\"} 200",
        "sentra_state_bytes{part=\"profile\",shard=\"0\"} 400",
        "sentra_broker_up 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    telemetry.emit(PartitionGone { partition: 5, shard: 0 });
    let text = telemetry.render();
    assert!(!text.contains("partition=\"5\""), "another process reports the partition now");
}

#[test]
fn the_institution_label_is_bounded_and_never_a_phone() {
    let telemetry = Telemetry::new(1);
    for number in 0..200 {
        telemetry.metrics.misrouted(Some(&format!("bank-{number}")));
    }
    telemetry.metrics.misrouted(Some("bank-0"));
    telemetry.metrics.misrouted(Some("254712345678"));
    telemetry.metrics.misrouted(None);
    let text = telemetry.render();
    let series = text.lines().filter(|line| line.starts_with("sentra_misrouted_total{")).count();
    assert_eq!(series, 64 + 2, "64 by name, other and none");
    assert!(text.contains("sentra_misrouted_total{institution=\"bank-0\"} 2"));
    assert!(text.contains("sentra_misrouted_total{institution=\"other\"} 137"));
    assert!(!text.contains("254712345678"));
}

#[test]
fn a_lost_broker_is_told_once_whichever_shards_lose_it_until_the_last_has_it_back() {
    let health = Health::new(2);
    let now = Instant::now();
    let lost = |shard| health.broker(shard, Some("refused"), now);
    let back = |shard| health.broker(shard, None, now);
    assert!(!back(0), "it was never lost");
    assert!(lost(1), "the first");
    assert!(!lost(0) && !lost(1) && !lost(0));
    assert_eq!(health.unready(now).iter().filter(|why| why.words.contains("no broker")).count(), 2, "each is a reason");
    assert!(!back(1) && !back(1), "one has yet to find it");
    assert!(back(0), "the last");
    assert!(!back(0));
    assert!(lost(0) && back(0), "the next outage is told again");
}

#[test]
fn a_reason_against_readiness_is_news_once_until_it_changes_or_ends() {
    let health = Health::new(1);
    let hold = |why: Option<&str>| health.hold(TOPICS, why.map(str::to_owned));
    assert!(!hold(None), "nothing was wrong");
    assert!(hold(Some("6 and 4")) && !hold(Some("6 and 4")));
    assert!(hold(Some("8 and 4")) && !hold(Some("8 and 4")));
    assert!(hold(None) && !hold(None));
}

#[test]
fn each_role_answers_for_its_own_reasons_alone() {
    let telemetry = Telemetry::new(1);
    let now = Instant::now();
    telemetry.health.hold("verdict tail", Some(String::from("is not open yet")));
    telemetry.health.hold("topics", Some(String::from("differ")));
    telemetry.health.hold("sink", Some(String::from("waits")));
    let words = |role| -> Vec<String> {
        telemetry.health.unready_of(role, now).into_iter().map(|reason| reason.words).collect()
    };
    assert_eq!(words("serve"), ["verdict tail: is not open yet"]);
    assert_eq!(words("sink"), ["sink: waits"]);
    let score = telemetry.health.unready_of("score", now);
    assert_eq!(score.len(), 2, "its shard has not joined, and the topics differ: {score:?}");
    assert_eq!(telemetry.health.unready(now).len(), 4, "the process has all of them");
    assert_eq!(telemetry.health.held("topics").as_deref(), Some("differ"));
}

#[test]
fn a_partition_that_waits_for_its_snapshots_says_so_until_it_recovers_or_goes() {
    let telemetry = Telemetry::new(1);
    telemetry.health.joined(0);
    let awaited = || snapshot::SnapshotsAwaited { partition: 4, why: "the bucket is away" }.emit(&telemetry);
    let reasons = || {
        let reasons = telemetry.health.unready(Instant::now());
        reasons.into_iter().map(|reason| reason.words).collect::<Vec<_>>().join("\n")
    };
    awaited();
    assert_eq!(reasons(), "", "one that is not here waits for nothing");
    telemetry.health.partition_taken(4, 0);
    telemetry.health.partition(4, PartitionState::Recovering, None);
    awaited();
    for part in ["partitions recovering: 1", "partition 4 waits: ", "the bucket is away", "snapshots.give_up"] {
        assert!(reasons().contains(part), "{part}: {}", reasons());
    }
    telemetry.health.partition_waits(4, None);
    assert_eq!(reasons(), "partitions recovering: 1");
    telemetry.health.partition(4, PartitionState::Running, None);
    awaited();
    assert_eq!(reasons(), "", "it runs");
}
