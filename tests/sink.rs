//! The sink on real services: rows are the verdicts that count, to the byte; migrations race; days come
//! and go; a broken record blocks nothing; topics created anew begin anew.

mod common;

use std::process::{Command, Output};

use common::{
    PATIENCE, create_topic, delete_records, delete_topic,
    line::{Sentra, Setup, Topics, soon, until},
    postgres::{TestDatabase, authority},
    produce::{Sender, Sent, good},
    records::await_written,
    rows::{accepted, assert_equal, await_stored, count, log_of},
};
use sentra::{
    config::Secret,
    domain::{policy::RiskLevel, time::EventTimeMs},
    store::queries::Reader,
};

const PARTITIONS: i32 = 3;

fn with_database(setup: Setup, database: &TestDatabase) -> Setup {
    setup.with("DATABASE_URL", &database.url)
}

/// Transactions of all kinds: good, the same again, the same id for another payment, and what is none.
fn mixed(count: u32) -> Vec<Sent> {
    let mut records = Vec::new();
    for number in 0..count {
        let one = good(number % 40, &format!("TXN-{number}"));
        if number % 9 == 0 {
            records.push(one.clone());
        }
        if number % 11 == 0 {
            let text = String::from_utf8(one.value.clone().expect("a value")).expect("text");
            records.push(Sent { value: Some(text.replace("150.5", "99").into_bytes()), ..one.clone() });
        }
        if number % 7 == 0 {
            records.push(Sent {
                partition: Some((number % 3) as i32),
                value: Some(b"{\"x\":\"\\u0000\"".to_vec()),
                ..Sent::default()
            });
        }
        records.push(one);
    }
    records
}

/// The score role warns of topics that production would refuse.
fn sink_complaints(process: &Sentra) -> Vec<String> {
    process.complaints().into_iter().filter(|line| !line.contains("app::score")).collect()
}

fn sentra(arguments: &[&str], url: &str) -> Output {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.args(arguments).env_clear().env("DATABASE_URL", url).current_dir(home.path()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn rows_are_the_verdicts_that_count_to_the_byte_and_every_question_finds_them() {
    let (topics, database) = (Topics::create("sink", PARTITIONS), TestDatabase::migrated());
    let mut process = with_database(Setup::new(&topics).roles("score,sink"), &database).start();
    let sent = mixed(600);
    Sender::default().send_all(&topics.transactions, sent.iter());
    await_stored(&process, sent.len());
    let stream = accepted(&topics.verdicts, PARTITIONS);
    assert_eq!(stream.len(), sent.len());
    assert_equal(&database, &stream);
    assert_eq!(database.number("SELECT count(*) FROM sentra.verdicts WHERE raw IS NOT NULL"), 0, "columns suffice");
    for (kind, least) in [("scored", 500), ("duplicate", 20), ("conflict", 20), ("invalid", 50)] {
        let found = database.number(&format!("SELECT count(*) FROM sentra.verdicts WHERE kind = '{kind}'"));
        assert!(found >= least, "{found} {kind}");
    }
    questions(&database, &log_of(&stream));
    soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0));
    assert!(sink_complaints(&process).is_empty(), "{:?}", process.complaints());
    assert!(!process.log().contains(&database.url), "the connection string is a secret");
}

/// The names of a process's threads with their niceness (`proc(5)`, `stat`: the 17th field behind the name).
fn niceness(pid: u32) -> Vec<(String, i32)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
    let of = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        let (head, fields) = stat.rsplit_once(") ")?;
        Some((head.split_once('(')?.1.to_owned(), fields.split(' ').nth(16)?.parse().ok()?))
    };
    threads.filter_map(of).collect()
}

#[test]
fn beside_scoring_the_sink_and_all_that_it_starts_stand_back() {
    let (topics, database) = (Topics::create("sink", PARTITIONS), TestDatabase::migrated());
    let all = |roles: &str| {
        let process = with_database(Setup::new(&topics).roles(roles), &database).start();
        soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
        niceness(process.pid())
    };
    let together = all("score,sink");
    let own = |name: &str| {
        let found: Vec<i32> = together.iter().filter(|(own, _)| own.starts_with(name)).map(|(_, nice)| *nice).collect();
        assert!(!found.is_empty(), "{name} in {together:?}");
        found
    };
    assert!(own("sink").iter().all(|nice| *nice == 10), "{together:?}");
    assert!(own("shard-").iter().all(|nice| *nice == 0), "{together:?}");
    // Each client of Kafka's has threads of its own: the sink's and the shards'.
    let clients = own("rdk:main");
    assert!(clients.contains(&10) && clients.contains(&0), "{together:?}");
    let alone = all("sink");
    assert!(alone.iter().all(|(_, nice)| *nice == 0), "{alone:?}");
}

