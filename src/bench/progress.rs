//! How far an output topic has come beside its process's CPU time, looked at again and again until it stands still.
//!
//! CPU time counts from the moment before the first record landed, as a client reads far ahead of what it has
//! written; the clock from when every partition is at work, as joining the group and recovery are no draining.
//! Both end with the last record that landed.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{BenchError, child::Child, rig::Rig};

/// How often the topic's ends are asked for before the first record: the client reads ahead fast.
const LOOK_EVERY_AT_FIRST: Duration = Duration::from_millis(15);

/// How often afterwards: each time costs the broker a request a partition.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An output that has all its records and did not grow for so long is complete.
const STILL: Duration = Duration::from_millis(1_200);

/// How long an output may stand still short of its end before the run is given up.
const STUCK: Duration = Duration::from_secs(60);

/// The share of the records that must have landed before measuring begins.
const WARM_UP: f64 = 0.02;

/// One look.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    cpu: Duration,
    landed: u64,
}

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Stretch {
    /// Records that landed while all partitions were at work.
    pub records: u64,
    /// How long that took.
    pub seconds: f64,
    /// Records that landed in all.
    pub landed: u64,
    /// CPU time of the process from just before the first of them.
    pub cpu_seconds: f64,
}

impl Stretch {
    /// Records a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// CPU seconds per million records.
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.landed as f64
    }

    fn of(idle: &Look, working: &Look, last: &Look) -> Self {
        Self {
            records: last.landed - working.landed,
            seconds: (last.at - working.at).as_secs_f64(),
            landed: last.landed - idle.landed,
            cpu_seconds: (last.cpu.saturating_sub(idle.cpu)).as_secs_f64(),
        }
    }
}

/// Watches `child` fill `topic` with `expected` records.
///
/// # Errors
/// The child ended, or the topic stopped growing too early.
pub fn watch(rig: &Rig, child: &mut Child, topic: &str, expected: u64) -> Result<Stretch, BenchError> {
    let warm = (expected as f64 * WARM_UP) as u64;
    let mut idle = Look { at: Instant::now(), cpu: child.cpu()?, landed: 0 };
    let mut working: Option<Look> = None;
    let mut last = idle;
    loop {
        thread::sleep(if last.landed == 0 { LOOK_EVERY_AT_FIRST } else { LOOK_EVERY });
        let ends = rig.ends(topic)?;
        let look = Look { at: Instant::now(), cpu: child.cpu()?, landed: ends.iter().sum() };
        if look.landed > last.landed {
            last = look;
        }
        let since = look.at - last.at;
        if look.landed >= expected && since >= STILL {
            // A run too short for a warm-up is measured from its last idle look.
            let working = working.filter(|working| working.landed < last.landed).unwrap_or(idle);
            return Ok(Stretch::of(&idle, &working, &last));
        }
        if since >= STUCK {
            return Err(BenchError::Stuck { topic: topic.to_owned(), landed: look.landed, expected });
        }
        if look.landed == 0 {
            idle = look;
        } else if working.is_none() && look.landed >= warm && !ends.contains(&0) {
            working = Some(look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_counts_from_all_at_work_and_cpu_from_the_first_record() {
        let at = Instant::now();
        let look = |seconds: u64, landed| Look {
            at: at + Duration::from_secs(seconds),
            cpu: Duration::from_secs(seconds),
            landed,
        };
        let stretch = Stretch::of(&look(1, 0), &look(3, 100_000), &look(5, 1_000_000));
        assert_eq!((stretch.per_second(), stretch.cpu_per_million()), (450_000.0, 4.0));
    }
}
