//! A simulated partition pair: logs, network, group, snapshots, owners, readers and sinks, driven by a seeded schedule.

mod depot;
mod judge;
mod live;
mod owner;
mod reader;
mod retention;
mod sink;

use std::{collections::BTreeSet, fmt, sync::Arc};

use sentra::{
    domain::{
        identity::LogId,
        rules::Rules,
        time::{DAY_MS, EventTimeMs, HOUR_MS, MINUTE_MS},
    },
    engine::{
        checkpoint::{Between, Elsewhere, Told},
        plan::Logs,
    },
};

use crate::traffic::{Dice, Sent, phone_key};
use depot::Depot;
use live::Emitters;
use owner::Owner;
use reader::Follower;
use sink::{Database, Sink};

const GARBAGE: &[u8] = b"{";

/// When the first transaction may be.
const BEGIN_MS: i64 = 1_772_352_900_000;

pub const LOG: LogId = LogId([0x5A; 16]);

/// The topics that checkpoints are about.
pub fn between() -> Between {
    Between { log: LOG.short(), verdicts: String::from("00c0ffee") }
}

/// What is built in wrongly, for the tests of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    NoOwnerRecord,
    FirstEpochMet,
    /// A snapshot bears the watermark of its walk's end.
    WatermarkOfTheEnd,
    /// Snapshots are published at once, and restored whatever the verdicts say.
    RestoreAhead,
    /// The verdict of what cannot be read does not wait for its dead letter.
    LetterAfterVerdict,
    /// Decisions are not in snapshots.
    DecisionsFromMemory,
}

/// How a schedule failed.
#[derive(Debug)]
pub enum Failure {
    /// A reader from the start saw something else than every offset once, in order.
    Stream(String),
    /// A reader that joined saw something else than the accepted suffix.
    Joined { seen: Vec<(i64, i64)>, expected: Vec<(i64, i64)> },
    /// A duplicate repeats another decision than its original's.
    Contradiction(String),
    /// A verdict differs from the one an undisturbed run gives.
    Verdict(String),
    /// A record that cannot be read has a verdict and no dead letter.
    Letter(i64),
    /// The rows are not the verdicts that count.
    Rows(String),
    /// An owner was refused its partition.
    Refused(String),
    /// The line did not finish though all faults had ended.
    Stuck,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(what) => write!(f, "a reader from the start: {what}"),
            Self::Joined { seen, expected } => write!(f, "a reader that joined saw {seen:?} instead of {expected:?}"),
            Self::Contradiction(what) => write!(f, "a duplicate contradicts its original: {what}"),
            Self::Verdict(what) => write!(f, "not as in an undisturbed run: {what}"),
            Self::Letter(offset) => write!(f, "{offset} has no dead letter"),
            Self::Rows(what) => write!(f, "the rows: {what}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Stuck => f.write_str("the line does not finish"),
        }
    }
}

/// What the schedules met: a test that meets too little proves too little.
#[derive(Debug, Default)]
pub struct Met {
    pub crashes: u64,
    pub epochs: u64,
    pub zombie_verdicts: u64,
    pub late_landings: u64,
    pub acks_without_offset: u64,
    pub jumps: u64,
    pub epochs_lost: u64,
    pub went_back: u64,
    pub cut_heads: u64,
    pub repeated: u64,
    pub joined: u64,
    pub snapshots: u64,
    pub snapshots_harmed: u64,
    pub restored: u64,
    pub refused: u64,
    pub ahead: u64,
    pub lost: u64,
    pub sinks_fenced: u64,
    pub commits: u64,
    /// Heads cut beyond all that the log tells of h: the group's checkpoint alone does.
    pub cut_to_checkpoint: u64,
    /// Verdicts compared of readers that could not know e when they joined.
    pub uncertain_verdicts: u64,
}

impl Met {
    /// The rarest of what every run should meet often; `cut_to_checkpoint` is rarer. (A published snapshot is never ahead of h: that is what is proved.)
    pub fn least(&self) -> u64 {
        let Self { crashes, epochs, zombie_verdicts, late_landings, acks_without_offset, jumps, epochs_lost, .. } =
            self;
        let Self { went_back, cut_heads, repeated, joined, snapshots, snapshots_harmed, restored, refused, .. } = self;
        let protocol = [crashes, epochs, zombie_verdicts, late_landings, acks_without_offset, jumps, epochs_lost];
        let others = [went_back, cut_heads, repeated, joined, snapshots, snapshots_harmed, restored, refused];
        let rare = [&self.lost, &self.sinks_fenced, &self.commits, &self.uncertain_verdicts];
        protocol.into_iter().chain(others).chain(rare).copied().min().unwrap_or(0)
    }
}

