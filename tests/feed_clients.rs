//! Clients of other makes over the network: `sentra feed`, and the README's ten lines of Python as they stand there.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{
    PATIENCE,
    feed::{Log, Place, Serving, by_partition, place},
    line::{Topics, until},
    readme::{block, python},
};
use serde_json::Value;

/// A client in a process of its own.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line before its end").expect("UTF-8")
    }

    /// Places of so many verdicts, from frames as they are.
    fn places(&mut self, count: usize) -> Vec<Place> {
        let mut places = Vec::new();
        while places.len() < count {
            let frame: Value = serde_json::from_str(&self.line()).expect("a frame");
            if frame["type"] == "verdict" {
                places.push(place(&frame));
            }
        }
        places
    }

    /// Asks it to stop: exit code and what it said to people.
    fn stop(self) -> (Option<i32>, String) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain numbers; the child is not reaped yet.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.end()
    }

    /// Waits for its end: exit code and what it said to people.
    fn end(mut self) -> (Option<i32>, String) {
        let status = until(PATIENCE, || String::from("its end"), || self.child.try_wait().expect("a child"));
        let mut said = String::new();
        self.child.stderr.take().expect("its talk").read_to_string(&mut said).expect("UTF-8");
        (status.code(), said)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sentra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
    command.env_clear().arg("feed").args(arguments);
    command
}

#[test]
fn sentra_feed_follows_across_a_restart_and_goes_on_from_its_cursor_in_a_later_run() {
    let topics = Topics::create("cli", 2);
    let mut log = Log::begin(&topics);
    let serving = Serving::start(&topics, &[]);
    let port = serving.port.to_string();
    let url = format!("ws://127.0.0.1:{port}/v1/feed");
    let mut follower = Follower::start(&mut sentra(&["--json", "--url", &url]));
    assert!(follower.line().contains("\"hello\""));
    log.verdicts(0, [10, 20, 30]);
    let mut seen = follower.places(3);
    serving.process.signal(libc::SIGTERM);
    drop(serving);
    log.verdicts(1, [40, 50]);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__PORT", &port)]);
    log.verdicts(0, [60]);
    seen.extend(follower.places(3));
    // The figures after them bear the cursor behind them.
    while !follower.line().contains("\"type\":\"stats\"") {}
    let (code, said) = follower.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("connecting again"), "{said}");
    let cursor = said.lines().find_map(|line| line.strip_prefix("cursor ")).expect("a cursor").to_owned();
    log.verdicts(1, [70]);
    let mut follower = Follower::start(&mut sentra(&["--json", "--url", &url, "--cursor", &cursor]));
    seen.extend(follower.places(1));
    assert_eq!(by_partition(&seen), log.accepted());

    let mut people = Follower::start(&mut sentra(&["--url", &url, "--cursor", &cursor, "--level", "high"]));
    log.verdicts(0, [10, 75]);
    let line = people.line();
    assert!(line.contains(" 70 HIGH") && line.contains("+254712345678") && !line.contains('\x1b'), "{line}");
    assert!(people.line().contains(" 75 HIGH"));
    drop(serving);
}

#[test]
fn sentra_feed_says_in_one_line_why_it_was_refused() {
    let topics = Topics::create("refused", 1);
    Log::begin(&topics);
    let serving = Serving::start(&topics, &[("SENTRA__SERVE__TOKEN", "a-token-of-some-length")]);
    let port = serving.port;
    let (url, tls) = (format!("ws://127.0.0.1:{port}/v1/feed"), format!("wss://127.0.0.1:{port}/v1/feed"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, "a-token-of-some-length\n").expect("written");
    let file = file.display().to_string();
    for (arguments, token, code, word) in [
        (vec!["--url", &url], "", 1, "serve.token"),
        (vec!["--url", &url], "wrong", 1, "serve.token"),
        (vec!["--url", &url, "--cursor", "zz"], "a-token-of-some-length", 1, "cursor"),
        (vec!["--url", &url, "--phone", "12", "--token-file", &file], "", 1, "phone"),
        (vec!["--url", &url, "--token-file", "/nowhere"], "", 1, "--token-file"),
        (vec!["--url", "http://127.0.0.1"], "", 2, "--url"),
        (vec!["--url", &tls], "", 1, "127.0.0.1"),
    ] {
        let (found, said) = Follower::start(sentra(&arguments).env("SENTRA_TOKEN", token)).end();
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(word) && !said.contains("panicked"), "{arguments:?}: {said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with("cursor ")).count(), 1, "{said}");
        assert!(!said.contains("a-token-of-some-length"));
    }
    let mut welcome = Follower::start(sentra(&["--json", "--url", &url]).env("SENTRA_TOKEN", "a-token-of-some-length"));
    assert!(welcome.line().contains("\"hello\""));
}

#[test]
fn the_readmes_python_client_follows_across_a_restart() {
    let topics = Topics::create("python", 2);
    let mut log = Log::begin(&topics);
    let token = ("SENTRA__SERVE__TOKEN", "a-token-of-some-length");
    let serving = Serving::start(&topics, &[token]);
    let port = serving.port.to_string();
    let mut client = Follower::start(
        Command::new(python("websockets.asyncio.client", "websockets>=14,<18"))
            .args(["-u", "-c", &block("python", "/v1/feed")])
            .env("SENTRA_FEED", format!("ws://127.0.0.1:{port}/v1/feed"))
            .env("SENTRA_TOKEN", token.1),
    );
    let connected = || serving.process.metric("sentra_feed_clients").filter(|clients| *clients == 1.0);
    until(PATIENCE, || String::from("the client"), connected);
    // What is written once it is greeted is seen.
    until(
        PATIENCE,
        || String::from("hello"),
        || serving.process.metric("sentra_feed_frames_sent_total{type=\"hello\"}").filter(|sent| *sent == 1.0),
    );
    log.verdicts(0, [10, 95, 75]);
    let mut lines = vec![client.line(), client.line()];
    serving.process.signal(libc::SIGTERM);
    drop(serving);
    log.verdicts(1, [20, 99]);
    let _serving = Serving::start(&topics, &[token, ("SENTRA__SERVE__PORT", &port)]);
    log.verdicts(0, [30, 91]);
    lines.extend([client.line(), client.line()]);
    lines.sort_unstable();
    let ids: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ids, ["7f3a9c01-0-1", "7f3a9c01-0-2", "7f3a9c01-0-4", "7f3a9c01-1-1"]);
}
