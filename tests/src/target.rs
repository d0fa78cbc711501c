//! A small HTTP server on the loopback interface that plays the tested system.
//!
//! It records what it is asked, and it can hold an answer back until a test lets it go: a test then
//! knows what is under way, without measuring time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::patiently;

/// The longest body that is read of a request.
const BODY_BYTES: usize = 256 << 20;
/// How much `/bytes/N` sends at a time.
const PIECE_BYTES: u64 = 64 << 10;

/// A request that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, by name.
    pub query: BTreeMap<String, String>,
    /// The header, by lower-case name. Of a name that came twice, the last.
    pub headers: BTreeMap<String, String>,
    /// The size of the body.
    pub body_bytes: usize,
}

/// The tested system. It ends when this is dropped. Its paths:
///
/// | path | answer |
/// | --- | --- |
/// | `/hold/NAME` | `released`, once [`Target::release`] was called with that name |
/// | `/until/NAME` | `ok`, and 500 once [`Target::release`] was called with that name |
/// | `/never` | none, ever |
/// | `/bytes/N` | N bytes |
/// | `/status/N` | that status |
/// | `/redirect?to=URL` | 302 to there |
/// | `/echo` | method, path with query, header and body as JSON |
/// | `/count` | the size of the request's body |
/// | `/slow/N` | `released`, once [`Target::release`] was called with `slow` |
/// | `/break` | a part of a body, and then the end of the connection |
/// | `/nowhere` | 404 |
/// | any other | `ok` |
pub struct Target {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    released: Mutex<Vec<String>>,
    /// Counts requests and releases, so that whoever waits looks again.
    changed: watch::Sender<u64>,
}

impl Target {
    /// Starts it at a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server on the loopback interface serves");
        });
        Self { address, shared, server }
    }

    /// Where it is, for example `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests came so far: where the next one will be in [`Target::seen`].
    pub fn seen_count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Answers the requests for `/hold/NAME`, those that wait and those to come, and ends
    /// `/until/NAME`.
    pub fn release(&self, name: &str) {
        lock(&self.shared.released).push(name.to_owned());
        self.shared.changed.send_modify(|count| *count += 1);
    }

    /// Waits until `enough` holds of the requests so far.
    pub async fn wait_for(&self, what: &str, mut enough: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
        let mut changed = self.shared.changed.subscribe();
        let wait = changed.wait_for(|_| enough(&lock(&self.shared.seen)));
        drop(patiently(what, wait).await.expect("the sender is ours"));
        self.seen()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    async fn released(&self, name: &str) {
        let mut changed = self.changed.subscribe();
        let is_released = |_: &u64| lock(&self.released).iter().any(|released| released == name);
        changed.wait_for(is_released).await.expect("the sender is ours");
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_BYTES).await {
        Ok(body) => body,
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: query(head.uri.query().unwrap_or_default()),
        headers: headers.collect(),
        body_bytes: body.len(),
    };
    lock(&shared.seen).push(seen.clone());
    shared.changed.send_modify(|count| *count += 1);
    let uri = head.uri.path_and_query().map_or("/", |uri| uri.as_str());
    respond(&shared, &seen, uri, &body).await
}

async fn respond(shared: &Shared, seen: &Seen, uri: &str, body: &Bytes) -> Response {
    let (_, path) = seen.path.split_at(1);
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first {
        "hold" => {
            shared.released(rest).await;
            "released".into_response()
        }
        "until" if lock(&shared.released).iter().any(|released| released == rest) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        "slow" => {
            shared.released("slow").await;
            "released".into_response()
        }
        "never" => std::future::pending().await,
        "count" => body.len().to_string().into_response(),
        "break" => broken(),
        "nowhere" => StatusCode::NOT_FOUND.into_response(),
        "bytes" => bytes(rest.parse().unwrap_or(0)),
        "status" => {
            let status = rest.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            status.unwrap_or(StatusCode::NOT_FOUND).into_response()
        }
        "redirect" => {
            let to = seen.query.get("to").map_or("/", String::as_str).to_owned();
            (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
        }
        "echo" => axum::Json(json!({
            "method": seen.method,
            "path": uri,
            "headers": seen.headers,
            "body": String::from_utf8_lossy(body),
        }))
        .into_response(),
        _ => "ok".into_response(),
    }
}

fn bytes(count: u64) -> Response {
    let pieces = stream::unfold(count, |left| async move {
        let now = left.min(PIECE_BYTES);
        (now > 0).then(|| (Ok::<_, std::convert::Infallible>(vec![b'x'; now as usize]), left - now))
    });
    ([(header::CONTENT_LENGTH, count)], Body::from_stream(pieces)).into_response()
}

/// Promises more than it gives.
fn broken() -> Response {
    let start = stream::once(async { Ok(vec![b'x'; 10]) });
    let end = stream::once(async {
        // The server sends what it has before it asks again.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken off on purpose"))
    });
    ([(header::CONTENT_LENGTH, 100)], Body::from_stream(start.chain(end))).into_response()
}

/// Reads a query; what guests send needs no more than `%XX` and `+`.
fn query(text: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://localhost/?{text}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::http_client;

    #[tokio::test]
    async fn an_answer_is_held_back_until_it_is_released() {
        let target = Target::start().await;
        let request = http_client().get(format!("{}/hold/a?run=1%202", target.url()));
        let held = tokio::spawn(request.send());
        let seen = target.wait_for("the request", |seen| !seen.is_empty()).await;
        assert_eq!((seen[0].path.as_str(), seen[0].query["run"].as_str()), ("/hold/a", "1 2"));
        assert!(!held.is_finished());
        target.release("a");
        let answer = held.await.unwrap().unwrap();
        assert_eq!(answer.text().await.unwrap(), "released");
    }

    #[tokio::test]
    async fn a_body_has_the_size_that_was_asked_for() {
        let target = Target::start().await;
        let answer = http_client().get(format!("{}/bytes/200000", target.url())).send();
        assert_eq!(answer.await.unwrap().bytes().await.unwrap().len(), 200_000);
    }
}
