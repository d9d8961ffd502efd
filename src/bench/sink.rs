//! The sink beside a bare COPY of the same rows, and the full line beside the score role alone.
//!
//! ```text
//! transactions ─► score ─► verdicts ─┬─► read and encoded beforehand ─► COPY BINARY, a batch a transaction   (bare)
//!                                    └─► sentra run --roles sink     ─► rows                                 (sink)
//! transactions ─► sentra run --roles score,sink,serve ─► verdicts ─► rows                     (full line, both rates)
//! ```
//!
//! Rows go into a database of the run's own on the server of `sink.database_url`, which is dropped again.

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use rdkafka::Message;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::{
    BenchError, Rig,
    child::{Child, Subject},
    load, progress,
    report::{Target, median},
    rig::PARTITIONS,
    sample,
};
use crate::{
    config::{Policy, Secret},
    kafka::tail::RangeReader,
    store::{
        Database, Purpose, StoreError, StoredVerdict,
        copy::{self, Place, Rows},
        days::Day,
        migrate::{Mode, migrate},
    },
};

/// How often the stored rows are counted, by the progress rows alone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The share of the rows that must be stored before measuring begins.
const WARM_UP: f64 = 0.02;
/// How long rows may stand still before the run is given up.
const STUCK: Duration = Duration::from_secs(60);

/// Rows a second, each round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SinkFigures {
    /// Verdicts, and rows.
    pub events: u64,
    /// An encoded row's mean size.
    pub row_bytes: f64,
    /// A bare COPY of the rows.
    pub bare_copy: Vec<f64>,
    /// The sink.
    pub sink: Vec<f64>,
    /// Verdicts of the score role alone.
    pub score: Vec<f64>,
    /// Verdicts of score, sink and serve in one process.
    pub full_line_verdicts: Vec<f64>,
    /// Rows of the same.
    pub full_line: Vec<f64>,
}

impl SinkFigures {
    /// What the issue asks of them.
    pub fn targets(&self) -> Vec<Target> {
        let ratio = |ours: &[f64], yardstick: &[f64]| median(ours.iter().zip(yardstick).map(|(a, b)| a / b).collect());
        vec![
            Target::at_least("sink / bare COPY BINARY of the same rows", ratio(&self.sink, &self.bare_copy), 0.6),
            Target::at_least("all roles, verdicts / score alone", ratio(&self.full_line_verdicts, &self.score), 0.5),
            Target::at_least("all roles, rows / score alone, verdicts", ratio(&self.full_line, &self.score), 0.5),
        ]
    }
}

/// Measures `rounds` times; `say` hears what is done.
///
/// # Errors
/// Broker or database refuse, or a subject ended or stood still.
pub fn measure(rig: &Rig, events: u64, rounds: usize, say: &mut dyn FnMut(&str)) -> Result<SinkFigures, BenchError> {
    let scratch = Scratch::create(rig)?;
    let input = rig.topic("input")?;
    say(&format!("sink: producing {events} records"));
    load::fill(rig, &input, &sample::month(events))?;
    let mut figures = SinkFigures { events, ..SinkFigures::default() };
    for round in 1..=rounds {
        let verdicts = rig.topic("verdicts")?;
        {
            let mut child = Child::start(rig, Subject::Line, &input, &verdicts)?;
            figures.score.push(progress::watch(rig, &mut child, &verdicts, events)?.per_second());
        }
        let batches = encoded(rig, &verdicts)?;
        let bytes: usize = batches.iter().map(Rows::bytes).sum();
        figures.row_bytes = bytes as f64 / events as f64;
        figures.bare_copy.push(scratch.bare_copy(batches, events)?);
        let group = format!("{verdicts}-{round}");
        let sink = Subject::Sink { url: &scratch.url, group: &group };
        let client = scratch.emptied()?;
        {
            let _child = Child::start(rig, sink, &input, &verdicts)?;
            figures.sink.push(scratch.watch(&client, events)?);
        }
        rig.delete(&verdicts);
        let (drained, rows) = full_line(rig, &scratch, &input, events)?;
        figures.full_line_verdicts.push(drained);
        figures.full_line.push(rows);
        let last = |rounds: &[f64]| rounds.last().copied().unwrap_or(f64::NAN);
        say(&format!(
            "sink: round {round}, bare COPY {:.0}/s, sink {:.0}/s, score alone {:.0}/s, full line {:.0} verdicts/s, {:.0} rows/s",
            last(&figures.bare_copy),
            last(&figures.sink),
            last(&figures.score),
            last(&figures.full_line_verdicts),
            last(&figures.full_line)
        ));
    }
    rig.delete(&input);
    Ok(figures)
}

/// Verdicts and rows a second of all roles in one process, watched at once.
fn full_line(rig: &Rig, scratch: &Scratch, input: &str, events: u64) -> Result<(f64, f64), BenchError> {
    let output = rig.topic("full")?;
    let client = scratch.emptied()?;
    let mut child = Child::start(rig, Subject::Full { url: &scratch.url }, input, &output)?;
    let (verdicts, rows) = thread::scope(|scope| {
        let rows = scope.spawn(|| scratch.watch(&client, events));
        (progress::watch(rig, &mut child, &output, events), rows.join())
    });
    drop(child);
    rig.delete(&output);
    let rows = rows.unwrap_or(Err(BenchError::NoFigure("the watch over the rows")));
    Ok((verdicts?.per_second(), rows?))
}

