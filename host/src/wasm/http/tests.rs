//! The sender against real servers on the loopback interface.

mod limits;
mod tls;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wasmtime_wasi::p2::Pollable as _;

use super::*;
use crate::metrics::Metrics;
use crate::model::{Exchange, Limit, Limits};
use crate::wasm::SandboxSettings;
use crate::wasm::limits::LimitsHit;

/// One attempt's HTTP with what belongs to it.
/// Looks up as the system does.
fn system() -> Resolver {
    Resolver::system(&SandboxSettings::default(), Metrics::new())
}

struct Attempt {
    http: HttpCtx,
    traffic: Traffic,
    hits: LimitsHit,
}

impl Attempt {
    fn new(grant: &str) -> Self {
        Self::with(grant, Limits::default(), HttpShared::new(None, system()).unwrap())
    }

    fn limited(grant: &str, limits: Limits) -> Self {
        Self::with(grant, limits, HttpShared::new(None, system()).unwrap())
    }

    fn with(grant: &str, limits: Limits, shared: HttpShared) -> Self {
        let deadline = SharedDeadline::new(Instant::now() + Duration::from_secs(60));
        Self::until(grant, limits, shared, deadline)
    }

    fn until(grant: &str, limits: Limits, shared: HttpShared, deadline: SharedDeadline) -> Self {
        let allow_http = vec![grant.parse().unwrap()];
        let policy = Arc::new(Policy { allow_http, ..Policy::default() });
        let hits = LimitsHit::default();
        let traffic = Traffic::new(Arc::new(limits), hits.clone(), Metrics::new());
        let http = HttpCtx::new(shared, policy, traffic.clone(), deadline);
        Self { http, traffic, hits }
    }

    async fn send(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<http::Response<WasiBody>, Error> {
        self.send_with(request, RequestOptions::default()).await
    }

    async fn send_with(
        &mut self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        let processed = Box::new(std::future::ready(Ok(())));
        let sending = self.http.sender.send_request(request, Some(options), processed);
        Box::into_pin(sending).await.map(|(answer, _)| answer)
    }

    async fn get(&mut self, url: &str) -> Result<(StatusCode, Bytes), Error> {
        read(self.send(get(url)).await?).await
    }

    fn exchange(&self) -> Exchange {
        let [exchange] = self.traffic.finish().try_into().unwrap();
        exchange
    }
}

async fn read(answer: http::Response<WasiBody>) -> Result<(StatusCode, Bytes), Error> {
    Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
}

fn get(url: &str) -> Request<WasiBody> {
    request("GET", url, Empty::new().map_err(|never| match never {}).boxed_unsync())
}

fn post(url: &str, body: impl Into<Bytes>) -> Request<WasiBody> {
    request("POST", url, Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

fn request(method: &str, url: &str, body: WasiBody) -> Request<WasiBody> {
    Request::builder().method(method).uri(url).body(body).unwrap()
}

/// A server that reads a request's head and then does what it is told.
struct Server {
    origin: String,
    heads: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn new<F: Future<Output = ()> + Send>(
        answer: impl Fn(TcpStream) -> F + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (sender, answer) = (sender.clone(), answer.clone());
                tokio::spawn(async move {
                    let _ = sender.send(head(&mut stream).await);
                    answer(stream).await;
                });
            }
        });
        Self { origin, heads }
    }

