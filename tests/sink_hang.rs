//! A database that is there and does not answer, or takes its time: no socket says so, and the sink finds out by itself.

mod common;

use std::{
    net::{TcpListener, TcpStream},
    thread,
};

use common::{
    PATIENCE,
    line::{Setup, Topics, soon, until},
    postgres::TestDatabase,
    produce::{Sender, Sent, good},
    rows::{accepted, assert_equal, await_stored},
};

/// Takes every connection and never says a word; its port.
fn silent() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let taken: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(taken);
    });
    port
}

fn records(count: u32) -> Vec<Sent> {
    (0..count).map(|number| good(number % 20, &format!("H-{number}"))).collect()
}

#[test]
fn a_first_host_that_hangs_does_not_hide_the_second() {
    let (topics, database) = (Topics::create("sink-hosts", 1), TestDatabase::migrated());
    let (head, rest) = database.url.split_once("127.0.0.1:").expect("a URL of this machine's");
    let url = format!("{head}127.0.0.1:{},127.0.0.1:{rest}?connect_timeout=1", silent());
    let process = Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &url).start();
    Sender::default().send_all(&topics.transactions, records(30).iter());
    await_stored(&process, 30);
    soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_told_to_be_away() {
    let topics = Topics::create("sink-silent", 1);
    let url = format!("postgres://sentra:secret@127.0.0.1:{}/sentra?connect_timeout=1", silent());
    let process =
        Setup::new(&topics).roles("score,sink").with("DATABASE_URL", &url).with("SENTRA__SINK__TIMEOUT", "2s").start();
    Sender::default().send_all(&topics.transactions, records(30).iter());
    let what = || format!("words in {:?}\n{}", process.get("/readyz"), process.log());
    until(PATIENCE, what, || {
        let answer = process.get("/readyz")?;
        (answer.code == 503
            && answer.body.contains("sink needs PostgreSQL")
            && answer.body.contains("no answer within"))
        .then_some(())
    });
    soon("verdicts all the same", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(30.0));
    assert_eq!(process.metric("sentra_sink_database_up"), Some(0.0));
}

#[test]
fn a_transaction_that_takes_too_long_is_given_up_and_smaller_ones_get_through() {
    let (topics, database) = (Topics::create("sink-slow", 1), TestDatabase::migrated());
    database.execute(
        "CREATE FUNCTION public.hard_going() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT count(*) FROM rows) > 70 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$;
         CREATE TRIGGER hard_going AFTER INSERT ON sentra.verdicts REFERENCING NEW TABLE AS rows
             FOR EACH STATEMENT EXECUTE FUNCTION public.hard_going()",
    );
    let scorer = Setup::new(&topics).start();
    Sender::default().send_all(&topics.transactions, records(200).iter());
    soon("all judged", || scorer.metric("sentra_events_total{kind=\"scored\"}") == Some(200.0));
    let process = Setup::new(&topics)
        .roles("sink")
        .with("DATABASE_URL", &database.url)
        .with("SENTRA__SINK__TIMEOUT", "2s")
        .start();
    await_stored(&process, 200);
    let told = process.complaints();
    assert!(told.iter().any(|line| line.contains("took too long")), "{told:?}");
    assert_equal(&database, &accepted(&topics.verdicts, 1));
}
