//! A Kafka of a test's own, which it may stop, freeze and start again; the one that all share is never touched.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::proxy::Proxy;

/// A broker in a folder of its own; dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Broker {
    /// Starts one, which all of this test binary's helpers then use.
    pub fn up() -> Self {
        let broker = Self::started(Vec::new());
        super::OWN.set(broker.address("KAFKA_BOOTSTRAP_SERVERS")).expect("one broker a test binary");
        broker
    }

    /// The same; clients that come to the proxy's port stay on it.
    pub fn behind(proxy: &Proxy) -> Self {
        let broker = Self::started(vec![("SENTRA_KAFKA_PROXY_PORT", proxy.port().to_string())]);
        super::OWN.set(broker.address("KAFKA_BOOTSTRAP_SERVERS")).expect("one broker a test binary");
        proxy.leads_to(&broker.address("SENTRA_TEST_KAFKA_PROXIED"));
        broker
    }

    /// A second broker of this one's cluster: node 2, with no say in it.
    pub fn second(&self) -> Self {
        Self::started(vec![("SENTRA_KAFKA_JOIN", self.folder.path().display().to_string())])
    }

    fn started(variables: Vec<(&'static str, String)>) -> Self {
        let broker = Self { folder: tempfile::tempdir().expect("a folder"), variables };
        broker.services("up");
        broker
    }

    fn address(&self, name: &str) -> String {
        let env = std::fs::read_to_string(self.folder.path().join("env")).expect("its addresses");
        let address = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        address.expect("its address").to_owned()
    }

    /// Runs `scripts/services` for it: `down`, `up` (same ports, same data), `freeze`, `thaw`.
    pub fn services(&self, command: &str) {
        let mut script = Command::new(script());
        script.args([command, "kafka"]).env("SENTRA_SERVICES_DIR", self.folder.path());
        let done = script.envs(self.variables.iter().map(|(name, value)| (name, value))).output();
        let done = done.expect("scripts/services runs");
        assert!(done.status.success(), "services {command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What it says goes to the test's own output; a failure here must not hide the test's.
        let _ = Command::new(script()).args(["down", "--wipe"]).env("SENTRA_SERVICES_DIR", self.folder.path()).status();
    }
}

/// The script that starts and ends services.
pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services")
}
