//! The hub: listens to the follower, puts each verdict into the backlog, wakes the sessions, and adds the figures of
//! each second.
//!
//! Invariant: nothing a client does or leaves undone delays the follower: it only ever takes a short lock, and no
//! session holds that lock while it waits; frames are the sessions' work. The hub knows no sockets.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    backlog::{Backlog, Limit},
    follow::{Accepted, Listener},
    frame::{Frame, GapReason, LevelCounts, Stats},
    item::{Body, Item, Verdict, stats_text},
};
use crate::{
    domain::{policy::RiskLevel, time::WallTimeUs},
    kafka::tail::Positions,
    telemetry::Telemetry,
};

/// Frames that come within so little time wake the sessions once.
const TOGETHER: Duration = Duration::from_millis(4);

/// How often figures are told.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// Bytes of frames kept for all sessions, and of those for alerts.
const MOST_BYTES: (usize, usize) = (32 << 20, 8 << 20);

/// Alerts kept: at half a percent of the traffic, those of nearly a million verdicts.
const ALERTS: usize = 4_096;

/// The live stream of one serve process.
pub struct Hub {
    backlog: RwLock<Backlog>,
    calling_code: String,
    telemetry: Telemetry,
    /// Something was added.
    fresh: Notify,
    /// How far the stream has come; sessions wait on it.
    head: watch::Sender<u64>,
    total: AtomicU64,
    /// By level in order, and without one, since the last figures.
    levels: [AtomicU64; 5],
    clients: AtomicUsize,
}

impl Hub {
    /// A hub that keeps `frames` frames for its sessions.
    pub fn new(frames: usize, calling_code: String, telemetry: Telemetry) -> Self {
        let all = Limit { frames, bytes: MOST_BYTES.0 };
        let alerts = Limit { frames: ALERTS, bytes: MOST_BYTES.1 };
        Self {
            backlog: RwLock::new(Backlog::new(all, alerts)),
            calling_code,
            telemetry,
            fresh: Notify::new(),
            head: watch::Sender::new(0),
            total: AtomicU64::new(0),
            levels: Default::default(),
            clients: AtomicUsize::new(0),
        }
    }

    /// Wakes sessions and tells figures until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut second = tokio::time::interval(STATS_EVERY);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut since = Instant::now();
        loop {
            tokio::select! {
                biased;
                // A stop first; then the second, which new frames could otherwise starve.
                () = stop.cancelled() => return,
                _ = second.tick() => {
                    let now = Instant::now();
                    self.figures(now - since);
                    since = now;
                }
                () = self.fresh.notified() => {
                    self.wake();
                    tokio::time::sleep(TOGETHER).await;
                }
            }
        }
    }

    /// Hears of every step of the stream.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The backlog, to be looked at and let go of.
    pub fn backlog(&self) -> RwLockReadGuard<'_, Backlog> {
        self.backlog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling code of national numbers in filters.
    pub fn calling_code(&self) -> &str {
        &self.calling_code
    }

    /// Metrics and health.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Counts a client in, where there is room below `most`.
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<Client> {
        let room = |clients: usize| (clients < most).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        self.telemetry.metrics.feed.clients.inc();
        Some(Client(Arc::clone(self)))
    }

    /// Figures now, with those of the last second left out.
    pub fn stats(&self, live: bool) -> Stats {
        Stats {
            at: now(),
            live,
            total: self.total.load(Ordering::Relaxed),
            clients: self.clients.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }

    fn figures(&self, passed: Duration) {
        let [low, medium, high, critical, none] = &self.levels;
        let take = |level: &AtomicU64| level.swap(0, Ordering::Relaxed);
        let levels = LevelCounts {
            low: take(low),
            medium: take(medium),
            high: take(high),
            critical: take(critical),
            none: take(none),
        };
        let count = levels.low + levels.medium + levels.high + levels.critical + levels.none;
        let per_second = (count as f64 / passed.as_secs_f64().max(0.001)).round() as u64;
        let stats = Stats { per_second, levels, ..self.stats(true) };
        {
            let mut backlog = self.change();
            let Some(cursor) = backlog.positions().map(|positions| Arc::from(positions.cursor())) else { return };
            let text = stats_text(&stats, &cursor);
            let seq = backlog.next();
            backlog.push(Item { seq, body: Body::Stats { stats, cursor, text } });
            self.telemetry.metrics.feed.backlog_bytes.set(i64::try_from(backlog.bytes()).unwrap_or(i64::MAX));
        }
        self.wake();
    }

    fn wake(&self) {
        self.head.send_replace(self.backlog().next());
    }

    fn change(&self) -> RwLockWriteGuard<'_, Backlog> {
        // A push is finished or never begun: a panic elsewhere leaves nothing half done.
        self.backlog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_gap(&self, reason: GapReason, partition: Option<i32>) {
        let text = Frame::Gap { reason, partition, left_out: None, cursor: None }.text().into();
        {
            let mut backlog = self.change();
            let seq = backlog.next();
            backlog.push(Item { seq, body: Body::Gap(text) });
        }
        self.fresh.notify_one();
    }
}

impl Listener for Hub {
    fn accepted(&self, verdict: &Arc<Accepted>) {
        let verdict = Verdict::new(Arc::clone(verdict));
        self.total.fetch_add(1, Ordering::Relaxed);
        let level = verdict.level().map_or(self.levels.len() - 1, |level| usize::from(RiskLevel::code(level)));
        self.levels[level].fetch_add(1, Ordering::Relaxed);
        {
            let mut backlog = self.change();
            let seq = backlog.next();
            backlog.push(Item { seq, body: Body::Verdict(verdict) });
        }
        self.fresh.notify_one();
    }

    fn gap(&self, partition: i32) {
        self.push_gap(GapReason::Missing, Some(partition));
    }

    fn opened(&self, positions: &Positions) {
        let again = self.backlog().positions().is_some();
        self.change().open(positions.clone());
        if again {
            self.push_gap(GapReason::Jumped, None);
        }
    }
}

/// A client that is counted; dropping it makes room.
pub struct Client(Arc<Hub>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.0.telemetry.metrics.feed.clients.dec();
    }
}

/// The wall clock, RFC 3339.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTimeUs(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)).text().as_str().to_owned()
}
