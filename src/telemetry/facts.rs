//! Facts worth knowing: each is a struct whose `emit` writes its log line, counts its metric and changes health
//! together, so that none of the three is forgotten. Fields are partitions, offsets, shards, counts and reasons;
//! never a phone number, an id of a transaction, or a record's bytes.

use std::time::{Duration, Instant};

use super::{PartitionState, TOPICS, Telemetry};
use crate::domain::invalid::InvalidReason;

/// Something that happened and is worth knowing.
pub trait Fact {
    /// Log line, metric and health in one.
    fn emit(self, to: &Telemetry);
}

/// A shard owns a partition: its owner record was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct EpochTaken {
    /// The partition.
    pub partition: i32,
    /// The owner record's offset.
    pub epoch: i64,
}

/// Another owner came: the epoch is lost.
#[derive(Clone, Copy, Debug)]
pub struct EpochLost {
    /// The partition.
    pub partition: i32,
    /// The epoch that was held.
    pub epoch: i64,
    /// The newer one.
    pub newer: i64,
}

/// An acknowledgement does not follow the one before it: nothing goes out until it is known whether somebody else wrote.
#[derive(Clone, Copy, Debug)]
pub struct EpochDoubted {
    /// The partition.
    pub partition: i32,
    /// The first offset not known to be ours.
    pub from: i64,
}

/// No other owner wrote: verdicts go on.
#[derive(Clone, Copy, Debug)]
pub struct EpochKept {
    /// The partition.
    pub partition: i32,
}

/// A partition is being rebuilt.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryStarted {
    /// The partition.
    pub partition: i32,
    /// The shard that has it now.
    pub shard: usize,
}

/// A partition's state is rebuilt; verdicts go out from here.
#[derive(Clone, Copy, Debug)]
pub struct Recovered {
    /// The partition.
    pub partition: i32,
    /// Input records replayed.
    pub replayed: u64,
    /// From assignment to now.
    pub took: Duration,
}

/// A partition is not served until someone acts.
#[derive(Clone, Copy, Debug)]
pub struct PartitionRefused<'a> {
    /// The partition.
    pub partition: i32,
    /// The reason and the way out.
    pub why: &'a str,
}

/// The program failed on a record; its partition is rebuilt without it, or stops.
#[derive(Clone, Copy, Debug)]
pub struct RecordCrashed<'a> {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The place in the code.
    pub place: &'a str,
    /// How often it did so in this process.
    pub times: usize,
}

/// A partition waits for acknowledgements.
#[derive(Clone, Copy, Debug)]
pub struct PartitionPaused {
    /// The partition.
    pub partition: i32,
    /// Verdicts not yet acknowledged.
    pub undelivered: usize,
    /// Bytes of dead letters not yet acknowledged.
    pub letter_bytes: usize,
}

/// A paused partition goes on.
#[derive(Clone, Copy, Debug)]
pub struct PartitionResumed {
    /// The partition.
    pub partition: i32,
}

/// A partition was given back.
#[derive(Clone, Copy, Debug)]
pub struct PartitionGone {
    /// The partition.
    pub partition: i32,
    /// The shard that had it.
    pub shard: usize,
}

/// The topics' partition counts were compared. The same fault is told once, until it is mended.
#[derive(Clone, Debug)]
pub struct TopicsCompared {
    /// What is wrong with them, and the way out.
    pub fault: Option<String>,
}

/// Verdicts of a past owner were read and ignored.
#[derive(Clone, Copy, Debug)]
pub struct ZombieIgnored {
    /// The partition.
    pub partition: i32,
    /// How many.
    pub verdicts: u64,
}

/// Input was deleted before it was judged; its record stands in the verdict topic.
#[derive(Clone, Copy, Debug)]
pub struct RecordsLost {
    /// The partition.
    pub partition: i32,
    /// The first offset without a verdict.
    pub first: i64,
    /// The last one.
    pub last: i64,
}

/// Replay came to other features than the accepted verdict was made from.
#[derive(Clone, Copy, Debug)]
pub struct ReplayDiffers {
    /// The partition.
    pub partition: i32,
    /// The input offset.
    pub offset: i64,
}

/// A verdict does not follow the one before it.
#[derive(Clone, Copy, Debug)]
pub struct GapSeen {
    /// The partition.
    pub partition: i32,
    /// The source offset that counted before.
    pub expected: i64,
    /// What the verdict says came before it.
    pub found: i64,
}

/// A shard reaches no broker. Told of the first shard alone, and silent until [`BrokerBack`] of all.
#[derive(Clone, Copy, Debug)]
pub struct BrokerLost<'a> {
    /// The shard.
    pub shard: usize,
    /// The client's word.
    pub why: &'a str,
}

/// A shard reaches the broker again; told of the last of those that had lost it.
#[derive(Clone, Copy, Debug)]
pub struct BrokerBack {
    /// The shard.
    pub shard: usize,
}

/// What stands of a dead letter in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterFate {
    /// All of it.
    Whole,
    /// Its beginning, marked.
    Cut,
    /// Nothing: it was refused for good.
    Lost,
}

/// A record's dead letter was acknowledged, or given up.
#[derive(Clone, Copy, Debug)]
pub struct DeadLettered {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Why it is no transaction.
    pub reason: InvalidReason,
    /// What stands of the letter.
    pub fate: LetterFate,
}

impl Fact for EpochTaken {
    fn emit(self, to: &Telemetry) {
        to.metrics.epochs_taken.inc();
        tracing::info!(partition = self.partition, epoch = self.epoch, "partition owned");
    }
}

