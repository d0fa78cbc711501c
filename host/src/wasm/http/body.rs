//! Bodies that are counted, bounded and timed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::send::{self, expiry};
use crate::wasm::deadline::SharedDeadline;
use crate::wasm::traffic::{Ongoing, Tally};

/// A request's body on its way out.
///
/// Whoever sends it may lose interest before its end: hyper does not ask for the end of a body that has
/// nothing in it, and a tested system may answer before it has read everything. What the guest still
/// writes is then taken and dropped: a guest that finds its writing refused takes that for a broken
/// connection and does not ask for the answer.
pub(super) struct RequestBody {
    /// None once it has ended.
    inner: Option<WasiBody>,
    tally: Tally,
    deadline: SharedDeadline,
}

impl RequestBody {
    pub(super) fn new(inner: WasiBody, tally: Tally, deadline: SharedDeadline) -> Self {
        Self { inner: Some(inner), tally, deadline }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // Where there is no runtime any more, there is no guest either.
        let (Some(mut body), Ok(runtime)) = (self.inner.take(), Handle::try_current()) else {
            return;
        };
        let deadline = self.deadline.clone();
        runtime.spawn(async move {
            let drain = async { while let Some(Ok(_)) = body.frame().await {} };
            send::within(None, &deadline, drain).await;
        });
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let frame = match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => {
                    this.inner = None;
                    return Poll::Ready(end);
                }
            };
            if let Some(data) = frame.data_ref() {
                // An empty piece says nothing, costs a queue entry and ends a chunked body early
                // (GHSA-f8mm).
                if data.is_empty() {
                    continue;
                }
                if let Err(over) = this.tally.sent(data.len()) {
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(over.bytes)))));
                }
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An answer's body on its way in. Its end is the end of the exchange.
pub(super) struct ResponseBody {
    incoming: Incoming,
    /// None once the body has ended, in whatever way.
    ongoing: Option<Ongoing>,
    /// How long to wait for the next piece, if the guest said so.
    between: Option<Duration>,
    deadline: SharedDeadline,
    /// Runs while a piece is awaited.
    expiry: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Dropped with the body, which closes the connection if it is still open.
    _connection: AbortOnDropJoinHandle<()>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        ongoing: Ongoing,
        between: Option<Duration>,
        deadline: SharedDeadline,
        connection: AbortOnDropJoinHandle<()>,
    ) -> Self {
        let ongoing = Some(ongoing).filter(|_| !incoming.is_end_stream());
        Self { incoming, ongoing, between, deadline, expiry: None, _connection: connection }
    }

    fn fail(&mut self, error: Error, reason: &str) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(ongoing) = self.ongoing.take() {
            ongoing.fail(reason);
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(ongoing) = &this.ongoing else {
            return Poll::Ready(None);
        };
        loop {
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Pending => {
                    let expiry = this.expiry.get_or_insert_with(|| {
                        Box::pin(expiry(this.between, this.deadline.clone()))
                    });
                    ready!(expiry.as_mut().poll(cx));
                    let reason = "the answer stopped in the middle until its time was up";
                    return this.fail(Error::ConnectionReadTimeout, reason);
                }
                Poll::Ready(None) => {
                    this.ongoing = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    let (error, reason) = send::broken_body(&error);
                    return this.fail(error, &reason);
                }
                Poll::Ready(Some(Ok(frame))) => {
                    this.expiry = None;
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    if frame.is_data() && bytes == 0 {
                        continue;
                    }
                    if let Err(over) = ongoing.tally().received(bytes) {
                        let error = Error::HttpResponseBodySize(Some(over.bytes));
                        return this.fail(error, &over.to_string());
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ongoing.is_none() || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
