//! The line over SASL_SSL with SCRAM-SHA-512 and least privilege, and how those are refused who may not.

mod common;

use std::{process::Command, time::Duration};

use common::{
    SaslUser, client, create_topic,
    line::{Setup, Topics, soon},
    produce::{Sender, Sent, good},
    records::{Follower, Reading, ends},
    sasl, unique_topic,
};
use rdkafka::consumer::{BaseConsumer, Consumer};

const PATIENCE: Duration = Duration::from_secs(60);

/// Names of topics and a group that the user `sentra` may touch.
fn names() -> Topics {
    let variable = |name: &str| std::env::var(name).expect("scripts/services tells it");
    Topics {
        transactions: unique_topic(&variable("SENTRA_TEST_SASL_TRANSACTIONS")),
        verdicts: unique_topic(&variable("SENTRA_TEST_SASL_VERDICTS")),
        dlq: unique_topic(&variable("SENTRA_TEST_SASL_DLQ")),
        group: unique_topic(&format!("{}line", variable("SENTRA_TEST_SASL_GROUP"))),
        partitions: 2,
    }
}

/// The topics of these names, made by somebody who may.
fn topics() -> Topics {
    let topics = names();
    create_topic(&topics.transactions, 2, &[]);
    create_topic(&topics.verdicts, 2, &[]);
    create_topic(&topics.dlq, 2, &[]);
    topics
}

/// The settings of a user as environment variables; the password goes where secrets belong.
fn setup(topics: &Topics, user: SaslUser) -> Setup {
    sasl(user).into_iter().fold(Setup::new(topics), |setup, (name, value)| match name {
        "bootstrap.servers" => setup.with("KAFKA_BOOTSTRAP_SERVERS", &value),
        "sasl.password" => setup.with("SENTRA__KAFKA__SASL_PASSWORD", &value),
        name => {
            let variable = format!("SENTRA__KAFKA__PROPERTIES__{}", name.replace('.', "_").to_uppercase());
            setup.with(&variable, &value)
        }
    })
}

/// The exit code and the one line said.
fn refusal(setup: &Setup) -> String {
    let mut process = setup.start();
    let status = process.wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", process.log());
    let mut said = process.complaints();
    assert!(said.len() == 1 && said[0].starts_with("sentra: "), "one line in {said:#?}");
    println!("{}", said[0]);
    said.remove(0)
}

#[test]
fn the_line_runs_over_sasl_ssl_with_least_privilege() {
    let topics = topics();
    let mut process = setup(&topics, SaslUser::Sentra).start();
    process.await_running(2, PATIENCE);
    let sender = Sender::default();
    for number in 0..50 {
        sender.send(&topics.transactions, &good(number, &format!("T{number}"))).expect("taken");
    }
    let bad = Sent { value: None, partition: Some(0), ..Sent::default() };
    sender.send(&topics.transactions, &bad).expect("taken");
    let mut follower = Follower::new(&topics.verdicts, 2);
    let mut readings = [Reading::default(), Reading::default()];
    follower.read_until(PATIENCE, "a verdict each", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().map(|reading| reading.accepted.len()).sum::<usize>() == 51
    });
    soon("the letter", || process.metric("sentra_dead_letters_total") == Some(1.0));
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log());
}

