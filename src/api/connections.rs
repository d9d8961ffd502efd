//! Connections: accepted up to a number, each bounded in the time and size of its requests' heads, and let go in order
//! at the stop: nothing new is accepted, what is under way is answered, idle ones are closed.
//!
//! Invariant: a client that sends slowly, or nothing, holds a connection for [`HEAD_TIMEOUT`] at most. Not a place for
//! anything about requests: that is `observe`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::telemetry::Telemetry;

/// How long a connection may take to send a request's head, the time between two requests included. Balancers that
/// keep idle connections should keep them shorter.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of a request, in bytes: room for a cursor of as many partitions as the feed follows.
const MAX_HEAD: usize = 32 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What the kernel holds at most of answers on their way to one client, in bytes (Linux doubles it). It tells of room
/// once a third of that was taken: a feed's client that takes so much within its patience counts as there.
const SEND_BUFFER: usize = 32 * 1024;

/// The pause after the system refused to accept (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is told to a connection too many, before it is closed.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Accepts and serves until `stop`, then waits for what is under way; false where it was not done within `drain`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    most: usize,
    telemetry: Telemetry,
    stop: CancellationToken,
    drain: Duration,
) -> bool {
    let (slots, tracker) = (Arc::new(Semaphore::new(most)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            biased;
            // First, so that a stream of connections cannot starve the stop.
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => {
                    telemetry.metrics.http.connections.inc();
                    tracker.spawn(connection(stream, app.clone(), stop.clone(), slot, telemetry.clone()));
                }
                Err(_) => refuse(&stream, &telemetry),
            },
            Err(error) => {
                tracing::warn!(%error, "serve: a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    let began = Instant::now();
    let done = tokio::time::timeout(drain, tracker.wait()).await.is_ok();
    tracing::debug!(done, took_ms = began.elapsed().as_millis() as u64, "serve: connections let go");
    done
}

async fn connection(
    stream: TcpStream,
    app: Router,
    stop: CancellationToken,
    slot: OwnedSemaphorePermit,
    telemetry: Telemetry,
) {
    // Answers are small and awaited: none should wait for an acknowledgement of the one before. A refusal costs time only.
    let _ = stream.set_nodelay(true);
    // What waits in the kernel for clients that do not read is memory as well.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, or spoke no HTTP.
        tracing::debug!(%error, "serve: a connection ended");
    }
    drop(slot);
    telemetry.metrics.http.connections.dec();
}

/// Says no without waiting; whether it is heard does not matter.
fn refuse(stream: &TcpStream, telemetry: &Telemetry) {
    telemetry.metrics.http.refused.inc();
    let _ = stream.try_write(TOO_MANY);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::MOST_PARTITIONS,
        kafka::{
            tail::{Position, Positions},
            topic_id::TopicId,
        },
    };

    #[test]
    fn the_longest_cursor_fits_a_requests_head() {
        // 2^48 verdicts in each partition, and offsets of which none is near another.
        let next = 1_i64 << 48;
        let position = |partition| Position { partition, next: next - 1, epoch: Some(0), last: Some(-1) };
        let partitions = (0..MOST_PARTITIONS as i32).map(position).collect();
        let topic = TopicId::from_bytes([0xff; 16]).expect("not zero");
        let cursor = Positions { topic, log: Some([0xff; 4]), partitions }.cursor();
        assert!(cursor.len() + 2_048 <= MAX_HEAD, "{} characters, and 2 KiB of other headers", cursor.len());
    }
}