/// The rows of a verdict topic, in batches as the sink makes them.
fn encoded(rig: &Rig, topic: &str) -> Result<Vec<Rows>, BenchError> {
    let failed =
        |error: crate::kafka::tail::TailError| BenchError::Kafka { doing: "reading verdicts", why: error.to_string() };
    let mut reader = RangeReader::open(&rig.config.kafka, topic).map_err(failed)?;
    let (never, mut batches) = (AtomicBool::new(false), vec![Rows::default()]);
    for (partition, end) in (0..PARTITIONS).zip(rig.ends(topic)?) {
        reader
            .read_messages(partition, 0, end as i64, &never, |message| {
                let Some((verdict, _)) = StoredVerdict::parse(message.payload().unwrap_or_default()) else { return };
                let recorded_ms = message.timestamp().to_millis().unwrap_or_default();
                let place =
                    Place { verdict_offset: message.offset(), recorded_ms, day: Day::of_ms(recorded_ms), raw: None };
                if batches.last().is_none_or(|rows| rows.len() >= rig.config.sink.batch) {
                    batches.push(Rows::default());
                }
                // Of our own making: a row that cannot be stored would be missed at the end.
                let _ = batches.last_mut().map(|rows| rows.push(&verdict, place));
            })
            .map_err(failed)?;
    }
    Ok(batches)
}

/// A database of the run's own.
struct Scratch {
    admin: Secret,
    name: String,
    url: Secret,
    runtime: Runtime,
}

impl Scratch {
    fn create(rig: &Rig) -> Result<Self, BenchError> {
        let Some(admin) = rig.config.sink.database_url.clone() else {
            return Err(StoreError::Url(String::from("is not set, and the sink cannot be measured without it")).into());
        };
        let name = format!("sentra_bench_{}", std::process::id());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let url = Secret::new(beside(admin.expose(), &name));
        let scratch = Self { admin, name, url, runtime: runtime.map_err(BenchError::Start)? };
        scratch.administer(&format!("CREATE DATABASE {}", scratch.name))?;
        let database = Database::new(&scratch.url)?;
        let days = Policy { ahead: 1, retention: None };
        scratch.runtime.block_on(migrate(&database, Mode::Apply, days))?;
        Ok(scratch)
    }

    fn administer(&self, sql: &str) -> Result<(), StoreError> {
        self.runtime.block_on(async {
            let client = Database::new(&self.admin)?.session(Purpose::Admin).await?;
            Ok(client.batch_execute(sql).await?)
        })
    }

    /// An empty database, with nothing left to be written of what was in it.
    fn emptied(&self) -> Result<Client, StoreError> {
        self.runtime.block_on(async {
            let client = Database::new(&self.url)?.session(Purpose::Admin).await?;
            client.batch_execute("TRUNCATE sentra.verdicts, sentra.sink_progress").await?;
            // Only a super user may; without it the first round pays for the last.
            let _ = client.batch_execute("CHECKPOINT").await;
            Ok(client)
        })
    }

    fn bare_copy(&self, batches: Vec<Rows>, events: u64) -> Result<f64, BenchError> {
        let client = self.emptied()?;
        let began = Instant::now();
        let copied: Result<u64, tokio_postgres::Error> = self.runtime.block_on(async {
            let (statement, mut copied) = (client.prepare(copy::STATEMENT).await?, 0);
            for rows in batches {
                let sink = client.copy_in(&statement).await?;
                futures_util::pin_mut!(sink);
                for chunk in rows.chunks() {
                    sink.feed(chunk).await?;
                }
                copied += sink.finish().await?;
            }
            Ok(copied)
        });
        let seconds = began.elapsed().as_secs_f64();
        match copied.map_err(StoreError::from)? {
            copied if copied == events => Ok(copied as f64 / seconds),
            copied => {
                Err(BenchError::Stuck { topic: String::from("of a bare COPY"), landed: copied, expected: events })
            }
        }
    }

    /// Rows a second that are stored, from when all is at work until the last.
    fn watch(&self, client: &Client, events: u64) -> Result<f64, BenchError> {
        let (mut working, mut last): (Option<(Instant, u64)>, _) = (None, (Instant::now(), 0));
        loop {
            thread::sleep(LOOK_EVERY);
            // Each partition's next offset counts its owner record too.
            let count = "SELECT coalesce(sum(greatest(next_offset - 1, 0)), 0)::bigint FROM sentra.sink_progress";
            let row = self.runtime.block_on(client.query_one(count, &[])).map_err(StoreError::from)?;
            let (now, stored) = (Instant::now(), row.get::<_, i64>(0) as u64);
            if stored > last.1 {
                last = (now, stored);
            }
            if stored >= events {
                let (since, before) = working.unwrap_or((now - LOOK_EVERY, 0));
                return Ok((stored - before) as f64 / (now - since).as_secs_f64());
            }
            if working.is_none() && stored as f64 >= events as f64 * WARM_UP {
                working = Some((now, stored));
            }
            if now - last.0 > STUCK {
                return Err(BenchError::Stuck { topic: String::from("of the rows"), landed: stored, expected: events });
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            tracing::warn!(%error, database = self.name, "the benchmark's database could not be dropped");
        }
    }
}

/// The same connection string for another database.
fn beside(url: &str, name: &str) -> String {
    let (head, query) = url.split_once('?').map_or((url, String::new()), |(head, query)| (head, format!("?{query}")));
    match head.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split_once('/').map_or(rest, |(host, _)| host);
            format!("{scheme}://{host}/{name}{query}")
        }
        None => {
            let others = url.split_ascii_whitespace().filter(|parameter| !parameter.starts_with("dbname="));
            others.chain([format!("dbname={name}").as_str()]).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_database_is_beside_the_one_that_is_named() {
        for (url, wanted) in [
            ("postgres://a:b@c:1/d?sslmode=require", "postgres://a:b@c:1/x?sslmode=require"),
            ("postgres://c", "postgres://c/x"),
            ("host=c dbname=d user=a", "host=c user=a dbname=x"),
        ] {
            assert_eq!(beside(url, "x"), wanted);
        }
    }
}
