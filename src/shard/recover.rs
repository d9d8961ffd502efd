//! All of recovery that blocks, on a thread of its own: reading a verdict partition up to an epoch, or between two
//! acknowledgements, and asking for the logs' ends. The shard asks and goes on turning.

use std::{
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use rdkafka::error::KafkaError;

use super::Shared;
use crate::{
    domain::verdict::Head,
    engine::{
        plan::Logs,
        settle::{Settled, Settling},
    },
    kafka::tail::{RangeReader, TailError},
};

/// How long one question to the broker may take before it is asked again.
const ASK: Duration = Duration::from_secs(10);

/// How long to wait after a failure before trying again.
const AGAIN: Duration = Duration::from_millis(500);

/// A question.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// Read everything up to the epoch.
    Settle { epoch: i64 },
    /// Read from this offset to the end: is there an owner newer than the epoch?
    Check { from: i64, epoch: i64 },
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// The past is settled.
    Settled {
        /// What the verdicts say.
        settled: Box<Settled>,
        /// What the logs look like.
        logs: Logs,
    },
    /// What lies behind a jump was read.
    Checked {
        /// One past the last offset read.
        next: i64,
        /// The newest owner record behind the epoch, if any.
        newer: Option<Rival>,
    },
}

/// Another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its epoch.
    pub epoch: i64,
    /// Its consumer group.
    pub group: String,
    /// Its instance.
    pub instance: String,
}

/// For whom a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The partition.
    pub partition: i32,
    /// The slot's generation: answers for earlier ones are dropped.
    pub generation: usize,
}

/// The shard's end of the line.
pub struct Recoveries {
    questions: Sender<(Ticket, Question)>,
    answers: Receiver<(Ticket, Answer)>,
}

struct Worker {
    reader: RangeReader,
    transactions: String,
    verdicts: String,
    log: String,
    stop: Arc<AtomicBool>,
}

impl Recoveries {
    /// Starts the thread; it ends with the shard.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn start(shard: usize, shared: &Shared) -> Result<Self, KafkaError> {
        let (questions, asked) = channel::<(Ticket, Question)>();
        let (answer, answers) = channel();
        let mut worker = Worker {
            reader: RangeReader::new(&shared.config.kafka)?,
            transactions: shared.config.topics.transactions.clone(),
            verdicts: shared.config.topics.verdicts.clone(),
            log: shared.log.short(),
            stop: Arc::clone(&shared.stop),
        };
        let work = move || {
            // Ends when the shard hangs up, or with the process.
            for (ticket, question) in asked {
                let Some(found) = worker.until_answered(ticket.partition, question) else { return };
                if answer.send((ticket, found)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name(format!("recover-{shard}"))
            .spawn(work)
            .map_err(|error| KafkaError::ClientCreation(format!("the recovery thread cannot be started: {error}")))?;
        Ok(Self { questions, answers })
    }

    /// Asks to settle a partition taken with `epoch`.
    pub fn settle(&self, ticket: Ticket, epoch: i64) {
        self.ask(ticket, Question::Settle { epoch });
    }

    /// Asks what lies from `from` on.
    pub fn check(&self, ticket: Ticket, from: i64, epoch: i64) {
        self.ask(ticket, Question::Check { from, epoch });
    }

    /// The next answer, if one is there.
    pub fn answer(&self) -> Option<(Ticket, Answer)> {
        self.answers.try_recv().ok()
    }

    fn ask(&self, ticket: Ticket, question: Question) {
        if self.questions.send((ticket, question)).is_err() {
            tracing::error!(partition = ticket.partition, "the recovery thread is gone; the partition stands still");
        }
    }
}

impl Worker {
    /// Tries until it has an answer; `None` when the process stops.
    fn until_answered(&mut self, partition: i32, question: Question) -> Option<Answer> {
        loop {
            let tried = match question {
                Question::Settle { epoch } => self.settle(partition, epoch),
                Question::Check { from, epoch } => self.check(partition, from, epoch),
            };
            match tried {
                Ok(answer) => return Some(answer),
                Err(TailError::Stopped) => return None,
                Err(error) => {
                    tracing::warn!(partition, %error, "recovery is tried again");
                    thread::sleep(AGAIN);
                }
            }
        }
    }

    fn settle(&mut self, partition: i32, epoch: i64) -> Result<Answer, TailError> {
        let (verdict_start, _) = self.reader.watermarks(&self.verdicts, partition, ASK)?;
        let mut settling = Settling::new(verdict_start, self.log.clone());
        self.reader.read(&self.verdicts, partition, verdict_start, epoch + 1, &self.stop, |offset, value| {
            settling.take(offset, value.unwrap_or_default());
        })?;
        let (input_start, input_end) = self.reader.watermarks(&self.transactions, partition, ASK)?;
        let logs = Logs { input_start, input_end, verdict_start };
        Ok(Answer::Settled { settled: Box::new(settling.finish()), logs })
    }

    fn check(&mut self, partition: i32, from: i64, epoch: i64) -> Result<Answer, TailError> {
        let (_, end) = self.reader.watermarks(&self.verdicts, partition, ASK)?;
        let mut newer = None;
        self.reader.read(&self.verdicts, partition, from, end, &self.stop, |offset, value| {
            let head = value.and_then(Head::parse).filter(|head| head.kind == "owner" && offset > epoch);
            if let Some(head) = head {
                let text = |field: Option<std::borrow::Cow<'_, str>>| field.map_or_else(String::new, String::from);
                newer = Some(Rival { epoch: offset, group: text(head.group), instance: text(head.instance) });
            }
        })?;
        Ok(Answer::Checked { next: end.max(from), newer })
    }
}
