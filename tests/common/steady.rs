//! Traffic at a steady pace until told to end, so that outages meet work and leave a backlog.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sentra::{
    kafka::load::Load,
    train::simulate::{Limit, Options, Simulated, Simulation},
};

use super::{client, kafka};

/// Simulated transactions on their way; dropping it ends them.
pub struct Steady {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Steady {
    /// That many a second, of so many customers that their time does not outrun the clock in an hour.
    pub fn start(topic: &str, each_second: u64) -> Self {
        // A request that a hanging broker swallowed is sent again well before the last acknowledgements are given up.
        let config = client(&[("bootstrap.servers", kafka()), ("socket.timeout.ms", String::from("10000"))]);
        let mut load = Load::connect(config, topic).expect("a producer");
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let send = move || {
            let mut simulation = Simulation::new(&Options { limit: Limit::None, ..Options::sized(5, 3_000) });
            let mut record = Simulated::empty();
            let (began, mut sent) = (Instant::now(), 0);
            while !told.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * each_second as f64) as u64;
                while sent < due {
                    assert!(simulation.read(&mut record), "it has no end");
                    load.send(record.phone.to_string().as_bytes(), &record.json, record.at_ms).expect("room");
                    sent += 1;
                }
                load.wait(Duration::from_millis(10)).expect("taken in the end");
            }
            load.finish().expect("all acknowledged")
        };
        Self { over, thread: Some(thread::spawn(send)) }
    }

    /// Ends it; how many were acknowledged: all.
    pub fn finish(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the input")
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
