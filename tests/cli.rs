//! The program as its users meet it: exit codes, what goes to stdout and what to stderr.

use std::process::{Command, Output, Stdio};

fn sentra(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.args(arguments).current_dir(folder.path()).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_way_to_end_has_its_exit_code() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["config", "check"], 0),
        (&["config", "show", "--json"], 0),
        (&["completions", "bash"], 0),
        (&["no-such-command"], 2),
        (&["config", "show", "--no-such-flag"], 2),
        (&["config", "check", "--set", "score.shards=-1"], 78),
        (&["config", "show", "--config", "absent.toml"], 78),
        (&["model", "show", "absent"], 1),
    ] {
        let output = sentra(arguments, &[]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(code == 0, !output.stdout.is_empty(), "data on stdout, and nothing else: {arguments:?}");
        assert_eq!(code == 0, output.stderr.is_empty(), "errors on stderr, and nothing else: {arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_is_one_line_a_problem() {
    let output = sentra(&["config", "check", "--set", "score.bach=1"], &[("SENTRA__TIME__FORGET", "3d")]);
    let wanted = "sentra: time.forget (variable SENTRA__TIME__FORGET): \"3d\" is not a duration with its unit (ms, s, m, h, d) \
                  from 7d to 3650d\nsentra: score.bach (command line): is no setting; did you mean score.batch?\n";
    assert_eq!(text(&output.stderr), wanted);
    assert!(output.stdout.is_empty());
}

#[test]
fn show_tells_each_value_and_where_it_comes_from_and_no_secret() {
    let variables = [("KAFKA_BOOTSTRAP_SERVERS", "k:1"), ("SENTRA__KAFKA__SASL_PASSWORD", "hush")];
    let output = sentra(&["config", "show", "--set", "score.batch=99"], &variables);
    let shown: Vec<Vec<&str>> = text(&output.stdout)
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    for line in [
        ["kafka.bootstrap_servers", "k:1", "variable KAFKA_BOOTSTRAP_SERVERS"],
        ["kafka.sasl_password", "********", "variable SENTRA__KAFKA__SASL_PASSWORD"],
        ["score.batch", "99", "command line"],
        ["time.lateness", "24h", "default"],
    ] {
        assert!(shown.iter().any(|shown| *shown == line), "{line:?} is not in\n{}", text(&output.stdout));
    }
    assert!(!text(&output.stdout).contains("hush"));
}

#[test]
fn problems_are_told_as_json_too() {
    let output = sentra(&["config", "check", "--json", "--set", "score.bach=1"], &[]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ok"], false);
    assert_eq!(told["problems"][0]["key"], "score.bach");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    let mut child = command.args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn the_long_help_of_config_lists_every_setting() {
    let output = sentra(&["config", "--help"], &[]);
    for setting in sentra::config::table::TABLE {
        assert!(text(&output.stdout).contains(&format!("  {} (", setting.key)), "{}", setting.key);
    }
}