    /// Answers everybody with the same bytes and closes.
    async fn saying(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::new(move |mut stream| {
            let answer = answer.clone();
            async move {
                let _ = stream.write_all(&answer).await;
            }
        })
        .await
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_granted_request_goes_out_and_is_recorded() {
    let mut server = Server::saying(OK).await;
    let mut attempt = Attempt::new(&server.origin);
    let url = format!("{}/path?token=s3cret", server.origin);
    assert_eq!(attempt.get(&url).await.unwrap(), (StatusCode::OK, "ok".into()));
    let head = server.heads.recv().await.unwrap();
    let authority = server.origin.strip_prefix("http://").unwrap();
    assert!(head.starts_with("GET /path?token=s3cret HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {authority}\r\n")), "{head}");
    let exchange = attempt.exchange();
    let trace = exchange.trace_id.unwrap();
    assert!(head.contains(&format!("traceparent: 00-{trace}-")), "{head}");
    assert_eq!(exchange.url, format!("{}/path?token=***", server.origin));
    assert_eq!((exchange.method.as_str(), exchange.status), ("GET", Some(200)));
    assert_eq!((exchange.sent_bytes, exchange.received_bytes), (0, 2));
    assert!(exchange.allowed && exchange.error.is_none());
    assert_eq!(attempt.hits.take(), []);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_says_what_to_do() {
    let server = Server::saying(OK).await;
    let port = server.origin.rsplit_once(':').unwrap().1;
    let other_scheme = server.origin.replace("http:", "https:");
    for grant in ["http://127.0.0.1", &format!("http://localhost:{port}"), &other_scheme] {
        let mut attempt = Attempt::new(grant);
        let error = attempt.get(&server.origin).await.unwrap_err();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        let exchange = attempt.exchange();
        assert!(!exchange.allowed);
        let origin = &server.origin;
        let advice = format!(
            "policy: grant allow_http = [\"{origin}\"], on the command line by --allow-http {origin}"
        );
        assert!(exchange.error.unwrap().ends_with(&advice));
    }
}

#[tokio::test]
async fn a_name_under_a_pattern_does_not_lead_to_a_private_address() {
    let mut server = Server::saying(OK).await;
    let port = server.origin.rsplit_once(':').unwrap().1;
    let names: &[(&str, &[&str])] =
        &[("in.test", &["127.0.0.1"]), ("meta.test", &["169.254.169.254", "::ffff:127.0.0.1"])];
    let shared = HttpShared::new(None, Resolver::fixed(names)).unwrap();
    for name in ["in.test", "meta.test"] {
        let mut attempt = Attempt::with("http://*.test:*", Limits::default(), shared.clone());
        let error = attempt.get(&format!("http://{name}:{port}/")).await.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
        let exchange = attempt.exchange();
        assert!(!exchange.allowed);
        let advice = format!("by --allow-http http://{name}:{port}");
        assert!(exchange.error.unwrap().ends_with(&advice));
    }
    // The operator may name the host itself.
    let grant = format!("http://in.test:{port}");
    let mut attempt = Attempt::with(&grant, Limits::default(), shared);
    let url = format!("http://IN.test:{port}/");
    assert_eq!(attempt.get(&url).await.unwrap().0, StatusCode::OK);
    let head = server.heads.recv().await.unwrap();
    assert!(head.contains(&format!("host: in.test:{port}\r\n")), "{head}");
    assert!(server.heads.try_recv().is_err());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error_of_its_own() {
    let shared = HttpShared::new(None, Resolver::fixed(&[])).unwrap();
    let mut attempt = Attempt::with("http://gone.test", Limits::default(), shared);
    let error = attempt.get("http://gone.test/").await.unwrap_err();
    assert!(matches!(error, Error::DnsError { .. }), "{error}");
    assert!(attempt.exchange().error.unwrap().starts_with("gone.test cannot be resolved"));
}

#[tokio::test]
async fn a_url_with_a_user_or_a_tunnel_is_refused() {
    let server = Server::saying(OK).await;
    let mut attempt = Attempt::new(&server.origin);
    let url = server.origin.replace("http://", "http://user:s3cret@");
    let error = attempt.get(&url).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestUriInvalid), "{error}");
    assert!(!attempt.exchange().url.contains("s3cret"));
    let tunnel = request("CONNECT", &server.origin, get("http://a").into_body());
    let error = attempt.send(tunnel).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestMethodInvalid), "{error}");
}

