//! Open files: connections and feeds are one each, and what the configuration allows of them must be had.
//!
//! Invariant: the process's soft limit is raised as far as it needs and the hard one lets it; what is missing then is told
//! at the start, by the settings that want it, and not when a connection is refused.

use std::io;

use crate::config::ServeConfig;

/// What the process needs besides: brokers, the database, catch-ups, files.
const OTHERS: u64 = 512;

/// Sees to it that all connections can be had, or says what is missing.
pub fn provide(serve: &ServeConfig) {
    let needed = serve.max_connections as u64 + serve.feed.clients as u64 + OTHERS;
    match raise(needed) {
        Ok(allowed) if allowed < needed => tracing::warn!(
            allowed,
            needed,
            "serve: this process may open fewer files than serve.max_connections and serve.feed_clients may need; raise \
             its limit (ulimit -Hn, LimitNOFILE=), or lower them"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "serve: the limit of open files cannot be seen or raised"),
    }
}

/// Raises the soft limit to so many, or to the hard one; what it is then.
fn raise(needed: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes into the struct it is given, which lives past the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = needed.min(limit.rlim_max);
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted;
        // SAFETY: setrlimit reads the struct it is given, which lives past the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}
