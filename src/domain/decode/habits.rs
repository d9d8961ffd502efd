//! What stands between two values, as records had it before: a switch writes its fields in one order, spaced in one way. Where the
//! bytes are those that followed the same field last time, all they say is known, and no key is read.
//!
//! Never shows in any result: the bytes are compared, every one, and where they differ the key is read.

use super::tokens::Field;

/// The longest bytes remembered: a comma, the longest name quoted, a colon, a quote, and some blanks.
const MOST: usize = 32;

/// What followed a field lately: a few, for not every record has every field.
const FEW: usize = 3;

/// Room for what follows each known field, an unknown one, and none: a power of two.
const PLACES: usize = 32;
const _: () = assert!(Field::ALL.len() + 2 <= PLACES);

/// What followed each field.
#[derive(Clone, Debug)]
pub struct Habits {
    after: [[Habit; FEW]; PLACES],
    /// Room for the marks of a record's special bytes.
    pub(super) marks: Vec<u64>,
}

/// A field, or none yet, behind whose value something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before(u8);

impl Before {
    /// Before the first field.
    pub(super) const NONE: Self = Self(PLACES as u8 - 1);

    /// Behind the value of a field, `None` being one that is not known.
    #[inline(always)]
    pub(super) fn of(field: Option<Field>) -> Self {
        Self(field.map_or(PLACES as u8 - 2, |field| field as u8))
    }
}

/// Bytes between two values, and what they say.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// As many as its length says, zeros behind.
    bytes: [u8; MOST],
    /// A one for each of those; none where nothing is remembered.
    bits: u32,
    length: u8,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The field, where it is a known one.
    pub(super) field: Option<Field>,
    /// Whether its value is a string, the first quote of which is passed.
    pub(super) in_text: bool,
}

const NOTHING: Habit = Habit { bytes: [0; MOST], bits: 0, length: 0, next: Next { field: None, in_text: false } };

impl Default for Habits {
    fn default() -> Self {
        Self { after: [[NOTHING; FEW]; PLACES], marks: Vec::new() }
    }
}

impl Habits {
    /// What `bytes`, from behind a value on, say by habit, and how many of them say it.
    #[inline(always)]
    pub(super) fn recall(&self, before: Before, bytes: &[u8]) -> Option<(Next, usize)> {
        let window = bytes.first_chunk()?;
        let few = &self.after[usize::from(before.0) % PLACES];
        let found =
            few.iter().find(|habit| habit.bits != 0 && alike(window, &habit.bytes) & habit.bits == habit.bits)?;
        Some((found.next, usize::from(found.length)))
    }

    /// Remembers what the first `length` of these bytes said, in place of what was remembered longest. Nothing so near the end
    /// that it would not be recalled. Seldom needed, and so kept out of the way of what is.
    #[inline(never)]
    pub(super) fn remember(&mut self, before: Before, bytes: &[u8], length: usize, next: Next) {
        let Some(mut bytes) = bytes.first_chunk().copied().filter(|_| (1..=MOST).contains(&length)) else { return };
        // What follows is somebody's, and not kept.
        bytes[length..].fill(0);
        let few = &mut self.after[usize::from(before.0) % PLACES];
        few.rotate_right(1);
        few[0] = Habit { bytes, bits: u32::MAX >> (MOST - length), length: length as u8, next };
    }
}

/// Which bytes are the same, a bit each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn alike(one: &[u8; MOST], other: &[u8; MOST]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};
    let same = |at: usize| {
        let (one, other) = (&one.as_chunks::<16>().0[at], &other.as_chunks::<16>().0[at]);
        // SAFETY: every x86_64 has SSE2, and the loads are of 16 bytes each, wherever they lie.
        unsafe {
            let same = _mm_cmpeq_epi8(_mm_loadu_si128(one.as_ptr().cast()), _mm_loadu_si128(other.as_ptr().cast()));
            _mm_movemask_epi8(same) as u32
        }
    };
    same(0) | same(1) << 16
}

#[cfg(not(target_arch = "x86_64"))]
fn alike(one: &[u8; MOST], other: &[u8; MOST]) -> u32 {
    one.iter().zip(other).rev().fold(0, |bits, (one, other)| bits << 1 | u32::from(one == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_behind_the_same_field_are_recalled() {
        let mut habits = Habits::default();
        let (before, next) = (Before::of(Some(Field::Amount)), Next { field: Some(Field::Channel), in_text: true });
        let between = br#", "channel": ""#;
        let text = |between: &[u8]| [between, &[b'x'; MOST]].concat();
        habits.remember(before, between, between.len(), Next { field: None, ..next });
        assert_eq!(habits.recall(before, &text(between)), None, "too near the end to be remembered");
        habits.remember(before, &text(between), between.len(), next);
        assert_eq!(habits.recall(before, &text(between)), Some((next, between.len())));
        assert_eq!(habits.recall(before, between), None, "too near the end to be looked at as a whole");
        assert_eq!(habits.recall(Before::NONE, &text(between)), None);
        assert_eq!(habits.recall(Before::of(None), &text(between)), None);
        for at in 0..between.len() {
            let mut other = text(between);
            other[at] ^= 1;
            assert_eq!(habits.recall(before, &other), None, "byte {at}");
        }
    }

    #[test]
    fn the_last_few_are_remembered_and_nothing_too_long() {
        let mut habits = Habits::default();
        let next = Next { field: None, in_text: false };
        let text = |at: usize| [&vec![b' '; at + 1], &[b'x'; 2 * MOST][..]].concat();
        for at in 0..=FEW {
            habits.remember(Before::NONE, &text(at), at + 1, next);
        }
        habits.remember(Before::NONE, &text(MOST), MOST + 1, next);
        habits.remember(Before::NONE, &text(0), 0, next);
        let recalled = |at: usize| habits.recall(Before::NONE, &text(at)).is_some();
        // The shortest went; each other is a beginning of the longer ones.
        assert!((1..=FEW).all(recalled) && !recalled(0));
    }
}
