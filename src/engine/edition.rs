//! Which engine, by which settings, a partition's owner works with: owner records carry it (C1.3), so that a partition
//! never goes back and forth between two whose verdicts differ.

use thiserror::Error;

use super::GENERATION;
use crate::domain::{
    rules::Rules,
    verdict::{Digest, Head},
};

/// An engine and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// [`GENERATION`] of the program.
    pub generation: u32,
    /// [`Rules::state_hash`].
    pub hash: u64,
}

/// Why an owner does not take a partition over from another edition's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Superseded {
    /// A newer program owned it.
    #[error(
        "its last owner has engine generation {found}, this program {own}: verdicts would change back; run the newer \
         program, or, to go back on purpose, start all processes of the group once with score.take_over = true"
    )]
    Newer {
        /// Its generation.
        found: u32,
        /// Ours.
        own: u32,
    },
    /// The same program with other settings owned it.
    #[error(
        "its last owner works by other settings (engine_hash {}, here {}): time.*, windows.* or the table of places \
         differ; give all processes of the group the same, or, to change them on purpose, start all processes of the \
         group once with score.take_over = true", Digest(*found), Digest(*own)
    )]
    Other {
        /// Its hash.
        found: u64,
        /// Ours.
        own: u64,
    },
}

impl Edition {
    /// This program's with these settings.
    pub fn own(rules: &Rules) -> Self {
        Self { generation: GENERATION, hash: rules.state_hash() }
    }

    /// What an owner record names; `None` where it is of a program that named none.
    pub fn of(head: &Head<'_>) -> Option<Self> {
        let hash = head.engine_hash.as_deref().filter(|hash| hash.len() == 16)?;
        Some(Self { generation: head.engine_generation?, hash: u64::from_str_radix(hash, 16).ok()? })
    }

    /// Whether `self` may take a partition that an owner of `last` had.
    ///
    /// # Errors
    /// That one is newer, or of the same generation with other settings.
    pub fn follows(self, last: Option<Self>) -> Result<(), Superseded> {
        let Some(last) = last else { return Ok(()) };
        if last.generation > self.generation {
            return Err(Superseded::Newer { found: last.generation, own: self.generation });
        }
        if last.generation == self.generation && last.hash != self.hash {
            return Err(Superseded::Other { found: last.hash, own: self.hash });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_to_the_same_edition_or_a_newer_program_and_never_back() {
        let own = Edition { generation: 4, hash: 7 };
        let edition = |generation, hash| Some(Edition { generation, hash });
        for (last, allowed) in [
            (None, true),
            (edition(4, 7), true),
            (edition(3, 7), true),
            (edition(3, 8), true),
            (edition(4, 8), false),
            (edition(5, 7), false),
        ] {
            assert_eq!(own.follows(last).is_ok(), allowed, "{last:?}");
        }
    }

    #[test]
    fn an_owner_record_without_an_edition_or_with_half_of_one_names_none() {
        let of = |more: &str| {
            let text = format!(r#"{{"kind":"owner","source":{{"log":"7f3a9c01","partition":3}}{more}}}"#);
            Head::parse(text.as_bytes()).as_ref().and_then(Edition::of)
        };
        assert_eq!(of(""), None);
        assert_eq!(of(r#","engine_generation":1"#), None);
        assert_eq!(of(r#","engine_generation":1,"engine_hash":"7""#), None);
        assert_eq!(
            of(r#","engine_generation":1,"engine_hash":"0000000000000007""#),
            Some(Edition { generation: 1, hash: 7 })
        );
    }
}
