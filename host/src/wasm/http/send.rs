//! One request: decide, resolve, connect, send, and wait for the answer's head.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::{RequestBody, ResponseBody};
use super::target::{self, Target, Verdict};
use super::{HttpShared, Sender, tls};
use crate::model::Limit;
use crate::wasm::address;
use crate::wasm::deadline::SharedDeadline;
use crate::wasm::traffic::{Ongoing, Slot, Traffic, advice};

/// How long a guest that does not say waits for a connection, from its place among the concurrent
/// requests to the end of the TLS handshake. A default that a guest changes by its request's options,
/// and no bound: that, and the one of all other waits, is the attempt's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// hyper does not go below this for the buffer that holds an answer's head.
const MIN_HEAD_BYTES: usize = 8192;

/// Headers that speak of one connection (RFC 9110 §7.6.1), and `Host`, which we write ourselves.
const OURS: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that the policy allows.
pub(super) struct Prepared {
    route: Route,
    request: Request<RequestBody>,
}

/// How a request gets there.
struct Route {
    shared: HttpShared,
    traffic: Traffic,
    deadline: SharedDeadline,
    options: RequestOptions,
    target: Target,
    /// Whether the target must be on the public Internet.
    only_public: bool,
    ongoing: Ongoing,
}

/// Why a request came to nothing: for the guest, and for people.
struct Failure {
    error: Error,
    reason: String,
    /// Whether it was the policy that stood in the way.
    denied: bool,
}

impl Failure {
    fn new(error: Error, reason: impl Into<String>) -> Self {
        Self { error, reason: reason.into(), denied: false }
    }
}

impl Sender {
    /// Decides whether the request may be sent, and makes it fit to be.
    pub(super) fn prepare(
        &self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Prepared, ErrorCode> {
        let traffic = &self.traffic;
        let (mut parts, body) = request.into_parts();
        let method = parts.method.as_str();
        let target = Target::read(&parts.uri).map_err(|reason| {
            traffic.deny(method, &target::show_unreadable(&parts.uri), reason);
            ErrorCode::HttpRequestUriInvalid
        })?;
        let url = target.to_string();
        let verdict = target.verdict(&self.policy);
        if verdict == Verdict::Denied {
            traffic.deny(method, &url, &ungranted(&target));
            return Err(ErrorCode::HttpRequestDenied);
        }
        if parts.method == Method::CONNECT {
            traffic.deny(method, &url, "tunnels are not offered: connect by allow_tcp instead");
            return Err(ErrorCode::HttpRequestMethodInvalid);
        }
        for name in OURS {
            parts.headers.remove(name);
        }
        let trace_id = trace(&mut parts.headers);
        let ongoing =
            traffic.begin(method, &url, trace_id).ok_or(ErrorCode::ConnectionLimitReached)?;
        let bytes = head_bytes(&parts.headers) + parts.method.as_str().len() + target.path.len();
        if bytes as u64 > traffic.limits().header_bytes {
            let failure = too_large_head(traffic, "request", bytes);
            ongoing.fail(&failure);
            return Err(ErrorCode::HttpRequestHeaderSectionSize(u32::try_from(bytes).ok()));
        }
        parts.headers.insert(header::HOST, host(&target)?);
        // One request for each connection, so that no attempt meets the remains of another.
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        parts.version = Version::HTTP_11;
        parts.uri = Uri::try_from(&target.path).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
        let request = Request::from_parts(
            parts,
            RequestBody::new(body, ongoing.tally(), self.deadline.clone()),
        );
        let route = Route {
            shared: self.shared.clone(),
            traffic: traffic.clone(),
            deadline: self.deadline.clone(),
            options,
            only_public: verdict == Verdict::IfPublic,
            target,
            ongoing,
        };
        Ok(Prepared { route, request })
    }
}

impl Prepared {
    /// Sends it and waits for the head of the answer.
    pub(super) async fn send(self) -> Result<Response<WasiBody>, Error> {
        let Self { route, request } = self;
        let limit = route.options.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let connected = within(Some(limit), &route.deadline, route.connect()).await;
        let connected = connected.unwrap_or_else(|| Err(route.no_connection()));
        let (mut sender, slot, connection) = match connected {
            Ok(connected) => connected,
            Err(failure) => return Err(route.fail(failure)),
        };
        // The task ends when the exchange is over or the answer's body is dropped, and gives back
        // the slot with the connection itself.
        let connection = spawn(async move {
            let _slot = slot;
            connection.await;
        });
        let first_byte = route.options.first_byte_timeout;
        let answer = within(first_byte, &route.deadline, sender.send_request(request)).await;
        let failure = match answer {
            Some(Ok(answer)) => return Ok(route.finish(answer, connection)),
            Some(Err(error)) => broken_exchange(&error, &route.traffic),
            None => Failure::new(Error::ConnectionReadTimeout, "no answer in time"),
        };
        Err(route.fail(failure))
    }
}

impl Route {
    async fn connect(
        &self,
    ) -> Result<(http1::SendRequest<RequestBody>, Slot, Connection), Failure> {
        let full = || Failure::new(Error::ConnectionLimitReached, "too many concurrent requests");
        let slot = self.traffic.slot().await.ok_or_else(full)?;
        let addresses = self.addresses().await?;
        let stream = self.reach(&addresses).await?;
        if !self.target.https {
            let (sender, connection) = handshake(stream, &self.traffic).await?;
            return Ok((sender, slot, connection));
        }
        let name = ServerName::try_from(self.target.host.clone()).map_err(|error| {
            Failure::new(Error::HttpRequestUriInvalid, format!("no name for TLS: {error}"))
        })?;
        let stream = self.shared.tls.connect(name, stream).await.map_err(|error| {
            let (error, reason) = tls::failure(&error);
            Failure::new(error, reason)
        })?;
        let (sender, connection) = handshake(stream, &self.traffic).await?;
        Ok((sender, slot, connection))
    }