/// The verdict partition: positions are indices, what lies below `start` was deleted.
#[derive(Default)]
pub struct VerdictLog {
    pub start: i64,
    pub records: Vec<Arc<[u8]>>,
}

impl VerdictLog {
    pub fn end(&self) -> i64 {
        self.records.len() as i64
    }

    pub fn append(&mut self, value: Arc<[u8]>) -> i64 {
        self.records.push(value);
        self.end() - 1
    }

    /// Never reads what was deleted: a test that does is wrong.
    pub fn get(&self, offset: i64) -> &Arc<[u8]> {
        assert!(offset >= self.start, "offset {offset} was deleted: the log starts at {}", self.start);
        &self.records[offset as usize]
    }
}

/// What owners share: the input, the verdict log, the rules.
pub struct Shared {
    pub rules: Arc<Rules>,
    pub input: Vec<Sent>,
    pub input_start: i64,
    /// How much of the input has been produced so far.
    pub input_end: i64,
    pub verdicts: VerdictLog,
    pub depot: Depot,
    /// The metadata of the group's offset.
    pub committed: Option<String>,
    /// Counts how often the group moved the partition: it takes commits of the newest assignment alone.
    pub generation: u32,
    /// Offsets whose dead letters have landed.
    pub letters: BTreeSet<i64>,
    /// Dead letters that a planted fault sends behind their verdicts.
    pub late_letters: Vec<i64>,
    pub fault: Fault,
}

impl Shared {
    pub fn logs(&self) -> Logs {
        let (input_start, input_end) = (self.input_start, self.input_end);
        Logs { input_start, input_end, verdict_start: self.verdicts.start, partitions: depot::PLACE.partitions }
    }

    /// What the group's offset says.
    pub fn told(&self) -> Result<Option<Told>, Elsewhere> {
        self.committed.as_deref().map_or(Ok(None), |text| Told::from_text(text, &between()))
    }

    /// Whether the record cannot be read.
    pub fn is_garbage(&self, offset: i64) -> bool {
        self.input[offset as usize].value.as_deref() == Some(GARBAGE)
    }
}

pub struct World {
    dice: Dice,
    shared: Shared,
    owners: Vec<Owner>,
    /// Whose the partition is, as the group sees it.
    assigned: usize,
    /// The first reader reads everything from the very start.
    full: Follower,
    joined: Vec<Follower>,
    database: Database,
    sinks: [Sink; 2],
    /// May the head be cut in this schedule? Then readers without e may join only where their epoch's record remains.
    retention: bool,
    /// Records kept in the input whose verdicts are deleted, against what `sentra topics check` asks for: h is known by the
    /// group's checkpoint, but not what was decided.
    unsettled: BTreeSet<i64>,
}

impl World {
    pub fn new(seed: u64, fault: Fault) -> Self {
        let mut dice = Dice::new(seed ^ 0xABCD_EF01);
        let length = dice.between(4, 60);
        let input = transactions(&mut dice, length);
        let retention = dice.percent(40);
        let shared = Shared {
            rules: Arc::new(Rules::default()),
            input_start: 0,
            input_end: dice.between(0, length),
            input,
            verdicts: VerdictLog::default(),
            depot: Depot::default(),
            committed: None,
            generation: 0,
            letters: BTreeSet::new(),
            late_letters: Vec::new(),
            fault,
        };
        let owners = (0..3).map(|_| Owner::default()).collect();
        Self {
            dice,
            shared,
            owners,
            assigned: 0,
            full: Follower::from_start(),
            joined: Vec::new(),
            database: Database::default(),
            sinks: [Sink::new(), Sink::new()],
            retention,
            unsettled: BTreeSet::new(),
        }
    }

    /// A disturbed time, then an undisturbed end; then all is judged.
    pub fn run(mut self, met: &mut Met) -> Result<(), Failure> {
        let emitters = Emitters::new();
        let steps = self.dice.between(20, 500);
        for _ in 0..steps {
            self.disturb(&emitters, met)?;
        }
        self.shared.input_end = self.shared.input.len() as i64;
        self.finish(&emitters, met)?;
        self.judge(&emitters, met)
    }

