//! A private PostgreSQL: the system's binaries, a folder of its own, a Unix socket in it and no port.
//!
//! Invariant: it never runs as root, only its own user and root reach it (the folder's mode says so, and there is no
//! password), and it ends with the process: the kernel tells it to stop when this process is gone, however it went.
//! It is a demo's database: `fsync` stays on, all else is small.

mod account;
mod binaries;
mod database;

use std::{
    fs, io,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use account::Account;
use binaries::Binaries;

/// The role and the database that a demo uses.
const NAME: &str = "sentra";

/// How long it may take to answer, and to end when asked; both are far above what an idle machine needs.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How often its state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The longest path of a Unix socket on Linux is 107 bytes; PostgreSQL adds this much to its folder's.
const SOCKET_FOLDER_BYTES: usize = 107 - "/.s.PGSQL.5432".len();

/// Lines of its log that an error shows.
const LOG_LINES: usize = 8;

/// Why there is no private PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The binaries are missing.
    #[error(
        "PostgreSQL {oldest} or later is not installed (looked for initdb and postgres in {looked}); on Debian or \
         Ubuntu: apt-get install postgresql, or name the folder of the binaries in SENTRA_POSTGRES_BIN"
    )]
    Missing {
        /// The oldest that will do.
        oldest: u32,
        /// Where it was looked for.
        looked: String,
    },
    /// Root has nobody to run it as.
    #[error(
        "PostgreSQL never runs as root, and this system has neither a user postgres nor nobody: run as another user"
    )]
    NoAccount,
    /// The folder's path is too long for a socket.
    #[error(
        "{folder} is too long for a Unix socket (at most {SOCKET_FOLDER_BYTES} bytes): name a shorter folder with --data"
    )]
    LongPath {
        /// The socket's folder.
        folder: String,
    },
    /// A folder or file is not to be had.
    #[error("{path}: {source}; name another folder with --data")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder belongs to another version.
    #[error(
        "{folder} was made by PostgreSQL {made} and {have} is installed: remove the folder, or name another with --data"
    )]
    Version {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        made: String,
        /// The installed one.
        have: u32,
    },
    /// A program of PostgreSQL's could not be run.
    #[error("{program} cannot be run: {source}")]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The demo's database cannot be made.
    #[error("the private PostgreSQL does not let the database {NAME} be made: {0}")]
    Database(String),
    /// It failed.
    #[error("{what} ({status}); the last lines of {log}:\n{lines}")]
    Failed {
        /// What failed.
        what: &'static str,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        lines: String,
    },
}

/// A running PostgreSQL; dropping it ends it. It must be started by a thread that lives as long as the process: the
/// kernel's word that a parent died is about the thread.
pub struct Postgres {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Postgres {
    /// Starts one in `folder`, which is made where it is missing, and waits until it answers.
    ///
    /// # Errors
    /// The binaries, a user, or the folder are not to be had, or it does not start; each says the way out.
    pub fn start(folder: &Path) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let account = Account::for_this_process()?;
        let folder = account.home(folder)?;
        let (data, socket, log) = (folder.join("data"), folder.join("socket"), folder.join("log"));
        if socket.as_os_str().len() > SOCKET_FOLDER_BYTES {
            return Err(PostgresError::LongPath { folder: socket.display().to_string() });
        }
        private_folder(&socket, &account)?;
        if !data.join("PG_VERSION").exists() {
            make(&binaries, &account, &data, &log)?;
        }
        binaries.fit(&data)?;
        await_former(&data);
        let child = spawn(&binaries, &account, &data, &socket, &log)?;
        let mut postgres = Self { child, socket, log };
        postgres.await_ready(&data)?;
        database::ensure(&postgres.url_of("postgres"))?;
        Ok(postgres)
    }

    /// The connection string of the database `sentra`, for libpq's programs too.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The database's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it in order: connections are cut, what was committed is on disk.
    pub fn stop(mut self) {
        self.end();
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgresql://{NAME}@/{database}?host={}", percent(&self.socket.display().to_string()))
    }

    /// PostgreSQL writes its state into the eighth line of its pid file.
    fn await_ready(&mut self, data: &Path) -> Result<(), PostgresError> {
        let deadline = Instant::now() + START_WITHIN;
        let pid = self.pid().to_string();
        loop {
            let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            if lines.next() == Some(pid.as_str()) && lines.nth(6) == Some("ready") {
                return Ok(());
            }
            let status = match self.ended() {
                Some(status) => status.to_string(),
                None if Instant::now() > deadline => format!("no answer within {} s", START_WITHIN.as_secs()),
                None => {
                    thread::sleep(LOOK_EVERY);
                    continue;
                }
            };
            return Err(failed("PostgreSQL did not start", status, &self.log));
        }
    }