#[tokio::test]
async fn headers_of_the_connection_are_ours_and_a_guests_trace_is_kept() {
    let mut server = Server::saying(OK).await;
    let mut attempt = Attempt::new(&server.origin);
    let mut request = get(&server.origin);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (name, value) in [
        ("host", "evil.test"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("proxy-authorization", "basic eA=="),
        ("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")),
        ("x-kept", "yes"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    attempt.send(request).await.unwrap();
    let head = server.heads.recv().await.unwrap();
    for gone in ["evil", "upgrade", "te:", "proxy"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert!(head.contains("x-kept: yes\r\n") && head.contains("connection: close\r\n"), "{head}");
    assert_eq!(head.matches("traceparent").count(), 1);
    assert_eq!(attempt.exchange().trace_id.as_deref(), Some(trace));
}

#[test]
fn a_line_break_gets_into_no_header_and_no_path() {
    assert!(http::HeaderValue::from_bytes(b"a\r\nhost: evil").is_err());
    for path in ["/ HTTP/1.1\r\nhost: evil", "/a\nb", "/a b"] {
        assert!(http::Uri::builder().path_and_query(path).build().is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_at_the_deadline() {
    let server = Server::new(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let deadline = SharedDeadline::new(Instant::now() + Duration::from_millis(50));
    let shared = HttpShared::new(None, system()).unwrap();
    let mut attempt = Attempt::until(&server.origin, Limits::default(), shared, deadline);
    // What the guest asks for does not reach beyond the attempt.
    let options = RequestOptions {
        first_byte_timeout: Some(Duration::MAX),
        connect_timeout: Some(Duration::from_nanos(u64::MAX)),
        ..RequestOptions::default()
    };
    let error = attempt.send_with(get(&server.origin), options).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    assert_eq!(attempt.exchange().error.as_deref(), Some("no answer in time"));
}

#[tokio::test]
async fn a_guest_may_wait_for_less() {
    let server = Server::new(|mut stream| async move {
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        let _ = stream.write_all(half.as_bytes()).await;
        std::future::pending().await
    })
    .await;
    let mut attempt = Attempt::new(&server.origin);
    let options = RequestOptions {
        between_bytes_timeout: Some(Duration::from_millis(1)),
        ..RequestOptions::default()
    };
    let answer = attempt.send_with(get(&server.origin), options).await.unwrap();
    let error = read(answer).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    let exchange = attempt.exchange();
    assert_eq!((exchange.status, exchange.received_bytes), (Some(200), 4));
}

#[tokio::test]
async fn waiting_for_no_time_at_all_is_no_panic() {
    let server = Server::new(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let mut attempt = Attempt::new(&server.origin);
    for options in [
        RequestOptions { connect_timeout: Some(Duration::ZERO), ..RequestOptions::default() },
        RequestOptions::default(),
    ] {
        let options = RequestOptions { first_byte_timeout: Some(Duration::ZERO), ..options };
        let error = attempt.send_with(get(&server.origin), options).await.unwrap_err();
        let timeout = matches!(error, Error::ConnectionTimeout | Error::ConnectionReadTimeout);
        assert!(timeout, "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut attempt = Attempt::new(&origin);
    let error = attempt.get(&origin).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionRefused), "{error}");
    let exchange = attempt.exchange();
    assert!(exchange.allowed);
    assert!(exchange.error.unwrap().contains("nothing listens there, is the service up?"));
}

#[tokio::test]
async fn answers_that_are_none_are_told_apart() {
    for (answer, expected) in [
        ("", Error::ConnectionTerminated),
        ("SSH-2.0-OpenSSH\r\n\r\n", Error::HttpProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Error::HttpResponseIncomplete),
    ] {
        let server = Server::saying(answer).await;
        let mut attempt = Attempt::new(&server.origin);
        let error = attempt.get(&server.origin).await.unwrap_err();
        assert_eq!(error.to_string(), expected.to_string(), "{answer}");
        assert!(attempt.exchange().error.is_some());
    }
}

#[tokio::test]
async fn a_chunked_answer_is_put_together() {
    let answer =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let server = Server::saying(answer).await;
    let mut attempt = Attempt::new(&server.origin);
    assert_eq!(attempt.get(&server.origin).await.unwrap().1, "abcde");
    assert_eq!(attempt.exchange().received_bytes, 5);
}

#[tokio::test]
async fn empty_pieces_of_a_body_are_not_sent() {
    let (sender, mut bodies) = mpsc::unbounded_channel();
    let server = Server::new(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = sender.send(String::from_utf8(body).unwrap());
        }
    })
    .await;
    let mut attempt = Attempt::new(&server.origin);
    let pieces = ["", "abc", "", "", "de", ""].map(|piece| Ok(Frame::data(Bytes::from(piece))));
    let body = StreamBody::new(futures::stream::iter(pieces)).boxed_unsync();
    let answer = attempt.send(request("POST", &server.origin, body)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = bodies.recv().await.unwrap();
    assert_eq!(body, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(attempt.exchange().sent_bytes, 5);
}

#[tokio::test]
async fn a_body_that_the_guest_gives_up_is_an_error() {
    let server = Server::saying("").await;
    let mut attempt = Attempt::new(&server.origin);
    let pieces = [Ok(Frame::data(Bytes::from("abc"))), Err(Error::HttpProtocolError)];
    let body = StreamBody::new(futures::stream::iter(pieces).chain(futures::stream::pending()));
    let sent = attempt.send(request("POST", &server.origin, body.boxed_unsync())).await;
    assert!(sent.is_err());
    assert!(attempt.exchange().error.is_some());
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow() {
    let answer =
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    let server = Server::saying(answer).await;
    let mut attempt = Attempt::new(&server.origin);
    let (status, _) = attempt.get(&server.origin).await.unwrap();
    assert_eq!(status, StatusCode::FOUND);
    assert_eq!(attempt.exchange().status, Some(302));
}

#[tokio::test]
async fn dropping_the_answer_closes_the_connection_and_ends_the_exchange() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = Server::new(move |mut stream| {
        let sender = sender.clone();
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await;
            let _ = stream.read_u8().await;
            let _ = sender.send(());
        }
    })
    .await;
    let mut attempt = Attempt::new(&server.origin);
    drop(attempt.send(get(&server.origin)).await.unwrap());
    closed.recv().await.unwrap();
    assert_eq!(attempt.exchange().status, Some(200));
}

/// The guest's side: a request with a body that is written after it was handed over.
struct Guest {
    attempt: Attempt,
    table: ResourceTable,
}

impl Guest {
    fn handle(
        &mut self,
        url: &str,
        body: WasiBody,
    ) -> Result<HostFutureIncomingResponse, ErrorCode> {
        let url: http::Uri = url.parse().unwrap();
        let request = self.table.push(HostOutgoingRequest {
            method: types::Method::Post,
            scheme: Some(types::Scheme::Http),
            authority: url.authority().map(ToString::to_string),
            path_with_query: Some("/".into()),
            headers: wasmtime_wasi_http::FieldMap::new_mutable(1000),
            body: Some(body),
        });
        let view = HttpCtxView { ctx: &mut self.attempt.http, table: &mut self.table };
        let answer = view.handle(request.unwrap(), None).unwrap()?;
        Ok(self.table.delete(answer).unwrap())
    }
}

#[tokio::test]
async fn a_denial_comes_at_the_call_and_other_errors_let_the_body_be_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut guest = Guest { attempt: Attempt::new(&origin), table: ResourceTable::new() };
    for (url, expected) in [
        ("http://elsewhere.test", ErrorCode::HttpRequestDenied),
        ("http://user@elsewhere.test", ErrorCode::HttpRequestUriInvalid),
    ] {
        let error = guest.handle(url, get(url).into_body()).err().unwrap();
        assert_eq!(error.to_string(), expected.to_string());
    }
    let (sender, receiver) = mpsc::channel(1);
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let body = StreamBody::new(pieces.map(|piece: Bytes| Ok(Frame::data(piece))));
    let mut answer = guest.handle(&origin, body.boxed_unsync()).ok().unwrap();
    answer.ready().await;
    assert!(matches!(answer, HostFutureIncomingResponse::Ready(Err(Error::ConnectionRefused))));
    for _ in 0..10 {
        sender.send("piece".into()).await.unwrap();
    }
}
