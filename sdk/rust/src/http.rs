//! HTTP requests from a test: JSON, time limits, and errors that say what to do.
//!
//! ```
//! use handoff_sdk::{Context, Result, http};
//! use std::time::Duration;
//!
//! #[handoff_sdk::test]
//! fn creates_a_book(cx: &Context) -> Result {
//!     let server = cx.require_param("server")?;
//!     let book = serde_json::json!({ "title": "Dune" });
//!     let answer = http::post(format!("{server}/books"))
//!         .json(&book)
//!         .timeout(Duration::from_secs(2))
//!         .send()?
//!         .expect_status(201)?;
//!     let created: serde_json::Value = answer.json()?;
//!     assert_eq!(created["title"], "Dune");
//!     Ok(())
//! }
//! ```
//!
//! A suite reaches only the hosts that its policy grants (`allow_http`). Redirects are answers like
//! any other. Below is `wstd`, the Bytecode Alliance's library for wasi:http; for what is missing here
//! (streams, several requests at once) use it beside this module.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use wstd::future::FutureExt as _;
use wstd::http::{Body, Client, ErrorCode, HeaderMap};

pub use wstd::http::Method;

/// How long a request may take, answer included, unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A `GET` request.
pub fn get(url: impl Into<String>) -> Request {
    request(Method::GET, url)
}

/// A `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    request(Method::POST, url)
}

/// A `PUT` request.
pub fn put(url: impl Into<String>) -> Request {
    request(Method::PUT, url)
}

/// A `PATCH` request.
pub fn patch(url: impl Into<String>) -> Request {
    request(Method::PATCH, url)
}

/// A `DELETE` request.
pub fn delete(url: impl Into<String>) -> Request {
    request(Method::DELETE, url)
}

/// A request with any method. The URL is absolute, with `http` or `https`.
pub fn request(method: Method, url: impl Into<String>) -> Request {
    Request {
        method,
        url: url.into(),
        headers: Vec::new(),
        body: Ok(Vec::new()),
        timeout: DEFAULT_TIMEOUT,
    }
}

/// A request that is being made. What is wrong with it is said by [`send`](Self::send).
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Result<Vec<u8>, String>,
    timeout: Duration,
}

impl Request {
    /// Adds a header. One that may occur once replaces nothing: give it once.
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds `Authorization: Bearer …`.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.header("authorization", format_args!("Bearer {token}"))
    }

    /// Adds a parameter to the URL's query.
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        encode(name, &mut self.url);
        self.url.push('=');
        encode(&value.to_string(), &mut self.url);
        self
    }

    /// Sets the body.
    pub fn body(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.body = Ok(content.into());
        self
    }

    /// Sets the body to a value as JSON, with its content type.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.body = serde_json::to_vec(value).map_err(|error| error.to_string());
        self.header("content-type", "application/json")
    }

    /// How long it may take, until the whole answer is there. Default: [`DEFAULT_TIMEOUT`]; the
    /// attempt's deadline holds in any case.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it and waits for the whole answer, whatever its status.
    ///
    /// # Panics
    /// Inside a future that `wstd::runtime::block_on` drives.
    pub fn send(self) -> Result<Response, Error> {
        let (method, url, timeout) = (self.method.clone(), self.url.clone(), self.timeout);
        let sent = wstd::runtime::block_on(async {
            self.exchange().timeout(wstd::time::Timer::after(timeout.into()).wait()).await
        });
        let fault = match sent {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(fault)) => fault,
            Err(_) => {
                Fault { kind: Kind::TimedOut, reason: format!("no answer within {timeout:?}") }
            }
        };
        Err(Error { method, url, fault })
    }

    async fn exchange(self) -> Result<Response, Fault> {
        let body = self.body.map_err(Fault::request)?;
        let mut request = wstd::http::Request::builder()
            .method(self.method.clone())
            .uri(&self.url)
            .header("content-length", body.len());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body)).map_err(Fault::request)?;
        if request.uri().authority().is_none() {
            return Err(Fault::request("the URL is not absolute: it needs `http://host`"));
        }
        let (head, mut body) = Client::new().send(request).await?.into_parts();
        Ok(Response {
            method: self.method,
            url: self.url,
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.contents().await?.to_vec(),
        })
    }
}

