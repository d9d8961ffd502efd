//! Window step and features by the thread's CPU clock, and the memory a million phones take.

use std::{hint::black_box, sync::Arc};

use super::{
    clock::{median, thread_cpu_ns},
    traffic::{Habits, Traffic},
};
use crate::{
    domain::{
        identity::LogId,
        rules::{Counted, Rules},
    },
    engine::partition::{Partition, Place},
};

/// Phones that take turns in the figure for 20 events: their state does not fit the first cache.
const PHONES_IN_TURN: u64 = 1_000;

const ROUNDS: usize = 31;

const STEPS_A_ROUND: u64 = 1_000;

/// Events an ordinary phone has in its ring.
pub const EVENTS: u64 = 20;

/// Events a hot phone has in its ring.
pub const HOT_EVENTS: u64 = 20_000;

/// CPU nanoseconds of identities, windows, features and insertion, without decoding.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct WindowFigures {
    /// As the line runs: windows count what the features read.
    #[serde(flatten)]
    pub read: StepFigures,
    /// With everything counted in every window.
    pub all: StepFigures,
}

/// The same for two phones.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct StepFigures {
    /// A phone with 20 events, among a thousand such.
    pub phone20_ns: f64,
    /// A phone with 20,000 events, in order.
    pub hot20k_ns: f64,
}

impl WindowFigures {
    /// Both, each with what to say of it.
    pub fn by_what(&self) -> [(&'static str, StepFigures); 2] {
        [("", self.read), (", all counted", self.all)]
    }
}

/// Bytes a phone at 20 events, profile included.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct MemoryFigures {
    /// Phones measured.
    pub phones: u64,
    /// Rings, as the state counts them.
    pub ring_bytes_per_phone: f64,
    /// Profiles, entries and table, as the state counts them.
    pub profile_bytes_per_phone: f64,
    /// Both, as the allocator counts them; `None` where the program runs on another allocator than jemalloc.
    pub allocator_bytes_per_phone: Option<f64>,
}

impl MemoryFigures {
    /// Ring and profile together: as the allocator counts, where it does.
    pub fn bytes_per_phone(&self) -> f64 {
        self.allocator_bytes_per_phone.unwrap_or(self.ring_bytes_per_phone + self.profile_bytes_per_phone)
    }
}

/// A partition that judges traffic.
#[derive(Debug)]
pub struct Bench {
    /// Its state.
    pub partition: Partition,
    /// What comes next.
    pub traffic: Traffic,
}

impl Bench {
    /// State with every ring filled, by the default rules.
    pub fn filled(habits: Habits) -> Self {
        Self::filled_by(Rules::default(), habits)
    }

    fn filled_by(rules: Rules, habits: Habits) -> Self {
        let place = Place { log: LogId(*b"measured topic's"), partition: 0, partitions: 1 };
        let partition = Partition::new(Arc::new(rules), place, 0);
        let mut bench = Self { partition, traffic: Traffic::new(habits) };
        let mut left = bench.traffic.to_fill();
        while left > 0 {
            let steps = left.min(100 * STEPS_A_ROUND);
            bench.steps(steps);
            left -= steps;
        }
        bench
    }

    /// Steps through the next `count` transactions; CPU nanoseconds each.
    pub fn steps(&mut self, count: u64) -> f64 {
        let names = self.traffic.names(count);
        let arrivals: Vec<_> = (0..count as usize).map(|at| self.traffic.next(&names, at)).collect();
        let start = thread_cpu_ns();
        for (transaction, record) in arrivals {
            black_box(self.partition.step_decoded(transaction, &record));
        }
        (thread_cpu_ns() - start) as f64 / count as f64
    }
}

/// Measures the window step, each figure the median of its rounds.
pub fn measure_windows() -> WindowFigures {
    let [read, all] = [Counted::FEATURES, Counted::ALL].map(|counted| {
        let filled = |habits| Bench::filled_by(Rules { counted, ..Rules::default() }, habits);
        let mut ordinary = filled(Habits { phones: PHONES_IN_TURN, events: EVENTS, counterparties: 8 });
        let mut hot = filled(Habits { phones: 1, events: HOT_EVENTS, counterparties: 5_000 });
        let (mut phone20, mut hot20k) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            phone20.push(ordinary.steps(STEPS_A_ROUND));
            hot20k.push(hot.steps(STEPS_A_ROUND));
        }
        StepFigures { phone20_ns: median(phone20), hot20k_ns: median(hot20k) }
    });
    WindowFigures { read, all }
}

/// Builds the state of `phones` phones at 20 events each and measures it.
pub fn measure_memory(phones: u64) -> MemoryFigures {
    let before = allocated();
    let bench = Bench::filled(Habits { phones, events: EVENTS, counterparties: 8 });
    let taken = before.zip(allocated()).map(|(before, after)| (after - before) as f64 / phones as f64);
    let footprint = bench.partition.footprint();
    MemoryFigures {
        phones,
        ring_bytes_per_phone: footprint.ring as f64 / phones as f64,
        profile_bytes_per_phone: footprint.profile as f64 / phones as f64,
        allocator_bytes_per_phone: taken,
    }
}

/// Bytes allocated now; `None` where jemalloc does not serve this program.
fn allocated() -> Option<i64> {
    use tikv_jemalloc_ctl::{epoch, stats};
    epoch::advance().ok()?;
    let used = stats::allocated::read().ok()? as i64;
    let probe = vec![1_u8; 1 << 20];
    epoch::advance().ok()?;
    let served = stats::allocated::read().ok()? as i64 - used >= 1 << 20;
    black_box(probe);
    served.then_some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_bench_has_the_events_it_promises() {
        let mut bench = Bench::filled(Habits { phones: 50, events: EVENTS, counterparties: 8 });
        assert_eq!(bench.partition.phones(), 50);
        assert!(bench.steps(50) >= 0.0);
        let footprint = bench.partition.footprint();
        let least = EVENTS as usize * 50;
        assert!((least..2 * least).contains(&(footprint.ring / 50)), "{footprint:?}");
    }
}
