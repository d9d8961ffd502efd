//! Retention: heads of both logs go, never what somebody still needs who reads as fast as retention is set for.

use super::{Met, World, owner::Owner, reader::Follower};

impl World {
    /// Deletes heads as retention does: of the input what was judged (and now and then more, which is a loss), of the
    /// verdicts what is older than that and stored.
    pub fn cut_heads(&mut self, met: &mut Met) {
        if !self.retention {
            return;
        }
        self.full.read(&self.shared.verdicts, i64::MAX, met);
        self.joined.iter_mut().for_each(|follower| follower.read(&self.shared.verdicts, i64::MAX, met));
        let Some((_, last)) = self.full.seen.last().copied() else { return };
        if last < self.shared.input_start {
            return;
        }
        let too_far = if self.dice.percent(30) { self.dice.between(0, 3) } else { 0 };
        let cut = (self.dice.between(self.shared.input_start, last) + too_far).min(self.shared.input_end);
        // Input retention is longer than the slowest replay; verdict retention is longer than the input's.
        let reading = self.owners.iter().filter_map(Owner::oldest_input_needed).min().unwrap_or(i64::MAX);
        self.shared.input_start = cut.min(reading).max(self.shared.input_start);
        let counted = self.full.seen.iter().find(|(_, source)| *source == self.shared.input_start);
        let stored = self.database.progress.next;
        let highest = counted.map_or(0, |(at, _)| *at).min(stored);
        let readers = self.joined.iter().map(Follower::oldest_needed).min().unwrap_or(i64::MAX);
        // And longer than owners take from one checkpoint to the next, the first included.
        let told = self.shared.told().ok().flatten().map(|told| told.checkpoint.next);
        let first = self.owners.iter().filter_map(Owner::acknowledged_below).min();
        let highest = highest.min(told.or(first).unwrap_or(i64::MAX));
        let settled = told.unwrap_or(0);
        let to_checkpoint = self.dice.percent(85) && settled > highest;
        let start = if to_checkpoint { settled.min(stored) } else { self.dice.between(0, highest) }.min(readers);
        if start > self.shared.verdicts.start && reading > 0 {
            met.cut_heads += 1;
            met.cut_to_checkpoint += u64::from(to_checkpoint && start == settled);
            self.shared.verdicts.start = start;
            let deleted = self.full.seen.iter().filter(|(at, _)| *at < start).map(|(_, source)| *source);
            self.unsettled.extend(deleted.filter(|source| *source >= self.shared.input_start));
        }
    }
}
