//! A session that holds the sink's progress rows and never lets go: a frozen sink's is ended, another's is named. The
//! database itself is not blamed for either.

mod common;

use common::{
    PATIENCE,
    line::{Sentra, Setup, Topics, soon, until},
    postgres::TestDatabase,
    produce::{Sender, Sent, good},
    rows::{accepted, assert_equal, await_stored},
};
use tokio_postgres::{Client, CopyInSink, NoTls};

/// A session in the middle of a COPY, which no timeout of the server's ends; the progress rows are locked in it.
struct Holder {
    client: Client,
    _copying: CopyInSink<std::io::Cursor<Vec<u8>>>,
}

impl Holder {
    fn take(database: &TestDatabase, application: &str) -> Self {
        let url = format!("{}?application_name={}", database.url, application.replace(' ', "%20"));
        database.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a session");
            tokio::spawn(connection);
            client.batch_execute("BEGIN").await.expect("begun");
            let held = client.query("SELECT FROM sentra.sink_progress FOR UPDATE", &[]).await.expect("rows");
            assert_eq!(held.len(), 1, "one partition");
            let copying = client.copy_in("COPY sentra.verdicts FROM STDIN").await.expect("a COPY");
            Self { client, _copying: copying }
        })
    }
}

fn records(from: u32) -> Vec<Sent> {
    (from..from + 20).map(|number| good(number % 7, &format!("L-{number}"))).collect()
}

fn started(topics: &Topics, database: &TestDatabase) -> Sentra {
    let setup = Setup::new(topics).roles("score,sink").with("DATABASE_URL", &database.url);
    let process = setup.with("SENTRA__SINK__TIMEOUT", "4s").start();
    Sender::default().send_all(&topics.transactions, records(0).iter());
    await_stored(&process, 20);
    process
}

#[test]
fn a_frozen_sink_in_the_middle_of_its_copy_is_ended_by_the_next() {
    let (topics, database) = (Topics::create("sink-frozen", 1), TestDatabase::migrated());
    let process = started(&topics, &database);
    let frozen = Holder::take(&database, "sentra sink");
    Sender::default().send_all(&topics.transactions, records(20).iter());
    await_stored(&process, 40);
    soon("the frozen session's end", || frozen.client.is_closed());
    let log = process.log();
    assert!(log.contains("held progress rows, and was ended"), "{log}");
    assert!(!log.contains("the sink stores nothing") && !log.contains("waits for a lock"), "{log}");
    assert_equal(&database, &accepted(&topics.verdicts, 1));
}

#[test]
fn anybody_elses_session_is_named_and_left_alone() {
    let (topics, database) = (Topics::create("sink-held", 1), TestDatabase::migrated());
    let process = started(&topics, &database);
    let other = Holder::take(&database, "somebody");
    Sender::default().send_all(&topics.transactions, records(20).iter());
    let what = || format!("words in {:?}\n{}", process.get("/readyz"), process.log());
    until(PATIENCE, what, || {
        let answer = process.get("/readyz").filter(|answer| answer.code == 503)?;
        (answer.body.contains("sink waits for a lock") && answer.body.contains("somebody")).then_some(answer)
    });
    assert_eq!(process.metric("sentra_sink_database_up"), Some(1.0), "the database is well");
    assert!(!process.log().contains("the sink stores nothing"), "{}", process.log());
    assert!(!other.client.is_closed());
    drop(other);
    await_stored(&process, 40);
    soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
    assert_equal(&database, &accepted(&topics.verdicts, 1));
}
