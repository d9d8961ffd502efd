//! The follower: one plain thread that follows all verdict partitions from now on and tells its listeners of every
//! verdict that counts.
//!
//! Invariant: listeners hear of each accepted verdict once, in its partition's order, or of a gap before it. A broker
//! that is away is waited out, and the process is not ready meanwhile; where the position is lost for good, the
//! follower goes on from the topic's end and tells a gap in every partition. It keeps nothing: listeners do.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{Message, message::BorrowedMessage};

use crate::{
    config::Config,
    domain::verdict::Head,
    kafka::{
        tail::{From, Positions, Tail, TailError, TailEvent, Until},
        wait,
    },
    telemetry::{Loop, Telemetry, VERDICT_TAIL, facts::GapSeen},
};

/// How long one wait for a record lasts before the stop flag is looked at.
const POLL: Duration = Duration::from_millis(50);

/// After so long without a record the broker is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// How long that question may take.
const ASK: Duration = Duration::from_secs(2);

/// The pause between two tries to open the topic, growing from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The most partitions a serve process follows: a cursor names each, and must fit a request's head
/// (`api::connections` has its limit and the test).
pub const MOST_PARTITIONS: usize = 1_024;

/// A verdict that counts, as it lies in the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Partition of both topics.
    pub partition: i32,
    /// Offset in the verdict topic.
    pub offset: i64,
    /// Offset of the transaction.
    pub source: i64,
    /// The epoch of its writer, which is e after it.
    pub epoch: i64,
    /// The record's timestamp, milliseconds since 1970; -1 where it has none.
    pub timestamp_ms: i64,
    /// The record's key: the phone, or null.
    pub key: Option<Box<[u8]>>,
    /// The verdict's JSON.
    pub value: Box<[u8]>,
}

impl Accepted {
    /// The verdict of input offset `source` that a record bears, written in that epoch.
    pub fn of(source: i64, epoch: i64, message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            source,
            epoch,
            timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(Box::from),
            value: Box::from(message.payload().unwrap_or_default()),
        }
    }
}

/// Who is told. Called on the follower's thread, which serves all listeners: it must return at once.
pub trait Listener: Send + Sync {
    /// A verdict counts.
    fn accepted(&self, verdict: &Arc<Accepted>);

    /// Verdicts of this partition are missing before what comes next.
    fn gap(&self, partition: i32) {
        let _ = partition;
    }

    /// Following begins at these positions, or begins anew after they were lost.
    fn opened(&self, positions: &Positions) {
        let _ = positions;
    }
}

/// Why following ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The topic cannot be followed at all: it is missing, or refused.
    #[error(transparent)]
    Tail(#[from] TailError),
}

/// Follows the verdict topic for all who need its verdicts live.
pub struct Follower {
    config: Arc<Config>,
    telemetry: Telemetry,
    stop: Arc<AtomicBool>,
    listeners: Vec<Arc<dyn Listener>>,
    /// By partition, the input offset that counted last.
    last: BTreeMap<i32, i64>,
}

/// How following one opened tail ended, where it did not fail for good.
enum Ended {
    /// The stop flag.
    Stopped,
    /// The tail failed; it stood here.
    Failed(TailError, Positions),
}

impl Follower {
    /// Starts the thread; it ends once `stop` is set, or by itself where the topic cannot be followed from the start.
    /// Until the topic is open, and while the broker is away, the process is not ready.
    ///
    /// # Panics
    /// The system has no thread to give.
    pub fn start(
        config: Arc<Config>,
        telemetry: Telemetry,
        stop: Arc<AtomicBool>,
        listeners: Vec<Arc<dyn Listener>>,
    ) -> JoinHandle<Result<(), FollowError>> {
        telemetry.health.hold(VERDICT_TAIL, Some(String::from("is not open yet")));
        telemetry.health.beat(Loop::Follower, Instant::now());
        let follower = Self { config, telemetry, stop, listeners, last: BTreeMap::new() };
        let thread = thread::Builder::new().name(String::from("verdict-tail")).spawn(move || follower.run());
        thread.expect("a process at its start has a thread to give, or is of no use")
    }

