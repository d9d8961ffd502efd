//! Where one session stands in the live stream, and the rule for slow clients: one that lags behind first gets only
//! alerts and figures; caught up again, it is told what was left out; one that lags behind those too, or again and
//! again, is closed.
//!
//! Invariant: the cursor a client is given never lies beyond a verdict that it wanted and was not sent, but for those
//! that a gap frame named. Pure: time is an argument.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backlog::Backlog,
    item::{Body, Item},
};
use crate::kafka::tail::{Position, Positions};

/// So many lapses within [`LAPSE_WINDOW`] are one too many.
const MOST_LAPSES: usize = 3;

/// The time over which lapses are counted.
const LAPSE_WINDOW: Duration = Duration::from_secs(60);

/// Where a session stands.
#[derive(Clone, Debug)]
pub struct Place {
    at: At,
    /// Whether its filter lets only alerts through, so that the ring of alerts is enough.
    alerts_only: bool,
    /// Where its own cursor stood, by partition: what lies below was sent before. Empty where it came without.
    came: Vec<Position>,
    /// The newest cursor it was given.
    told: Arc<str>,
    lapse: Option<Lapse>,
    lapses: VecDeque<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The number of the next frame.
    All(u64),
    /// The place of the next one among alerts.
    Alerts(u64),
}

/// While a session gets only alerts because it was slow.
#[derive(Clone, Debug)]
struct Lapse {
    from: u64,
    seen: u64,
    cursor: Arc<str>,
}

/// What a session does next.
#[derive(Debug)]
pub enum Took {
    /// Send those that the filter wants.
    Items(Vec<Arc<Item>>),
    /// Tell that so many verdicts were left out behind this cursor; from here on all is sent again.
    CaughtUp {
        /// Verdicts and figures not looked at.
        left_out: u64,
        /// The cursor that brings them back.
        cursor: Arc<str>,
    },
    /// Nothing new.
    Nothing,
    /// Close: the client does not keep up.
    TooSlow,
}

impl Place {
    /// At frame `seq`, having been given `cursor`; verdicts below the positions it came with were sent before.
    pub fn new(seq: u64, cursor: Arc<str>, came: Vec<Position>) -> Self {
        Self { at: At::All(seq), alerts_only: false, came, told: cursor, lapse: None, lapses: VecDeque::new() }
    }

    /// Takes notice of a new filter.
    pub fn filter(&mut self, alerts_only: bool, backlog: &Backlog) {
        self.alerts_only = alerts_only;
        self.settle(backlog);
    }

    /// The next frames, at most `most`.
    pub fn take(&mut self, backlog: &Backlog, most: usize, now: Instant) -> Took {
        if let At::All(next) = self.at {
            let lag = backlog.next().saturating_sub(next);
            match backlog.from(next, most) {
                Some(items) if lag <= backlog.patience() => {
                    self.at = At::All(next + items.len() as u64);
                    return self.took(items);
                }
                _ if !self.lapses_begin(next, backlog, now) => return Took::TooSlow,
                _ => {}
            }
        }
        let At::Alerts(at) = self.at else { return Took::Nothing };
        let Some(items) = backlog.alerts_from(at, most) else { return Took::TooSlow };
        if items.is_empty() && self.lapse.is_some() {
            return self.lapse_ends(backlog);
        }
        self.at = At::Alerts(at + items.len() as u64);
        if let Some(lapse) = &mut self.lapse {
            lapse.seen += items.len() as u64;
        }
        self.took(items)
    }

    /// Whether a verdict is news: not before the cursor the session came with.
    pub fn is_news(&self, partition: i32, offset: i64) -> bool {
        let came = usize::try_from(partition).ok().and_then(|partition| self.came.get(partition));
        came.is_none_or(|came| offset >= came.next)
    }

    /// While it gets only alerts: the cursor from before the first verdict left out.
    pub fn lapsed(&self) -> Option<&Arc<str>> {
        self.lapse.as_ref().map(|lapse| &lapse.cursor)
    }

    /// The cursor after all that was taken.
    pub fn cursor(&self, backlog: &Backlog) -> Arc<str> {
        if let Some(lapse) = &self.lapse {
            return Arc::clone(&lapse.cursor);
        }
        let seq = match self.at {
            At::All(next) => Some(next),
            At::Alerts(at) => backlog.seq_of_alert(at),
        };
        let exact = seq.and_then(|seq| backlog.positions_at(seq)).map(|positions| self.ahead(positions).cursor());
        exact.map_or_else(|| Arc::clone(&self.told), Arc::from)
    }

    /// Positions, but not before those the session came with.
    fn ahead(&self, mut positions: Positions) -> Positions {
        for (position, came) in positions.partitions.iter_mut().zip(&self.came) {
            if position.next < came.next {
                *position = *came;
            }
        }
        positions
    }

    fn took(&mut self, items: Vec<Arc<Item>>) -> Took {
        let newest = items.iter().rev().find_map(|item| match &item.body {
            Body::Stats { cursor, .. } => Some(cursor),
            _ => None,
        });
        if let (Some(cursor), None) = (newest, &self.lapse) {
            self.told = Arc::clone(cursor);
        }
        if items.is_empty() { Took::Nothing } else { Took::Items(items) }
    }

    /// Goes over to alerts; false where that does not help any more.
    fn lapses_begin(&mut self, next: u64, backlog: &Backlog, now: Instant) -> bool {
        while self.lapses.front().is_some_and(|then| now.saturating_duration_since(*then) > LAPSE_WINDOW) {
            self.lapses.pop_front();
        }
        let cursor = self.cursor(backlog);
        self.lapses.push_back(now);
        let Some(at) = backlog.alerts_place(next) else { return false };
        if self.lapses.len() >= MOST_LAPSES {
            return false;
        }
        self.at = At::Alerts(at);
        self.lapse = Some(Lapse { from: next, seen: 0, cursor });
        true
    }

    fn lapse_ends(&mut self, backlog: &Backlog) -> Took {
        let Some(Lapse { from, seen, cursor }) = self.lapse.take() else { return Took::Nothing };
        self.at = At::All(backlog.next());
        self.settle(backlog);
        Took::CaughtUp { left_out: (backlog.next() - from).saturating_sub(seen), cursor }
    }

    /// Reads the ring that its filter needs, where it is not lapsed.
    fn settle(&mut self, backlog: &Backlog) {
        if self.lapse.is_some() {
            return;
        }
        let moved = match (self.at, self.alerts_only) {
            (At::All(next), true) => backlog.alerts_place(next).map(At::Alerts),
            (At::Alerts(at), false) => backlog.seq_of_alert(at).map(At::All),
            _ => None,
        };
        self.at = moved.unwrap_or(self.at);
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
