//! Requests that await the verdict of a transaction they produced. Two things must come, in either order: the broker's
//! acknowledgement, which names the transaction's place, and the accepted verdict of that place.
//!
//! Invariant: a request gets the verdict of its own record and of no other, though several requests and records may
//! bear one transaction id. Verdicts are kept only for ids that somebody awaits and whose place is not known yet, at
//! most [`EARLY`] an id; a request that gives up takes all of its own with it, so the map is bounded by the requests
//! under way. Generic in the verdict, so that its tests need no Kafka.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use dashmap::{DashMap, Entry};
use tokio::sync::oneshot;

/// Verdicts kept of one id before its place is known; the oldest goes first. More than one comes only where the same
/// id is sent again and again, and one that is lost leads to a 504, never to a wrong answer.
pub const EARLY: usize = 64;

/// Where a transaction lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition of both topics.
    pub partition: i32,
    /// The transaction's offset.
    pub offset: i64,
}

/// The requests under way, by transaction id.
pub struct Awaiting<V> {
    ids: DashMap<Box<str>, Awaited<V>>,
    /// How many requests there are, so that a verdict nobody awaits costs one look.
    requests: AtomicUsize,
    next: AtomicU64,
}

/// One id's requests, and its verdicts that came before their place was known.
struct Awaited<V> {
    requests: Vec<Waiter<V>>,
    early: VecDeque<(Place, V)>,
}

struct Waiter<V> {
    number: u64,
    place: Option<Place>,
    tell: oneshot::Sender<V>,
}

/// A request's place in the map; dropping it gives the place up.
pub struct Ticket<V> {
    awaiting: Arc<Awaiting<V>>,
    id: Box<str>,
    number: u64,
    /// The verdict, once both have come.
    pub verdict: oneshot::Receiver<V>,
}

impl<V> Default for Awaiting<V> {
    fn default() -> Self {
        Self { ids: DashMap::new(), requests: AtomicUsize::new(0), next: AtomicU64::new(0) }
    }
}

impl<V: Clone> Awaiting<V> {
    /// Registers a request; to be called before its record is produced.
    pub fn expect(self: &Arc<Self>, id: &str) -> Ticket<V> {
        let (tell, verdict) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut awaited = self.ids.entry(Box::from(id)).or_default();
        awaited.requests.push(Waiter { number, place: None, tell });
        drop(awaited);
        Ticket { awaiting: Arc::clone(self), id: Box::from(id), number, verdict }
    }

    /// The broker acknowledged the record of this request.
    pub fn placed(&self, id: &str, number: u64, place: Place) {
        let Some(mut awaited) = self.ids.get_mut(id) else { return };
        let Some(at) = awaited.requests.iter().position(|request| request.number == number) else { return };
        match awaited.early.iter().position(|(early, _)| *early == place) {
            None => awaited.requests[at].place = Some(place),
            Some(found) => {
                let request = awaited.requests.swap_remove(at);
                if let Some((_, verdict)) = awaited.early.remove(found) {
                    // An error says that the request gave up just now.
                    let _ = request.tell.send(verdict);
                }
            }
        }
        awaited.forget_early();
    }

    /// A verdict of this id counts.
    pub fn decided(&self, id: &str, place: Place, verdict: &V) {
        let Some(mut awaited) = self.ids.get_mut(id) else { return };
        match awaited.requests.iter().position(|request| request.place == Some(place)) {
            Some(at) => {
                let request = awaited.requests.swap_remove(at);
                // An error says that the request gave up just now.
                let _ = request.tell.send(verdict.clone());
            }
            None if awaited.requests.iter().any(|request| request.place.is_none()) => {
                if awaited.early.len() == EARLY {
                    awaited.early.pop_front();
                }
                awaited.early.push_back((place, verdict.clone()));
            }
            None => {}
        }
    }

    /// Whether nobody awaits anything.
    pub fn is_idle(&self) -> bool {
        self.requests.load(Ordering::SeqCst) == 0
    }
}

