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
        Some(Self { generation: head.engine_generation?, hash: hash(head.engine_hash.as_deref()?)? })
    }

    /// As a checkpoint's text names it.
    pub fn read(generation: &str, digits: &str) -> Option<Self> {
        Some(Self { generation: generation.parse().ok()?, hash: hash(digits)? })
    }

    /// Whether `self` may take a partition from its owners so far.
    ///
    /// # Errors
    /// The newest is of a newer program, or the one that served last is of this one with other settings.
    pub fn follows(self, owners: Lineage) -> Result<(), Superseded> {
        if let Some(newest) = owners.newest().filter(|newest| newest.generation > self.generation) {
            return Err(Superseded::Newer { found: newest.generation, own: self.generation });
        }
        let other = owners.served.filter(|served| served.generation == self.generation && served.hash != self.hash);
        other.map_or(Ok(()), |served| Err(Superseded::Other { found: served.hash, own: self.hash }))
    }
}

fn hash(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)
}

/// Whose a partition was, as far as its verdicts, a checkpoint and a snapshot tell. An owner served once a verdict of
/// its counts, or a checkpoint or snapshot is its own: one that was refused after it had written its record did not, and
/// must not keep the rightful owner out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    newest: Option<(i64, Option<Edition>)>,
    served: Option<Edition>,
}

impl Lineage {
    /// The newest owner's edition, where its record or something of its own names one.
    pub fn newest(&self) -> Option<Edition> {
        self.newest.and_then(|(_, edition)| edition)
    }

    /// The edition of the newest owner that served, where it is known.
    pub fn served(&self) -> Option<Edition> {
        self.served
    }

    /// An owner record at `epoch`; they come in order.
    pub fn owner(&mut self, epoch: i64, edition: Option<Edition>) {
        self.newest = Some((epoch, edition));
    }

    /// The owner of `epoch` served; `edition` is what is known of it besides its record.
    pub fn serves(&mut self, epoch: i64, edition: Option<Edition>) {
        match self.newest {
            Some((newest, _)) if newest > epoch => {}
            Some((newest, known)) if newest == epoch => {
                let edition = known.or(edition);
                (self.newest, self.served) = (Some((epoch, edition)), edition);
            }
            _ => (self.newest, self.served) = (Some((epoch, edition)), edition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_to_the_same_edition_or_a_newer_program_and_never_back() {
        let own = Edition { generation: 4, hash: 7 };
        let edition = |generation, hash| Some(Edition { generation, hash });
        for (served, allowed) in [
            (None, true),
            (edition(4, 7), true),
            (edition(3, 7), true),
            (edition(3, 8), true),
            (edition(4, 8), false),
            (edition(5, 7), false),
        ] {
            let mut owners = Lineage::default();
            owners.serves(3, served);
            assert_eq!(own.follows(owners).is_ok(), allowed, "{served:?}");
        }
    }

    #[test]
    fn an_owner_that_never_served_keeps_nobody_out_by_its_settings_but_by_its_generation() {
        let (own, other) = (Edition { generation: 4, hash: 7 }, Edition { generation: 4, hash: 8 });
        let mut owners = Lineage::default();
        owners.owner(0, Some(own));
        owners.serves(0, None);
        owners.owner(5, Some(other));
        assert_eq!((owners.newest(), owners.served()), (Some(other), Some(own)));
        assert_eq!(own.follows(owners), Ok(()), "the one that served goes on");
        assert_eq!(other.follows(owners), Err(Superseded::Other { found: 7, own: 8 }), "and the other is none");
        owners.serves(5, None);
        assert_eq!(own.follows(owners), Err(Superseded::Other { found: 8, own: 7 }), "it served after all");
        owners.owner(9, Some(Edition { generation: 5, hash: 7 }));
        assert_eq!(other.follows(owners), Err(Superseded::Newer { found: 5, own: 4 }));
    }

    #[test]
    fn what_a_checkpoint_says_of_an_owner_counts_where_its_record_is_deleted_and_no_newer_one_is_there() {
        let (one, two) = (Edition { generation: 1, hash: 1 }, Edition { generation: 1, hash: 2 });
        let mut owners = Lineage::default();
        owners.serves(4, Some(one));
        assert_eq!((owners.newest(), owners.served()), (Some(one), Some(one)));
        owners.owner(9, Some(two));
        owners.serves(9, None);
        owners.serves(4, Some(one));
        assert_eq!(
            (owners.newest(), owners.served()),
            (Some(two), Some(two)),
            "an older one says nothing of the newest"
        );
        owners.serves(12, None);
        assert_eq!((owners.newest(), owners.served()), (None, None), "a verdict of an owner whose record is deleted");
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
