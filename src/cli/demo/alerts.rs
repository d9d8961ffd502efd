//! The demo's alerts on the terminal, and a line now and then that says how much was judged.
//!
//! It follows the verdict topic as any reader would; nobody waits for it but the traffic, which it tells how far the
//! line has come.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rdkafka::Message;

use super::{CliError, Progress};
use crate::{
    cli::{Out, verdicts::show::Shown},
    config::{KafkaConfig, TopicsConfig},
    kafka::tail::{From, Tail, TailEvent, Until},
};

/// How long one wait for a record lasts before the stop is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How often a line says how things are.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// From this score on a verdict is an alert (FLAG, BLOCK).
const ALERT_SCORE: u8 = 70;

/// Most alerts printed a second, for a person's eyes; the others are counted.
const MOST_A_SECOND: u32 = 5;

/// Prints until the stop.
pub(super) fn run(
    kafka: &KafkaConfig,
    topics: &TopicsConfig,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let coloured = Out::is_coloured();
    let mut tail = Tail::open(kafka, &topics.verdicts, From::Earliest, Until::Forever).map_err(CliError::failed)?;
    let mut out = Out::stdout();
    let mut show = Show::new(Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if let Some(line) = show.summary(now, progress.sent.load(Ordering::Relaxed)) {
            eprintln!("{line}");
        }
        let Some(event) = tail.poll(POLL).map_err(CliError::failed)? else {
            out.flush()?;
            continue;
        };
        let TailEvent::Accepted { message, .. } = event else { continue };
        progress.judged.fetch_add(1, Ordering::Relaxed);
        if show.judged == 0 {
            eprintln!("  first verdict\n");
        }
        let shown = Shown::parse(message.payload().unwrap_or_default());
        if show.take(&shown, now) {
            out.line(shown.line(coloured))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// What was shown, and what is still to be summed up.
struct Show {
    began: Instant,
    next: Instant,
    judged: u64,
    alerts: u64,
    /// As they were at the last summary.
    before: (Instant, u64),
    /// The second that alerts are being printed in, and how many.
    second: (Instant, u32),
}

impl Show {
    fn new(now: Instant) -> Self {
        Self { began: now, next: now + SUMMARY_EVERY, judged: 0, alerts: 0, before: (now, 0), second: (now, 0) }
    }

    /// Counts a verdict; whether to print it.
    fn take(&mut self, shown: &Shown<'_>, now: Instant) -> bool {
        self.judged += 1;
        if !shown.scores_at_least(ALERT_SCORE) {
            return false;
        }
        self.alerts += 1;
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.second.1 <= MOST_A_SECOND
    }

    fn summary(&mut self, now: Instant, sent: u64) -> Option<String> {
        if now < self.next {
            return None;
        }
        let (then, judged) = self.before;
        let rate = (self.judged - judged) as f64 / now.duration_since(then).as_secs_f64();
        self.next = now + SUMMARY_EVERY;
        self.before = (now, self.judged);
        Some(format!(
            "  {:>4} s: {} judged ({rate:.0}/s), {} alerts, {} under way",
            now.duration_since(self.began).as_secs(),
            self.judged,
            self.alerts,
            sent.saturating_sub(self.judged),
        ))
    }
}
