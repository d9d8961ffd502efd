//! Draining: one input, and how fast and at what cost in CPU each subject moves it to a topic of its own.
//!
//! Rounds are interleaved, and a ratio is taken within its round: a busy neighbour slows both sides of it.

use std::sync::Arc;

use serde::Serialize;

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    load, progress,
    progress::Stretch,
    report::{Target, median},
    sample::{self, Sample},
};
use crate::model::folder::Model;

/// Verdicts that the verdict-sized pass-through sends in turn: real ones, so that they compress as the line's do, and
/// few enough to stay in the cache.
const PAYLOADS: usize = 256;

/// Records judged to come by them.
const SAMPLE_RECORDS: u64 = 20_000;

/// One subject's rounds and their medians.
#[derive(Clone, Debug, Serialize)]
pub struct Drained {
    /// CPU seconds per million records.
    pub cpu_s_per_million: f64,
    /// Records a second.
    pub per_second: f64,
    /// What each round took.
    pub rounds: Vec<Stretch>,
}

/// The line and its yardsticks.
#[derive(Clone, Debug, Serialize)]
pub struct DrainFigures {
    /// Records of the input.
    pub events: u64,
    /// Threads of each.
    pub threads: usize,
    /// What the verdict-sized pass-through sends, on average.
    pub verdict_bytes: f64,
    /// The same bytes out as in.
    pub pass_through: Drained,
    /// A verdict's size out.
    pub verdict_sized: Drained,
    /// The score role.
    pub line: Drained,
}

impl Drained {
    fn of(rounds: Vec<Stretch>) -> Self {
        Self {
            cpu_s_per_million: median(rounds.iter().map(Stretch::cpu_per_million).collect()),
            per_second: median(rounds.iter().map(Stretch::per_second).collect()),
            rounds,
        }
    }
}

impl DrainFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        let ratio = |of: fn(&Stretch) -> f64| {
            let rounds = self.line.rounds.iter().zip(&self.verdict_sized.rounds);
            median(rounds.map(|(line, yardstick)| of(line) / of(yardstick)).collect())
        };
        vec![
            Target::at_most("CPU per event / verdict-sized pass-through", ratio(Stretch::cpu_per_million), 2.0),
            Target::at_least("drain throughput / verdict-sized pass-through", ratio(Stretch::per_second), 0.45),
        ]
    }
}

/// Produces `events` records once, then drains them `rounds` times through each subject; `say` hears what is done.
///
/// # Errors
/// The broker refuses, or a subject ended or stood still.
pub fn measure(
    rig: &Rig,
    model: &Arc<Model>,
    events: u64,
    rounds: usize,
    say: &mut dyn FnMut(&str),
) -> Result<DrainFigures, BenchError> {
    let sample = Sample::take(model, &rig.config.rules, SAMPLE_RECORDS.min(events), PAYLOADS);
    let payloads = rig.file("verdicts.jsonl", &sample.verdict_lines())?;
    let input = rig.topic("input")?;
    say(&format!("drain: producing {events} records"));
    load::fill(rig, &input, &sample::month(events))?;
    let subjects = [
        ("pass-through", Subject::PassThrough),
        ("verdict-sized pass-through", Subject::VerdictSized(&payloads)),
        ("line", Subject::Line),
    ];
    let mut taken: [Vec<Stretch>; 3] = Default::default();
    for round in 1..=rounds {
        for ((name, subject), taken) in subjects.into_iter().zip(&mut taken) {
            let output = rig.topic("output")?;
            let stretch = {
                let mut child = Child::start(rig, subject, &input, &output)?;
                progress::watch(rig, &mut child, &output, events)?
            };
            rig.delete(&output);
            say(&format!(
                "drain: round {round}, {name}: {:.2} CPU s a million, {:.0}/s",
                stretch.cpu_per_million(),
                stretch.per_second()
            ));
            taken.push(stretch);
        }
    }
    rig.delete(&input);
    let [pass_through, verdict_sized, line] = taken.map(Drained::of);
    let (threads, verdict_bytes) = (rig.threads(), sample.mean_verdict_bytes());
    Ok(DrainFigures { events, threads, verdict_bytes, pass_through, verdict_sized, line })
}
