//! Which known field a key names, without comparing it with each: its length and second letter leave one candidate.
//!
//! Agrees with [`Field::from_wire`] on every text; that the names' shapes are distinct is checked at compile time.

use super::tokens::Field;

/// The longest name fits in three words.
const WORDS: usize = 3;

/// What a name's bytes are, zeros behind.
#[derive(Clone, Copy)]
struct Name {
    words: [u64; WORDS],
    /// Ones where a name has bytes.
    mask: [u64; WORDS],
    field: Option<Field>,
}

const LENGTHS: usize = 32;
const LETTERS: usize = 32;

/// The candidate by its shape: the place of its name in [`NAMES`].
static BY_SHAPE: [u8; LENGTHS * LETTERS] = by_shape();

/// Every name in the order of [`Field::ALL`], and one more that no key equals.
static NAMES: [Name; Field::ALL.len() + 1] = names();

/// The field that `bytes[start..end]` names. The bytes behind a key are read with it where there are any.
pub(super) fn field(bytes: &[u8], start: usize, end: usize) -> Option<Field> {
    let Some(window) = bytes.get(start..).and_then(|rest| rest.first_chunk::<{ 8 * WORDS }>()) else {
        return std::str::from_utf8(bytes.get(start..end)?).ok().and_then(Field::from_wire);
    };
    let length = end - start;
    if length >= LENGTHS {
        return None;
    }
    let name = &NAMES[usize::from(BY_SHAPE[shape(length, window[1])])];
    let (words, _) = window.as_chunks::<8>();
    let differs = |at: usize| (u64::from_le_bytes(words[at]) ^ name.words[at]) & name.mask[at];
    let differ = differs(0) | if length > 8 { differs(1) } else { 0 } | if length > 16 { differs(2) } else { 0 };
    if differ == 0 { name.field } else { None }
}

const fn shape(length: usize, second: u8) -> usize {
    length % LENGTHS * LETTERS + second as usize % LETTERS
}

const fn by_shape() -> [u8; LENGTHS * LETTERS] {
    let nobody = Field::ALL.len() as u8;
    let mut table = [nobody; LENGTHS * LETTERS];
    let mut at = 0;
    while at < Field::ALL.len() {
        let name = Field::ALL[at].as_str().as_bytes();
        let shape = shape(name.len(), name[1]);
        assert!(name.len() <= 8 * WORDS && table[shape] == nobody, "two names have one shape");
        table[shape] = at as u8;
        at += 1;
    }
    table
}

const fn names() -> [Name; Field::ALL.len() + 1] {
    let mut names = [Name { words: [0; WORDS], mask: [0; WORDS], field: None }; Field::ALL.len() + 1];
    let mut at = 0;
    while at < Field::ALL.len() {
        let name = Field::ALL[at].as_str().as_bytes();
        names[at].field = Some(Field::ALL[at]);
        let mut byte = 0;
        while byte < name.len() {
            names[at].words[byte / 8] |= (name[byte] as u64) << (byte % 8 * 8);
            names[at].mask[byte / 8] |= 0xff << (byte % 8 * 8);
            byte += 1;
        }
        at += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn read(key: &str, behind: usize) -> Option<Field> {
        let text = format!("{{\"{key}{}", "\"".repeat(behind));
        field(text.as_bytes(), 2, 2 + key.len())
    }

    #[test]
    fn every_name_is_known_by_itself_alone() {
        for known in Field::ALL {
            let name = known.as_str();
            for behind in [0, 1, 30] {
                assert_eq!(read(name, behind), Some(*known), "{name}");
                assert_eq!(read(&name[1..], behind), Field::from_wire(&name[1..]), "{name}");
                assert_eq!(read(&format!("{name}s"), behind), None, "{name}");
                assert_eq!(read(&name.to_ascii_uppercase(), behind), None, "{name}");
            }
        }
        assert_eq!(read("", 30), None);
        assert_eq!(read(&"m".repeat(6 + LENGTHS), 30), None);
    }

    proptest! {
        #[test]
        fn a_key_is_known_here_exactly_where_it_is_known_at_all(
            name in select(Field::ALL), at in 0_usize..30, letter in "[a-z_\u{0}é]?", behind in 0_usize..30,
        ) {
            let mut key = name.as_str().to_owned();
            let at = at % (key.len() + 1);
            key.replace_range(at..(at + 1).min(key.len()), &letter);
            prop_assert_eq!(read(&key, behind), Field::from_wire(&key), "{}", key);
        }
    }
}
