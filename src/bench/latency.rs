//! The open loop: records at a fixed rate, and how long from the moment each was *meant* to be sent until its verdict
//! is in a consumer's hands. A stall anywhere delays all that were due in it, and shows.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde::Serialize;

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    load::{self, due_after},
    report::{Target, median},
    rig::PARTITIONS,
    sample,
};
use crate::domain::verdict::Head;

/// Seconds of traffic before the first record that counts.
pub(super) const WARM_UP_S: f64 = 3.0;

/// A subject is ready when its output has stood still for so long.
const READY: Duration = Duration::from_secs(2);

/// How long a subject may take to be ready, and the last verdict to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Customers of the traffic.
pub(super) const CUSTOMERS: u64 = 20_000;

/// One subject's latencies, all rounds together, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Half are below.
    pub p50_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// 999 of 1,000 are below.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The 99th percentile of each round.
    pub p99_ms_of_rounds: Vec<f64>,
}

/// The line and the echo.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyFigures {
    /// Records a second.
    pub per_second: f64,
    /// Seconds that counted, each round.
    pub seconds: f64,
    /// A pass-through at the same rate.
    pub echo: Latency,
    /// The score role.
    pub line: Latency,
}

impl LatencyFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        let rounds = self.line.p99_ms_of_rounds.iter().zip(&self.echo.p99_ms_of_rounds);
        let ratio = median(rounds.map(|(line, echo)| line / echo).collect());
        vec![Target::at_most("latency p99 / echo's p99", ratio, 1.5)]
    }
}

/// The rate and for how long.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Records a second.
    pub per_second: f64,
    /// Seconds that count.
    pub seconds: f64,
    /// Rounds of each subject.
    pub rounds: usize,
}

/// Measures echo and line in turn; `say` hears what is done.
///
/// # Errors
/// The broker refuses, or a subject ended or lost records.
pub fn measure(rig: &Rig, open: OpenLoop, say: &mut dyn FnMut(&str)) -> Result<LatencyFigures, BenchError> {
    let mut taken: [Vec<Histogram<u64>>; 2] = Default::default();
    for round in 1..=open.rounds {
        for ((name, subject), taken) in
            [("echo", Subject::PassThrough), ("line", Subject::Line)].into_iter().zip(&mut taken)
        {
            let histogram = one_round(rig, subject, open)?;
            say(&format!(
                "latency: round {round}, {name}: p50 {:.1} ms, p99 {:.1} ms",
                ms(histogram.value_at_quantile(0.5)),
                ms(histogram.value_at_quantile(0.99))
            ));
            taken.push(histogram);
        }
    }
    let [echo, line] = taken.map(Latency::of);
    Ok(LatencyFigures { per_second: open.per_second, seconds: open.seconds, echo, line })
}

impl Latency {
    pub(super) fn of(rounds: Vec<Histogram<u64>>) -> Self {
        let mut all = histogram();
        for round in &rounds {
            // Both have the same bounds, so nothing is left out.
            let _ = all.add(round);
        }
        let at = |quantile| ms(all.value_at_quantile(quantile));
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(all.max()),
            p99_ms_of_rounds: rounds.iter().map(|round| ms(round.value_at_quantile(0.99))).collect(),
        }
    }
}

/// Microseconds up to ten minutes, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order and three digits are allowed")
}

