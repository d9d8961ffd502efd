//! The proof of the line, extended to rows: scorers and sinks are killed and frozen while the database crashes, and the
//! rows equal the accepted stream, in SQL and outside it; the stream itself is exact, as `faults` proves at length.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use common::{
    kafka,
    line::{Sentra, Setup, Topics, until},
    postgres::{Server, TestDatabase},
    records::ends,
    rows::{accepted, assert_equal},
};
use sentra::{
    kafka::load::Load,
    train::simulate::{Disorder, Limit, Options, Simulated, Simulation},
};

const PARTITIONS: i32 = 6;

/// Sessions end after 6 s, and a rebalance takes two rounds; a busy machine takes its time for either.
const PATIENCE: Duration = Duration::from_secs(90);

/// Input that comes until the faults are over.
struct Traffic {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Traffic {
    fn start(topic: &str) -> Self {
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
        let (ended, count) = (Arc::clone(&over), Arc::clone(&sent));
        let send = move || {
            let disorder =
                Disorder { late_share: 0.05, late_spread_ms: 8 * 3_600_000, duplicates: 0.02, conflicts: 0.01 };
            let mut simulation = Simulation::new(&Options { limit: Limit::None, disorder, ..Options::sized(6, 600) });
            let mut record = Simulated::empty();
            while !ended.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    assert!(simulation.read(&mut record), "it has no end");
                    load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
                    count.fetch_add(1, Ordering::Relaxed);
                }
                load.wait(Duration::from_millis(10)).expect("taken in the end");
            }
            load.finish().expect("all acknowledged")
        };
        Self { over, sent, thread: thread::spawn(send) }
    }

    fn finish(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the input")
    }
}

fn rows(database: &TestDatabase) -> i64 {
    let count = database.try_query("SELECT count(*) FROM sentra.verdicts");
    count.map_or(0, |rows| rows[0].get(0))
}

/// The next fault meets rows on their way.
fn await_more(database: &TestDatabase, traffic: &Traffic, sinks: &[&Sentra], during: &str) {
    let (before, sent) = (rows(database), traffic.sent.load(Ordering::Relaxed));
    let what =
        || format!("{during}: more rows than {before}\n{}", sinks.iter().map(|sink| sink.log()).collect::<String>());
    until(PATIENCE, what, || {
        (rows(database) > before + 200 && traffic.sent.load(Ordering::Relaxed) > sent).then_some(())
    });
    println!("{during}: {} rows so far", rows(database));
}

/// How many partitions a sink stores.
fn share(sink: &Sentra) -> usize {
    let metrics = sink.get("/metrics").map(|answer| answer.body).unwrap_or_default();
    metrics.lines().filter(|line| line.starts_with("sentra_sink_lag_records{")).count()
}

fn await_shares(what: &str, condition: impl Fn() -> bool) {
    until(PATIENCE, || what.to_owned(), || condition().then_some(()));
}

#[test]
fn whatever_crashes_or_freezes_the_rows_are_the_verdicts_that_count_each_once() {
    let began = Instant::now();
    let server = Server::up();
    let database = TestDatabase::on(&server.url());
    database.migrate();
    let topics = Topics::create("sink-faults", PARTITIONS);
    let scoring = Setup::new(&topics);
    let mut scorer = scoring.start();
    let sink = || {
        Setup::new(&topics)
            .roles("sink")
            .with("DATABASE_URL", &database.url)
            .with("SENTRA__SINK__LINGER_MS", "20")
            .start()
    };
    let (mut first, second) = (sink(), sink());
    let traffic = Traffic::start(&topics.transactions);
    await_shares("both sinks at work", || share(&first) > 0 && share(&second) > 0);

    await_more(&database, &traffic, &[&first, &second], "kill of a sink");
    first.kill();
    await_more(&database, &traffic, &[&second], "crash of the database");
    server.crash();
    server.services("up");
    first = sink();
    await_more(&database, &traffic, &[&first, &second], "kill of the scorer");
    scorer.kill();
    scorer = scoring.start();
    await_more(&database, &traffic, &[&first, &second], "freeze of a sink");
    await_shares("both sinks at work again", || share(&first) > 0 && share(&second) > 0);
    second.signal(libc::SIGSTOP);
    await_shares("the other has all", || share(&first) == PARTITIONS as usize);
    await_more(&database, &traffic, &[&first], "the frozen one goes on");
    second.signal(libc::SIGCONT);
    await_more(&database, &traffic, &[&first, &second], "crash of the database and kill of a sink at once");
    server.crash();
    first.kill();
    server.services("up");
    await_more(&database, &traffic, &[&second], "the faults are over");

    let sent = traffic.finish() as i64;
    let what = || format!("{sent} rows, not {}\n{}", rows(&database), second.log());
    until(PATIENCE, what, || (rows(&database) >= sent).then_some(()));
    assert_eq!(ends(&topics.transactions, PARTITIONS).iter().sum::<i64>(), sent);
    let stream = accepted(&topics.verdicts, PARTITIONS);
    assert_eq!(stream.len() as i64, sent, "one verdict that counts for each record");
    assert_equal(&database, &stream);
    drop(scorer);
    println!("{sent} rows compared after {:?}", began.elapsed());
}
