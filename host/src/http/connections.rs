//! Accepts connections and keeps them within bounds: how many, how long they may be idle, how long a
//! client may take to send a head or to read an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::HttpSettings;
use crate::metrics::Metrics;

/// How long to wait after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves; then cancels `closing`, stops accepting, and lets the answers under
/// way finish within their time.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &HttpSettings,
    metrics: Metrics,
    closing: CancellationToken,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let http = builder(settings);
    let write_timeout = Duration::from_millis(settings.write_timeout_ms);
    let places = Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places, &metrics) => accepted,
        };
        let Some((stream, place)) = accepted else { break };
        // Answers are small and wait for nobody.
        let _ = stream.set_nodelay(true);
        let io = TokioIo::new(Patient::new(stream, write_timeout));
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(io, service).with_upgrades();
        let (closing, metrics) = (closing.clone(), metrics.clone());
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
                if let Some(limit) = limit_hit(&error) {
                    metrics.server_limit_hit(limit);
                }
            }
            drop(place);
        });
    }
    drop(listener);
    closing.cancel();
    connections.close();
    let limit = Duration::from_millis(settings.shutdown_timeout_ms);
    if tokio::time::timeout(limit, connections.wait()).await.is_err() {
        tracing::warn!("answers were still under way when the server stopped");
    }
    Ok(())
}

/// HTTP/1.1 alone: without TLS, clients do not speak HTTP/2, and detecting it would wait without a
/// timeout for the first bytes. The timer covers a connection that is idle between requests too.
fn builder(settings: &HttpSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_timeout_ms));
    builder
}

/// The next connection with its place; none when there will be no more.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    if places.available_permits() == 0 {
        metrics.server_limit_hit("http_connections");
    }
    let place = places.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The bound that ended a connection, if one did.
fn limit_hit(error: &hyper::Error) -> Option<&'static str> {
    if error.is_timeout() {
        return Some("http_header_timeout_ms");
    }
    let io = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    (io.kind() == io::ErrorKind::TimedOut).then_some("http_write_timeout_ms")
}

/// Whether only the one connection failed.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A stream that gives up when its peer takes nothing for too long. Without it, a client that stops
/// reading would hold an answer, and what makes it, for ever.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, deadline: None }
    }

    /// Passes on what is ready; of what is not, how long it has been waiting decides.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let until = Instant::now() + self.patience;
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no more data")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Server {
        at: std::net::SocketAddr,
        metrics: Metrics,
        /// Told when `/until-closing` is being answered.
        begun: Arc<tokio::sync::Notify>,
        stop: CancellationToken,
        ended: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn server(settings: HttpSettings) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (metrics, stop, closing) =
            (Metrics::new(), CancellationToken::new(), CancellationToken::new());
        let ends = closing.clone();
        let begun = Arc::new(tokio::sync::Notify::new());
        let begins = begun.clone();
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route(
                "/until-closing",
                get(move || async move {
                    begins.notify_one();
                    ends.cancelled().await;
                    "closing"
                }),
            )
            .route(
                "/endless",
                get(|| async {
                    let zeroes =
                        futures::stream::repeat_with(|| Ok::<_, io::Error>(vec![0u8; 1 << 16]));
                    axum::body::Body::from_stream(zeroes)
                }),
            );
        let (told, stopped) = (metrics.clone(), stop.clone().cancelled_owned());
        let ended = tokio::spawn(async move {
            serve(listener, routes, &settings, told, closing, stopped).await
        });
        Server { at, metrics, begun, stop, ended }
    }

    impl Server {
        async fn send(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.at).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }

        /// Waits until a bound was hit.
        async fn hit(&self, limit: &str) {
            while !self.metrics.render().contains(&format!("{{limit=\"{limit}\"}} 1")) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n";

    #[tokio::test]
    async fn a_client_that_never_ends_its_head_is_cut_off() {
        let server = server(HttpSettings { header_timeout_ms: 30, ..Default::default() }).await;
        for start in ["", "G", GET] {
            let answer = rest(server.send(start).await).await;
            assert!(!answer.contains("200 OK"), "{answer}");
        }
        // One that is kept alive and says nothing more is cut off too, after its answer.
        let answer = rest(server.send(&format!("{GET}\r\n")).await).await;
        assert!(answer.contains("200 OK") && answer.ends_with("hello"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off() {
        let server = server(HttpSettings { write_timeout_ms: 30, ..Default::default() }).await;
        let stream = server.send("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        server.hit("http_write_timeout_ms").await;
        drop(stream);
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_for_its_place() {
        let server = server(HttpSettings { connections: 1, ..Default::default() }).await;
        let first = server.send(GET).await;
        let second = server.send(&format!("{GET}connection: close\r\n\r\n")).await;
        server.hit("http_connections").await;
        drop(first);
        assert!(rest(second).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn an_answer_under_way_is_finished_before_the_server_ends() {
        let server = server(HttpSettings::default()).await;
        let request = "GET /until-closing HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let under_way = server.send(request).await;
        server.begun.notified().await;
        server.stop.cancel();
        assert!(rest(under_way).await.ends_with("closing"));
        server.ended.await.unwrap().unwrap();
    }
}
