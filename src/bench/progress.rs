//! How far an output topic has come beside its process's CPU time, looked at again and again until it stands still.
//!
//! The stretch that is measured begins when every partition is at work: start, joining the group and recovery are
//! before it. It ends with the last record that landed.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{BenchError, child::Child, rig::Rig};

/// How often the topic's ends are asked for: each time costs the broker a request a partition.
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

/// What a stretch took.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Stretch {
    /// Records that landed in it.
    pub records: u64,
    /// How long it was.
    pub seconds: f64,
    /// CPU time of the process in it.
    pub cpu_seconds: f64,
}

impl Stretch {
    /// Records a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    /// CPU seconds per million records.
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.records as f64
    }

    fn between(first: &Look, last: &Look) -> Self {
        Self {
            records: last.landed - first.landed,
            seconds: (last.at - first.at).as_secs_f64(),
            cpu_seconds: (last.cpu - first.cpu).as_secs_f64(),
        }
    }
}

/// Watches `child` fill `topic` with `expected` records.
///
/// # Errors
/// The child ended, or the topic stopped growing too early.
pub fn watch(rig: &Rig, child: &mut Child, topic: &str, expected: u64) -> Result<Stretch, BenchError> {
    let warm = (expected as f64 * WARM_UP) as u64;
    let mut idle: Option<Look> = None;
    let mut first: Option<Look> = None;
    let mut last: Option<Look> = None;
    loop {
        thread::sleep(LOOK_EVERY);
        let ends = rig.ends(topic)?;
        let look = Look { at: Instant::now(), cpu: child.cpu()?, landed: ends.iter().sum() };
        let before = last.get_or_insert(look);
        if look.landed > before.landed {
            *before = look;
        }
        let since = look.at - before.at;
        if look.landed >= expected && since >= STILL {
            // A run too short for a warm-up is measured from its last idle look.
            let start = first.filter(|first| first.landed < before.landed).or(idle).unwrap_or(look);
            return Ok(Stretch::between(&start, before));
        }
        if since >= STUCK {
            return Err(BenchError::Stuck { topic: topic.to_owned(), landed: look.landed, expected });
        }
        if look.landed == 0 {
            idle = Some(look);
        } else if first.is_none() && look.landed >= warm && !ends.contains(&0) {
            first = Some(look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_what_lies_between_two_looks() {
        let at = Instant::now();
        let first = Look { at, cpu: Duration::from_secs(1), landed: 100 };
        let last = Look { at: at + Duration::from_secs(2), cpu: Duration::from_secs(4), landed: 1_000_100 };
        let stretch = Stretch::between(&first, &last);
        assert_eq!((stretch.per_second(), stretch.cpu_per_million()), (500_000.0, 3.0));
    }
}
