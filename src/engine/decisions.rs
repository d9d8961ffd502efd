//! What was decided about each recent input offset, for the duplicates that may still name it.
//!
//! Not part of the state machine: decisions follow the model served, and are read back from the verdict topic.
//! Two bytes an offset; dropped in blocks once no duplicate can reach them.

use std::collections::VecDeque;

use crate::domain::policy::{Decision, Recommendation, RiskLevel};

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
    pub maker: &'a Maker,
}

/// Offsets a block spans.
const BLOCK: usize = 4_096;

/// Makers told apart at a time; decisions of further ones are not kept (their duplicates are scored as themselves).
const MOST_MAKERS: usize = 32;

/// Where the maker is in a packed decision.
const MAKER_SHIFT: u32 = 11;

const UNKNOWN: u16 = u16::MAX;

/// The decisions of one partition.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    makers: Vec<Maker>,
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
    pub fn remember(&mut self, offset: i64, decision: Decision, maker: &Maker) {
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

    fn maker_index(&mut self, maker: &Maker) -> Option<usize> {
        if let Some(index) = self.makers.iter().rposition(|known| known == maker) {
            return Some(index);
        }
        if self.makers.len() < MOST_MAKERS - 1 {
            self.makers.push(maker.clone());
            return Some(self.makers.len() - 1);
        }
        let unused = self.unused_maker()?;
        self.makers[unused] = maker.clone();
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

    fn maker(version: usize) -> Maker {
        Maker { model: "m".into(), model_version: version.to_string(), policy_version: "p".into() }
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
            assert_eq!(made.map(|made| made.maker.clone()), expected, "{version}");
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
