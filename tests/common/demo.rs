//! A running `sentra demo`, in a folder of its own. It needs PostgreSQL's binaries, and nothing else.

use std::{
    fs::{self, File},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{PATIENCE, line::until};

/// A folder that other users may pass through: PostgreSQL does not run as root.
pub fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

/// The process, what it says, and where its things are; dropping it kills it.
pub struct Demo {
    child: Child,
    data: PathBuf,
    out: PathBuf,
    err: PathBuf,
}

impl Demo {
    /// Starts one on `data`; what it says goes beside it.
    pub fn start(data: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_named(data, "first", variables, arguments)
    }

    /// Starts another on the same folder, which says what it says elsewhere.
    pub fn start_beside(data: &Path, name: &str) -> Self {
        Self::start_named(data, name, &[], &[])
    }

    fn start_named(data: &Path, name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (out, err) = (data.with_extension(format!("{name}.out")), data.with_extension(format!("{name}.err")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_sentra"));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("MODEL_PATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
        command.env("API_PORT", "0").env("SENTRA__TELEMETRY__LISTEN", "127.0.0.1:0");
        command.envs(variables.iter().copied()).current_dir(data.parent().expect("a parent"));
        command.args(["demo", "--data"]).arg(data).args(arguments).stdin(Stdio::null());
        // A group of its own, as a shell gives to each command: a terminal's signals go to all of it.
        command.process_group(0);
        command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        Self { child: command.spawn().expect("the binary"), data: data.to_owned(), out, err }
    }

    /// What it printed: alerts.
    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it said beside that: addresses, summaries, log lines.
    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// A variable of the file that names its addresses.
    pub fn variable(&self, name: &str) -> String {
        let file = self.data.join("env");
        let found = || {
            let text = fs::read_to_string(&file).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")))?;
            Some(value.trim_end_matches('\'').to_owned())
        };
        until(PATIENCE, || format!("{name} in {}; it said:\n{}", file.display(), self.err()), found)
    }

    /// Waits until it printed an alert.
    pub fn await_alert(&self) {
        let what = || format!("an alert; it said:\n{}", self.err());
        until(PATIENCE, what, || self.out().contains(" scored ").then_some(()));
    }

    /// PostgreSQL's process.
    pub fn postgres(&self) -> libc::pid_t {
        let url = self.variable("DATABASE_URL");
        let socket = url.split_once("?host=").expect("a socket").1;
        let file = Path::new(socket).with_file_name("data").join("postmaster.pid");
        let text = fs::read_to_string(file).expect("its pid file");
        text.lines().next().and_then(|pid| pid.parse().ok()).expect("a pid")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain numbers; the child is not reaped before this guard lets go of it.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "signal {signal} to {pid}");
    }

    /// Sends the signal of Ctrl-C as a terminal does: to the whole process group.
    pub fn ctrl_c(&self) {
        let group = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain numbers; the group is the child's own.
        assert_eq!(unsafe { libc::kill(-group, libc::SIGINT) }, 0, "SIGINT to group {group}");
    }

    /// The processes below it: its children, theirs, and so on.
    pub fn tree(&self) -> Vec<libc::pid_t> {
        let mut found = vec![libc::pid_t::try_from(self.child.id()).expect("a pid")];
        let mut at = 0;
        while at < found.len() {
            found
                .extend(processes().filter(|(_, parent)| *parent == found[at]).map(|(pid, _)| pid).collect::<Vec<_>>());
            at += 1;
        }
        found.split_off(1)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let err = self.err.clone();
        let what = || format!("its end; it said:\n{}", fs::read_to_string(&err).unwrap_or_default());
        until(2 * PATIENCE, what, || self.child.try_wait().expect("a child"))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Both fail where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = self.err();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("---- the demo said last ----\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Every process with its parent.
fn processes() -> impl Iterator<Item = (libc::pid_t, libc::pid_t)> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: libc::pid_t| {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = status.rsplit_once(") ")?;
        Some((pid, rest.split(' ').nth(1)?.parse().ok()?))
    })
}

/// Whether a process is there; a zombie is not.
pub fn lives(pid: libc::pid_t) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until a process is gone.
pub fn await_gone(pid: libc::pid_t) {
    until(Duration::from_secs(60), || format!("process {pid} to end"), || (!lives(pid)).then_some(()));
}
