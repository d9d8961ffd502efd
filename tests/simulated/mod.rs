//! A simulated partition pair: logs, network, group, owners and readers, driven by a seeded schedule.

mod owner;
mod reader;

use std::{collections::HashMap, fmt, sync::Arc};

use sentra::domain::{identity::LogId, rules::Rules, verdict::Head};

use crate::traffic::{Dice, Sent, phone_key};
use owner::{Emitters, Owner};
use reader::Follower;

pub const LOG: LogId = LogId([0x5A; 16]);

/// What is built in wrongly, for the tests of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    NoOwnerRecord,
    FirstEpochMet,
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
}

impl Met {
    pub fn all_above(&self, least: u64) -> bool {
        let Self { crashes, epochs, zombie_verdicts, late_landings, acks_without_offset, jumps, .. } = *self;
        let Self { epochs_lost, went_back, cut_heads, repeated, joined, .. } = *self;
        let more = [epochs_lost, went_back, cut_heads, repeated, joined];
        let all = [crashes, epochs, zombie_verdicts, late_landings, acks_without_offset, jumps];
        all.iter().chain(&more).all(|count| *count > least)
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
    pub fault: Fault,
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
    /// May the head be cut in this schedule? Then readers without e may join only where their epoch's record remains.
    retention: bool,
}

impl World {
    pub fn new(seed: u64, fault: Fault) -> Self {
        let mut dice = Dice::new(seed ^ 0xABCD_EF01);
        let length = dice.between(4, 24);
        let input = transactions(&mut dice, length);
        let retention = dice.percent(40);
        let shared = Shared {
            rules: Arc::new(Rules::default()),
            input_start: 0,
            input_end: dice.between(0, length),
            input,
            verdicts: VerdictLog::default(),
            fault,
        };
        let owners = (0..3).map(|_| Owner::default()).collect();
        Self { dice, shared, owners, assigned: 0, full: Follower::from_start(), joined: Vec::new(), retention }
    }

    /// A disturbed time, then an undisturbed end; then all is judged.
    pub fn run(mut self, met: &mut Met) -> Result<(), Failure> {
        let emitters = Emitters::new();
        let steps = self.dice.between(20, 220);
        for _ in 0..steps {
            self.disturb(&emitters, met)?;
        }
        self.shared.input_end = self.shared.input.len() as i64;
        self.finish(&emitters, met)?;
        self.judge(met)
    }

