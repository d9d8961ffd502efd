//! The newest frames of the live stream, shared by all sessions: one ring of everything and one of what goes to those
//! who get only alerts. Each session reads at its own place in them, so that a client that never reads costs nothing
//! here; a place that fell out of its ring is for the session to settle.
//!
//! Invariant: both rings are bounded in frames and bytes. Positions at any frame still held are exact: they are those
//! before the oldest one, moved past each verdict since. Pure.

use std::{collections::VecDeque, sync::Arc};

use super::item::{Body, Item};
use crate::kafka::tail::{Position, Positions};

/// How much a ring holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Frames.
    pub frames: usize,
    /// Bytes of their texts, and of the verdicts these are made of.
    pub bytes: usize,
}

/// The live stream's newest frames.
#[derive(Debug)]
pub struct Backlog {
    /// After the newest frame; none until the topic is open.
    positions: Option<Positions>,
    /// Before the oldest frame at or above `floor`.
    base: Option<Positions>,
    /// Frames below it are of before the topic was opened (anew): no cursor leads into them.
    floor: u64,
    all: Ring,
    alerts: Ring,
}

/// Where a cursor joins the live stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// At this frame; verdicts below the cursor's own offsets are to be skipped.
    At(u64),
    /// Not yet: verdicts between the cursor and the backlog must be read from the topic.
    Behind,
    /// Never: the cursor is of another topic or log.
    Foreign,
    /// Not yet: the topic is not open.
    Closed,
}

#[derive(Debug)]
struct Ring {
    limit: Limit,
    /// The number, within this ring, of the oldest item held.
    first: u64,
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    /// One past the sequence number of the newest item dropped.
    dropped: u64,
}

impl Backlog {
    /// An empty backlog.
    pub fn new(all: Limit, alerts: Limit) -> Self {
        Self { positions: None, base: None, floor: 0, all: Ring::new(all), alerts: Ring::new(alerts) }
    }

    /// The topic was opened, or opened anew after its place was lost.
    pub fn open(&mut self, positions: Positions) {
        self.floor = self.next();
        self.base = Some(positions.clone());
        self.positions = Some(positions);
    }

    /// The number of the next frame.
    pub fn next(&self) -> u64 {
        self.all.next()
    }

    /// Adds a frame; its number is [`Self::next`].
    pub fn push(&mut self, item: Item) {
        debug_assert_eq!(item.seq, self.next());
        if let (Body::Verdict(verdict), Some(positions)) = (&item.body, &mut self.positions) {
            verdict.pass(positions);
        }
        let item = Arc::new(item);
        if item.is_for_alerts() {
            self.alerts.push(Arc::clone(&item));
            while self.alerts.pop_beyond_limit().is_some() {}
        }
        self.all.push(item);
        while let Some(old) = self.all.pop_beyond_limit() {
            if let (Body::Verdict(verdict), Some(base), true) = (&old.body, &mut self.base, old.seq >= self.floor) {
                verdict.pass(base);
            }
        }
    }

    /// Positions after the newest frame.
    pub fn positions(&self) -> Option<&Positions> {
        self.positions.as_ref()
    }

    /// Positions before frame `seq`, as far as they are known.
    pub fn positions_at(&self, seq: u64) -> Option<Positions> {
        if seq == self.next() {
            return self.positions.clone();
        }
        let from = self.floor.max(self.all.first);
        let skip = usize::try_from(from - self.all.first).ok()?;
        let count = usize::try_from(seq.checked_sub(from)?).ok()?;
        let mut positions = self.base.clone()?;
        for item in self.all.items.iter().skip(skip).take(count) {
            if let Body::Verdict(verdict) = &item.body {
                verdict.pass(&mut positions);
            }
        }
        Some(positions)
    }

