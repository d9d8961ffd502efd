//! `sentra verdicts tail`: the verdicts that count, by the reader's rule, as lines or as the records' own bytes.

pub(super) mod show;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Subcommand;
use rdkafka::Message;

use super::{CliError, Globals, Out, run::watch_signals};
use crate::kafka::tail::{From, Positions, Tail, TailEvent, Until};
use show::{Filters, Shown};

/// How long one wait for a record lasts before signals are looked at.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `sentra verdicts`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Print accepted verdicts, live or up to the end; counts and a cursor go to stderr at the end.
    Tail(TailArgs),
}

#[derive(clap::Args, Debug)]
struct TailArgs {
    /// earliest, latest, or the cursor that an earlier run printed [default: latest, with --until-end earliest].
    #[arg(long, value_name = "earliest|latest|CURSOR")]
    from: Option<String>,
    /// Stop at the end that the topic has now.
    #[arg(long)]
    until_end: bool,
    /// Print each record's value as it is, one a line.
    #[arg(long)]
    json: bool,
    /// Check that no verdict is missing: exit code 1 where previous_offset does not name the verdict before it.
    #[arg(long)]
    gaps: bool,
    /// Which verdicts are printed.
    #[command(flatten)]
    filters: Filters,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        match self.what {
            What::Tail(args) => args.run(globals),
        }
    }
}

impl TailArgs {
    fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let from = self.start()?;
        let until = if self.until_end { Until::End } else { Until::Forever };
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&stop)?;
        let mut tail = Tail::open(&config.kafka, &config.topics.verdicts, from, until).map_err(CliError::failed)?;
        let mut out = Out::stdout();
        let printed = self.print(&mut tail, &mut out, &stop);
        if let Err(CliError::Stdout(_)) = printed {
            // Nobody reads any more: what is counted below was not all printed.
            return printed;
        }
        out.finish()?;
        report(&tail);
        printed?;
        let gaps = tail.counts().gaps;
        if self.gaps && gaps > 0 {
            eprintln!("sentra: {gaps} gaps: verdicts are missing from {}", config.topics.verdicts);
            return Err(CliError::No);
        }
        Ok(())
    }

    fn start(&self) -> Result<From, CliError> {
        match self.from.as_deref() {
            None if self.until_end => Ok(From::Earliest),
            None | Some("latest") => Ok(From::Latest),
            Some("earliest") => Ok(From::Earliest),
            Some(cursor) => match Positions::parse(cursor) {
                Ok(positions) => Ok(From::Positions(positions)),
                Err(error) => Err(CliError::Usage(format!("--from: {error}"))),
            },
        }
    }

    fn print(&self, tail: &mut Tail, out: &mut Out, stop: &AtomicBool) -> Result<(), CliError> {
        let coloured = !self.json && Out::is_coloured();
        let mut waited = false;
        while !tail.finished() && !stop.load(Ordering::Relaxed) {
            // What was printed is handed on before waiting, not after each line.
            let patience = if waited { POLL } else { Duration::ZERO };
            let Some(event) = tail.poll(patience).map_err(CliError::failed)? else {
                out.flush()?;
                waited = true;
                continue;
            };
            waited = false;
            let (gap, source, message, lost) = match event {
                TailEvent::Accepted { gap, source, message, .. } => (gap, source, message, false),
                TailEvent::Lost { gap, source, message } => (gap, source, message, true),
                _ => continue,
            };
            let (partition, value) = (message.partition(), message.payload().unwrap_or_default());
            if gap && self.gaps {
                eprintln!("sentra: gap before partition {partition} source offset {source}");
            }
            if lost {
                eprintln!("sentra: input up to partition {partition} offset {source} was deleted before it was judged");
                continue;
            }
            let shown = Shown::parse(value);
            if self.filters.want(partition, &shown) {
                if self.json {
                    out.bytes(value)?;
                } else {
                    out.line(shown.line(coloured))?;
                }
            }
        }
        Ok(())
    }
}

fn report(tail: &Tail) {
    let counts = tail.counts();
    eprintln!(
        "accepted {}, ignored {}, owners {}, lost {}, unknown {}, gaps {}",
        counts.accepted, counts.ignored, counts.owners, counts.lost, counts.unknown, counts.gaps
    );
    eprintln!("cursor {}", tail.positions().cursor());
}
