//! The real binary as a child process: its topics, its variables, its signals, its log, what it says over HTTP.
//!
//! A child never outlives its guard. It holds no assertions about verdicts.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use sentra::config::Inputs;
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, create_topic, kafka, unique_topic};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The three topics and the group of one line.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Transactions, in.
    pub transactions: String,
    /// Verdicts, out.
    pub verdicts: String,
    /// Dead letters.
    pub dlq: String,
    /// The consumer group.
    pub group: String,
    /// Partitions of each topic.
    pub partitions: i32,
}

impl Topics {
    /// Three new topics; transactions bear the event time, dead letters may be larger than transactions.
    pub fn create(prefix: &str, partitions: i32) -> Self {
        let topics = Self::named(prefix, partitions);
        create_topic(&topics.transactions, partitions, &[("message.timestamp.type", "CreateTime")]);
        create_topic(&topics.verdicts, partitions, &[]);
        create_topic(&topics.dlq, partitions, &[("max.message.bytes", "1114124")]);
        topics
    }

    /// Names alone, for those who create the topics themselves.
    pub fn named(prefix: &str, partitions: i32) -> Self {
        let name = |part: &str| unique_topic(&format!("{prefix}.{part}"));
        let group = unique_topic(prefix);
        Self { transactions: name("transactions"), verdicts: name("verdicts"), dlq: name("dlq"), group, partitions }
    }

    /// The same input with verdicts, dead letters and group of its own.
    pub fn again(&self, prefix: &str) -> Self {
        let again = Self { transactions: self.transactions.clone(), ..Self::named(prefix, self.partitions) };
        create_topic(&again.verdicts, self.partitions, &[]);
        create_topic(&again.dlq, self.partitions, &[("max.message.bytes", "1114124")]);
        again
    }
}

/// A `sentra run` to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    program: PathBuf,
    roles: String,
    variables: Vec<(String, String)>,
    port: u16,
    api: u16,
    /// Soft and hard limit of open files, where they are not this process's.
    files: Option<(u64, u64)>,
}

impl Setup {
    /// The score role: one shard on the plaintext listener, with the committed model and a free port for its health.
    pub fn new(topics: &Topics) -> Self {
        let port = free_port();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let api = free_port();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_sentra"));
        let setup = Self { program, roles: String::from("score"), variables: Vec::new(), port, api, files: None };
        setup
            .with("KAFKA_BOOTSTRAP_SERVERS", &kafka())
            .with("SENTRA__TOPICS__TRANSACTIONS", &topics.transactions)
            .with("SENTRA__TOPICS__VERDICTS", &topics.verdicts)
            .with("SENTRA__TOPICS__DLQ", &topics.dlq)
            .with("SENTRA__KAFKA__GROUP", &topics.group)
            .with("SENTRA__SCORE__SHARDS", "1")
            .with("SENTRA__TELEMETRY__LISTEN", &format!("127.0.0.1:{port}"))
            .with("SENTRA__TELEMETRY__FORMAT", "json")
            .with("MODEL_PATH", &model.display().to_string())
            .with("API_PORT", &api.to_string())
    }

    /// Which roles, separated by commas.
    pub fn roles(mut self, roles: &str) -> Self {
        roles.clone_into(&mut self.roles);
        self
    }

    /// Runs another build of the program.
    pub fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// Sets a variable; the last value wins.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it open so many files: soft and hard limit.
    pub fn files(self, soft: u64, hard: u64) -> Self {
        Self { files: Some((soft, hard)), ..self }
    }

    /// What a process of this setup reads its configuration from.
    pub fn inputs(&self) -> Inputs {
        let variables = self.variables.iter().map(|(name, value)| (name.clone(), value.into())).collect();
        Inputs { variables, folder: PathBuf::from("/nowhere"), ..Inputs::default() }
    }

    /// The port of its health.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of its HTTP interface, where it runs the serve role.
    pub fn api(&self) -> u16 {
        self.api
    }

    /// Runs another command of the program on the same configuration, to its end.
    pub fn command(&self, args: &[&str]) -> Output {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(home.path()).args(args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).output().expect("the binary")
    }

