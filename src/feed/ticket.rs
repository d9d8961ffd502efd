//! Tickets: what a browser, which cannot send an `Authorization` header with a WebSocket, shows in its stead. Whoever
//! has the bearer token is given one; it opens one connection within half a minute.
//!
//! Invariant: a ticket is good once, and never after its time; the store is bounded. Time is an argument.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore, rngs::OsRng};

/// How long a ticket is good.
pub const GOOD_FOR: Duration = Duration::from_secs(30);

/// Tickets outstanding at most: far beyond the clients of one process.
const MOST: usize = 8_192;

const TICKET_BYTES: usize = 32;

/// The tickets that are out.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<[u8; TICKET_BYTES], Instant>>);

/// Why no ticket is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// Too many are out.
    #[error("too many tickets are out; each is good for 30 s, come back then")]
    TooMany,
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl Tickets {
    /// A new ticket.
    ///
    /// # Errors
    /// Too many are out, or there is no randomness.
    pub fn issue(&self, now: Instant) -> Result<String, NoTicket> {
        let mut ticket = [0; TICKET_BYTES];
        OsRng.try_fill_bytes(&mut ticket).map_err(|_| NoTicket::NoRandomness)?;
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if out.len() >= MOST {
            out.retain(|_, until| *until >= now);
        }
        if out.len() >= MOST {
            return Err(NoTicket::TooMany);
        }
        out.insert(ticket, now + GOOD_FOR);
        Ok(URL_SAFE_NO_PAD.encode(ticket))
    }

    /// Takes a ticket back; true where it was good.
    pub fn redeem(&self, ticket: &str, now: Instant) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(ticket) else { return false };
        let Ok(ticket) = <[u8; TICKET_BYTES]>::try_from(bytes) else { return false };
        // 256 random bits: finding one is hopeless, so it does not matter what the time of a look-up tells.
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        until.is_some_and(|until| now <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_once() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let (one, other) = (tickets.issue(now).expect("room"), tickets.issue(now).expect("room"));
        assert_ne!(one, other);
        assert!(one.len() >= 43, "256 bits");
        assert!(tickets.redeem(&one, now));
        assert!(!tickets.redeem(&one, now));
        assert!(tickets.redeem(&other, now + GOOD_FOR));
        for wrong in ["", "x", "ü", &"A".repeat(43), &"A".repeat(4_000)] {
            assert!(!tickets.redeem(wrong, now));
        }
    }

    #[test]
    fn a_ticket_ends_with_its_time() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(now).expect("room");
        assert!(!tickets.redeem(&ticket, now + GOOD_FOR + Duration::from_millis(1)));
        assert!(!tickets.redeem(&ticket, now), "it is gone once it was tried");
    }

    #[test]
    fn so_many_are_out_and_no_more_until_some_have_ended() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..MOST {
            tickets.issue(now).expect("room");
        }
        assert_eq!(tickets.issue(now), Err(NoTicket::TooMany));
        assert!(tickets.issue(now + GOOD_FOR + Duration::from_secs(1)).is_ok());
    }
}
