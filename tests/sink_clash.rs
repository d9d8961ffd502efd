//! Rows that are stored already: the one partition of which that is so is refused by name, and the others go on.

mod common;

use common::{
    PATIENCE,
    line::{Setup, Topics, soon, until},
    postgres::TestDatabase,
    produce::{Sender, Sent, good},
    records::await_written,
    rows::{accepted, assert_equal, await_stored},
};

const PARTITIONS: i32 = 3;

/// Records of every partition.
fn records(round: u32) -> Vec<Sent> {
    (0..60).map(|number| good(number, &format!("C-{round}-{number}"))).collect()
}

#[test]
fn a_partition_whose_rows_are_stored_already_is_refused_alone_and_goes_on_when_it_is_set_right() {
    let (topics, database) = (Topics::create("sink-clash", PARTITIONS), TestDatabase::migrated());
    let _scorer = Setup::new(&topics).start();
    let sink = || Setup::new(&topics).roles("sink").with("DATABASE_URL", &database.url).start();
    let first = sink();
    Sender::default().send_all(&topics.transactions, records(0).iter());
    await_stored(&first, 60);
    drop(first);
    database.execute(
        "CREATE TABLE public.kept AS SELECT * FROM sentra.sink_progress WHERE partition = 1;
         UPDATE sentra.sink_progress SET next_offset = 0, epoch = NULL, last_source = NULL WHERE partition = 1",
    );
    let second = sink();
    Sender::default().send_all(&topics.transactions, records(1).iter());
    await_written(&topics, 120);
    let wanted = accepted(&topics.verdicts, PARTITIONS).keys().filter(|(partition, _)| *partition != 1).count();
    let others = "SELECT count(*) FROM sentra.verdicts WHERE partition <> 1";
    let what = || format!("the others' rows\n{}", second.log());
    until(PATIENCE * 2, what, || (database.number(others) == wanted as i64).then_some(()));
    soon("the refusal", || {
        second.get("/readyz").is_some_and(|answer| {
            answer.code == 503
                && answer.body.contains("verdict partition 1: a verdict is stored already")
                && !answer.body.contains("sink needs PostgreSQL")
        })
    });
    assert_eq!(second.metric("sentra_sink_refused_partitions"), Some(1.0));
    assert_eq!(second.metric("sentra_sink_database_up"), Some(1.0), "the database is well");
    database.execute(
        "UPDATE sentra.sink_progress AS p SET next_offset = k.next_offset, epoch = k.epoch, last_source = k.last_source
         FROM public.kept AS k WHERE p.topic_id = k.topic_id AND p.partition = k.partition",
    );
    let all = "SELECT count(*) FROM sentra.verdicts";
    until(PATIENCE * 3, || second.log(), || (database.number(all) == 120).then_some(()));
    assert_equal(&database, &accepted(&topics.verdicts, PARTITIONS));
}