    /// The addresses of the target that may be connected to.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let Target { host, port, .. } = &self.target;
        let found = self.shared.resolver.resolve(host, *port).await.map_err(|error| {
            let rcode = Some(error.to_string());
            let reason = format!("{host} cannot be resolved: {error}");
            Failure::new(Error::DnsError { rcode, info_code: None }, reason)
        })?;
        let mut addresses = found.clone();
        if self.only_public {
            addresses.retain(|address| address::is_public(address.ip()));
        }
        match (addresses.is_empty(), found.first()) {
            (false, _) => Ok(addresses),
            (true, None) => {
                Err(Failure::new(Error::DestinationNotFound, format!("{host} has no address")))
            }
            (true, Some(private)) => {
                let reason = format!(
                    "not allowed by the policy: {host} is at {}, which is not a public \
                     address, and only a grant that names the host itself reaches those: {}",
                    private.ip(),
                    advice("allow_http", &self.target.origin())
                );
                Err(Failure { error: Error::DestinationIpProhibited, reason, denied: true })
            }
        }
    }

    /// Connects to the first address that takes the connection.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is written in few pieces; none should wait for another's receipt.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Some((address, error)),
            }
        }
        Err(match last {
            Some((address, error)) => unreachable_address(&self.target, address, &error),
            None => Failure::new(Error::DestinationNotFound, "there is no address"),
        })
    }

    fn no_connection(&self) -> Failure {
        let reason = format!("no connection to {} in time", self.target.origin());
        Failure::new(Error::ConnectionTimeout, reason)
    }

    fn finish(
        self,
        answer: Response<hyper::body::Incoming>,
        connection: AbortOnDropJoinHandle<()>,
    ) -> Response<WasiBody> {
        let Self { ongoing, options, deadline, .. } = self;
        ongoing.status(answer.status().as_u16());
        let between = options.between_bytes_timeout;
        answer.map(|incoming| {
            ResponseBody::new(incoming, ongoing, between, deadline, connection).boxed_unsync()
        })
    }

    fn fail(&self, failure: Failure) -> Error {
        if failure.denied {
            self.ongoing.deny(&failure.reason);
        } else {
            self.ongoing.fail(&failure.reason);
        }
        failure.error
    }
}

type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    traffic: &Traffic,
) -> Result<(http1::SendRequest<RequestBody>, Connection), Failure> {
    let bytes = usize::try_from(traffic.limits().header_bytes).unwrap_or(usize::MAX);
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(bytes.max(MIN_HEAD_BYTES))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::new(Error::ConnectionTerminated, chain(&error)))?;
    // What goes wrong here is told to whoever waits for the answer.
    Ok((sender, Box::pin(async move { drop(connection.await) })))
}

