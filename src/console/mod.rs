//! The first page at `/`: live alerts, rates, and one alert's reasons, signals and features, from the live feed.
//!
//! Invariant: the page is in this program and asks no other server for anything; its policy lets no inline script and
//! no foreign origin in. It holds no data, so it is open to all; what it shows comes over the feed, which wants the
//! token. The analysts' console (cases, labels, accounts) comes later.

use axum::{
    Router,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::domain::features;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const VERDICT: &str = include_str!("verdict.js");
const ICON: &str = include_str!("icon.svg");

/// Its own files and its own server, and nothing else. Widths of bars are set by script, which needs no exception.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// What the page says of a feature.
#[derive(Serialize)]
struct Feature {
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
}

/// The page and its files. They hold no data: no token stands before them.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| file(PAGE, "text/html; charset=utf-8")))
        .route("/console/page.css", get(|| file(STYLE, "text/css; charset=utf-8")))
        .route("/console/page.js", get(|| file(SCRIPT, "text/javascript; charset=utf-8")))
        .route("/console/verdict.js", get(|| file(VERDICT, "text/javascript; charset=utf-8")))
        .route("/console/icon.svg", get(|| file(ICON, "image/svg+xml")))
        .route("/console/features.json", get(meanings))
        .layer(map_response(guarded))
}

async fn file(text: &'static str, kind: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// The table of features, so that the page repeats nothing of it.
async fn meanings() -> Response {
    let all =
        features::TABLE.map(|feature| Feature { name: feature.name, unit: feature.unit, meaning: feature.meaning });
    let text = serde_json::to_string(&all).expect("names and sentences are always JSON");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A new version of the program is a new page at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_no_other_server_for_anything() {
        for text in [PAGE, STYLE, SCRIPT, VERDICT] {
            for foreign in ["http://", "https://", "//cdn", "@import", "url("] {
                assert!(!text.contains(foreign), "{foreign}");
            }
        }
        // The icon names SVG's own namespace, and nothing else.
        assert_eq!(ICON.matches("http").count(), 1);
    }

    #[test]
    fn the_page_has_no_inline_script_or_style_and_the_scripts_make_no_markup_of_data() {
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert!(PAGE.contains("<script type=\"module\" src=\"/console/page.js\"></script>"));
        for inline in ["style=\"", "onclick", "onload", "javascript:", "<style"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!SCRIPT.contains(markup) && !VERDICT.contains(markup), "{markup}");
        }
    }

    #[test]
    fn every_element_that_the_scripts_look_for_is_in_the_page() {
        let scripts = [SCRIPT, VERDICT].into_iter().flat_map(|script| script.split("$(\"").skip(1));
        for id in scripts.filter_map(|rest| rest.split('"').next()) {
            assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}
