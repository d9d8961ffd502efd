//! How a session joins the live stream: now, from the backlog where its cursor leads there, or after catching up from
//! the topic.
//!
//! Invariant: between a cursor and the place in the stream nothing is lost and nothing told twice; where that cannot
//! be, the client is told so and begins anew.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{interval, timeout, timeout_at},
};

use super::{
    backlog::Join,
    catch_up::{self, Caught},
    frame::{ByeReason, Frame, GapReason},
    item::stats_text,
    place::Place,
    service::Service,
    session::{End, Session},
    socket::Broken,
};
use crate::kafka::tail::Positions;

/// How long a session waits for its turn to catch up.
const TURN: Duration = Duration::from_secs(10);

/// A catch-up that takes longer ends with a cursor, so that others have their turn.
const LONGEST: Duration = Duration::from_secs(600);

/// What is told of a cursor that is none.
const NO_CURSOR: &str =
    "cursor: this is none, or a part of one is missing; give the last one you got, whole, or none to begin now";

/// How often figures are told on the way.
const SECOND: Duration = Duration::from_secs(1);

/// Frames sent together.
const BATCH: usize = 64;

/// Brings a session to its place in the live stream.
pub(super) async fn attach(session: &mut Session, service: &Service, cursor: Option<String>) -> Result<Place, End> {
    let Some(cursor) = cursor else {
        let place = now(session)?;
        session.place = Some(place.clone());
        session.hello(false).await?;
        return Ok(place);
    };
    let positions = match Positions::parse(&cursor) {
        Ok(positions) => positions,
        Err(_) => return Err(End::Bye(ByeReason::BadRequest, String::from(NO_CURSOR))),
    };
    session.cursor = Some(Arc::from(cursor.trim()));
    let join = session.hub.backlog().join(&positions, false);
    match join {
        Join::At(seq) => {
            session.hello(true).await?;
            Ok(place(seq, positions))
        }
        Join::Closed => Err(closed()),
        Join::Foreign => Err(resync("the cursor is of another topic or log")),
        Join::Behind => {
            session.hello(true).await?;
            catch_up(session, service, positions).await
        }
    }
}

/// At the stream's end.
fn now(session: &Session) -> Result<Place, End> {
    let backlog = session.hub.backlog();
    let positions = backlog.positions().ok_or_else(closed)?;
    Ok(Place::new(backlog.next(), Arc::from(positions.cursor()), Vec::new()))
}

fn place(seq: u64, positions: Positions) -> Place {
    Place::new(seq, Arc::from(positions.cursor()), positions.partitions)
}

/// Sends what the topic has between the cursor and the backlog.
async fn catch_up(session: &mut Session, service: &Service, mut positions: Positions) -> Result<Place, End> {
    let permit = Arc::new(turn(session, service, &positions).await?);
    let metrics = session.hub.telemetry().metrics.feed.clone();
    metrics.catch_ups.inc();
    let until = Instant::now() + LONGEST;
    loop {
        let caught = catch_up::start(service.topic(), &session.hub, positions.clone(), Arc::clone(&permit));
        positions = read(session, positions, caught, until).await?;
        // The last frames may have taken the client so long that the backlog went on.
        if let Join::At(seq) = session.hub.backlog().join(&positions, true) {
            return Ok(place(seq, positions));
        }
    }
}

/// Waits for a turn, and lets the client hear meanwhile that somebody is there.
async fn turn(session: &mut Session, service: &Service, at: &Positions) -> Result<OwnedSemaphorePermit, End> {
    let (stop, cursor) = (session.socket.stop().clone(), at.cursor());
    let mut permit = pin!(timeout(TURN, service.catch_ups().acquire_owned()));
    let mut second = interval(SECOND);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Broken::Stopped.into()),
            permit = &mut permit => {
                let busy = "many clients are catching up; reconnect with the cursor";
                return permit.ok().and_then(Result::ok).ok_or_else(|| End::Bye(ByeReason::Busy, busy.to_owned()));
            }
            _ = second.tick() => {
                session.socket.send([("stats", stats_text(&session.hub.stats(false), &cursor))]).await?;
            }
        }
    }
}

/// Sends what a catch-up reads; returns the positions at which it can join.
async fn read(
    session: &mut Session,
    mut at: Positions,
    mut caught: mpsc::Receiver<Caught>,
    until: Instant,
) -> Result<Positions, End> {
    let mut second = interval(SECOND);
    let stop = session.socket.stop().clone();
    loop {
        let mut frames = Vec::new();
        let mut joined = None;
        tokio::select! {
            biased;
            // A stop first; the client's frames and the figures are rare; verdicts are always there.
            () = stop.cancelled() => return Err(Broken::Stopped.into()),
            heard = session.socket.heard() => {
                if let Some(filter) = session.understand(heard?)? {
                    session.filter = filter;
                    session.hello(true).await?;
                }
            }
            _ = second.tick() => {
                frames.push(("stats", stats_text(&session.hub.stats(false), &at.cursor())));
                if Instant::now() > until {
                    return Err(too_long());
                }
            }
            next = caught.recv() => {
                let mut next = next.ok_or_else(|| End::Bye(ByeReason::Busy, String::from("catching up ended")))?;
                loop {
                    match next {
                        Caught::Verdict(tags, text) => {
                            tags.pass(&mut at);
                            if session.filter.wants(&tags) {
                                frames.push(("verdict", text));
                            }
                        }
                        Caught::Gap(partition) => {
                            let gap = Frame::Gap {
                                reason: GapReason::Missing, partition: Some(partition), left_out: None, cursor: None,
                            };
                            frames.push(("gap", gap.text().into()));
                        }
                        Caught::Joined(positions) => joined = Some(positions),
                        Caught::Lost(error) => return Err(resync(&error.to_string())),
                        Caught::Failed(error) => return Err(End::Bye(ByeReason::Busy, error.to_string())),
                    }
                    if frames.len() >= BATCH || joined.is_some() {
                        break;
                    }
                    let Ok(another) = caught.try_recv() else { break };
                    next = another;
                }
            }
        }
        if !frames.is_empty() {
            // A slow client has its time for each frame: all of them together must not hold others' turn for ever.
            timeout_at(until.into(), session.socket.send(frames)).await.map_err(|_| too_long())??;
        }
        session.cursor = Some(Arc::from(at.cursor()));
        if let Some(joined) = joined {
            return Ok(joined);
        }
    }
}

fn too_long() -> End {
    End::Bye(ByeReason::Slow, String::from("catching up takes long; reconnect with the cursor"))
}

fn closed() -> End {
    End::Bye(ByeReason::Busy, String::from("the verdict topic is not open yet; come back in a moment"))
}

fn resync(why: &str) -> End {
    End::Bye(ByeReason::ResyncRequired, format!("{why}; begin anew without a cursor"))
}