    fn disturb(&mut self, emitters: &Emitters, met: &mut Met) -> Result<(), Failure> {
        let at = self.dice.below(self.owners.len() as u64) as usize;
        match self.dice.below(100) {
            0..=4 => self.assigned = at,
            5..=6 => {
                met.crashes += u64::from(self.owners[at].is_busy());
                self.owners[at].crash();
            }
            7..=8 => self.owners[at].frozen = !self.owners[at].frozen,
            9..=11 => self.shared.input_end = (self.shared.input_end + 3).min(self.shared.input.len() as i64),
            12..=13 => self.join(met),
            14..=17 => self.cut_heads(met),
            18..=22 => self.read(met),
            23..=55 => {
                // Requests in the network land without regard to what has become of their writer.
                let own = at == self.assigned;
                let landed = self.owners[at].land(&mut self.shared, &mut self.dice, met);
                met.late_landings += u64::from(landed && !own);
            }
            _ => {
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
        if !follower.is_certain(log) {
            return;
        }
        met.joined += 1;
        follower.read(log, self.dice.between(0, 6), met);
        self.joined.push(follower);
    }

    /// Deletes heads as retention does: of the input what was judged, of the verdicts what is older than that.
    fn cut_heads(&mut self, met: &mut Met) {
        if !self.retention {
            return;
        }
        self.full.read(&self.shared.verdicts, i64::MAX, met);
        self.joined.iter_mut().for_each(|follower| follower.read(&self.shared.verdicts, i64::MAX, met));
        let Some((_, last)) = self.full.seen.last().copied() else { return };
        if last < self.shared.input_start {
            return;
        }
        let cut = self.dice.between(self.shared.input_start, last);
        // Input retention is longer than the slowest replay; verdict retention is longer than the input's.
        let reading = self.owners.iter().filter_map(Owner::oldest_input_needed).min().unwrap_or(i64::MAX);
        self.shared.input_start = cut.min(reading).max(self.shared.input_start);
        let counted = self.full.seen.iter().find(|(_, source)| *source == self.shared.input_start);
        let highest = counted.map_or(0, |(at, _)| *at);
        let readers = self.joined.iter().map(Follower::oldest_needed).min().unwrap_or(i64::MAX);
        let start = self.dice.between(0, highest).min(readers);
        if start > self.shared.verdicts.start && reading > 0 {
            met.cut_heads += 1;
            self.shared.verdicts.start = start;
        }
    }

    fn read(&mut self, met: &mut Met) {
        let most = self.dice.between(0, 8);
        self.full.read(&self.shared.verdicts, most, met);
        for follower in &mut self.joined {
            follower.read(&self.shared.verdicts, most, met);
        }
    }

    fn judge(mut self, met: &mut Met) -> Result<(), Failure> {
        let log = &self.shared.verdicts;
        self.full.read(log, i64::MAX, met);
        let sources: Vec<i64> = self.full.seen.iter().map(|(_, source)| *source).collect();
        let every: Vec<i64> = (0..self.shared.input.len() as i64).collect();
        if sources != every {
            return Err(Failure::Stream(format!("accepted {sources:?}")));
        }
        if self.full.gaps > 0 {
            return Err(Failure::Stream(format!("{} gaps in previous_offset", self.full.gaps)));
        }
        self.agreeing(met)?;
        for follower in &mut self.joined {
            follower.read(log, i64::MAX, met);
            let suffix = self.full.seen.iter().filter(|(at, _)| *at >= follower.begin);
            let expected: Vec<(i64, i64)> = suffix.copied().collect();
            if follower.seen != expected || follower.gaps > 0 {
                return Err(Failure::Joined { seen: follower.seen.clone(), expected });
            }
        }
        Ok(())
    }

    /// A duplicate's accepted verdict repeats its original's accepted decision.
    fn agreeing(&self, met: &mut Met) -> Result<(), Failure> {
        let mut decided: HashMap<i64, String> = HashMap::new();
        for (at, source) in &self.full.seen {
            let value = &self.shared.verdicts.records[*at as usize];
            let head = Head::parse(value).ok_or(Failure::Stuck)?;
            let model = head.model.as_ref().map(|model| model.version.to_string());
            let decision = format!("{:?} {:?} {:?} {model:?}", head.risk_score, head.risk_level, head.recommendation);
            let whole: serde_json::Value = serde_json::from_slice(value).map_err(|_| Failure::Stuck)?;
            match whole["duplicate_of"].as_i64() {
                Some(original) if decided.get(&original) != Some(&decision) => {
                    let was = decided.get(&original);
                    return Err(Failure::Contradiction(format!("{source}: {decision}, but {original}: {was:?}")));
                }
                Some(_) => met.repeated += 1,
                // Its original stands in the retained input, and so does the original's verdict.
                None if whole["flags"].to_string().contains("warming") && self.shared.input_start == 0 => {
                    return Err(Failure::Contradiction(format!("{source} does not know its original's decision")));
                }
                None => {}
            }
            decided.insert(*source, decision);
        }
        Ok(())
    }
}

/// Transactions of two phones, a third of them sent again.
fn transactions(dice: &mut Dice, length: i64) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    for at in 0..length {
        let again = !sent.is_empty() && dice.percent(33);
        let value = if again {
            sent[dice.below(sent.len() as u64) as usize].value.clone()
        } else if dice.percent(4) {
            Some(b"{".to_vec())
        } else {
            let phone = phone_key(dice.below(2) as u8);
            let minute = at.min(59);
            let (hour, amount) = (dice.between(0, 23), dice.pick(&["20", "5000", "70000.5"]));
            let text = format!(
                r#"{{"transaction_id":"T{at}","amount":{amount},"phone_number":"{phone}","timestamp":"2026-03-01T{hour:02}:{minute:02}:00Z","device_id":"d{}"}}"#,
                dice.below(3),
            );
            Some(text.into_bytes())
        };
        sent.push(Sent { kafka_ms: None, value, institution: None, truth: None });
    }
    sent
}
