//! HTTP requests of a plugin: made here, sent by [`Context::send`](crate::Context::send).

use crate::{Error, Result, sign};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// How long a request may take, answer included, unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a body is shown in an error.
const SHOWN_CHARS: usize = 300;

/// A `GET` request.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// A `PUT` request.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// A `PATCH` request.
pub fn patch(url: impl Into<String>) -> Request {
    request("PATCH", url)
}

/// A request with any method. The URL is absolute, with `http` or `https`.
pub fn request(method: &str, url: impl Into<String>) -> Request {
    Request {
        method: method.to_owned(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout: DEFAULT_TIMEOUT,
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is sent before `Context::send`"]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds `Authorization: Bearer …`.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.header("authorization", format_args!("Bearer {token}"))
    }

    /// Adds `Authorization: Basic …`.
    pub fn basic(self, user: &str, password: &str) -> Self {
        let pair = sign::base64(format!("{user}:{password}").as_bytes());
        self.header("authorization", format_args!("Basic {pair}"))
    }

    /// Sets the body.
    pub fn body(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.body = content.into();
        self
    }

    /// Sets the body to a value as JSON, with its content type. A value that is no JSON, such as a map whose
    /// keys are no texts, is sent as `null`.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.body = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        self.header("content-type", "application/json")
    }

    /// How long it may take, until the whole answer is there. Default: [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// An answer, with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer, for a test.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with a header, for a test.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Its status, for example 404.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Its body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Its body as a text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(format!("the answer cannot be read: {error}; it begins: {}", self.shown()))
        })
    }

    /// The answer itself if its status says that it went well. Otherwise an error: worth trying again where
    /// the service is too busy or at fault (408, 425, 429 and 5xx), after the time that its `Retry-After`
    /// gives, and permanent elsewhere.
    pub fn success(self) -> Result<Self> {
        let status = self.status;
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let message = format!("the service answered {status}: {}", self.shown());
        if !matches!(status, 408 | 425 | 429 | 500..) {
            return Err(Error::permanent(message));
        }
        let error = Error::new(message);
        Err(match self.wait() {
            Some(wait) => error.retry_after(wait),
            None => error,
        })
    }

    /// How long the service wants one to wait, by `Retry-After`: seconds, or a time, which is compared with the
    /// service's own clock.
    pub fn wait(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let time = |text: &str| rfc2822::parse(text).map(|at| at.timestamp()).ok();
        let now = self.header("date").and_then(time).unwrap_or_else(Timestamp::now);
        Some(Duration::try_from(time(text)?.duration_since(now)).unwrap_or_default())
    }

    fn shown(&self) -> String {
        self.text().chars().take(SHOWN_CHARS).collect()
    }
}

/// The scheme, host and port of a URL; the whole text if it is none.
pub(crate) fn origin(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let authority = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{authority}")
        }
        None => url.to_owned(),
    }
}

/// Percent-encodes everything but what is unreserved in RFC 3986: for a part of a path or a query.
pub fn encode(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(target_family = "wasm")]
pub(crate) fn send(request: Request) -> Result<Response> {
    use wstd::future::FutureExt as _;
    let Request { method, url, headers, body, timeout } = request;
    let told = format!("{method} {}", origin(&url));
    let mut builder = wstd::http::Request::builder()
        .method(method.as_str())
        .uri(&url)
        .header("content-length", body.len());
    for (name, value) in &headers {
        builder = builder.header(name, value);
    }
    // Such as a header with a line break in it: no later try mends it.
    let unfit = |error| Error::permanent(format!("{told}: it cannot be asked for: {error}"));
    let request = builder.body(wstd::http::Body::from(body)).map_err(unfit)?;
    let exchange = async {
        let answer = wstd::http::Client::new().send(request).await?;
        let (head, mut body) = answer.into_parts();
        let text = |value: &wstd::http::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Ok::<_, wstd::http::Error>(Response {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.contents().await?.to_vec(),
        })
    };
    // The timer is one of the runtime's, so it is made within.
    let exchange = async {
        let timer = wstd::time::Timer::after(timeout.into());
        exchange.timeout(timer.wait()).await
    };
    match wstd::runtime::block_on(exchange) {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(Error::new(format!("{told}: {}", reason(&error)))),
        Err(_) => Err(Error::new(format!("{told}: no answer within {timeout:?}"))),
    }
}

#[cfg(target_family = "wasm")]
fn reason(error: &wstd::http::Error) -> String {
    use wstd::http::ErrorCode;
    match error.downcast_ref::<ErrorCode>() {
        Some(ErrorCode::HttpRequestDenied) => {
            "denied: the plugin must be granted this host in `allow_http`".to_owned()
        }
        Some(code) => format!("{code:?}"),
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_decides_whether_it_is_tried_again() {
        let error = |status| Response::new(status, "no").success().unwrap_err();
        assert!(Response::new(204, "").success().is_ok());
        for status in [400, 401, 403, 404, 410, 422] {
            assert!(error(status).is_permanent(), "{status}");
        }
        for status in [408, 429, 500, 502, 503] {
            assert!(!error(status).is_permanent(), "{status}");
        }
        let busy = Response::new(429, "slow down").with_header("Retry-After", 7);
        assert_eq!(busy.success().unwrap_err().wait(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_service_may_say_until_when_to_wait() {
        let at = |retry: &str| {
            let answer = Response::new(503, "").with_header("retry-after", retry);
            answer.with_header("date", "Wed, 21 Oct 2015 07:27:30 GMT").wait()
        };
        assert_eq!(at("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(at("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(at("soon"), None);
    }

    #[test]
    fn an_origin_has_neither_path_nor_user() {
        assert_eq!(origin("https://me:pw@a.test:8443/b?c#d"), "https://a.test:8443");
        assert_eq!(origin("nonsense"), "nonsense");
        assert_eq!(encode("a b/ä"), "a%20b%2F%C3%A4");
    }
}
