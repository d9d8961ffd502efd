//! The feed's HTTP side: `GET /v1/feed` becomes a session, `POST /v1/feed/tickets` gives a browser its ticket.
//!
//! Invariant: nobody comes in without the bearer token or a ticket, no page of a foreign origin with either, and no
//! more clients than the setting says. What a client asks wrongly for is told over the WebSocket itself, where a
//! browser can see it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{
        Query, State,
        rejection::QueryRejection,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    catch_up::Topic,
    hub::Hub,
    origin::Origins,
    problem,
    session::{self, Wish},
    socket,
    ticket::{GOOD_FOR, Tickets},
};
use crate::{config::Config, problem::Problem, telemetry::Telemetry};

/// Who may come in: true where the headers bear the token, or none is configured.
pub type Bearer = Arc<dyn Fn(&HeaderMap) -> bool + Send + Sync>;

/// The parameters of `/v1/feed`.
const PARAMETERS: [&str; 6] = ["cursor", "level", "min_score", "institution", "phone", "ticket"];

/// The live feed of one serve process.
pub struct Service {
    hub: Arc<Hub>,
    tickets: Tickets,
    bearer: Bearer,
    origins: Origins,
    most_clients: usize,
    ping: Duration,
    topic: Topic,
    catch_ups: Arc<Semaphore>,
    stop: CancellationToken,
    sessions: TaskTracker,
}

impl Service {
    /// The feed as configured; `bearer` judges the `Authorization` header. Give [`Service::hub`] to the follower, let
    /// [`Service::run`] run, and mount [`Service::routes`] outside of any other authentication.
    pub fn new(config: &Config, telemetry: Telemetry, bearer: Bearer) -> Arc<Self> {
        let hub = Hub::new(config.serve.feed.backlog, config.rules.calling_code.clone(), telemetry);
        Arc::new(Self {
            hub: Arc::new(hub),
            tickets: Tickets::default(),
            bearer,
            origins: Origins::new(&config.serve.cors_origins),
            most_clients: config.serve.feed.clients,
            ping: config.serve.feed.ping,
            topic: Topic { kafka: Arc::new(config.kafka.clone()), name: config.topics.verdicts.clone() },
            catch_ups: Arc::new(Semaphore::new(config.serve.feed.catch_ups)),
            stop: CancellationToken::new(),
            sessions: TaskTracker::new(),
        })
    }

    /// Wakes the sessions and tells the figures until [`Service::close`].
    pub async fn run(&self) {
        self.hub.run(self.stop.clone()).await;
    }

    /// The hub: a listener of the follower.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Cancelled by [`Service::close`].
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Says farewell to all clients and waits for them, at most so long.
    pub async fn close(&self, within: Duration) {
        self.stop.cancel();
        self.sessions.close();
        // What is left then is cut with the process.
        let _ = tokio::time::timeout(within, self.sessions.wait()).await;
    }

    /// The routes.
    pub fn routes<S: Clone + Send + Sync + 'static>(self: &Arc<Self>) -> Router<S> {
        Router::new().route("/v1/feed", get(feed)).route("/v1/feed/tickets", post(tickets)).with_state(Arc::clone(self))
    }

    pub(super) fn ping(&self) -> Duration {
        self.ping
    }

    pub(super) fn topic(&self) -> Topic {
        self.topic.clone()
    }

    pub(super) fn catch_ups(&self) -> Arc<Semaphore> {
        Arc::clone(&self.catch_ups)
    }

    fn wish(&self, query: Vec<(String, String)>) -> Result<Wish, String> {
        let mut wish = Wish::default();
        for (name, value) in query {
            let filters =
                wish.filter.parameter(&name, &value, self.hub.calling_code()).map_err(|error| error.to_string())?;
            match name.as_str() {
                _ if filters => {}
                "ticket" => {}
                "cursor" => wish.cursor = Some(value).filter(|cursor| !cursor.is_empty()),
                other => {
                    let other: String = other.chars().take(32).collect();
                    return Err(format!("{other:?} is no parameter; there are {}", PARAMETERS.join(", ")));
                }
            }
        }
        Ok(wish)
    }

    fn refuse(&self, problem: Problem) -> Response {
        self.hub.telemetry().metrics.feed.refused.with_label_values(&[problem.code()]).inc();
        problem.into_response()
    }
}

async fn feed(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return service.refuse(problem::no_upgrade(&rejection)),
    };
    if let Err(why) = service.origins.check(&headers) {
        return service.refuse(problem::refused(StatusCode::FORBIDDEN, "foreign-origin", why));
    }
    let (query, unread) = match query {
        Ok(Query(query)) => (query, None),
        Err(rejection) => (Vec::new(), Some(rejection.body_text())),
    };
    let ticket = query.iter().find_map(|(name, value)| (name == "ticket").then_some(value));
    let ticket = ticket.is_some_and(|ticket| service.tickets.redeem(ticket, Instant::now()));
    if !ticket && !(service.bearer)(&headers) {
        return service.refuse(problem::unauthorized(
            "send Authorization: Bearer with the token of serve.token, or ?ticket= with a new one of \
             POST /v1/feed/tickets, which is good once and for 30 s",
        ));
    }
    let Some(client) = service.hub.enter(service.most_clients).filter(|_| !service.stop.is_cancelled()) else {
        let detail = "as many clients as serve.feed_clients allows; come back later";
        return service.refuse(problem::later("feed-full", detail, 5));
    };
    let wish = unread.map_or_else(|| service.wish(query), Err);
    let tracked = service.sessions.token();
    socket::limited(upgrade).on_upgrade(move |socket| async move {
        let (_client, _tracked) = (client, tracked);
        session::serve(&service, socket, wish).await;
    })
}

async fn tickets(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    if !(service.bearer)(&headers) {
        let detail = "send Authorization: Bearer with the token of serve.token";
        return service.refuse(problem::unauthorized(detail));
    }
    match service.tickets.issue(Instant::now()) {
        Ok(ticket) => {
            let body = Json(json!({"ticket": ticket, "expires_in_s": GOOD_FOR.as_secs()}));
            (StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(error) => service.refuse(problem::later("no-ticket", error.to_string(), 30)),
    }
}
