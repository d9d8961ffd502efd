//! `sentra replay PARTITION OFFSET`: one verdict made again from the log, beside the one that counts.

use std::sync::{Arc, atomic::AtomicBool};

use serde_json::json;

use super::{CliError, Globals, Out, run::watch_signals};
use crate::operate::{Desk, Difference, Replayed};

/// Rebuilds the state up to a record, judges it again without emitting anything, and compares: exit code 0 where the
/// verdict is the one that counts, 1 with the fields that differ where it is not.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// The partition.
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// The record's offset in the transaction topic.
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// Print JSON: both verdicts and the differences.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let stop = Arc::new(AtomicBool::new(false));
        let config = globals.load()?;
        watch_signals(&stop)?;
        let mut desk = Desk::open(config, stop).map_err(CliError::failed)?;
        let Replayed { verdict, accepted, from, at, differences, notes } =
            desk.replay(self.partition, self.offset).map_err(CliError::failed)?;
        let mut out = Out::stdout();
        if self.json {
            out.json(&json!({
                "equal": differences.is_empty(),
                "verdict_offset": at,
                "replayed_from": from,
                "accepted": accepted,
                "replayed": verdict,
                "differences": differences,
                "notes": notes,
            }))?;
        } else {
            out.json(&verdict)?;
            notes.iter().for_each(|note| eprintln!("sentra: {note}"));
            for Difference { field, accepted, replayed } in &differences {
                eprintln!("sentra: {field}: counts {accepted}, replayed {replayed}");
            }
            if differences.is_empty() {
                eprintln!("equal to the verdict at offset {at} of the verdict partition, replayed from {from} on");
            }
        }
        out.finish()?;
        if differences.is_empty() { Ok(()) } else { Err(CliError::No) }
    }
}
