//! Alive and ready. Alive is judged by progress: every shard turned lately, and so did the follower of the verdict tail
//! and the sink, where this process has them. Ready is no shard yet to join, no broker
//! out of reach, no partition recovering, refused or late; each reason against it is told in words.
//!
//! Not a supervisor: it never acts on what it knows.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Metrics,
    delay::{self, Delay},
};
use crate::domain::transaction::wire_enum;

/// What has not turned for so long is stuck: far above any turn, below what an orchestrator tolerates.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What [`Health::hold`] calls the comparison of the topics.
pub const TOPICS: &str = "topics";

/// What [`Health::hold`] and [`Health::held`] call the follower of the verdict tail.
pub const VERDICT_TAIL: &str = "verdict tail";

wire_enum! {
    /// What turns beside the shards, one of each in a process that has its role.
    Loop {
        /// The follower of the verdict tail.
        Follower = "the verdict tail's follower",
        /// The sink.
        Sink = "the sink",
    }
}

/// What a loop that this process does not have says in place of a time.
const NONE: u64 = u64::MAX;

wire_enum! {
    /// What an owned partition is doing.
    PartitionState {
        /// Nothing is emitted: its state is being rebuilt, or whose it is is being found out.
        Recovering = "recovering",
        /// Verdicts go out.
        Running = "running",
        /// Waiting for its verdicts or dead letter to be acknowledged.
        Paused = "paused",
        /// Not served, for a reason that someone must clear.
        Refused = "refused",
    }
}

/// Something that speaks against readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What it is about, from a closed set: anybody may know it.
    pub kind: &'static str,
    /// The whole of it, for operators: it may hold names, addresses, and what a broker or database said.
    pub words: String,
}

/// The process's health; a clone is the same one.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    born: Instant,
    /// Milliseconds from `born` to each shard's last turn.
    turned: Vec<AtomicU64>,
    /// The same of each [`Loop`], once it has begun.
    looped: [AtomicU64; Loop::ALL.len()],
    state: Mutex<State>,
}

/// What changes rarely; never locked on the scoring path's every record.
#[derive(Default)]
struct State {
    /// Shards that have not joined the group yet.
    joining: Vec<usize>,
    /// By shard, since when and why.
    broker_down: BTreeMap<usize, (Instant, String)>,
    partitions: BTreeMap<i32, (PartitionState, Option<String>)>,
    /// Which shard took a partition last.
    holders: BTreeMap<i32, usize>,
    /// How late partitions are, by shard.
    delays: BTreeMap<usize, Vec<Delay>>,
    /// Anything else that speaks against readiness, by what it is about.
    held: BTreeMap<&'static str, String>,
}

impl Health {
    /// A process with that many shards, none joined yet.
    pub fn new(shards: usize) -> Self {
        Self::born(shards, Instant::now())
    }

    /// The same of a process that began then.
    pub(super) fn born(shards: usize, born: Instant) -> Self {
        let state = State { joining: (0..shards).collect(), ..State::default() };
        let turned = (0..shards).map(|_| AtomicU64::new(0)).collect();
        let looped = [const { AtomicU64::new(NONE) }; Loop::ALL.len()];
        Self(Arc::new(Inner { born, turned, looped, state: Mutex::new(state) }))
    }

    /// The shard turned: call it once a turn, also an idle one.
    pub fn progress(&self, shard: usize, now: Instant) {
        if let Some(turned) = self.0.turned.get(shard) {
            turned.store(self.ms(now), Ordering::Relaxed);
        }
    }

    /// The loop turned; the first time, also before its first turn, says that this process has it.
    pub fn beat(&self, of: Loop, now: Instant) {
        self.0.looped[of as usize].store(self.ms(now), Ordering::Relaxed);
    }

    /// The shard had its first assignment (an empty one counts).
    pub fn joined(&self, shard: usize) {
        self.state().joining.retain(|joining| *joining != shard);
    }

    /// Whether a shard reaches a broker; `why` is the broker's word. True where that is news of the process: the first
    /// shard that lost it, or the last that has it back.
    pub fn broker(&self, shard: usize, down: Option<&str>, now: Instant) -> bool {
        let broker_down = &mut self.state().broker_down;
        let was_up = broker_down.is_empty();
        match down {
            Some(why) => {
                broker_down.entry(shard).or_insert_with(|| (now, why.to_owned()));
            }
            None => {
                broker_down.remove(&shard);
            }
        }
        was_up != broker_down.is_empty()
    }

    /// What a partition is doing; `why` is for refused ones.
    pub fn partition(&self, partition: i32, state: PartitionState, why: Option<&str>) {
        self.state().partitions.insert(partition, (state, why.map(str::to_owned)));
    }

    /// What a recovering partition waits for; one that is not here any more waits for nothing. True where that is news.
    pub fn partition_waits(&self, partition: i32, why: Option<&str>) -> bool {
        match self.state().partitions.get_mut(&partition) {
            Some((PartitionState::Recovering, waits)) => {
                let news = waits.is_none() && why.is_some();
                *waits = why.map(str::to_owned);
                news
            }
            _ => false,
        }
    }

    /// The partition came to this shard.
    pub fn partition_taken(&self, partition: i32, shard: usize) {
        self.state().holders.insert(partition, shard);
    }

