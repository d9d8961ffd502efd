//! Databases of a test's own, on the server all share or on one of its own, which it may break.
//!
//! A database or a server never outlives its guard. It holds no assertions about verdicts.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use sentra::{
    config::{Policy, Secret},
    store::{
        Database,
        migrate::{Mode, migrate},
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row};

use super::{broker::script, line::soon, unique_topic, variable};

/// Days as the tests want them: three ahead, all kept.
pub const DAYS: Policy = Policy { ahead: 3, retention: None };

/// A database of a test's own; dropping it drops the database.
pub struct TestDatabase {
    admin: String,
    name: String,
    /// Its connection string, as the super user.
    pub url: String,
    runtime: Runtime,
}

impl TestDatabase {
    /// An empty one on the server that all share.
    pub fn empty() -> Self {
        Self::on(&variable("SENTRA_TEST_DATABASE_URL"))
    }

    /// A migrated one on the server that all share.
    pub fn migrated() -> Self {
        let database = Self::empty();
        database.migrate();
        database
    }

    /// An empty one on the server of this connection string.
    pub fn on(admin: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let name = unique_topic("test").replace('-', "_");
        let (head, _) = admin.rsplit_once('/').expect("a URL with a database");
        let url = format!("{head}/{name}");
        let database = Self { admin: admin.to_owned(), name, url, runtime: runtime.expect("a runtime") };
        database.as_admin(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// Brings it to the schema.
    pub fn migrate(&self) {
        let url = Secret::new(self.url.clone());
        let work = async { migrate(&Database::new(&url)?, Mode::Apply, DAYS).await };
        self.runtime.block_on(work).expect("a migration");
    }

    /// Runs statements as the super user.
    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Runs statements that the server may refuse.
    pub fn try_execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let client = self.connect(&self.url)?;
        self.runtime.block_on(client.batch_execute(sql))
    }

    /// Asks as the super user.
    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Asks, while the server may be away.
    pub fn try_query(&self, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = self.connect(&self.url)?;
        self.runtime.block_on(client.query(sql, &[]))
    }

    /// A single number, asked from within [`Self::block_on`].
    pub async fn query_async(&self, sql: &str) -> i64 {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("a session");
        tokio::spawn(connection);
        client.query_one(sql, &[]).await.expect("a row").get(0)
    }

    /// A single number.
    pub fn number(&self, sql: &str) -> i64 {
        self.query(sql)[0].get(0)
    }

    /// Waits for something of this database.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    fn connect(&self, url: &str) -> Result<Client, tokio_postgres::Error> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })
    }

    fn as_admin(&self, sql: &str) {
        let client = self.connect(&self.admin).expect("a session");
        self.runtime.block_on(client.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that is gone took the database with it; a failure here must not hide the test's.
        if let Ok(client) = self.connect(&self.admin) {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = self.runtime.block_on(client.batch_execute(&drop));
        }
    }
}

/// A server of a test's own; dropping it ends it and removes its data.
pub struct Server {
    folder: TempDir,
}

impl Server {
    /// Starts one.
    pub fn up() -> Self {
        let server = Self { folder: tempfile::tempdir().expect("a folder") };
        server.services("up");
        server
    }

    /// The super user's connection string.
    pub fn url(&self) -> String {
        let env = fs::read_to_string(self.folder.path().join("env")).expect("its addresses");
        let url = env.lines().find_map(|line| line.strip_prefix("SENTRA_TEST_DATABASE_URL="));
        url.expect("its address").to_owned()
    }

    /// Runs `scripts/services` for it: `down`, `up` (same port, same data), `freeze`, `thaw`, `restart`.
    pub fn services(&self, command: &str) {
        let done = self.run(&[command, "postgres"]);
        assert!(done.status.success(), "services {command}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Stops it as `pg_ctl -m immediate` does: no checkpoint, sessions cut.
    pub fn crash(&self) {
        let pid: libc::pid_t = self.file("pid").split_whitespace().next().expect("a pid").parse().expect("a pid");
        // SAFETY: kill takes plain numbers; the process is the one this guard started.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGQUIT) }, 0, "SIGQUIT to {pid}");
        soon("the server's end", || !self.run(&["status", "postgres"]).status.success());
    }

    /// Copies the data of the stopped server aside, as a physical backup.
    pub fn back_up(&self) {
        let cluster = self.cluster();
        copied(&["-a", &format!("{cluster}/data"), &format!("{cluster}/backup")]);
    }

    /// Puts the backup in place of the stopped server's data.
    pub fn restore(&self) {
        let cluster = self.cluster();
        fs::remove_dir_all(format!("{cluster}/data")).expect("the data goes");
        fs::rename(format!("{cluster}/backup"), format!("{cluster}/data")).expect("the backup comes");
    }

    fn cluster(&self) -> String {
        self.file("place").trim().to_owned()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("postgres").join(name)).expect("a file of the server's")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let done = Command::new(script()).args(arguments).env("SENTRA_SERVICES_DIR", self.folder.path()).output();
        done.expect("scripts/services runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failure here must not hide the test's.
        let _ = self.run(&["down", "--wipe"]);
    }
}

/// A file below the checkout's services.
pub fn authority() -> PathBuf {
    PathBuf::from(variable("SENTRA_TEST_DATABASE_CA"))
}

fn copied(arguments: &[&str]) {
    assert!(Command::new("cp").args(arguments).status().expect("cp runs").success(), "cp {arguments:?}");
}
