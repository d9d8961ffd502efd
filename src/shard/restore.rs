//! Restoring a partition from the newest of its snapshots that fits the logs, on `recover`'s threads. Each one that
//! does not is named with its reason; then an older one is tried, and in the end the log is replayed.

use std::{
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use rdkafka::message::Message;
use thiserror::Error;

use super::{Shared, ownership::wall_time, recover::Readers};
use crate::{
    engine::{
        partition::Partition,
        plan::Logs,
        settle::{Settled, Settling},
        snapshot::{Anchor, Refused, Restored, Restoring, SnapshotIdentity},
    },
    kafka::tail::{RangeReader, Span, TailError},
    snapshot::{Depot, DepotError, Name},
    telemetry::{
        Fact,
        snapshot::{SnapshotRefused, SnapshotRestored},
    },
};

/// How often a store that does not answer is asked before the log is replayed instead.
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
enum PassedOver {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Depot(#[from] DepotError),
    #[error(transparent)]
    Tail(#[from] TailError),
}

/// The newest snapshot of `partition` that fits, with all verdicts below `epoch` settled behind it; `None` where none
/// does.
pub(super) fn newest(
    readers: &mut Readers,
    shared: &Shared,
    partition: i32,
    epoch: i64,
    stop: &AtomicBool,
) -> Result<Option<Found>, TailError> {
    let Some(depot) = &shared.depot else { return Ok(None) };
    let names = match patiently(|| Ok(depot.list(partition)?)) {
        Ok(names) => names,
        Err(error) => {
            let why = error.to_string();
            SnapshotRefused { partition, name: "all", why: &why }.emit(&shared.telemetry);
            return Ok(None);
        }
    };
    for name in names {
        match try_one(readers, shared, depot, partition, name, epoch, stop) {
            Ok(found) => return Ok(Some(found)),
            Err(PassedOver::Tail(error)) => return Err(error),
            Err(other) => {
                let (name, why) = (name.to_string(), other.to_string());
                SnapshotRefused { partition, name: &name, why: &why }.emit(&shared.telemetry);
            }
        }
    }
    Ok(None)
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

fn try_one(
    readers: &mut Readers,
    shared: &Shared,
    depot: &Depot,
    partition: i32,
    name: Name,
    epoch: i64,
    stop: &AtomicBool,
) -> Result<Found, PassedOver> {
    let began = Instant::now();
    let place = shared.place(partition);
    let rules = Arc::new(shared.config.rules.clone());
    let own = SnapshotIdentity::new(&place, shared.verdict_log.clone(), &rules);
    let begin = || Restoring::new(Arc::clone(&rules), place.clone(), own.clone());
    let mut restored = patiently(|| read::<PassedOver>(depot, name, begin()?, partition))?;
    let (head, end) = (restored.head.clone(), restored.end);
    if end.end != name.end {
        return Err(Refused::Damaged(String::from("its name is another snapshot's")).into());
    }
    let decisions = std::mem::take(&mut restored.decisions);
    let told = readers.told(partition, shared, stop)?;
    let Span { start: verdict_start, end: verdict_end } = readers.verdicts.span(partition, stop)?;
    let mut settling =
        Settling::resume(head.checkpoint, decisions, verdict_start, shared.log.short()).knowing(told, verdict_end);
    readers.verdicts.read_range(partition, settling.next(), epoch + 1, stop, |offset, value| {
        settling.take(offset, value.unwrap_or_default());
    })?;
    let settled = settling.finish();
    let input = readers.transactions.span(partition, stop)?;
    if let Some(anchor) = head.anchor.filter(|anchor| anchor.offset >= input.start)
        && !is_anchored(&mut readers.transactions, partition, anchor, stop)?
    {
        return Err(Refused::Anchor { offset: anchor.offset }.into());
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

/// Reads the anchor again: whether it is the record that the snapshot was taken behind.
///
/// # Errors
/// The log cannot be read there.
pub(crate) fn is_anchored(
    transactions: &mut RangeReader,
    partition: i32,
    anchor: Anchor,
    stop: &AtomicBool,
) -> Result<bool, TailError> {
    let mut found = None;
    transactions.read_messages(partition, anchor.offset, anchor.offset + 1, stop, |message| {
        let at = message.timestamp().to_millis();
        found = Some(Anchor::of(message.offset(), at, message.key(), message.payload()));
    })?;
    Ok(found == Some(anchor))
}

/// Asks a store again that does not answer.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, PassedOver>) -> Result<T, PassedOver> {
    let mut tried = 0;
    loop {
        tried += 1;
        match ask() {
            Err(PassedOver::Depot(error)) if tried < TRIES && error.may_pass() => {
                tracing::debug!(%error, "the snapshots are asked for again");
                thread::sleep(AGAIN);
            }
            other => return other,
        }
    }
}
