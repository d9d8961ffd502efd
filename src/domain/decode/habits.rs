//! What stands between two values, as records had it before: a switch writes its fields in one order, spaced in one way. Where the
//! bytes are those that followed the same field last time, all they say is known, and no key is read.
//!
//! Never shows in any result: the bytes are compared, every one, and where they differ the key is read.

use super::tokens::Field;

/// The longest bytes remembered: a comma, the longest name quoted, a colon, a quote, and some blanks.
const MOST: usize = 32;
const WORDS: usize = MOST / 8;

/// What followed a field lately: a few, for not every record has every field.
const FEW: usize = 3;

/// After which fields: each known one, an unknown one, none.
const PLACES: usize = Field::ALL.len() + 2;

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
    words: [u64; WORDS],
    /// Ones where there are bytes.
    mask: [u64; WORDS],
    /// 0 where nothing is remembered.
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

const NOTHING: Habit =
    Habit { words: [0; WORDS], mask: [0; WORDS], length: 0, next: Next { field: None, in_text: false } };

impl Default for Habits {
    fn default() -> Self {
        Self { after: [[NOTHING; FEW]; PLACES], marks: Vec::new() }
    }
}

impl Habits {
    /// What `bytes`, from behind a value on, say by habit, and how many of them say it.
    #[inline(always)]
    pub(super) fn recall(&self, before: Before, bytes: &[u8]) -> Option<(Next, usize)> {
        let window = bytes.first_chunk::<MOST>()?.as_chunks::<8>().0;
        let few = &self.after[usize::from(before.0) % PLACES];
        let found = few.iter().find(|habit| {
            let differs = |at: usize| (u64::from_le_bytes(window[at]) ^ habit.words[at]) & habit.mask[at];
            habit.length > 0 && (0..WORDS).fold(0, |all, at| all | differs(at)) == 0
        })?;
        Some((found.next, usize::from(found.length)))
    }

    /// Remembers what the first `length` of these bytes said, in place of what was remembered longest. Nothing so near the end
    /// that it would not be recalled.
    pub(super) fn remember(&mut self, before: Before, bytes: &[u8], length: usize, next: Next) {
        let Some(window) = bytes.first_chunk::<MOST>().filter(|_| (1..=MOST).contains(&length)) else { return };
        let mask: [u64; WORDS] = std::array::from_fn(|at| match length.saturating_sub(8 * at) {
            0 => 0,
            left => u64::MAX >> (64 - 8 * left.min(8)),
        });
        let words = std::array::from_fn(|at| u64::from_le_bytes(window.as_chunks::<8>().0[at]) & mask[at]);
        let few = &mut self.after[usize::from(before.0) % PLACES];
        few.rotate_right(1);
        few[0] = Habit { words, mask, length: length as u8, next };
    }
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
