//! Topics that change while the line runs, on a real Kafka: one made anew ends the process by name; partitions without a
//! peer are refused by name and told once, the others go on, and what can be mended is taken up.
//!
//! The line runs inside the test, for no setting has it look at the topics more often than once a minute.

mod common;

use std::{
    io,
    sync::{Mutex, Once, PoisonError},
    thread,
    time::Duration,
};

use common::{
    create_topic, delete_topic, grow_topic,
    inside::Line,
    line::{Setup, Topics, soon, until},
    produce::{Sender, Sent, good},
};
use sentra::app::set_compare_every;

const PATIENCE: Duration = Duration::from_secs(60);

/// Topics are compared so often here.
const COMPARE_EVERY: Duration = Duration::from_millis(200);

/// Everything that this process logs.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Takes what is logged.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines have all of these words.
fn lines(words: &[&str]) -> usize {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8(log).expect("text");
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// A line that looks at its topics often; its clients learn of new partitions soon.
fn start(topics: &Topics) -> Line {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_compare_every(COMPARE_EVERY);
        tracing_subscriber::fmt().json().with_writer(|| Log).init();
    });
    let setup = Setup::new(topics)
        .with("SENTRA__SNAPSHOTS__LOCATION", "off")
        .with("SENTRA__KAFKA__PROPERTIES__TOPIC_METADATA_REFRESH_INTERVAL_MS", "500");
    Line::start(&setup, |_| {})
}

fn await_running(line: &Line, partitions: f64) {
    soon("the partitions to run", || line.metric("sentra_partitions{state=\"running\"}") == Some(partitions));
}

/// Waits until it is not ready for a reason with all of these words.
fn await_unready(line: &Line, words: &[&str]) {
    let held =
        || line.ready().is_some_and(|said| said.code == 503 && words.iter().all(|word| said.body.contains(word)));
    until(PATIENCE, || format!("{words:?}, not {:?}", line.ready()), || held().then_some(()));
}

/// Has one transaction judged in each of the partitions.
fn judge_each(line: &Line, topics: &Topics, partitions: &[i32]) {
    let judged = || line.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default();
    let wanted = judged() + partitions.len() as f64;
    let sender = Sender::default();
    for (number, partition) in partitions.iter().enumerate() {
        // No phone and id twice in a partition: that would be a duplicate.
        let number = wanted as u32 * 100 + number as u32;
        let sent = Sent { partition: Some(*partition), ..good(number, &format!("T{number}")) };
        sender.send(&topics.transactions, &sent).expect("taken");
    }
    until(PATIENCE, || format!("{wanted} verdicts, not {}", judged()), || (judged() == wanted).then_some(()));
}

#[test]
fn a_topic_made_anew_while_running_ends_the_process_by_name() {
    for is_input in [true, false] {
        let topics = Topics::create("replaced", 1);
        let line = start(&topics);
        await_running(&line, 1.0);
        judge_each(&line, &topics, &[0]);
        let replaced = if is_input { &topics.transactions } else { &topics.verdicts };
        delete_topic(replaced);
        // Deleting takes the broker a moment, and the name is taken until then.
        until(PATIENCE, || format!("{replaced} to go"), || try_create(replaced).then_some(()));
        until(PATIENCE, || String::from("the process to end"), || line.has_ended().then_some(()));
        let why = line.end().expect_err("it does not go on").to_string();
        assert!(why.contains(replaced) && why.contains("was created anew while running"), "{why}");
    }
}

/// Makes a topic of one partition, unless its name is still taken.
fn try_create(name: &str) -> bool {
    std::panic::catch_unwind(|| create_topic(name, 1, &[])).is_ok()
}

#[test]
fn partitions_without_a_peer_are_told_once_and_taken_up_when_they_have_one_and_the_others_never_stop() {
    let topics = Topics::named("unequal", 2);
    create_topic(&topics.transactions, 2, &[]);
    create_topic(&topics.verdicts, 1, &[]);
    create_topic(&topics.dlq, 2, &[]);
    let line = start(&topics);
    await_running(&line, 1.0);
    judge_each(&line, &topics, &[0]);
    await_unready(&line, &["partition 1 is refused", "topics: ", &topics.verdicts, "from 1 on have no peer"]);
    thread::sleep(10 * COMPARE_EVERY);
    let told = |words: &str| lines(&[words, &topics.verdicts]);
    assert_eq!(told("partition counts differ"), 1, "once, however often they are compared");

    grow_topic(&topics.verdicts, 2);
    await_running(&line, 2.0);
    soon("readiness", || line.ready().is_some_and(|said| said.code == 200));
    judge_each(&line, &topics, &[0, 1]);
    assert_eq!(told("partition counts differ"), 1);
    line.end().expect("an end in order");
}

#[test]
fn a_count_that_grows_while_running_is_told_once_and_the_partitions_there_were_go_on() {
    let topics = Topics::create("grown", 2);
    let line = start(&topics);
    await_running(&line, 2.0);
    judge_each(&line, &topics, &[0, 1]);
    grow_topic(&topics.transactions, 3);
    await_unready(&line, &["topics: ", &topics.transactions, "had 2 partitions", "re-partitioning means new topics"]);
    await_unready(&line, &["partition 2 is refused", "had 2 partitions"]);
    judge_each(&line, &topics, &[0, 1]);
    // Equal counts are no cure: phones have moved.
    grow_topic(&topics.verdicts, 3);
    thread::sleep(10 * COMPARE_EVERY);
    await_unready(&line, &["topics: ", "partition 2 is refused"]);
    judge_each(&line, &topics, &[0, 1]);
    assert_eq!(line.metric("sentra_partitions{state=\"running\"}"), Some(2.0));
    assert_eq!(lines(&["partition counts differ", &topics.transactions]), 1, "once, however often they are compared");
    line.end().expect("an end in order");
}
