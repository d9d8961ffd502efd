//! What the benchmarks feed on: simulated records, the rows and the verdicts that the engine makes of them.

use std::sync::Arc;

use crate::{
    domain::{features::Row, identity::LogId, rules::Rules, time::WallTimeUs, transaction::Record, verdict::Source},
    engine::{
        decisions::Decisions,
        emit::{Emitter, Stamp},
        partition::{Partition, Place, Step},
    },
    model::folder::Model,
    train::simulate::{Limit, Options, Restamp, Simulated, Simulation},
};

/// Events of one customer in a simulated month, agents and merchants included: what makes traffic span that long.
const EVENTS_A_MONTH_EACH: u64 = 166;

/// Names the simulated world.
const SEED: u64 = 3;

/// A month of traffic of this many records.
pub fn month(events: u64) -> Options {
    Options { limit: Limit::Records(events), ..Options::sized(SEED, (events / EVENTS_A_MONTH_EACH).max(100)) }
}

/// Traffic at a steady rate from `start_ms` on, without an end.
pub fn steady(start_ms: i64, per_second: f64, customers: u64) -> Options {
    let restamp = Some(Restamp { start_ms, per_second });
    Options { limit: Limit::None, restamp, start_ms, ..Options::sized(SEED, customers) }
}

/// Rows and verdicts of some records, in order.
pub struct Sample {
    /// The features of each.
    pub rows: Vec<Row>,
    /// The verdict of each, without features.
    pub verdicts: Vec<Vec<u8>>,
}

impl Sample {
    /// Judges `records` records of a month's traffic; the verdicts of the last `keep` are kept, when phones have
    /// a history.
    pub fn take(model: &Arc<Model>, rules: &Rules, records: u64, keep: usize) -> Self {
        let emitter = Emitter::new(Arc::clone(model), false);
        let place = Place { log: LogId([7; 16]), partition: 0, partitions: 1 };
        let mut partition = Partition::new(Arc::new(rules.clone()), place, 0);
        let mut decisions = Decisions::default();
        let mut record = Simulated::empty();
        let mut simulation = Simulation::new(&month(records));
        let mut sample = Self { rows: Vec::new(), verdicts: Vec::new() };
        let (mut raw, mut offset) = (Vec::new(), 0);
        while simulation.read(&mut record) {
            let read = Record { offset, timestamp_ms: None, key: None, value: Some(&record.json), institution: None };
            let Step::Judged(judged) = partition.step(&read) else { continue };
            sample.rows.push(*judged.row());
            if offset as u64 + keep as u64 >= records {
                model.raw_batch(&[judged.row()], &mut raw);
                let source = Source { log: "07070707", partition: 0, offset, previous_offset: offset - 1, epoch: 0 };
                let stamp =
                    Stamp { source, decided_at: WallTimeUs(record.at_ms * 1_000).text(), processing_time_ms: 1 };
                let mut verdict = Vec::new();
                emitter.judged(&judged, raw[0], &stamp, &mut decisions, &mut verdict);
                sample.verdicts.push(verdict);
            }
            offset += 1;
        }
        sample
    }

    /// The verdicts' mean size in bytes.
    pub fn mean_verdict_bytes(&self) -> f64 {
        let bytes: usize = self.verdicts.iter().map(Vec::len).sum();
        bytes as f64 / self.verdicts.len().max(1) as f64
    }

    /// The verdicts, one a line.
    pub fn verdict_lines(&self) -> Vec<u8> {
        self.verdicts.join(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_sample_has_a_row_a_record_and_the_last_verdicts() {
        let model = Arc::new(Model::load(Path::new("models")).unwrap());
        let sample = Sample::take(&model, &Rules::default(), 500, 20);
        assert_eq!((sample.rows.len(), sample.verdicts.len()), (500, 20));
        assert_eq!(sample.verdict_lines().split(|byte| *byte == b'\n').count(), 20);
        assert!((200.0..2_000.0).contains(&sample.mean_verdict_bytes()));
    }
}
