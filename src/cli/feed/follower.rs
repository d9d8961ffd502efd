//! Follows one feed over as many connections as it takes, printing each verdict once.
//!
//! Invariant: a connection begins with the newest cursor, and a verdict that was printed is not printed again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rand::Rng;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest,
        http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION},
    },
};

use super::escaped;
use crate::{
    cli::{CliError, Out, verdicts::show::Shown},
    config::Secret,
};

/// How often signals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The server speaks every second: after so long without a word the connection is dead.
const SILENCE: Duration = Duration::from_secs(30);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The pause before connecting anew, doubling from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What this command reads of a frame.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    cursor: Option<&'a str>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    offset: i64,
    #[serde(borrow, default)]
    verdict: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reason: Option<&'a str>,
    #[serde(default)]
    detail: Option<String>,
}

/// How a connection ended.
enum Ended {
    /// A signal.
    Stopped,
    /// Connecting anew may help.
    Lost(String),
    /// It would not.
    Refused(String),
}

/// What is kept between connections.
pub(super) struct Follower {
    /// The address with the filters.
    pub(super) url: String,
    /// What to show the server.
    pub(super) token: Option<Secret>,
    /// Whether frames are printed as they are.
    pub(super) json: bool,
    /// The newest cursor.
    pub(super) cursor: Option<String>,
    /// By partition, the offset printed last.
    seen: HashMap<i32, i64>,
    coloured: bool,
    pause: Duration,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// One that has printed nothing yet.
    pub(super) fn new(
        url: String,
        token: Option<Secret>,
        json: bool,
        cursor: Option<String>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let coloured = Out::is_coloured();
        Self { url, token, json, cursor, seen: HashMap::new(), coloured, pause: BACKOFF.0, stop }
    }

    /// Follows until a signal.
    ///
    /// # Errors
    /// The server refuses, or standard output is closed.
    pub(super) async fn run(&mut self, out: &mut Out) -> Result<(), CliError> {
        loop {
            let ended = match self.connect().await {
                Ok(socket) => self.follow(socket, out).await?,
                Err(ended) => ended,
            };
            match ended {
                Ended::Stopped => return Ok(()),
                Ended::Refused(why) => return Err(CliError::Failed(why)),
                Ended::Lost(why) => eprintln!("sentra: {why}; connecting again"),
            }
            let until = Instant::now() + rand::rng().random_range(self.pause / 2..=self.pause);
            while Instant::now() < until && !self.stopped() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.pause = (self.pause * 2).min(BACKOFF.1);
            if self.stopped() {
                return Ok(());
            }
        }
    }

    fn request(&self) -> Result<Request<()>, Ended> {
        let refused = |why: &dyn std::fmt::Display| Ended::Refused(why.to_string());
        let cursor = self.cursor.as_deref().map(|cursor| format!("&cursor={}", escaped(cursor))).unwrap_or_default();
        let mut request = format!("{}{cursor}", self.url).into_client_request().map_err(|error| refused(&error))?;
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| refused(&"the token has characters that no header may hold"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Socket, Ended> {
        let at = self.url.split('?').next().unwrap_or_default();
        let connecting = timeout(CONNECT, connect_async(self.request()?));
        let connected = tokio::select! {
            biased;
            () = self.signal() => return Err(Ended::Stopped),
            connected = connecting => connected,
        };
        match connected {
            Err(_) => Err(Ended::Lost(format!("{at} does not answer"))),
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(WsError::Http(response))) => {
                let detail = response.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
                let detail: serde_json::Value = detail.unwrap_or_default();
                let why = format!("{at}: {}: {}", response.status(), detail["detail"].as_str().unwrap_or("refused"));
                let later = response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS;
                Err(if later { Ended::Lost(why) } else { Ended::Refused(why) })
            }
            // What speaks no TLS, or no TLS that is trusted, will not learn it.
            Ok(Err(WsError::Io(error))) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(Ended::Refused(format!("{at}: {error}; is it ws:// or wss://?")))
            }
            Ok(Err(WsError::Io(error))) => Err(Ended::Lost(format!("{at}: {error}"))),
            Ok(Err(error)) => Err(Ended::Refused(format!("{at}: {error}"))),
        }
    }

    /// Prints what comes until the connection ends.
    async fn follow(&mut self, mut socket: Socket, out: &mut Out) -> Result<Ended, CliError> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.signal() => return Ok(Ended::Stopped),
                next = timeout(SILENCE, socket.next()) => next,
            };
            match next {
                Err(_) => return Ok(Ended::Lost(String::from("the server is silent"))),
                Ok(Some(Ok(Message::Text(text)))) => {
                    if let Some(ended) = self.frame(&text, out)? {
                        return Ok(ended);
                    }
                }
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => {
                    return Ok(Ended::Lost(String::from("the connection was lost")));
                }
                Ok(Some(Ok(_))) => {}
            }
        }
    }

    fn frame(&mut self, text: &str, out: &mut Out) -> Result<Option<Ended>, CliError> {
        // A frame that cannot be read is of a later version: it is passed on, or passed over.
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            return if self.json { out.line(text).map(|()| None) } else { Ok(None) };
        };
        if let (Some(partition), "verdict") = (frame.partition, frame.kind) {
            let last = self.seen.entry(partition).or_insert(-1);
            if frame.offset <= *last {
                return Ok(None);
            }
            *last = frame.offset;
        }
        if let (Some(cursor), false) = (frame.cursor, frame.kind == "gap") {
            self.cursor = Some(cursor.to_owned());
        }
        if frame.kind == "hello" {
            self.pause = BACKOFF.0;
        }
        if self.json {
            out.line(text)?;
        } else {
            self.show(&frame, out)?;
        }
        if matches!(frame.kind, "verdict" | "stats") || self.json {
            out.flush()?;
        }
        Ok(if frame.kind == "bye" { Some(self.bye(&frame)) } else { None })
    }

    fn show(&self, frame: &Frame<'_>, out: &mut Out) -> Result<(), CliError> {
        match (frame.kind, frame.verdict) {
            ("verdict", Some(verdict)) => out.line(Shown::parse(verdict.get().as_bytes()).line(self.coloured))?,
            ("gap", _) => eprintln!("sentra: gap ({}): verdicts are missing here", frame.reason.unwrap_or("unknown")),
            _ => {}
        }
        Ok(())
    }

    fn bye(&mut self, frame: &Frame<'_>) -> Ended {
        let why = frame.detail.clone().unwrap_or_else(|| String::from("the server closed"));
        match frame.reason {
            Some("bad_request" | "bad_frame" | "too_large") => Ended::Refused(why),
            Some("resync_required") => {
                self.cursor = None;
                self.seen.clear();
                Ended::Lost(why)
            }
            _ => Ended::Lost(why),
        }
    }

    async fn signal(&self) {
        while !self.stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
