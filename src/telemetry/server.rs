//! `/livez`, `/readyz` and `/metrics` on a listener and a thread of their own, so that they answer whatever the
//! scoring threads do.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Instant,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::sync::oneshot;

use super::Telemetry;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error("telemetry.listen: {0} is in use; choose another port, or \"off\"")]
    InUse(SocketAddr),
    /// The address cannot be had.
    #[error("telemetry.listen: cannot listen on {0} ({1}); choose an address of this machine, or \"off\"")]
    Refused(SocketAddr, io::Error),
    /// No thread or runtime to be had.
    #[error("telemetry.listen: the listener's thread cannot start ({0})")]
    Thread(io::Error),
}

/// The listener; dropping it stops it.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had, or no thread.
    pub fn start(wanted: SocketAddr, telemetry: Telemetry) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(wanted).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(wanted),
            _ => ListenError::Refused(wanted, error),
        })?;
        listener.set_nonblocking(true).map_err(ListenError::Thread)?;
        let address = listener.local_addr().map_err(ListenError::Thread)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ListenError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || runtime.block_on(serve(listener, routes(telemetry), stopped));
        let thread =
            std::thread::Builder::new().name(String::from("telemetry")).spawn(serve).map_err(ListenError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, routes: Router, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "telemetry.listen: the listener cannot be used"),
    };
    tokio::select! {
        biased;
        // First, so that a stop is never starved; open connections are cut, for a scrape can be repeated.
        _ = stopped => {}
        ended = axum::serve(listener, routes) => {
            if let Err(error) = ended {
                tracing::error!(%error, "telemetry.listen: the listener ended");
            }
        }
    }
}

fn routes(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(telemetry)
}

async fn livez(State(telemetry): State<Telemetry>) -> Response {
    answer("alive", "stuck", telemetry.health.stuck(Instant::now()))
}

async fn readyz(State(telemetry): State<Telemetry>) -> Response {
    let reasons = telemetry.health.unready(Instant::now());
    answer("ready", "not ready", reasons.into_iter().map(|reason| reason.words).collect())
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], telemetry.render()).into_response()
}

fn answer(good: &str, bad: &str, reasons: Vec<String>) -> Response {
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, good) } else { (StatusCode::SERVICE_UNAVAILABLE, bad) };
    let body = json!({"status": status, "reasons": reasons}).to_string();
    (code, [(CONTENT_TYPE, "application/json")], body).into_response()
}
