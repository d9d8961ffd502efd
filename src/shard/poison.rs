//! A record that the program fails on: the panic is caught, the partition's state is thrown away and rebuilt without the
//! record, and its verdict says `internal_error`, which every replay honours. Twice at one offset, and the partition
//! stops alone.
//!
//! Invariant: nothing that a panic may have half changed is used again, and nothing of a record gets into a line: the
//! panic's message, which may quote it, is not printed, only its place in the code. What ends the process at once (a
//! full stack, no memory, a signal) cannot be caught, and scoring, which sees rows of a whole batch, is not: such a record
//! is got over by `sentra partition skip`.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{self, AssertUnwindSafe},
    sync::{Once, OnceLock},
    time::Duration,
};

use super::{
    Shard,
    slot::{Crash, Slot},
};
use crate::telemetry::facts::{Fact, RecordCrashed};

/// So many crashes at one offset of a partition stop it, in this process.
const MOST_CRASHES: usize = 2;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics inside [`guarded`] leave their place to its caller; all others are told as before. Once a process, and
/// behind [`crate::telemetry::init_log`], whose hook tells those.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                let place = info.location().map_or_else(|| String::from("an unknown place"), ToString::to_string);
                PLACE.set(place);
            } else {
                others(info);
            }
        }));
    });
}

/// Does the work.
///
/// # Errors
/// It panicked: at this place in the code. The caller uses nothing again that the work was about to change.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.map_err(|_| PLACE.take())
}

/// What a test has done with each record, by partition and offset, once it is applied.
static TRAP: OnceLock<fn(i32, i64)> = OnceLock::new();

/// Sets what is called behind each record applied, for tests in this process; no setting reaches it.
#[doc(hidden)]
pub fn set_trap(trap: fn(i32, i64)) {
    // The first one stays: a second is a test's own mistake, and its assertions say so.
    let _ = TRAP.set(trap);
}

/// Where a test may have the record fail, after it has changed all that it can.
pub fn spring(partition: i32, offset: i64) {
    if let Some(trap) = TRAP.get() {
        trap(partition, offset);
    }
}

/// How often which records crashed, by partition: ownerships come and go.
#[derive(Default)]
pub struct Crashes(HashMap<i32, BTreeMap<i64, usize>>);

impl Crashes {
    /// Counts one more; how many it were at this offset.
    fn count(&mut self, partition: i32, offset: i64) -> usize {
        let times = self.0.entry(partition).or_default().entry(offset).or_default();
        *times += 1;
        *times
    }

    /// The records that are not to be applied: those `settled` names, and those above `last` (h) that crashed here.
    /// Crashes at the former are settled too, and forgotten.
    pub fn given_up(&mut self, partition: i32, last: i64, settled: BTreeSet<i64>) -> BTreeSet<i64> {
        let Some(crashed) = self.0.get_mut(&partition) else { return settled };
        crashed.retain(|offset, _| !settled.contains(offset));
        let above = crashed.range(last + 1..).map(|(offset, _)| *offset);
        settled.into_iter().chain(above).collect()
    }
}

impl Shard {
    /// Rebuilds the partitions that a record crashed in since the last call, or stops them.
    pub(super) fn recover_crashed(&mut self) {
        let crashed = |slot: &mut Slot| Some((slot.partition, slot.crash.take()?));
        let crashed: Vec<(i32, Crash)> = self.slots.values_mut().filter_map(crashed).collect();
        for (partition, Crash { offset, place }) in crashed {
            let times = self.crashes.count(partition, offset);
            RecordCrashed { partition, offset, place: &place, times }.emit(&self.shared.telemetry);
            self.stand_still(partition);
            self.claim_anew(partition, Duration::ZERO);
            if times >= MOST_CRASHES {
                let why = format!(
                    "the program failed {times} times on the record at offset {offset}, last at {place}; report that \
                     place, and run a version that does not fail on it"
                );
                self.refuse(partition, &why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_place_alone_and_the_thread_goes_on() {
        watch_panics();
        let place = guarded(|| -> () { panic!("+254712345678") }).expect_err("it panics");
        assert!(place.starts_with(file!()) && !place.contains("254"), "{place}");
        assert_eq!(guarded(|| 7), Ok(7));
        let nested = guarded(|| guarded(|| -> () { panic!("inner") }).is_err() && GUARDED.get());
        assert_eq!((nested, GUARDED.get()), (Ok(true), false));
    }

    #[test]
    fn a_record_that_crashed_is_given_up_above_h_until_its_verdict_says_so_for_good() {
        let mut crashes = Crashes::default();
        let settled = |offsets: &[i64]| offsets.iter().copied().collect::<BTreeSet<i64>>();
        assert_eq!(crashes.given_up(0, 10, settled(&[4])), settled(&[4]));
        assert_eq!((crashes.count(0, 11), crashes.count(1, 11), crashes.count(0, 7)), (1, 1, 1));
        // What was judged before it crashed in replay stays in the state: its verdict counts.
        assert_eq!(crashes.given_up(0, 10, settled(&[4])), settled(&[4, 11]));
        assert_eq!(crashes.given_up(0, 12, settled(&[4, 11])), settled(&[4, 11]));
        assert_eq!((crashes.count(0, 7), crashes.count(0, 11)), (2, 1));
    }
}
