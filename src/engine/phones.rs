//! Every phone's history of one partition: a slab that never moves an entry, and a table of places in it.
//!
//! Slots are walked by index, a slice at a time between batches: by the sweep, and by a snapshot's copying. A copy bears
//! the offset it was made at, for records go on entering between two slices.

use std::{collections::VecDeque, hash::BuildHasher};

use bytes::{Buf, BufMut};
use hashbrown::HashTable;

use crate::domain::{
    history::{Footprint, History},
    identity::{Identities, Subject},
    prefetch::prefetch,
    rules::Rules,
    stored::{Damaged, Stored},
};

/// Entries a chunk holds; chunks are never reallocated.
const CHUNK: usize = 1_024;

/// The histories of one partition.
#[derive(Debug, Default)]
pub struct Phones {
    chunks: Vec<Vec<Slot>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: Placement,
    sweep: usize,
    walk: Walk,
    walked: Walk,
    copying: Option<Copying>,
    /// While a restored partition is replayed: per slot, the offset that its copy was made at. Records below it are in.
    copied_at: Option<Vec<i64>>,
}

/// What one round of the sweep sums up.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    footprint: Footprint,
    /// Phones whose rings are nearly full.
    crowded: usize,
}

/// Slots that one slice of a copy looks at, vacant ones among them: a slab that emptied is walked in slices, too.
pub const SLOTS_A_SLICE: usize = 32_768;

/// A copy of all histories under way.
#[derive(Debug, Default)]
struct Copying {
    /// The next slot to copy.
    next: usize,
    /// Copies of histories that were removed before their turn, oldest first. They go before any other: a phone may be
    /// there anew, and of two copies of a phone the later one counts.
    removed: VecDeque<Vec<u8>>,
}

/// Where a phone's history is, or may be, until one is removed.
#[derive(Clone, Copy, Debug)]
pub struct Found(u32);

/// Where entries go in the table: seeded per process, so that nobody can aim collisions at it.
type Placement = foldhash::fast::RandomState;

type Slot = Option<Entry>;

#[derive(Debug)]
struct Entry {
    subject: Subject,
    history: History,
}

impl Phones {
    /// How many phones there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Where the history of `subject` is.
    pub fn find(&self, subject: &Subject) -> Option<Found> {
        let hash = self.hasher.hash_one(subject);
        let same = |at: &u32| slot(&self.chunks, *at).is_some_and(|entry| entry.subject == *subject);
        self.table.find(hash, same).map(|at| Found(*at))
    }

    /// [`Phones::find`], quicker where the history is where the hint says.
    pub fn find_from(&self, hint: Option<Found>, subject: &Subject) -> Option<Found> {
        let still = |found: &Found| slot(&self.chunks, found.0).is_some_and(|entry| entry.subject == *subject);
        hint.filter(still).or_else(|| self.find(subject))
    }

    /// Where the history of `subject` likely is, which [`Phones::find_from`] makes sure of: told by the table alone, without
    /// waiting for the history, which is fetched.
    pub fn guess(&self, subject: &Subject) -> Option<Found> {
        let found = self.table.find(self.hasher.hash_one(subject), |_| true).map(|at| Found(*at))?;
        let (chunk, within) = place(found.0);
        prefetch(std::slice::from_ref(&self.chunks[chunk][within]));
        Some(found)
    }

    /// Has fetched what the history that likely is there points to: the memory of several histories is waited for together.
    pub fn fetch(&self, found: Found, ids: &Identities) {
        if let Some(entry) = slot(&self.chunks, found.0) {
            entry.history.fetch(ids);
        }
    }

    /// The history found there; no phone was removed since.
    pub fn at(&mut self, Found(at): Found) -> &mut History {
        let (chunk, within) = place(at);
        let entry = self.chunks[chunk][within].as_mut();
        &mut entry.expect("what was found stays until a phone is removed").history
    }

    /// Adds the history of a subject that has none, and returns it.
    pub fn add(&mut self, subject: Subject, history: History) -> &mut History {
        let at = self.enter(subject, history);
        self.at(Found(at))
    }