    /// First a fast shutdown, then an immediate one, then none can refuse.
    fn end(&mut self) {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
            if self.ended().is_some() {
                return;
            }
            let Ok(pid) = libc::pid_t::try_from(self.pid()) else { return };
            // SAFETY: kill takes plain numbers; the child is not reaped yet, so its pid is nobody else's.
            unsafe { libc::kill(pid, signal) };
            let deadline = Instant::now() + STOP_WITHIN;
            while Instant::now() < deadline && self.ended().is_none() {
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server whose demo was killed may still write its last page: it was told to end, and is waited for. Whoever else
/// runs on these files is met by PostgreSQL's own lock.
fn await_former(data: &Path) {
    let deadline = Instant::now() + STOP_WITHIN;
    while Instant::now() < deadline {
        let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() != "postgres" {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Makes the cluster's files. A folder that an interrupted attempt left behind is made again.
fn make(binaries: &Binaries, account: &Account, data: &Path, log: &Path) -> Result<(), PostgresError> {
    if data.exists() {
        fs::remove_dir_all(data).map_err(|source| PostgresError::Folder { path: data.to_owned(), source })?;
    }
    let program = binaries.folder.join("initdb");
    let mut command = account.command(&program);
    command.arg("-D").arg(data).args(["-U", NAME, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]);
    command.args(["--no-instructions"]).stdin(Stdio::null());
    log_to(&mut command, log, account)?;
    let status = command.status().map_err(|source| PostgresError::Run { program, source })?;
    if status.success() {
        return Ok(());
    }
    // Half a cluster would be taken for a whole one.
    let _ = fs::remove_dir_all(data);
    Err(failed("initdb failed", status.to_string(), log))
}

fn spawn(
    binaries: &Binaries,
    account: &Account,
    data: &Path,
    socket: &Path,
    log: &Path,
) -> Result<Child, PostgresError> {
    let program = binaries.folder.join("postgres");
    let mut command = account.command(&program);
    command.arg("-D").arg(data).arg("-k").arg(socket).args(["-c", "listen_addresses="]);
    command.args(["-c", "port=5432", "-c", "shared_buffers=64MB", "-c", "max_connections=64"]);
    command.args(["-c", "unix_socket_permissions=0700", "-c", "log_min_messages=warning"]);
    // A terminal's Ctrl-C is for us: the database goes last, when what was scored is stored.
    command.stdin(Stdio::null()).process_group(0);
    log_to(&mut command, log, account)?;
    let parent = std::process::id();
    // SAFETY: between fork and exec only prctl and getppid are called, which allocate nothing and take no lock.
    unsafe { command.pre_exec(move || end_with(parent)) };
    command.spawn().map_err(|source| PostgresError::Run { program, source })
}

/// Asks the kernel for a fast shutdown when the parent is gone, and fails where it is gone already.
fn end_with(parent: u32) -> io::Result<()> {
    // SAFETY: both calls take and return plain numbers.
    let (asked, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT), libc::getppid()) };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// A folder for its own user alone.
fn private_folder(path: &Path, account: &Account) -> Result<(), PostgresError> {
    let made = match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    made.and_then(|()| account.own(path)).map_err(|source| PostgresError::Folder { path: path.to_owned(), source })
}

/// What it says goes to its log, anew with each start.
fn log_to(command: &mut Command, log: &Path, account: &Account) -> Result<(), PostgresError> {
    let open = || {
        let file = fs::File::create(log)?;
        account.own(log)?;
        Ok((file.try_clone()?, file))
    };
    let (out, err) = open().map_err(|source| PostgresError::Folder { path: log.to_owned(), source })?;
    command.stdout(out).stderr(err);
    Ok(())
}

fn failed(what: &'static str, status: String, log: &Path) -> PostgresError {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let lines = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    PostgresError::Failed { what, status, log: log.to_owned(), lines }
}

/// A path as a part of a URL.
fn percent(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_keeps_its_slashes_and_escapes_the_rest() {
        assert_eq!(percent("/var/lib/a b/ü%"), "/var/lib/a%20b/%C3%BC%25");
    }

    #[test]
    fn a_folder_too_long_for_a_socket_is_refused_by_name() {
        let long = std::env::temp_dir().join("x".repeat(120));
        let error = Postgres::start(&long).err().expect("refused").to_string();
        assert!(error.contains("too long for a Unix socket") && error.contains("--data"), "{error}");
        // Only the folder itself may have been made on the way.
        let _ = fs::remove_dir_all(&long);
    }
}
