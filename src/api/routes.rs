//! Which request goes where, and what stands before it. From the outside in: numbers and limits, CORS, the token, the
//! handler.

use axum::{
    Router,
    extract::Path,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            RETRY_AFTER,
        },
    },
    middleware::{from_fn_with_state, map_response},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::Config as SwaggerConfig;

use super::{
    Api, auth,
    document::{Described, document},
    health, observe, score, verdicts,
};
use crate::{console, problem::Problem};

/// The policy of the description's page: its own files and nothing else.
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// How long browsers may remember what CORS allows, in seconds.
const CORS_MAX_AGE_S: u64 = 600;

/// All of it, ready to serve.
pub fn routes(api: &Api) -> Router {
    let guarded = guarded().split_for_parts().0.layer(from_fn_with_state(api.auth.clone(), auth::guard));
    let pages = pages().layer(from_fn_with_state(api.auth.clone(), auth::guard_page));
    // The feed judges for itself: browsers come with a ticket in place of the token.
    let all = open().split_for_parts().0.merge(guarded).merge(pages).merge(api.feed.routes());
    // The first page holds no data: what it shows comes over the feed.
    let all = all.merge(console::routes());
    let all = all.fallback(nowhere).method_not_allowed_fallback(other_method);
    let all = match cors(&api.config.serve.cors_origins) {
        Some(cors) => all.layer(cors),
        None => all,
    };
    all.layer(from_fn_with_state(api.telemetry.clone(), observe::observe)).with_state(api.clone())
}

/// The described routes with their description.
pub fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Described::openapi()).merge(open()).merge(guarded()).split_for_parts()
}

/// What answers without a token.
fn open() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(health::livez)).routes(routes!(health::readyz))
}

/// What wants the token.
fn guarded() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(score::score))
        .routes(routes!(verdicts::verdicts))
        .routes(routes!(verdicts::verdict))
        .routes(routes!(verdicts::alerts))
        .routes(routes!(verdicts::phone))
        .routes(routes!(health::metrics))
}

/// What a browser opens.
fn pages() -> Router<Api> {
    let docs = Router::new()
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| page(Path(String::new()))))
        .route("/docs/{*file}", get(page))
        .layer(map_response(with_page_policy));
    docs.route("/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], document()) }))
}

async fn with_page_policy(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE);
    response
}

/// A file of the description's page, all of them in this program.
async fn page(Path(file): Path<String>) -> Result<Response, Problem> {
    let config = SwaggerConfig::new(["/openapi.json"]).validator_url("none");
    match utoipa_swagger_ui::serve(&file, config.into()) {
        Ok(Some(file)) => {
            let mut response = file.bytes.into_response();
            let headers = response.headers_mut();
            let content_type = HeaderValue::try_from(file.content_type);
            headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain")));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            if file.gzpipped {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Ok(response)
        }
        _ => Err(Problem::not_found("the description's page has no such file; open /docs/")),
    }
}

async fn nowhere() -> Problem {
    Problem::not_found("there is no such route; /docs/ and /openapi.json list them")
}

async fn other_method() -> Problem {
    let detail = "this route does not take that method; the header Allow names those it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Another method", detail)
}

/// Lets pages of these origins call; `None` where there are none, and then no header is sent at all.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    (!allowed.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(allowed))
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, observe::REQUEST_ID])
            .expose_headers([observe::REQUEST_ID, RETRY_AFTER, CONTENT_LOCATION, HeaderName::from_static("allow")])
            .max_age(std::time::Duration::from_secs(CORS_MAX_AGE_S))
    })
}