    fn disturb(&mut self, emitters: &Emitters, met: &mut Met) -> Result<(), Failure> {
        let at = self.dice.below(self.owners.len() as u64) as usize;
        match self.dice.below(100) {
            0..=1 => {
                self.shared.generation += u32::from(self.assigned != at);
                self.assigned = at;
            }
            2..=3 => {
                met.crashes += u64::from(self.owners[at].is_busy());
                self.owners[at].crash();
            }
            4..=5 => self.owners[at].frozen = !self.owners[at].frozen,
            6..=11 => self.shared.input_end = (self.shared.input_end + 3).min(self.shared.input.len() as i64),
            12..=13 => self.join(met),
            14..=17 => self.cut_heads(met),
            18..=21 => self.read(met),
            22..=24 => self.store(met),
            25 => self.shared.depot.harm(&mut self.dice, met),
            26..=30 => self.owners[at].land_letter(&mut self.shared, &mut self.dice),
            31..=52 => {
                // Requests in the network land without regard to what has become of their writer.
                let own = at == self.assigned;
                let landed = self.owners[at].land(&mut self.shared, &mut self.dice, met);
                met.late_landings += u64::from(landed && !own);
            }
            _ => {
                let at = if self.dice.percent(50) { self.assigned } else { at };
                let assigned = self.assigned == at;
                self.owners[at].turn(assigned, &mut self.shared, emitters, &mut self.dice, met)?;
            }
        }
        Ok(())
    }

    /// All faults end: everything in the network lands or is lost, one owner has the partition and goes on alone.
    fn finish(&mut self, emitters: &Emitters, met: &mut Met) -> Result<(), Failure> {
        for _ in 0..4_000 {
            let at = self.dice.below(self.owners.len() as u64) as usize;
            self.owners[at].frozen = false;
            self.owners[at].land(&mut self.shared, &mut self.dice, met);
            self.owners[at].land_letter(&mut self.shared, &mut self.dice);
            self.owners[at].turn(at == self.assigned, &mut self.shared, emitters, &mut self.dice, met)?;
            let done = self.owners[self.assigned].reached() == Some(self.shared.input.len() as i64);
            if done && self.owners.iter().all(|owner| owner.network.is_empty()) {
                return Ok(());
            }
        }
        Err(Failure::Stuck)
    }

    fn join(&mut self, met: &mut Met) {
        let log = &self.shared.verdicts;
        if log.end() == log.start {
            return;
        }
        let at = self.dice.between(log.start, log.end() - 1);
        let mut follower = if self.dice.percent(30) && self.full.reader.next() >= log.start {
            // A stored position, with its e.
            Follower::stored(&self.full)
        } else {
            Follower::joining(at, log.start, self.shared.fault)
        };
        met.joined += u64::from(follower.is_certain(log));
        follower.read(log, self.dice.between(0, 6), met);
        self.joined.push(follower);
    }

    /// One of the sinks reads on, stores, or begins anew.
    fn store(&mut self, met: &mut Met) {
        let at = self.dice.below(2) as usize;
        match self.dice.below(12) {
            0 => self.sinks[at] = Sink::new(),
            1..=5 => self.sinks[at].commit(&mut self.database, &self.shared.verdicts, &mut self.dice, met),
            _ => {
                let most = self.dice.between(1, 12);
                self.sinks[at].read(&self.database, &self.shared.verdicts, most);
            }
        }
    }

    fn read(&mut self, met: &mut Met) {
        let most = self.dice.between(0, 8);
        self.full.read(&self.shared.verdicts, most, met);
        for follower in &mut self.joined {
            follower.read(&self.shared.verdicts, most, met);
        }
    }
}

/// Transactions of two phones, a third of them sent again; time leaps now and then, and many come nearly a day late, or
/// just too late.
fn transactions(dice: &mut Dice, length: i64) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut now = BEGIN_MS;
    for at in 0..length {
        now += dice.pick(&[0, MINUTE_MS, HOUR_MS, 3 * HOUR_MS, 25 * HOUR_MS]);
        let late = dice.pick(&[0, 0, 0, HOUR_MS, 23 * HOUR_MS, DAY_MS - 1, DAY_MS]);
        let again = !sent.is_empty() && dice.percent(33);
        let value = if again {
            sent[dice.below(sent.len() as u64) as usize].value.clone()
        } else if dice.percent(4) {
            Some(GARBAGE.to_vec())
        } else {
            let phone = phone_key(dice.below(2) as u8);
            let (time, amount) = (EventTimeMs(now - late).to_rfc3339(), dice.pick(&["20", "5000", "70000.5"]));
            let text = format!(
                r#"{{"transaction_id":"T{at}","amount":{amount},"phone_number":"{phone}","timestamp":"{time}","device_id":"d{}"}}"#,
                dice.below(3),
            );
            Some(text.into_bytes())
        };
        sent.push(Sent { kafka_ms: None, value, institution: None, truth: None });
    }
    sent
}
