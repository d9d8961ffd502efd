//! Sinks in the simulation: what is stored, by the sink's own judgement of records, in transactions that a progress row
//! fences. Two of them may take themselves for the partition's reader.

use sentra::{
    kafka::tail::Span,
    store::sink::slot::{Progress, Slot, Stage, Taken},
};

use super::{Met, VerdictLog};
use crate::traffic::Dice;

/// Rows and progress, which move together.
pub struct Database {
    /// Source offsets of the rows, in the order of their transactions.
    pub rows: Vec<i64>,
    pub progress: Progress,
}

impl Default for Database {
    fn default() -> Self {
        Self { rows: Vec::new(), progress: Progress::beginning(0) }
    }
}

/// One sink: what it has read and not yet stored is lost with it.
pub struct Sink {
    slot: Slot,
    from: Progress,
    batch: Vec<i64>,
    /// Breaks in the chain that it saw.
    pub gaps: u64,
}

impl Sink {
    pub fn new() -> Self {
        Self { slot: Slot::new(), from: Progress::beginning(0), batch: Vec::new(), gaps: 0 }
    }

    /// Asks the database where it stands.
    fn begin(&mut self, database: &Database, log: &VerdictLog) {
        self.batch.clear();
        self.slot.begin(&database.progress, Span { start: log.start, end: log.end() });
        self.from = database.progress.clone();
        assert_eq!(self.slot.stage, Stage::Running, "retention leaves what is not stored");
    }

    pub fn read(&mut self, database: &Database, log: &VerdictLog, most: i64) {
        // Its place may be deleted where another sink stored what lay there: the broker says so.
        if self.slot.stage != Stage::Running || self.slot.progress().next < log.start {
            self.begin(database, log);
        }
        let mut next = self.slot.progress().next;
        let mut left = most;
        while next < log.end() && left > 0 {
            left -= 1;
            match self.slot.take(0, next, log.get(next)) {
                Taken::Store { verdict, gap, .. } => {
                    self.gaps += u64::from(gap.is_some());
                    self.batch.push(verdict.source.offset);
                }
                Taken::GoBack(to) => {
                    next = to;
                    continue;
                }
                Taken::Pass | Taken::Stale => {}
                other => panic!("at {next}: {other:?}"),
            }
            next += 1;
        }
    }

    /// One transaction; what it came to may stay unknown.
    pub fn commit(&mut self, database: &mut Database, log: &VerdictLog, dice: &mut Dice, met: &mut Met) {
        if self.slot.stage != Stage::Running {
            return;
        }
        if database.progress != self.from {
            met.sinks_fenced += 1;
            return self.begin(database, log);
        }
        if dice.percent(10) {
            // It never reached the database, and the sink does not know.
            return self.begin(database, log);
        }
        database.rows.append(&mut self.batch);
        database.progress = self.slot.progress();
        self.from = database.progress.clone();
        if dice.percent(10) {
            // It did, and the sink does not know.
            self.begin(database, log);
        }
    }
}
