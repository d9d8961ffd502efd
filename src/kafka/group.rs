//! The scoring group as its coordinator describes it: who is in it and on which hosts; and how static members leave it.
//!
//! A shard's client names its host (`client.id`), and a static member's id begins with its `group.instance.id`: both are
//! read back from the group's description. Not a member itself, but for the moment in which it leaves in another's place.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use thiserror::Error;

use super::client::{Session, admin_config, consumer_config, describe};
use crate::config::{Config, KafkaConfig};

/// What a shard's `client.id` begins with, before its host.
const CLIENT: &str = "sentra@";

/// What follows the name in a member's id: a dash and a UUID.
const UUID_CHARS: usize = 1 + 36;

/// How long the coordinator may take for one answer.
const ASK: Duration = Duration::from_secs(10);

/// How long one wait for the group lasts before time is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How long a member may take to join, or to leave.
const STEP: Duration = Duration::from_secs(60);

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: a name and a UUID.
    pub id: String,
    /// Its `client.id`.
    pub client: String,
    /// The address that the coordinator sees it at.
    pub address: String,
}

/// The group cannot be asked, or a member cannot leave.
#[derive(Debug, Error)]
pub enum GroupError {
    /// The client failed, or the broker refuses.
    #[error("group {group}: {reason}")]
    Kafka {
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// Nobody of that name is in it.
    #[error("group {group} has no static member {instance}; it has {members}")]
    Nobody {
        /// The group.
        group: String,
        /// The name asked for.
        instance: String,
        /// Who is in it.
        members: String,
    },
    /// It took too long.
    #[error("static member {member} did not leave group {group} within a minute; try again")]
    Slow {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
}

impl Member {
    /// The host its client names; `None` for one of another program, or with a `client.id` of its own.
    pub fn host(&self) -> Option<&str> {
        self.client.strip_prefix(CLIENT)
    }

    /// The host it is on, where that is not this one: by its name, or by its address where its client names none.
    pub fn other_host(&self) -> Option<&str> {
        match self.host() {
            Some(host) => (host != host_name()).then_some(host),
            None => (!is_own(&self.address)).then_some(&self.address),
        }
    }

    /// Its `group.instance.id`, where it is a static member.
    pub fn instance(&self) -> Option<&str> {
        let name = self.id.get(..self.id.len().checked_sub(UUID_CHARS)?)?;
        (name != self.client).then_some(name)
    }
}

/// Whether an address is one of this host's: only those can be listened on.
fn is_own(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| UdpSocket::bind((address, 0)).is_ok())
}

/// Names this host in a shard's client, where the user gave it no name.
pub fn name_client(client: &mut ClientConfig, kafka: &KafkaConfig) {
    if !kafka.properties.contains_key("client.id") {
        client.set("client.id", format!("{CLIENT}{}", host_name()));
    }
}

/// The `group.instance.id` of a shard.
pub fn member_name(instance: &str, shard: usize) -> String {
    format!("{instance}-{shard}")
}

/// This host's name, as far as it may stand in a member's.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    if name.is_empty() { String::from("host") } else { name }
}

/// Who is in the group.
///
/// # Errors
/// The client cannot be made, or no coordinator answers.
pub fn members(kafka: &KafkaConfig) -> Result<Vec<Member>, GroupError> {
    let failed = |error: KafkaError| failed(kafka, &error);
    let client: BaseConsumer<Session> = admin_config(kafka).create_with_context(Session::default()).map_err(failed)?;
    let list = client.fetch_group_list(Some(&kafka.group), ASK).map_err(failed)?;
    let groups = list.groups().iter().filter(|group| group.name() == kafka.group);
    let member = |member: &rdkafka::groups::GroupMemberInfo| Member {
        id: member.id().to_owned(),
        client: member.client_id().to_owned(),
        address: member.client_host().trim_start_matches('/').to_owned(),
    };
    Ok(groups.flat_map(|group| group.members()).map(member).collect())
}

