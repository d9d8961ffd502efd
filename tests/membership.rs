//! Members of the scoring group on a real broker: a restart within the session keeps partitions, a rebalance hands them
//! over with nothing under way, a name is one process's, and who is gone for good is told to leave.

mod common;

use std::{
    collections::BTreeSet,
    process::Command,
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use common::{
    kafka,
    line::{Sentra, Setup, Topics, soon, until},
    records::{Follower, Reading, ends},
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use sentra::{
    kafka::load::Load,
    train::simulate::{Limit, Options, Simulated, Simulation},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// No session ends while a busy machine starts a process.
const LONG_SESSION_MS: &str = "120000";

/// A process of that name; the same each time it is started.
fn named(topics: &Topics, instance: &str) -> Setup {
    Setup::new(topics)
        .with("SENTRA__SCORE__INSTANCE", instance)
        .with("SENTRA__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", LONG_SESSION_MS)
}

/// The partitions it owns.
fn owned(process: &Sentra) -> BTreeSet<i32> {
    let metrics = process.get("/metrics").map_or_else(String::new, |answer| answer.body);
    let name = |line: &str| line.strip_prefix("sentra_undelivered{partition=\"")?.split('"').next()?.parse().ok();
    metrics.lines().filter_map(name).collect()
}

/// Waits until all partitions run in these processes, and each has some.
fn await_all(processes: &[&Sentra], partitions: i32) {
    let what = || format!("all partitions to run: {:?}", processes.iter().map(|one| one.running()).collect::<Vec<_>>());
    until(PATIENCE, what, || {
        let running: Vec<i32> = processes.iter().map(|process| process.running()).collect();
        let owned: usize = processes.iter().map(|process| owned(process).len()).sum();
        (running.iter().all(|count| *count > 0)
            && running.iter().sum::<i32>() == partitions
            && owned == partitions as usize)
            .then_some(())
    });
}

/// Some thousand records a second until dropped or finished.
struct Traffic {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(topic: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut load = Load::connect(common::client(&[("bootstrap.servers", kafka())]), topic).expect("a producer");
        let told = Arc::clone(&over);
        let send = move || {
            let mut simulation = Simulation::new(&Options { limit: Limit::None, ..Options::sized(5, 300) });
            let mut record = Simulated::empty();
            while !told.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    assert!(simulation.read(&mut record), "it has no end");
                    load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
                }
                load.wait(Duration::from_millis(20)).expect("taken in the end");
            }
            load.finish().expect("all acknowledged");
        };
        Self { over, thread: Some(thread::spawn(send)) }
    }

    fn finish(mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the input");
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// All verdicts so far, by the reader's rule.
struct Verdicts {
    follower: Follower,
    readings: Vec<Reading>,
}

impl Verdicts {
    fn of(topics: &Topics) -> Self {
        let readings = (0..topics.partitions).map(|_| Reading::default()).collect();
        Self { follower: Follower::new(&topics.verdicts, topics.partitions), readings }
    }

    fn read(&mut self) {
        self.follower.read_to_end();
        self.readings.iter_mut().zip(&self.follower.records).for_each(|(reading, records)| reading.follow(records));
    }

    /// Waits for a verdict in each partition.
    fn await_each(&mut self, topics: &Topics, processes: &[Sentra]) {
        let scored = |process: &Sentra| process.metric("sentra_events_total{kind=\"scored\"}");
        let what = || {
            format!(
                "a verdict in each partition; input up to {:?}, verdicts up to {:?}, scored {:?}",
                ends(&topics.transactions, topics.partitions),
                ends(&topics.verdicts, topics.partitions),
                processes.iter().map(scored).collect::<Vec<_>>(),
            )
        };
        until(common::PATIENCE, what, || {
            self.read();
            self.readings.iter().all(|reading| !reading.accepted.is_empty()).then_some(())
        });
    }

    fn owners(&self) -> Vec<usize> {
        self.readings.iter().map(|reading| reading.owners).collect()
    }

    /// Waits for the verdict of each input record, each once and in order.
    fn assert_exact(&mut self, topics: &Topics) {
        let ends = ends(&topics.transactions, topics.partitions);
        soon("all verdicts", || {
            self.read();
            self.readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
        });
        for (partition, (reading, end)) in self.readings.iter().zip(ends).enumerate() {
            reading.assert_exact(partition, end);
            assert_eq!(reading.ignored, 0, "partition {partition}: nothing landed behind the next owner's record");
        }
    }
}

#[test]
fn a_rolling_restart_of_static_members_moves_no_partition_and_loses_and_repeats_nothing() {
    let topics = Topics::create("rolling", 6);
    let folder = tempfile::tempdir().expect("a folder");
    let setups = ["rolling-a", "rolling-b", "rolling-c"].map(|name| {
        let snapshots = named(&topics, name).with("SENTRA__SNAPSHOTS__INTERVAL", "1s");
        snapshots.with("SENTRA__SNAPSHOTS__LOCATION", &folder.path().display().to_string())
    });
    let mut processes: Vec<Sentra> = setups.iter().map(Setup::start).collect();
    await_all(&processes.iter().collect::<Vec<_>>(), topics.partitions);
    let traffic = Traffic::start(&topics.transactions);
    let mut verdicts = Verdicts::of(&topics);
    verdicts.await_each(&topics, &processes);
    soon("snapshots", || processes.iter().all(|process| process.metric("sentra_snapshots_written_total") >= Some(4.0)));
    let (places, owners) = (processes.iter().map(owned).collect::<Vec<_>>(), verdicts.owners());
    for (at, setup) in setups.iter().enumerate() {
        processes[at].signal(libc::SIGTERM);
        assert_eq!(processes[at].wait(PATIENCE).code(), Some(0), "{}", processes[at].log());
        processes[at] = setup.start();
        await_all(&processes.iter().collect::<Vec<_>>(), topics.partitions);
        assert_eq!(processes.iter().map(owned).collect::<Vec<_>>(), places, "restart {at} moved a partition");
        let restored: Vec<_> = processes.iter().map(|one| one.log().matches("snapshot restored").count()).collect();
        let wanted: Vec<_> = (0..3).map(|process| if process <= at { places[process].len() } else { 0 }).collect();
        assert_eq!(restored, wanted, "each reads the snapshots of its own partitions, once");
    }
    traffic.finish();
    verdicts.assert_exact(&topics);
    let taken: Vec<usize> = verdicts.owners().iter().zip(owners).map(|(after, before)| after - before).collect();
    assert_eq!(taken, [1; 6], "each partition was taken once more, by its own process");
    assert!(processes.iter().all(|process| process.metric("sentra_gaps_total") == Some(0.0)));
}

#[test]
fn a_rebalance_hands_partitions_over_with_nothing_under_way() {
    let topics = Topics::create("handover", 4);
    // Whenever partitions move, verdicts wait in this one's queue.
    let first = Setup::new(&topics).with("SENTRA__SCORE__LINGER_MS", "500").start();
    await_all(&[&first], topics.partitions);
    let traffic = Traffic::start(&topics.transactions);
    let mut verdicts = Verdicts::of(&topics);
    verdicts.await_each(&topics, slice::from_ref(&first));
    let second = Setup::new(&topics).start();
    await_all(&[&first, &second], topics.partitions);
    assert_eq!((first.running(), second.running()), (2, 2));
    traffic.finish();
    verdicts.assert_exact(&topics);
    assert_eq!(verdicts.owners().iter().sum::<usize>(), 4 + 2, "only the partitions that moved have another owner");
}

#[test]
fn a_stop_while_partitions_are_handed_over_ends_as_any_other() {
    let topics = Topics::create("parting", 4);
    let first = Setup::new(&topics).with("SENTRA__SCORE__LINGER_MS", "1000");
    let mut first = first.with("SENTRA__TELEMETRY__LOG", "info,sentra::shard=debug").start();
    await_all(&[&first], topics.partitions);
    let traffic = Traffic::start(&topics.transactions);
    soon("verdicts", || first.metric("sentra_events_total{kind=\"scored\"}") > Some(100.0));
    let second = Setup::new(&topics).start();
    until(PATIENCE, || first.log(), || first.log().contains("partitions are drained").then_some(()));
    first.signal(libc::SIGTERM);
    assert_eq!(first.wait(PATIENCE).code(), Some(0), "{}", first.log());
    second.await_running(4, PATIENCE);
    traffic.finish();
    Verdicts::of(&topics).assert_exact(&topics);
}

#[test]
fn a_name_is_one_processs_and_whoever_is_fenced_says_so() {
    let topics = Topics::create("names", 1);
    let mut first = named(&topics, "twin").start();
    first.await_running(1, PATIENCE);
    let mut second = named(&topics, "twin").start();
    assert_eq!(second.wait(PATIENCE).code(), Some(78), "{}", second.log());
    assert!(second.log().contains("another process of this host is twin"), "{}", second.log());
    assert_eq!(first.running(), 1, "the first is not disturbed");

    // On another host nobody sees the first: the newcomer takes its place, and the first ends.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let third = named(&topics, "twin").with("TMPDIR", &elsewhere.path().display().to_string()).start();
    third.await_running(1, PATIENCE);
    assert_eq!(first.wait(PATIENCE).code(), Some(78), "{}", first.log());
    assert!(first.log().contains("took this one's place"), "{}", first.log());
}

#[test]
fn a_static_member_that_is_gone_for_good_is_told_to_leave_and_others_take_over_at_once() {
    let topics = Topics::create("leave", 2);
    let stays = named(&topics, "stays").start();
    let goes = named(&topics, "goes").start();
    await_all(&[&stays, &goes], topics.partitions);
    goes.kill();
    let leave = |instance: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
        let home = tempfile::tempdir().expect("a folder");
        command.env_clear().current_dir(home.path()).args(["leave", "--instance", instance]);
        command.env("KAFKA_BOOTSTRAP_SERVERS", kafka()).env("SENTRA__KAFKA__GROUP", &topics.group);
        let output = command.env("SENTRA__TOPICS__TRANSACTIONS", &topics.transactions).output().expect("the binary");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, said) = leave("nobody");
    assert_eq!(code, Some(1));
    assert!(said.contains("no static member nobody") && said.contains("goes-0, stays-0"), "{said}");
    let (code, left, said) = leave("goes");
    assert_eq!((code, left.as_str()), (Some(0), "goes-0\n"), "{said}");
    stays.await_running(2, PATIENCE);
    assert_eq!(leave("goes").0, Some(1), "it is gone");
}

#[test]
fn a_group_on_several_hosts_with_snapshots_in_local_folders_is_refused_unless_that_is_accepted() {
    let topics = Topics::create("hosts", 2);
    let mut config = common::client(&[("bootstrap.servers", kafka()), ("group.id", topics.group.clone())]);
    config.set("client.id", "sentra@elsewhere.example").set("partition.assignment.strategy", "cooperative-sticky");
    let other: BaseConsumer = config.create().expect("a consumer");
    other.subscribe(&[&topics.transactions]).expect("a subscription");
    soon("its assignment", || {
        drop(other.poll(Duration::from_millis(50)));
        other.assignment().is_ok_and(|assigned| assigned.count() == 2)
    });
    let mut refused = Setup::new(&topics).start();
    let code = until(
        PATIENCE,
        || String::from("the refusal"),
        || {
            drop(other.poll(Duration::from_millis(50)));
            refused.ended()
        },
    );
    assert_eq!(code.code(), Some(78), "{}", refused.log());
    for part in ["snapshots.location", "elsewhere.example", "snapshots.local_only"] {
        assert!(refused.log().contains(part), "{part}: {}", refused.log());
    }
    for accepted in [("SENTRA__SNAPSHOTS__LOCAL_ONLY", "true"), ("SENTRA__SNAPSHOTS__LOCATION", "off")] {
        let process = Setup::new(&topics).with(accepted.0, accepted.1).start();
        until(
            PATIENCE,
            || process.log(),
            || {
                drop(other.poll(Duration::from_millis(50)));
                (process.running() == 1).then_some(())
            },
        );
    }
}
