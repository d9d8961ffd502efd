//! The protocol that decides which verdicts count, on a simulated log (C1): owners that crash, freeze and come back as
//! zombies, requests that land late, acknowledgements without offsets, retention, readers that join anywhere.
//!
//! The log and the network are the test's; what decides is the engine's own: `Settling`, `plan`, `Chain`,
//! `Partition`, `Emitter` and the reader's rule. Every owner serves another model, so that a decision made twice
//! shows. `SENTRA_SEED=<seed>` runs one schedule alone.

mod simulated;
mod tiny;
mod traffic;

use std::env;

use simulated::{Failure, Fault, World};

/// Random schedules a run.
const SCHEDULES: u64 = 12_000;

/// Schedules for the tests of the test.
const FAULTY_SCHEDULES: u64 = 3_000;

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = env::var("SENTRA_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    one.map_or(0..count, |seed| seed..seed + 1)
}

/// The failures of so many schedules with this fault built in.
fn failures(count: u64, fault: Fault) -> (Vec<(u64, Failure)>, simulated::Met) {
    let mut met = simulated::Met::default();
    let failed = |seed| World::new(seed, fault).run(&mut met).err().map(|failure| (seed, failure));
    (seeds(count).filter_map(failed).collect(), met)
}

#[test]
fn every_offset_counts_once_and_in_order_whatever_crashes() {
    let (failures, met) = failures(SCHEDULES, Fault::None);
    println!("{SCHEDULES} schedules met {met:?}");
    if let Some((seed, failure)) = failures.first() {
        panic!("SENTRA_SEED={seed}: {failure}\n{} schedules failed", failures.len());
    }
    if env::var_os("SENTRA_SEED").is_none() {
        assert!(met.all_above(1_000), "the schedules grew dull: {met:?}");
    }
}

/// A test of the test: a new owner that takes the log's end as its epoch, without a record there.
#[test]
fn without_owner_records_some_schedules_fail() {
    let (failures, _) = failures(FAULTY_SCHEDULES, Fault::NoOwnerRecord);
    println!("without owner records {} of {FAULTY_SCHEDULES} schedules fail", failures.len());
    assert!(failures.len() > 20 || env::var_os("SENTRA_SEED").is_some(), "only {}", failures.len());
}

/// A test of the test: a joining reader that takes the first epoch it meets, without going back to its record.
#[test]
fn where_joining_readers_take_the_first_epoch_they_meet_some_schedules_fail() {
    let (failures, _) = failures(FAULTY_SCHEDULES, Fault::FirstEpochMet);
    println!("with readers that take the first epoch {} of {FAULTY_SCHEDULES} schedules fail", failures.len());
    let joining = failures.iter().all(|(_, failure)| matches!(failure, Failure::Joined { .. }));
    assert!(joining, "it fails for another reason: {failures:?}");
    assert!(failures.len() > 20 || env::var_os("SENTRA_SEED").is_some(), "only {}", failures.len());
}
