//! The numbers of the live feed.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::metrics::{added, counter, counters};

/// The live feed's numbers; labels are frame types and reasons of closing, both closed sets.
#[derive(Clone)]
pub struct FeedMetrics {
    /// Clients connected.
    pub clients: IntGauge,
    /// Bytes of frames kept for all clients.
    pub backlog_bytes: IntGauge,
    /// Frames handed to sockets, by type.
    pub sent: IntCounterVec,
    /// Verdicts that slow clients were not sent, before their filters.
    pub left_out: IntCounter,
    /// Times that a client fell back to alerts.
    pub lapses: IntCounter,
    /// Sessions ended by the server, by reason.
    pub closed: IntCounterVec,
    /// Requests that were refused before a session began, by reason.
    pub refused: IntCounterVec,
    /// Catch-ups begun.
    pub catch_ups: IntCounter,
    /// Catch-ups under way.
    pub catching_up: IntGauge,
}

impl FeedMetrics {
    pub(super) fn new(to: &Registry) -> Self {
        let gauge = |name, help| added(to, IntGauge::new(name, help));
        Self {
            clients: gauge("sentra_feed_clients", "Clients of the live feed"),
            backlog_bytes: gauge("sentra_feed_backlog_bytes", "Frames kept for all clients, bytes"),
            sent: counters(to, "sentra_feed_frames_sent_total", "Frames handed to clients' sockets, by type", "type"),
            left_out: counter(to, "sentra_feed_left_out_total", "Verdicts that slow clients were not sent"),
            lapses: counter(to, "sentra_feed_lapses_total", "Times that a slow client fell back to alerts"),
            closed: counters(to, "sentra_feed_closed_total", "Sessions that the server closed, by reason", "reason"),
            refused: counters(
                to,
                "sentra_feed_refused_total",
                "Requests refused before a session, by reason",
                "reason",
            ),
            catch_ups: counter(to, "sentra_feed_catch_ups_total", "Sessions that read the topic to catch up"),
            catching_up: gauge("sentra_feed_catching_up", "Sessions that are catching up"),
        }
    }
}
