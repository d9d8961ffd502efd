//! Whether the line keeps up, partition by partition, as the requests' own verdicts tell: while one lags, a request for
//! it is refused at once, for it would only lengthen the queue that it then waits in till its deadline.
//!
//! Invariant: what is let through can be answered in time as far as is known: a partition lags once a request has waited
//! for half of the deadline, so that those let through behind it still have the other half. While it lags, one request
//! at a time goes through and finds out, so that it recovers by itself. Pure: time is an argument, and nothing is known
//! of Kafka.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    domain::partitioner::partition_of,
    feed::{Accepted, Listener},
    kafka::tail::Positions,
};

/// After a request that had no verdict at all, so long none is let through.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The line as this process's requests see it.
pub struct Pace {
    /// A verdict that comes later says that its partition lags.
    bound: Duration,
    partitions: Mutex<Vec<Partition>>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// A request under way: the oldest one, or not much younger.
    watched: Option<Instant>,
    lags: bool,
    /// While it lags, not before this.
    probe_at: Option<Instant>,
}

/// A request under way; dropping it says that nothing was learnt from it.
pub struct Run<'p> {
    pace: &'p Pace,
    partition: usize,
    began: Instant,
    watched: bool,
}

/// The partition lags: another request would wait in vain.
#[derive(Debug, PartialEq, Eq)]
pub struct Behind;

impl Pace {
    /// For requests that wait so long.
    pub fn new(deadline: Duration) -> Self {
        Self { bound: deadline / 2, partitions: Mutex::default() }
    }

    /// A request with this key wants to begin.
    ///
    /// # Errors
    /// Its partition lags.
    pub fn begin(&self, key: &[u8], now: Instant) -> Result<Run<'_>, Behind> {
        let mut partitions = self.partitions();
        let number = usize::try_from(partition_of(key, partitions.len() as i32)).unwrap_or_default();
        let watched = match partitions.get_mut(number) {
            Some(partition) => partition.begin(self.bound, now)?,
            // Nothing is followed yet, which is refused elsewhere.
            None => false,
        };
        Ok(Run { pace: self, partition: number, began: now, watched })
    }

    fn partitions(&self) -> MutexGuard<'_, Vec<Partition>> {
        // Each change is whole by itself: a panic elsewhere leaves nothing half done.
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    /// Lets a request in; true where it is the one that is watched.
    fn begin(&mut self, bound: Duration, now: Instant) -> Result<bool, Behind> {
        self.lags |= self.watched.is_some_and(|since| now.saturating_duration_since(since) > bound);
        let waits = self.watched.is_some() || self.probe_at.is_some_and(|at| now < at);
        if self.lags && waits {
            return Err(Behind);
        }
        let watched = self.watched.is_none();
        self.watched.get_or_insert(now);
        Ok(watched)
    }

    /// A request's verdict came after so long, or not before its deadline.
    fn ended(&mut self, took: Option<Duration>, bound: Duration, now: Instant) {
        self.lags = took.is_none_or(|took| took > bound);
        // A verdict, however late, says that the line moves: the next request may find out at once.
        self.probe_at = if took.is_none() { Some(now + PROBE_EVERY) } else { None };
    }
}

impl Run<'_> {
    /// Its verdict came.
    pub fn answered(self, now: Instant) {
        let took = now.saturating_duration_since(self.began);
        self.ended(Some(took), now);
    }

    /// Its record lies in the topic, and its verdict did not come within the deadline.
    pub fn unanswered(self, now: Instant) {
        self.ended(None, now);
    }

    fn ended(&self, took: Option<Duration>, now: Instant) {
        if let Some(partition) = self.pace.partitions().get_mut(self.partition) {
            partition.ended(took, self.pace.bound, now);
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.watched
            && let Some(partition) = self.pace.partitions().get_mut(self.partition)
        {
            partition.watched = None;
        }
    }
}

impl Listener for Pace {
    fn accepted(&self, _: &Arc<Accepted>) {}

    fn opened(&self, positions: &Positions) {
        *self.partitions() = vec![Partition::default(); positions.partitions.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(200);
    const HALF: Duration = Duration::from_millis(100);
    const LONGER: Duration = Duration::from_millis(101);

    fn pace(partitions: usize) -> (Pace, Instant) {
        let pace = Pace::new(DEADLINE);
        *pace.partitions() = vec![Partition::default(); partitions];
        (pace, Instant::now())
    }

    #[test]
    fn while_verdicts_come_in_time_all_requests_go_through() {
        let (pace, now) = pace(1);
        let first = pace.begin(b"a", now).expect("nothing speaks against it");
        let second = pace.begin(b"b", now + HALF).expect("the first has not waited too long");
        first.answered(now + HALF);
        second.answered(now + HALF * 2);
        assert!(pace.begin(b"c", now + HALF * 2).is_ok());
    }

    #[test]
    fn behind_one_that_waits_for_half_of_its_deadline_none_goes_through_until_one_finds_out() {
        let (pace, now) = pace(1);
        let waiting = pace.begin(b"a", now).expect("the first");
        assert!(pace.begin(b"a", now + LONGER).is_err());
        waiting.answered(now + LONGER);
        let probe = pace.begin(b"a", now + LONGER).expect("the line moves: one may find out");
        assert!(pace.begin(b"a", now + LONGER).is_err(), "one at a time");
        probe.answered(now + LONGER + HALF);
        let again = [pace.begin(b"a", now + LONGER + HALF), pace.begin(b"a", now + LONGER + HALF)];
        assert!(again.iter().all(Result::is_ok), "it has recovered");
    }

    #[test]
    fn a_line_that_stands_still_is_asked_once_a_second() {
        let (pace, now) = pace(1);
        pace.begin(b"a", now).expect("the first").unanswered(now + DEADLINE);
        assert!(pace.begin(b"a", now + DEADLINE).is_err());
        let later = now + DEADLINE + PROBE_EVERY;
        assert!(pace.begin(b"a", later - HALF).is_err());
        pace.begin(b"a", later).expect("one finds out").unanswered(later + DEADLINE);
        assert!(pace.begin(b"a", later + PROBE_EVERY).is_err());
        pace.begin(b"a", later + DEADLINE + PROBE_EVERY).expect("and another").answered(later + DEADLINE + PROBE_EVERY);
        let moves = later + DEADLINE + PROBE_EVERY;
        assert!(pace.begin(b"a", moves).is_ok() && pace.begin(b"a", moves).is_ok());
    }

    #[test]
    fn a_request_whose_client_left_says_nothing_and_holds_nothing() {
        let (pace, now) = pace(1);
        drop(pace.begin(b"a", now));
        assert!(pace.begin(b"a", now + LONGER * 9).is_ok());
    }

    #[test]
    fn one_partition_that_lags_is_not_the_others_fault() {
        let (pace, now) = pace(2);
        let keys = [&b"a"[..], b"b", b"c", b"d", b"e"];
        let of = |partition| keys.into_iter().find(|key| partition_of(key, 2) == partition).expect("one of five");
        pace.begin(of(0), now).expect("the first").unanswered(now + DEADLINE);
        assert!(pace.begin(of(0), now + DEADLINE).is_err());
        assert!(pace.begin(of(1), now + DEADLINE).is_ok());
    }
}
