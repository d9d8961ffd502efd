//! The promise as it is lived: steady traffic, three score processes, sink and serve, a broker and a database of their
//! own, and a seeded schedule of faults. Afterwards the accepted verdicts and the rows are those of an undisturbed run
//! over the same input, by SHA-256.
//!
//! `scripts/faults --minutes N --seed S` runs it for longer (`SENTRA_FAULT_MINUTES`, `SENTRA_FAULT_SEED`).

mod common;
mod havoc;
mod traffic;

use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    time::{Duration, Instant},
};

use common::{
    broker::Broker,
    line::{Setup, Topics, until},
    postgres::{Server, TestDatabase},
    records::{Follower, Reading, ends, timeless},
    rows::{self, Stream},
};
use havoc::{Fault, Havoc, PARTITIONS, Steady};
use sentra::{
    config::Secret,
    store::queries::{MOST_ROWS, Reader},
};
use sha2::{Digest, Sha256};

/// A frozen process leaves verdicts on their way, all but certainly; a test does not rest on all but.
const MOST_FREEZES: u32 = 4;

/// What is left to do when the last fault is over.
const PATIENCE: Duration = Duration::from_secs(300);

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// SHA-256 of what does not depend on when, how fast and under which epoch.
fn digest<'v>(verdicts: impl Iterator<Item = &'v [u8]>) -> String {
    let mut hash = Sha256::new();
    for verdict in verdicts {
        hash.update(timeless(verdict));
        hash.update(b"\n");
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A log's rows as the verdicts they came from, in order.
fn stored(database: &TestDatabase, log: &str) -> Vec<String> {
    let reader = Reader::new(&Secret::new(database.url.clone()), 1).expect("a reader");
    let mut found = Vec::new();
    for partition in 0..PARTITIONS {
        let mut from = 0;
        loop {
            let page = database.block_on(reader.partition(log, partition, from, MOST_ROWS)).expect("rows");
            let Some(last) = page.last() else { break };
            from = last.verdict.source.offset + 1;
            found.extend(page.iter().map(|row| row.json().to_string()));
        }
    }
    found
}

/// How many verdicts of past owners the topic holds: no reader counts them.
fn ignored(topics: &Topics) -> usize {
    let mut follower = Follower::new(&topics.verdicts, PARTITIONS);
    follower.read_to_end();
    let of = |records: &Vec<_>| {
        let mut reading = Reading::default();
        reading.follow(records);
        reading.ignored
    };
    follower.records.iter().map(of).sum()
}

/// Waits until every record has its verdict and its row.
fn settle(topics: &Topics, database: &TestDatabase, sent: i64, what: &dyn Fn() -> String) -> Stream {
    let judged = || {
        let stream = rows::accepted(&topics.verdicts, PARTITIONS);
        (stream.len() as i64 == sent).then_some(stream)
    };
    let stream = until(PATIENCE, || format!("{sent} verdicts that count; {}", what()), judged);
    let log = rows::log_of(&stream);
    until(PATIENCE, || format!("{sent} rows; {}", what()), || (rows::count(database, &log) == sent).then_some(()));
    stream
}

#[test]
fn under_a_seeded_schedule_of_faults_verdicts_and_rows_are_those_of_an_undisturbed_run() {
    let (minutes, seed) = (setting("SENTRA_FAULT_MINUTES", 3), setting("SENTRA_FAULT_SEED", 1));
    println!("{minutes} minutes of faults, SENTRA_FAULT_SEED={seed}");
    let broker = Broker::up();
    let server = Server::up();
    let database = TestDatabase::on(&server.url());
    database.migrate();
    let topics = Topics::create("faults", PARTITIONS);
    let mut havoc = Havoc::start(&topics, &broker, &server, &database, seed);
    let traffic = Steady::start(&topics.transactions, seed);
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    // Each kind comes, also where the machine is so slow that a round takes longer.
    while Instant::now() < end || !havoc.is_whole() {
        havoc.strike();
    }
    let mut freezes = 0;
    while ignored(&topics) == 0 {
        assert!(freezes < MOST_FREEZES, "{freezes} more freezes left no verdict of a zombie");
        freezes += 1;
        havoc.inflict(Fault::ScorerFrozen);
        havoc.heal();
    }
    havoc.heal();
    let sent = traffic.finish() as i64;
    let disturbed = settle(&topics, &database, sent, &|| havoc.logs());
    assert_eq!(ends(&topics.transactions, PARTITIONS).iter().sum::<i64>(), sent);
    havoc.assert_calm();

    // A dead letter for every record that could not be read.
    let unreadable = |verdict: &&Vec<u8>| verdict.windows(16).any(|text| text == b"\"kind\":\"invalid\"");
    let invalid = disturbed.values().filter(unreadable).count();
    let mut letters = Follower::new(&topics.dlq, PARTITIONS);
    letters.read_to_end();
    let place = |record: &common::records::Record| record.header("__connect.errors.offset").expect("a place");
    let of = |(partition, records): (usize, &Vec<_>)| {
        records.iter().map(|record| (partition, place(record))).collect::<Vec<_>>()
    };
    let lettered: BTreeSet<(usize, String)> = letters.records.iter().enumerate().flat_map(of).collect();
    assert_eq!(lettered.len(), invalid, "a dead letter for each record that cannot be read");
    assert!(invalid > 0);

    let quiet = topics.again("golden");
    let golden_rows = TestDatabase::on(&server.url());
    golden_rows.migrate();
    let golden = Setup::new(&quiet)
        .roles("score,sink")
        .with("SENTRA__SNAPSHOTS__LOCATION", "off")
        .with("DATABASE_URL", &golden_rows.url)
        .start();
    let expected = settle(&quiet, &golden_rows, sent, &|| golden.log());

    let differing = disturbed
        .iter()
        .zip(&expected)
        .filter(|(found, wanted)| (found.0 != wanted.0) || timeless(found.1) != timeless(wanted.1));
    let differing = differing.count();
    let streams = [&disturbed, &expected].map(|stream| digest(stream.values().map(Vec::as_slice)));
    let log = rows::log_of(&expected);
    let rows = [&database, &golden_rows].map(|database| {
        let rows = stored(database, &log);
        assert_eq!(rows.len() as i64, sent);
        digest(rows.iter().map(|row| row.as_bytes()))
    });
    let (zombies, restored) = (ignored(&topics), havoc.restored());
    println!("faults injected: {}", havoc.counts());
    println!("verdicts of zombies ignored: {zombies}; snapshots restored: {restored}");
    assert!(havoc.is_whole() && zombies > 0 && restored > 0);
    println!("records compared: {sent} verdicts and {sent} rows, {invalid} dead letters; differences: {differing}");
    println!("verdicts {} and undisturbed {}", streams[0], streams[1]);
    println!("rows     {} and undisturbed {}", rows[0], rows[1]);
    assert_eq!(differing, 0);
    assert_eq!(streams[0], streams[1]);
    assert_eq!(rows[0], rows[1]);
    rows::assert_equal(&database, &disturbed);
}
