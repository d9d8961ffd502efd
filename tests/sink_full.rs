//! A database without room: verdicts go on, and rows follow when there is room again. The disk is a real one where this
//! may mount one; elsewhere a trigger says what PostgreSQL would.

mod common;

use common::{
    PATIENCE,
    disk::SmallDisk,
    line::{Setup, Topics, soon, until},
    postgres::TestDatabase,
    produce::{Sender, Sent, good},
    rows::{accepted, assert_equal, await_stored},
};

fn records(from: u32, to: u32) -> Vec<Sent> {
    (from..to).map(|number| good(number % 50, &format!("D-{number}"))).collect()
}

/// The server's own word for a full disk, where there is none to fill.
const FULL: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
     CREATE TRIGGER full_disk BEFORE UPDATE ON sentra.sink_progress FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";

#[test]
fn a_full_disk_delays_rows_and_nothing_else() {
    let disk = SmallDisk::mounted(40);
    let (topics, database) = (Topics::create("sink-full", 2), TestDatabase::empty());
    match &disk {
        Some(disk) => disk.take(&database),
        None => println!("no disk may be mounted here: a trigger stands in for it"),
    }
    database.migrate();
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &database.url).start();
    let sender = Sender::default();
    sender.send_all(&topics.transactions, records(0, 100).iter());
    await_stored(&process, 100);
    match &disk {
        Some(disk) => disk.fill(),
        None => database.execute(FULL),
    }
    sender.send_all(&topics.transactions, records(100, 4_000).iter());
    let what = || format!("words in {:?}\n{}", process.get("/readyz"), process.log());
    until(PATIENCE, what, || {
        let answer = process.get("/readyz").filter(|answer| answer.code == 503)?;
        (answer.body.contains("sink needs PostgreSQL") && answer.body.contains("(53100)")).then_some(())
    });
    soon("all judged", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(4_000.0));
    match &disk {
        Some(disk) => disk.free(),
        None => database.execute("DROP TRIGGER full_disk ON sentra.sink_progress"),
    }
    await_stored(&process, 4_000);
    soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
    assert_equal(&database, &accepted(&topics.verdicts, 2));
}
