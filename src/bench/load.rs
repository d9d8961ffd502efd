//! Filling an input topic, at once or on a schedule that waits for nobody.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{BenchError, Rig, rig::PARTITIONS};
use crate::{
    domain::partitioner::partition_of,
    kafka::load::Load,
    train::simulate::{Options, Simulated, Simulation},
};

/// How long the last acknowledgements may take.
const FLUSH: Duration = Duration::from_secs(30);

/// The producer's own wait for company: a switch sends soon.
const LINGER_MS: &str = "1";

/// A record made beforehand.
pub struct Ready {
    key: String,
    json: Vec<u8>,
    at_ms: i64,
    partition: i32,
}

impl Ready {
    /// A record of one's own making, for this partition, stamped with the time it is made at.
    pub fn new(key: String, json: Vec<u8>, partition: i32) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self { key, json, at_ms: now.map_or(0, |since| since.as_millis() as i64), partition }
    }

    /// The transaction.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

/// Produces a whole simulation as fast as the broker takes it.
///
/// # Errors
/// The broker refuses.
pub fn fill(rig: &Rig, topic: &str, options: &Options) -> Result<u64, BenchError> {
    let mut load = Load::connect(rig.plain_client(), topic)?;
    let mut record = Simulated::empty();
    let mut simulation = Simulation::new(options);
    while simulation.read(&mut record) {
        load.send(record.phone.key().as_bytes(), &record.json, record.at_ms)?;
    }
    Ok(load.finish()?)
}

/// Makes `count` records beforehand, so that making them takes no time while they are sent.
pub fn prepare(options: &Options, count: usize) -> Vec<Ready> {
    let ready = |record: Simulated| {
        let key = record.phone.to_string();
        let partition = partition_of(key.as_bytes(), PARTITIONS);
        Ready { key, json: record.json, at_ms: record.at_ms, partition }
    };
    Simulation::new(options).take(count).map(ready).collect()
}

/// Sends the k-th record at `start` + k / `per_second`, late ones at once. Returns, for each partition, the k of each
/// of its records in order: the broker keeps that order, so it is their offsets'.
///
/// # Errors
/// The broker refuses.
pub fn send_on_schedule(
    rig: &Rig,
    topic: &str,
    records: &[Ready],
    start: Instant,
    per_second: f64,
) -> Result<Vec<Vec<usize>>, BenchError> {
    let failed = BenchError::kafka("sending on a schedule");
    let mut client = rig.plain_client();
    client.set("enable.idempotence", "true").set("linger.ms", LINGER_MS).set("compression.type", "lz4");
    let producer: BaseProducer = client.create().map_err(&failed)?;
    let mut sent: Vec<Vec<usize>> = vec![Vec::new(); PARTITIONS as usize];
    for (k, ready) in records.iter().enumerate() {
        let due = start + due_after(k, per_second);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        let mut record = BaseRecord::to(topic)
            .key(&ready.key)
            .payload(&ready.json)
            .timestamp(ready.at_ms)
            .partition(ready.partition);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(failed(error)),
            }
        }
        producer.poll(Duration::ZERO);
        sent[ready.partition as usize].push(k);
    }
    producer.flush(FLUSH).map_err(&failed)?;
    Ok(sent)
}

/// When the k-th record is due, counted from the start.
pub fn due_after(k: usize, per_second: f64) -> Duration {
    Duration::from_secs_f64(k as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::super::sample::steady;
    use super::*;

    #[test]
    fn the_schedule_is_known_beforehand() {
        assert_eq!(due_after(0, 2_000.0), Duration::ZERO);
        assert_eq!(due_after(3_000, 2_000.0), Duration::from_millis(1_500));
    }

    #[test]
    fn prepared_records_know_their_partition_and_pass_with_the_clock() {
        let ready = prepare(&steady(1_000, 500.0, 100), 600);
        assert_eq!(ready.len(), 600);
        assert!(ready.iter().all(|ready| ready.partition == partition_of(ready.key.as_bytes(), PARTITIONS)));
        assert_eq!((ready[0].at_ms, ready[500].at_ms), (1_000, 2_000));
    }
}
