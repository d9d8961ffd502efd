//! The serve role's life: what must be had before it starts, the runtime, the follower beside it, and the stop in
//! order: requests first, then the follower that brings their verdicts, then the producer.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Api, Auth, Shared, archive::Archive, awaiting::Awaiting, connections, descriptors, health, latest::Latest,
    pace::Pace, routes, submit::Submitter,
};
use crate::{
    config::Config,
    domain::identity::LogId,
    feed::{FollowError, Follower, Listener, Service},
    kafka::{
        client::describe,
        layout::Surveyor,
        wait::{LOOK_EVERY, pause},
    },
    store::StoreError,
    telemetry::{Telemetry, VERDICT_TAIL},
};

/// Threads of the runtime: handlers wait rather than compute.
const THREADS: usize = 2;

/// The stop's parts, together below the process's 9 s (the producer's own is 1.5 s).
const DRAIN: Duration = Duration::from_millis(5_000);
const FEEDS: Duration = Duration::from_millis(3_000);
const FOLLOWER: Duration = Duration::from_millis(1_500);
const TASKS: Duration = Duration::from_millis(500);

/// How long between two questions for the log's id.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Why the serve role cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Somebody else has the port.
    #[error("serve.port: {0} is in use; choose another port")]
    InUse(String),
    /// The address cannot be had.
    #[error("serve.host: cannot listen on {0} ({1}); choose an address of this machine")]
    Refused(String, io::Error),
    /// A name without a token that leads to other machines too.
    #[error("serve.host: {0} is not an address of this machine alone; set serve.token, or let serve.host be 127.0.0.1")]
    Open(SocketAddr),
    /// No thread or runtime to be had.
    #[error("serve: its threads cannot start ({0})")]
    Thread(io::Error),
    /// The producer cannot be made.
    #[error("serve: the producer cannot be made: {0}; see kafka.properties")]
    Producer(String),
    /// The database cannot be asked.
    #[error("serve: {0}")]
    Store(#[from] StoreError),
    /// The verdict topic cannot be followed.
    #[error("serve: {0}")]
    Follow(#[from] FollowError),
    /// The follower panicked.
    #[error("serve: the verdict tail's thread panicked")]
    Panicked,
}

/// The serve role, listening but not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    api: Api,
}

impl Server {
    /// Takes the port, so that a wrong one is refused before anything runs. `roles` are those of this process.
    ///
    /// # Errors
    /// The address cannot be had, or a property of Kafka's is wrong.
    pub fn bind(config: Arc<Config>, roles: Vec<&'static str>, telemetry: Telemetry) -> Result<Self, ApiError> {
        let serve = &config.serve;
        let wanted = format!("{}:{}", serve.host, serve.port);
        let listener = TcpListener::bind((serve.host.as_str(), serve.port)).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ApiError::InUse(wanted.clone()),
            _ => ApiError::Refused(wanted.clone(), error),
        })?;
        let address = listener.local_addr().map_err(ApiError::Thread)?;
        if serve.token.is_none() && !address.ip().is_loopback() {
            return Err(ApiError::Open(address));
        }
        listener.set_nonblocking(true).map_err(ApiError::Thread)?;
        descriptors::provide(serve);
        // Not ready from the first question on, also before the follower's thread says so itself.
        telemetry.health.hold(VERDICT_TAIL, Some(String::from("is not open yet")));
        let auth = Auth::new(serve.token.as_ref());
        let bearer = auth.clone();
        let feed = Service::new(&config, telemetry.clone(), Arc::new(move |headers| bearer.bearer_ok(headers)));
        let awaiting = Arc::new(Awaiting::default());
        let submitter = Submitter::new(&config, Arc::clone(&awaiting));
        let submitter = submitter.map_err(|error| ApiError::Producer(describe(&error)))?;
        let api = Api(Arc::new(Shared {
            waiting: Semaphore::new(serve.max_waiting),
            archive: Archive::new(&config.sink)?,
            latest: Arc::new(Latest::default()),
            pace: Arc::new(Pace::new(Duration::from_millis(serve.score_deadline_ms))),
            surveyed_log: OnceLock::new(),
            began: Instant::now(),
            config,
            telemetry,
            auth,
            roles,
            awaiting,
            submitter,
            feed,
        }));
        Ok(Self { listener, address, api })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is set or the verdict topic cannot be followed.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub fn run(self, stop: &AtomicBool) -> Result<(), ApiError> {
        let Self { listener, address, api } = self;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(THREADS).thread_name("serve").enable_all().build();
        let runtime = runtime.map_err(ApiError::Thread)?;
        let unfollow = Arc::new(AtomicBool::new(false));
        let (config, telemetry) = (Arc::clone(&api.config), api.telemetry.clone());
        let listeners: Vec<Arc<dyn Listener>> =
            vec![api.awaiting.clone(), api.latest.clone(), api.pace.clone(), api.feed.hub().clone()];
        let follower = Follower::start(config, telemetry, Arc::clone(&unfollow), listeners);
        ask_for_log(&api, &unfollow)?;
        tracing::info!(%address, token = api.config.serve.token.is_some(), "serve: listening");
        let drained = runtime.block_on(answer(listener, &api, stop, &follower))?;
        if !drained {
            tracing::warn!("serve: some requests were cut off at the stop");
        }
        unfollow.store(true, Ordering::Relaxed);
        let followed = ended(follower);
        api.submitter.close();
        runtime.shutdown_timeout(TASKS);
        followed
    }
}

/// Serves until the stop flag is set or the follower has ended; whether all that was under way was answered.
async fn answer(
    listener: TcpListener,
    api: &Api,
    stop: &AtomicBool,
    follower: &JoinHandle<Result<(), FollowError>>,
) -> Result<bool, ApiError> {
    let listener = tokio::net::TcpListener::from_std(listener).map_err(ApiError::Thread)?;
    let stopping = CancellationToken::new();
    let app = routes::routes(api);
    let most = api.config.serve.max_connections;
    let serving = connections::serve(listener, app, most, api.telemetry.clone(), stopping.clone(), DRAIN);
    let watching = async {
        while !stop.load(Ordering::Relaxed) && !follower.is_finished() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        api.telemetry.health.hold(health::STOPPING, Some(String::from("is stopping")));
        stopping.cancel();
        api.feed.close(FEEDS).await;
    };
    let (drained, (), ()) = tokio::join!(serving, watching, api.feed.run());
    Ok(drained)
}

/// Waits for the follower, which may sit in a question to a broker that is away: not for ever.
fn ended(follower: JoinHandle<Result<(), FollowError>>) -> Result<(), ApiError> {
    let until = Instant::now() + FOLLOWER;
    while !follower.is_finished() && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
    }
    if !follower.is_finished() {
        return Ok(());
    }
    follower.join().map_err(|_| ApiError::Panicked)?.map_err(ApiError::Follow)
}

/// Learns the log's name beside all else: only the place to fetch a late verdict needs it.
fn ask_for_log(api: &Api, stop: &Arc<AtomicBool>) -> Result<(), ApiError> {
    let (api, stop) = (api.clone(), Arc::clone(stop));
    let ask = move || {
        let Ok(surveyor) = Surveyor::new(&api.config) else { return };
        while !stop.load(Ordering::Relaxed) {
            if let Ok(layout) = surveyor.survey() {
                // Nobody else sets it.
                let _ = api.surveyed_log.set(LogId(*layout.log.as_bytes()).short());
                return;
            }
            pause(ASK_AGAIN, &stop);
        }
    };
    thread::Builder::new().name(String::from("serve-survey")).spawn(ask).map_err(ApiError::Thread)?;
    Ok(())
}
