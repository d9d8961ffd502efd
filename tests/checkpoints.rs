//! What the group's offset knows beyond the verdict topic, on a real broker: h where retention took every verdict, lost
//! input by its name, and which partitions are not taken: those of other topics, those of another engine's owner, and
//! those of a log that began with another count.

mod common;

use std::{process::Command, time::Duration};

use common::{
    delete_records, grow_topic, kafka,
    line::{Sentra, Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// One partition, without snapshots: what recovery knows comes from the topics and the group alone.
fn line(topics: &Topics) -> Setup {
    Setup::new(topics).with("SENTRA__SNAPSHOTS__LOCATION", "off")
}

/// Sends `records` more and waits for their verdicts, read into `reading`.
fn judge_more(topics: &Topics, records: u32, follower: &mut Follower, reading: &mut Reading) {
    let sent: Vec<Sent> = (0..records).map(|number| good(number, &format!("T{number}"))).collect();
    Sender::default().send_all(&topics.transactions, sent.iter());
    let end = ends(&topics.transactions, 1)[0];
    soon("all verdicts", || {
        while follower.read(Duration::from_millis(20)) {}
        reading.follow(&follower.records[0]);
        reading.accepted.last().is_some_and(|(head, _)| head.source.offset + 1 == end)
    });
}

/// Ends it as its operator would.
fn stop(mut process: Sentra) {
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
}

/// Waits until the one partition is refused, for this reason; nothing is taken then.
fn assert_refused(process: &Sentra, why: &[&str]) {
    soon("a refusal", || process.log().contains("partition refused"));
    let ready = process.get("/readyz").expect("it answers");
    assert_eq!(ready.code, 503);
    for why in why {
        assert!(ready.body.contains(why), "{why}: {}", ready.body);
    }
}

/// The offset that the group committed, with its metadata.
fn committed(topics: &Topics) -> (Offset, String) {
    let client = [("bootstrap.servers", kafka()), ("group.id", topics.group.clone())];
    let consumer: BaseConsumer = common::client(&client).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition(&topics.transactions, 0);
    let list = consumer.committed_offsets(list, PATIENCE).expect("the group's offsets");
    let element = list.find_partition(&topics.transactions, 0).expect("the partition");
    (element.offset(), element.metadata().to_owned())
}

/// `sentra verdicts tail --until-end --gaps`: its exit code, and what it says.
fn gaps(topics: &Topics) -> (Option<i32>, String) {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().current_dir(home.path()).args(["verdicts", "tail", "--until-end", "--gaps", "--json"]);
    command.env("KAFKA_BOOTSTRAP_SERVERS", kafka()).env("SENTRA__TOPICS__VERDICTS", &topics.verdicts);
    let output = command.output().expect("the binary");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn h_outlives_the_verdicts_in_the_groups_offset_and_another_verdict_topic_is_refused() {
    let topics = Topics::create("checkpoint", 1);
    let (mut follower, mut reading) = (Follower::new(&topics.verdicts, 1), Reading::default());
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 100, &mut follower, &mut reading);
    // Committed while it runs, once a second, and of the verdicts acknowledged.
    soon("a commit", || committed(&topics).0 == Offset::Offset(100));
    let (_, text) = committed(&topics);
    let fields: Vec<&str> = text.split(';').collect();
    assert_eq!((fields[0], &fields[3..7]), ("v2", &["101", "0", "99", "1"][..]), "{text}");
    assert_eq!((fields.len(), fields[7].len()), (8, 16), "the edition's hash: {text}");
    assert!(text.len() < 200);
    stop(process);

    delete_records(&topics.verdicts, 0, ends(&topics.verdicts, 1)[0]);
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 100, &mut follower, &mut reading);
    reading.assert_exact(0, 200);
    stop(process);

    // A group that knows nothing refuses what the topic does not tell.
    delete_records(&topics.verdicts, 0, ends(&topics.verdicts, 1)[0]);
    let stranger = Topics { group: common::unique_topic("stranger"), ..topics.clone() };
    let process = line(&stranger).start();
    assert_refused(&process, &["holds no accepted verdict", "begin with new topics"]);
    drop(process);

    // The same group with verdicts elsewhere would judge everything again.
    let moved = Topics { group: topics.group.clone(), ..topics.again("elsewhere") };
    let process = line(&moved).start();
    assert_refused(&process, &["another verdict topic", "kafka.group"]);
}

#[test]
fn input_deleted_before_it_was_judged_is_named_in_the_chain_and_verdicts_go_on() {
    let topics = Topics::create("lost", 1);
    let (mut follower, mut reading) = (Follower::new(&topics.verdicts, 1), Reading::default());
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 50, &mut follower, &mut reading);
    stop(process);
    let unjudged: Vec<Sent> = (0..30).map(|number| good(number, &format!("U{number}"))).collect();
    Sender::default().send_all(&topics.transactions, unjudged.iter());
    delete_records(&topics.transactions, 0, 70);

    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 20, &mut follower, &mut reading);
    assert_eq!(process.metric("sentra_lost_records_total"), Some(20.0));
    assert!(process.log().contains("deleted before it was judged"), "{}", process.log());
    let chain: Vec<_> = reading.accepted.iter().skip(49).map(|(head, _)| (head.kind.as_str(), &head.source)).collect();
    let [(_, before), (kind, lost), (_, after), ..] = chain[..] else { panic!("{chain:?}") };
    assert_eq!((before.offset, kind, lost.previous_offset, lost.offset), (49, "lost", 49, 69));
    assert_eq!((after.offset, after.previous_offset), (70, 69));
    let record = &follower.records[0][reading.accepted[50].1];
    assert_eq!(record.key, None);
    let verdict = follower.records[0][reading.accepted[51].1].json();
    assert!(verdict["flags"].as_array().expect("flags").contains(&"warming".into()), "{verdict}");
    stop(process);

    // It is named once: the next owner goes on behind it.
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
    assert_eq!(process.metric("sentra_lost_records_total"), Some(0.0));
    assert_eq!(reading.accepted.iter().filter(|(head, _)| head.kind == "lost").count(), 1);
    assert_eq!(reading.accepted.len(), 50 + 1 + 40);
    let (code, said) = gaps(&topics);
    assert_eq!(code, Some(0), "{said}");
    for part in ["input up to partition 0 offset 69 was deleted", "accepted 90,", "lost 1,", "gaps 0"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_partition_of_a_newer_engines_owner_or_of_other_settings_is_not_taken_and_its_owner_keeps_its_epoch() {
    let topics = Topics::create("edition", 1);
    let (mut follower, mut reading) = (Follower::new(&topics.verdicts, 1), Reading::default());
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
    stop(process);
    let owners = reading.owners;

    let other = line(&topics).with("SENTRA__TIME__LATENESS", "12h");
    let process = other.start();
    assert_refused(&process, &["works by other settings", "score.take_over"]);
    stop(process);
    follower.read_to_end();
    reading.follow(&follower.records[0]);
    assert_eq!(reading.owners, owners, "no owner record was written");

    let process = other.with("SENTRA__SCORE__TAKE_OVER", "true").start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
    stop(process);
    reading.assert_exact(0, 20);

    let newer = r#"{"kind":"owner","source":{"log":"00000000","partition":0},"group":"g","instance":"i","version":"9","host":"h","engine_generation":99,"engine_hash":"0000000000000000","decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;
    let owner = Sent { partition: Some(0), value: Some(newer.as_bytes().to_vec()), ..Sent::default() };
    Sender::default().send(&topics.verdicts, &owner).expect("an owner record");
    let before = ends(&topics.verdicts, 1);
    let process = line(&topics).start();
    assert_refused(&process, &["engine generation 99", "run the newer program"]);
    assert_eq!(ends(&topics.verdicts, 1), before);
}

/// Lines of other settings, of the same group or of another, with the snapshots at `location`.
fn other(topics: &Topics, location: &str) -> Setup {
    line(topics).with("SENTRA__TIME__LATENESS", "12h").with("SENTRA__SNAPSHOTS__LOCATION", location)
}

fn of_another_group(topics: &Topics) -> Topics {
    Topics { group: common::unique_topic("stranger"), ..topics.clone() }
}

/// A process that is refused, and writes nothing before it is.
fn assert_keeps_out(topics: &Topics, setup: &Setup) {
    let before = ends(&topics.verdicts, 1);
    let process = setup.start();
    assert_refused(&process, &["works by other settings", "score.take_over"]);
    assert_eq!(ends(&topics.verdicts, 1), before, "it claimed nothing: {}", process.log());
}

#[test]
fn an_owners_edition_outlives_its_record_in_the_groups_offset_and_in_the_newest_snapshot() {
    let topics = Topics::create("outlived", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let location = folder.path().display().to_string();
    let snapshotting = line(&topics).with("SENTRA__SNAPSHOTS__LOCATION", &location);
    let (mut follower, mut reading) = (Follower::new(&topics.verdicts, 1), Reading::default());
    let process = snapshotting.with("SENTRA__SNAPSHOTS__INTERVAL", "1s").start();
    process.await_running(1, PATIENCE);
    soon("a snapshot", || {
        judge_more(&topics, 20, &mut follower, &mut reading);
        process.metric("sentra_snapshots_written_total") >= Some(1.0)
    });
    stop(process);
    assert!(committed(&topics).1.starts_with("v2;"), "{}", committed(&topics).1);
    delete_records(&topics.verdicts, 0, ends(&topics.verdicts, 1)[0]);

    // The owner record is gone: the group's offset tells, and where the group is another one, the snapshot does.
    assert_keeps_out(&topics, &other(&topics, "off"));
    assert_keeps_out(&topics, &other(&of_another_group(&topics), &location));
    // The rightful one goes on.
    let process = line(&topics).with("SENTRA__SNAPSHOTS__LOCATION", &location).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
}

#[test]
fn who_was_refused_or_never_served_does_not_keep_the_rightful_owner_out() {
    let topics = Topics::create("rightful", 1);
    let (mut follower, mut reading) = (Follower::new(&topics.verdicts, 1), Reading::default());
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
    stop(process);
    // A group that knows no checkpoint looks into the verdict topic before it claims.
    assert_keeps_out(&topics, &other(&of_another_group(&topics), "off"));

    // One that claimed all the same, as it may where both looked at once: its owner record is the newest, and no verdict
    // is of its epoch.
    let refused = r#"{"kind":"owner","source":{"log":"00000000","partition":0},"group":"g","instance":"i","version":"1","host":"h","engine_generation":1,"engine_hash":"00000000deadbeef","decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;
    let owner = Sent { partition: Some(0), value: Some(refused.as_bytes().to_vec()), ..Sent::default() };
    Sender::default().send(&topics.verdicts, &owner).expect("an owner record");
    let process = line(&topics).start();
    process.await_running(1, PATIENCE);
    judge_more(&topics, 10, &mut follower, &mut reading);
    reading.assert_exact(0, 20);
}

#[test]
fn a_log_that_was_given_more_partitions_is_refused_by_name_and_an_owner_that_named_no_count_is_followed() {
    let topics = Topics::create("regrown", 2);
    let sender = Sender::default();
    let older = r#"{"kind":"owner","source":{"log":"00000000","partition":0},"group":"g","instance":"i","version":"0","decided_at":"2026-03-01T08:15:00.004213Z","schema_version":1}"#;
    let owner = Sent { partition: Some(0), value: Some(older.as_bytes().to_vec()), ..Sent::default() };
    sender.send(&topics.verdicts, &owner).expect("an owner record");
    let process = line(&topics).start();
    process.await_running(2, PATIENCE);
    for partition in 0..2 {
        sender.send(&topics.transactions, &Sent { partition: Some(partition), ..good(1, "T1") }).expect("taken");
    }
    soon("both verdicts", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(2.0));
    stop(process);
    let mut follower = Follower::new(&topics.verdicts, 2);
    follower.read_to_end();
    let named: Vec<_> =
        follower.records.iter().map(|records| records[records.len() - 2].json()["partitions"].clone()).collect();
    assert_eq!(named, [2, 2], "each owner names the count");

    [&topics.transactions, &topics.verdicts, &topics.dlq].into_iter().for_each(|topic| grow_topic(topic, 4));
    let before = ends(&topics.verdicts, 4);
    let process = line(&topics).start();
    soon("all to be refused", || process.metric("sentra_partitions{state=\"refused\"}") == Some(4.0));
    let ready = process.get("/readyz").expect("it answers");
    assert_eq!(ready.code, 503);
    for partition in 0..4 {
        let why = format!(
            "partition {partition} is refused: the log began with 2 partitions, and the transaction topic has 4"
        );
        assert!(ready.body.contains(&why), "{why} is not in {}", ready.body);
    }
    assert!(ready.body.contains("re-partitioning means new topics"), "{}", ready.body);
    let shown = line(&topics).command(&["partition", "show", "0"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("began with 2 partitions"), "{shown}");
    stop(process);
    assert_eq!(ends(&topics.verdicts, 4), before, "no owner record was written");

    // A group that knows nothing finds it in the verdicts, however often it comes.
    let stranger = Topics { group: common::unique_topic("stranger"), ..topics.clone() };
    for _ in 0..2 {
        let process = line(&stranger).start();
        let refused =
            || process.get("/readyz").map(|ready| ready.body.matches("the log began with 2 partitions").count());
        soon("both that there were to be refused", || refused() == Some(2));
        stop(process);
    }
}
