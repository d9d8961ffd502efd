//! The README's shell blocks, pasted in their order into one bash: the line by hand, the HTTP interface, the sink. Only
//! the ports are others, so that several checkouts may run this at once.

mod common;

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{
    PATIENCE,
    broker::Broker,
    kafka,
    line::{free_port, until},
    postgres::TestDatabase,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What is done before the README is pasted, or has no end, or shows something of a demo's or of a checkout's.
const LEFT_OUT: [&str; 7] = ["scripts/", "cargo ", "eval ", ". .demo/env", "sentra feed", "websocat ", "PATH="];

/// The lines of one section's `sh` blocks, block by block.
fn blocks(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let from = readme.split(&format!("\n## {section}\n")).nth(1).unwrap_or_else(|| panic!("no section {section}"));
    let section = from.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let kept = |block: &str| -> String {
        let lines = block.lines().filter(|line| !LEFT_OUT.iter().any(|left_out| line.starts_with(left_out)));
        lines.map(|line| format!("{line}\n")).collect()
    };
    blocks.map(kept).collect()
}

/// Someone's shell, with what it started in the background; dropping it ends all of that.
struct Shell {
    home: TempDir,
    variables: Vec<(&'static str, String)>,
    api: u16,
    background: Vec<Child>,
}

impl Shell {
    fn open(database: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let program = Path::new(env!("CARGO_BIN_EXE_sentra")).parent().expect("a folder");
        let path = std::env::var("PATH").expect("a PATH");
        let api = free_port();
        let variables = vec![
            ("PATH", format!("{}:{path}", program.display())),
            ("HOME", home.path().display().to_string()),
            ("KAFKA_BOOTSTRAP_SERVERS", kafka()),
            ("DATABASE_URL", database.to_owned()),
            ("API_HOST", String::from("127.0.0.1")),
            ("API_PORT", api.to_string()),
            ("SENTRA__TELEMETRY__LISTEN", format!("127.0.0.1:{}", free_port())),
            ("SENTRA__SNAPSHOTS__LOCATION", String::from("off")),
            // As the README's integrators are told: where the machine is busy, later.
            ("SENTRA__SERVE__SCORE_DEADLINE_MS", String::from("10000")),
        ];
        Self { home, variables, api, background: Vec::new() }
    }

    fn bash(&self, lines: &str) -> Command {
        let lines = lines.replace("127.0.0.1:8000", &format!("127.0.0.1:{}", self.api));
        let mut bash = Command::new("bash");
        bash.env_clear().envs(self.variables.iter().map(|(name, value)| (*name, value)));
        bash.current_dir(env!("CARGO_MANIFEST_DIR")).args(["-ec", &lines]).stdin(Stdio::null());
        bash
    }

    /// Pastes a block that starts something: the shell stays open, as a person's does.
    fn start(&mut self, lines: &str) {
        let said = File::options().create(true).append(true).open(self.home.path().join("said")).expect("a file");
        let mut bash = self.bash(&format!("{lines}\ntouch \"$HOME/pasted-{}\"\nwait", self.background.len()));
        let streams = (said.try_clone().expect("a file"), said);
        bash.process_group(0).stdout(streams.0).stderr(streams.1);
        self.background.push(bash.spawn().expect("bash"));
        let pasted = self.home.path().join(format!("pasted-{}", self.background.len() - 1));
        until(PATIENCE * 3, || self.said(), || pasted.exists().then_some(()));
    }

    /// Pastes a block and waits for it; what it printed.
    fn paste(&self, lines: &str) -> String {
        let done = self.bash(lines).output().expect("bash");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{lines}\n{out}\n{err}\n{}", self.said());
        out.into_owned()
    }

    /// What the background says.
    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for child in &mut self.background {
            let group = libc::pid_t::try_from(child.id()).expect("a pid");
            // SAFETY: kill takes plain numbers; the group is the child's own, which is not reaped yet.
            let _ = unsafe { libc::kill(-group, libc::SIGKILL) };
            let _ = child.wait();
        }
    }
}

#[test]
fn the_readmes_shell_blocks_run_as_pasted_one_after_the_other() {
    let _broker = Broker::up();
    let database = TestDatabase::empty();
    let mut shell = Shell::open(&database.url);

    let by_hand = blocks("The line by hand");
    let [start, produce, see] = &by_hand[..] else { panic!("three blocks, not {}", by_hand.len()) };
    shell.start(start);
    shell.paste(produce);
    let seen = || Some(shell.paste(see)).filter(|printed| printed.matches("TXN123456").count() >= 2);
    until(PATIENCE * 2, || format!("the verdict, for people and as JSON; {}", shell.said()), seen);

    let http = blocks("The HTTP interface");
    let [start, ask] = &http[..] else { panic!("two blocks, not {}", http.len()) };
    shell.start(start);
    let answers = || -> Option<[Value; 5]> {
        let printed = shell.paste(ask);
        let answers: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let answers: [Value; 5] = answers.try_into().unwrap_or_else(|_| panic!("five answers, not {printed}"));
        // Rows follow verdicts, and the phone's windows are a row's.
        (!answers[3]["features"].is_null()).then_some(answers)
    };
    let [score, verdicts, alerts, phone, health] =
        until(PATIENCE * 2, || format!("rows with features; {}", shell.said()), answers);
    assert_eq!(score["transaction_id"], "TXN-1");
    assert!(["scored", "duplicate"].contains(&score["kind"].as_str().expect("a kind")), "{score}");
    assert_eq!(verdicts["verdicts"][0]["transaction_id"], "TXN-1");
    assert!(alerts["alerts"].is_array(), "{alerts}");
    assert_eq!(phone["phone_number"], "+254712345678");
    assert_eq!(phone["features"].as_array().map(Vec::len), Some(24));
    assert_eq!((&health["status"], &health["database_connected"]), (&json!("healthy"), &json!(true)));

    let sink = blocks("PostgreSQL");
    let [start] = &sink[..] else { panic!("one block, not {}", sink.len()) };
    shell.start(start);
    let started = || (shell.said().matches("starting").count() >= 3).then_some(());
    until(PATIENCE, || format!("three processes; {}", shell.said()), started);
    // The questions of the demo's terminal, asked of this line.
    let demo = blocks("See it in one command");
    let line = |start: &str| demo.iter().flat_map(|block| block.lines()).find(|line| line.starts_with(start));
    let counted = shell.paste(line("psql ").expect("a psql line"));
    assert!(counted.contains("risk_level") && counted.contains("LOW"), "{counted}");
    serde_json::from_str::<Value>(&shell.paste(line("curl ").expect("a curl line"))).expect("JSON");
    assert!(!shell.said().contains("is in use"), "nobody takes another's port: {}", shell.said());
    for (number, child) in shell.background.iter_mut().enumerate() {
        assert!(child.try_wait().expect("a child").is_none(), "what block {number} started runs");
    }
}
