//! An owner watches its own acknowledgements (C1.5): their offsets are contiguous, the owner record's being the first.
//! Anything else is a jump, after which the owner reads what lies between before it emits again.

/// The chain of one ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    epoch: i64,
    expected: i64,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Right behind the one before it.
    Contiguous,
    /// Somebody else wrote in between, or the broker named no offset: read from `from` on.
    Jump {
        /// The first offset that is not known to be ours.
        from: i64,
    },
}

impl Chain {
    /// The chain that begins with the owner record acknowledged at `epoch`.
    pub fn starting(epoch: i64) -> Self {
        Self { epoch, expected: epoch + 1 }
    }

    /// The epoch.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The offset that the next acknowledgement should have: all below it are settled.
    pub fn next(&self) -> i64 {
        self.expected
    }

    /// Takes the next acknowledgement in order; `offset` is `None` where the broker told none.
    pub fn acknowledged(&mut self, offset: Option<i64>) -> Link {
        let from = self.expected;
        match offset {
            Some(offset) if offset == self.expected => {
                self.expected += 1;
                Link::Contiguous
            }
            Some(offset) => {
                self.expected = self.expected.max(offset + 1);
                Link::Jump { from }
            }
            None => Link::Jump { from },
        }
    }

    /// Goes on after a jump that was read up to `next` and showed no newer owner.
    pub fn resume(&mut self, next: i64) {
        self.expected = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_next_offset_is_contiguous_and_a_jump_names_the_first_that_may_not_be_ours() {
        let mut chain = Chain::starting(10);
        assert_eq!((chain.epoch(), chain.next()), (10, 11));
        assert_eq!(chain.acknowledged(Some(11)), Link::Contiguous);
        assert_eq!(chain.acknowledged(Some(12)), Link::Contiguous);
        for (offset, next) in
            [(None, 13), (Some(12), 13), (Some(3), 13), (Some(14), 15), (Some(i64::MAX - 1), i64::MAX)]
        {
            let mut jumped = chain;
            assert_eq!(jumped.acknowledged(offset), Link::Jump { from: 13 }, "{offset:?}");
            assert_eq!((jumped.epoch(), jumped.next()), (10, next), "{offset:?}");
        }
        chain.acknowledged(None);
        chain.resume(20);
        assert_eq!(chain.acknowledged(Some(20)), Link::Contiguous);
        assert_eq!(chain.epoch(), 10);
    }
}