fn questions(database: &TestDatabase, log: &str) {
    let reader = Reader::new(&Secret::new(database.url.clone()), 2).expect("a reader");
    database.block_on(async {
        reader.ping().await.expect("it answers");
        let first = reader.verdict(log, 0, 0).await.expect("an answer").expect("a row");
        assert_eq!(first.verdict.verdict_id.0, format!("{log}-0-0"));
        assert_eq!(reader.verdict(log, 0, 1 << 40).await.expect("an answer"), None);
        let twice = reader.verdicts_of_transaction("TXN-99", 10).await.expect("rows");
        assert_eq!(twice.len(), 3, "sent once, again, and for another payment");
        assert!(twice.windows(2).all(|pair| pair[0].recorded_at >= pair[1].recorded_at), "newest first");
        let phone = reader.phone("+254700000007", 500).await.expect("rows");
        assert!(phone.len() >= 15 && phone.iter().all(|row| row.json().contains("+254700000007")));
        assert_eq!(reader.phone("+254700000007", 2).await.expect("rows").len(), 2);
        let whole = reader.alerts(RiskLevel::Medium, None, None, 500).await.expect("a page");
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let page = reader.alerts(RiskLevel::Medium, None, cursor.as_ref(), 7).await.expect("a page");
            paged.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert!(paged.starts_with(&whole.items), "pages are the whole, in order");
        let alerts = "SELECT count(*) FROM sentra.verdicts WHERE risk_level <> 'LOW'";
        assert_eq!(paged.len() as i64, database.query_async(alerts).await, "nothing is left out");
        let since = EventTimeMs(4_102_444_800_000);
        let later = reader.alerts(RiskLevel::Low, Some(since), None, 7).await.expect("a page");
        assert!(later.items.is_empty() && later.next.is_none(), "nothing since 2100");
    });
}

#[test]
fn features_are_kept_as_real_numbers_where_verdicts_have_them() {
    let (topics, database) = (Topics::create("sink-features", 1), TestDatabase::migrated());
    let setup = Setup::new(&topics).roles("score,sink").with("SENTRA__VERDICT__FEATURES", "true");
    let process = with_database(setup, &database).start();
    let sent: Vec<Sent> = (0..20).map(|number| good(1, &format!("F-{number}"))).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    await_stored(&process, sent.len());
    let stream = accepted(&topics.verdicts, 1);
    let reader = Reader::new(&Secret::new(database.url.clone()), 1).expect("a reader");
    for row in database.block_on(reader.partition(&log_of(&stream), 0, 0, 100)).expect("rows") {
        let mut wanted: serde_json::Value =
            serde_json::from_slice(&stream[&(0, row.verdict.source.offset)]).expect("JSON");
        let mut found: serde_json::Value = serde_json::from_str(&row.json()).expect("JSON");
        let (kept, features) = (found["features"].take(), wanted["features"].take());
        assert_eq!(found, wanted, "all else is the same");
        for (name, value) in features.as_object().expect("features") {
            let (kept, value) = (kept[name].as_f64(), value.as_f64());
            let close = kept.zip(value).map_or(kept == value, |(kept, value)| kept as f32 == value as f32);
            assert!(close, "{name}: {kept:?} for {value:?}");
        }
    }
    let lengths = "SELECT count(*) FROM sentra.verdicts WHERE cardinality(features) = 24 AND raw IS NULL";
    assert_eq!(database.number(lengths), 20);
}

#[test]
fn a_database_without_the_schema_is_waited_for_and_told_with_the_way_out() {
    let (topics, database) = (Topics::create("sink-wait", 1), TestDatabase::empty());
    let process = with_database(Setup::new(&topics).roles("score,sink"), &database).start();
    Sender::default().send_all(&topics.transactions, [good(1, "W-1")].iter());
    soon("the way out", || {
        process.get("/readyz").is_some_and(|answer| answer.code == 503 && answer.body.contains("run `sentra migrate`"))
    });
    database.migrate();
    await_stored(&process, 1);
    soon("readiness", || process.get("/readyz").is_some_and(|answer| answer.code == 200));
    let complaints = sink_complaints(&process);
    assert!(matches!(&complaints[..], [one] if one.contains("sentra migrate")), "told once: {complaints:?}");
}

#[test]
fn migrations_at_the_same_moment_wait_for_each_other_and_the_second_finds_all_right() {
    let database = TestDatabase::empty();
    let plan = sentra(&["migrate", "--plan"], &database.url);
    assert!(text(&plan.stdout).contains("migration V1__verdicts: would make"), "{}", text(&plan.stdout));
    let at_once: Vec<_> = (0..4)
        .map(|_| {
            let url = database.url.clone();
            std::thread::spawn(move || sentra(&["migrate"], &url))
        })
        .collect();
    for one in at_once {
        let done = one.join().expect("a thread");
        assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    }
    let again = text(&sentra(&["migrate"], &database.url).stdout);
    assert!(again.lines().count() > 5 && again.lines().all(|line| line.ends_with("already right")), "{again}");
    assert_eq!(database.number("SELECT count(*) FROM sentra.refinery_schema_history"), 2);
}

