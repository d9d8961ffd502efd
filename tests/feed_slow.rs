//! Clients that read slowly or never: the server's memory stays bounded, others are served at once, and what a slow
//! one missed its cursor brings back.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{
    PATIENCE,
    feed::{Client, Log, Place, Serving, by_partition, cursor_of, place},
    line::{Topics, until},
};
use serde_json::json;
use socket2::{Domain, Socket, Type};

/// A connection whose receiving end holds little.
fn narrow(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&address.into()).expect("it listens");
    socket.into()
}

/// One in fifty is an alert.
fn scores(count: usize) -> impl Iterator<Item = u8> {
    (0..count).map(|at| if at % 50 == 0 { 95 } else { 20 })
}

#[test]
fn a_slow_client_gets_only_alerts_is_told_and_loses_nothing_by_its_cursor() {
    const VERDICTS: usize = 12_000;
    let topics = Topics::create("slow", 2);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__FEED_BACKLOG", "1024")]);
    let mut slow = Client::over(narrow(serving.port), "").expect("a session");
    slow.next_of("hello");
    let mut good = serving.client("level=CRITICAL");
    good.next_of("hello");
    // It reads all the while, a hundred frames a second: some of everything, then alerts alone, then word of what is
    // missing; and no farewell before that.
    let reader = thread::spawn(move || {
        let (mut seen, mut last, mut skipped) = (Vec::new(), [0_i64; 2], false);
        loop {
            let frame = slow.next().expect("a gap comes first");
            thread::sleep(Duration::from_millis(10));
            match frame["type"].as_str() {
                Some("verdict") => {
                    let (partition, offset) = place(&frame);
                    skipped |= offset != last[partition as usize] + 1;
                    last[partition as usize] = offset;
                    let alert = frame["verdict"]["risk_level"] == "CRITICAL";
                    assert!(!skipped || alert, "once something is left out, only alerts come");
                    seen.push((partition, offset));
                }
                Some("gap") => {
                    assert_eq!(frame["reason"], "slow");
                    assert!(frame["left_out"].as_u64() > Some(0));
                    return (seen, cursor_of(&frame));
                }
                Some("stats") => {}
                _ => panic!("a gap comes first, not {frame}"),
            }
        }
    });
    for half in 0..2 {
        log.verdicts(half, scores(VERDICTS / 2));
    }
    let alerts = good.gather(VERDICTS / 50).0;
    assert_eq!(alerts.len(), VERDICTS / 50, "a good one has them all by now");
    let (seen, cursor) = reader.join().expect("the slow one");
    let mut known: BTreeSet<Place> = seen.into_iter().collect();
    assert!(known.len() < VERDICTS, "it was slow: {} verdicts", known.len());
    let mut again = serving.client(&format!("cursor={cursor}"));
    while known.len() < VERDICTS {
        known.insert(place(&again.next_of("verdict")));
    }
    assert_eq!(by_partition(&known.into_iter().collect::<Vec<_>>()), log.accepted());
}

#[test]
fn one_that_reads_slowly_and_steadily_is_not_closed_though_a_batch_takes_it_longer_than_a_frame_may() {
    const LONG: Duration = Duration::from_secs(30);
    const VERDICTS: usize = 600;
    let topics = Topics::create("steady", 1);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let mut slow = Client::over(narrow(serving.port), "").expect("a session");
    slow.next_of("hello");
    // Some 5 KB each, so that a batch of them is more than it takes in 10 s.
    let long = json!({"reasons": [{"code": "VELOCITY_5M", "text": "x".repeat(4_096), "contribution": 0.5}]});
    log.specials(0, &long, VERDICTS);
    let (began, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < VERDICTS {
        let frame = slow.next().unwrap_or_else(|| panic!("cut off after {:?}", began.elapsed()));
        match frame["type"].as_str() {
            Some("verdict") => seen.push(place(&frame)),
            Some("stats") => continue,
            _ => panic!("after {:?}: {frame}", began.elapsed()),
        }
        if began.elapsed() < LONG {
            thread::sleep(Duration::from_millis(500));
        }
    }
    assert_eq!(by_partition(&seen), log.accepted());
}

#[test]
fn one_that_never_reads_is_closed_and_counted() {
    let topics = Topics::create("deaf", 1);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let mut deaf = Client::over(narrow(serving.port), "").expect("a session");
    deaf.next_of("hello");
    log.verdicts(0, scores(3_000));
    let closed = || serving.process.metric("sentra_feed_closed_total{reason=\"slow\"}").filter(|closed| *closed == 1.0);
    until(2 * PATIENCE, || String::from("the deaf one to be closed"), closed);
    until(
        PATIENCE,
        || String::from("its leave"),
        || serving.process.metric("sentra_feed_clients").filter(|clients| *clients == 0.0),
    );
}

/// A thousand connections need as many descriptors, here and in the child, which inherits the limit.
fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a pointer to a value that lives here.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(8_192);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    assert!(limit.rlim_cur >= 4_096, "ulimit -n allows {} descriptors, wanted 4096", limit.rlim_cur);
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1_024
}

#[test]
fn a_thousand_clients_that_never_read_cost_bounded_memory_and_nobody_else_notices() {
    const CLIENTS: usize = 1_000;
    const VERDICTS: usize = 40_000;
    const MOST_PER_CLIENT: u64 = 128 * 1_024;
    /// Backlog, librdkafka's queue, allocator.
    const MOST_SHARED: u64 = 192 * 1_024 * 1_024;
    raise_descriptors();
    let topics = Topics::create("thousand", 2);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let pid = serving.process.pid();
    let mut good = serving.client("");
    good.next_of("hello");
    let before = resident(pid);
    let deaf: Vec<TcpStream> = (0..CLIENTS).map(|_| handshake(serving.port)).collect();
    let all_in = || serving.process.metric("sentra_feed_clients").filter(|clients| *clients == (CLIENTS + 1) as f64);
    until(PATIENCE, || String::from("all to be in"), all_in);
    let connected = resident(pid);

    let began = Instant::now();
    let (most, seen) = thread::scope(|scope| {
        let reader = scope.spawn(|| good.gather(VERDICTS).0);
        for _ in 0..20 {
            log.verdicts(0, scores(VERDICTS / 40));
            log.verdicts(1, scores(VERDICTS / 40));
        }
        let mut most = 0;
        while !reader.is_finished() {
            most = most.max(resident(pid));
            thread::sleep(Duration::from_millis(20));
        }
        (most.max(resident(pid)), reader.join().expect("the good client"))
    });
    assert_eq!(by_partition(&seen), log.accepted());
    let mib = |bytes: u64| bytes as f64 / (1_024.0 * 1_024.0);
    println!(
        "{CLIENTS} clients that never read, {VERDICTS} verdicts in {:.1} s: resident {:.0} MiB before, {:.0} connected, \
         {:.0} at most",
        began.elapsed().as_secs_f64(),
        mib(before),
        mib(connected),
        mib(most),
    );
    let bound = before + MOST_SHARED + CLIENTS as u64 * MOST_PER_CLIENT;
    assert!(most < bound, "{:.0} MiB resident, more than {:.0}", mib(most), mib(bound));
    let gone = || serving.process.metric("sentra_feed_clients").filter(|clients| *clients == 1.0);
    until(3 * PATIENCE, || String::from("the deaf ones to be closed"), gone);
    drop(deaf);
    log.verdicts(0, [50]);
    good.next_of("verdict");
}

/// A session that reads no byte after the answer's first.
fn handshake(port: u16) -> TcpStream {
    let mut stream = narrow(port);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let head = "GET /v1/feed HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 101");
    stream
}