pub(super) fn ms(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

/// A record came out: partition, input offset, when.
struct Received {
    partition: i32,
    source: usize,
    at: Instant,
}

pub(super) fn one_round(rig: &Rig, subject: Subject<'_>, open: OpenLoop) -> Result<Histogram<u64>, BenchError> {
    let (input, output) = (rig.topic("input")?, rig.topic("output")?);
    let mut child = Child::start(rig, subject, &input, &output)?;
    until_ready(rig, &mut child, subject, &output)?;
    let warm = (WARM_UP_S * open.per_second) as usize;
    let count = warm + (open.seconds * open.per_second) as usize;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let records = load::prepare(&sample::steady(now_ms, open.per_second, CUSTOMERS), count);
    let stop = AtomicBool::new(false);
    let start = Instant::now() + Duration::from_millis(200);
    let (sent, received) = thread::scope(|scope| {
        let watching = scope.spawn(|| receive(rig, &output, subject, count, &stop));
        let sent = load::send_on_schedule(rig, &input, &records, start, open.per_second);
        if sent.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        (sent, watching.join())
    });
    let sent = sent?;
    let received = received.unwrap_or(Err(BenchError::NoFigure("the consumer of the open loop")))?;
    child.cpu()?;
    drop(child);
    rig.delete(&input);
    rig.delete(&output);
    let mut histogram = histogram();
    for Received { partition, source, at } in received {
        let Some(k) = sent.get(partition as usize).and_then(|sent| sent.get(source)).copied() else { continue };
        if k >= warm {
            let took = at.saturating_duration_since(start + due_after(k, open.per_second));
            histogram.saturating_record(took.as_micros() as u64);
        }
    }
    Ok(histogram)
}

/// Waits until every partition has its owner and no rebalance is under way; an echo has only to start.
pub(super) fn until_ready(rig: &Rig, child: &mut Child, subject: Subject<'_>, output: &str) -> Result<(), BenchError> {
    let began = Instant::now();
    let (mut before, mut still_since) = (Vec::new(), began);
    loop {
        thread::sleep(Duration::from_millis(100));
        child.cpu()?;
        let ends = rig.ends(output)?;
        if ends != before {
            (before, still_since) = (ends, Instant::now());
        } else if still_since.elapsed() >= READY && (!subject.has_owners() || !before.contains(&0)) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let landed = before.iter().filter(|end| **end > 0).count() as u64;
            return Err(BenchError::Stuck { topic: output.to_owned(), landed, expected: PARTITIONS as u64 });
        }
    }
}

/// Reads the output until it has `count` records of the input.
fn receive(
    rig: &Rig,
    output: &str,
    subject: Subject<'_>,
    count: usize,
    stop: &AtomicBool,
) -> Result<Vec<Received>, BenchError> {
    let failed = BenchError::kafka("consuming the output");
    let mut client = rig.plain_client();
    client
        .set("group.id", output)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = client.create().map_err(&failed)?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(output, partition, Offset::Offset(0)).map_err(&failed)?;
    }
    consumer.assign(&all).map_err(&failed)?;
    let mut received = Vec::with_capacity(count);
    let mut last = Instant::now();
    while received.len() < count && !stop.load(Ordering::Relaxed) {
        let Some(polled) = consumer.poll(Duration::from_millis(20)) else {
            if last.elapsed() > PATIENCE {
                let landed = received.len() as u64;
                return Err(BenchError::Stuck { topic: output.to_owned(), landed, expected: count as u64 });
            }
            continue;
        };
        let at = Instant::now();
        last = at;
        let message = polled.map_err(&failed)?;
        let source = match subject {
            // An owner record has no source offset, and is nobody's verdict.
            Subject::Line => message.payload().and_then(Head::parse).and_then(|head| head.source.offset),
            // An echo adds nothing, so offsets are the input's.
            _ => Some(message.offset()),
        };
        if let Some(source) = source {
            received.push(Received { partition: message.partition(), source: source as usize, at });
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_all_rounds_are_those_of_their_histograms_together() {
        let mut rounds = vec![histogram(), histogram()];
        (1..=99).for_each(|_| rounds[0].saturating_record(1_000));
        rounds[1].saturating_record(50_000);
        let latency = Latency::of(rounds);
        assert!((0.99..1.01).contains(&latency.p50_ms), "{latency:?}");
        assert!((49.9..50.1).contains(&latency.max_ms), "{latency:?}");
        assert_eq!(latency.p99_ms_of_rounds.len(), 2);
    }
}
