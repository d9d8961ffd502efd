//! How partitions are, as far as topics and snapshots tell, and what a process says where one is asked.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;

use super::{Desk, OperateError, Owner, Past, Process};
use crate::{
    domain::transaction::wire_enum,
    engine::plan::plan,
    kafka::tail::TailError,
    shard::{read_head, wall_time},
    snapshot::{Depot, DepotError},
};

wire_enum! {
    /// What becomes of a partition's records.
    State {
        /// Every record has its verdict.
        Running = "running",
        /// Records wait for theirs: the owner works on them, or nobody does.
        Behind = "behind",
        /// No owner would take it, or its owner says that it does not serve it.
        Refused = "refused",
        /// Nobody ever owned it.
        Unowned = "unowned",
    }
}

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    /// The partition.
    pub partition: i32,
    /// What becomes of its records.
    pub state: State,
    /// Why it is refused.
    pub error: Option<String>,
    /// The newest owner record.
    pub owner: Option<Owner>,
    /// The input's first offset.
    pub input_start: i64,
    /// One past the input's last offset.
    pub input_end: i64,
    /// h: the input offset of the last verdict that counts.
    pub last_judged: Option<i64>,
    /// Offsets above h.
    pub lag: i64,
    /// The verdict partition's first offset.
    pub verdict_start: i64,
    /// One past its last.
    pub verdict_end: i64,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotState>,
    /// Verdicts that the owner waits for, where a process that owns it was asked.
    pub undelivered: Option<i64>,
}

/// The newest snapshot of a partition.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotState {
    /// s1: it holds the records below.
    pub end: i64,
    /// Seconds since it was begun.
    pub age_s: Option<u64>,
    /// Why it cannot be read.
    pub fault: Option<String>,
}

impl Desk {
    /// How the partition is; `processes` are those of the line that were asked.
    ///
    /// # Errors
    /// The partition is not there, or a log or the snapshots cannot be read.
    pub fn state(&mut self, partition: i32, processes: &[Process]) -> Result<PartitionReport, OperateError> {
        self.check(partition)?;
        let past = self.past(partition, None)?;
        let input = self.transactions.span(partition, &self.stop)?;
        let logs = self.logs(input, &past);
        let Past { settled, owner, verdicts } = past;
        let planned = plan(logs, &settled, None, &self.log().short());
        let told = processes.iter().find_map(|process| process.refusal(partition));
        let error = planned.err().map(|refusal| refusal.to_string()).or(told);
        let next = settled.last.map_or(input.start, |last| last + 1).max(input.start);
        let lag = if self.is_empty_from(partition, next, input.end)? { 0 } else { input.end - next };
        let state = match (&error, &owner, lag) {
            (Some(_), ..) => State::Refused,
            (None, None, _) => State::Unowned,
            (None, Some(_), 0) => State::Running,
            (None, Some(_), _) => State::Behind,
        };
        let snapshot = self.depot.as_ref().map(|depot| newest(depot, partition)).transpose()?.flatten();
        Ok(PartitionReport {
            partition,
            state,
            error,
            owner,
            input_start: input.start,
            input_end: input.end,
            last_judged: settled.last,
            lag,
            verdict_start: verdicts.start,
            verdict_end: verdicts.end,
            snapshot,
            undelivered: processes.iter().find_map(|process| process.undelivered(partition)),
        })
    }
}

impl Desk {
    /// Whether no reader is given anything between the two: the ends of transactions are marked by records of their own.
    fn is_empty_from(&mut self, partition: i32, next: i64, end: i64) -> Result<bool, TailError> {
        let found = AtomicBool::new(false);
        match self.transactions.read_range(partition, next, end, &found, |_, _| found.store(true, Ordering::Relaxed)) {
            Err(TailError::Stopped) if found.load(Ordering::Relaxed) => Ok(false),
            read => read.map(|()| !found.load(Ordering::Relaxed)),
        }
    }
}

fn newest(depot: &Depot, partition: i32) -> Result<Option<SnapshotState>, DepotError> {
    let Some(name) = depot.list(partition)?.into_iter().next() else { return Ok(None) };
    let (age_s, fault) = match read_head(depot, partition, name) {
        Ok(head) => {
            let age_ms = (wall_time().0 / 1_000 - head.taken_at_ms).max(0);
            (Some(Duration::from_millis(age_ms as u64).as_secs()), None)
        }
        Err(fault) => (None, Some(fault.to_string())),
    };
    Ok(Some(SnapshotState { end: name.end, age_s, fault }))
}
