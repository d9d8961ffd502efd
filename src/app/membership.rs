//! Under which name this process is in its group, and whether it may be: a name is one process's, and snapshots in each
//! host's own folder are a group's on one host, unless the settings say otherwise.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use xxhash_rust::xxh3::xxh3_64;

use super::AppError;
use crate::{
    config::{Config, Environment},
    kafka::{
        group::{self, GroupError, Member},
        wait::pause,
    },
};

/// How long members of other hosts may take to go: a session, and some time for the group. A process that was moved
/// here has its old place until then.
const OTHERS_GO: Duration = Duration::from_secs(15);

/// How often the group is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// This process's name in its group, held until dropped.
pub(super) struct Membership {
    /// Its shards' static names begin with it; `None` where they are dynamic members.
    pub instance: Option<String>,
    /// No other process of this host takes the name meanwhile.
    _held: Option<File>,
}

impl Membership {
    /// Takes the name that the settings give.
    ///
    /// # Errors
    /// Another process of this host has it.
    pub fn take(config: &Config) -> Result<Self, AppError> {
        let by_default = || (config.environment == Environment::Production).then(group::host_name);
        // The embedded broker's group is one process's.
        let wanted = if config.kafka.embedded_log.is_some() { None } else { config.score.instance.clone() };
        let Some(instance) = wanted.or_else(by_default) else { return Ok(Self { instance: None, _held: None }) };
        let held = lock(config, &instance)?;
        tracing::info!(instance, group = config.kafka.group, "static member of its group");
        Ok(Self { instance: Some(instance), _held: held })
    }
}

/// One file a group and name: of two processes on a host the second is told, and does not fence the first.
fn lock(config: &Config, instance: &str) -> Result<Option<File>, AppError> {
    let group = &config.kafka.group;
    let id = xxh3_64(format!("{} {group} {instance}", config.kafka.bootstrap_servers).as_bytes());
    let path = std::env::temp_dir().join(format!("sentra-instance-{id:016x}.lock"));
    let file = match File::options().create(true).append(true).open(&path) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "this host's instances cannot be told apart");
            return Ok(None);
        }
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(AppError::InstanceTaken { instance: instance.to_owned(), group: group.clone() })
        }
        _ => Ok(Some(file)),
    }
}

/// Whether a group on several hosts is a fault: where snapshots are in each host's own folder, which it gives.
fn own_folder(config: &Config) -> Option<&str> {
    let folder = config.snapshots.location.as_deref().filter(|location| !location.contains("://"));
    folder.filter(|_| !config.snapshots.local_only && config.kafka.embedded_log.is_none())
}

/// Refuses a group on several hosts whose snapshots are each in a folder of their own. Who is in the group must be known:
/// a coordinator that does not answer is asked again, `waiting` being called meanwhile.
///
/// # Errors
/// Members of other hosts are in the group, and stay for longer than a session.
pub(super) fn check_hosts(config: &Config, stop: &AtomicBool, waiting: impl Fn()) -> Result<(), AppError> {
    let Some(folder) = own_folder(config) else { return Ok(()) };
    watch_hosts(folder, || other_hosts(config), stop, waiting)
}

fn watch_hosts(
    folder: &str,
    others: impl Fn() -> Result<BTreeSet<String>, GroupError>,
    stop: &AtomicBool,
    waiting: impl Fn(),
) -> Result<(), AppError> {
    let mut seen: Option<Instant> = None;
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        waiting();
        match others() {
            Ok(others) if others.is_empty() => break,
            Ok(others) => {
                let hosts = others.into_iter().collect::<Vec<_>>().join(", ");
                if seen.get_or_insert_with(Instant::now).elapsed() > OTHERS_GO {
                    return Err(AppError::SeveralHosts { folder: folder.to_owned(), hosts });
                }
                tracing::warn!(
                    hosts,
                    "other hosts are in the group, and snapshots are kept in a folder of this one; waiting"
                );
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "whether the group is on several hosts is not known; asking until it is");
                }
            }
        }
        pause(ASK_EVERY, stop);
    }
    Ok(())
}

