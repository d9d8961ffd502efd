//! `sentra bench`: the line beside its yardsticks on a broker that runs; and the commands its child processes run.
//!
//! The figures go to stdout, what is being done to stderr. What is measured, and how, is in `bench`.

use std::{fs, path::PathBuf, sync::Arc, thread};

use clap::ValueEnum;

use super::{CliError, Globals, Out};
use crate::{
    bench::{
        BenchError, Rig, drain,
        evaluator::measure_evaluator,
        feed::{self, Crowd},
        latency::{self, OpenLoop},
        measure_memory_apart, pass,
        report::{Figures, Report, Surroundings},
        sample::Sample,
        score, sink, snapshots,
        state::{measure_memory, measure_windows},
    },
    config::Config,
    model::folder::Model,
    telemetry::init_log,
};

/// Rows the evaluator is measured on.
const EVALUATOR_ROWS: u64 = 40_000;

/// Clients of the live feed, and alerts a second for each of them.
const FEED_CLIENTS: usize = 200;
const FEED_ALERTS: f64 = 500.0;

/// Measures the line beside its yardsticks, on topics of its own that it deletes again.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Records to drain.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub events: u64,
    /// Rounds of each subject on Kafka, interleaved.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    pub rounds: u64,
    /// Records a second of the open loop.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Requests a second of POST /v1/score, beside that rate on the topic.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub requests: u32,
    /// Seconds of the open loop, each round.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Phones whose memory is measured.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub phones: u64,
    /// Measures only these.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// CPU per event and throughput.
    Drain,
    /// The open loop.
    Latency,
    /// POST /v1/score in an open loop.
    Score,
    /// The live feed: 200 clients at 500 alerts a second.
    Feed,
    /// The sink beside a bare COPY, and the full line beside the score role.
    Sink,
    /// Taking and restoring snapshots, and the line with and without them.
    Snapshots,
    /// Trees against LightGBM's library.
    Evaluator,
    /// Window step and features against LightGBM's library.
    Windows,
    /// Bytes a phone.
    Memory,
}

/// The yardstick's process: moves transactions to verdicts without work, until it is ended.
#[derive(clap::Args, Clone, Debug)]
pub struct PassArgs {
    /// Lines to send in turn in place of what came in.
    #[arg(long)]
    pub payloads: Option<PathBuf>,
}

/// The memory's process, which has allocated nothing else.
#[derive(clap::Args, Clone, Debug)]
pub struct MemoryArgs {
    /// Phones.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub phones: u64,
}

/// The restoring process, which has allocated nothing else.
#[derive(clap::Args, Clone, Debug)]
pub struct RestoreArgs {
    /// Where the snapshots are.
    #[arg(long)]
    pub folder: PathBuf,
    /// Reads the files before the clock runs.
    #[arg(long)]
    pub from_memory: bool,
}

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// The configuration is wrong, or something could not be measured.
    pub fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let report = self.measure(config, globals).map_err(CliError::failed)?;
        let mut out = Out::stdout();
        if self.json {
            out.json(&report)?
        } else {
            out.text(report.to_string())?
        }
        out.finish()
    }

    fn measure(&self, config: Config, globals: &Globals) -> Result<Report, BenchError> {
        let say = &mut |line: &str| eprintln!("{line}");
        let load_before = load_average();
        let model = Arc::new(Model::load(&config.model.path)?);
        let mut figures = Figures::default();
        if self.wants(Part::Evaluator) || self.wants(Part::Windows) {
            say("evaluator");
            let sample = Sample::take(&model, &config.rules, EVALUATOR_ROWS, 0);
            figures.evaluator = Some(measure_evaluator(&model, &sample.rows)?);
        }
        if self.wants(Part::Windows) {
            say("windows");
            figures.windows = Some(measure_windows());
        }
        if self.wants(Part::Memory) {
            say("memory");
            figures.memory = Some(measure_memory_apart(self.phones)?);
        }
        if self.wants(Part::Snapshots) {
            say("snapshots");
            figures.snapshots = Some(snapshots::measure(self.phones)?);
        }
        let on_kafka = [Part::Drain, Part::Latency, Part::Score, Part::Feed, Part::Sink, Part::Snapshots];
        if on_kafka.into_iter().any(|part| self.wants(part)) {
            let rig = Rig::new(config, arguments(globals))?;
            let rounds = self.rounds as usize;
            if self.wants(Part::Drain) {
                figures.drain = Some(drain::measure(&rig, &model, self.events, rounds, say)?);
            }
            if let Some(figures) = &mut figures.snapshots {
                figures.overhead = Some(snapshots::overhead(&rig, self.events, rounds, say)?);
            }
            if self.wants(Part::Sink) {
                if rig.config.sink.database_url.is_none() && self.only.is_empty() {
                    say("sink: left out, sink.database_url is not set");
                } else {
                    figures.sink = Some(sink::measure(&rig, self.events, rounds, say)?);
                }
            }
            let open = OpenLoop { per_second: f64::from(self.rate), seconds: f64::from(self.seconds), rounds };
            if self.wants(Part::Score) {
                figures.score = Some(score::measure(&rig, open, f64::from(self.requests), say)?);
            }
            if self.wants(Part::Feed) {
                let (clients, per_second) = (FEED_CLIENTS, FEED_ALERTS);
                let crowd = Crowd { clients, per_second, seconds: open.seconds, rounds };
                figures.feed = Some(feed::measure(&rig, crowd, say)?);
            }
            if self.wants(Part::Latency) {
                figures.latency = Some(latency::measure(&rig, open, say)?);
            }
        }
        let surroundings = Surroundings {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            load_before,
            load_after: load_average(),
            model: format!("{}/{}", model.name, model.version),
        };
        Ok(Report::new(surroundings, figures))
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

impl MemoryArgs {
    /// Measures this very process and prints the figures as JSON.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn run(&self) -> Result<(), CliError> {
        let mut out = Out::stdout();
        out.json(&measure_memory(self.phones))?;
        out.finish()
    }
}

impl RestoreArgs {
    /// Restores in this very process and prints the figure as JSON.
    ///
    /// # Errors
    /// The folder holds no snapshots, or standard output is closed.
    pub fn run(&self) -> Result<(), CliError> {
        let mut out = Out::stdout();
        out.json(&snapshots::restore(&self.folder, self.from_memory).map_err(CliError::failed)?)?;
        out.finish()
    }
}

impl PassArgs {
    /// Passes through until the process is ended.
    ///
    /// # Errors
    /// The configuration is wrong, or a client failed.
    pub fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        init_log(&config.telemetry).map_err(CliError::failed)?;
        pass::run(&config, self.payloads.as_deref()).map_err(CliError::failed)
    }
}

/// The arguments that make a child process read the same configuration.
fn arguments(globals: &Globals) -> Vec<String> {
    let file = globals.config.iter().map(|path| format!("--config={}", path.display()));
    file.chain(globals.set.iter().map(|pair| format!("--set={pair}"))).collect()
}

/// The system's load over one minute; NaN where it is not told.
fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}