impl Fact for EpochDoubted {
    fn emit(self, to: &Telemetry) {
        let Self { partition, from } = self;
        to.health.partition(partition, PartitionState::Recovering, None);
        tracing::warn!(partition, from, "a jump in the acknowledgements; reading what lies between");
    }
}

impl Fact for EpochKept {
    fn emit(self, to: &Telemetry) {
        to.health.partition(self.partition, PartitionState::Running, None);
        tracing::info!(partition = self.partition, "no other owner wrote; verdicts go on");
    }
}

impl Fact for EpochLost {
    fn emit(self, to: &Telemetry) {
        let Self { partition, epoch, newer } = self;
        to.health.partition(partition, PartitionState::Recovering, None);
        tracing::warn!(partition, epoch, newer, "another owner took the partition");
    }
}

impl Fact for RecoveryStarted {
    fn emit(self, to: &Telemetry) {
        to.health.partition_taken(self.partition, self.shard);
        to.health.partition(self.partition, PartitionState::Recovering, None);
        tracing::debug!(partition = self.partition, "recovery started");
    }
}

impl Fact for Recovered {
    fn emit(self, to: &Telemetry) {
        to.health.partition(self.partition, PartitionState::Running, None);
        to.metrics.recover.observe(self.took.as_secs_f64());
        let ms = self.took.as_millis() as u64;
        tracing::info!(partition = self.partition, replayed = self.replayed, ms, "partition recovered");
    }
}

impl Fact for PartitionRefused<'_> {
    fn emit(self, to: &Telemetry) {
        to.health.partition(self.partition, PartitionState::Refused, Some(self.why));
        tracing::error!(partition = self.partition, why = self.why, "partition refused");
    }
}

impl Fact for RecordCrashed<'_> {
    fn emit(self, to: &Telemetry) {
        to.metrics.record_crashes.inc();
        let Self { partition, offset, place, times } = self;
        tracing::error!(partition, offset, place, times, "the program failed on a record; its partition is rebuilt");
    }
}

impl Fact for PartitionPaused {
    fn emit(self, to: &Telemetry) {
        to.health.partition(self.partition, PartitionState::Paused, None);
        to.metrics.undelivered(self.partition, self.undelivered);
        tracing::warn!(
            partition = self.partition,
            undelivered = self.undelivered,
            letter_bytes = self.letter_bytes,
            "partition paused until acknowledged"
        );
    }
}

impl Fact for PartitionResumed {
    fn emit(self, to: &Telemetry) {
        to.health.partition(self.partition, PartitionState::Running, None);
        tracing::info!(partition = self.partition, "partition resumed");
    }
}

impl Fact for PartitionGone {
    fn emit(self, to: &Telemetry) {
        if to.health.partition_gone(self.partition, self.shard) {
            to.metrics.partition_gone(self.partition);
        }
        tracing::info!(partition = self.partition, "partition given back");
    }
}

impl Fact for TopicsCompared {
    fn emit(self, to: &Telemetry) {
        match (to.health.hold(TOPICS, self.fault.clone()), self.fault) {
            (true, Some(fault)) => tracing::error!(fault, "partition counts differ"),
            (true, None) => tracing::info!("partition counts are right again"),
            (false, _) => {}
        }
    }
}

impl Fact for ZombieIgnored {
    fn emit(self, to: &Telemetry) {
        to.metrics.zombies_ignored.inc_by(self.verdicts);
        tracing::warn!(partition = self.partition, verdicts = self.verdicts, "verdicts of a past owner ignored");
    }
}

impl Fact for RecordsLost {
    fn emit(self, to: &Telemetry) {
        let Self { partition, first, last } = self;
        to.metrics.lost_records.inc_by((last - first + 1).max(0) as u64);
        tracing::error!(
            partition,
            first,
            last,
            "input was deleted before it was judged: raise the transaction topic's retention; its verdicts will never be"
        );
    }
}

impl Fact for ReplayDiffers {
    fn emit(self, to: &Telemetry) {
        to.metrics.replay_mismatches.inc();
        let Self { partition, offset } = self;
        tracing::error!(
            partition,
            offset,
            "replay differs from the verdict it should lead to; sentra replay PARTITION OFFSET says in what"
        );
    }
}

impl Fact for GapSeen {
    fn emit(self, to: &Telemetry) {
        to.metrics.gaps.inc();
        let Self { partition, expected, found } = self;
        tracing::error!(partition, expected, found, "the chain of verdicts is broken");
    }
}

impl Fact for BrokerLost<'_> {
    fn emit(self, to: &Telemetry) {
        if to.health.broker(self.shard, Some(self.why), Instant::now()) {
            tracing::error!(
                shard = self.shard,
                why = self.why,
                "no broker reached (kafka.bootstrap_servers); trying on"
            );
        }
    }
}

impl Fact for BrokerBack {
    fn emit(self, to: &Telemetry) {
        if to.health.broker(self.shard, None, Instant::now()) {
            tracing::info!(shard = self.shard, "broker reached again");
        }
    }
}

impl Fact for DeadLettered {
    fn emit(self, to: &Telemetry) {
        let Self { partition, offset, reason, fate } = self;
        match fate {
            LetterFate::Whole => to.metrics.dead_letters.inc(),
            LetterFate::Cut => {
                to.metrics.dead_letters.inc();
                to.metrics.dead_letters_cut.inc();
            }
            LetterFate::Lost => to.metrics.dead_letters_lost.inc(),
        }
        // A flood of bad records must not become a flood of lines: the counters by reason are for people.
        tracing::debug!(partition, offset, reason = reason.as_str(), ?fate, "dead letter settled");
    }
}
