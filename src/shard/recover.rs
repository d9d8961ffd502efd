//! All of recovery that blocks, on threads of its own: reading a verdict partition up to an epoch, or between two
//! acknowledgements, asking for the logs' ends, and asking the group. The shard asks and goes on turning.

use std::{
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::error::KafkaError;

use super::{
    Shared,
    assignment::Asker,
    claims::Predecessor,
    questions::Questions,
    restore::{self, Base, Found, Sought},
};
use crate::{
    config::Config,
    domain::verdict::Head,
    engine::{
        plan::Logs,
        settle::{Doubt, Settled, Settling},
    },
    kafka::tail::{Patience, RangeReader, Span, TailError},
};

/// A question.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Whom does the partition come from?
    Look,
    /// Read everything up to the epoch.
    Settle { epoch: i64 },
    /// Read from this offset to the end: is there an owner newer than the epoch?
    Check { from: i64, epoch: i64 },
    /// Does the group still say that the partition is ours? It hears so with this offset and checkpoint.
    Ask { offset: i64, checkpoint: String },
    /// Where does the input begin and end?
    Span,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Whom the partition comes from.
    Looked {
        /// What is known of those before, or why the partition cannot be what the group says.
        last: Result<Predecessor, Doubt>,
    },
    /// The past is settled.
    Settled {
        /// What the verdicts say.
        settled: Box<Settled>,
        /// What the logs look like.
        logs: Logs,
        /// The state, where a snapshot gave it.
        base: Option<Box<Base>>,
    },
    /// The snapshots do not answer: the past is to be settled again, once others had their turn.
    Later,
    /// What lies behind a jump was read.
    Checked {
        /// One past the last offset read.
        next: i64,
        /// The newest owner record behind the epoch, if any.
        newer: Option<Rival>,
    },
    /// The group answered; where it said no, why.
    Asked(Result<(), KafkaError>),
    /// Where the input begins and ends.
    Spanned(Span),
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
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The partition.
    pub partition: i32,
    /// The slot's generation: answers for earlier ones are dropped.
    pub generation: usize,
    /// When the ownership began.
    pub since: Instant,
    /// Set when nobody waits for the answer any more.
    pub abandoned: Arc<AtomicBool>,
}

/// The shard's end of the line.
pub struct Recoveries {
    questions: Arc<Questions>,
    answers: Receiver<(Ticket, Answer)>,
}

/// Threads that answer one shard's questions.
const WORKERS: usize = 2;

/// How long one attempt at a question may wait for a silent broker. It begins anew then, from the back of the queue, so
/// that the others' questions come round; a slow broker has time to answer, and a partition without a leader is not waited
/// for at all.
const PATIENCE: Patience = Patience { asking: Duration::from_secs(10), reading: Duration::from_secs(60) };

/// How long after a question is asked a place in the input is looked at: what was fetched before is taken by then.
const DOUBT: Duration = Duration::from_millis(500);

struct Worker {
    shared: Shared,
    asker: Asker,
    /// Made with the first question.
    readers: Option<Readers>,
}

pub(super) struct Readers {
    pub transactions: RangeReader,
    pub verdicts: RangeReader,
}

impl Recoveries {
    /// Starts the threads; they end with the shard.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(shard: usize, shared: &Shared, asker: &Asker) -> Result<Self, TailError> {
        let questions = Arc::new(Questions::default());
        let (answer, answers) = channel();
        for number in 0..WORKERS {
            let mut worker = Worker { shared: shared.clone(), asker: asker.clone(), readers: None };
            let (questions, answer) = (Arc::clone(&questions), answer.clone());
            let spawned = thread::Builder::new()
                .name(format!("recover-{shard}-{number}"))
                .spawn(move || questions.work(&answer, |ticket, question| worker.find(ticket, question)));
            spawned.map_err(|error| TailError::Client(format!("a recovery thread cannot be started: {error}")))?;
        }
        Ok(Self { questions, answers })
    }

    /// Asks whom a partition comes from.
    pub fn look(&self, ticket: Ticket) {
        self.questions.ask(ticket, Question::Look, Duration::ZERO);
    }

    /// Asks to settle a partition taken with `epoch`.
    pub fn settle(&self, ticket: Ticket, epoch: i64) {
        self.questions.ask(ticket, Question::Settle { epoch }, Duration::ZERO);
    }

    /// Asks what lies from `from` on.
    pub fn check(&self, ticket: Ticket, from: i64, epoch: i64) {
        self.questions.ask(ticket, Question::Check { from, epoch }, Duration::ZERO);
    }

    /// Asks the group whether the partition is still ours: it is told `offset` and `checkpoint`.
    pub fn ask_group(&self, ticket: Ticket, offset: i64, checkpoint: String) {
        self.questions.ask(ticket, Question::Ask { offset, checkpoint }, Duration::ZERO);
    }

    /// Asks, in a moment, where the input begins and ends.
    pub fn span(&self, ticket: Ticket) {
        self.questions.ask(ticket, Question::Span, DOUBT);
    }

    /// An answer, where one has come.
    pub fn answer(&self) -> Option<(Ticket, Answer)> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Recoveries {
    fn drop(&mut self) {
        self.questions.close();
    }
}

