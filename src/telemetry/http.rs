//! The numbers of the HTTP interface.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::metrics::{added, counter, histograms};

/// Seconds; the service levels' edges, with a request's longest time above.
const BUCKETS: &[f64] = &[0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.200, 0.5, 1.0, 5.0, 15.0];

/// The HTTP interface's numbers; labels are routes as they are declared, and status codes.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    /// Requests under way.
    pub in_flight: IntGauge,
    /// Open connections.
    pub connections: IntGauge,
    /// Connections closed for being too many.
    pub refused: IntCounter,
}

impl HttpMetrics {
    pub(super) fn new(to: &Registry) -> Self {
        let gauge = |name, help| added(to, IntGauge::new(name, help));
        let requests = Opts::new("sentra_http_requests_total", "Requests by route and status");
        let seconds = ("sentra_http_request_seconds", "Time from a request's head to its answer");
        let refused = ("sentra_http_refused_connections_total", "Connections closed for being too many");
        Self {
            requests: added(to, IntCounterVec::new(requests, &["route", "status"])),
            seconds: histograms(to, seconds.0, seconds.1, BUCKETS, "route"),
            in_flight: gauge("sentra_http_in_flight", "Requests under way"),
            connections: gauge("sentra_http_connections", "Open connections"),
            refused: counter(to, refused.0, refused.1),
        }
    }

    /// A request was answered; `route` as it is declared, never as it was asked for.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }
}
