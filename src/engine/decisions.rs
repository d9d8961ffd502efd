//! What was decided about each recent input offset, for the duplicates that may still name it.
//!
//! Not part of the state machine: decisions follow the model served, and are read back from the verdict topic.
//! Two bytes an offset; dropped in blocks once no duplicate can reach them.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Buf, BufMut};

use crate::domain::{
    policy::{Decision, Recommendation, RiskLevel},
    stored::{Damaged, Stored, put_length, take_length},
};

/// The model and policy a decision was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// The policy's version.
    pub policy_version: String,
}

/// A decision with its maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made<'a> {
    /// What was decided.
    pub decision: Decision,
    /// By which model and policy.
    pub maker: &'a Arc<Maker>,
}

/// Offsets a block spans.
const BLOCK: usize = 4_096;

/// Bytes of a block in a snapshot.
const BLOCK_BYTES: usize = 16 + 2 * BLOCK;

/// Makers told apart at a time; decisions of further ones are not kept (their duplicates are scored as themselves).
const MOST_MAKERS: usize = 32;

/// Where the maker is in a packed decision.
const MAKER_SHIFT: u32 = 11;

const UNKNOWN: u16 = u16::MAX;

/// The decisions of one partition.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    makers: Vec<Arc<Maker>>,
    blocks: VecDeque<Block>,
}

#[derive(Clone, Debug)]
struct Block {
    first: i64,
    newest_event: i64,
    packed: Box<[u16; BLOCK]>,
}

impl Decisions {
    /// Remembers the decision about `offset`. Offsets grow, but that an accepted verdict may replace an earlier one.
    pub fn remember(&mut self, offset: i64, decision: Decision, maker: &Arc<Maker>) {
        let Some(maker) = self.maker_index(maker) else { return };
        let first = offset - offset.rem_euclid(BLOCK as i64);
        if self.blocks.back().is_none_or(|block| block.first < first) {
            self.blocks.push_back(Block { first, newest_event: i64::MIN, packed: Box::new([UNKNOWN; BLOCK]) });
        }
        if let Some(block) = self.block_mut(offset) {
            block.packed[(offset - block.first) as usize] = pack(decision, maker);
        }
    }

    /// Notes the event time of the record at `offset`.
    pub fn note_time(&mut self, offset: i64, event_time: i64) {
        if let Some(block) = self.block_mut(offset) {
            block.newest_event = block.newest_event.max(event_time);
        }
    }

    /// The decision about `offset`, while it is remembered.
    pub fn get(&self, offset: i64) -> Option<Made<'_>> {
        let block = self.blocks.get(self.position(offset)?)?;
        let packed = block.packed[(offset - block.first) as usize];
        let (decision, maker) = unpack(packed)?;
        Some(Made { decision, maker: self.makers.get(maker)? })
    }

    /// Drops blocks that lie wholly below the offset `passed` and whose every event time is at or before `forgotten`.
    pub fn forget(&mut self, passed: i64, forgotten: i64) {
        let gone = |block: &Block| block.first + BLOCK as i64 <= passed && block.newest_event <= forgotten;
        while self.blocks.front().is_some_and(gone) {
            self.blocks.pop_front();
        }
    }

    /// Appends whole blocks from the one of `from` on, until `out` holds `bytes`: how many, and where the next begins,
    /// `None` where that was all. The makers go first, for blocks name them by number.
    pub fn copy(&self, from: i64, bytes: usize, out: &mut Vec<u8>) -> (u32, Option<i64>) {
        put_length(out, self.makers.len());
        self.makers.iter().for_each(|maker| maker.put(out));
        let at = self.blocks.partition_point(|block| block.first < from);
        let fitting = bytes.saturating_sub(out.len()).div_ceil(BLOCK_BYTES).max(1);
        let count = fitting.min(self.blocks.len() - at);
        put_length(out, count);
        self.blocks.iter().skip(at).take(count).for_each(|block| block.put(out));
        (count as u32, self.blocks.get(at + count).map(|block| block.first))
    }

    /// Takes back what [`Decisions::copy`] appended; how many blocks.
    ///
    /// # Errors
    /// The bytes are no copy, or blocks come out of order.
    pub fn restore(&mut self, from: &mut &[u8]) -> Result<u32, Damaged> {
        let makers =
            (0..take_length(from, 12)?).map(|_| Maker::take(from).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let mut numbers = [UNKNOWN; MOST_MAKERS];
        for (number, maker) in numbers.iter_mut().zip(&makers) {
            *number = self.maker_index(maker).map_or(UNKNOWN, |index| index as u16);
        }
        let count = take_length(from, BLOCK_BYTES)?;
        for _ in 0..count {
            let mut block = Block::take(from)?;
            if self.blocks.back().is_some_and(|last| last.first + BLOCK as i64 > block.first) {
                return Err(Damaged("blocks of decisions are out of order"));
            }
            for packed in block.packed.iter_mut().filter(|packed| **packed != UNKNOWN) {
                let number = numbers[usize::from(*packed >> MAKER_SHIFT)];
                let same = *packed & ((1 << MAKER_SHIFT) - 1);
                *packed = if number == UNKNOWN { UNKNOWN } else { same | number << MAKER_SHIFT };
            }
            self.blocks.push_back(block);
        }
        Ok(count as u32)
    }

    /// Which block holds `offset`.
    fn position(&self, offset: i64) -> Option<usize> {
        let position = self.blocks.partition_point(|block| block.first <= offset).checked_sub(1)?;
        (offset - self.blocks[position].first < BLOCK as i64).then_some(position)
    }

    fn block_mut(&mut self, offset: i64) -> Option<&mut Block> {
        // The newest block is the one nearly always asked for.
        let position = match self.blocks.back() {
            Some(newest) if newest.first <= offset && offset - newest.first < BLOCK as i64 => self.blocks.len() - 1,
            _ => self.position(offset)?,
        };
        self.blocks.get_mut(position)
    }

    fn maker_index(&mut self, maker: &Arc<Maker>) -> Option<usize> {
        if let Some(index) = self.makers.iter().rposition(|known| known == maker) {
            if !Arc::ptr_eq(&self.makers[index], maker) {
                // The next time it is the very one, and its texts are not compared.
                self.makers[index].clone_from(maker);
            }
            return Some(index);
        }
        if self.makers.len() < MOST_MAKERS - 1 {
            self.makers.push(Arc::clone(maker));
            return Some(self.makers.len() - 1);
        }
        let unused = self.unused_maker()?;
        self.makers[unused] = Arc::clone(maker);
        Some(unused)
    }

    /// A maker of no decision that is still remembered. Asked only when the table is full.
    fn unused_maker(&self) -> Option<usize> {
        let mut used = [false; MOST_MAKERS];
        for packed in self.blocks.iter().flat_map(|block| block.packed.iter()) {
            used[usize::from(packed >> MAKER_SHIFT)] = true;
        }
        (0..self.makers.len()).find(|maker| !used[*maker])
    }
}