/// Why a target is denied, and what to do about it.
fn ungranted(target: &Target) -> String {
    format!("not allowed by the policy: {}", advice("allow_http", &target.origin()))
}

fn unreachable_address(target: &Target, address: &SocketAddr, error: &io::Error) -> Failure {
    let (guest, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (Error::ConnectionRefused, ": nothing listens there, is the service up?")
        }
        io::ErrorKind::TimedOut => (Error::ConnectionTimeout, ""),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (Error::DestinationIpUnroutable, "")
        }
        _ => (Error::DestinationUnavailable, ""),
    };
    let reason = format!("{} at {address} cannot be reached: {error}{hint}", target.origin());
    Failure::new(guest, reason)
}

/// What hyper's error means before the answer's head is there.
fn broken_exchange(error: &hyper::Error, traffic: &Traffic) -> Failure {
    if error.is_parse_too_large() {
        let bytes = usize::try_from(traffic.limits().header_bytes).unwrap_or(usize::MAX);
        let reason = too_large_head(traffic, "answer", bytes);
        return Failure::new(
            Error::HttpResponseHeaderSectionSize(u32::try_from(bytes).ok()),
            reason,
        );
    }
    // The guest's body ended in an error: over a limit, or given up by the guest.
    if error.is_user() {
        let source = error.source().and_then(|source| source.downcast_ref::<Error>());
        return match source {
            Some(Error::HttpRequestBodySize(size)) => {
                Failure::new(Error::HttpRequestBodySize(*size), "the request's body is too large")
            }
            _ => Failure::new(Error::HttpProtocolError, "the guest gave up the request's body"),
        };
    }
    if error.is_parse() {
        let reason = format!("the answer is not HTTP/1.1: {}", chain(error));
        return Failure::new(Error::HttpProtocolError, reason);
    }
    let reason = format!("the connection was closed before an answer came: {}", chain(error));
    Failure::new(Error::ConnectionTerminated, reason)
}

/// What hyper's error means in the middle of the answer's body.
pub(super) fn broken_body(error: &hyper::Error) -> (Error, String) {
    let guest =
        if error.is_parse() { Error::HttpProtocolError } else { Error::HttpResponseIncomplete };
    (guest, format!("the answer broke off: {}", chain(error)))
}

fn too_large_head(traffic: &Traffic, what: &str, bytes: usize) -> String {
    traffic.hit(Limit::HeaderBytes);
    let limit = traffic.limits().header_bytes;
    format!(
        "the {what}'s header of {bytes} bytes or more is over limit header_bytes of {limit}: raise \
         it in the policy"
    )
}

fn chain(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn host(target: &Target) -> Result<HeaderValue, ErrorCode> {
    HeaderValue::try_from(target.authority()).map_err(|_| ErrorCode::HttpRequestUriInvalid)
}

fn head_bytes(headers: &HeaderMap) -> usize {
    // Colon, space and line break.
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The trace id of the request (W3C Trace Context): the guest's, or else a new one.
fn trace(headers: &mut HeaderMap) -> Option<String> {
    if let Some(set) = headers.get(TRACEPARENT) {
        return set.to_str().ok().and_then(trace_id);
    }
    let (trace, span): (u128, u64) = (rand::random(), rand::random());
    // All zeroes is no id; the lowest bits are as good as any to rule that out.
    let (trace, span) = (format!("{:032x}", trace | 1), format!("{:016x}", span | 1));
    let value = HeaderValue::try_from(format!("00-{trace}-{span}-01")).ok()?;
    headers.insert(TRACEPARENT, value);
    Some(trace)
}

fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let hex = id.len() == 32 && id.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'));
    hex.then(|| id.to_owned())
}

/// Does the work until `limit` or the attempt's deadline, whichever comes first.
pub(super) async fn within<F: Future>(
    limit: Option<Duration>,
    deadline: &SharedDeadline,
    work: F,
) -> Option<F::Output> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = expiry(limit, deadline.clone()) => None,
    }
}

/// Waits for `limit` or the attempt's deadline, whichever comes first. The deadline may move later
/// meanwhile.
pub(super) async fn expiry(limit: Option<Duration>, deadline: SharedDeadline) {
    let own = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let shared = deadline.at();
        let at = own.map_or(shared, |own| own.min(shared));
        tokio::time::sleep_until(at.into()).await;
        if own.is_some_and(|own| own <= at) || deadline.at() <= Instant::now() {
            return;
        }
    }
}
