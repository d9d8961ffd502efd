//! Each rule of the judge as a line of a table, and the plan against the judge.

use std::collections::BTreeMap;

use super::{
    facts::{Role, Shape, State, TopicFacts},
    judge::{Severity, judge},
    plan::{Action, plan},
};
use crate::config::{Config, Environment, Inputs};

const NAMES: [(Role, &str); 3] = [
    (Role::Transactions, "sentra.transactions"),
    (Role::Verdicts, "sentra.verdicts"),
    (Role::Dlq, "sentra.transactions.dlq"),
];

fn config(set: &[&str]) -> Config {
    let set = set.iter().map(|pair| (*pair).to_owned()).collect();
    Config::load(&Inputs { set, folder: "/nowhere".into(), ..Inputs::default() }).expect("a configuration")
}

fn missing() -> Vec<TopicFacts> {
    NAMES.map(|(role, name)| TopicFacts { role, name: name.to_owned(), state: State::Missing }).to_vec()
}

/// The topics as `apply` makes them.
fn applied(config: &Config) -> Vec<TopicFacts> {
    let steps = plan(&missing(), config);
    let made = steps.into_iter().map(|step| {
        let Action::Create(new) = step.action else { panic!("not created: {step:?}") };
        let settings: BTreeMap<_, _> = new.settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let shape = Shape {
            partitions: new.partitions,
            replication: new.replication,
            id: Ok(String::from("1f")),
            settings: Some(settings),
        };
        TopicFacts { role: step.role, name: step.topic, state: State::Found(shape) }
    });
    made.collect()
}

fn shape(facts: &mut [TopicFacts], at: usize) -> &mut Shape {
    match &mut facts[at].state {
        State::Found(shape) => shape,
        other => panic!("{other:?}"),
    }
}

fn safe() -> Config {
    config(&["topics.replication=3", "environment=production"])
}

fn set(facts: &mut [TopicFacts], at: usize, name: &str, value: &str) {
    shape(facts, at).settings.as_mut().expect("settings").insert(name.to_owned(), value.to_owned());
}

#[test]
fn what_apply_makes_is_right_in_production() {
    let config = safe();
    let facts = applied(&config);
    let bad: Vec<_> = judge(&facts, &config.rules, Environment::Production)
        .into_iter()
        .filter(|found| found.severity > Severity::Note)
        .collect();
    assert_eq!(bad, []);
    assert!(plan(&facts, &config).iter().all(|step| step.action == Action::Right));
}

#[test]
fn each_broken_setting_is_one_failure_of_its_topic() {
    let (transactions, verdicts, dlq) = (0, 1, 2);
    let day = 24 * 60 * 60 * 1_000_i64;
    let kept = (10 * day - 1).to_string();
    for (topic, name, value, words) in [
        (transactions, "cleanup.policy", "compact,delete", "compaction"),
        (verdicts, "cleanup.policy", "compact", "compaction"),
        (verdicts, "unclean.leader.election.enable", "true", "unclean"),
        (dlq, "min.insync.replicas", "1", "min.insync.replicas is 1"),
        (transactions, "retention.ms", "172799999", "time.lateness + time.duplicates"),
        (verdicts, "retention.ms", kept.as_str(), "one segment"),
        (verdicts, "retention.bytes", "1000000000", "unlimited"),
        (verdicts, "max.message.bytes", "999999", "batch of verdicts"),
        (dlq, "max.message.bytes", "1048588", "64 KiB"),
    ] {
        let config = safe();
        let mut facts = applied(&config);
        set(&mut facts, topic, name, value);
        let found = judge(&facts, &config.rules, Environment::Production);
        let failures: Vec<_> = found.iter().filter(|found| found.severity == Severity::Fail).collect();
        assert_eq!(failures.len(), 1, "{name}={value}: {found:?}");
        assert!(failures[0].topic == NAMES[topic].1 && failures[0].text.contains(words), "{failures:?}");
    }
}

#[test]
fn retention_by_bytes_is_compared_where_both_have_one() {
    let config = safe();
    for (kept, fails) in [("2999", true), ("3000", false), ("-1", false)] {
        let mut facts = applied(&config);
        set(&mut facts, 0, "retention.bytes", "2000");
        set(&mut facts, 0, "segment.bytes", "1000");
        set(&mut facts, 1, "retention.bytes", kept);
        let found = judge(&facts, &config.rules, Environment::Production);
        assert_eq!(found.iter().any(|found| found.severity == Severity::Fail), fails, "{kept}: {found:?}");
    }
}

#[test]
fn few_copies_fail_in_production_and_are_warned_of_in_development() {
    let one = config(&["topics.replication=1"]);
    let facts = applied(&one);
    let of = |environment| {
        let found = judge(&facts, &one.rules, environment);
        found.into_iter().map(|found| found.severity).filter(|severity| *severity > Severity::Note).collect::<Vec<_>>()
    };
    assert_eq!(of(Environment::Production), [Severity::Fail; 6]);
    assert_eq!(of(Environment::Development), [Severity::Warn; 6]);
}

#[test]
fn unequal_partitions_fail_and_are_never_changed() {
    let config = safe();
    let mut facts = applied(&config);
    shape(&mut facts, 1).partitions = 33;
    let found = judge(&facts, &config.rules, Environment::Development);
    let failure = found.iter().find(|found| found.severity == Severity::Fail).expect("a failure");
    assert!(failure.text.contains("33 partitions") && failure.text.contains("must be equal"), "{failure:?}");
    let mut facts = applied(&config);
    shape(&mut facts, 0).partitions = 8;
    facts[1].state = State::Missing;
    let steps = plan(&facts, &config);
    let Action::Differs { differences } = &steps[0].action else { panic!("{steps:?}") };
    assert!(differences[0].contains("never changed"), "{differences:?}");
    let Action::Create(verdicts) = &steps[1].action else { panic!("{steps:?}") };
    assert_eq!(verdicts.partitions, 8, "as many as there are transactions' partitions");
}

#[test]
fn a_missing_a_hidden_and_an_unreadable_topic_fail_each_with_its_way_out() {
    let config = safe();
    for (state, words) in [(State::Missing, "topics apply"), (State::Hidden, "grant it Describe")] {
        let mut facts = applied(&config);
        facts[1].state = state;
        let found = judge(&facts, &config.rules, Environment::Development);
        assert!(found.iter().any(|found| found.severity == Severity::Fail && found.text.contains(words)), "{found:?}");
    }
    let mut facts = applied(&config);
    shape(&mut facts, 2).settings = None;
    let found = judge(&facts, &config.rules, Environment::Development);
    assert!(found.iter().any(|found| found.text.contains("DescribeConfigs")), "{found:?}");
}

#[test]
fn whose_clock_stamps_transactions_is_always_said() {
    let config = safe();
    let mut facts = applied(&config);
    let said = |facts: &[TopicFacts]| {
        let found = judge(facts, &config.rules, Environment::Production);
        found.into_iter().find(|found| found.text.starts_with("message.timestamp.type")).expect("said")
    };
    assert_eq!(said(&facts).severity, Severity::Note);
    set(&mut facts, 0, "message.timestamp.type", "CreateTime");
    assert_eq!(said(&facts).severity, Severity::Warn);
}
