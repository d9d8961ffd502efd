//! A broker that is not there at the start, goes away, hangs, and comes back: told once by a process of two shards,
//! retried, nothing lost; and a stop while it hangs. One test, for it has a broker of its own, which costs seconds.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::{
    broker::Broker,
    kafka,
    line::{Sentra, Setup, Topics, soon, until},
    records::{Follower, Reading, ends},
};
use sentra::{
    kafka::load::Load,
    train::simulate::{Limit, Options, Simulated, Simulation},
};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that reaches no broker is alive for longer than a shard may take for a turn.
const ABSENT: Duration = Duration::from_secs(32);

/// What a stop may take, from the signal to the process's end.
const STOP: Duration = Duration::from_secs(10);

/// Longer than a session, and than any hiccup.
const FROZEN: Duration = Duration::from_secs(30);

/// What memory may grow by while nothing can be delivered.
const MOST_MORE_MIB: u64 = 64;

/// How input ends.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// Every record acknowledged: what is counted afterwards is all that was sent.
    Whole,
    /// As it is: what the input loses to a hanging broker is not what is looked at.
    Dropped,
}

/// A thousand records a second until told to end.
fn traffic(topic: &str, over: &Arc<AtomicBool>, ending: Ending) -> JoinHandle<()> {
    // A request that a hanging broker swallowed is sent again well before the producer gives up waiting for the last.
    let client = common::client(&[("bootstrap.servers", kafka()), ("socket.timeout.ms", String::from("10000"))]);
    let mut load = Load::connect(client, topic).expect("a producer");
    let over = Arc::clone(over);
    let send = move || {
        let mut simulation = Simulation::new(&Options { limit: Limit::None, ..Options::sized(3, 300) });
        let mut record = Simulated::empty();
        while !over.load(Ordering::Relaxed) {
            for _ in 0..10 {
                assert!(simulation.read(&mut record), "it has no end");
                load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
            }
            load.wait(Duration::from_millis(10)).expect("taken in the end");
        }
        if ending == Ending::Whole {
            load.finish().expect("all acknowledged");
        }
    };
    thread::spawn(send)
}

fn judged(process: &Sentra) -> f64 {
    process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default()
}

/// Waits for verdicts beyond those made so far.
fn await_progress(process: &Sentra) {
    let before = judged(process);
    let what = || format!("more verdicts than {before}; {:?}; its log:\n{}", process.get("/readyz"), process.log());
    until(PATIENCE, what, || (judged(process) > before + 1_000.0).then_some(()));
}

/// Says how far the test is.
fn phase(began: Instant, what: &str) {
    println!("{:5.1} s: {what}", began.elapsed().as_secs_f64());
}

fn lines(process: &Sentra, words: &str) -> usize {
    process.log().lines().filter(|line| line.contains(words)).count()
}

fn await_unready(process: &Sentra) {
    until(
        PATIENCE,
        || process.log(),
        || {
            let answer = process.get("/readyz")?;
            (answer.code == 503 && answer.body.contains("no broker")).then_some(())
        },
    );
}

