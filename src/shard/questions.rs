//! What a shard has asked and nobody has answered yet. Each question is worked on for a bounded time: one that finds no
//! answer goes to the back, and is taken up again no sooner than a moment later.
//!
//! Invariant: a question waits behind those that were there before it, each once, whatever becomes of them.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

use super::recover::{Answer, Question, Ticket};
use crate::kafka::tail::TailError;

/// How long to wait after a failure before trying again.
const AGAIN: Duration = Duration::from_millis(500);

/// Questions in the order in which they are worked on.
#[derive(Default)]
pub struct Questions {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Instant, Ticket, Question)>,
    closed: bool,
}

impl Questions {
    /// Asks, no sooner than after `pause`.
    pub fn ask(&self, ticket: Ticket, question: Question, pause: Duration) {
        self.state().waiting.push_back((Instant::now() + pause, ticket, question));
        self.more.notify_one();
    }

    /// Nobody waits for answers any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.more.notify_all();
    }

    /// Answers by `find` until closed, or nobody takes the answers.
    pub fn work(
        &self,
        answer: &Sender<(Ticket, Answer)>,
        mut find: impl FnMut(&Ticket, &Question) -> Result<Answer, TailError>,
    ) {
        while let Some((ticket, question)) = self.next() {
            match find(&ticket, &question) {
                Ok(found) => {
                    if answer.send((ticket, found)).is_err() {
                        return;
                    }
                }
                // Its partition went meanwhile.
                Err(TailError::Stopped) => {}
                Err(error) => {
                    let partition = ticket.partition;
                    match error {
                        // Readiness tells it for as long as it lasts.
                        TailError::Away { .. } => tracing::debug!(partition, %error, "recovery is tried again"),
                        _ => tracing::warn!(partition, %error, "recovery is tried again"),
                    }
                    self.ask(ticket, question, AGAIN);
                }
            }
        }
    }

    /// The first question that is due and not abandoned; `None` once closed.
    fn next(&self) -> Option<(Ticket, Question)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            state.waiting.retain(|(_, ticket, _)| !ticket.abandoned.load(Ordering::Relaxed));
            if let Some(at) = state.waiting.iter().position(|(due, ..)| *due <= now) {
                return state.waiting.remove(at).map(|(_, ticket, question)| (ticket, question));
            }
            let soonest = state.waiting.iter().map(|(due, ..)| due.saturating_duration_since(now)).min();
            state = match soonest {
                Some(pause) => {
                    self.more.wait_timeout(state, pause).map_or_else(|gone| gone.into_inner().0, |woken| woken.0)
                }
                None => self.more.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single push or remove: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Arc, atomic::AtomicBool, mpsc::channel},
        thread,
    };

    use super::*;
    use crate::kafka::tail::Span;

    fn ticket(partition: i32) -> Ticket {
        Ticket { partition, generation: 1, since: Instant::now(), abandoned: Arc::default() }
    }

    /// A finder for which these partitions have no leader as long as `away` is set; it notes whom it was asked about.
    fn without_leader<'t>(
        leaderless: &'t [i32],
        away: &'t AtomicBool,
        tried: &'t Mutex<Vec<i32>>,
    ) -> impl FnMut(&Ticket, &Question) -> Result<Answer, TailError> + 't {
        |ticket, _| {
            tried.lock().expect("whole").push(ticket.partition);
            if away.load(Ordering::Relaxed) && leaderless.contains(&ticket.partition) {
                let reason = String::from("no leader");
                return Err(TailError::Away { topic: String::from("in"), reason });
            }
            Ok(Answer::Spanned(Span { start: 0, end: 0 }))
        }
    }

    #[test]
    fn any_number_of_partitions_without_a_leader_keep_no_other_waiting_and_are_answered_when_they_have_one() {
        let leaderless = [0, 1, 2, 3, 4];
        let (away, tried) = (AtomicBool::new(true), Mutex::new(Vec::new()));
        let questions = Questions::default();
        let (answer, answers) = channel();
        (0..8).for_each(|partition| questions.ask(ticket(partition), Question::Look, Duration::ZERO));
        thread::scope(|scope| {
            for _ in 0..2 {
                let (questions, answer) = (&questions, answer.clone());
                let find = without_leader(&leaderless, &away, &tried);
                scope.spawn(move || questions.work(&answer, find));
            }
            let next = || answers.recv_timeout(Duration::from_secs(30)).expect("an answer").0.partition;
            assert_eq!(BTreeSet::from([next(), next(), next()]), BTreeSet::from([5, 6, 7]), "those with a leader");
            // Asked after the others failed, it comes round too.
            questions.ask(ticket(8), Question::Look, Duration::ZERO);
            assert_eq!(next(), 8);
            away.store(false, Ordering::Relaxed);
            let rest: BTreeSet<i32> = (0..5).map(|_| next()).collect();
            assert_eq!(rest, BTreeSet::from(leaderless));
            questions.close();
        });
        let tried = tried.into_inner().expect("whole");
        assert_eq!(tried[..8].iter().collect::<BTreeSet<_>>().len(), 8, "each once before any again: {tried:?}");
    }

    #[test]
    fn what_was_abandoned_is_not_worked_on() {
        let (away, tried) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let questions = Questions::default();
        let (answer, answers) = channel();
        let gone = ticket(1);
        gone.abandoned.store(true, Ordering::Relaxed);
        questions.ask(gone, Question::Look, Duration::ZERO);
        questions.ask(ticket(2), Question::Look, Duration::from_millis(20));
        thread::scope(|scope| {
            scope.spawn(|| questions.work(&answer, without_leader(&[], &away, &tried)));
            assert_eq!(answers.recv_timeout(Duration::from_secs(30)).expect("an answer").0.partition, 2);
            questions.close();
        });
        assert_eq!(*tried.lock().expect("whole"), [2]);
    }
}