#[test]
fn the_same_rights_are_enough_to_judge_the_topics_as_production_does() {
    let topics = names();
    let apply = Setup::new(&topics).with("SENTRA__TOPICS__PARTITIONS", "2").command(&["topics", "apply"]);
    assert!(apply.status.success(), "{}", String::from_utf8_lossy(&apply.stderr));
    let setup = setup(&topics, SaslUser::Sentra);
    let check = setup.command(&["topics", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let strict = setup.with("ENVIRONMENT", "production").command(&["topics", "check"]);
    let text = String::from_utf8_lossy(&strict.stdout);
    let fails: Vec<&str> = text.lines().filter(|line| line.contains("fail: ")).collect();
    // All that one broker cannot have, and nothing else.
    assert!(!fails.is_empty() && fails.iter().all(|fail| fail.contains("production wants")), "{text}");
}

/// Forbids the user `sentra` to read a topic (`--add`), or takes that back (`--remove`).
fn forbid_reading(topic: &str, change: &str) {
    let tool = ". scripts/lib/common.sh && . scripts/lib/kafka.sh && \
        kafka_java -XX:TieredStopAtLevel=1 org.apache.kafka.tools.AclCommand \"$@\"";
    let server = std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("scripts/services tells it");
    let of = ["--bootstrap-server", &server, "--force", "--operation", "Read", "--topic", topic];
    let user = format!("User:{}", std::env::var("SENTRA_TEST_SASL_USER").expect("scripts/services tells it"));
    let output = Command::new("bash")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-c", tool, "acl", change, "--deny-principal", &user])
        .args(of)
        .output()
        .expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn partitions_that_may_not_be_read_for_a_while_lose_nothing_though_the_group_changes_meanwhile() {
    let topics = topics();
    let process = setup(&topics, SaslUser::Sentra).start();
    process.await_running(2, PATIENCE);
    let sender = Sender::default();
    let send = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            sender.send(&topics.transactions, &good(number, &format!("T{number}"))).expect("taken");
        }
    };
    send(0..20);
    soon("the first verdicts", || process.metric("sentra_events_total{kind=\"scored\"}") == Some(20.0));
    forbid_reading(&topics.transactions, "--add");
    soon("the refusal", || process.log().contains("TopicAuthorizationFailed"));
    send(20..40);
    // A member that comes and goes stands all partitions still, and lets them go on where the client believes to be.
    let mut guest = client(&sasl(SaslUser::Sentra));
    guest.set("group.id", &topics.group).set("partition.assignment.strategy", "cooperative-sticky");
    let guest: BaseConsumer = guest.create().expect("a client");
    guest.subscribe(&[&topics.transactions]).expect("a subscription");
    soon("the guest's share", || {
        _ = guest.poll(Duration::from_millis(100));
        guest.assignment().is_ok_and(|own| own.count() > 0)
    });
    drop(guest);
    forbid_reading(&topics.transactions, "--remove");
    let mut follower = Follower::new(&topics.verdicts, 2);
    let mut readings = [Reading::default(), Reading::default()];
    follower.read_until(PATIENCE, "a verdict each", |records| {
        readings.iter_mut().zip(records).for_each(|(reading, records)| reading.follow(records));
        readings.iter().map(|reading| reading.accepted.len()).sum::<usize>() == 40
    });
    for (partition, (reading, end)) in readings.iter().zip(ends(&topics.transactions, 2)).enumerate() {
        reading.assert_exact(partition, end);
    }
}

#[test]
fn a_dead_letter_topic_that_may_not_be_written_holds_no_verdict_up() {
    let topics = Topics { dlq: unique_topic("forbidden"), ..topics() };
    create_topic(&topics.dlq, 2, &[]);
    let process = setup(&topics, SaslUser::Sentra).start();
    let sender = Sender::default();
    for sent in [Sent { value: None, ..good(1, "BAD") }, good(1, "GOOD")] {
        sender.send(&topics.transactions, &sent).expect("taken");
    }
    soon("both verdicts", || {
        let made = |kind: &str| process.metric(&format!("sentra_events_total{{kind=\"{kind}\"}}"));
        made("invalid") == Some(1.0) && made("scored") == Some(1.0)
    });
    soon("the loss to be counted", || process.metric("sentra_dead_letters_lost_total") == Some(1.0));
    let mut follower = Follower::new(&topics.verdicts, 2);
    follower.read_until(PATIENCE, "two owner records and two verdicts", |records| {
        records.iter().map(Vec::len).sum::<usize>() == 4
    });
}

#[test]
fn a_stranger_is_refused_in_one_line_that_names_the_topic_and_the_grant() {
    let topics = topics();
    let said = refusal(&setup(&topics, SaslUser::Stranger));
    assert!(said.contains(&topics.transactions) && said.contains("grant"), "{said}");
}

#[test]
fn wrong_credentials_are_refused_in_one_line_that_names_the_settings() {
    let topics = topics();
    let said = refusal(&setup(&topics, SaslUser::Sentra).with("SENTRA__KAFKA__SASL_PASSWORD", "not-the-password"));
    assert!(said.contains("kafka.sasl_password") && !said.contains("not-the-password"), "{said}");
    let wrong = setup(&topics, SaslUser::Sentra).with("SENTRA__KAFKA__SASL_PASSWORD", "not-the-password");
    let simulate = wrong.command(&["simulate", "--to-kafka", "--events", "10"]);
    let said = String::from_utf8_lossy(&simulate.stderr).into_owned();
    assert!(!simulate.status.success() && said.contains("kafka.sasl_password"), "{said}");
    assert!(!said.contains("not-the-password") && said.lines().count() == 1, "{said}");
    let unknown = setup(&topics, SaslUser::Sentra).with("SENTRA__KAFKA__PROPERTIES__SASL_USERNAME", "nobody-knows");
    assert!(refusal(&unknown).contains("sasl.username"));
}

#[test]
fn an_authority_that_did_not_sign_the_brokers_certificate_is_told_with_the_setting() {
    let topics = topics();
    let home = tempfile::tempdir().expect("a folder");
    let other = home.path().join("other.pem").display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=another", "-keyout", "/dev/null", "-out", &other])
        .output()
        .expect("openssl, which scripts/services needs too");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let of_another = setup(&topics, SaslUser::Sentra).with("SENTRA__KAFKA__PROPERTIES__SSL_CA_LOCATION", &other);
    assert!(refusal(&of_another).contains("ssl.ca.location"));
}

#[test]
fn a_group_that_may_not_be_joined_speaks_against_readiness() {
    let topics = Topics { group: unique_topic("forbidden"), ..topics() };
    let process = setup(&topics, SaslUser::Sentra).start();
    soon("the reason", || {
        process.get("/readyz").is_some_and(|answer| answer.code == 503 && answer.body.contains("kafka.group"))
    });
}