    /// Starts it.
    pub fn start(&self) -> Sentra {
        let home = tempfile::tempdir().expect("a folder");
        let log = home.path().join("log");
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(&self.program);
        // Nothing of this process's own settings, and no sentra.toml of the current folder.
        command.env_clear().current_dir(home.path()).args(["run", "--roles", &self.roles]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some((rlim_cur, rlim_max)) = self.files {
            let limit = move || {
                let limit = libc::rlimit { rlim_cur, rlim_max };
                // SAFETY: setrlimit reads the struct it is given, which lives past the call.
                let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
                if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            };
            // SAFETY: between fork and exec it makes one system call and allocates nothing.
            unsafe { command.pre_exec(limit) };
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("the binary");
        Sentra { child, port: self.port, log, _home: home }
    }
}

/// A running `sentra run`; dropping it kills it.
#[derive(Debug)]
pub struct Sentra {
    child: Child,
    port: u16,
    log: PathBuf,
    _home: TempDir,
}

/// What a process answered over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: String,
}

impl Sentra {
    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes plain numbers; the child is not reaped before this guard lets go of it.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "signal {signal} to {pid}");
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let log = self.log.clone();
        let what = || format!("the process to end; its log:\n{}", fs::read_to_string(&log).unwrap_or_default());
        until(patience, what, || self.ended())
    }

    /// Everything it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// Its lines with this message; its log is JSON.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(message));
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// How many input records it says it replayed, all partitions together.
    pub fn replayed(&self) -> u64 {
        let field = |line: &Value| line["fields"]["replayed"].as_u64().or(line["replayed"].as_u64());
        self.lines("partition recovered").iter().map(|line| field(line).expect("how many")).sum()
    }

    /// The lines by which it complained: warnings and errors of its log, and how it failed to start.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complaint = |line: &&str| {
            ["\"level\":\"WARN\"", "\"level\":\"ERROR\""].iter().any(|level| line.contains(level))
                || !line.starts_with('{')
        };
        log.lines().filter(complaint).map(str::to_owned).collect()
    }

    /// Asks for a path; `None` while nothing answers.
    pub fn get(&self, path: &str) -> Option<Answer> {
        ask(self.port, path)
    }

    /// A metric's value by its full name with labels, as `/metrics` spells it; `None` where it is not told.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric(self.port, name)
    }

    /// The memory it holds, in MiB.
    pub fn rss_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.expect("its memory").trim().parse::<u64>().expect("a number") / 1_024
    }

    /// Whether it says it is ready.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.code == 200)
    }

    /// Waits until it says it is ready.
    pub fn await_ready(&self) {
        let what = || format!("readiness, but it says {:?}", self.get("/readyz"));
        until(PATIENCE, what, || self.is_ready().then_some(()));
    }

    /// Waits until it says it is not ready, for a reason with these words; the whole answer.
    pub fn await_unready(&self, words: &str, patience: Duration) -> String {
        let what = || format!("{words:?} in {:?}; its log:\n{}", self.get("/readyz"), self.log());
        until(patience, what, || {
            self.get("/readyz")
                .filter(|answer| answer.code == 503 && answer.body.contains(words))
                .map(|answer| answer.body)
        })
    }

    /// How many partitions it emits verdicts for.
    pub fn running(&self) -> i32 {
        self.metric("sentra_partitions{state=\"running\"}").map_or(0, |count| count as i32)
    }

    /// Waits until it emits verdicts for that many partitions and says it is ready.
    pub fn await_running(&self, partitions: i32, patience: Duration) {
        let what = || format!("{partitions} partitions to run, not {}; its log:\n{}", self.running(), self.log());
        until(patience, what, || {
            let ready = self.get("/readyz").is_some_and(|answer| answer.code == 200);
            (ready && self.running() == partitions).then_some(())
        });
    }
}

impl Drop for Sentra {
    fn drop(&mut self) {
        // Both fail where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "---- log of pid {} ----\n{}",
                self.child.id(),
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// Asks whoever listens there for a path; `None` while nothing answers.
pub fn ask(port: u16, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { code, body: body.to_owned() })
}

/// A metric's value as whoever listens there spells it; `None` where it is not told.
pub fn metric(port: u16, name: &str) -> Option<f64> {
    let metrics = ask(port, "/metrics")?.body;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Looks again and again until there is an answer.
pub fn until<T>(patience: Duration, what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {}", what());
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits with the usual patience.
pub fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    until(PATIENCE, || what.to_owned(), || condition().then_some(()));
}

/// A port nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
