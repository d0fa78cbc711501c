//! Accepts connections and keeps them within bounds: how many, how long they may be idle, how long a
//! client may take to send a head or to read an answer, and how much of a head is held.

mod exchange;
mod patient;
mod places;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::HttpSettings;
use super::error::ApiError;
use super::head::unreadable as unreadable_head;
use crate::metrics::Metrics;
use exchange::answer;
use patient::{Patient, TooSlow};
use places::{Place, Places};

/// How long to wait after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a request that cannot be read is answered as: one to a path that no route has.
const STAND_IN: &[u8] = b"UNREADABLE /unreadable HTTP/1.1\r\n\r\n";

/// The least that hyper buffers of a connection.
const LEAST_BUFFER_BYTES: usize = 8192;

/// How much is read at a time of what nobody wants.
const DISCARD_BYTES: usize = 16 << 10;

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
    let places = Places::new(settings.connections);
    let connections = TaskTracker::new();
    let door = Door { router, settings: settings.clone(), metrics, closing };
    let door = Arc::new(door);
    tokio::pin!(shutdown);
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places, &door.metrics) => accepted,
        };
        // Answers are small and wait for nobody.
        let _ = stream.set_nodelay(true);
        connections.spawn(Arc::clone(&door).attend(stream, place));
    }
    drop(listener);
    door.closing.cancel();
    connections.close();
    let limit = Duration::from_millis(settings.shutdown_timeout_ms);
    if tokio::time::timeout(limit, connections.wait()).await.is_err() {
        tracing::warn!("answers were still under way when the server stopped");
    }
    Ok(())
}

/// The next connection with its place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
    metrics: &Metrics,
) -> (TcpStream, Arc<Place>) {
    let (stream, peer) = loop {
        match listener.accept().await {
            Ok(accepted) => break accepted,
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    let peer: SocketAddr = peer;
    (stream, places.take(peer.ip(), metrics).await)
}

/// Whether only the one connection failed.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What all connections share.
struct Door {
    router: Router,
    settings: HttpSettings,
    metrics: Metrics,
    closing: CancellationToken,
}

impl Door {
    /// HTTP/1.1 alone: without TLS, clients do not speak HTTP/2, and detecting it would wait without a
    /// timeout for the first bytes. The timer covers a connection that is idle between requests too.
    fn http(&self) -> http1::Builder {
        let head_bytes = usize::try_from(self.settings.head_bytes).unwrap_or(usize::MAX);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(self.settings.header_timeout_ms))
            .max_headers(self.settings.headers)
            .max_header_size(head_bytes)
            .max_buf_size(head_bytes.max(LEAST_BUFFER_BYTES));
        builder
    }

    /// Serves one connection to its end, or until its place is given to another.
    async fn attend(self: Arc<Self>, stream: TcpStream, place: Arc<Place>) {
        tokio::select! {
            biased;
            () = self.serve(stream, Arc::clone(&place)) => {}
            () = place.evicted() => tracing::debug!("an idle connection gave up its place"),
        }
    }

    async fn serve(&self, stream: TcpStream, place: Arc<Place>) {
        let service = {
            let (router, place) = (self.router.clone(), Arc::clone(&place));
            service_fn(move |request| answer(router.clone(), Arc::clone(&place), request))
        };
        let io = TokioIo::new(Patient::new(stream, Arc::clone(&place), &self.settings));
        let mut connection = self.http().serve_connection(io, service).with_upgrades();
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.closing.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection ended early");
            if let Some(limit) = limit_hit(error) {
                self.metrics.server_limit_hit(limit);
            }
        }
        let unreadable = ended.err().filter(hyper::Error::is_parse);
        if unreadable.is_none() && !place.has_unread_body() {
            return;
        }
        let Some(parts) = connection.into_parts() else { return };
        let (mut stream, head) = (parts.io.into_inner(), parts.read_buf);
        if let Some(error) = unreadable {
            let why = unreadable_head(&error, &head, &self.settings, &self.metrics);
            // Not held while the client goes on.
            drop(head);
            self.refuse(&mut stream, &place, &why).await;
        }
        tokio::select! {
            () = self.hear_out(stream) => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// Answers a request that hyper could not read as the routes answer any other: a stand-in asks them,
    /// and gets told why.
    async fn refuse(&self, stream: &mut Patient<TcpStream>, place: &Arc<Place>, why: &ApiError) {
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(why.clone());
            answer(self.router.clone(), Arc::clone(place), request)
        });
        let io = TokioIo::new(tokio::io::join(STAND_IN, stream));
        // The stand-in says nothing more, and waits for its answer.
        let connection =
            http1::Builder::new().half_close(true).keep_alive(false).serve_connection(io, service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "failed to answer a request that cannot be read");
        }
    }

    /// Reads and drops what a client still sends after its answer, until it stops, for a bounded time.
    /// Closing at once would reset the connection, and the client might lose the answer that tells it
    /// why. Our half is shut meanwhile.
    async fn hear_out(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let discard = async {
            // After an answer that failed, it is not shut yet.
            let _ = stream.shutdown().await;
            let mut dropped = vec![0; DISCARD_BYTES];
            let mut left = self.settings.linger_bytes;
            while let Ok(bytes @ 1..) = stream.read(&mut dropped).await {
                match left.checked_sub(bytes as u64) {
                    Some(rest) => left = rest,
                    None => return Some("http.linger_bytes"),
                }
            }
            None
        };
        let limit = Duration::from_millis(self.settings.linger_ms);
        let hit = tokio::time::timeout(limit, discard).await.unwrap_or(Some("http.linger_ms"));
        if let Some(limit) = hit {
            self.metrics.server_limit_hit(limit);
        }
    }
}

/// The setting of the bound that ended a connection, if one did.
fn limit_hit(error: &hyper::Error) -> Option<&'static str> {
    if error.is_timeout() {
        return Some("http.header_timeout_ms");
    }
    let io = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    Some(io.get_ref()?.downcast_ref::<TooSlow>()?.limit)
}
