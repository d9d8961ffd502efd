//! Simulated traffic to Kafka, on a schedule that does not wait for the broker.
//!
//! The invariant of the open loop: record k is due at a time known beforehand; who falls behind sends at once until
//! it has caught up, so a slow broker shows as delay and never as a lower rate.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use indicatif::ProgressBar;
use rdkafka::ClientConfig;

use super::{
    SimulateArgs, SimulateError,
    files::{Counts, Lines},
};
use crate::{
    kafka::load::Load,
    train::{
        dataset::LABELS,
        simulate::{Options, Simulated, Simulation},
    },
};

/// How long one wait lasts at most, so that the bar and refusals are seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// The client waits in whole milliseconds; what falls due within one goes out together.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// How often the bar moves.
const SHOW: Duration = Duration::from_millis(200);

/// When each record is due, counted from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Schedule {
    /// At once.
    Fast,
    /// The k-th after k / rate seconds.
    Steady { per_second: f64 },
    /// At its own event time.
    Live { start_ms: i64 },
}

impl Schedule {
    fn of(args: &SimulateArgs, options: &Options) -> Self {
        match args.rate {
            Some(per_second) => Self::Steady { per_second },
            None if args.now => Self::Live { start_ms: options.start_ms },
            None => Self::Fast,
        }
    }

    fn due(self, index: u64, at_ms: i64) -> Duration {
        match self {
            Self::Fast => Duration::ZERO,
            Self::Steady { per_second } => Duration::from_secs_f64(index as f64 / per_second),
            Self::Live { start_ms } => Duration::from_millis((at_ms - start_ms).max(0) as u64),
        }
    }
}

/// Produces the simulation; what to say about it.
pub(super) fn run(
    args: &SimulateArgs,
    options: &Options,
    client: ClientConfig,
    topic: &str,
    progress: &ProgressBar,
) -> Result<String, SimulateError> {
    let mut load = Load::connect(client, topic)?;
    let mut labels = args.labels.as_deref().map(|folder: &Path| Lines::create(folder, LABELS)).transpose()?;
    let schedule = Schedule::of(args, options);
    let mut simulation = Simulation::new(options);
    let mut record = Simulated::empty();
    let (mut line, mut key) = (Vec::with_capacity(256), String::with_capacity(16));
    let mut counts = Counts::default();
    let started = Instant::now();
    let mut shown = started;
    let mut behind = Duration::ZERO;
    while simulation.read(&mut record) {
        let due = schedule.due(counts.records, record.at_ms);
        while let Some(early) = due.checked_sub(started.elapsed()).filter(|early| !early.is_zero()) {
            load.wait(early.clamp(SHORTEST_WAIT, LONGEST_WAIT))?;
            progress.set_position(counts.records);
        }
        if schedule != Schedule::Fast {
            behind = behind.max(started.elapsed().saturating_sub(due));
        }
        write_key(&mut key, &record);
        load.send(key.as_bytes(), &record.json, record.at_ms.min(now_ms()))?;
        if let Some(labels) = labels.as_mut().filter(|_| record.earliest) {
            line.clear();
            record.write_label(&mut line);
            labels.write(&line)?;
        }
        counts.add(&record);
        if counts.records.is_multiple_of(256) && shown.elapsed() > SHOW {
            shown = Instant::now();
            progress.set_position(counts.records);
        }
    }
    labels.map_or(Ok(()), Lines::finish)?;
    let delivered = load.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(format!(
        "{}: {delivered} acknowledged by {topic} in {seconds:.1} s ({:.0}/s; at most {} ms behind schedule)",
        counts.describe(),
        delivered as f64 / seconds,
        behind.as_millis(),
    ))
}

fn write_key(key: &mut String, record: &Simulated) {
    use std::fmt::Write;
    key.clear();
    // Writing to a String cannot fail.
    let _ = write!(key, "{}", record.phone);
}

/// A record's CreateTime is its event time, but never ahead of the clock: brokers refuse the future.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_known_beforehand() {
        let steady = Schedule::Steady { per_second: 200.0 };
        assert_eq!(steady.due(0, 99), Duration::ZERO);
        assert_eq!(steady.due(200, 99), Duration::from_secs(1));
        let live = Schedule::Live { start_ms: 1_000 };
        assert_eq!(live.due(7, 3_500), Duration::from_millis(2_500));
        assert_eq!(live.due(7, 500), Duration::ZERO);
        assert_eq!(Schedule::Fast.due(1_000_000, 5), Duration::ZERO);
    }
}
