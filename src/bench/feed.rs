//! The live feed: many clients that each get every alert, as an open loop. From the moment a verdict was *meant* to be
//! written to the topic until a client has its frame, so the producer's and the broker's own time is in it.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    latency::{Latency, WARM_UP_S, histogram, ms},
    load::{self, Ready, due_after},
    report::Target,
    rig::PARTITIONS,
    score::{free_port, until_answering},
};

/// How long the last frame may take, and connecting.
const PATIENCE: Duration = Duration::from_secs(60);

/// A frame should not take longer, on a quiet machine.
const LIMIT_MS: f64 = 50.0;

/// How many clients, how many alerts.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Clients at once.
    pub clients: usize,
    /// Alerts a second.
    pub per_second: f64,
    /// Seconds that count, each round.
    pub seconds: f64,
    /// Rounds.
    pub rounds: usize,
}

/// What the clients saw, and what it cost the server.
#[derive(Clone, Debug, Serialize)]
pub struct FeedFigures {
    /// Clients at once.
    pub clients: usize,
    /// Alerts a second.
    pub per_second: f64,
    /// Seconds that counted, each round.
    pub seconds: f64,
    /// Topic to client.
    pub frames: Latency,
    /// Frames delivered, those of the warm-up included.
    pub delivered: u64,
    /// The server's CPU time for each of them, in microseconds; of rounds.
    pub cpu_us_per_frame: Vec<f64>,
}

impl FeedFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        vec![Target::at_most("feed p99, ms (of a quiet machine)", self.frames.p99_ms, LIMIT_MS)]
    }
}

/// Measures; `say` hears what is done.
///
/// # Errors
/// The broker refuses, the server ended, or a client did not get every alert.
pub fn measure(rig: &Rig, crowd: Crowd, say: &mut dyn FnMut(&str)) -> Result<FeedFigures, BenchError> {
    let (mut rounds, mut cpu_us_per_frame, mut delivered) = (Vec::new(), Vec::new(), 0);
    for round in 1..=crowd.rounds {
        let (histogram, frames, cpu) = one_round(rig, crowd)?;
        let each_us = cpu.as_secs_f64() * 1e6 / frames.max(1) as f64;
        let (p50, p99) = (ms(histogram.value_at_quantile(0.5)), ms(histogram.value_at_quantile(0.99)));
        say(&format!("feed: round {round}: p50 {p50:.1} ms, p99 {p99:.1} ms, {each_us:.1} µs of CPU a frame"));
        rounds.push(histogram);
        cpu_us_per_frame.push(each_us);
        delivered += frames;
    }
    let Crowd { clients, per_second, seconds, .. } = crowd;
    Ok(FeedFigures { clients, per_second, seconds, frames: Latency::of(rounds), delivered, cpu_us_per_frame })
}

/// One round's latencies, frames and the server's CPU time for them.
fn one_round(rig: &Rig, crowd: Crowd) -> Result<(Histogram<u64>, u64, Duration), BenchError> {
    let (input, output) = (rig.topic("input")?, rig.topic("output")?);
    load::send_on_schedule(rig, &output, &owners(), Instant::now(), f64::INFINITY)?;
    let port = free_port().map_err(BenchError::Start)?;
    let mut child = Child::start(rig, Subject::Feed { port }, &input, &output)?;
    until_answering(&mut child, port)?;
    let count = ((WARM_UP_S + crowd.seconds) * crowd.per_second) as usize;
    let alerts: Vec<Ready> = (0..count).map(alert).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(BenchError::Start)?;
    let sockets = runtime.block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..crowd.clients {
            let connecting = connect_async(format!("ws://127.0.0.1:{port}/v1/feed?level=HIGH,CRITICAL"));
            let connected = tokio::time::timeout(PATIENCE, connecting).await;
            let (mut socket, _) = connected.ok().and_then(Result::ok).ok_or(BenchError::NoFigure("the feed"))?;
            // Its greeting: from here on it misses nothing.
            socket.next().await;
            sockets.push(socket);
        }
        Ok::<_, BenchError>(sockets)
    })?;
    let cpu_before = child.cpu()?;
    let start = Instant::now() + Duration::from_millis(200);
    let warm = (WARM_UP_S * crowd.per_second) as usize;
    let until = PATIENCE + Duration::from_secs_f64(WARM_UP_S + crowd.seconds);
    let clients: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            runtime.spawn(async move {
                let (mut histogram, mut seen) = (histogram(), 0);
                while seen < count {
                    let next = tokio::time::timeout(until, socket.next()).await.ok().flatten()?.ok()?;
                    let Message::Text(text) = next else { continue };
                    let Some(k) = number_of(&text) else { continue };
                    let took = (start + due_after(k, crowd.per_second)).elapsed();
                    if k >= warm {
                        histogram.saturating_record(took.as_micros() as u64);
                    }
                    seen += 1;
                }
                Some(histogram)
            })
        })
        .collect();
    let sent = thread::scope(|scope| {
        scope.spawn(|| load::send_on_schedule(rig, &output, &alerts, start, crowd.per_second)).join()
    });
    sent.map_err(|_| BenchError::NoFigure("the producer"))??;
    let mut all = histogram();
    for client in clients {
        let taken = runtime.block_on(client).ok().flatten().ok_or(BenchError::NoFigure("a client of the feed"))?;
        // Both have the same bounds, so nothing is left out.
        let _ = all.add(taken);
    }
    let cpu = child.cpu()?.saturating_sub(cpu_before);
    drop(child);
    rig.delete(&input);
    rig.delete(&output);
    Ok((all, (count * crowd.clients) as u64, cpu))
}

