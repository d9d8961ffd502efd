//! The HTTP interface of the serve role: scores for those without Kafka, stored verdicts, health, and its own
//! description. The live feed and the console are mounted here and live in modules of their own.
//!
//! ```text
//! POST /v1/score ─► decode ─► producer ─► sentra.transactions ─► … ─► sentra.verdicts
//!        ▲                       │ acknowledged at (partition, offset)        │
//!        └──── verdict ◄──── awaiting map ◄───────────── follower ◄───────────┘
//! ```
//!
//! Invariant: every process gives the same answers, for each follows all verdict partitions and reads one database; no
//! input leads to a 500. It decides nothing about transactions.

mod archive;
mod auth;
mod awaiting;
mod connections;
mod contracts;
mod descriptors;
mod document;
mod health;
mod latest;
mod observe;
mod pace;
mod params;
mod routes;
mod score;
mod server;
mod submit;
mod verdicts;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Instant,
};

pub use auth::Auth;
pub use document::document;
pub use server::{ApiError, Server};

use tokio::sync::Semaphore;

use crate::{
    config::Config,
    feed::{Accepted, Service},
    problem::Problem,
    telemetry::{Telemetry, VERDICT_TAIL},
};
use archive::Archive;
use awaiting::Awaiting;
use latest::Latest;
use pace::Pace;
use submit::Submitter;

/// What handlers share; a clone is the same one.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// See [`Api`].
pub struct Shared {
    config: Arc<Config>,
    telemetry: Telemetry,
    auth: Auth,
    /// The roles of this process.
    roles: Vec<&'static str>,
    awaiting: Arc<Awaiting<Arc<Accepted>>>,
    latest: Arc<Latest>,
    submitter: Submitter,
    /// Whether verdicts come in time.
    pace: Arc<Pace>,
    archive: Archive,
    /// Requests that may still wait.
    waiting: Semaphore,
    /// The log's short name as asked of the broker at start; verdicts name it too.
    surveyed_log: OnceLock<String>,
    began: Instant,
    /// The live feed.
    feed: Arc<Service>,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// The log's short name, by which verdicts are called: as verdicts have it, or the broker.
    fn log(&self) -> Option<String> {
        self.latest.log().or_else(|| self.surveyed_log.get().cloned())
    }

    /// Refuses what could only wait in vain.
    fn reachable(&self) -> Result<(), Problem> {
        let away = "no broker is reached; send the transaction again later, with the same transaction_id";
        let deaf = "the verdict topic is not followed yet; send the transaction again later";
        if !self.submitter.admits() {
            return Err(Problem::unavailable("kafka-away", away, 2));
        }
        match self.telemetry.health.held(VERDICT_TAIL) {
            Some(_) => Err(Problem::unavailable("kafka-away", deaf, 2)),
            None => Ok(()),
        }
    }
}
