//! Restoring a partition from the newest of its snapshots that fits the logs, on `recover`'s threads. Each one that
//! does not is named with its reason; then an older one is tried, and in the end the log is replayed.

use std::{
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use rdkafka::message::Message;
use thiserror::Error;

use super::{
    Shared,
    ownership::wall_time,
    recover::{Readers, Ticket},
};
use crate::{
    engine::{
        partition::Partition,
        plan::Logs,
        settle::Settled,
        snapshot::{Anchor, FrameReader, Head, Refused, Restored, Restoring, SnapshotIdentity, newest_that_fits},
    },
    kafka::tail::{RangeReader, Span, TailError},
    snapshot::{Depot, DepotError, Name},
    telemetry::{
        Fact,
        snapshot::{SnapshotRefused, SnapshotRestored, SnapshotsAwaited},
    },
};

/// How often a store that does not answer is asked before a log that begins at offset 0 is replayed instead.
const TRIES: usize = 5;

/// The pause between them.
const AGAIN: Duration = Duration::from_secs(1);

/// A partition's state from a snapshot.
#[derive(Debug)]
pub struct Base {
    /// The state, as of its snapshot's s0.
    pub partition: Partition,
    /// How old it is.
    pub age: Duration,
}

/// What was found.
pub(super) struct Found {
    pub base: Base,
    pub settled: Settled,
    pub logs: Logs,
}

/// Why one snapshot is passed over.
#[derive(Debug, Error)]
pub(crate) enum PassedOver {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error(transparent)]
    Tail(#[from] TailError),
}

/// What looking for a snapshot came to.
pub(super) enum Sought {
    /// The newest that fits, with all verdicts behind it settled.
    Found(Box<Found>),
    /// None fits: the log is replayed.
    Nothing,
    /// The store does not answer, and without it state would begin anew: the question is asked again.
    Away,
}

/// How the search for a snapshot ends before all of them are passed over.
enum Ended {
    Tail(TailError),
    Away(String),
}

/// The newest snapshot of the ticket's partition that fits, with all verdicts below `epoch` settled.
///
/// A store that does not answer is asked a few times, and then the log is replayed, which gives the same state where it
/// still begins at offset 0. Where retention has taken its head, the store is waited for.
pub(super) fn newest(readers: &mut Readers, shared: &Shared, ticket: &Ticket, epoch: i64) -> Result<Sought, TailError> {
    let Some(depot) = &shared.depot else { return Ok(Sought::Nothing) };
    let (partition, stop) = (ticket.partition, &*ticket.abandoned);
    let give_up = shared.config.snapshots.give_up;
    let is_given_up = give_up.is_some_and(|after| ticket.since.elapsed() >= after);
    let waits = !is_given_up && readers.transactions.span(partition, stop)?.start > 0;
    let tries = if waits { 1 } else { TRIES };
    let passed_over = |name: &str, why: PassedOver| match why {
        PassedOver::Tail(error) => Err(Ended::Tail(error)),
        PassedOver::Depot(error) if waits && error.may_pass() => Err(Ended::Away(error.to_string())),
        other => {
            let why = other.to_string();
            SnapshotRefused { partition, name, why: &why }.emit(&shared.telemetry);
            Ok(())
        }
    };
    let names = patiently(tries, || Ok(depot.list(partition)?));
    let sought = match names.map_err(|error| passed_over("all", error)) {
        Ok(names) => newest_that_fits(
            names,
            |name| try_one(readers, shared, depot, (partition, name), (epoch, tries), stop),
            |name, why| passed_over(&name.to_string(), why),
        ),
        Err(ended) => ended.map(|()| None),
    };
    match sought {
        Ok(found) => {
            shared.telemetry.health.partition_waits(partition, None);
            Ok(found.map_or(Sought::Nothing, |found| Sought::Found(Box::new(found))))
        }
        Err(Ended::Tail(error)) => Err(error),
        Err(Ended::Away(why)) => {
            SnapshotsAwaited { partition, why: &why }.emit(&shared.telemetry);
            thread::sleep(AGAIN);
            Ok(Sought::Away)
        }
    }
}

/// Reads a snapshot whole, without looking at any log.
///
/// # Errors
/// The store fails, or the snapshot is refused.
pub(crate) fn read<E: From<DepotError> + From<Refused>>(
    depot: &Depot,
    name: Name,
    mut restoring: Restoring,
    partition: i32,
) -> Result<Restored, E> {
    depot.read(partition, name, |piece| restoring.feed(piece).map_err(E::from))?;
    Ok(restoring.finish()?)
}

/// What a snapshot says of itself; the rest is not read.
///
/// # Errors
/// The store fails, or the snapshot is refused.
pub(crate) fn read_head(depot: &Depot, partition: i32, name: Name) -> Result<Head, PassedOver> {
    let mut frames = FrameReader::new()?;
    let mut head = None;
    depot.read_while(partition, name, |piece| {
        frames.feed(piece);
        head = Head::first_of(&mut frames)?;
        Ok::<_, PassedOver>(head.is_none())
    })?;
    Ok(head.ok_or_else(|| Refused::Damaged(String::from("it is cut off")))?)
}

fn try_one(
    readers: &mut Readers,
    shared: &Shared,
    depot: &Depot,
    (partition, name): (i32, Name),
    (epoch, tries): (i64, usize),
    stop: &AtomicBool,
) -> Result<Found, PassedOver> {
    let began = Instant::now();
    let place = shared.place(partition);
    let rules = Arc::new(shared.config.rules.clone());
    let own = SnapshotIdentity::new(&place, shared.verdict_log.clone(), &rules);
    let begin = || Restoring::new(Arc::clone(&rules), place.clone(), own.clone());
    let mut restored = patiently(tries, || read::<PassedOver>(depot, name, begin()?, partition))?;
    restored.check_name(name.end, name.epoch)?;
    let (head, end) = (restored.head.clone(), restored.end);
    let told = readers.told(partition, shared, stop)?;
    let Span { start: verdict_start, end: verdict_end } = readers.verdicts.span(partition, stop)?;
    let mut settling = restored.settling(told, (verdict_start, verdict_end), shared.log.short())?;
    readers.verdicts.read_range(partition, settling.next(), epoch + 1, stop, |offset, value| {
        settling.take(offset, value.unwrap_or_default());
    })?;
    let settled = settling.finish();
    let input = readers.transactions.span(partition, stop)?;
    if let Some(anchor) = head.anchor_in(input.start) {
        anchor.check(found_at(&mut readers.transactions, partition, anchor.offset, stop)?)?;
    }
    let (input_start, input_end) = (input.start, input.end);
    let logs = Logs { input_start, input_end, verdict_start, partitions: shared.partitions };
    let state = restored.fit(&settled, &logs)?;
    let age = Duration::from_millis((wall_time().0 / 1_000 - head.taken_at_ms).max(0) as u64);
    let (from, phones) = (head.bounds.next, state.phones());
    let took = began.elapsed();
    SnapshotRestored { partition, from, end: end.end, phones, took }.emit(&shared.telemetry);
    Ok(Found { base: Base { partition: state, age }, settled, logs })
}

/// The record at `offset`, as an anchor.
///
/// # Errors
/// The log cannot be read there.
pub(crate) fn found_at(
    transactions: &mut RangeReader,
    partition: i32,
    offset: i64,
    stop: &AtomicBool,
) -> Result<Option<Anchor>, TailError> {
    let mut found = None;
    transactions.read_messages(partition, offset, offset + 1, stop, |message| {
        let at = message.timestamp().to_millis();
        found = Some(Anchor::of(message.offset(), at, message.key(), message.payload()));
    })?;
    Ok(found)
}

/// Asks a store again that does not answer, so many times in all.
fn patiently<T>(tries: usize, mut ask: impl FnMut() -> Result<T, PassedOver>) -> Result<T, PassedOver> {
    let mut tried = 0;
    loop {
        tried += 1;
        match ask() {
            Err(PassedOver::Depot(error)) if tried < tries && error.may_pass() => {
                tracing::debug!(%error, "the snapshots are asked for again");
                thread::sleep(AGAIN);
            }
            other => return other,
        }
    }
}