impl<V> Awaiting<V> {
    fn forget(&self, id: &str, number: u64) {
        if let Entry::Occupied(mut entry) = self.ids.entry(Box::from(id)) {
            let awaited = entry.get_mut();
            awaited.requests.retain(|request| request.number != number);
            awaited.forget_early();
            if awaited.requests.is_empty() {
                entry.remove();
            }
        }
        self.requests.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<V> Awaited<V> {
    /// Early verdicts are for requests without a place alone.
    fn forget_early(&mut self) {
        if self.requests.iter().all(|request| request.place.is_some()) {
            self.early.clear();
        }
    }
}

impl<V> Default for Awaited<V> {
    fn default() -> Self {
        Self { requests: Vec::new(), early: VecDeque::new() }
    }
}

impl<V> Ticket<V> {
    /// What [`Awaiting::placed`] is to be told of this request.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl<V> Drop for Ticket<V> {
    fn drop(&mut self) {
        self.awaiting.forget(&self.id, self.number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(offset: i64) -> Place {
        Place { partition: 0, offset }
    }

    #[test]
    fn the_verdict_is_told_whichever_of_verdict_and_acknowledgement_comes_first() {
        let awaiting = Arc::new(Awaiting::default());
        let mut late = awaiting.expect("T1");
        awaiting.placed("T1", late.number(), place(7));
        assert!(late.verdict.try_recv().is_err());
        awaiting.decided("T1", place(7), &"seven");
        assert_eq!(late.verdict.try_recv(), Ok("seven"));

        let mut early = awaiting.expect("T1");
        awaiting.decided("T1", place(8), &"eight");
        assert!(early.verdict.try_recv().is_err(), "it may be another record's of the same id");
        awaiting.placed("T1", early.number(), place(8));
        assert_eq!(early.verdict.try_recv(), Ok("eight"));
        drop((late, early));
        assert!(awaiting.is_idle() && awaiting.ids.is_empty());
    }

    #[test]
    fn a_verdict_of_the_same_id_at_another_place_is_nobodys() {
        let awaiting = Arc::new(Awaiting::default());
        let mut ticket = awaiting.expect("T1");
        awaiting.decided("T1", place(1), &1);
        awaiting.decided("T2", place(2), &2);
        awaiting.placed("T1", ticket.number(), place(2));
        awaiting.decided("T1", Place { partition: 1, offset: 2 }, &3);
        assert!(ticket.verdict.try_recv().is_err());
        assert!(awaiting.ids.get("T1").is_some_and(|awaited| awaited.early.is_empty()), "its place is known");
    }

    #[test]
    fn a_flood_of_one_id_is_bounded() {
        let awaiting = Arc::new(Awaiting::default());
        let mut ticket = awaiting.expect("T1");
        (0..10_000).for_each(|offset| awaiting.decided("T1", place(offset), &offset));
        assert_eq!(awaiting.ids.get("T1").map(|awaited| awaited.early.len()), Some(EARLY));
        awaiting.placed("T1", ticket.number(), place(9_999));
        assert_eq!(ticket.verdict.try_recv(), Ok(9_999));
    }

    /// What may happen to request `n` of a few that share ids.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        Acknowledged(usize),
        Decided(usize),
        GivenUp(usize),
    }

    /// All acknowledgements and verdicts of some requests in any order, and some that give up in between.
    fn histories() -> impl Strategy<Value = (Vec<usize>, Vec<Step>)> {
        (1_usize..12).prop_flat_map(|requests| {
            let ids = prop::collection::vec(0_usize..3, requests);
            let given_up = prop::collection::vec(any::<bool>(), requests);
            let steps = given_up.prop_flat_map(move |given_up| {
                let leaving = given_up.iter().enumerate().filter(|(_, leaves)| **leaves).map(|(n, _)| Step::GivenUp(n));
                let both = (0..requests).flat_map(|n| [Step::Acknowledged(n), Step::Decided(n)]);
                Just(both.chain(leaving).collect::<Vec<_>>()).prop_shuffle()
            });
            (ids, steps)
        })
    }

    proptest! {
        #[test]
        fn every_request_that_stays_gets_its_own_verdict_and_nothing_is_left_behind((ids, steps) in histories()) {
            let awaiting = Arc::new(Awaiting::default());
            let name = |n: usize| format!("T{}", ids[n]);
            let mut tickets: Vec<_> = (0..ids.len()).map(|n| Some(awaiting.expect(&name(n)))).collect();
            let numbers: Vec<u64> = tickets.iter().flatten().map(Ticket::number).collect();
            let mut seen = vec![(false, false); ids.len()];
            for step in steps {
                match step {
                    Step::Acknowledged(n) => {
                        seen[n].0 = true;
                        awaiting.placed(&name(n), numbers[n], place(n as i64));
                    }
                    Step::Decided(n) => {
                        seen[n].1 = true;
                        awaiting.decided(&name(n), place(n as i64), &n);
                    }
                    Step::GivenUp(n) => tickets[n] = None,
                }
                for (n, ticket) in tickets.iter_mut().enumerate() {
                    let Some(ticket) = ticket else { continue };
                    match ticket.verdict.try_recv() {
                        Ok(verdict) => {
                            prop_assert_eq!(verdict, n, "its own");
                            prop_assert_eq!(seen[n], (true, true));
                        }
                        Err(oneshot::error::TryRecvError::Empty) => prop_assert_ne!(seen[n], (true, true), "told at once"),
                        Err(oneshot::error::TryRecvError::Closed) => {}
                    }
                }
            }
            drop(tickets);
            prop_assert!(awaiting.is_idle() && awaiting.ids.is_empty());
        }
    }
}