    fn run(mut self) -> Result<(), FollowError> {
        let Some(mut tail) = self.open_first()? else { return Ok(()) };
        loop {
            self.telemetry.health.hold(VERDICT_TAIL, None);
            match self.follow(&mut tail) {
                Ended::Stopped => return Ok(()),
                Ended::Failed(error, positions) => {
                    self.hold(&error);
                    drop(tail);
                    match self.reopen(positions) {
                        Some(again) => tail = again,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Opens the topic at its end, waiting for the broker; `None` when stopped before.
    fn open_first(&self) -> Result<Option<Tail>, TailError> {
        let mut pause = BACKOFF.0;
        while !self.stopped() {
            match self.open(From::Latest) {
                Err(error @ TailError::Away { .. }) => self.hold(&error),
                opened => return opened.map(|tail| Some(self.begun(tail))),
            }
            pause = self.pause(pause);
        }
        Ok(None)
    }

    /// Opens the topic where the follower stood, or at its end where that is lost; `None` when stopped before.
    fn reopen(&self, positions: Positions) -> Option<Tail> {
        let mut pause = BACKOFF.0;
        let mut from = From::Positions(positions);
        while !self.stopped() {
            match self.open(from.clone()) {
                Ok(tail) if from == From::Latest => return Some(self.begun(tail)),
                Ok(tail) => return Some(tail),
                Err(error) if error.is_lost_place() => {
                    tracing::error!(%error, "the verdict tail lost its place; it goes on from the topic's end");
                    from = From::Latest;
                    continue;
                }
                Err(error) => self.hold(&error),
            }
            pause = self.pause(pause);
        }
        None
    }

    fn open(&self, from: From) -> Result<Tail, TailError> {
        // Waiting for a broker is no standstill.
        self.telemetry.health.beat(Loop::Follower, Instant::now());
        let topic = &self.config.topics.verdicts;
        let tail = Tail::open(&self.config.kafka, topic, from, Until::Forever)?;
        fits(topic, tail.positions().partitions.len()).map(|()| tail)
    }

    fn begun(&self, tail: Tail) -> Tail {
        let positions = tail.positions();
        self.listeners.iter().for_each(|listener| listener.opened(&positions));
        tail
    }

    /// Tells of what comes until the tail fails.
    fn follow(&mut self, tail: &mut Tail) -> Ended {
        let mut heard = Instant::now();
        let mut away = false;
        while !self.stopped() {
            let now = Instant::now();
            self.telemetry.health.beat(Loop::Follower, now);
            if now.saturating_duration_since(heard) > SILENCE {
                heard = now;
                let asked = tail.probe(ASK);
                if let Err(error) = &asked {
                    self.hold(error);
                } else if away {
                    self.telemetry.health.hold(VERDICT_TAIL, None);
                }
                away = asked.is_err();
            }
            match tail.poll(POLL) {
                Ok(None) => continue,
                Ok(Some(TailEvent::Accepted { source, epoch, gap, message })) => {
                    self.link(source, gap, &message);
                    self.tell(source, epoch, &message);
                }
                Ok(Some(TailEvent::Lost { source, gap, message })) => self.link(source, gap, &message),
                Ok(Some(_)) => {}
                Err(error) => return Ended::Failed(error, tail.positions()),
            }
            heard = Instant::now();
            if std::mem::take(&mut away) {
                self.telemetry.health.hold(VERDICT_TAIL, None);
            }
        }
        Ended::Stopped
    }

    /// The chain's next link, a verdict or lost input.
    fn link(&mut self, source: i64, gap: bool, message: &BorrowedMessage<'_>) {
        let partition = message.partition();
        if gap {
            let head = message.payload().and_then(Head::parse);
            let found = head.and_then(|head| head.source.previous_offset).unwrap_or(-1);
            let expected = self.last.get(&partition).copied().unwrap_or(-1);
            self.telemetry.emit(GapSeen { partition, expected, found });
            self.listeners.iter().for_each(|listener| listener.gap(partition));
        }
        self.last.insert(partition, source);
    }

    fn tell(&self, source: i64, epoch: i64, message: &BorrowedMessage<'_>) {
        let verdict = Arc::new(Accepted::of(source, epoch, message));
        self.listeners.iter().for_each(|listener| listener.accepted(&verdict));
    }

    fn hold(&self, error: &TailError) {
        tracing::debug!(%error, "the verdict tail waits");
        self.telemetry.health.hold(VERDICT_TAIL, Some(error.to_string()));
    }

    /// Waits, unless stopped, and says how long the next wait is.
    fn pause(&self, pause: Duration) -> Duration {
        wait::pause(pause, &self.stop);
        (pause * 2).min(BACKOFF.1)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Refuses a topic whose cursors would not fit a request's head.
fn fits(topic: &str, partitions: usize) -> Result<(), TailError> {
    if partitions <= MOST_PARTITIONS {
        return Ok(());
    }
    let reason = format!(
        "it has {partitions} partitions, and the role serve follows at most {MOST_PARTITIONS}, for a feed's cursor names \
         each of them and must fit a request's head; run this process without the role serve"
    );
    Err(TailError::Topic { topic: topic.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_too_many_partitions_for_a_cursor_is_refused_with_the_way_out() {
        assert_eq!(fits("v", MOST_PARTITIONS), Ok(()));
        let said = fits("v", MOST_PARTITIONS + 1).expect_err("one too many").to_string();
        assert!(said.contains("1025 partitions") && said.contains("without the role serve"), "{said}");
    }
}
