//! What was measured, what the issue asks of it, and how both are shown: a table for people, JSON for machines.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::{
    drain::DrainFigures,
    evaluator::EvaluatorFigures,
    feed::FeedFigures,
    latency::{Latency, LatencyFigures},
    score::ScoreFigures,
    sink::SinkFigures,
    snapshots::SnapshotFigures,
    state::{MemoryFigures, WindowFigures},
};

/// A ratio and its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// What is compared with what.
    pub name: Cow<'static, str>,
    /// What was measured.
    pub measured: f64,
    /// What it should be.
    pub limit: f64,
    /// Whether the limit is one from above.
    pub at_most: bool,
    /// Whether it is kept.
    pub ok: bool,
}

impl Target {
    /// `measured` should not be above `limit`.
    pub fn at_most(name: impl Into<Cow<'static, str>>, measured: f64, limit: f64) -> Self {
        Self { name: name.into(), measured, limit, at_most: true, ok: measured <= limit }
    }

    /// `measured` should not be below `limit`.
    pub fn at_least(name: impl Into<Cow<'static, str>>, measured: f64, limit: f64) -> Self {
        Self { name: name.into(), measured, limit, at_most: false, ok: measured >= limit }
    }
}

/// Where and when it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Surroundings {
    /// The program's version.
    pub version: &'static str,
    /// The measuring process, which its topics are named after.
    pub process: u32,
    /// Cores it may use.
    pub cores: usize,
    /// Processes that ran or waited before, over one minute: above the number of cores, neighbours were busy.
    pub load_before: f64,
    /// The same at the end.
    pub load_after: f64,
    /// The model served.
    pub model: String,
}

/// All figures of a run; `None` where `--only` left them out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Draining.
    pub drain: Option<DrainFigures>,
    /// The open loop.
    pub latency: Option<LatencyFigures>,
    /// The HTTP interface.
    pub score: Option<ScoreFigures>,
    /// The live feed.
    pub feed: Option<FeedFigures>,
    /// The sink, and the full line.
    pub sink: Option<SinkFigures>,
    /// Snapshots.
    pub snapshots: Option<SnapshotFigures>,
    /// The evaluator; the windows' yardstick too.
    pub evaluator: Option<EvaluatorFigures>,
    /// Window step and features.
    pub windows: Option<WindowFigures>,
    /// Bytes a phone.
    pub memory: Option<MemoryFigures>,
}

/// What a run comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub surroundings: Surroundings,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
    /// Every ratio measured, with its limit.
    pub targets: Vec<Target>,
}

