//! What a schedule came to: every offset once, verdicts as in an undisturbed run, duplicates that agree with their
//! originals, a dead letter for what cannot be read, and rows equal to the verdicts that count.

use std::collections::{BTreeMap, HashMap};

use sentra::{
    domain::verdict::{Head, Source},
    engine::{decisions::Decisions, partition::Partition},
};
use serde_json::Value;

use super::{Failure, LOG, Met, World, depot::PLACE, live::Emitters, sink::Sink};

/// What does not depend on the model served: kind, flags, digest of the features, and the original of a duplicate.
fn essence(verdict: &Value) -> String {
    let of = |field: &str| verdict[field].to_string();
    ["kind", "flags", "feature_digest", "duplicate_of", "event_time", "amount"].map(of).join(" ")
}

fn is_warming(verdict: &Value) -> bool {
    verdict["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "warming"))
}

impl World {
    pub fn judge(mut self, emitters: &Emitters, met: &mut Met) -> Result<(), Failure> {
        self.full.read(&self.shared.verdicts, i64::MAX, met);
        let verdicts: Vec<(i64, Value)> = self.full.seen.iter().map(|(at, source)| (*source, self.json(*at))).collect();
        let lost = self.stream(&verdicts, met)?;
        self.as_undisturbed(&verdicts, lost, emitters)?;
        self.agreeing(met)?;
        for (source, verdict) in &verdicts {
            if verdict["kind"] == "invalid" && !self.shared.letters.contains(source) {
                return Err(Failure::Letter(*source));
            }
        }
        let log = &self.shared.verdicts;
        for follower in &mut self.joined {
            follower.read(log, i64::MAX, met);
            // Without an owner record an uncertain reader says nothing yet.
            let from = follower.exact_from.unwrap_or(i64::MAX);
            let suffix = self.full.seen.iter().filter(|(at, _)| *at >= from);
            let expected: Vec<(i64, i64)> = suffix.copied().collect();
            if from != follower.begin {
                met.uncertain_verdicts += expected.len() as u64;
            }
            if follower.seen != expected || follower.gaps > 0 {
                return Err(Failure::Joined { seen: follower.seen.clone(), expected });
            }
        }
        self.rows(&verdicts, met)
    }

    fn json(&self, at: i64) -> Value {
        serde_json::from_slice(&self.shared.verdicts.records[at as usize]).expect("a verdict is JSON")
    }

    /// Every offset counts once and in order, but for those that a record of loss names; whether there was one.
    fn stream(&self, verdicts: &[(i64, Value)], met: &mut Met) -> Result<bool, Failure> {
        let sources: Vec<i64> = verdicts.iter().map(|(source, _)| *source).collect();
        let mut next = 0;
        let mut lost = false;
        for (source, verdict) in verdicts {
            let is_lost = verdict["kind"] == "lost";
            if *source != next && !(is_lost && *source > next) {
                return Err(Failure::Stream(format!("accepted {sources:?}")));
            }
            met.lost += u64::from(is_lost);
            lost |= is_lost;
            next = source + 1;
        }
        if next != self.shared.input.len() as i64 {
            return Err(Failure::Stream(format!("accepted {sources:?}")));
        }
        if self.full.gaps > 0 {
            return Err(Failure::Stream(format!("{} gaps in previous_offset", self.full.gaps)));
        }
        Ok(lost)
    }

    /// Each verdict is the one that an undisturbed run over the same input gives. Where retention took what state
    /// rests on, it may differ, and says that it is warming.
    fn as_undisturbed(&self, verdicts: &[(i64, Value)], lost: bool, emitters: &Emitters) -> Result<(), Failure> {
        let mut partition = Partition::new(self.shared.rules.clone(), PLACE, 0);
        let mut decisions = Decisions::default();
        let mut golden = BTreeMap::new();
        for offset in 0..self.shared.input.len() as i64 {
            let log = LOG.short();
            let source = Source { log: &log, partition: 0, offset, previous_offset: offset - 1, epoch: 0 };
            let (_, value) = emitters.judge(0, &mut partition, &mut decisions, &self.shared, source);
            let verdict: Value = serde_json::from_slice(&value).expect("a verdict is JSON");
            golden.insert(offset, essence(&verdict));
        }
        let cut = self.shared.input_start > 0 || self.shared.verdicts.start > 0 || lost;
        for (source, verdict) in verdicts.iter().filter(|(_, verdict)| verdict["kind"] != "lost") {
            let (expected, found) = (&golden[source], essence(verdict));
            if *expected != found && !(cut && is_warming(verdict)) {
                return Err(Failure::Verdict(format!("{source}: {found} instead of {expected}")));
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
            match self.json(*at)["duplicate_of"].as_i64() {
                Some(original) if self.unsettled.contains(&original) => {}
                Some(original) if decided.get(&original) != Some(&decision) => {
                    let was = decided.get(&original);
                    return Err(Failure::Contradiction(format!("{source}: {decision}, but {original}: {was:?}")));
                }
                Some(_) => met.repeated += 1,
                None => {}
            }
            decided.insert(*source, decision);
        }
        Ok(())
    }

    /// A last sink stores what is left; then the rows are the verdicts that count, in order, each once.
    fn rows(mut self, verdicts: &[(i64, Value)], met: &mut Met) -> Result<(), Failure> {
        let mut last = Sink::new();
        let log = &self.shared.verdicts;
        while self.database.progress.next < log.end() {
            last.read(&self.database, log, i64::MAX);
            last.commit(&mut self.database, log, &mut self.dice, met);
        }
        let gaps = self.sinks.iter().map(|sink| sink.gaps).sum::<u64>() + last.gaps;
        if gaps > 0 {
            return Err(Failure::Rows(format!("{gaps} gaps")));
        }
        let transactions = verdicts.iter().filter(|(_, verdict)| verdict["kind"] != "lost");
        let expected: Vec<i64> = transactions.map(|(source, _)| *source).collect();
        if self.database.rows == expected {
            return Ok(());
        }
        Err(Failure::Rows(format!("{:?} instead of {expected:?}", self.database.rows)))
    }
}