    /// The partition left this shard; false where a sibling has taken it already, whose word now counts.
    pub fn partition_gone(&self, partition: i32, shard: usize) -> bool {
        let mut state = self.state();
        let gone = state.holders.get(&partition) == Some(&shard);
        if gone {
            state.holders.remove(&partition);
            state.partitions.remove(&partition);
        }
        gone
    }

    /// How late a shard's partitions are; those it does not name are not.
    pub fn delayed(&self, shard: usize, delays: Vec<Delay>) {
        self.state().delays.insert(shard, delays);
    }

    /// Anything else that speaks against readiness, such as [`TOPICS`]; `None` clears it. True where that is news.
    pub fn hold(&self, about: &'static str, why: Option<String>) -> bool {
        let held = &mut self.state().held;
        let before = match why.clone() {
            Some(why) => held.insert(about, why),
            None => held.remove(about),
        };
        before != why
    }

    /// What was said with [`Health::hold`] and not cleared.
    pub fn held(&self, about: &str) -> Option<String> {
        self.state().held.get(about).cloned()
    }

    /// Why the process counts as stuck; empty is alive.
    pub fn stuck(&self, now: Instant) -> Vec<String> {
        let now_ms = self.ms(now);
        let late = |turned: &AtomicU64| {
            let turned = turned.load(Ordering::Relaxed);
            let idle = Duration::from_millis(now_ms.saturating_sub(turned));
            (turned != NONE && idle > STUCK_AFTER).then(|| format!("has not turned for {} s", idle.as_secs()))
        };
        let shards = self.0.turned.iter().enumerate();
        let shards = shards.filter_map(|(shard, turned)| Some(format!("shard {shard} {}", late(turned)?)));
        let loops = Loop::ALL.iter().zip(&self.0.looped);
        let loops = loops.filter_map(|(each, turned)| Some(format!("{} {}", each.as_str(), late(turned)?)));
        shards.chain(loops).collect()
    }

    /// Milliseconds since the process's health was made.
    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.born).as_millis()).unwrap_or(NONE - 1)
    }

    /// Why the process is not ready; empty is ready.
    pub fn unready(&self, now: Instant) -> Vec<Reason> {
        self.unready_about(now, |_| true)
    }

    /// The same of one role alone, by the things it holds: `score` has the shards, the broker and all that no other
    /// role names, `serve` the verdict tail and the listener, `sink` what begins with its name.
    pub fn unready_of(&self, role: &str, now: Instant) -> Vec<Reason> {
        match role {
            "serve" => held(&self.state(), |about| role_of(about) == "serve"),
            "sink" => held(&self.state(), |about| role_of(about) == "sink"),
            _ => self.unready_about(now, |about| role_of(about) == "score"),
        }
    }

    fn unready_about(&self, now: Instant, wanted: impl Fn(&str) -> bool) -> Vec<Reason> {
        let state = self.state();
        let reason = |kind, words| Reason { kind, words };
        let joining = state.joining.iter().map(|shard| {
            reason(
                "a shard has not joined the consumer group yet",
                format!("shard {shard} has not joined the consumer group yet"),
            )
        });
        let down = state.broker_down.iter().map(|(shard, (since, why))| {
            let seconds = now.saturating_duration_since(*since).as_secs();
            reason("a shard reaches no broker", format!("shard {shard} has reached no broker for {seconds} s: {why}"))
        });
        let recovering = Some(state.count(PartitionState::Recovering)).filter(|count| *count > 0);
        let recovering =
            recovering.map(|count| reason("partitions are recovering", format!("partitions recovering: {count}")));
        let waiting = state.partitions.iter().filter_map(|(partition, told)| match told {
            (PartitionState::Recovering, Some(why)) => {
                Some(reason("a partition waits", format!("partition {partition} waits: {why}")))
            }
            _ => None,
        });
        let refused = state.partitions.iter().filter(|(_, (state, _))| *state == PartitionState::Refused);
        let refused = refused.map(|(partition, (_, why))| {
            let why = why.as_deref().unwrap_or("no reason given");
            reason("a partition is refused", format!("partition {partition} is refused: {why}"))
        });
        let late = delay::reasons(state.delays.values().flatten());
        let held = held(&state, wanted);
        joining.chain(down).chain(recovering).chain(waiting).chain(refused).chain(late).chain(held).collect()
    }

    /// Sets the gauges that follow from health, so that there is one truth.
    pub(super) fn measure(&self, metrics: &Metrics) {
        let state = self.state();
        for each in PartitionState::ALL {
            let count = i64::try_from(state.count(*each)).unwrap_or(i64::MAX);
            metrics.partitions.with_label_values(&[each.as_str()]).set(count);
        }
        metrics.broker_up.set(i64::from(state.broker_down.is_empty()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single insert or remove: a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was said with [`Health::hold`] and not cleared.
fn held(state: &State, wanted: impl Fn(&str) -> bool) -> Vec<Reason> {
    let held = state.held.iter().filter(|(about, _)| wanted(about));
    held.map(|(about, why)| Reason { kind: about, words: format!("{about}: {why}") }).collect()
}

/// Whose a thing is that speaks against readiness.
fn role_of(about: &str) -> &'static str {
    match about {
        VERDICT_TAIL | "serve" => "serve",
        _ if about.starts_with("sink") => "sink",
        _ => "score",
    }
}

impl State {
    fn count(&self, wanted: PartitionState) -> usize {
        self.partitions.values().filter(|(state, _)| *state == wanted).count()
    }
}
