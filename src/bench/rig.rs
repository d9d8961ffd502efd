//! What a benchmark on Kafka stands on: a broker that is there, topics of its own, and a folder for what its child
//! processes are handed. Topics are deleted with the rig, whatever ended the run.

use std::{
    fs, io,
    path::PathBuf,
    sync::Mutex,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use thiserror::Error;

use crate::{
    config::Config,
    engine::snapshot::Refused,
    kafka::{
        client::{Session, admin_config, describe},
        load::LoadError,
    },
    model::{folder::ModelError, scorer::ScorerError},
    snapshot::DepotError,
    store::StoreError,
};

/// Partitions of each topic.
pub const PARTITIONS: i32 = 8;

/// How long one question to the broker may take.
const ASK: Duration = Duration::from_secs(20);

/// How long after one that failed it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The broker refused or did not answer.
    #[error("kafka: {doing}: {why}; check kafka.bootstrap_servers")]
    Kafka {
        /// What was tried.
        doing: &'static str,
        /// What the client said.
        why: String,
    },
    /// The input could not be produced.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model cannot be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// LightGBM's library, the yardstick, does not take the model.
    #[error(transparent)]
    Scorer(#[from] ScorerError),
    /// This program could not be started as a child.
    #[error("a measured process could not be started: {0}")]
    Start(#[source] io::Error),
    /// A child's CPU time is not known.
    #[error("CPU time is read from /proc/PID/stat, which only Linux has: {0}")]
    Proc(#[source] io::Error),
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Snapshots could not be stored or read.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// A snapshot just taken is refused.
    #[error("a snapshot just taken: {0}")]
    Refused(#[from] Refused),
    /// Snapshots could not be compressed.
    #[error("zstd: {0}")]
    Pack(#[source] io::Error),
    /// A child ended by itself.
    #[error("{what} ended by itself ({status}); its own lines say why")]
    Ended {
        /// Which child.
        what: &'static str,
        /// How.
        status: String,
    },
    /// An output stopped growing.
    #[error("topic {topic} stopped at {landed} of {expected} records")]
    Stuck {
        /// The output.
        topic: String,
        /// Records it holds.
        landed: u64,
        /// Records wanted.
        expected: u64,
    },
    /// A request was not answered with its verdict.
    #[error("POST /v1/score was answered {status} where a verdict was due; the lines of sentra run say why")]
    Answered {
        /// The status.
        status: u16,
    },
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A child process printed no figure.
    #[error("{0} gave no figure; its own lines say why")]
    NoFigure(&'static str),
}

impl BenchError {
    /// A client's error while `doing` something.
    pub fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Self {
        move |error| Self::Kafka { doing, why: describe(&error) }
    }
}

/// Topics, folder and settings of one run.
pub struct Rig {
    /// The settings, but for topics and group.
    pub config: Config,
    arguments: Vec<String>,
    client: BaseConsumer<Session>,
    name: String,
    folder: PathBuf,
    count: AtomicU32,
    topics: Mutex<Vec<String>>,
}

impl Rig {
    /// A rig on the broker of `config`; `arguments` make a child process read the same configuration.
    ///
    /// # Errors
    /// A property is wrong, or there is no place for files.
    pub fn new(config: Config, arguments: Vec<String>) -> Result<Self, BenchError> {
        let client = admin_config(&config.kafka).create_with_context(Session::default());
        let client = client.map_err(BenchError::kafka("making a client"))?;
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let name = format!("sentra-bench-{}-{now_us:x}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).map_err(|source| BenchError::File { path: folder.clone(), source })?;
        Ok(Self { config, arguments, client, name, folder, count: AtomicU32::new(0), topics: Mutex::default() })
    }

    /// Creates a topic; records keep their event time, however old, until it is deleted.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn topic(&self, what: &str) -> Result<String, BenchError> {
        let name = format!("{}-{what}-{}", self.name, self.count.fetch_add(1, Ordering::Relaxed));
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "CreateTime")
            .set("retention.ms", "-1");
        let failed = |why: String| BenchError::Kafka { doing: "creating a topic", why };
        let (runtime, admin) = self.admin()?;
        let results = runtime.block_on(admin.create_topics([&topic], &options()));
        match results.map(|mut results| results.pop()) {
            Ok(Some(Ok(created))) => {
                self.topics.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(created);
                self.ends(&name)?;
                Ok(name)
            }
            Ok(Some(Err((_, code)))) => Err(failed(code.to_string())),
            Ok(None) => Err(failed("no answer".to_owned())),
            Err(error) => Err(failed(describe(&error))),
        }
    }

    /// Deletes a topic that is done with: its records would only fill the disk.
    pub fn delete(&self, topic: &str) {
        self.topics.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).retain(|known| known != topic);
        self.delete_all(&[topic]);
    }

    /// A file for a child process to read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf, BenchError> {
        let path = self.folder.join(name);
        match fs::write(&path, content) {
            Ok(()) => Ok(path),
            Err(source) => Err(BenchError::File { path, source }),
        }
    }

    /// How many records each partition of a topic holds.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn ends(&self, topic: &str) -> Result<Vec<u64>, BenchError> {
        (0..PARTITIONS).map(|partition| self.end(topic, partition)).collect()
    }

    /// A topic that was just made is unknown to its leaders for a moment. The client would go on saying so from what it
    /// remembers: asking for the topic anew is what lets it find them.
    fn end(&self, topic: &str, partition: i32) -> Result<u64, BenchError> {
        let until = Instant::now() + ASK;
        loop {
            match self.client.fetch_watermarks(topic, partition, ASK) {
                Ok((_, high)) => return Ok(high.max(0) as u64),
                Err(_) if Instant::now() < until => {
                    thread::sleep(ASK_AGAIN);
                    // Whether that helped, the next answer tells.
                    let _ = self.client.fetch_metadata(Some(topic), ASK);
                }
                Err(error) => return Err(BenchError::kafka("asking for a partition's end")(error)),
            }
        }
    }

    /// What makes a child process read the same configuration.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// What a child process is told beyond that: its topics, a group of its own, features off, no listener.
    pub fn settings(&self, input: &str, output: &str) -> Vec<String> {
        vec![
            format!("topics.transactions={input}"),
            format!("topics.verdicts={output}"),
            format!("topics.dlq={}-dlq", self.name),
            format!("kafka.group={output}"),
            format!("score.shards={}", self.threads()),
            "verdict.features=false".into(),
            "snapshots.location=off".into(),
            "telemetry.listen=off".into(),
            "telemetry.log=error".into(),
            "environment=development".into(),
        ]
    }

    /// Threads of the line, and of its yardsticks.
    pub fn threads(&self) -> usize {
        match self.config.score.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            wanted => wanted,
        }
    }

    /// Servers and the user's own properties, for clients outside the line.
    pub fn plain_client(&self) -> ClientConfig {
        admin_config(&self.config.kafka)
    }

    fn admin(&self) -> Result<(tokio::runtime::Runtime, AdminClient<Session>), BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(BenchError::Start)?;
        let admin = self.plain_client().create_with_context(Session::default());
        Ok((runtime, admin.map_err(BenchError::kafka("making an admin client"))?))
    }

    fn delete_all(&self, topics: &[&str]) {
        let Ok((runtime, admin)) = self.admin() else { return };
        if let Err(error) = runtime.block_on(admin.delete_topics(topics, &options())) {
            tracing::warn!(%error, ?topics, "topics of the benchmark could not be deleted");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if !topics.is_empty() {
            self.delete_all(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        }
        // What is left of it lies in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ASK)).request_timeout(Some(ASK))
}
