//! What a snapshot is called: the offset its walk ended at, and the epoch it was taken under. Twenty digits each, so
//! that names sort as they count.

use std::{fmt, str::FromStr};

/// What names end with.
const SUFFIX: &str = ".snapshot";

/// One snapshot of a partition; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// s1: the next offset when its walk ended.
    pub end: i64,
    /// The owner's epoch.
    pub epoch: i64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}{SUFFIX}", self.end, self.epoch)
    }
}

/// How many snapshots of a partition are kept.
const GENERATIONS: usize = 2;

/// Which of `names`, newest first, go once `newest` is published: those lower than the generations kept from it down,
/// and never a greater one, which another owner may have written.
pub fn superseded(names: &[Name], newest: Name) -> impl Iterator<Item = Name> {
    names.iter().copied().filter(move |name| *name <= newest).skip(GENERATIONS)
}

/// The text is no snapshot's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let (end, epoch) = text.strip_suffix(SUFFIX).and_then(|text| text.split_once('-')).ok_or(NoName)?;
        let number = |digits: &str| {
            let plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
            if plain { digits.parse().map_err(|_| NoName) } else { Err(NoName) }
        };
        Ok(Self { end: number(end)?, epoch: number(epoch)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_they_count_and_read_back() {
        let names = [(9, 5), (10, 1), (10, 2), (1_000_000, 0)].map(|(end, epoch)| Name { end, epoch });
        let texts = names.map(|name| name.to_string());
        assert!(names.is_sorted() && texts.is_sorted());
        assert_eq!(texts.map(|text| text.parse()), names.map(Ok));
        for foreign in ["", "1-2.snapshot", "00000000000000000009-+0000000000000000005.snapshot", "x"] {
            assert_eq!(foreign.parse::<Name>(), Err(NoName), "{foreign}");
        }
    }

    #[test]
    fn what_goes_is_lower_than_the_generations_kept_and_never_another_owners_greater_one() {
        let name = |end| Name { end, epoch: 1 };
        let gone = |ends: &[i64], newest| {
            let names: Vec<Name> = ends.iter().map(|end| name(*end)).collect();
            superseded(&names, name(newest)).map(|name| name.end).collect::<Vec<_>>()
        };
        assert_eq!(gone(&[30, 20, 10], 30), [10]);
        assert_eq!(gone(&[20, 10], 20), [] as [i64; 0]);
        // Two greater ones are another owner's: they count for nothing, and stay.
        assert_eq!(gone(&[50, 40, 30, 20, 10, 5], 30), [10, 5]);
        assert_eq!(gone(&[50, 40, 30], 30), [] as [i64; 0]);
        // Of the same end, the later epoch is the greater.
        let names = [Name { end: 9, epoch: 3 }, Name { end: 9, epoch: 2 }, Name { end: 9, epoch: 1 }];
        assert_eq!(superseded(&names, names[1]).collect::<Vec<_>>(), [] as [Name; 0]);
        assert_eq!(superseded(&names, names[0]).collect::<Vec<_>>(), [names[2]]);
    }
}
