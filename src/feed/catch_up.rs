//! Catching up: verdicts between a client's cursor and the backlog, read from the topic by a tail of the session's own
//! on a thread of its own, until the backlog holds all that follows.
//!
//! Invariant: frames come in the topic's order from the cursor on, and what it hands over last are positions that join
//! the live stream without loss. It never runs ahead of its session by more than a short queue.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use rdkafka::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    backlog::Join,
    follow::Accepted,
    hub::Hub,
    item::{Tags, verdict_text},
};
use crate::{
    config::KafkaConfig,
    kafka::tail::{From, Positions, Tail, TailError, TailEvent, Until},
};

/// Frames read ahead of the session at most.
const AHEAD: usize = 64;

/// How long one wait for a record lasts.
const POLL: Duration = Duration::from_millis(50);

/// How often it is looked whether the live stream can be joined.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a catch-up hands over.
#[derive(Debug)]
pub enum Caught {
    /// A verdict's frame.
    Verdict(Tags, Utf8Bytes),
    /// Verdicts of this partition are missing in the topic.
    Gap(i32),
    /// The live stream can be joined at these positions.
    Joined(Positions),
    /// The topic no longer has what the cursor wants, or is another one; for good.
    Lost(TailError),
    /// The topic cannot be read now.
    Failed(TailError),
}

/// Where a catch-up reads.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The broker.
    pub kafka: Arc<KafkaConfig>,
    /// The verdict topic.
    pub name: String,
}

/// Starts reading; dropping the receiver ends it. `permit` is held until then.
pub fn start(
    topic: Topic,
    hub: &Arc<Hub>,
    cursor: Positions,
    permit: Arc<OwnedSemaphorePermit>,
) -> mpsc::Receiver<Caught> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let hub = Arc::downgrade(hub);
    tokio::task::spawn_blocking(move || {
        let last = read(&topic, &hub, cursor, &sender);
        if let Some(last) = last {
            // A session that is gone needs no end.
            let _ = sender.blocking_send(last);
        }
        drop(permit);
    });
    receiver
}

/// Reads until the live stream can be joined; `None` where nobody listens any more.
fn read(topic: &Topic, hub: &Weak<Hub>, cursor: Positions, to: &mpsc::Sender<Caught>) -> Option<Caught> {
    let mut tail = match Tail::open(&topic.kafka, &topic.name, From::Positions(cursor), Until::Forever) {
        Ok(tail) => tail,
        Err(error) => return Some(ended(error)),
    };
    let mut look_at = Instant::now();
    while !to.is_closed() {
        let now = Instant::now();
        if now >= look_at {
            look_at = now + LOOK_EVERY;
            let positions = tail.positions();
            match hub.upgrade()?.backlog().join(&positions, true) {
                Join::At(_) => return Some(Caught::Joined(positions)),
                Join::Behind | Join::Closed => {}
                Join::Foreign => return Some(Caught::Lost(foreign(topic))),
            }
        }
        match tail.poll(POLL) {
            Ok(Some(TailEvent::Accepted { source, epoch, gap, message })) => {
                let (verdict, partition) = (Accepted::of(source, epoch, &message), message.partition());
                drop(message);
                if gap {
                    to.blocking_send(Caught::Gap(partition)).ok()?;
                }
                let tags = Tags::of(&verdict, hub.upgrade()?.calling_code());
                if let Some(text) = verdict_text(&verdict) {
                    to.blocking_send(Caught::Verdict(tags, text)).ok()?;
                }
            }
            Ok(Some(TailEvent::Lost { gap: true, message, .. })) => {
                let partition = message.partition();
                drop(message);
                to.blocking_send(Caught::Gap(partition)).ok()?;
            }
            Ok(_) => {}
            Err(error) => return Some(ended(error)),
        }
    }
    None
}

fn ended(error: TailError) -> Caught {
    if error.is_lost_place() { Caught::Lost(error) } else { Caught::Failed(error) }
}

fn foreign(topic: &Topic) -> TailError {
    TailError::Topic {
        topic: topic.name.clone(),
        reason: String::from("the cursor is of another log or topic; begin anew without it"),
    }
}
