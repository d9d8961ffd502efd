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

use super::line::{Answer, Setup, ask, metric};

/// The score role in this process. One that is dropped runs on, as the test failed.
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

    /// What it says of its readiness.
    pub fn ready(&self) -> Option<Answer> {
        ask(self.port, "/readyz")
    }

    /// Whether it ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks it to stop; how it ended.
    pub fn end(self) -> Result<(), AppError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}
