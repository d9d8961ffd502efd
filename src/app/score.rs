//! The score role: finds the topics, judges them, runs the shards and watches both.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    AppError,
    membership::{Membership, check_hosts, check_hosts_joined},
};
use crate::{
    config::{Config, Environment},
    domain::identity::LogId,
    kafka::{
        layout::{Layout, LayoutError, Surveyor},
        topics::{
            self, TopicsError,
            judge::{Finding, Severity},
        },
        wait::{LOOK_EVERY, pause},
    },
    model::folder::Model,
    shard::{Gathering, Shard, ShardError, Shared},
    snapshot::Depot,
    telemetry::{
        Fact, Telemetry,
        facts::{BrokerBack, BrokerLost, TopicsCompared},
    },
};

/// How long between two tries to reach the broker at start, growing from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How often topics are compared while running (C1.8).
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// Another time between two comparisons, for tests in this process.
static COMPARE_IN_TESTS: OnceLock<Duration> = OnceLock::new();

/// Sets how often topics are compared, for tests in this process; no setting reaches it.
#[doc(hidden)]
pub fn set_compare_every(time: Duration) {
    // The first one stays: all tests of a process want the same.
    let _ = COMPARE_IN_TESTS.set(time);
}

/// When whoever started at the same moment has joined the group, too.
const ALL_JOINED: Duration = Duration::from_secs(10);

/// Runs that many shards until `stop` is set or one of them ends.
pub(super) fn run(
    config: Arc<Config>,
    model: Arc<Model>,
    shards: usize,
    telemetry: Telemetry,
    stop: &Arc<AtomicBool>,
) -> Result<(), AppError> {
    let surveyor = Surveyor::new(&config)?;
    let Some(layout) = survey(&surveyor, &config, shards, &telemetry, stop)? else { return Ok(()) };
    let membership = Membership::take(&config)?;
    // Waiting for the group's coordinator is no shard's standstill.
    let waiting = || (0..shards).for_each(|shard| telemetry.health.progress(shard, Instant::now()));
    check_hosts(&config, stop, waiting)?;
    let shared = Shared {
        model,
        log: LogId(*layout.log.as_bytes()),
        partitions: layout.transactions,
        verdict_log: layout.verdict_log.to_string(),
        depot: depot(&config, &layout)?,
        peers: Arc::new(AtomicI32::new(layout.peers())),
        instance: membership.instance.clone(),
        gathering: Arc::new(Gathering::of(shards)),
        stop: Arc::clone(stop),
        telemetry,
        config,
    };
    supervise(shards, &shared, &surveyor, layout)
}

/// Where snapshots are kept, where they are.
fn depot(config: &Config, layout: &Layout) -> Result<Option<Depot>, AppError> {
    let location = config.snapshots.location.as_deref();
    let open = |location| Depot::open(location, &layout.log.to_string(), &layout.verdict_log.to_string());
    Ok(location.map(open).transpose()?)
}

/// How many shards the configuration wants on this machine.
pub(super) fn shards(config: &Config) -> usize {
    match config.score.shards {
        0 => thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted,
    }
}

/// Finds the topics and judges them, asking until a broker answers; `None` when stopped before.
fn survey(
    surveyor: &Surveyor,
    config: &Config,
    shards: usize,
    telemetry: &Telemetry,
    stop: &AtomicBool,
) -> Result<Option<Layout>, AppError> {
    until_answered(BACKOFF, shards, telemetry, stop, || {
        let layout = surveyor.survey()?;
        judge(config)?;
        Ok(layout)
    })
}

/// Asks again, ever more seldom, as long as no broker answers; `None` when stopped before.
fn until_answered<T>(
    (mut wait, longest): (Duration, Duration),
    shards: usize,
    telemetry: &Telemetry,
    stop: &AtomicBool,
    mut ask: impl FnMut() -> Result<T, AppError>,
) -> Result<Option<T>, AppError> {
    while !stop.load(Ordering::Relaxed) {
        // Waiting for a broker is no shard's standstill.
        (0..shards).for_each(|shard| telemetry.health.progress(shard, Instant::now()));
        match ask() {
            Ok(answer) => {
                BrokerBack { shard: 0 }.emit(telemetry);
                return Ok(Some(answer));
            }
            Err(AppError::Layout(LayoutError::Away(why)) | AppError::Topics(TopicsError::Away(why))) => {
                BrokerLost { shard: 0, why: &why }.emit(telemetry);
            }
            Err(error) => return Err(error),
        }
        pause(wait, stop);
        wait = (wait * 2).min(longest);
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

/// Tells what is wrong with the counts, and the shards which partitions have a peer.
fn compared(surveyor: &Surveyor, now: Layout, before: Layout, shared: &Shared) {
    shared.peers.store(now.peers(), Ordering::Relaxed);
    TopicsCompared { fault: surveyor.fault(now, before) }.emit(&shared.telemetry);
}

/// Compares the topics with what they were at start.
fn compare(surveyor: &Surveyor, before: Layout, shared: &Shared) -> Result<(), AppError> {
    if let Some(now) = surveyor.compare(before)? {
        compared(surveyor, now, before, shared);
    }
    Ok(())
}

/// Runs the shards, and watches them and the topics.
fn supervise(shards: usize, shared: &Shared, surveyor: &Surveyor, layout: Layout) -> Result<(), AppError> {
    let stop = &shared.stop;
    compared(surveyor, layout, layout, shared);
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
    let compare_every = *COMPARE_IN_TESTS.get().unwrap_or(&COMPARE_EVERY);
    let mut compare_at = Instant::now() + compare_every;
    let mut joined_at = Some(Instant::now() + ALL_JOINED);
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
        if joined_at.take_if(|at| Instant::now() >= *at).is_some() {
            match check_hosts_joined(&shared.config) {
                Ok(true) => {}
                Ok(false) => joined_at = Some(Instant::now() + ALL_JOINED),
                Err(error) => {
                    outcome = outcome.and(Err(error));
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
        if Instant::now() >= compare_at {
            compare_at = Instant::now() + compare_every;
            outcome = outcome.and(compare(surveyor, layout, shared));
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_no_broker_at_start_asks_again_whichever_question_it_was_and_others_errors_end_the_start() {
        let telemetry = Telemetry::new(1);
        let stop = AtomicBool::new(false);
        let at_once = (Duration::from_millis(1), Duration::from_millis(2));
        let away = || String::from("connection refused");
        let mut answers = vec![
            Ok(7),
            Err(TopicsError::Away(away()).into()),
            Err(TopicsError::Away(away()).into()),
            Err(LayoutError::Away(away()).into()),
        ];
        let answer = until_answered(at_once, 1, &telemetry, &stop, || answers.pop().expect("asked too often"));
        assert!(matches!(answer, Ok(Some(7))), "{answer:?}");
        assert!(answers.is_empty());
        for error in [LayoutError::Refused(away()).into(), TopicsError::Client(away()).into(), AppError::Unfit(away())]
        {
            let mut error = Some(error);
            let answer = until_answered(at_once, 1, &telemetry, &stop, || Err::<(), _>(error.take().expect("once")));
            assert!(answer.is_err(), "{answer:?}");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(until_answered(at_once, 1, &telemetry, &stop, || Ok(7)), Ok(None)));
    }
}
