//! The thread behind a shard that compresses, checks and stores what the shard copies: one snapshot at a time.

use std::{
    sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{Depot, DepotError, Name, depot::Upload};
use crate::engine::snapshot::{Format, FrameWriter, Part};

/// Slices that may wait for the thread: a slow store holds up the walk, never the shard.
const WAITING: usize = 4;

/// How long a stop waits for the thread to give up what it has begun to write.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What the shard asks for.
enum Order {
    Begin { number: u64, partition: i32, epoch: i64 },
    Part(Part),
    Publish { name: Name },
    Abort,
}

/// What became of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which one, by the number that [`SnapshotWriter::begin`] gave it.
    pub number: u64,
    /// Its end.
    pub end: Ending,
}

/// How a snapshot ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
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
    /// `None` once it is to end.
    orders: Option<SyncSender<Order>>,
    outcomes: Receiver<Outcome>,
    begun: u64,
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
        let work = move || Work { depot, format, writing: None }.until_told_to_end(&taken, &tell);
        thread::Builder::new().name(format!("snapshot-{shard}")).spawn(work)?;
        Ok(Self { orders: Some(orders), outcomes, begun: 0 })
    }

    /// Begins a snapshot: its number; `None` where the thread is still busy with the one before.
    pub fn begin(&mut self, partition: i32, epoch: i64) -> Option<u64> {
        let number = self.begun + 1;
        self.send(Order::Begin { number, partition, epoch }).ok()?;
        self.begun = number;
        Some(number)
    }

    /// Hands over the next part.
    ///
    /// # Errors
    /// The thread has enough to do.
    pub fn part(&self, part: Part) -> Result<(), Busy> {
        match self.send(Order::Part(part)) {
            Err(Some(Order::Part(part))) => Err(Busy(part)),
            // A thread that is gone told so, or ends with the process.
            _ => Ok(()),
        }
    }

    /// Has the snapshot published; false where the thread has enough to do.
    pub fn publish(&self, name: Name) -> bool {
        self.send(Order::Publish { name }).is_ok()
    }

    /// Gives the snapshot up; false where the thread has enough to do.
    pub fn abort(&self) -> bool {
        self.send(Order::Abort).is_ok()
    }

    /// What became of one of those begun, once.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// An order comes back where the thread has enough to do, and falls on nothing where it is gone.
    fn send(&self, order: Order) -> Result<(), Option<Order>> {
        match self.orders.as_ref().map(|orders| orders.try_send(order)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(order))) => Err(Some(order)),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(None),
        }
    }
}

impl Drop for SnapshotWriter {
    /// What is half written is given up, so that a store keeps nothing of it; one that does not answer is left to itself.
    fn drop(&mut self) {
        self.orders = None;
        let until = Instant::now() + END_WITHIN;
        while self.outcomes.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
    }
}

/// A snapshot under way.
struct Writing {
    number: u64,
    partition: i32,
    frames: FrameWriter,
    upload: Upload,
    bytes: Vec<u8>,
}

impl Writing {
    fn begin(depot: &Depot, format: Format, number: u64, partition: i32, epoch: i64) -> Result<Self, String> {
        let frames = FrameWriter::new(format).map_err(|error| error.to_string())?;
        let upload = depot.begin(partition, epoch).map_err(|error| error.to_string())?;
        Ok(Self { number, partition, frames, upload, bytes: Vec::new() })
    }

    fn append(&mut self, depot: &Depot, part: &Part) -> Result<(), String> {
        self.bytes.clear();
        self.frames.write(part.kind, &part.raw, &mut self.bytes).map_err(|error| error.to_string())?;
        depot.append(&mut self.upload, &self.bytes).map_err(|error: DepotError| error.to_string())
    }
}

/// The thread: what it works with, and the snapshot under way. A failed one's further parts fall on nothing.
struct Work {
    depot: Depot,
    format: Format,
    writing: Option<Writing>,
}

impl Work {
    fn until_told_to_end(mut self, orders: &Receiver<Order>, tell: &Sender<Outcome>) {
        while let Ok(order) = orders.recv() {
            if self.follow(order).is_some_and(|outcome| tell.send(outcome).is_err()) {
                break;
            }
        }
        self.abort();
    }

    fn follow(&mut self, order: Order) -> Option<Outcome> {
        match order {
            Order::Begin { number, partition, epoch } => {
                self.abort();
                match Writing::begin(&self.depot, self.format, number, partition, epoch) {
                    Ok(begun) => self.writing = Some(begun),
                    Err(why) => return Some(Outcome { number, end: Ending::Failed(why) }),
                }
                None
            }
            Order::Part(part) => {
                let under_way = self.writing.as_mut()?;
                let (number, why) = (under_way.number, under_way.append(&self.depot, &part).err()?);
                self.abort();
                Some(Outcome { number, end: Ending::Failed(why) })
            }
            Order::Publish { name } => {
                let Writing { number, upload, partition, .. } = self.writing.take()?;
                let end = match self.depot.publish(upload, partition, name) {
                    Ok(bytes) => Ending::Published { bytes },
                    Err(error) => Ending::Failed(error.to_string()),
                };
                Some(Outcome { number, end })
            }
            Order::Abort => {
                self.abort();
                None
            }
        }
    }

    fn abort(&mut self) {
        if let Some(under_way) = self.writing.take() {
            self.depot.abort(under_way.upload);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::engine::snapshot::FrameKind;

    fn depot(folder: &Path) -> Depot {
        Depot::open(&folder.display().to_string(), "log", "verdicts").expect("a folder")
    }

    fn part() -> Part {
        Part { kind: FrameKind::Phones, raw: vec![7; 1_000] }
    }

    /// What lies in the partition's folder.
    fn kept(folder: &Path, partition: i32) -> Vec<String> {
        let folder = folder.join("log-verdicts").join(partition.to_string());
        let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
        found.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
    }

    fn outcome(writer: &SnapshotWriter) -> Outcome {
        writer.outcomes.recv_timeout(Duration::from_secs(30)).expect("an outcome")
    }

    fn begin(writer: &mut SnapshotWriter, partition: i32) -> u64 {
        loop {
            if let Some(number) = writer.begin(partition, 4) {
                return number;
            }
        }
    }

    /// The thread takes it as soon as it has room.
    fn give(writer: &SnapshotWriter) {
        while writer.part(part()).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn an_outcome_names_the_snapshot_that_it_is_about() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = SnapshotWriter::start(0, depot(folder.path()), Format::Current).expect("a thread");
        let first = begin(&mut writer, 0);
        give(&writer);
        while !writer.publish(Name { end: 9, epoch: 4 }) {}
        let second = begin(&mut writer, 1);
        assert_ne!(first, second);
        let told = outcome(&writer);
        assert!(matches!(told, Outcome { number, end: Ending::Published { .. } } if number == first), "{told:?}");
    }

    #[test]
    fn nothing_is_left_of_what_is_given_up_by_an_abort_a_new_begin_or_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = SnapshotWriter::start(0, depot(folder.path()), Format::Current).expect("a thread");
        begin(&mut writer, 0);
        give(&writer);
        while !writer.abort() {}
        begin(&mut writer, 1);
        give(&writer);
        // The one before is not finished, and nobody said a word about it.
        begin(&mut writer, 2);
        give(&writer);
        drop(writer);
        for partition in 0..3 {
            assert_eq!(kept(folder.path(), partition), Vec::<String>::new(), "of partition {partition}");
        }
    }
}