    /// Where these positions join. `proven` ones were reached by reading the topic, so that they may also lie ahead
    /// of what this process has read.
    pub fn join(&self, cursor: &Positions, proven: bool) -> Join {
        let (Some(positions), Some(base)) = (&self.positions, &self.base) else { return Join::Closed };
        let other_log = cursor.log.is_some() && positions.log.is_some() && cursor.log != positions.log;
        if cursor.topic != positions.topic || cursor.partitions.len() != positions.partitions.len() || other_log {
            return Join::Foreign;
        }
        let next = |positions: &Positions| positions.partitions.iter().map(|at| at.next).collect::<Vec<_>>();
        let (from, to) = (next(base), next(positions));
        let fits = |at: &Position| {
            let partition = usize::try_from(at.partition).unwrap_or(usize::MAX);
            let (Some(from), Some(to)) = (from.get(partition), to.get(partition)) else { return false };
            at.next >= *from && (proven || at.next <= *to)
        };
        if !cursor.partitions.iter().all(fits) {
            return Join::Behind;
        }
        let seq = self.first_news(cursor);
        // One that would lag from the start is better served from the topic.
        if self.next() - seq <= self.patience() / 2 { Join::At(seq) } else { Join::Behind }
    }

    /// The first frame that positions have not passed.
    fn first_news(&self, cursor: &Positions) -> u64 {
        let is_news = |item: &&Arc<Item>| match &item.body {
            Body::Verdict(verdict) if item.seq >= self.floor => {
                let (partition, offset) = verdict.place();
                let at = usize::try_from(partition).ok().and_then(|partition| cursor.partitions.get(partition));
                at.is_some_and(|at| offset >= at.next)
            }
            _ => false,
        };
        self.all.items.iter().find(is_news).map_or(self.next(), |item| item.seq)
    }

    /// At most `most` frames from `seq` on; `None` where it fell out.
    pub fn from(&self, seq: u64, most: usize) -> Option<Vec<Arc<Item>>> {
        self.all.from(seq, most)
    }

    /// At most `most` frames for alerts from place `at` on; `None` where it fell out.
    pub fn alerts_from(&self, at: u64, most: usize) -> Option<Vec<Arc<Item>>> {
        self.alerts.from(at, most)
    }

    /// The place among alerts of the first frame at or above `seq`; `None` where one of those fell out.
    pub fn alerts_place(&self, seq: u64) -> Option<u64> {
        let ahead = self.alerts.items.partition_point(|item| item.seq < seq);
        (seq >= self.alerts.dropped).then(|| self.alerts.first + ahead as u64)
    }

    /// The frame number at place `at` among alerts, the next frame's where nothing is there yet; `None` where it
    /// fell out.
    pub fn seq_of_alert(&self, at: u64) -> Option<u64> {
        let index = usize::try_from(at.checked_sub(self.alerts.first)?).ok()?;
        Some(self.alerts.items.get(index).map_or(self.next(), |item| item.seq))
    }

    /// How many frames a session may lag behind before it counts as slow: half of the ring, so that its cursor is
    /// still exact then.
    pub fn patience(&self) -> u64 {
        (self.all.limit.frames / 2) as u64
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        // Items of both rings are counted twice here: an upper bound.
        self.all.bytes + self.alerts.bytes
    }
}

impl Ring {
    fn new(limit: Limit) -> Self {
        Self { limit, first: 0, items: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn push(&mut self, item: Arc<Item>) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    fn pop_beyond_limit(&mut self) -> Option<Arc<Item>> {
        // The newest item stays, whatever it weighs.
        if self.items.len() <= 1 || (self.items.len() <= self.limit.frames && self.bytes <= self.limit.bytes) {
            return None;
        }
        let old = self.items.pop_front()?;
        self.bytes -= old.bytes();
        self.first += 1;
        self.dropped = old.seq + 1;
        Some(old)
    }

    fn from(&self, at: u64, most: usize) -> Option<Vec<Arc<Item>>> {
        let skip = usize::try_from(at.checked_sub(self.first)?).ok()?;
        Some(self.items.iter().skip(skip).take(most).cloned().collect())
    }
}
