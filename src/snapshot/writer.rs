//! The thread behind a shard that compresses, checks and stores what the shard copies: one snapshot at a time.

use std::{
    sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    thread,
};

use super::{Depot, DepotError, Name, depot::Upload};
use crate::engine::snapshot::{Format, FrameWriter, Part};

/// Slices that may wait for the thread: a slow store holds up the walk, never the shard.
const WAITING: usize = 4;

/// What the shard asks for.
enum Order {
    Begin { partition: i32, epoch: i64 },
    Part(Part),
    Publish { name: Name },
    Abort,
}

/// What became of the snapshot begun last.
#[derive(Debug)]
pub enum Outcome {
    /// It has a name now, and so many bytes.
    Published {
        /// Its size.
        bytes: u64,
    },
    /// It is given up.
    Failed(String),
}

/// The shard's end.
pub struct SnapshotWriter {
    orders: SyncSender<Order>,
    outcomes: Receiver<Outcome>,
}

/// The thread takes nothing right now; the part comes back.
#[derive(Debug)]
pub struct Busy(pub Part);

impl SnapshotWriter {
    /// Starts the thread; it ends with the shard.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(shard: usize, depot: Depot, format: Format) -> std::io::Result<Self> {
        let (orders, taken) = sync_channel(WAITING);
        let (tell, outcomes) = channel();
        let work = move || work(&depot, format, &taken, &tell);
        thread::Builder::new().name(format!("snapshot-{shard}")).spawn(work)?;
        Ok(Self { orders, outcomes })
    }

    /// Begins a snapshot; false where the thread is still busy with the one before.
    pub fn begin(&self, partition: i32, epoch: i64) -> bool {
        self.orders.try_send(Order::Begin { partition, epoch }).is_ok()
    }

    /// Hands over the next part.
    ///
    /// # Errors
    /// The thread has enough to do.
    pub fn part(&self, part: Part) -> Result<(), Busy> {
        match self.orders.try_send(Order::Part(part)) {
            Err(TrySendError::Full(Order::Part(part))) => Err(Busy(part)),
            // A thread that is gone told so, or ends with the process.
            _ => Ok(()),
        }
    }

    /// Has the snapshot published; false where the thread has enough to do.
    pub fn publish(&self, name: Name) -> bool {
        self.orders.try_send(Order::Publish { name }).is_ok()
    }

    /// Gives the snapshot up; false where the thread has enough to do.
    pub fn abort(&self) -> bool {
        self.orders.try_send(Order::Abort).is_ok()
    }

    /// What became of the last one, once.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }
}

/// A snapshot under way.
struct Writing {
    partition: i32,
    frames: FrameWriter,
    upload: Upload,
    bytes: Vec<u8>,
}

impl Writing {
    fn begin(depot: &Depot, format: Format, partition: i32, epoch: i64) -> Result<Self, String> {
        let frames = FrameWriter::new(format).map_err(|error| error.to_string())?;
        let upload = depot.begin(partition, epoch).map_err(|error| error.to_string())?;
        Ok(Self { partition, frames, upload, bytes: Vec::new() })
    }

    fn append(&mut self, depot: &Depot, part: &Part) -> Result<(), String> {
        self.bytes.clear();
        self.frames.write(part.kind, &part.raw, &mut self.bytes).map_err(|error| error.to_string())?;
        depot.append(&mut self.upload, &self.bytes).map_err(|error: DepotError| error.to_string())
    }
}

fn work(depot: &Depot, format: Format, orders: &Receiver<Order>, tell: &Sender<Outcome>) {
    // A failed snapshot's further parts fall on nothing.
    let mut writing: Option<Writing> = None;
    while let Ok(order) = orders.recv() {
        let told = match order {
            Order::Begin { partition, epoch } => match Writing::begin(depot, format, partition, epoch) {
                Ok(begun) => {
                    writing = Some(begun);
                    None
                }
                Err(why) => Some(Outcome::Failed(why)),
            },
            Order::Part(part) => writing.take().and_then(|mut under_way| match under_way.append(depot, &part) {
                Ok(()) => {
                    writing = Some(under_way);
                    None
                }
                Err(why) => {
                    depot.abort(under_way.upload);
                    Some(Outcome::Failed(why))
                }
            }),
            Order::Publish { name } => {
                writing.take().map(|done| match depot.publish(done.upload, done.partition, name) {
                    Ok(bytes) => Outcome::Published { bytes },
                    Err(error) => Outcome::Failed(error.to_string()),
                })
            }
            Order::Abort => {
                if let Some(under_way) = writing.take() {
                    depot.abort(under_way.upload);
                }
                None
            }
        };
        if told.is_some_and(|outcome| tell.send(outcome).is_err()) {
            break;
        }
    }
    if let Some(under_way) = writing {
        depot.abort(under_way.upload);
    }
}
