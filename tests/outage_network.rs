//! Between brokers and the line: connections cut, and partitions whose only broker is gone. What is led by others goes
//! on, `/readyz` names what does not, and all of it comes back by itself. One test, for its brokers cost seconds.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{
    PATIENCE, admin, await_topic, block_on,
    broker::Broker,
    client, kafka,
    line::{Sentra, Setup, Topics, until},
    proxy::Proxy,
    records::{Follower, Reading, ends},
    steady::Steady,
};
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
};

const LONG: Duration = Duration::from_secs(90);

/// Longer than a session: the group gives the member up.
const CUT: Duration = Duration::from_secs(15);

/// What memory may grow by while nothing can be delivered.
const MOST_MORE_MIB: u64 = 64;

/// Led by the second broker: verdicts of three partitions, more than a shard has threads for recovery, and the input of
/// another one.
const LEADERLESS_VERDICTS: [i32; 3] = [2, 3, 4];
const LEADERLESS_INPUT: i32 = 5;
const UNCONCERNED: [i32; 2] = [0, 1];
const PARTITIONS: i32 = 6;

fn judged(process: &Sentra) -> f64 {
    process.metric("sentra_events_total{kind=\"scored\"}").unwrap_or_default()
}

fn await_progress(process: &Sentra) {
    let before = judged(process);
    let what = || format!("more verdicts than {before}; {}", process.log());
    until(LONG, what, || (judged(process) > before + 500.0).then_some(()));
}

/// Each input record judged once, in order, by an unbroken chain.
fn assert_whole(topics: &Topics) {
    let ends = ends(&topics.transactions, topics.partitions);
    let mut follower = Follower::new(&topics.verdicts, topics.partitions);
    let mut readings: Vec<Reading> = (0..topics.partitions).map(|_| Reading::default()).collect();
    follower.read_until(LONG, "every verdict", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().zip(&ends).all(|(reading, end)| reading.accepted.len() as i64 >= *end)
    });
    for (partition, (reading, end)) in readings.iter().zip(ends).enumerate() {
        reading.assert_exact(partition, end);
    }
}

fn connections_are_cut(proxy: &Proxy) {
    let topics = Topics::create("cut", 4);
    let through = format!("127.0.0.1:{}", proxy.port());
    let process = Setup::new(&topics).with("KAFKA_BOOTSTRAP_SERVERS", &through).start();
    process.await_running(4, LONG);
    let traffic = Steady::start(&topics.transactions, 1_000);
    await_progress(&process);
    for _ in 0..3 {
        proxy.cut();
        proxy.mend();
        await_progress(&process);
    }
    let rss = process.rss_mib();
    let began = Instant::now();
    proxy.cut();
    let said = process.await_unready("no broker", CUT);
    println!("not ready {:.1} s after the cut: {said}", began.elapsed().as_secs_f64());
    while began.elapsed() < CUT {
        assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200), "waiting is no failure");
        thread::sleep(Duration::from_millis(500));
    }
    assert!(!process.is_ready());
    assert!(process.rss_mib() < rss + MOST_MORE_MIB, "{} MiB, {rss} before", process.rss_mib());
    proxy.mend();
    await_progress(&process);
    let sent = traffic.finish();
    until(LONG, || process.log(), || process.is_ready().then_some(()));
    assert_whole(&topics);
    println!("cut four times, {sent} records judged once each");
}

/// Topics whose partitions are on the first broker, but for those.
fn spread() -> Topics {
    let topics = Topics::named("leaderless", PARTITIONS);
    let create = |name: &str, on_second: &[i32]| {
        let nodes: Vec<[i32; 1]> = (0..PARTITIONS).map(|at| [if on_second.contains(&at) { 2 } else { 1 }]).collect();
        let nodes: Vec<&[i32]> = nodes.iter().map(<[i32; 1]>::as_slice).collect();
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Variable(&nodes))
            .set("message.timestamp.type", "CreateTime");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = block_on(admin().create_topics([&topic], &options)).expect("create_topics");
        assert_eq!(made, [Ok(name.to_owned())]);
        await_topic(name);
    };
    create(&topics.transactions, &[LEADERLESS_INPUT]);
    create(&topics.verdicts, &LEADERLESS_VERDICTS);
    create(&topics.dlq, &[]);
    topics
}

fn end(topic: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer = client(&[("bootstrap.servers", kafka())]).create().expect("a consumer");
    consumer.fetch_watermarks(topic, partition, PATIENCE).expect("it has a leader").1
}

/// Verdicts of the partitions that are not concerned go on.
fn await_unconcerned(topics: &Topics, process: &Sentra) {
    for partition in UNCONCERNED {
        let before = end(&topics.verdicts, partition);
        let what = || format!("more than {before} verdicts of partition {partition}; {}", process.log());
        until(LONG, what, || (end(&topics.verdicts, partition) > before + 50).then_some(()));
    }
}

fn partitions_lose_their_only_broker(first: &Broker) {
    let second = first.second();
    let topics = spread();
    // Few enough that the pause comes within the test.
    let setup = Setup::new(&topics).with("SENTRA__SCORE__UNDELIVERED", "400");
    let process = setup.start();
    process.await_running(PARTITIONS, LONG);
    let traffic = Steady::start(&topics.transactions, 1_000);
    await_progress(&process);
    let rss = process.rss_mib();

    second.services("down");
    let began = Instant::now();
    await_unconcerned(&topics, &process);
    for words in [
        "verdicts not acknowledged: partitions 2, 3, 4 ",
        "input whose broker does not answer: partitions 5",
        "are not acknowledged: partitions 2, 3, 4 (for",
    ] {
        let said = process.await_unready(words, LONG);
        println!("{:.1} s after the broker went: {said}", began.elapsed().as_secs_f64());
    }
    await_unconcerned(&topics, &process);
    assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200), "waiting is no failure");
    assert!(process.rss_mib() < rss + MOST_MORE_MIB, "{} MiB, {rss} before", process.rss_mib());

    // A new process recovers what it can, though more partitions cannot be asked about than it has threads for.
    process.kill();
    let process = setup.start();
    let recovered = || (process.running() == UNCONCERNED.len() as i32).then_some(());
    until(LONG, || format!("{} partitions run; {}", process.running(), process.log()), recovered);
    await_unconcerned(&topics, &process);
    process.await_unready("partitions recovering: 4", LONG);

    second.services("up");
    process.await_running(PARTITIONS, LONG);
    let sent = traffic.finish();
    assert_whole(&topics);
    println!(
        "four partitions without a broker for {:.0} s, {sent} records judged once each",
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn what_is_cut_off_or_has_no_leader_waits_and_says_so_and_everything_else_goes_on() {
    let proxy = Proxy::listen();
    let broker = Broker::behind(&proxy);
    connections_are_cut(&proxy);
    partitions_lose_their_only_broker(&broker);
}
