//! `sentra snapshot list|inspect|verify`: what is kept at snapshots.location, without asking Kafka.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;
use thiserror::Error;

use super::{CliError, Globals, Out};
use crate::{
    domain::{identity::LogId, rules::Rules, time::EventTimeMs},
    engine::{
        STATE_GENERATION,
        partition::Place,
        snapshot::{Refused, Restoring, SnapshotIdentity, Summary, Summing},
    },
    snapshot::{Depot, DepotError, Name, NoName},
};

/// Arguments of `sentra snapshot`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    what: What,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List the snapshots, newest first in each partition.
    List {
        /// Only of this partition.
        #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
        partition: Option<i32>,
    },
    /// Say what one holds; it is read whole.
    Inspect {
        /// As `list` prints it: LOGS/PARTITION/NAME.
        snapshot: Address,
    },
    /// Restore each one in memory, as recovery does; exit code 1 if any could not be.
    Verify {
        /// Only this one, as `list` prints it; all without.
        snapshot: Option<Address>,
    },
}

/// One snapshot at the location.
#[derive(Clone, Debug)]
struct Address {
    logs: String,
    partition: i32,
    name: Name,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || String::from("want LOGS/PARTITION/NAME, as `sentra snapshot list` prints it");
        let [logs, partition, name] = text.split('/').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let partition = partition.parse().map_err(|_| wrong())?;
        Ok(Self { logs: logs.to_owned(), partition, name: name.parse().map_err(|_: NoName| wrong())? })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.logs, self.partition, self.name)
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, Error)]
enum Unread {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Depot(#[from] DepotError),
}

#[derive(Serialize)]
struct Listed {
    snapshot: String,
    partition: i32,
    end: i64,
    epoch: i64,
    bytes: u64,
}

#[derive(Serialize)]
struct Verified {
    snapshot: String,
    phones: Option<u64>,
    fault: Option<String>,
}

impl Args {
    pub(super) fn run(self, globals: &Globals) -> Result<(), CliError> {
        let config = globals.load()?;
        let off = || CliError::Failed(String::from("snapshots.location is off: there are none"));
        let location = config.snapshots.location.clone().ok_or_else(off)?;
        match self.what {
            What::List { partition } => list(&location, partition, self.json),
            What::Inspect { snapshot } => inspect(&location, &snapshot, self.json),
            What::Verify { snapshot } => {
                let all = match snapshot {
                    Some(one) => vec![one],
                    None => found(&location, None)?.into_iter().map(|(address, _)| address).collect(),
                };
                verify(&location, &all, &Arc::new(config.rules), self.json)
            }
        }
    }
}

/// Every snapshot with its size.
fn found(location: &str, only: Option<i32>) -> Result<Vec<(Address, u64)>, CliError> {
    let mut all = Vec::new();
    for logs in Depot::logs(location).map_err(CliError::failed)? {
        let depot = Depot::existing(location, &logs).map_err(CliError::failed)?;
        for partition in depot.partitions().map_err(CliError::failed)? {
            if only.is_none_or(|only| only == partition) {
                let sized = depot.sizes(partition).map_err(CliError::failed)?;
                all.extend(
                    sized.into_iter().map(|(name, bytes)| (Address { logs: logs.clone(), partition, name }, bytes)),
                );
            }
        }
    }
    Ok(all)
}

fn list(location: &str, only: Option<i32>, json: bool) -> Result<(), CliError> {
    let listed = found(location, only)?.into_iter().map(|(address, bytes)| {
        let Address { partition, name: Name { end, epoch }, .. } = address;
        Listed { snapshot: address.to_string(), partition, end, epoch, bytes }
    });
    let listed: Vec<Listed> = listed.collect();
    let mut out = Out::stdout();
    if json {
        out.json(&listed)?;
    } else {
        for Listed { snapshot, end, epoch, bytes, .. } in &listed {
            out.line(format!("{snapshot}  up to offset {end}, epoch {epoch}, {bytes} bytes"))?;
        }
        if listed.is_empty() {
            eprintln!("no snapshots at {location}");
        }
    }
    out.finish()
}

fn inspect(location: &str, address: &Address, json: bool) -> Result<(), CliError> {
    let summary = sum_up(location, address).map_err(|why| CliError::Failed(format!("{address}: {why}")))?;
    let mut out = Out::stdout();
    if json {
        out.json(&summary)?;
        return out.finish();
    }
    let Summary { format, head, end, raw_bytes } = summary;
    let time = |ms: i64| EventTimeMs(ms).to_rfc3339();
    let identity = &head.identity;
    let policy =
        head.policy.as_deref().map_or_else(|| String::from("a policy not named"), |one| format!("policy {one}"));
    for (what, value) in [
        ("transaction topic", identity.log.clone()),
        ("verdict topic", identity.verdict_log.clone()),
        ("partition", format!("{} of {}", identity.partition, identity.partitions)),
        ("format", format.to_string()),
        ("state", format!("generation {}, this program has {STATE_GENERATION}", identity.generation)),
        ("begun", format!("{} before offset {}", time(head.taken_at_ms), head.bounds.next)),
        ("ended", format!("before offset {}", end.end)),
        (
            "verdicts",
            format!(
                "settled below {}, epoch {}, h {}",
                head.checkpoint.next, head.checkpoint.epoch, head.checkpoint.last
            ),
        ),
        ("watermark", head.bounds.watermark.map_or_else(|| String::from("none"), time)),
        ("reach", format!("{:?}", head.bounds.reach)),
        ("phones", end.phones.to_string()),
        ("decisions", format!("{} blocks of 4096 offsets", end.blocks)),
        ("bytes", format!("{raw_bytes} before compression")),
        ("written by", format!("sentra {}, serving {} by {}", head.version, head.model, policy)),
    ] {
        out.line(format!("{what:<18} {value}"))?;
    }
    out.finish()
}

fn verify(location: &str, all: &[Address], rules: &Arc<Rules>, json: bool) -> Result<(), CliError> {
    let mut verified = Vec::new();
    for address in all {
        let outcome = restore(location, address, rules);
        let (phones, fault) = match outcome {
            Ok(phones) => (Some(phones), None),
            Err(why) => (None, Some(why.to_string())),
        };
        verified.push(Verified { snapshot: address.to_string(), phones, fault });
    }
    let mut out = Out::stdout();
    if json {
        out.json(&verified)?;
    } else {
        for Verified { snapshot, phones, fault } in &verified {
            match (phones, fault) {
                (Some(phones), _) => out.line(format!("{snapshot}  ok, {phones} phones"))?,
                (_, Some(fault)) => out.line(format!("{snapshot}  {fault}"))?,
                (None, None) => {}
            }
        }
    }
    out.finish()?;
    if verified.iter().any(|one| one.fault.is_some()) { Err(CliError::No) } else { Ok(()) }
}

fn sum_up(location: &str, address: &Address) -> Result<Summary, Unread> {
    let depot = Depot::existing(location, &address.logs)?;
    let mut summing = Summing::new()?;
    depot.read(address.partition, address.name, |piece| summing.feed(piece).map_err(Unread::from))?;
    Ok(summing.finish()?)
}

/// Restores a snapshot as the owner of its own partition under these rules would; how many phones it has.
fn restore(location: &str, address: &Address, rules: &Arc<Rules>) -> Result<u64, Unread> {
    let head = sum_up(location, address)?.head;
    let log =
        LogId::from_hex(&head.identity.log).ok_or_else(|| Refused::Damaged(String::from("its log's id is none")))?;
    let place = Place { log, partition: head.identity.partition, partitions: head.identity.partitions };
    let own = SnapshotIdentity::new(&place, head.identity.verdict_log.clone(), rules);
    let depot = Depot::existing(location, &address.logs)?;
    let mut restoring = Restoring::new(Arc::clone(rules), place, own)?;
    depot.read(address.partition, address.name, |piece| restoring.feed(piece).map_err(Unread::from))?;
    let restored = restoring.finish()?;
    restored.check_name(address.name.end, address.name.epoch)?;
    Ok(restored.partition.phones() as u64)
}
