//! Which pages may open the feed. A browser lets any page connect anywhere over WebSocket and only says which page it
//! was, in `Origin`; programs send none.
//!
//! Invariant: a page passes if its origin is in the allow-list, or if it came from this very host. That a foreign name
//! may have been pointed here is no danger: such a page has neither token nor ticket, and where none is wanted, the
//! bearer check answers to this machine's own names alone. Pure.

use axum::http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
};

/// The allow-list.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// From a comma-separated list such as `https://console.example.com`.
    pub fn new(list: &[String]) -> Self {
        Self(list.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect())
    }

    /// Whether the page may connect; programs, which name none, may.
    ///
    /// # Errors
    /// Which origin is refused, and the setting that would allow it.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.0.contains(&origin) || is_own(&origin, &host.to_ascii_lowercase()) {
            return Ok(());
        }
        let shown: String = origin.chars().take(80).collect();
        Err(format!("pages of origin {shown:?} may not connect; add it to serve.cors_origins"))
    }
}

fn is_own(origin: &str, host: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https"))) else {
        return false;
    };
    authority.as_str() == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header"));
        }
        Origins::new(&[String::from("https://Console.example.com/")]).check(&headers).is_ok()
    }

    #[test]
    fn pages_of_the_list_and_of_this_server_pass_and_no_others() {
        for (origin, host, wanted) in [
            (None, "any.example.com", true),
            (Some("https://console.example.com"), "sentra.example.com", true),
            (Some("http://console.example.com"), "sentra.example.com", false),
            (Some("http://127.0.0.1:8000"), "127.0.0.1:8000", true),
            (Some("http://localhost:8000"), "localhost:8000", true),
            (Some("http://[::1]:8000"), "[::1]:8000", true),
            (Some("http://127.0.0.1:8001"), "127.0.0.1:8000", false),
            (Some("https://sentra.example.com"), "sentra.example.com", true),
            (Some("https://evil.example.com"), "sentra.example.com", false),
            (Some("http://evil.example.com"), "127.0.0.1:8000", false),
            (Some("null"), "127.0.0.1:8000", false),
            (Some("file://127.0.0.1:8000"), "127.0.0.1:8000", false),
            (Some(""), "127.0.0.1:8000", false),
        ] {
            assert_eq!(judged(origin, host), wanted, "{origin:?} at {host}");
        }
    }
}
