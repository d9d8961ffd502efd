//! Alive and ready. Alive is judged by progress: every shard turned lately. Ready is no shard yet to join, no broker
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

/// A shard that has not turned for so long is stuck: far above any turn, below what an orchestrator tolerates.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What [`Health::hold`] and [`Health::held`] call the follower of the verdict tail.
pub const VERDICT_TAIL: &str = "verdict tail";

wire_enum! {
    /// What an owned partition is doing.
    PartitionState {
        /// Its state is being rebuilt; nothing is emitted yet.
        Recovering = "recovering",
        /// Verdicts go out.
        Running = "running",
        /// Waiting for its verdicts or dead letter to be acknowledged.
        Paused = "paused",
        /// Not served, for a reason that someone must clear.
        Refused = "refused",
    }
}

/// The process's health; a clone is the same one.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    born: Instant,
    /// Milliseconds from `born` to each shard's last turn.
    turned: Vec<AtomicU64>,
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
        let state = State { joining: (0..shards).collect(), ..State::default() };
        let turned = (0..shards).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { born: Instant::now(), turned, state: Mutex::new(state) }))
    }

    /// The shard turned: call it once a turn, also an idle one.
    pub fn progress(&self, shard: usize, now: Instant) {
        let ms = now.saturating_duration_since(self.0.born).as_millis();
        if let Some(turned) = self.0.turned.get(shard) {
            turned.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// The shard had its first assignment (an empty one counts).
    pub fn joined(&self, shard: usize) {
        self.state().joining.retain(|joining| *joining != shard);
    }

    /// Whether a shard reaches a broker; `why` is the broker's word. True where that is news.
    pub fn broker(&self, shard: usize, down: Option<&str>, now: Instant) -> bool {
        let broker_down = &mut self.state().broker_down;
        match down {
            Some(why) => {
                let news = !broker_down.contains_key(&shard);
                broker_down.entry(shard).or_insert_with(|| (now, why.to_owned()));
                news
            }
            None => broker_down.remove(&shard).is_some(),
        }
    }

    /// What a partition is doing; `why` is for refused ones.
    pub fn partition(&self, partition: i32, state: PartitionState, why: Option<&str>) {
        self.state().partitions.insert(partition, (state, why.map(str::to_owned)));
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

    /// Anything else that speaks against readiness, such as `topics`; `None` clears it.
    pub fn hold(&self, about: &'static str, why: Option<String>) {
        let held = &mut self.state().held;
        match why {
            Some(why) => held.insert(about, why),
            None => held.remove(about),
        };
    }

    /// What was said with [`Health::hold`] and not cleared.
    pub fn held(&self, about: &str) -> Option<String> {
        self.state().held.get(about).cloned()
    }

    /// Why the process counts as stuck; empty is alive.
    pub fn stuck(&self, now: Instant) -> Vec<String> {
        let now_ms = now.saturating_duration_since(self.0.born).as_millis();
        let idle = self.0.turned.iter().map(|turned| now_ms.saturating_sub(u128::from(turned.load(Ordering::Relaxed))));
        let late = idle.enumerate().filter(|(_, idle_ms)| *idle_ms > STUCK_AFTER.as_millis());
        late.map(|(shard, idle_ms)| format!("shard {shard} has not turned for {} s", idle_ms / 1_000)).collect()
    }

    /// Why the process is not ready; empty is ready.
    pub fn unready(&self, now: Instant) -> Vec<String> {
        self.unready_about(now, |_| true)
    }

    /// The same of one role alone, by the things it holds: `score` has the shards, the broker and all that no other
    /// role names, `serve` the verdict tail and the listener, `sink` what begins with its name.
    pub fn unready_of(&self, role: &str, now: Instant) -> Vec<String> {
        match role {
            "serve" => self.held_about(|about| role_of(about) == "serve"),
            "sink" => self.held_about(|about| role_of(about) == "sink"),
            _ => self.unready_about(now, |about| role_of(about) == "score"),
        }
    }

    fn held_about(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.state();
        state.held.iter().filter(|(about, _)| wanted(about)).map(|(about, why)| format!("{about}: {why}")).collect()
    }

    fn unready_about(&self, now: Instant, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.state();
        let joining = state.joining.iter().map(|shard| format!("shard {shard} has not joined the consumer group yet"));
        let down = state.broker_down.iter().map(|(shard, (since, why))| {
            let seconds = now.saturating_duration_since(*since).as_secs();
            format!("shard {shard} has reached no broker for {seconds} s: {why}")
        });
        let recovering = Some(state.count(PartitionState::Recovering)).filter(|count| *count > 0);
        let refused = state.partitions.iter().filter(|(_, (state, _))| *state == PartitionState::Refused);
        let refused = refused.map(|(partition, (_, why))| {
            format!("partition {partition} is refused: {}", why.as_deref().unwrap_or("no reason given"))
        });
        let held = state.held.iter().filter(|(about, _)| wanted(about)).map(|(about, why)| format!("{about}: {why}"));
        let recovering = recovering.map(|count| format!("partitions recovering: {count}"));
        let late = delay::reasons(state.delays.values().flatten());
        joining.chain(down).chain(recovering).chain(refused).chain(late).chain(held).collect()
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
