//! A small S3 in this process: one bucket in memory, behind the requests that snapshots need. It can be away.
//!
//! It looks at no signature, and knows no more of the protocol than object_store's client asks for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

#[derive(Default)]
struct Held {
    objects: BTreeMap<String, Bytes>,
    /// Parts of uploads that are neither completed nor aborted, by number.
    uploads: HashMap<String, BTreeMap<u32, Bytes>>,
    begun: u64,
}

/// The bucket `snapshots`.
pub struct Bucket {
    held: Arc<Mutex<Held>>,
    away: Arc<AtomicBool>,
    address: SocketAddr,
}

#[derive(Clone)]
struct Served {
    held: Arc<Mutex<Held>>,
    away: Arc<AtomicBool>,
}

impl Bucket {
    pub fn start() -> Self {
        let (held, away) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let served = Served { held: Arc::clone(&held), away: Arc::clone(&away) };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, Router::new().fallback(answer).with_state(served)).await.expect("it serves");
            });
        });
        Self { held, away, address }
    }

    /// What a process needs to find it, beside a location `s3://snapshots/…`.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", String::from("true")),
            ("AWS_REGION", String::from("here-1")),
            ("AWS_ACCESS_KEY_ID", String::from("somebody")),
            ("AWS_SECRET_ACCESS_KEY", String::from("a secret of nobody")),
        ]
    }

    /// Whether it answers that it cannot.
    pub fn away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    pub fn keys(&self) -> Vec<String> {
        locked(&self.held).objects.keys().cloned().collect()
    }

    pub fn unfinished(&self) -> usize {
        locked(&self.held).uploads.len()
    }
}

fn locked(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(served): State<Served>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if served.away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let key = uri.path().strip_prefix("/snapshots").unwrap_or_default().trim_start_matches('/').to_owned();
    let query: HashMap<String, String> = uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    let held = &mut *locked(&served.held);
    match (method, query.get("uploadId")) {
        (Method::GET, _) if key.is_empty() => list(held, &query),
        (Method::GET | Method::HEAD, _) => read(held, &key, &headers),
        (Method::POST, None) => begin(held),
        (Method::PUT, Some(upload)) => part(held, upload, &query, body),
        (Method::POST, Some(upload)) => complete(held, upload, key),
        (Method::DELETE, Some(upload)) => gone(held.uploads.remove(upload).is_some()),
        (Method::DELETE, None) => {
            // S3 says so too where there was none.
            held.objects.remove(&key);
            gone(true)
        }
        (Method::PUT, None) => match headers.get("x-amz-copy-source").and_then(|from| from.to_str().ok()) {
            Some(from) => copy(held, from, key),
            None => store(held, key, body),
        },
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((name.to_owned(), value.replace("%2F", "/")))
}

fn xml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], text).into_response()
}

fn gone(was_there: bool) -> Response {
    if was_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response()
}

fn list(held: &Held, query: &HashMap<String, String>) -> Response {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let (mut objects, mut folders) = (String::new(), BTreeSet::new());
    for (key, value) in held.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
        match key[prefix.len()..].split_once('/') {
            Some((folder, _)) if query.contains_key("delimiter") => _ = folders.insert(format!("{prefix}{folder}/")),
            _ => {
                objects += &format!(
                    "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag></Contents>",
                    value.len()
                );
            }
        }
    }
    let folders: String =
        folders.iter().map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>")).collect();
    xml(format!("<ListBucketResult>{objects}{folders}</ListBucketResult>"))
}

fn read(held: &Held, key: &str, headers: &HeaderMap) -> Response {
    let Some(object) = held.objects.get(key) else { return StatusCode::NOT_FOUND.into_response() };
    let told = [(header::ETAG, "e".to_owned()), (header::LAST_MODIFIED, MODIFIED.to_owned())];
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        return (told, object.clone()).into_response();
    };
    let from: usize = from.parse().expect("a number");
    let to = to.parse::<usize>().expect("a number").min(object.len() - 1);
    let place = [(header::CONTENT_RANGE, format!("bytes {from}-{to}/{}", object.len()))];
    (StatusCode::PARTIAL_CONTENT, told, place, object.slice(from..=to)).into_response()
}

fn begin(held: &mut Held) -> Response {
    held.begun += 1;
    let upload = format!("u{}", held.begun);
    held.uploads.insert(upload.clone(), BTreeMap::new());
    xml(format!("<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"))
}

fn part(held: &mut Held, upload: &str, query: &HashMap<String, String>, body: Bytes) -> Response {
    let number = query.get("partNumber").and_then(|number| number.parse().ok());
    let Some((parts, number)) = held.uploads.get_mut(upload).zip(number) else { return gone(false) };
    parts.insert(number, body);
    [(header::ETAG, format!("e{number}"))].into_response()
}

fn complete(held: &mut Held, upload: &str, key: String) -> Response {
    let Some(parts) = held.uploads.remove(upload) else { return gone(false) };
    let whole: Vec<u8> = parts.into_values().flatten().collect();
    held.objects.insert(key, whole.into());
    xml(String::from("<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"))
}

fn copy(held: &mut Held, from: &str, key: String) -> Response {
    let from = from.trim_start_matches('/').strip_prefix("snapshots/").unwrap_or_default();
    let Some(object) = held.objects.get(from).cloned() else { return gone(false) };
    held.objects.insert(key, object);
    xml(String::from("<CopyObjectResult><ETag>e</ETag></CopyObjectResult>"))
}

fn store(held: &mut Held, key: String, body: Bytes) -> Response {
    held.objects.insert(key, body);
    [(header::ETAG, "e")].into_response()
}
