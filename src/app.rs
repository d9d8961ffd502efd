//! Wiring: from a valid configuration to the roles' threads, and an ordered stop under one time budget.
//!
//! A role is a thread that returns when `stop` is set; whatever ends by itself ends the process. It decides nothing
//! about records.

mod membership;
mod priority;
mod score;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use thiserror::Error;

#[doc(hidden)]
pub use score::set_compare_every;

use crate::{
    api::{self, ApiError},
    config::Config,
    domain::transaction::wire_enum,
    kafka::{layout::LayoutError, topics::TopicsError, wait::LOOK_EVERY},
    model::folder::{Model, ModelError},
    shard::ShardError,
    snapshot::DepotError,
    store::sink::{Sink, SinkError},
    telemetry::{ListenError, Server, Telemetry},
};

/// How long the roles may take to stop before the process ends without them: a stop takes at most 10 s, from the signal
/// to the process's end on a busy machine.
const STOP_BUDGET: Duration = Duration::from_secs(9);

wire_enum! {
    /// A role of the line.
    Role {
        /// Transactions in, verdicts out.
        Score = "score",
        /// Verdicts and the line itself over HTTP.
        Serve = "serve",
        /// Verdicts into PostgreSQL.
        Sink = "sink",
    }
}

/// Why the process ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// The model cannot be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The health listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Snapshots cannot be kept where they should be.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// The topics are not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The topics cannot be judged.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// Topics that production does not accept, one a line.
    #[error("{0}\nENVIRONMENT=production refuses what development warns of; see sentra topics check")]
    Unfit(String),
    /// Another process of this host has this one's name.
    #[error(
        "score.instance: another process of this host is {instance} in group {group}; give each process of the group a \
         score.instance of its own"
    )]
    InstanceTaken {
        /// The name.
        instance: String,
        /// The group.
        group: String,
    },
    /// A group on several hosts whose snapshots are not shared.
    #[error(
        "snapshots.location: {folder} is a folder of this host, and {hosts} is in the group too: a partition that moves \
         between hosts would be replayed from the log, or lose what the log no longer has; give all of them one \
         snapshots.location (s3://…, or a shared folder), or accept that with snapshots.local_only = true"
    )]
    SeveralHosts {
        /// The folder.
        folder: String,
        /// The other hosts.
        hosts: String,
    },
    /// The HTTP interface cannot start, or ended.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A shard failed.
    #[error("shard {number}: {error}")]
    Shard {
        /// Which one.
        number: usize,
        /// Why.
        error: ShardError,
    },
    /// A shard panicked.
    #[error("shard {0} panicked; its partitions go to other members")]
    Panicked(usize),
    /// The sink cannot run.
    #[error("role sink: {0}")]
    Sink(#[from] SinkError),
    /// A role's thread cannot start, or panicked.
    #[error("role {role}: {why}")]
    Role {
        /// Which one.
        role: &'static str,
        /// Why.
        why: String,
    },
    /// The stop took too long.
    #[error("the roles did not stop within {} s; what was in flight is left to the next owner", STOP_BUDGET.as_secs())]
    SlowStop,
}

impl AppError {
    /// Whether another start with the same settings would end the same way.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::InstanceTaken { .. }
                | Self::SeveralHosts { .. }
                | Self::Shard { error: ShardError::Fenced { .. }, .. }
        )
    }
}

/// Runs these roles until `stop` is set.
///
/// # Errors
/// What ended the process, in one line.
pub fn run(config: Config, roles: &[Role], stop: &Arc<AtomicBool>) -> Result<(), AppError> {
    let shards = if roles.contains(&Role::Score) { score::shards(&config) } else { 0 };
    let telemetry = Telemetry::new(shards);
    let listen = config.telemetry.listen;
    let parts = prepare(Arc::new(config), roles, shards, &telemetry, stop)?;
    let _server = listen.map(|address| Server::start(address, telemetry)).transpose()?;
    let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), roles = names.join(","), shards, "starting");
    watch(parts, stop)
}

/// What a role's thread runs.
type Body = Box<dyn FnOnce() -> Result<(), AppError> + Send>;

/// Everything that can be refused before anything runs is refused here.
fn prepare(
    config: Arc<Config>,
    roles: &[Role],
    shards: usize,
    telemetry: &Telemetry,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<(Role, Body)>, AppError> {
    let mut parts: Vec<(Role, Body)> = Vec::new();
    for role in Role::ALL.iter().filter(|role| roles.contains(role)) {
        let (config, telemetry, stop) = (Arc::clone(&config), telemetry.clone(), Arc::clone(stop));
        let body: Body = match role {
            Role::Score => {
                let model = Arc::new(Model::load(&config.model.path)?);
                tracing::info!(model = %model.name, model_version = %model.version, "model loaded");
                Box::new(move || score::run(config, model, shards, telemetry, &stop))
            }
            Role::Serve => {
                let all = roles.iter().map(|role| role.as_str()).collect();
                let server = api::Server::bind(config, all, telemetry)?;
                Box::new(move || Ok(server.run(&stop)?))
            }
            Role::Sink => {
                let second = roles.contains(&Role::Score);
                let sink = starting(second, || Sink::new(config, telemetry, stop))?;
                Box::new(move || {
                    if second {
                        priority::stand_back();
                    }
                    sink.run();
                    Ok(())
                })
            }
        };
        parts.push((*role, body));
    }
    Ok(parts)
}

/// Makes a role's clients; where scoring goes before it, on a thread that stands back, for theirs start with its priority.
fn starting<T: Send, E: Into<AppError> + Send>(
    second: bool,
    make: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, AppError> {
    if !second {
        return make().map_err(Into::into);
    }
    let made = thread::scope(|scope| {
        let making = scope.spawn(|| {
            priority::stand_back();
            make()
        });
        making.join()
    });
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(Into::into)
}

/// Starts the roles and waits for them; the first that ends asks the others to.
fn watch(parts: Vec<(Role, Body)>, stop: &AtomicBool) -> Result<(), AppError> {
    let failed = |role: Role, why: &str| AppError::Role { role: role.as_str(), why: why.to_owned() };
    let mut running: Vec<(Role, JoinHandle<Result<(), AppError>>)> = Vec::new();
    for (role, body) in parts {
        let thread = thread::Builder::new().name(role.as_str().to_owned()).spawn(body);
        running.push((role, thread.map_err(|error| failed(role, &error.to_string()))?));
    }
    let mut outcome = Ok(());
    let mut deadline: Option<Instant> = None;
    while !running.is_empty() {
        thread::sleep(LOOK_EVERY);
        let (ended, still): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, handle)| handle.is_finished());
        running = still;
        for (role, handle) in ended {
            let result = handle.join().unwrap_or_else(|_| Err(failed(role, "panicked")));
            outcome = outcome.and(result);
            stop.store(true, Ordering::Relaxed);
        }
        let stopping = stop.load(Ordering::Relaxed) && !running.is_empty();
        if stopping && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + STOP_BUDGET) {
            return outcome.and(Err(AppError::SlowStop));
        }
    }
    outcome
}
