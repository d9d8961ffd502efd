//! The first page in the system's own Chromium, against the real program. `tests/browser/page.mjs` holds the steps.

mod common;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use common::{
    demo::{Demo, open_folder},
    line::{free_port, until},
    node,
};

const TOKEN: &str = "a-token-for-the-page-of-the-test";

#[test]
fn the_page_shows_alerts_and_their_reasons_is_accessible_and_comes_back_after_the_feed_did() {
    let folder = open_folder();
    let demo = Demo::start(&folder.path().join("data"), &[], &[]);
    demo.await_alert();
    // A serve process of its own, which may go and come back while verdicts go on.
    let mut serve = Serve::start(&demo, free_port(), None);
    let mut browser = Browser::open("live", &serve.address(), None);
    browser.await_line("ready");
    serve.end();
    browser.await_line("away");
    let again = Serve::start(&demo, serve.port, None);
    browser.tell("over");
    browser.await_line("done");
    drop(again);
}

#[test]
fn a_page_whose_server_wants_a_token_asks_for_it_once_a_tab() {
    let folder = open_folder();
    let demo = Demo::start(&folder.path().join("data"), &[], &[]);
    let serve = Serve::start(&demo, free_port(), Some(TOKEN));
    Browser::open("guarded", &serve.address(), Some(TOKEN)).await_line("done");
}

#[test]
fn whatever_records_say_is_text_and_the_page_stays_bounded() {
    let folder = open_folder();
    let demo = Demo::start(&folder.path().join("data"), &[], &[]);
    let serve = Serve::start(&demo, free_port(), None);
    Browser::open("hostile", &serve.address(), None).await_line("done");
}

/// `sentra run --roles serve` on a demo's broker.
struct Serve {
    child: Child,
    port: u16,
}

impl Serve {
    fn start(demo: &Demo, port: u16, token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
        command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).args(["run", "--roles", "serve"]);
        for name in ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SENTRA__KAFKA__EMBEDDED_LOG"] {
            command.env(name, demo.variable(name));
        }
        command.env("API_PORT", port.to_string()).env("SENTRA__TELEMETRY__LISTEN", "off");
        command.envs(token.map(|token| ("SENTRA__SERVE__TOKEN", token)));
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary");
        let serve = Self { child, port };
        let what = || format!("the serve role on port {port}");
        until(common::PATIENCE, what, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        serve
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn end(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Both fail where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The browser's driver.
struct Browser {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Browser {
    fn open(scenario: &str, address: &str, token: Option<&str>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.mjs");
        let mut command = Command::new("node");
        node::package("axe-core");
        command.env("SENTRA_BROWSER_HOME", node::folder()).env("SENTRA_CHROMIUM", chromium());
        command.arg(script).args([scenario, address]).args(token);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("node: scripts/setup installs it");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, input, lines: BufReader::new(output) }
    }

    /// The driver's own patience ends what hangs.
    fn await_line(&mut self, wanted: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("its output");
        if line.trim() != wanted {
            let mut why = String::new();
            self.child.stderr.take().expect("piped").read_to_string(&mut why).expect("its errors");
            panic!("waited for {wanted:?}, got {line:?}: {why}");
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chromium() -> PathBuf {
    let path = env::var_os("PATH").expect("a PATH");
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found =
        names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()));
    found.expect("Chromium: scripts/setup installs it, scripts/lib/env.sh finds it")
}