/// An answer, with its whole body.
#[derive(Clone, Debug)]
pub struct Response {
    method: Method,
    url: String,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Response {
    /// Its status, for example 404.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of that name, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Its body as a text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body, read as JSON. The error shows how the body begins.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let wanted = std::any::type_name::<T>();
            self.unexpected(format_args!("the body is no JSON for {wanted}: {error}"))
        })
    }

    /// The answer itself if it has this status, otherwise an error that shows how the body begins.
    pub fn expect_status(self, status: u16) -> Result<Self, Error> {
        if self.status == status {
            return Ok(self);
        }
        Err(self.unexpected(format_args!("expected status {status}, got {}", self.status)))
    }

    fn unexpected(&self, problem: impl fmt::Display) -> Error {
        /// What is shown of a body.
        const SHOWN: usize = 500;
        let shown: String = self.text().chars().take(SHOWN).collect();
        let reason = format!("{problem}\nthe body of {} bytes begins: {shown}", self.body.len());
        Error {
            method: self.method.clone(),
            url: self.url.clone(),
            fault: Fault { kind: Kind::Unexpected, reason },
        }
    }
}

/// Why there is no answer, or not the expected one.
#[derive(Debug)]
pub struct Error {
    method: Method,
    url: String,
    fault: Fault,
}

#[derive(Debug)]
struct Fault {
    kind: Kind,
    reason: String,
}

/// Which kind of thing went wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The request is malformed; nothing was sent.
    Request,
    /// The policy of the suite does not allow it, or a limit was hit.
    Denied,
    /// The server was not reached: unknown name, refused connection, wrong certificate.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The server was reached and the exchange broke off.
    Broken,
    /// There is an answer, but not the expected one.
    Unexpected,
}

impl Error {
    /// Which kind of thing went wrong.
    pub fn kind(&self) -> Kind {
        self.fault.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.fault.reason)
    }
}

impl std::error::Error for Error {}

impl Fault {
    fn request(reason: impl fmt::Display) -> Self {
        Self { kind: Kind::Request, reason: reason.to_string() }
    }

    fn from_code(code: &ErrorCode) -> Self {
        let (kind, reason) = match code {
            ErrorCode::HttpRequestDenied => {
                let hint = "denied: the suite's policy must grant this host in `allow_http`";
                return Self { kind: Kind::Denied, reason: hint.to_owned() };
            }
            ErrorCode::DnsTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => (Kind::TimedOut, "took too long"),
            ErrorCode::DnsError(_)
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused
            | ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::TlsAlertReceived(_) => (Kind::Unreachable, "cannot reach the server"),
            ErrorCode::ConnectionLimitReached
            | ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::HttpResponseBodySize(_) => (Kind::Denied, "hit a limit"),
            ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong
            | ErrorCode::HttpRequestLengthRequired => (Kind::Request, "malformed request"),
            _ => (Kind::Broken, "the exchange broke off"),
        };
        Self { kind, reason: format!("{reason}: {code:?}") }
    }
}

impl From<wstd::http::Error> for Fault {
    fn from(error: wstd::http::Error) -> Self {
        match error.downcast_ref::<ErrorCode>() {
            Some(code) => Self::from_code(code),
            None => Self { kind: Kind::Broken, reason: format!("{error:#}") },
        }
    }
}

/// Percent-encodes everything but what is unreserved in RFC 3986.
fn encode(text: &str, out: &mut String) {
    use fmt::Write as _;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_encoded() {
        let request = get("http://a.test/b").query("q", "a b&c=ä").query("n", 1);
        assert_eq!(request.url, "http://a.test/b?q=a%20b%26c%3D%C3%A4&n=1");
    }

    fn response(status: u16, body: &str) -> Response {
        Response {
            method: Method::GET,
            url: "http://a.test/".into(),
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    #[test]
    fn an_unexpected_answer_shows_how_its_body_begins() {
        let error = response(500, "out of paper").expect_status(200).unwrap_err();
        assert_eq!(error.kind(), Kind::Unexpected);
        assert_eq!(
            error.to_string(),
            "GET http://a.test/: expected status 200, got 500\nthe body of 12 bytes begins: out of \
             paper"
        );
        let error = response(200, "<html>").json::<Vec<u8>>().unwrap_err();
        assert!(error.to_string().contains("begins: <html>"), "{error}");
        assert_eq!(response(200, "[1]").json::<Vec<u8>>().unwrap(), [1]);
    }

    #[test]
    fn a_denied_request_says_what_to_grant() {
        let fault = Fault::from(wstd::http::Error::from(ErrorCode::HttpRequestDenied));
        assert_eq!(fault.kind, Kind::Denied);
        assert!(fault.reason.contains("allow_http"));
        let fault = Fault::from(wstd::http::Error::from(ErrorCode::ConnectionRefused));
        assert_eq!(fault.kind, Kind::Unreachable);
    }
}