impl Report {
    /// Gathers the targets of the figures at hand.
    pub fn new(surroundings: Surroundings, figures: Figures) -> Self {
        let mut targets = Vec::new();
        targets.extend(figures.drain.iter().flat_map(DrainFigures::targets));
        targets.extend(figures.latency.iter().flat_map(LatencyFigures::targets));
        targets.extend(figures.score.iter().flat_map(ScoreFigures::targets));
        targets.extend(figures.feed.iter().flat_map(FeedFigures::targets));
        targets.extend(figures.sink.iter().flat_map(SinkFigures::targets));
        targets.extend(figures.snapshots.iter().flat_map(SnapshotFigures::targets));
        if let Some(evaluator) = &figures.evaluator {
            targets.push(Target::at_most("one row / library's single row", evaluator.single_ratio(), 0.6));
            targets.push(Target::at_most("a row of 64 / library's single row", evaluator.batch_ratio(), 0.25));
            for (what, steps) in figures.windows.iter().flat_map(WindowFigures::by_what) {
                let ordinary = steps.phone20_ns / evaluator.library_single_ns;
                targets.push(Target::at_most(
                    format!("phone with 20 events / library's single row{what}"),
                    ordinary,
                    0.2,
                ));
            }
        }
        for (what, steps) in figures.windows.iter().flat_map(WindowFigures::by_what) {
            let hot = steps.hot20k_ns / steps.phone20_ns;
            targets.push(Target::at_most(format!("hot phone with 20,000 events / phone with 20{what}"), hot, 2.0));
        }
        if let Some(memory) = &figures.memory {
            targets.push(Target::at_most("bytes a phone at 20 events", memory.bytes_per_phone(), 1_400.0));
        }
        Self { surroundings, figures, targets }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Surroundings { version, cores, load_before, load_after, model, .. } = &self.surroundings;
        let load = format!("load {load_before:.1} before, {load_after:.1} after");
        writeln!(f, "sentra {version}, model {model}, {cores} cores, {load}")?;
        self.figures.fmt(f)?;
        writeln!(f, "\n  {:<50}{:>10}{:>13}", "ratio", "measured", "to reach")?;
        for target in &self.targets {
            let sign = if target.at_most { "<=" } else { ">=" };
            let verdict = if target.ok { "ok" } else { "MISS" };
            writeln!(f, "  {:<50}{:>10.2}{sign:>7} {:>5}  {verdict}", target.name, target.measured, target.limit)?;
        }
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(drain) = &self.drain {
            let head = format!("{} records drained on {} threads", drain.events, drain.threads);
            writeln!(f, "\n{head:<40}{:>14}{:>14}", "CPU s/million", "records/s")?;
            let sized = format!("pass-through, {:.0} bytes out", drain.verdict_bytes);
            for (name, drained) in
                [("pass-through", &drain.pass_through), (sized.as_str(), &drain.verdict_sized), ("line", &drain.line)]
            {
                writeln!(f, "  {name:<38}{:>14.2}{:>14.0}", drained.cpu_s_per_million, drained.per_second)?;
            }
        }
        if let Some(latency) = &self.latency {
            let head = format!("{}/s for {} s, milliseconds", latency.per_second, latency.seconds);
            quantiles(f, &head, &[("echo", &latency.echo), ("line", &latency.line)])?;
        }
        if let Some(score) = &self.score {
            let ScoreFigures { per_second, beside_per_second, seconds, .. } = score;
            let head = format!("{per_second}/s beside {beside_per_second}/s for {seconds} s, ms");
            quantiles(f, &head, &[("echo", &score.echo), ("POST /v1/score", &score.requests)])?;
        }
        if let Some(feed) = &self.feed {
            let head = format!("{} clients, {} alerts/s for {} s, ms", feed.clients, feed.per_second, feed.seconds);
            quantiles(f, &head, &[("topic to client", &feed.frames)])?;
            let each = median(feed.cpu_us_per_frame.clone());
            writeln!(f, "  {:<38}{each:>10.2}  µs of the server's CPU for each of {}", "frame", feed.delivered)?;
        }
        if let Some(sink) = &self.sink {
            let head = format!("{} rows of {:.0} bytes", sink.events, sink.row_bytes);
            writeln!(f, "\n{head:<40}{:>14}", "a second")?;
            for (name, rounds) in [
                ("bare COPY BINARY", &sink.bare_copy),
                ("sink", &sink.sink),
                ("score alone, verdicts", &sink.score),
                ("all roles, verdicts", &sink.full_line_verdicts),
                ("all roles, rows", &sink.full_line),
            ] {
                writeln!(f, "  {name:<38}{:>14.0}", median(rounds.clone()))?;
            }
        }
        if let Some(snapshots) = &self.snapshots {
            snapshots.fmt(f)?;
        }
        if let Some(evaluator) = &self.evaluator {
            writeln!(f, "\n{:<40}{:>14}", "evaluator", "ns a row")?;
            writeln!(f, "  {:<38}{:>14.0}", "library, one row", evaluator.library_single_ns)?;
            writeln!(f, "  {:<38}{:>14.0}", "compiled, one row", evaluator.compiled_single_ns)?;
            writeln!(f, "  {:<38}{:>14.0}", "compiled, a row of 64", evaluator.compiled_batch64_ns)?;
        }
        if let Some(windows) = &self.windows {
            writeln!(f, "\n{:<40}{:>14}", "window step and features", "ns an event")?;
            for (what, steps) in windows.by_what() {
                writeln!(f, "  {:<38}{:>14.0}", format!("phone with 20 events{what}"), steps.phone20_ns)?;
                writeln!(f, "  {:<38}{:>14.0}", format!("phone with 20,000 events{what}"), steps.hot20k_ns)?;
            }
        }
        if let Some(memory) = &self.memory {
            let head = format!("{} phones with 20 events", memory.phones);
            writeln!(f, "\n{head:<40}{:>14}", "bytes a phone")?;
            writeln!(f, "  {:<38}{:>14.0}", "ring", memory.ring_bytes_per_phone)?;
            writeln!(f, "  {:<38}{:>14.0}", "profile", memory.profile_bytes_per_phone)?;
            if let Some(allocated) = memory.allocator_bytes_per_phone {
                writeln!(f, "  {:<38}{allocated:>14.0}", "both, as the allocator counts")?;
            }
        }
        Ok(())
    }
}

fn quantiles(f: &mut fmt::Formatter<'_>, head: &str, rows: &[(&str, &Latency)]) -> fmt::Result {
    writeln!(f, "\n{head:<40}{:>10}{:>10}{:>10}{:>10}", "p50", "p99", "p99.9", "max")?;
    for (name, of) in rows {
        write!(f, "  {name:<38}{:>10.1}{:>10.1}", of.p50_ms, of.p99_ms)?;
        writeln!(f, "{:>10.1}{:>10.1}", of.p999_ms, of.max_ms)?;
    }
    Ok(())
}

/// The middle of the rounds; the lower one of two.
pub fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_at_its_own_value_and_never_for_no_figure() {
        assert!(Target::at_most("a", 2.0, 2.0).ok && Target::at_least("a", 0.45, 0.45).ok);
        assert!(!Target::at_most("a", 2.01, 2.0).ok && !Target::at_least("a", 0.44, 0.45).ok);
        assert!(!Target::at_most("a", median(Vec::new()), 2.0).ok);
    }

    #[test]
    fn a_median_is_the_middle_round() {
        assert_eq!((median(vec![9.0, 1.0, 5.0]), median(vec![4.0, 3.0])), (5.0, 3.0));
    }
}
