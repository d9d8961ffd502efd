//! Wiring: from a valid configuration to running shards, and an ordered stop under one time budget.
//!
//! Whatever ends by itself ends the process. It decides nothing about records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    config::{Config, Environment},
    domain::identity::LogId,
    kafka::{
        layout::{Layout, LayoutError, Surveyor},
        topics::{
            self, TopicsError,
            judge::{Finding, Severity},
        },
    },
    model::folder::{Model, ModelError},
    shard::{Gathering, Shard, ShardError, Shared},
    telemetry::{
        Fact, ListenError, Server, Telemetry,
        facts::{BrokerBack, BrokerLost},
    },
};

/// How long between two tries to reach the broker at start, growing from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How often topics are compared while running (C1.8).
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// How often the main thread looks at its children and its stop flag.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long shards may take to stop before the process ends without them.
const STOP_BUDGET: Duration = Duration::from_millis(9_500);

/// Why the process ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// The model cannot be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The health listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The topics are not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The topics cannot be judged.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// Topics that production does not accept, one a line.
    #[error("{0}\nENVIRONMENT=production refuses what development warns of; see sentra topics check")]
    Unfit(String),
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
    /// The stop took too long.
    #[error("shards did not stop within {}.5 s; their last verdicts are left to the next owner", STOP_BUDGET.as_secs())]
    SlowStop,
}

/// Runs the score role until `stop` is set.
///
/// # Errors
/// What ended the process, in one line.
pub fn run(config: Config, stop: &Arc<AtomicBool>) -> Result<(), AppError> {
    let model = Arc::new(Model::load(&config.model.path)?);
    let shards = match config.score.shards {
        0 => thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted,
    };
    let telemetry = Telemetry::new(shards);
    let _server = config.telemetry.listen.map(|address| Server::start(address, telemetry.clone())).transpose()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), model = %model.name, model_version = %model.version, shards, "starting");
    let surveyor = Surveyor::new(&config)?;
    let Some(layout) = survey(&surveyor, shards, &telemetry, stop)? else { return Ok(()) };
    judge(&config)?;
    let shared = Shared {
        model,
        log: LogId(*layout.log.as_bytes()),
        partitions: layout.transactions,
        verdict_partitions: layout.verdicts,
        gathering: Arc::new(Gathering::of(shards)),
        stop: Arc::clone(stop),
        telemetry,
        config: Arc::new(config),
    };
    supervise(shards, &shared, &surveyor, layout)
}

/// Asks for the topics until a broker answers; `None` when stopped before.
fn survey(
    surveyor: &Surveyor,
    shards: usize,
    telemetry: &Telemetry,
    stop: &AtomicBool,
) -> Result<Option<Layout>, AppError> {
    let mut pause = BACKOFF.0;
    while !stop.load(Ordering::Relaxed) {
        // Waiting for a broker is no shard's standstill.
        (0..shards).for_each(|shard| telemetry.health.progress(shard, Instant::now()));
        match surveyor.survey() {
            Ok(layout) => {
                BrokerBack { shard: 0 }.emit(telemetry);
                return Ok(Some(layout));
            }
            Err(LayoutError::Away(why)) => BrokerLost { shard: 0, why: &why }.emit(telemetry),
            Err(error) => return Err(error.into()),
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
    Ok(None)
}

/// Production refuses topics that would break the contracts (C1.9); development warns.
fn judge(config: &Config) -> Result<(), AppError> {
    let findings = topics::check(config)?;
    let (fatal, others): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Fail && config.environment == Environment::Production);
    for Finding { severity, topic, text } in &others {
        match severity {
            Severity::Note => tracing::info!(topic, "{text}"),
            Severity::Warn | Severity::Fail => tracing::warn!(topic, "{text}"),
        }
    }
    if fatal.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = fatal.iter().map(|Finding { topic, text, .. }| format!("topic {topic} {text}")).collect();
    Err(AppError::Unfit(lines.join("\n")))
}

/// Runs the shards, and watches them and the topics.
fn supervise(shards: usize, shared: &Shared, surveyor: &Surveyor, layout: Layout) -> Result<(), AppError> {
    let stop = &shared.stop;
    let spawn = |number: usize| {
        let shared = shared.clone();
        let body = move || Shard::new(number, shared)?.run();
        thread::Builder::new().name(format!("shard-{number}")).spawn(body)
    };
    let mut running = Vec::new();
    for number in 0..shards {
        let handle =
            spawn(number).map_err(|error| AppError::Shard { number, error: ShardError::Fatal(error.to_string()) })?;
        running.push((number, handle));
    }
    let mut outcome = Ok(());
    let mut compare_at = Instant::now() + COMPARE_EVERY;
    let mut deadline: Option<Instant> = None;
    while !running.is_empty() {
        thread::sleep(LOOK_EVERY);
        let (ended, still): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, handle)| handle.is_finished());
        running = still;
        for (number, handle) in ended {
            let result = handle.join().map_err(|_| AppError::Panicked(number));
            let result = result.and_then(|done| done.map_err(|error| AppError::Shard { number, error }));
            outcome = outcome.and(result);
            // One shard less is a process less: the group gives its partitions to the others.
            stop.store(true, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed)
            && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + STOP_BUDGET)
        {
            return outcome.and(Err(AppError::SlowStop));
        }
        if Instant::now() >= compare_at {
            compare_at = Instant::now() + COMPARE_EVERY;
            outcome = outcome.and(surveyor.unchanged(layout).map_err(AppError::from));
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    outcome
}
