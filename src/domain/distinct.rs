//! Identities told apart, of a phone's newest events: a few, as a rule, most of them the same.

use hashbrown::HashSet;

use super::{
    identity::Identity,
    rules::{WINDOWS, longest},
};

/// Distinct identities, met newest first: each counts from the shortest window it was first met in.
pub(super) struct Distinct {
    /// Nothing that only longer windows hold need be told apart.
    windows: usize,
    /// How many were first met in each window.
    pub(super) first_in: [u32; WINDOWS],
    few: [Identity; FEW],
    len: usize,
    many: Option<HashSet<Identity, foldhash::fast::RandomState>>,
}

/// The first identities are compared with one another; beyond them a set takes over.
const FEW: usize = 4 * FOUR;
const FOUR: usize = 4;

impl Distinct {
    /// None yet; up to the longest of the windows counted.
    pub(super) fn within(counted: &[bool; WINDOWS]) -> Self {
        Self { windows: longest(counted), first_in: [0; WINDOWS], few: [Identity::ABSENT; FEW], len: 0, many: None }
    }

    /// Counts it where it is new in `window`; shorter windows were counted before.
    #[inline(always)]
    pub(super) fn add(&mut self, window: usize, identity: Identity) {
        if window < self.windows {
            self.first_in[window] += u32::from(self.is_new(identity));
        }
    }

    #[inline(always)]
    fn is_new(&mut self, identity: Identity) -> bool {
        // Four are compared at once, and where there is room it is written in any case: whether it is new could not be foreseen.
        let mut same = 0;
        for (at, four) in self.few.as_chunks::<FOUR>().0.iter().enumerate().take(self.len / FOUR + 1) {
            let those = four.iter().rev().fold(0, |bits: u32, known| bits << 1 | u32::from(*known == identity));
            same |= those & !(u32::MAX << (self.len - at * FOUR).min(FOUR));
        }
        let Some(next) = self.few.get_mut(self.len) else {
            return same == 0 && self.many.get_or_insert_default().insert(identity);
        };
        *next = identity;
        self.len += usize::from(same == 0);
        same == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_many_are_distinct_as_a_set_tells(identities in prop::collection::vec(0_u64..40, 0..60)) {
            let mut distinct = Distinct::within(&[true; WINDOWS]);
            let mut set = HashSet::new();
            for identity in identities.into_iter().map(Identity) {
                distinct.add(2, identity);
                set.insert(identity);
                prop_assert_eq!(distinct.first_in, [0, 0, set.len() as u32, 0, 0]);
            }
        }
    }
}
