//! A record on its way through the step: as read, and as judged.

use crate::domain::{
    features::{FEATURES, Row},
    flags::Flags,
    identity::{Identities, Subject},
    invalid::Invalid,
    place::GeoPoint,
    time::EventTimeMs,
    transaction::Transaction,
};

use super::super::phones::Found;

/// What a record turned out to be.
#[derive(Debug)]
pub enum Step<'a> {
    /// A transaction, judged.
    Judged(Box<Judged<'a>>),
    /// No transaction; nothing changed.
    Invalid(Box<Invalid>),
}

/// A transaction with all that its verdict needs besides a score. It is large, so it is made in one place and stays there: what
/// points to it goes from step to step.
#[derive(Debug)]
pub struct Judged<'a> {
    /// Input offset.
    pub offset: i64,
    /// t: the timestamp, clamped.
    pub event_time: EventTimeMs,
    /// What it is.
    pub judgement: Judgement,
    /// What was unusual.
    pub flags: Flags,
    pub(super) transaction: Transaction<'a>,
    pub(super) row: Row,
    pub(super) met: Met,
}

/// Whom a transaction concerns and where, hashed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) ids: Identities,
    pub(super) geo: Option<GeoPoint>,
    pub(super) subject: Subject,
    /// Where its phone's history likely is.
    pub(super) hint: Option<Found>,
}

impl Met {
    /// Whom a record meets that is no transaction.
    pub(super) const NOBODY: Self = Self { ids: Identities::ABSENT, geo: None, subject: Subject::NOBODY, hint: None };
}

/// What a transaction is to its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Inserted.
    Scored,
    /// Too old to be inserted.
    Late,
    /// Its id stands for another payment, at this offset.
    Conflict {
        /// The offset of the payment that has the id.
        original: i64,
    },
    /// The same payment as at this offset.
    Duplicate {
        /// The original's offset.
        original: i64,
    },
}

/// A record as read: all that can be known of it without the state. A transaction's judgement, and what comes with it, is yet
/// to be made.
#[derive(Debug)]
pub struct Read<'a>(pub(super) Result<Box<Judged<'a>>, Box<Invalid>>);

impl<'a> Judged<'a> {
    /// The transaction of the record at `offset`, yet to be judged.
    #[inline(always)]
    pub(super) fn unjudged(offset: i64, transaction: Transaction<'a>, met: Met) -> Box<Self> {
        let room = Box::new_uninit();
        let (event_time, row) = (transaction.timestamp, [f64::NAN; FEATURES]);
        let (judgement, flags) = (Judgement::Scored, Flags::default());
        Box::write(room, Self { offset, event_time, judgement, flags, transaction, row, met })
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction<'a> {
        &self.transaction
    }

    /// Its features.
    pub fn row(&self) -> &Row {
        &self.row
    }
}