/// An owner record in each partition.
fn owners() -> Vec<Ready> {
    let record = |partition| {
        let json = format!(r#"{{"kind":"owner","source":{{"log":"07070707","partition":{partition}}}}}"#);
        Ready::new(String::new(), json.into_bytes(), partition)
    };
    (0..PARTITIONS).map(record).collect()
}

/// The k-th alert; partitions take turns.
fn alert(k: usize) -> Ready {
    let partition = (k % PARTITIONS as usize) as i32;
    let (offset, previous) = ((k / PARTITIONS as usize) as i64, (k / PARTITIONS as usize) as i64 - 1);
    let phone = format!("+2547{k:08}");
    let json = format!(
        r#"{{"transaction_id":"T{k}","risk_score":95,"risk_level":"CRITICAL","signals":{{"velocity":0.85,"amount_anomaly":0.72,"device_new":0.65,"location_change":0.45}},"recommendation":"BLOCK","processing_time_ms":2,"verdict_id":"07070707-{partition}-{offset}","kind":"scored","reasons":[{{"code":"VELOCITY_5M","text":"9 transactions in 5 minutes","contribution":0.31}},{{"code":"AMOUNT_ZSCORE","text":"The amount is 4.2 standard deviations above the mean","contribution":0.27}},{{"code":"DEVICE_NEW","text":"A device never seen with this phone","contribution":0.22}}],"phone_number":"{phone}","institution_id":"bank-01","amount":50000,"currency":"KES","event_time":"2026-03-01T08:15:00.000Z","decided_at":"2026-03-01T08:15:00.004213Z","model":{{"name":"default","version":"1"}},"policy_version":"default-1","flags":[],"source":{{"log":"07070707","partition":{partition},"offset":{offset},"previous_offset":{previous},"epoch":0}},"feature_digest":"0123456789abcdef","schema_version":1}}"#
    );
    Ready::new(phone, json.into_bytes(), partition)
}

/// Which alert a verdict frame is of: behind one owner record, a partition's offsets count its alerts.
fn number_of(frame: &str) -> Option<usize> {
    let rest = frame.strip_prefix(r#"{"type":"verdict","partition":"#)?;
    let (partition, rest) = rest.split_once(r#","offset":"#)?;
    let (offset, _) = rest.split_once(',')?;
    let (partition, offset): (usize, usize) = (partition.parse().ok()?, offset.parse().ok()?);
    Some((offset.checked_sub(1)?) * PARTITIONS as usize + partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_which_alert_it_is() {
        for k in [0, 1, 7, 8, 12_345] {
            let (partition, offset) = (k % PARTITIONS as usize, k / PARTITIONS as usize + 1);
            let frame = format!(r#"{{"type":"verdict","partition":{partition},"offset":{offset},"verdict":{{}}}}"#);
            assert_eq!(number_of(&frame), Some(k));
            assert!(serde_json::from_slice::<serde_json::Value>(alert(k).json()).is_ok());
        }
        assert_eq!(number_of(r#"{"type":"stats"}"#), None);
    }
}
