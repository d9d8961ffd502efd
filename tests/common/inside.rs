//! The line inside the test's own process, for what nothing outside could bring about.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use sentra::{
    app::{self, AppError, Role},
    config::Config,
};

use super::line::{Setup, metric};

/// The score role in this process; it ends in order.
pub struct Line {
    /// The port of its health.
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), AppError>>,
}

impl Line {
    /// Starts it on the setup's configuration, changed past its checks.
    pub fn start(setup: &Setup, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::load(&setup.inputs()).expect("a configuration");
        change(&mut config);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || app::run(config, &[Role::Score], &told));
        Self { port: setup.port(), stop, thread }
    }

    /// A metric's value by its full name with labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric(self.port, name)
    }

    /// Ends it.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic").expect("an end in order");
    }
}
