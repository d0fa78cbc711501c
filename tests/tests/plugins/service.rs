//! A server that plays a service: it holds each request to a check, and may do something wrong with the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// The longest body of a request.
const BODY_BYTES: usize = 32 << 20;

/// Connections that may wait.
const BACKLOG: u32 = 128;

/// A request as a service hears it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Heard {
    /// A header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON, if it says that it is.
    pub(crate) fn json(&self) -> Result<Value, String> {
        holds(
            self.header("content-type").starts_with("application/json"),
            "it is not said to be JSON",
        )?;
        serde_json::from_slice(&self.body).map_err(|error| format!("no JSON: {error}"))
    }

    /// The fields of the query, or of a form.
    pub(crate) fn fields(text: &str) -> BTreeMap<String, String> {
        let url = reqwest::Url::parse(&format!("http://localhost/?{text}")).unwrap();
        url.query_pairs().into_owned().collect()
    }
}

/// What a service answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// What was asked for, in few words: what the table has.
    pub(crate) what: String,
}

impl Reply {
    pub(crate) fn new(what: impl Into<String>, status: u16, body: impl ToString) -> Self {
        let (what, body) = (what.into(), body.to_string());
        Self { status, headers: Vec::new(), body, what }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// Holds a request to what a service documents; an error says what the service does not take.
pub(crate) type Check = fn(&Heard) -> Result<Reply, String>;

/// An error if something does not hold.
pub(crate) fn holds(condition: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

/// A text that has from one to so many characters.
pub(crate) fn text(value: &Value, most: usize) -> Result<&str, String> {
    let found = value.as_str().ok_or_else(|| format!("{value} is no text"))?;
    let count = found.chars().count();
    holds((1..=most).contains(&count), format!("{count} characters, {most} are allowed"))?;
    Ok(found)
}

/// What is wrong with the service the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It had too many requests.
    Limited,
    /// It answers 500.
    Broken,
    /// It does not answer.
    Silent,
    /// Nobody listens.
    Refused,
    /// The token is another.
    Denied,
}

/// A service. It ends when this is dropped.
pub(crate) struct Service {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    check: Check,
    fault: Fault,
    limited: fn() -> Reply,
    heard: Mutex<Vec<(Heard, String)>>,
    wrong: Mutex<Vec<String>>,
}

impl Service {
    /// Plays the service at that socket's address.
    pub(crate) fn start(
        socket: TcpSocket,
        check: Check,
        fault: Fault,
        limited: fn() -> Reply,
    ) -> Self {
        let listener = socket.listen(BACKLOG).expect("nobody else listens there");
        let shared =
            Shared { check, fault, limited, heard: Mutex::default(), wrong: Mutex::default() };
        let shared = Arc::new(shared);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server on the loopback interface serves");
        });
        Self { shared, server }
    }

    /// What was heard, in order, each with what was asked for.
    pub(crate) fn heard(&self) -> Vec<(Heard, String)> {
        lock(&self.shared.heard).clone()
    }

    /// What the service does not take.
    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.shared.wrong).clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES).await.expect("the body is whole");
    let headers = head.headers.iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let heard = Heard {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body,
        at: Instant::now(),
    };
    let checked = (shared.check)(&heard);
    let is_first = lock(&shared.heard).is_empty();
    let reply = checked.unwrap_or_else(|error| {
        let told = format!("{} {}: {error}", heard.method, heard.path);
        lock(&shared.wrong).push(told);
        Reply::new(error.clone(), 400, error)
    });
    lock(&shared.heard).push((heard, reply.what.clone()));
    match shared.fault {
        Fault::Limited if is_first => respond((shared.limited)().header("retry-after", 1)),
        Fault::Broken if is_first => respond(Reply::new("", 500, "out of paper")),
        Fault::Silent if is_first => std::future::pending().await,
        _ => respond(reply),
    }
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let mut response = (status, reply.body).into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
