//! The WebSocket of one session: frames out together with a time limit, frames in with a size limit, and an end that
//! says why.
//!
//! Invariant: nothing here waits for a client without a limit, and no buffer grows beyond [`MAX_WRITE_BUFFER`]. It
//! knows no verdicts.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
};
use futures_util::{FutureExt, SinkExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, error::CapacityError};
use tokio_util::sync::CancellationToken;

use super::frame::{ByeReason, MAX_CLIENT_FRAME};
use crate::telemetry::FeedMetrics;

/// How long one frame may wait for room: a client that takes nothing for so long is gone, or as good as that.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a farewell may take; the rest is cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// Frames are written to the socket from so many bytes on, or when a batch ends. Little, for that much must be taken
/// within [`WRITE_PATIENCE`].
const WRITE_BUFFER: usize = 4 * 1_024;

/// What one connection may hold of frames on their way: room for the largest beside a full buffer. The largest is
/// figures with the cursor of a topic of as many partitions as are followed.
pub const MAX_WRITE_BUFFER: usize = 256 * 1_024;

/// Clients send little: the buffer is allocated for each connection at once.
const READ_BUFFER: usize = 4 * 1_024;

/// Beyond this a client's frame is not even read: the connection ends at its header.
const MAX_READ: usize = 8 * MAX_CLIENT_FRAME;

/// Sets the limits of a connection to be.
pub fn limited<F>(upgrade: WebSocketUpgrade<F>) -> WebSocketUpgrade<F> {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_READ)
        .max_frame_size(MAX_READ)
}

/// What a client let hear.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing but that it is there.
    Alive,
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary,
}

/// Why a connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The client is gone.
    Gone,
    /// The client took nothing for too long.
    TooSlow,
    /// The client's frame is too large.
    TooLarge,
    /// The process stops.
    Stopped,
}

/// One connection.
pub struct Socket {
    inner: WebSocket,
    stop: CancellationToken,
    metrics: FeedMetrics,
}

impl Socket {
    /// A connection that ends with `stop`.
    pub fn new(inner: WebSocket, stop: CancellationToken, metrics: FeedMetrics) -> Self {
        Self { inner, stop, metrics }
    }

    /// The process's stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Sends frames, each with its type, and waits until the system has taken them.
    ///
    /// # Errors
    /// The client is gone or takes nothing, or the process stops.
    pub async fn send(&mut self, frames: impl IntoIterator<Item = (&'static str, Utf8Bytes)>) -> Result<(), Broken> {
        let Self { inner, stop, metrics } = self;
        let mut count = [("verdict", 0_u64), ("stats", 0), ("gap", 0), ("hello", 0)];
        let all = async {
            for (kind, text) in frames {
                patiently(inner.feed(Message::Text(text))).await?;
                count.iter_mut().filter(|(known, _)| *known == kind).for_each(|(_, sent)| *sent += 1);
            }
            patiently(inner.flush()).await
        };
        let sent = tokio::select! {
            biased;
            // Frames first: what can be sent at once is sent also while stopping.
            sent = all => sent,
            () = stop.cancelled() => Err(Broken::Stopped),
        };
        for (kind, sent) in count.into_iter().filter(|(_, sent)| *sent > 0) {
            metrics.sent.with_label_values(&[kind]).inc_by(sent);
        }
        sent
    }

    /// Asks whether the client is there.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn ping(&mut self) -> Result<(), Broken> {
        patiently(self.inner.send(Message::Ping(Bytes::new()))).await
    }

    /// The client's next frame.
    ///
    /// # Errors
    /// The client is gone, or its frame is too large.
    pub async fn heard(&mut self) -> Result<Heard, Broken> {
        match self.inner.recv().await {
            None | Some(Ok(Message::Close(_))) => Err(Broken::Gone),
            Some(Ok(Message::Text(text))) if text.len() > MAX_CLIENT_FRAME => Err(Broken::TooLarge),
            Some(Ok(Message::Text(text))) => Ok(Heard::Text(text.as_str().to_owned())),
            Some(Ok(Message::Binary(_))) => Ok(Heard::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Heard::Alive),
            Some(Err(error)) => match error.into_inner().downcast_ref::<WsError>() {
                Some(WsError::Capacity(CapacityError::MessageTooLong { .. })) => Err(Broken::TooLarge),
                _ => Err(Broken::Gone),
            },
        }
    }

    /// The client's next frame, if it has come already.
    ///
    /// # Errors
    /// As [`Self::heard`].
    pub fn heard_already(&mut self) -> Result<Option<Heard>, Broken> {
        self.heard().now_or_never().transpose()
    }

    /// Says farewell and waits a little for the client's own.
    pub async fn close(mut self, bye: String, reason: ByeReason) {
        let frame = CloseFrame { code: reason.close_code(), reason: reason.as_str().into() };
        let farewell = async {
            let told = self.inner.feed(Message::Text(bye.into())).await;
            if told.is_ok() {
                self.metrics.sent.with_label_values(&["bye"]).inc();
                self.inner.send(Message::Close(Some(frame))).await?;
                // An end before the client has read it all would throw away what is on its way.
                while let Some(Ok(_)) = self.inner.recv().await {}
            }
            told
        };
        // A client that does not listen has heard enough.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// Waits until the system has taken it, which it does as the client takes what came before.
async fn patiently<E>(taken: impl Future<Output = Result<(), E>>) -> Result<(), Broken> {
    match timeout(WRITE_PATIENCE, taken).await {
        Ok(taken) => taken.map_err(|_| Broken::Gone),
        Err(_) => Err(Broken::TooSlow),
    }
}