impl Stored for Maker {
    fn put(&self, out: &mut Vec<u8>) {
        for text in [&self.model, &self.model_version, &self.policy_version] {
            put_length(out, text.len());
            out.put_slice(text.as_bytes());
        }
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let mut text = || {
            let length = take_length(from, 1)?;
            let (text, rest) = from.split_at(length);
            *from = rest;
            String::from_utf8(text.to_vec()).map_err(|_| Damaged("a name is not UTF-8"))
        };
        Ok(Self { model: text()?, model_version: text()?, policy_version: text()? })
    }
}

impl Stored for Block {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_i64_le(self.first);
        out.put_i64_le(self.newest_event);
        self.packed.iter().for_each(|packed| out.put_u16_le(*packed));
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        let (first, newest_event) = (from.try_get_i64_le()?, from.try_get_i64_le()?);
        if first.rem_euclid(BLOCK as i64) != 0 || !(0..=i64::MAX / 2).contains(&first) {
            return Err(Damaged("a block of decisions begins nowhere"));
        }
        let (bytes, rest) = from.split_at_checked(2 * BLOCK).ok_or(Damaged("a block of decisions ends too early"))?;
        *from = rest;
        let mut packed = Box::new([UNKNOWN; BLOCK]);
        for (packed, bytes) in packed.iter_mut().zip(bytes.as_chunks().0) {
            *packed = u16::from_le_bytes(*bytes);
        }
        Ok(Self { first, newest_event, packed })
    }
}

/// Score in 7 bits, level and recommendation in 2 each, maker in 5. All ones is left for "unknown": no such maker.
fn pack(decision: Decision, maker: usize) -> u16 {
    u16::from(decision.score)
        | u16::from(decision.level.code()) << 7
        | u16::from(decision.recommendation.code()) << 9
        | (maker as u16) << MAKER_SHIFT
}

fn unpack(packed: u16) -> Option<(Decision, usize)> {
    if packed == UNKNOWN {
        return None;
    }
    let score = (packed & 0x7F) as u8;
    let level = *RiskLevel::ALL.get(usize::from(packed >> 7 & 3))?;
    let recommendation = *Recommendation::ALL.get(usize::from(packed >> 9 & 3))?;
    Some((Decision { score, level, recommendation }, usize::from(packed >> MAKER_SHIFT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::decide;

    fn maker(version: usize) -> Arc<Maker> {
        Arc::new(Maker { model: "m".into(), model_version: version.to_string(), policy_version: "p".into() })
    }

    #[test]
    fn a_maker_whose_decisions_are_forgotten_makes_room_for_a_new_one() {
        let mut decisions = Decisions::default();
        for version in 0..100 {
            let offset = (version * BLOCK) as i64;
            decisions.note_time(offset, offset);
            decisions.remember(offset, decide(77), &maker(version));
            decisions.note_time(offset, offset);
            let made = decisions.get(offset).expect("the newest maker always finds room");
            assert_eq!((made.decision, made.maker), (decide(77), &maker(version)));
            // Ten blocks are remembered at a time.
            decisions.forget(offset, offset - 10 * BLOCK as i64);
        }
    }

    #[test]
    fn beyond_the_makers_told_apart_decisions_are_unknown_and_never_anothers() {
        let mut decisions = Decisions::default();
        for version in 0..MOST_MAKERS + 3 {
            decisions.remember(version as i64, decide(version as u8), &maker(version));
        }
        for version in 0..MOST_MAKERS + 3 {
            let made = decisions.get(version as i64);
            let expected = (version < MOST_MAKERS - 1).then(|| maker(version));
            assert_eq!(made.map(|made| Arc::clone(made.maker)), expected, "{version}");
        }
    }

    #[test]
    fn every_decision_survives_packing() {
        for score in 0..=100 {
            for maker in [0, 1, MOST_MAKERS - 2] {
                let decision = decide(score).at_least_review();
                assert_eq!(unpack(pack(decision, maker)), Some((decision, maker)));
            }
        }
    }
}
