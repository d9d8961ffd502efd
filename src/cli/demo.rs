//! `sentra demo`: all of it in one process tree with nothing configured, until a signal.
//!
//! Order at start: broker, database, traffic and alerts, roles; at the end the other way round, so that what was scored
//! is stored. Whatever ends by itself ends the demo. Not a deployment: the broker holds minutes, in memory.

mod alerts;
mod places;
mod stored;
mod traffic;

use std::{
    fs,
    io::{self, IsTerminal},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{CliError, Globals, run::watch_signals};
use crate::{
    app::{self, Role},
    config::{Config, Environment, Secret},
    embedded::{Broker, Postgres},
    kafka::wait,
    store::{self, Database, migrate::Mode},
    telemetry::init_log,
};

/// Runs the demo: an embedded Kafka broker, a private PostgreSQL, the default model and simulated traffic with frauds.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Folder for the database; rows of earlier runs stay in it. The broker keeps nothing.
    #[arg(long, default_value = ".demo", value_name = "DIR")]
    pub data: PathBuf,
    /// Transactions a second; less where the line does not keep up.
    #[arg(long, default_value_t = 50.0, value_parser = super::simulate::rate)]
    pub rate: f64,
}

/// Partitions of each topic: the broker's memory is bounded per partition, so many of them hold more.
const PARTITIONS: i32 = 32;

/// The consumer group; also what outside programs see.
const GROUP: &str = "sentra-demo";

/// How far the demo has come, counted by the threads that make it so.
#[derive(Debug, Default)]
struct Progress {
    /// Transactions handed to the broker.
    sent: AtomicU64,
    /// Verdicts that counted.
    judged: AtomicU64,
    /// Verdicts that the sink is done with, owner records among them.
    stored: AtomicU64,
}

impl Args {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), CliError> {
        let began = Instant::now();
        let mut config = globals.load()?;
        // The alerts are the show; who wants the process's own lines asks for them.
        if config.telemetry.log == "info" && io::stderr().is_terminal() {
            config.telemetry.log = String::from("warn");
        }
        init_log(&config.telemetry).map_err(CliError::failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(&stop)?;
        let _lock = lock(&self.data)?;
        config.topics.partitions = PARTITIONS;
        let broker = Broker::start(&config.topics).map_err(CliError::failed)?;
        // From this thread, which lives as long as the process.
        let postgres = Postgres::start(&self.data.join("postgres")).map_err(CliError::failed)?;
        places::prepare(&mut config, &broker, &postgres)?;
        migrate(&config)?;
        let told = places::write(&self.data.join("env"), &config, &postgres)?;
        eprintln!("{}", places::describe(&config, &postgres, told.path(), began.elapsed()));
        self.play(config, postgres, &stop)
    }

    /// Everything that needs broker and database, until the stop.
    fn play(&self, config: Config, mut postgres: Postgres, stop: &Arc<AtomicBool>) -> Result<(), CliError> {
        let progress = Arc::new(Progress::default());
        let (kafka, topics) = (config.kafka.clone(), config.topics.clone());
        let (url, log) = (postgres.url(), kafka.embedded_log.map_or_else(String::new, |log| log.short()));
        let outcome = thread::scope(|scope| {
            let alerts = scope.spawn(|| ending(stop, || alerts::run(&kafka, &topics, &progress, stop)));
            let traffic = scope.spawn(|| ending(stop, || traffic::run(&kafka, &topics, self.rate, &progress, stop)));
            let stored = scope.spawn(|| ending(stop, || stored::run(&url, &log, &progress, stop)));
            let database = scope.spawn(|| ending(stop, || watch(&mut postgres, stop)));
            let roles = app::run(config, Role::ALL, stop).map_err(CliError::failed);
            stop.store(true, Ordering::Relaxed);
            let joined =
                [traffic, alerts, stored, database].map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())));
            joined.into_iter().fold(roles, Result::and)
        });
        postgres.stop();
        outcome
    }
}

/// Brings the demo's database to this program's schema.
fn migrate(config: &Config) -> Result<(), CliError> {
    let Some(url) = &config.sink.database_url else { return Ok(()) };
    let work = async { store::migrate::migrate(&Database::new(url)?, Mode::Apply, config.sink.days).await };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work).map(drop).map_err(CliError::failed)
}

/// Runs a part of the demo; its end is the demo's.
fn ending(stop: &AtomicBool, part: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
    let done = part();
    stop.store(true, Ordering::Relaxed);
    done
}

/// Returns at the stop, or when the database has ended by itself.
fn watch(postgres: &mut Postgres, stop: &AtomicBool) -> Result<(), CliError> {
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = postgres.ended() {
            return Err(CliError::Failed(format!("the demo's PostgreSQL ended by itself ({status})")));
        }
        thread::sleep(wait::LOOK_EVERY);
    }
    Ok(())
}

fn panicked() -> CliError {
    CliError::Failed(String::from("a part of the demo panicked; its own lines are above"))
}

/// One demo a folder: the lock goes with the process.
fn lock(folder: &Path) -> Result<fs::File, CliError> {
    let path = folder.join("lock");
    let told =
        |error: io::Error| CliError::Failed(format!("{}: {error}; name another folder with --data", path.display()));
    fs::create_dir_all(folder).map_err(told)?;
    let file = fs::File::create(&path).map_err(told)?;
    // SAFETY: flock takes a descriptor that is open and a plain number.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(file);
    }
    let folder = folder.display();
    Err(CliError::Failed(format!("a demo runs already on {folder}: end it, or name another folder with --data")))
}
