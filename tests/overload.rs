//! More comes than is judged: lag grows, memory does not, and readiness and metrics say so; afterwards all of it is judged.
//!
//! `scripts/overload --minutes N` runs it for longer (`SENTRA_OVERLOAD_SECONDS`). Not a measurement of speed: the shard is
//! throttled far below what it can do, so that it is overloaded on any machine.

mod common;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use common::{
    line::{Sentra, Setup, Topics, until},
    records::ends,
    steady::Steady,
};

const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(90);

/// What is offered; a request for each two verdicts, one at a time, is far fewer.
const EACH_SECOND: u64 = 4_000;

/// What memory may grow by between the first third and the end, in MiB: what was fetched ahead (64 MiB by default) and the
/// windows of what was judged. The backlog of ten minutes is several times that.
const MOST_MORE_MIB: u64 = 160;

fn lag(process: &Sentra) -> f64 {
    let of = |partition: i32| process.metric(&format!("sentra_lag_records{{partition=\"{partition}\"}}"));
    (0..PARTITIONS).filter_map(of).sum()
}

fn lag_seconds(process: &Sentra) -> f64 {
    let of = |partition: i32| process.metric(&format!("sentra_lag_seconds{{partition=\"{partition}\"}}"));
    (0..PARTITIONS).filter_map(of).fold(0.0, f64::max)
}

fn judged(process: &Sentra) -> f64 {
    let of = |kind: &str| process.metric(&format!("sentra_events_total{{kind=\"{kind}\"}}"));
    ["scored", "late", "duplicate", "conflict", "invalid"].into_iter().filter_map(of).sum()
}

#[test]
fn more_than_can_be_judged_makes_lag_grow_and_memory_not_and_is_judged_when_there_is_room() {
    let seconds = env::var("SENTRA_OVERLOAD_SECONDS").map_or(25, |text| text.parse().expect("whole seconds"));
    let length = Duration::from_secs(seconds);
    let topics = Topics::create("overload", PARTITIONS);
    let setup = Setup::new(&topics).with("SENTRA__SCORE__LAG_READY", "5s");
    let throttled = setup
        .with("SENTRA__KAFKA__PROPERTIES__BATCH_NUM_MESSAGES", "2")
        .with("SENTRA__KAFKA__PROPERTIES__MAX_IN_FLIGHT", "1");
    let mut process = throttled.start();
    process.await_running(PARTITIONS, PATIENCE);
    let traffic = Steady::start(&topics.transactions, EACH_SECOND);

    println!("{EACH_SECOND} a second offered for {seconds} s");
    println!("{:>6} {:>10} {:>10} {:>8} {:>8}", "s", "judged", "lag", "lag s", "MiB");
    let (began, mut seen) = (Instant::now(), Vec::new());
    while began.elapsed() < length {
        thread::sleep(length / 12);
        let (lag, rss) = (lag(&process), process.rss_mib());
        let at = began.elapsed().as_secs();
        println!("{at:>6} {:>10} {lag:>10} {:>8.0} {rss:>8}", judged(&process), lag_seconds(&process));
        seen.push((lag, rss));
        assert_eq!(process.get("/livez").map(|answer| answer.code), Some(200), "overload is no standstill");
    }
    let said = process.await_unready("records not judged within score.lag_ready", PATIENCE);
    println!("not ready: {said}");
    let sent = traffic.finish();
    let (early, last) = (seen[seen.len() / 3], seen[seen.len() - 1]);
    assert!(last.0 > early.0 && early.0 > 0.0, "lag grows: {seen:?}");
    assert!(lag_seconds(&process) > 5.0);
    assert!(last.1 < early.1 + MOST_MORE_MIB, "memory does not grow with it: {seen:?}");

    // The same group, no longer throttled, judges all of it.
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0));
    let process = Setup::new(&topics).with("SENTRA__SCORE__LAG_READY", "5s").start();
    let all = ends(&topics.transactions, PARTITIONS).iter().sum::<i64>();
    assert_eq!(all as u64, sent);
    let behind = || format!("no lag, not {}; {:?}", lag(&process), process.get("/readyz"));
    let caught_up = || process.running() == PARTITIONS && lag(&process) == 0.0 && process.is_ready();
    until(PATIENCE + length, behind, || caught_up().then_some(()));
    println!("{sent} judged in the end; ready, {} MiB", process.rss_mib());
}
