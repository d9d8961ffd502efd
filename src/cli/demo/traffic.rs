//! The demo's traffic: simulated transactions with frauds, at a rate, as fast as the line judges them and no faster.
//!
//! Invariant: what was sent and not yet judged stays far below what the embedded broker keeps, or records would be
//! deleted before they are read. Each start is another world, named by the log's id.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{CliError, Progress};
use crate::{
    config::{KafkaConfig, TopicsConfig},
    domain::time::DAY_MS,
    kafka::{
        client::producer_config,
        load::{Load, LoadError},
    },
    train::simulate::{Limit, Options, Simulated, Simulation},
};

/// The most that may be under way: at 1.5 kB a verdict, a tenth of what 32 partitions of 5 MiB keep.
const MOST_UNDER_WAY: u64 = 10_000;

/// How long one wait lasts, so that a stop is seen, and no record goes out much later than it should.
const WAIT: Duration = Duration::from_millis(2);

/// The most that may wait to be stored: twice as uneven as it is, a partition still keeps them all.
const MOST_UNSTORED: u64 = 40_000;

/// Events a day of one customer, agents and merchants included, as the simulator makes them.
const EVENTS_A_DAY_EACH: f64 = 5.6;

/// The customers' clock runs faster than ours, so that they have days and habits: one of their days takes so long.
const DAY: Duration = Duration::from_secs(270);

/// Where their clock begins before ours: it catches up after a day of ours, and nothing lies in the future until then.
const BEGIN_BEFORE: i64 = 365 * DAY_MS;

/// Days played as fast as the line takes them: without a past, every device is new and every hour unusual.
const HISTORY_DAYS: i64 = 3;

/// At most so many, so that it takes seconds also at a high rate.
const MOST_HISTORY: u64 = 60_000;

/// Far more fraud than in life: a demo should show some within seconds.
const FRAUD_RATE: f64 = 0.01;

/// Sends until the stop.
pub(super) fn run(
    kafka: &KafkaConfig,
    topics: &TopicsConfig,
    per_second: f64,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let mut load = Load::connect(producer_config(kafka), &topics.transactions).map_err(CliError::failed)?;
    let seed = kafka.embedded_log.map_or(1, |log| u128::from_be_bytes(log.0) as u64);
    let options = options(seed, now_ms(), per_second);
    let history_end_ms = options.start_ms + HISTORY_DAYS * DAY_MS;
    let mut simulation = Simulation::new(&options);
    let mut record = Simulated::empty();
    let (mut sent, mut live): (u64, Option<(Instant, u64)>) = (0, None);
    while !stop.load(Ordering::Relaxed) && simulation.read(&mut record) {
        if record.at_ms >= history_end_ms || sent >= MOST_HISTORY {
            let (began, before) = *live.get_or_insert_with(|| (Instant::now(), sent));
            let due = began + Duration::from_secs_f64((sent - before) as f64 / per_second);
            wait(&mut load, || Instant::now() >= due || stop.load(Ordering::Relaxed)).map_err(CliError::failed)?;
        }
        let has_room = || {
            sent < MOST_UNDER_WAY + progress.judged.load(Ordering::Relaxed)
                && sent < MOST_UNSTORED + progress.stored.load(Ordering::Relaxed)
        };
        wait(&mut load, || has_room() || stop.load(Ordering::Relaxed)).map_err(CliError::failed)?;
        // The record's own time is ours: it is how long the verdict took, whatever the customers' clock says.
        load.send(record.phone.to_string().as_bytes(), &record.json, now_ms()).map_err(CliError::failed)?;
        sent += 1;
        progress.sent.store(sent, Ordering::Relaxed);
    }
    load.finish().map(drop).map_err(CliError::failed)
}

fn options(seed: u64, now_ms: i64, per_second: f64) -> Options {
    let customers = (per_second * DAY.as_secs_f64() / EVENTS_A_DAY_EACH).clamp(100.0, 200_000.0) as u64;
    let start_ms = now_ms - BEGIN_BEFORE;
    Options { limit: Limit::None, start_ms, fraud_rate: FRAUD_RATE, ..Options::sized(seed, customers) }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Serves acknowledgements until it may go on.
fn wait(load: &mut Load, go_on: impl Fn() -> bool) -> Result<(), LoadError> {
    while !go_on() {
        load.wait(WAIT)?;
    }
    Ok(())
}