#[test]
fn days_are_made_ahead_and_old_ones_dropped_by_retention() {
    let (topics, database) = (Topics::create("sink-days", 1), TestDatabase::migrated());
    database.execute("SELECT sentra.make_day(current_date - offset_days) FROM generate_series(1, 6) AS offset_days");
    let setup = Setup::new(&topics)
        .roles("sink")
        .with("SENTRA__SINK__RETENTION_DAYS", "2")
        .with("SENTRA__SINK__DAYS_AHEAD", "5");
    let process = with_database(setup, &database).start();
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'sentra.verdicts'::regclass";
    until(
        PATIENCE,
        || format!("two days kept, today, five ahead; {}", process.log()),
        || (database.number(days) == 8).then_some(()),
    );
    soon("what was done to be told", || process.log().contains("\"dropped\":4"));
    assert!(process.complaints().is_empty(), "{:?}", process.complaints());
}

#[test]
fn records_that_cannot_be_rows_block_nothing_and_are_counted() {
    let (topics, database) = (Topics::create("sink-poison", 1), TestDatabase::migrated());
    let owner = r#"{"kind":"owner","source":{"log":"7f3a9c01","partition":0},"group":"g","instance":"i","version":"1","decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;
    let verdict = |offset: i64, id: &str, more: &str| {
        format!(
            r#"{{"transaction_id":{id},"risk_score":null,"risk_level":null,"signals":null,"recommendation":"REVIEW","processing_time_ms":2,"verdict_id":"7f3a9c01-0-{offset}","kind":"invalid","reasons":[],"phone_number":null,"institution_id":null,"amount":null,"currency":null,"event_time":null,"decided_at":"2026-03-01T08:15:00.004213Z","model":null,"policy_version":"default-1","flags":[],"source":{{"log":"7f3a9c01","partition":0,"offset":{offset},"previous_offset":{},"epoch":0}},"feature_digest":null,"schema_version":1{more}}}"#,
            offset - 1
        )
    };
    // Beyond what an index takes, and nothing that compression makes small.
    let digest = |number: u32| format!("{:08x}", number.wrapping_mul(2_654_435_761));
    let long: String = (0..2_000).map(digest).collect();
    let values = [
        owner.to_owned(),
        verdict(0, "\"A\"", ""),
        String::from("no JSON"),
        String::from(r#"{"kind":"lost","source":{"log":"7f3a9c01","partition":0}}"#),
        verdict(1, "\"B\\u0000\"", ""),
        verdict(2, &format!("\"{long}\""), ""),
        String::from(
            r#"{"kind":"scored","source":{"log":"7f3a9c01","partition":0,"offset":3,"previous_offset":2,"epoch":0}}"#,
        ),
        verdict(4, "\"C\"", r#","new_field":{"a":[1,2]}"#),
        verdict(5, "\"D\"", ""),
    ];
    let sent = values.iter().map(|value| Sent {
        partition: Some(0),
        value: Some(value.clone().into_bytes()),
        ..Sent::default()
    });
    let sent: Vec<Sent> = sent.collect();
    Sender::default().send_all(&topics.verdicts, sent.iter());
    let process = with_database(Setup::new(&topics).roles("sink"), &database).start();
    until(PATIENCE, || process.log(), || (count(&database, "7f3a9c01") == 3).then_some(()));
    let ids = database.query("SELECT transaction_id, raw::text FROM sentra.verdicts ORDER BY source_offset");
    let ids: Vec<(String, Option<String>)> = ids.iter().map(|row| (row.get(0), row.get(1))).collect();
    let whole = Some(values[7].clone());
    assert_eq!(ids, [(String::from("A"), None), (String::from("C"), whole), (String::from("D"), None)]);
    soon("all counted", || {
        let skipped = |reason: &str| process.metric(&format!("sentra_sink_skipped_total{{reason=\"{reason}\"}}"));
        skipped("refused") == Some(2.0) && skipped("unreadable") == Some(1.0)
    });
    let reader = Reader::new(&Secret::new(database.url.clone()), 1).expect("a reader");
    let kept = database.block_on(reader.verdict("7f3a9c01", 0, 4)).expect("an answer").expect("a row");
    assert_eq!(kept.json(), values[7], "fields of a newer version are given back too");
}

#[test]
fn verdicts_deleted_before_their_partition_was_first_met_are_told_once_and_counted() {
    let (topics, database) = (Topics::create("sink-late", 1), TestDatabase::migrated());
    let scorer = Setup::new(&topics).start();
    let sent: Vec<Sent> = (0..20).map(|number| good(number, &format!("M-{number}"))).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    soon("all judged", || scorer.metric("sentra_events_total{kind=\"scored\"}") == Some(20.0));
    // What is not there yet cannot be deleted.
    await_written(&topics, 20);
    // The owner record, and five verdicts.
    delete_records(&topics.verdicts, 0, 6);
    let sink = || with_database(Setup::new(&topics).roles("sink"), &database).start();
    let first = sink();
    await_stored(&first, 15);
    assert_eq!(first.metric("sentra_sink_missed_records_total"), Some(6.0));
    let told = first.complaints();
    assert!(matches!(&told[..], [one] if one.contains("records 0 to 5 of this verdict partition")), "{told:?}");
    drop(first);
    let second = sink();
    Sender::default().send_all(&topics.transactions, [good(1, "M-20")].iter());
    await_stored(&second, 1);
    assert!(second.complaints().is_empty(), "{:?}", second.complaints());
}

#[test]
fn topics_created_anew_store_beside_the_old_ones_while_the_sink_runs() {
    let (topics, database) = (Topics::create("sink-anew", 1), TestDatabase::migrated());
    let sink = with_database(Setup::new(&topics).roles("sink"), &database).start();
    let mut streams = Vec::new();
    for round in 0..2 {
        let scorer = Setup::new(&topics).start();
        let sent: Vec<Sent> = (0..50 + round * 30).map(|number| good(number, &format!("R{round}-{number}"))).collect();
        Sender::default().send_all(&topics.transactions, sent.iter());
        let before: usize = streams.iter().map(std::collections::BTreeMap::len).sum();
        await_stored(&sink, before + sent.len());
        streams.push(accepted(&topics.verdicts, 1));
        drop(scorer);
        if round == 0 {
            for topic in [&topics.transactions, &topics.verdicts] {
                delete_topic(topic);
            }
            create_anew(&topics);
        }
    }
    assert_ne!(log_of(&streams[0]), log_of(&streams[1]), "another log");
    streams.iter().for_each(|stream| assert_equal(&database, stream));
}

/// Deleting goes on for a moment after it is acknowledged.
fn create_anew(topics: &Topics) {
    let create = |name: &str, settings: &[(&str, &str)]| {
        soon("the old topic's end", || {
            std::panic::catch_unwind(|| create_topic(name, topics.partitions, settings)).is_ok()
        });
    };
    create(&topics.transactions, &[("message.timestamp.type", "CreateTime")]);
    create(&topics.verdicts, &[]);
}

#[test]
fn the_questions_of_the_readme_run_as_pasted() {
    let (topics, database) = (Topics::create("sink-readme", 1), TestDatabase::migrated());
    let process = with_database(Setup::new(&topics).roles("score,sink"), &database).start();
    let sent: Vec<Sent> = (0..30).map(|number| good(12_345_678 - number % 2, &format!("Q-{number}"))).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    await_stored(&process, sent.len());
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> = readme.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the README has SQL");
    for block in blocks {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), block).expect("written");
        let psql = ["-X", "-v", "ON_ERROR_STOP=1", "-d", &database.url, "-f", &file.path().display().to_string()];
        let done = Command::new("psql").args(psql).output().expect("psql runs");
        assert!(done.status.success(), "{}\n{block}", text(&done.stderr));
        let told = text(&done.stdout);
        assert!(told.contains("Q-28"), "one phone's week is told:\n{told}");
        assert_eq!(told.matches("(0 rows)").count(), 1, "nothing is missing, all else has rows:\n{told}");
    }
}

#[test]
fn the_servers_certificate_is_verified_where_the_connection_string_says_so() {
    let database = TestDatabase::migrated();
    let by_name = database.url.replace("127.0.0.1", "localhost");
    let good = format!("{by_name}?sslmode=verify-full&sslrootcert={}", authority().display());
    assert!(sentra(&["migrate", "--plan"], &good).status.success());
    let refused = sentra(&["migrate", "--plan"], &format!("{by_name}?sslmode=verify-full"));
    assert!(!refused.status.success(), "the system knows no such authority");
    assert!(text(&refused.stderr).contains("certificate"), "{}", text(&refused.stderr));
    let password = database.url.split([':', '@']).nth(2).expect("a password").to_owned();
    assert!(!text(&refused.stderr).contains(&password), "no secret in an error");
    let wrong = sentra(&["migrate"], &by_name.replace(&password, "wrong"));
    assert!(text(&wrong.stderr).contains("password authentication failed"), "{}", text(&wrong.stderr));
}
