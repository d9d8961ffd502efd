//! A measured process: this same program under another command, with its CPU time, ended when dropped.
//!
//! It is killed, not stopped in order: its topics and its group are deleted with it, so nothing is owed to them.

use std::{
    fs, io,
    path::Path,
    process::{Child as Process, Command, Stdio},
    time::Duration,
};

use super::{BenchError, rig::Rig, state::MemoryFigures};
use crate::config::Secret;

/// Linux counts a process's CPU time in hundredths of a second, whatever the kernel's own tick (`proc(5)`, `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Fields of `/proc/PID/stat` after the command's closing parenthesis: `utime` and `stime` follow eleven others.
const FIELDS_BEFORE_UTIME: usize = 11;

/// What runs between input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The score role.
    Line,
    /// The score role, which keeps snapshots.
    Snapshotting {
        /// Where.
        folder: &'a Path,
        /// How often, as the setting has it.
        interval: &'a str,
    },
    /// The score and serve roles, with the HTTP interface on this port.
    Serve {
        /// Of this machine.
        port: u16,
    },
    /// The serve role alone, on this port.
    Feed {
        /// Of this machine.
        port: u16,
    },
    /// The sink role alone, in this group and with this database.
    Sink {
        /// The connection string.
        url: &'a Secret,
        /// The group, before `-sink`.
        group: &'a str,
    },
    /// Score, sink and serve in one process.
    Full {
        /// The connection string.
        url: &'a Secret,
    },
    /// Consumes and produces the same bytes.
    PassThrough,
    /// Consumes, and produces payloads of this file in their stead.
    VerdictSized(&'a Path),
}

impl Subject<'_> {
    /// Whether it writes an owner record to each partition when it is ready.
    pub fn has_owners(self) -> bool {
        matches!(self, Self::Line | Self::Snapshotting { .. } | Self::Serve { .. } | Self::Full { .. })
    }
}

/// A running subject.
pub struct Child {
    process: Process,
    what: &'static str,
}

impl Child {
    /// Starts `subject` from `input` to `output`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(rig: &Rig, subject: Subject<'_>, input: &str, output: &str) -> Result<Self, BenchError> {
        let own = std::env::current_exe().map_err(BenchError::Start)?;
        let mut command = Command::new(own);
        let what = match subject {
            Subject::Line | Subject::Snapshotting { .. } => {
                command.args(["run", "--roles", "score"]);
                "the line"
            }
            Subject::Serve { port } => {
                command.args(["run", "--roles", "score,serve", "--set", "serve.host=127.0.0.1"]);
                // No answer is cut off: what is late shall show.
                command.args(["--set", &format!("serve.port={port}"), "--set", "serve.score_deadline_ms=10000"]);
                "the line and its HTTP interface"
            }
            Subject::Feed { port } => {
                command.args(["run", "--roles", "serve", "--set", "serve.host=127.0.0.1"]);
                command.args(["--set", &format!("serve.port={port}")]);
                "the serve role"
            }
            Subject::Sink { url, .. } => {
                // A secret is never on the command line.
                command.args(["run", "--roles", "sink"]).env("SENTRA__SINK__DATABASE_URL", url.expose());
                "the sink"
            }
            Subject::Full { url } => {
                command.args(["run", "--roles", "score,sink,serve", "--set", "serve.host=127.0.0.1"]);
                command.args(["--set", "serve.port=0"]).env("SENTRA__SINK__DATABASE_URL", url.expose());
                "the full line"
            }
            Subject::PassThrough => {
                command.arg("bench-pass");
                "the pass-through"
            }
            Subject::VerdictSized(payloads) => {
                command.arg("bench-pass").arg("--payloads").arg(payloads);
                "the verdict-sized pass-through"
            }
        };
        command.args(rig.arguments());
        for setting in rig.settings(input, output) {
            command.args(["--set", &setting]);
        }
        if let Subject::Snapshotting { folder, interval } = subject {
            command.args(["--set", &format!("snapshots.location={}", folder.display())]);
            command.args(["--set", &format!("snapshots.interval={interval}")]);
        }
        if let Subject::Sink { group, .. } = subject {
            command.args(["--set", &format!("kafka.group={group}")]);
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(BenchError::Start)?;
        Ok(Self { process, what })
    }

    /// CPU time of all its threads so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&mut self) -> Result<Duration, BenchError> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(BenchError::Ended { what: self.what, status: status.to_string() });
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).map_err(BenchError::Proc)?;
        cpu_ticks(&stat)
            .map(|ticks| TICK * ticks)
            .ok_or_else(|| BenchError::Proc(io::Error::from(io::ErrorKind::InvalidData)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs [`measure_memory`](super::state::measure_memory) in a process that has allocated nothing else.
///
/// # Errors
/// The program cannot be started, or prints no figures.
pub fn measure_memory_apart(phones: u64) -> Result<MemoryFigures, BenchError> {
    let own = std::env::current_exe().map_err(BenchError::Start)?;
    let mut command = Command::new(own);
    command.args(["bench-memory", "--phones", &phones.to_string()]).stderr(Stdio::inherit());
    let output = command.output().map_err(BenchError::Start)?;
    serde_json::from_slice(&output.stdout).map_err(|_| BenchError::NoFigure("bench-memory"))
}

/// `utime` + `stime`; the command's name before them may hold anything.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(FIELDS_BEFORE_UTIME);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_that_may_hold_anything() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 1234 66 0 0 20 0 9 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(1_300));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }
}
