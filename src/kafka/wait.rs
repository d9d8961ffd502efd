//! Waiting between two tries to reach a broker, in steps short enough to notice a stop. Not a backoff: how long to
//! wait is the caller's to say.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often a waiting thread looks at its stop flag.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits so long, unless stopped.
pub fn pause(time: Duration, stop: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY);
    }
}
