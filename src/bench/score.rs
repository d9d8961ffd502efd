//! `POST /v1/score` at a fixed rate beside traffic on the topic, as an open loop: from the moment each request was
//! *meant* to be sent until its answer is there whole. Its yardstick is the echo of the same run: a pass-through of that
//! traffic, which is what any path over this broker takes at least.

use std::{
    io,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    http::Connection,
    latency::{CUSTOMERS, Latency, OpenLoop, PATIENCE, WARM_UP_S, histogram, ms, one_round, until_ready},
    load::{self, Ready, due_after},
    report::{Target, median},
    sample,
};

/// Connections that the requests share in turn: more than are ever under way together.
const CONNECTIONS: usize = 64;

/// An answer should not take longer.
const LIMIT_MS: f64 = 200.0;

/// Latencies of requests beside those of the echo.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreFigures {
    /// Requests a second.
    pub per_second: f64,
    /// Records a second on the topic beside them.
    pub beside_per_second: f64,
    /// Seconds that counted, each round.
    pub seconds: f64,
    /// A pass-through of the topic's traffic.
    pub echo: Latency,
    /// The requests.
    pub requests: Latency,
    /// Requests that counted.
    pub answered: u64,
    /// Those of them that took longer than 200 ms.
    pub above_200_ms: u64,
}

impl ScoreFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        let rounds = self.requests.p99_ms_of_rounds.iter().zip(&self.echo.p99_ms_of_rounds);
        let ratio = median(rounds.map(|(requests, echo)| requests / echo).collect());
        vec![
            Target::at_most("POST /v1/score p99 / echo's p99", ratio, 2.0),
            Target::at_most("requests above 200 ms (of a quiet machine)", self.above_200_ms as f64, 0.0),
        ]
    }
}

/// Measures echo and requests in turn; `say` hears what is done.
///
/// # Errors
/// The broker refuses, a subject ended or lost records, or a request was not answered with its verdict.
pub fn measure(
    rig: &Rig,
    open: OpenLoop,
    requests: f64,
    say: &mut dyn FnMut(&str),
) -> Result<ScoreFigures, BenchError> {
    let (mut echo, mut taken) = (Vec::new(), Vec::new());
    for round in 1..=open.rounds {
        echo.push(one_round(rig, Subject::PassThrough, open)?);
        taken.push(requests_round(rig, open, requests)?);
        let p99 = |rounds: &[Histogram<u64>]| rounds.last().map_or(f64::NAN, |last| ms(last.value_at_quantile(0.99)));
        say(&format!("score: round {round}: echo p99 {:.1} ms, requests p99 {:.1} ms", p99(&echo), p99(&taken)));
    }
    let limit = (LIMIT_MS * 1_000.0) as u64;
    let above = |round: &Histogram<u64>| round.count_between(limit + 1, u64::MAX);
    Ok(ScoreFigures {
        per_second: requests,
        beside_per_second: open.per_second,
        seconds: open.seconds,
        answered: taken.iter().map(Histogram::len).sum(),
        above_200_ms: taken.iter().map(above).sum(),
        echo: Latency::of(echo),
        requests: Latency::of(taken),
    })
}

fn requests_round(rig: &Rig, open: OpenLoop, requests: f64) -> Result<Histogram<u64>, BenchError> {
    let (input, output) = (rig.topic("input")?, rig.topic("output")?);
    let port = free_port().map_err(BenchError::Start)?;
    let subject = Subject::Serve { port };
    let mut child = Child::start(rig, subject, &input, &output)?;
    until_ready(rig, &mut child, subject, &output)?;
    until_answering(&mut child, port)?;
    let seconds = WARM_UP_S + open.seconds;
    let (beside, asked) = ((seconds * open.per_second) as usize, (seconds * requests) as usize);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let all = open.per_second + requests;
    let mut records = load::prepare(&sample::steady(now_ms, all, CUSTOMERS), beside + asked);
    // The requests are of the same customers as the traffic beside them.
    let bodies: Vec<Ready> = records.split_off(beside);
    let start = Instant::now() + Duration::from_millis(200);
    let stop = AtomicBool::new(false);
    let (sent, taken) = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(port, &bodies, start, requests, &stop));
        let sent = load::send_on_schedule(rig, &input, &records, start, open.per_second);
        if sent.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        (sent, asking.join())
    });
    sent?;
    child.cpu()?;
    drop(child);
    rig.delete(&input);
    rig.delete(&output);
    taken.unwrap_or(Err(BenchError::NoFigure("the clients of the open loop")))
}

/// Asks on schedule over several connections; what came after the warm-up.
fn ask(
    port: u16,
    bodies: &[Ready],
    start: Instant,
    per_second: f64,
    stop: &AtomicBool,
) -> Result<Histogram<u64>, BenchError> {
    let warm = (WARM_UP_S * per_second) as usize;
    let client = |first: usize| -> Result<Vec<(usize, Duration)>, BenchError> {
        let mut connection = Connection::open(port).map_err(BenchError::Start)?;
        let mut took = Vec::new();
        for (k, ready) in bodies.iter().enumerate().skip(first).step_by(CONNECTIONS) {
            let due = start + due_after(k, per_second);
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                thread::sleep(early);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let status = connection.post("/v1/score", ready.json()).map_err(BenchError::Start)?;
            if status != 200 {
                return Err(BenchError::Answered { status });
            }
            took.push((k, due.elapsed()));
        }
        Ok(took)
    };
    let client = &client;
    let clients: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || client(first))).collect();
        started.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut histogram = histogram();
    for client in clients {
        for (k, took) in client.unwrap_or(Err(BenchError::NoFigure("a client of the open loop")))? {
            if k >= warm {
                histogram.saturating_record(took.as_micros() as u64);
            }
        }
    }
    Ok(histogram)
}

/// Waits until its interface is ready.
pub(super) fn until_answering(child: &mut Child, port: u16) -> Result<(), BenchError> {
    let began = Instant::now();
    loop {
        child.cpu()?;
        if Connection::open(port).and_then(|mut connection| connection.get("/readyz")).is_ok_and(|code| code == 200) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(BenchError::NoFigure("the HTTP interface"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