impl Worker {
    fn find(&mut self, ticket: &Ticket, question: &Question) -> Result<Answer, TailError> {
        let Ticket { partition, abandoned, .. } = ticket;
        match question {
            // A refusal is an answer, too: the slot asks again by itself.
            Question::Ask { offset, checkpoint } => {
                Ok(Answer::Asked(self.asker.is_ours(*partition, *offset, checkpoint.clone())))
            }
            Question::Look => {
                let (readers, shared) = self.readers()?;
                readers.look(*partition, shared, abandoned)
            }
            Question::Settle { epoch } => {
                let (readers, shared) = self.readers()?;
                readers.settle(ticket, *epoch, shared)
            }
            Question::Check { from, epoch } => self.readers()?.0.check(*partition, *from, *epoch, abandoned),
            Question::Span => self.readers()?.0.transactions.span(*partition, abandoned).map(Answer::Spanned),
        }
    }

    fn readers(&mut self) -> Result<(&mut Readers, &Shared), TailError> {
        if self.readers.is_none() {
            let Config { kafka, topics, .. } = &*self.shared.config;
            let transactions = RangeReader::of_group(kafka, &topics.transactions)?.with(PATIENCE);
            let verdicts = RangeReader::open(kafka, &topics.verdicts)?.with(PATIENCE);
            self.readers = Some(Readers { transactions, verdicts });
        }
        let readers = self.readers.as_mut().expect("made just above where it was missing");
        Ok((readers, &self.shared))
    }
}

impl Readers {
    /// From the newest snapshot that fits, or from the logs' starts.
    fn settle(&mut self, ticket: &Ticket, epoch: i64, shared: &Shared) -> Result<Answer, TailError> {
        let (partition, stop) = (ticket.partition, &*ticket.abandoned);
        // A snapshot is not read in vain while one of the two has no leader.
        self.verdicts.span(partition, stop)?;
        self.transactions.span(partition, stop)?;
        match restore::newest(self, shared, ticket, epoch)? {
            Sought::Found(found) => {
                let Found { base, settled, logs } = *found;
                return Ok(Answer::Settled { settled: Box::new(settled), logs, base: Some(Box::new(base)) });
            }
            Sought::Away => return Ok(Answer::Later),
            Sought::Nothing => {}
        }
        let told = self.told(partition, shared, stop)?;
        let Span { start: verdict_start, end } = self.verdicts.span(partition, stop)?;
        let mut settling = Settling::new(verdict_start, shared.log.short()).knowing(told, end);
        self.verdicts.read_range(partition, verdict_start, epoch + 1, stop, |offset, value| {
            settling.take(offset, value.unwrap_or_default());
        })?;
        let input = self.transactions.span(partition, stop)?;
        let (input_start, input_end) = (input.start, input.end);
        let logs = Logs { input_start, input_end, verdict_start, partitions: shared.partitions };
        Ok(Answer::Settled { settled: Box::new(settling.finish()), logs, base: None })
    }

    fn check(&mut self, partition: i32, from: i64, epoch: i64, stop: &AtomicBool) -> Result<Answer, TailError> {
        let Span { start, end } = self.verdicts.span(partition, stop)?;
        if from < start {
            // What stood behind the jump is deleted, a newer owner's record perhaps among it: the epoch counts as lost.
            let unknown = || String::from("unknown (its record is deleted)");
            let newer = Some(Rival { epoch: start, group: unknown(), instance: unknown() });
            return Ok(Answer::Checked { next: end, newer });
        }
        let mut newer = None;
        self.verdicts.read_range(partition, from, end, stop, |offset, value| {
            let head = value.and_then(Head::parse).filter(|head| head.kind == "owner" && offset > epoch);
            if let Some(head) = head {
                let text = |field: Option<std::borrow::Cow<'_, str>>| field.map_or_else(String::new, String::from);
                newer = Some(Rival { epoch: offset, group: text(head.group), instance: text(head.instance) });
            }
        })?;
        Ok(Answer::Checked { next: end.max(from), newer })
    }
}