    fn enter(&mut self, subject: Subject, history: History) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| self.push_slot());
        let (chunk, within) = place(at);
        let hash = self.hasher.hash_one(subject);
        if let Some(slot) = self.copied_at.as_mut().and_then(|copied| copied.get_mut(at as usize)) {
            *slot = i64::MIN;
        }
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.table
            .insert_unique(hash, at, |&other| slot(chunks, other).map_or(0, |entry| hasher.hash_one(entry.subject)));
        self.chunks[chunk][within] = Some(Entry { subject, history });
        at
    }

    /// Removes the history of `subject`, which holds all of its records below `offset`.
    pub fn remove(&mut self, subject: &Subject, offset: i64) {
        let hash = self.hasher.hash_one(subject);
        let chunks = &self.chunks;
        let found = self.table.find_entry(hash, |&at| slot(chunks, at).is_some_and(|entry| entry.subject == *subject));
        let Ok(found) = found else { return };
        let (at, _) = found.remove();
        let (chunk, within) = place(at);
        let entry = self.chunks[chunk][within].take();
        self.free.push(at);
        if let Some((copying, entry)) = self.copying.as_mut().zip(entry)
            && copying.next <= at as usize
        {
            let mut copy = Vec::new();
            entry.put(offset, &mut copy);
            copying.removed.push_back(copy);
        }
    }

    /// Looks at the next `budget` slots, prunes each phone with `keep` and removes those it returns false for; all
    /// records below `offset` are applied.
    pub fn sweep(&mut self, budget: usize, offset: i64, rules: &Rules, mut keep: impl FnMut(&mut History) -> bool) {
        let slots = self.chunks.len() * CHUNK;
        for _ in 0..budget.min(slots) {
            self.sweep = (self.sweep + 1) % slots;
            if self.sweep == 0 {
                self.walked = std::mem::take(&mut self.walk);
            }
            let entry = self.chunks[self.sweep / CHUNK].get_mut(self.sweep % CHUNK).and_then(Option::as_mut);
            let Some(entry) = entry else { continue };
            let (subject, stays) = (entry.subject, keep(&mut entry.history));
            if stays {
                self.walk.footprint.add(entry.footprint());
                self.walk.crowded += usize::from(entry.history.is_crowded(rules));
            } else {
                self.remove(&subject, offset);
            }
        }
    }

    /// Begins to copy every history there is now. Those removed before their turn are copied as they go; new ones may
    /// be copied or not.
    pub fn begin_copying(&mut self) {
        self.copying = Some(Copying::default());
    }

    /// Appends copies to `out`, each as of `offset`, until it holds `bytes`, [`SLOTS_A_SLICE`] were looked at, or nothing
    /// is left; how many, and whether that was all.
    pub fn copy(&mut self, offset: i64, bytes: usize, out: &mut Vec<u8>) -> (u32, bool) {
        let slots = self.chunks.len() * CHUNK;
        let Some(copying) = &mut self.copying else { return (0, true) };
        let mut count = 0;
        while out.len() < bytes
            && let Some(copy) = copying.removed.pop_front()
        {
            out.extend_from_slice(&copy);
            count += 1;
        }
        let until = slots.min(copying.next + SLOTS_A_SLICE);
        while out.len() < bytes && copying.next < until {
            let at = copying.next;
            copying.next += 1;
            if let Some(Some(entry)) = self.chunks[at / CHUNK].get(at % CHUNK) {
                entry.put(offset, out);
                count += 1;
            }
        }
        let done = copying.next >= slots && copying.removed.is_empty();
        if done {
            self.copying = None;
        }
        (count, done)
    }

    /// Ends a copying early.
    pub fn stop_copying(&mut self) {
        self.copying = None;
    }

    /// Takes one copy back; a later copy of the same phone replaces an earlier one.
    ///
    /// # Errors
    /// The bytes are no copy.
    pub fn restore(&mut self, from: &mut &[u8], rules: &Rules) -> Result<(), Damaged> {
        let copied_at = from.try_get_i64_le()?;
        let (subject, history) = (Subject::take(from)?, History::take(from, rules)?);
        let at = match self.find(&subject) {
            Some(found) => {
                *self.at(found) = history;
                found.0
            }
            None => self.enter(subject, history),
        };
        let copied = self.copied_at.get_or_insert_default();
        copied.resize(copied.len().max(at as usize + 1), i64::MIN);
        copied[at as usize] = copied_at;
        Ok(())
    }

    /// Whether the history of `subject` was restored from a copy that holds the record at `offset` already.
    pub fn holds(&self, subject: &Subject, offset: i64) -> bool {
        let Some(copied) = &self.copied_at else { return false };
        self.find(subject).and_then(|found| copied.get(found.0 as usize)).is_some_and(|at| offset < *at)
    }

    /// All copies are caught up with: nothing is held ahead any more.
    pub fn caught_up(&mut self) {
        self.copied_at = None;
    }

    /// The bytes held: rings, and all the rest as profile (entries, table, free slots).
    pub fn footprint(&self) -> Footprint {
        let mut total = Footprint::default();
        self.chunks.iter().flatten().flatten().for_each(|entry| total.add(entry.footprint()));
        self.with_overhead(total)
    }

    /// The same as the sweep last summed it up on its way round: costs nothing to ask.
    pub fn footprint_lately(&self) -> Footprint {
        self.with_overhead(self.walked.footprint)
    }

    /// How many phones' rings were nearly full on the sweep's last way round.
    pub fn crowded_lately(&self) -> usize {
        self.walked.crowded
    }

    fn with_overhead(&self, mut total: Footprint) -> Footprint {
        let vacant = self.chunks.len() * CHUNK - self.len();
        total.profile += vacant * size_of::<Slot>() + self.table.allocation_size() + self.free.capacity() * 4;
        total
    }

    fn push_slot(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(None);
        (chunk * CHUNK + self.chunks[chunk].len() - 1) as u32
    }
}

impl Entry {
    fn put(&self, offset: i64, out: &mut Vec<u8>) {
        out.put_i64_le(offset);
        self.subject.put(out);
        self.history.put(out);
    }

    fn footprint(&self) -> Footprint {
        let history = self.history.footprint();
        Footprint { profile: history.profile + size_of::<Slot>() - size_of::<History>(), ..history }
    }
}

fn place(at: u32) -> (usize, usize) {
    (at as usize / CHUNK, at as usize % CHUNK)
}

fn slot(chunks: &[Vec<Slot>], at: u32) -> Option<&Entry> {
    let (chunk, within) = place(at);
    chunks[chunk][within].as_ref()
}

#[cfg(test)]
mod tests;