/// Lets the shards of `instance` leave the group, so that others take their partitions at once; says who left. Each is
/// joined in its place first, which fences a process that still runs under the name.
///
/// # Errors
/// Nobody of that name is in the group, or the coordinator does not answer.
pub fn leave(config: &Config, instance: &str) -> Result<Vec<String>, GroupError> {
    let kafka = &config.kafka;
    let found = members(kafka)?;
    let is_shard = |name: &&str| {
        let shard = name.strip_prefix(instance).and_then(|rest| rest.strip_prefix('-'));
        shard.is_some_and(|shard| !shard.is_empty() && shard.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut names: Vec<String> =
        found.iter().filter_map(Member::instance).filter(is_shard).map(str::to_owned).collect();
    names.sort();
    if names.is_empty() {
        let all: BTreeSet<&str> = found.iter().filter_map(Member::instance).collect();
        let all = all.into_iter().collect::<Vec<_>>().join(", ");
        let members = if all.is_empty() { String::from("no static members") } else { all };
        return Err(GroupError::Nobody { group: kafka.group.clone(), instance: instance.to_owned(), members });
    }
    names.iter().try_for_each(|name| leave_one(config, name))?;
    Ok(names)
}

/// Only a member may say that it leaves: this one joins under the name, and says so.
fn leave_one(config: &Config, name: &str) -> Result<(), GroupError> {
    let kafka = &config.kafka;
    let failed = |error: KafkaError| failed(kafka, &error);
    let client: BaseConsumer<Session> = consumer_config(kafka)
        .set("group.instance.id", name)
        .create_with_context(Session::default())
        .map_err(failed)?;
    let deadline = Instant::now() + STEP;
    let named = || Ok(members(kafka)?.into_iter().find(|member| member.instance() == Some(name)));
    // Joining needs no poll: who is asked for afterwards may be this one already.
    let before = named()?;
    client.subscribe(&[&config.topics.transactions]).map_err(failed)?;
    let until = |done: &dyn Fn(Option<Member>) -> bool| {
        while !done(named()?) {
            if Instant::now() > deadline {
                return Err(GroupError::Slow { group: kafka.group.clone(), member: name.to_owned() });
            }
            // Nothing is read: polling is what lets it join and leave.
            drop(client.poll(POLL));
        }
        Ok(())
    };
    until(&|now| now.is_some() && now != before)?;
    client.unsubscribe();
    until(&|now| now.is_none())
}

fn failed(kafka: &KafkaConfig, error: &KafkaError) -> GroupError {
    GroupError::Kafka { group: kafka.group.clone(), reason: describe(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_id_and_client_tell_its_static_name_and_its_host() {
        const UUID: &str = "-01234567-89ab-cdef-0123-456789abcdef";
        let address = String::from("192.0.2.7");
        let member = |id: &str, client: &str| Member {
            id: format!("{id}{UUID}"),
            client: client.to_owned(),
            address: address.clone(),
        };
        for (member, instance, host) in [
            (member("till-1-0", "sentra@a.example"), Some("till-1-0"), Some("a.example")),
            (member("sentra@a", "sentra@a"), None, Some("a")),
            (member("mine", "mine"), None, None),
            (Member { id: String::from("short"), client: String::new(), address: address.clone() }, None, None),
        ] {
            assert_eq!((member.instance(), member.host()), (instance, host), "{member:?}");
        }
    }

    #[test]
    fn a_member_without_a_hosts_name_is_on_the_host_of_its_address() {
        let member = |client: &str, address: &str| Member {
            id: String::from("id"),
            client: client.to_owned(),
            address: address.to_owned(),
        };
        let own = format!("sentra@{}", host_name());
        for (client, address, other) in [
            (own.as_str(), "192.0.2.7", None),
            ("sentra@elsewhere", "127.0.0.1", Some("elsewhere")),
            ("billing", "127.0.0.1", None),
            ("billing", "192.0.2.7", Some("192.0.2.7")),
            ("billing", "", Some("")),
        ] {
            assert_eq!(member(client, address).other_host(), other, "{client} at {address}");
        }
    }
}