#[test]
fn an_absent_lost_or_hanging_broker_is_told_once_and_survived_without_loss() {
    let start = Instant::now();
    let broker = Broker::up();
    phase(start, "broker up");
    let topics = Topics::create("outage", PARTITIONS);
    broker.services("down");

    phase(start, "Absent at the start");
    // Absent at the start.
    let mut process = Setup::new(&topics)
        .with("SENTRA__SCORE__SHARDS", "2")
        // A broker that has just begun, or hung, may say that there is no broker. What the client would do about it by itself
        // works mostly; that Sentra needs no luck shows without it.
        .with("SENTRA__KAFKA__PROPERTIES__METADATA_RECOVERY_STRATEGY", "none")
        .start();
    let began = Instant::now();
    await_unready(&process);
    while began.elapsed() < ABSENT {
        assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200), "waiting is no failure");
        thread::sleep(Duration::from_millis(500));
    }
    assert!(matches!(&process.complaints()[..], [one] if one.contains("no broker reached")), "{}", process.log());
    assert!(process.log().contains("kafka.bootstrap_servers"), "it names the setting");
    broker.services("up");
    process.await_running(PARTITIONS, PATIENCE);
    assert_eq!(lines(&process, "broker reached again"), 1);

    phase(start, "Lost while records come, and back");
    // Lost while records come, and back.
    let over = Arc::new(AtomicBool::new(false));
    let coming = traffic(&topics.transactions, &over, Ending::Whole);
    await_progress(&process);
    broker.services("down");
    await_unready(&process);
    broker.services("up");
    await_progress(&process);
    process.await_ready();
    assert_eq!(lines(&process, "no broker reached"), 2, "one line more:\n{}", process.log());
    soon("the second outage's end to be told", || lines(&process, "broker reached again") == 2);
    println!("complaints over two outages:\n{}", process.complaints().join("\n"));

    phase(start, "Hanging for a while");
    // Hanging for a while: connections stay up, and nothing comes.
    broker.services("freeze");
    let (frozen_at, rss, began) = (judged(&process), process.rss_mib(), Instant::now());
    let said = process.await_unready("has not answered for", FROZEN);
    println!("not ready {:.1} s after the broker froze: {said}", began.elapsed().as_secs_f64());
    while began.elapsed() < FROZEN {
        assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200), "waiting is no failure");
        assert!(!process.is_ready(), "it says so as long as it lasts");
        thread::sleep(Duration::from_millis(500));
    }
    println!("{} more verdicts made while the broker hung", judged(&process) - frozen_at);
    assert!(process.rss_mib() < rss + MOST_MORE_MIB, "{} MiB, {rss} before", process.rss_mib());
    broker.services("thaw");
    await_progress(&process);
    process.await_ready();
    assert_eq!(lines(&process, "no broker reached"), 3, "one line more:\n{}", process.log());
    over.store(true, Ordering::Relaxed);
    coming.join().expect("the input");

    let ends = ends(&topics.transactions, PARTITIONS);
    let sum: i64 = ends.iter().sum();
    until(
        PATIENCE,
        || format!("{sum} verdicts, not {}", judged(&process)),
        || (judged(&process) as i64 >= sum).then_some(()),
    );
    // Verdicts may still be on their way to the topic.
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(STOP).code(), Some(0));
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    follower.read_to_end();
    for (partition, (records, end)) in follower.records.iter().zip(&ends).enumerate() {
        let mut reading = Reading::default();
        reading.follow(records);
        reading.assert_exact(partition, *end);
    }
    println!("{sum} records judged over three outages");

    phase(start, "A stop while it hangs ends");
    // A stop while it hangs ends within its time, and at once when asked twice.
    for (signals, patience, code) in [(1, STOP, 1), (2, Duration::from_secs(3), 143)] {
        // Topics and group of its own: the one before could not leave its group.
        let topics = Topics::create("outage-stop", PARTITIONS);
        let mut process = Setup::new(&topics).start();
        process.await_running(PARTITIONS, PATIENCE);
        phase(start, "running");
        let over = Arc::new(AtomicBool::new(false));
        let coming = traffic(&topics.transactions, &over, Ending::Dropped);
        await_progress(&process);
        broker.services("freeze");
        process.signal(libc::SIGTERM);
        let asked = Instant::now();
        if signals == 2 {
            soon("the stop to begin", || process.log().contains("stopping"));
            process.signal(libc::SIGTERM);
        }
        let status = process.wait(patience.saturating_sub(asked.elapsed()));
        println!("stopped by {signals} in {:?}: {status:?}\n{}", asked.elapsed(), process.complaints().join("\n"));
        assert_eq!(status.code(), Some(code), "{}", process.log());
        broker.services("thaw");
        over.store(true, Ordering::Relaxed);
        coming.join().expect("the input");
        phase(start, "stopped");
    }
}
