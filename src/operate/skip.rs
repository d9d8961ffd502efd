//! Skipping a record that no owner can get over: its verdict says `internal_error`, as if the program had failed on it
//! and gone on. Done as a new owner would: an owner record, the past settled up to it, the dead letter, the verdict.
//!
//! Invariant: nothing is skipped but the first record above h, and only where no other owner came meanwhile.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::Message;

use super::{Desk, OperateError, Past};
use crate::{
    domain::{
        invalid::Invalid,
        verdict::{Head, Kind, Source},
    },
    engine::{
        edition::Edition,
        emit::{Stamp, write_invalid},
        plan::plan,
    },
    kafka::{group::host_name, tail::TailError},
    shard::{DeadLetters, Verdicts, owner_record, trace, wall_time},
};

/// How long a record may take to be acknowledged.
const WITHIN: Duration = Duration::from_secs(60);

/// How long one wait for acknowledgements lasts.
const POLL: Duration = Duration::from_millis(20);

/// A record that was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The owner record's offset in the verdict partition.
    pub epoch: i64,
    /// The verdict's.
    pub verdict: i64,
}

/// The record to be skipped, as its verdict needs it.
#[derive(Default)]
struct Copied {
    offset: Option<i64>,
    key: Option<Vec<u8>>,
    trace: Vec<(String, Vec<u8>)>,
    letter: Option<u64>,
}

impl Desk {
    /// Whether the record may be skipped, without doing it.
    ///
    /// # Errors
    /// It is not the first one above h, no owner would take the partition, or a log cannot be read.
    pub fn may_skip(&mut self, partition: i32, offset: i64) -> Result<(), OperateError> {
        self.check(partition)?;
        let past = self.past(partition, None)?;
        if !self.config.score.take_over {
            let follows = Edition::own(&self.config.rules).follows(past.settled.owners);
            follows.map_err(|superseded| OperateError::Superseded { partition, superseded })?;
        }
        self.first_above(partition, offset, &past, None).map(|_| ())
    }

    /// Skips the record: see the module.
    ///
    /// # Errors
    /// As [`Desk::may_skip`]; or another owner took the partition meanwhile; or nothing can be written.
    pub fn skip(&mut self, partition: i32, offset: i64) -> Result<Skipped, OperateError> {
        self.may_skip(partition, offset)?;
        let verdicts = Verdicts::new(&self.config).map_err(|error| OperateError::Producer(error.to_string()))?;
        let (log, host) = (self.log().short(), host_name());
        let instance = format!("{host}-{}-skip", std::process::id());
        let owner = owner_record(&self.config, &self.place(partition), &instance, &host);
        let epoch = self.append(&verdicts, partition, None, &owner, &[])?;
        let past = self.past(partition, Some(epoch + 1))?;
        let mut letters = DeadLetters::new(&self.config);
        let Copied { key, trace, letter, .. } = self.first_above(partition, offset, &past, Some(&mut letters))?;
        self.until_written(&mut letters, letter)?;
        let previous_offset = past.settled.last.unwrap_or(-1);
        let source = Source { log: &log, partition, offset, previous_offset, epoch };
        let stamp = Stamp { source, decided_at: wall_time().text(), processing_time_ms: 1 };
        let mut value = Vec::new();
        write_invalid(&Invalid::internal(), false, &stamp, &mut value);
        let verdict = self.append(&verdicts, partition, key.as_deref(), &value, &trace)?;
        if self.is_taken_between(partition, epoch + 1, verdict)? {
            let why = "another owner took the partition meanwhile, so the verdict does not count; try again";
            return Err(OperateError::NotThere { partition, offset, why: why.to_owned() });
        }
        Ok(Skipped { epoch, verdict })
    }

    /// The first record above h, which must be the one at `offset`; its dead letter is written where `letters` are given.
    fn first_above(
        &mut self,
        partition: i32,
        offset: i64,
        past: &Past,
        mut letters: Option<&mut DeadLetters>,
    ) -> Result<Copied, OperateError> {
        let not_there = |why: String| OperateError::NotThere { partition, offset, why };
        let input = self.transactions.span(partition, &self.stop)?;
        let logs = self.logs(input, past);
        let start = plan(logs, &past.settled, None, &self.log().short())
            .map_err(|refusal| OperateError::Refused { partition, refusal })?;
        let h = start.last;
        if offset <= h {
            return Err(not_there(format!(
                "it has its verdict already: verdicts that count reach {h}. Where its replay fails, run a version that \
                 does not fail on it"
            )));
        }
        if start.lost.is_some() || offset >= input.end {
            let span =
                format!("the input holds {} to {}, and verdicts that count reach {h}", input.start, input.end - 1);
            return Err(not_there(format!("it is not there to be skipped: {span}")));
        }
        let mut copied = Copied::default();
        let mut failed = None;
        self.transactions.read_messages(partition, h + 1, offset + 1, &self.stop, |message| {
            if copied.offset.is_some() {
                return;
            }
            copied.offset = Some(message.offset());
            copied.key = message.key().filter(|key| (1..=256).contains(&key.len())).map(<[u8]>::to_vec);
            copied.trace = trace(message);
            if let Some(letters) = letters.as_deref_mut().filter(|_| message.offset() == offset) {
                match letters.write(message, &Invalid::internal()) {
                    Ok(letter) => copied.letter = Some(letter),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(OperateError::Producer(error.to_string()));
        }
        match copied.offset {
            Some(first) if first == offset => Ok(copied),
            Some(first) => Err(not_there(format!("the first record without a verdict is the one at {first}"))),
            None => Err(not_there(String::from("there is no record at or before it that lacks its verdict"))),
        }
    }

    /// Appends a record and waits for its offset.
    fn append(
        &self,
        verdicts: &Verdicts,
        partition: i32,
        key: Option<&[u8]>,
        value: &[u8],
        trace: &[(String, Vec<u8>)],
    ) -> Result<i64, OperateError> {
        let deadline = Instant::now() + WITHIN;
        let failed = |why: &str| OperateError::Producer(format!("topic {}: {why}", self.config.topics.verdicts));
        verdicts.send(partition, 0, key, value, trace).map_err(|error| failed(&error.to_string()))?;
        let mut acks = Vec::new();
        while acks.is_empty() {
            if self.is_stopped() || Instant::now() > deadline {
                return Err(failed("the record was not acknowledged in time; it may be written all the same"));
            }
            if let Some(why) = verdicts.fatal() {
                return Err(failed(&why));
            }
            verdicts.wait(POLL);
            verdicts.acknowledged(&mut acks);
        }
        let offset = acks.first().and_then(|ack| ack.outcome.ok()).flatten();
        offset.ok_or_else(|| failed("the broker told no offset"))
    }

    fn until_written(&self, letters: &mut DeadLetters, letter: Option<u64>) -> Result<(), OperateError> {
        let deadline = Instant::now() + WITHIN;
        while letter.is_some_and(|letter| letters.is_waiting(letter)) {
            if self.stop.load(Ordering::Relaxed) || Instant::now() > deadline {
                let why = format!("topic {}: the dead letter was not acknowledged in time", self.config.topics.dlq);
                return Err(OperateError::Producer(why));
            }
            letters.settled();
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn is_taken_between(&mut self, partition: i32, from: i64, to: i64) -> Result<bool, TailError> {
        let mut taken = false;
        self.verdicts.read_range(partition, from, to, &self.stop, |_, value| {
            taken |= value.and_then(Head::parse).is_some_and(|head| head.kind == Kind::Owner.as_str());
        })?;
        Ok(taken)
    }
}
