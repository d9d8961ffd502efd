//! A Kafka of a test's own, which it may stop, freeze and start again; the one that all share is never touched.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A broker in a folder of its own; dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
}

impl Broker {
    /// Starts one, which all of this test binary's helpers then use.
    pub fn up() -> Self {
        let broker = Self { folder: tempfile::tempdir().expect("a folder") };
        broker.services("up");
        let env = std::fs::read_to_string(broker.folder.path().join("env")).expect("its addresses");
        let address = env.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP_SERVERS=")).expect("its address");
        super::OWN.set(address.to_owned()).expect("one broker a test binary");
        broker
    }

    /// Runs `scripts/services` for it: `down`, `up` (same ports, same data), `freeze`, `thaw`.
    pub fn services(&self, command: &str) {
        let done =
            Command::new(script()).args([command, "kafka"]).env("SENTRA_SERVICES_DIR", self.folder.path()).output();
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
