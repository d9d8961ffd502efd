//! One client's session: hello, what it missed, then the live stream until it leaves, is too slow, or the process
//! stops.
//!
//! Invariant: a session holds one place in the shared backlog and at most one batch of frames on their way; whatever
//! waits for the client has a time limit. Each end that is not the client's own is told by a `bye` frame with a cursor
//! and a close code. Phone numbers are in frames, and never in a log line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{Utf8Bytes, WebSocket};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior},
};

use super::{
    attach::attach,
    filter::Filter,
    frame::{self, ByeReason, Frame, FrameError, GapReason, SCHEMA_VERSION},
    hub::Hub,
    item::{Body, Item, stats_text},
    place::{Place, Took},
    service::Service,
    socket::{Broken, Heard, Socket},
};

/// Frames looked at together.
const BATCH: usize = 128;

/// What a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where it left off.
    pub cursor: Option<String>,
    /// What it wants to see.
    pub filter: Filter,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client left, or its connection did.
    Gone,
    /// The server says so, in words.
    Bye(ByeReason, String),
}

/// One client.
pub(super) struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) socket: Socket,
    pub(super) filter: Filter,
    /// Where it stands in the live stream, once it has joined.
    pub(super) place: Option<Place>,
    /// Its cursor until then.
    pub(super) cursor: Option<Arc<str>>,
    head: watch::Receiver<u64>,
    /// Between two questions whether the client is there.
    ping_every: Duration,
    heard_at: Instant,
}

/// Serves one client to its end.
pub(super) async fn serve(service: &Service, socket: WebSocket, wish: Result<Wish, String>) {
    let hub = Arc::clone(service.hub());
    let metrics = hub.telemetry().metrics.feed.clone();
    let socket = Socket::new(socket, service.stop().clone(), metrics.clone());
    let (head, heard_at, ping_every) = (hub.watch(), Instant::now(), service.ping());
    let filter = Filter::default();
    let mut session = Session { hub, socket, filter, place: None, cursor: None, head, ping_every, heard_at };
    let end = match wish {
        Ok(wish) => session.run(service, wish).await,
        Err(why) => End::Bye(ByeReason::BadRequest, why),
    };
    let End::Bye(reason, detail) = end else { return };
    tracing::debug!(reason = reason.as_str(), "a feed session is closed");
    metrics.closed.with_label_values(&[reason.as_str()]).inc();
    let cursor = session.cursor();
    let bye = Frame::Bye { reason, detail: &detail, cursor: cursor.as_deref() }.text();
    session.socket.close(bye, reason).await;
}

impl Session {
    async fn run(&mut self, service: &Service, wish: Wish) -> End {
        self.filter = wish.filter;
        match attach(self, service, wish.cursor).await {
            Ok(place) => self.live(place).await,
            Err(end) => end,
        }
    }

    /// The live stream.
    async fn live(&mut self, mut place: Place) -> End {
        place.filter(self.filter.is_alerts_only(), &self.hub.backlog());
        let mut ping = tokio::time::interval(self.ping_every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            // Until it is sent, what is taken here counts as not yet seen.
            self.place = Some(place.clone());
            self.head.mark_unchanged();
            let took = place.take(&self.hub.backlog(), BATCH, Instant::now());
            let waits = matches!(took, Took::Nothing);
            if let Err(end) = self.send(took, &place).await {
                return end;
            }
            self.place = Some(place.clone());
            let heard = if waits { self.wait(&mut ping).await } else { self.glance() };
            match heard {
                Ok(None) => {}
                Ok(Some(filter)) => {
                    place.filter(filter.is_alerts_only(), &self.hub.backlog());
                    self.filter = filter;
                    self.place = Some(place.clone());
                    if let Err(broken) = self.hello(true).await {
                        return broken.into();
                    }
                }
                Err(end) => return end,
            }
        }
    }

    /// Sends what the filter wants of what was taken.
    async fn send(&mut self, took: Took, place: &Place) -> Result<(), End> {
        match took {
            Took::Nothing => Ok(()),
            Took::Items(items) => {
                let wanted = items.iter().filter_map(|item| self.wanted(item, place));
                let wanted: Vec<_> = wanted.collect();
                if wanted.is_empty() { Ok(()) } else { Ok(self.socket.send(wanted).await?) }
            }
            Took::CaughtUp { left_out, cursor } => {
                self.hub.telemetry().metrics.feed.left_out.inc_by(left_out);
                let (reason, left_out) = (GapReason::Slow, Some(left_out));
                let gap = Frame::Gap { reason, partition: None, left_out, cursor: Some(&cursor) }.text();
                Ok(self.socket.send([("gap", gap.into())]).await?)
            }
            Took::TooSlow => Err(Broken::TooSlow.into()),
        }
    }

