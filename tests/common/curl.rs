//! The HTTP interface as integrators ask it: by curl, over the network.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::line::{Sentra, Setup, until};

/// The token of tests that set one.
pub const TOKEN: &str = "a-token-for-tests-0123456789";

/// Asks one HTTP interface.
#[derive(Clone, Debug)]
pub struct Curl {
    port: u16,
    token: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Curl {
    /// For a process of this set-up, without a token.
    pub fn new(setup: &Setup) -> Self {
        Self { port: setup.api(), token: None }
    }

    /// For whoever listens on this port, without a token.
    pub fn at(port: u16) -> Self {
        Self { port, token: None }
    }

    /// With the token of tests.
    pub fn with_token(self) -> Self {
        Self { token: Some(TOKEN.to_owned()), ..self }
    }

    /// Where it asks.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Reply {
        self.run(path, &[], None)
    }

    /// Posts JSON to a path.
    pub fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.run(path, &["-H", "Content-Type: application/json"], Some(body))
    }

    /// Scores a transaction.
    pub fn score(&self, transaction: &str) -> Reply {
        self.post("/v1/score", transaction.as_bytes())
    }

    /// Runs curl with these arguments beside its own; a body is posted.
    pub fn run(&self, path: &str, arguments: &[&str], body: Option<&[u8]>) -> Reply {
        self.try_run(path, arguments, body).unwrap_or_else(|why| panic!("curl {path}: {why}"))
    }

    /// The same, where nobody may answer.
    pub fn try_run(&self, path: &str, arguments: &[&str], body: Option<&[u8]>) -> Result<Reply, String> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--path-as-is", "--globoff", "--max-time", "60"]).args(arguments);
        if let Some(token) = &self.token {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        if body.is_some() {
            // No Expect: 100-continue, so that there is one head to read.
            curl.args(["-H", "Expect:", "--data-binary", "@-"]);
        }
        curl.arg(self.url(path)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = curl.spawn().expect("curl is installed: apt-get install curl");
        // A server that refuses early may not read all of it.
        let _ = child.stdin.take().expect("piped").write_all(body.unwrap_or_default());
        let done = child.wait_with_output().expect("curl ends");
        if !done.status.success() && done.stdout.is_empty() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        Ok(Reply::read(&done.stdout))
    }

    /// Waits until the interface can score: it follows verdicts and the shards have their partitions.
    pub fn await_ready(&self, process: &Sentra) {
        let what = || format!("{} to be ready; its log:\n{}", self.url("/readyz"), process.log());
        until(super::PATIENCE * 2, what, || {
            let ready = self.try_run("/readyz", &[], None).is_ok_and(|reply| reply.code == 200);
            ready.then_some(())
        });
    }
}

impl Reply {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.lines();
        let code = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Self { code, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that this is a problem document of that status and kind, as RFC 9457 and this interface have it.
    pub fn assert_problem(&self, code: u16, kind: &str) -> Value {
        assert_eq!(self.code, code, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:sentra:problem:{kind}"));
        assert_eq!(problem["status"], code);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        problem
    }
}

/// A transaction of customer `number`, made now.
pub fn transaction(number: u32, id: &str) -> String {
    let now = time::OffsetDateTime::now_utc();
    let now = now.format(&time::format_description::well_known::Rfc3339).expect("a time");
    format!(
        r#"{{"transaction_id":"{id}","amount":1500,"phone_number":"+2547{number:08}","timestamp":"{now}","device_id":"d{number}","location":"Nairobi"}}"#
    )
}
