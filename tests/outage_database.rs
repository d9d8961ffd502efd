//! PostgreSQL away for long: verdicts go on, memory stays bounded, readiness of the sink says so, and every row is there
//! afterwards, once.
//!
//! `scripts/outage --minutes N` runs it for longer (`SENTRA_OUTAGE_SECONDS`).

mod common;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use common::{
    line::{Sentra, Setup, Topics, until},
    postgres::{Server, TestDatabase},
    rows::{accepted, assert_equal},
    steady::Steady,
};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(90);
const EACH_SECOND: u64 = 200;

/// What memory may grow by while no row can be stored, in MiB: the windows of what is judged meanwhile, and what the sink
/// fetched ahead (64 MiB).
const MOST_MORE_MIB: u64 = 128;

fn judged(process: &Sentra) -> f64 {
    process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default()
}

#[test]
fn a_database_that_is_away_for_long_delays_rows_and_nothing_else() {
    let seconds = env::var("SENTRA_OUTAGE_SECONDS").map_or(20, |text| text.parse().expect("whole seconds"));
    let length = Duration::from_secs(seconds);
    let server = Server::up();
    let database = TestDatabase::on(&server.url());
    database.migrate();
    let topics = Topics::create("outage-database", PARTITIONS);
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &database.url).start();
    process.await_running(PARTITIONS, PATIENCE);
    let traffic = Steady::start(&topics.transactions, EACH_SECOND);
    let stored = || process.metric("sentra_sink_rows_total").unwrap_or_default();
    until(PATIENCE, || process.log(), || (stored() > 500.0).then_some(()));

    let (began, before, rss) = (Instant::now(), judged(&process), process.rss_mib());
    server.crash();
    println!("{:>6} {:>10} {:>10} {:>8}", "s", "judged", "stored", "MiB");
    let mut least = before;
    while began.elapsed() < length {
        thread::sleep(length / 12);
        let now = judged(&process);
        println!("{:>6} {now:>10} {:>10} {:>8}", began.elapsed().as_secs(), stored(), process.rss_mib());
        assert!(now > least, "verdicts go on; {}", process.log());
        least = now;
        assert!(process.rss_mib() < rss + MOST_MORE_MIB, "{} MiB, {rss} before", process.rss_mib());
    }
    process.await_unready("sink needs PostgreSQL", PATIENCE);
    server.services("up");
    let sent = traffic.finish();
    let rows = || database.try_query("SELECT count(*) FROM sentra.verdicts").ok().map(|rows| rows[0].get::<_, i64>(0));
    let what = || format!("{sent} rows, not {:?}; {}", rows(), process.log());
    until(PATIENCE + length * 2, what, || (rows()? >= sent as i64).then_some(()));
    until(PATIENCE, || process.log(), || process.is_ready().then_some(()));
    let stream = accepted(&topics.verdicts, PARTITIONS);
    assert_eq!(stream.len() as u64, sent);
    assert_equal(&database, &stream);
    println!("{sent} verdicts and rows after {} s without a database", began.elapsed().as_secs());
}