    /// An item's frame, where it is for this client.
    fn wanted(&self, item: &Item, place: &Place) -> Option<(&'static str, Utf8Bytes)> {
        match &item.body {
            Body::Verdict(verdict) => {
                let (partition, offset) = verdict.place();
                let news = place.is_news(partition, offset);
                let wanted = news && self.filter.wants(verdict.tags(self.hub.calling_code()));
                if wanted { Some(("verdict", verdict.text()?)) } else { None }
            }
            Body::Stats { stats, text, .. } => {
                let lapsed = place.lapsed().map(|cursor| stats_text(stats, cursor));
                Some(("stats", lapsed.unwrap_or_else(|| text.clone())))
            }
            Body::Gap(text) => Some(("gap", text.clone())),
        }
    }

    /// Waits for something new, for the client, or for the time to ask for it.
    async fn wait(&mut self, ping: &mut Interval) -> Result<Option<Filter>, End> {
        let stop = self.socket.stop().clone();
        tokio::select! {
            biased;
            // A stop first; the client's own frames before the stream, which never rests.
            () = stop.cancelled() => Err(Broken::Stopped.into()),
            heard = self.socket.heard() => self.understand(heard?),
            _ = ping.tick() => {
                // Three pings, and some time for the last one's answer.
                if self.heard_at.elapsed() > self.ping_every * 13 / 4 {
                    return Err(End::Bye(ByeReason::Idle, String::from("no pong came; reconnect with the cursor")));
                }
                self.socket.ping().await?;
                Ok(None)
            }
            // The hub lives as long as its sessions.
            _ = self.head.changed() => Ok(None),
        }
    }

    /// Hears what the client has sent already, without waiting.
    pub(super) fn glance(&mut self) -> Result<Option<Filter>, End> {
        if self.socket.stop().is_cancelled() {
            return Err(Broken::Stopped.into());
        }
        match self.socket.heard_already()? {
            Some(heard) => self.understand(heard),
            None => Ok(None),
        }
    }

    /// What the client's frame asks for.
    pub(super) fn understand(&mut self, heard: Heard) -> Result<Option<Filter>, End> {
        self.heard_at = Instant::now();
        let refused = |error: FrameError| End::Bye(ByeReason::BadFrame, error.to_string());
        match heard {
            Heard::Alive => Ok(None),
            Heard::Binary => Err(refused(FrameError::Binary)),
            Heard::Text(text) => frame::read(&text, self.hub.calling_code()).map(Some).map_err(refused),
        }
    }

    /// Greets, or tells the filter that holds from here on.
    pub(super) async fn hello(&mut self, resumed: bool) -> Result<(), Broken> {
        let cursor = self.cursor().unwrap_or_default();
        let partitions = self.hub.backlog().positions().map_or(0, |positions| positions.partitions.len());
        let hello = Frame::Hello {
            schema_version: SCHEMA_VERSION,
            server: concat!("sentra/", env!("CARGO_PKG_VERSION")),
            partitions,
            resumed,
            ping_s: self.ping_every.as_secs(),
            filter: &self.filter,
            cursor: &cursor,
        };
        let text = hello.text();
        self.socket.send([("hello", text.into())]).await
    }

    /// The cursor after all that was sent.
    pub(super) fn cursor(&self) -> Option<Arc<str>> {
        let place = self.place.as_ref().map(|place| place.cursor(&self.hub.backlog()));
        place.or_else(|| self.cursor.clone())
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        let bye = |reason, detail: &str| Self::Bye(reason, detail.to_owned());
        match broken {
            Broken::Gone => Self::Gone,
            Broken::TooSlow => bye(ByeReason::Slow, "the client does not keep up; reconnect with the cursor"),
            Broken::TooLarge => bye(ByeReason::TooLarge, "a client's frame has at most 4096 bytes"),
            Broken::Stopped => bye(ByeReason::Shutdown, "this server stops; reconnect with the cursor"),
        }
    }
}
