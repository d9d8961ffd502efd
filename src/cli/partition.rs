//! `sentra partition list|show|skip`: how partitions are, and getting one over a record that no owner gets over.

use std::{
    fmt::Display,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Subcommand;

use super::{CliError, Globals, Out, run::watch_signals};
use crate::operate::{Desk, Owner, PartitionReport, Process, Skipped, SnapshotState};

/// Arguments of `sentra partition`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Say how each partition is, as the topics and snapshots tell.
    List(Asked),
    /// Say all that is known of one partition.
    Show {
        /// The partition.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// What else is asked, and how it is told.
        #[command(flatten)]
        asked: Asked,
    },
    /// Give the first record without a verdict up: it gets a verdict of kind invalid (INTERNAL_ERROR) and a dead letter,
    /// and no state will ever hold it. For a record that ends the process each time. A running owner notices, and takes
    /// the partition anew.
    Skip {
        /// The partition.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// The record's offset in the transaction topic.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        offset: i64,
        /// Do it; without, only say whether it could be done.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Asked {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also ask a process of the line what it refuses and waits for: http://HOST:PORT of its telemetry.listen; may be
    /// repeated.
    #[arg(long, value_name = "URL")]
    metrics: Vec<String>,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let stop = Arc::new(AtomicBool::new(false));
        let config = globals.load()?;
        watch_signals(&stop)?;
        let mut desk = Desk::open(config, stop).map_err(CliError::failed)?;
        match self.what {
            What::List(asked) => {
                let processes = asked.processes()?;
                let states = (0..desk.partitions()).map(|partition| desk.state(partition, &processes));
                let reports = states.collect::<Result<Vec<_>, _>>().map_err(CliError::failed)?;
                list(&reports, asked.json)
            }
            What::Show { partition, asked } => {
                let processes = asked.processes()?;
                show(&desk.state(partition, &processes).map_err(CliError::failed)?, asked.json)
            }
            What::Skip { partition, offset, yes: false } => {
                desk.may_skip(partition, offset).map_err(CliError::failed)?;
                eprintln!("partition {partition}, offset {offset}: could be skipped; nothing was done, --yes does it");
                Ok(())
            }
            What::Skip { partition, offset, yes: true } => {
                let Skipped { epoch, verdict } = desk.skip(partition, offset).map_err(CliError::failed)?;
                eprintln!(
                    "partition {partition}, offset {offset}: skipped; owner record at {epoch}, verdict at {verdict} of \
                     the verdict partition"
                );
                Ok(())
            }
        }
    }
}

impl Asked {
    fn processes(&self) -> Result<Vec<Process>, CliError> {
        let ask =
            |url: &String| Process::ask(url).map_err(|error| CliError::Failed(format!("--metrics {url}: {error}")));
        self.metrics.iter().map(ask).collect()
    }
}

fn list(reports: &[PartitionReport], json: bool) -> Result<(), CliError> {
    let mut out = Out::stdout();
    if json {
        out.json(&reports)?;
        return out.finish();
    }
    out.line(format!(
        "{:>9} {:<8} {:>12} {:>12} {:>12} {:>9} {:>9}  owner",
        "partition", "state", "start", "end", "h", "lag", "snapshot"
    ))?;
    for report in reports {
        let PartitionReport { partition, state, input_start, input_end, lag, .. } = report;
        let age = report.snapshot.as_ref().map_or_else(|| String::from("none"), SnapshotState::age);
        let owner = report.owner.as_ref().map_or("nobody", |owner| &owner.instance);
        let (h, state) = (or_none(report.last_judged), state.as_str());
        out.line(format!(
            "{partition:>9} {state:<8} {input_start:>12} {input_end:>12} {h:>12} {lag:>9} {age:>9}  {owner}"
        ))?;
        if let Some(error) = &report.error {
            out.line(format!("{:>9} {error}", ""))?;
        }
    }
    out.finish()
}

fn show(report: &PartitionReport, json: bool) -> Result<(), CliError> {
    let mut out = Out::stdout();
    if json {
        out.json(report)?;
        return out.finish();
    }
    let owner = |Owner { epoch, group, instance, version, host, since, .. }: &Owner| {
        format!("{instance} of group {group} on {host}, sentra {version}, since {since}, epoch {epoch}")
    };
    let snapshot = |snapshot: &SnapshotState| {
        let fault = snapshot.fault.as_ref().map(|fault| format!("; it cannot be read: {fault}")).unwrap_or_default();
        format!("up to offset {}, {} old{fault}", snapshot.end, snapshot.age())
    };
    for (what, value) in [
        ("partition", report.partition.to_string()),
        ("state", report.state.as_str().to_owned()),
        ("error", report.error.clone().unwrap_or_else(|| String::from("none known"))),
        ("owner", report.owner.as_ref().map_or_else(|| String::from("nobody"), owner)),
        ("input", format!("{} to {}, the end exclusive", report.input_start, report.input_end)),
        ("h", or_none(report.last_judged)),
        ("lag", format!("{} offsets", report.lag)),
        ("verdicts", format!("{} to {}, the end exclusive", report.verdict_start, report.verdict_end)),
        ("snapshot", report.snapshot.as_ref().map_or_else(|| String::from("none"), snapshot)),
        ("undelivered", or_none(report.undelivered)),
    ] {
        out.line(format!("{what:<12} {value}"))?;
    }
    out.finish()
}

impl SnapshotState {
    fn age(&self) -> String {
        self.age_s.map_or_else(|| String::from("unknown"), |age| format!("{age} s"))
    }
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| String::from("-"), |value| value.to_string())
}
