//! The database away in every way it can be: crashed, frozen, read-only after a failover, refusing sessions,
//! restored from an older physical backup. Verdicts go on meanwhile; rows catch up by themselves, none missing, none
//! twice. One test, for it has a server of its own, which costs seconds.

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
    kafka,
    line::{Sentra, Setup, Topics, until},
    postgres::{Server, TestDatabase},
    rows::{accepted, assert_equal},
};
use sentra::{
    kafka::load::Load,
    train::simulate::{Limit, Options, Simulated, Simulation},
};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(90);

/// Half a thousand records a second until told to end.
fn traffic(topic: &str, over: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
    let over = Arc::clone(over);
    thread::spawn(move || {
        let mut simulation = Simulation::new(&Options { limit: Limit::None, ..Options::sized(5, 300) });
        let mut record = Simulated::empty();
        while !over.load(Ordering::Relaxed) {
            for _ in 0..5 {
                assert!(simulation.read(&mut record), "it has no end");
                load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
            }
            load.wait(Duration::from_millis(10)).expect("taken in the end");
        }
        load.finish().expect("all acknowledged")
    })
}

/// One process with both roles, and what it says of itself.
struct Line {
    process: Sentra,
    began: Instant,
}

impl Line {
    fn phase(&self, what: &str) {
        println!("{:5.1} s: {what}", self.began.elapsed().as_secs_f64());
    }

    fn judged(&self) -> f64 {
        self.process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default()
    }

    fn stored(&self) -> f64 {
        self.process.metric("sentra_sink_rows_total").unwrap_or_default()
    }

    /// Verdicts go on, as if there were no database.
    fn await_judged(&self) {
        let before = self.judged();
        let more = || (self.judged() > before + 500.0).then_some(());
        until(PATIENCE, || format!("more verdicts than {before}\n{}", self.process.log()), more);
    }

    /// Rows go on.
    fn await_stored(&self) {
        let before = self.stored();
        let more = || (self.stored() > before + 500.0).then_some(());
        until(PATIENCE, || format!("more rows than {before}\n{}", self.process.log()), more);
        until(PATIENCE, || self.process.log(), || self.is_ready().then_some(()));
    }

    /// How often it was said that nothing is stored.
    fn told(&self) -> usize {
        self.process.log().matches("the sink stores nothing").count()
    }

    /// The last line that said so.
    fn last_told(&self) -> String {
        let log = self.process.log();
        log.lines().rfind(|line| line.contains("the sink stores nothing")).expect("it was said").to_owned()
    }

    /// The database was asked in vain that many times more.
    fn await_asked(&self, times: u32) {
        let asked = || self.process.metric("sentra_sink_database_failures_total");
        let before = until(PATIENCE, || self.process.log(), asked);
        let more = || (asked()? >= before + f64::from(times)).then_some(());
        until(PATIENCE, || format!("{times} more failures than {before}\n{}", self.process.log()), more);
    }

    fn is_ready(&self) -> bool {
        self.process.get("/readyz").is_some_and(|answer| answer.code == 200)
    }

    /// Readiness says what is missing, and verdicts go on.
    fn await_lost(&self, words: &str) {
        let what = || format!("{words} in {:?}\n{}", self.process.get("/readyz"), self.process.log());
        until(PATIENCE, what, || {
            let answer = self.process.get("/readyz")?;
            (answer.code == 503 && answer.body.contains("sink needs PostgreSQL") && answer.body.contains(words))
                .then_some(())
        });
        self.await_judged();
    }
}

#[test]
fn a_database_that_goes_away_in_any_way_delays_rows_and_nothing_else() {
    let server = Server::up();
    let database = TestDatabase::on(&server.url());
    database.migrate();
    let topics = Topics::create("sink-outage", PARTITIONS);
    let setup = Setup::new(&topics)
        .roles("score,sink")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SINK__TIMEOUT", "12s");
    let mut line = Line { process: setup.start(), began: Instant::now() };
    let over = Arc::new(AtomicBool::new(false));
    let coming = traffic(&topics.transactions, &over);
    line.await_stored();

    line.phase("crashed, and back");
    server.crash();
    line.await_lost("");
    server.services("up");
    line.await_stored();

    line.phase("crashed and back at once, again and again");
    for _ in 0..2 {
        server.crash();
        server.services("up");
        line.await_stored();
    }

    line.phase("frozen, and thawed");
    server.services("freeze");
    line.await_lost("");
    let told = line.told();
    // Asked again and again meanwhile, and each time in vain.
    line.await_asked(2);
    assert_eq!(line.told(), told, "one outage is one line");
    server.services("thaw");
    line.await_stored();

    line.phase("read-only, as after a failover");
    database.execute("ALTER SYSTEM SET default_transaction_read_only = on");
    database.execute("SELECT pg_reload_conf()");
    line.await_lost("database does not allow writes");
    let told = line.last_told();
    assert!(told.contains("25006") || told.contains("the server is read-only now"), "{told}");
    database.execute("ALTER SYSTEM RESET default_transaction_read_only");
    database.execute("SELECT pg_reload_conf()");
    line.await_stored();

    line.phase("refusing sessions");
    let name = database.url.rsplit('/').next().expect("a name");
    let beside = TestDatabase::on(&server.url());
    beside.execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    beside.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    line.await_lost("not currently accepting connections");
    beside.execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    line.await_stored();

    line.phase("restored from an older backup");
    server.services("down");
    server.back_up();
    server.services("up");
    line.await_stored();
    line.await_stored();
    server.services("down");
    server.restore();
    server.services("up");
    line.await_stored();

    over.store(true, Ordering::Relaxed);
    let sent = coming.join().expect("the input");
    let rows = || database.try_query("SELECT count(*) FROM sentra.verdicts").ok().map(|rows| rows[0].get::<_, i64>(0));
    let what = || format!("{sent} rows, not {:?}\n{}", rows(), line.process.log());
    until(PATIENCE, what, || (rows()? >= sent as i64).then_some(()));
    line.phase("compared");
    let stream = accepted(&topics.verdicts, PARTITIONS);
    assert_eq!(stream.len() as u64, sent);
    assert_equal(&database, &stream);
    line.process.signal(libc::SIGTERM);
    assert_eq!(line.process.wait(PATIENCE).code(), Some(0));
    println!(
        "{sent} records, over {} outages:\n{}",
        line.process.complaints().len(),
        line.process.complaints().join("\n")
    );
}