/// The same once more, when those who started at the same moment have joined, too: the first of them by name stays. False
/// where nobody answers: then it is to be asked again.
///
/// # Errors
/// A host before this one by name is in the group.
pub(super) fn check_hosts_joined(config: &Config) -> Result<bool, AppError> {
    let Some(folder) = own_folder(config) else { return Ok(true) };
    let Ok(others) = other_hosts(config) else { return Ok(false) };
    match others.into_iter().find(|host| *host < group::host_name()) {
        Some(hosts) => Err(AppError::SeveralHosts { folder: folder.to_owned(), hosts }),
        None => Ok(true),
    }
}

/// The group's hosts but this one.
fn other_hosts(config: &Config) -> Result<BTreeSet<String>, GroupError> {
    let members = group::members(&config.kafka)?;
    Ok(members.iter().filter_map(Member::other_host).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    fn config(set: &[&str]) -> Config {
        let set = set.iter().map(|pair| (*pair).to_owned()).collect();
        Config::load(&Inputs { set, folder: "/nowhere".into(), ..Inputs::default() }).expect("valid")
    }

    #[test]
    fn members_are_static_where_a_name_is_set_and_in_production_by_the_hosts_name() {
        let group = format!("kafka.group=membership-{}", std::process::id());
        let instance = |set: &[&str]| Membership::take(&config(set)).map(|taken| taken.instance).expect("a free name");
        assert_eq!(instance(&[&group]), None);
        assert_eq!(instance(&[&group, "score.instance=till-1"]).as_deref(), Some("till-1"));
        assert_eq!(instance(&[&group, "environment=production"]), Some(group::host_name()));
    }

    #[test]
    fn a_name_is_taken_until_it_is_let_go_and_in_its_group_alone() {
        let set = |number: u32| format!("kafka.group=membership-taken-{number}-{}", std::process::id());
        let (group, other) = (set(1), set(2));
        let take = |group: &str| Membership::take(&config(&[group, "score.instance=till-1"]));
        let first = take(&group).expect("a free name");
        let refused = take(&group).err().expect("it is taken");
        assert!(refused.is_configuration() && refused.to_string().starts_with("score.instance: "), "{refused}");
        assert!(take(&other).is_ok());
        drop(first);
        assert!(take(&group).is_ok());
    }

    #[test]
    fn only_a_folder_of_ones_own_is_a_fault_on_several_hosts() {
        for (set, is_own) in [
            ("snapshots.location=/var/lib/sentra", true),
            ("snapshots.location=s3://bucket/line", false),
            ("snapshots.location=off", false),
            ("snapshots.local_only=true", false),
        ] {
            assert_eq!(own_folder(&config(&[set])).is_some(), is_own, "{set}");
        }
    }

    #[test]
    fn nobody_starts_on_a_question_that_was_not_answered() {
        let asked = std::cell::Cell::new(0);
        let answers = |until: u32, answer: fn() -> BTreeSet<String>| {
            asked.set(0);
            let asked = &asked;
            move || {
                asked.set(asked.get() + 1);
                let reason = String::from("no coordinator");
                if asked.get() < until {
                    Err(GroupError::Kafka { group: String::from("g"), reason })
                } else {
                    Ok(answer())
                }
            }
        };
        let stop = AtomicBool::new(false);
        assert!(watch_hosts("here", answers(3, BTreeSet::new), &stop, || ()).is_ok());
        assert_eq!(asked.get(), 3, "it was asked until it was answered");
        let never = answers(u32::MAX, BTreeSet::new);
        let waits = || stop.store(asked.get() == 2, Ordering::Relaxed);
        assert!(watch_hosts("here", never, &stop, waits).is_ok());
        assert!(asked.get() >= 2, "a stop ends it");
    }
}
