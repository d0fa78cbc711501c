//! One request and its answer, as the connection sees them.
//!
//! A connection on which a client may still be sending a body that nobody reads cannot be used again:
//! its answer says so, with `connection: close`. Otherwise a client that pools connections would send
//! its next request where it is never read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::places::Place;

/// Answers one request of a connection.
pub(super) async fn answer(
    router: Router,
    place: Arc<Place>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let has_body = !http_body::Body::is_end_stream(request.body());
    place.request_began(has_body);
    let request = request.map(|body| {
        if has_body {
            Body::new(Received { body, place: Arc::clone(&place) })
        } else {
            Body::empty()
        }
    });
    let mut response = router.oneshot(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Under way until the connection ends.
        return Ok(response);
    }
    if place.has_unread_body() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Body::new(Answer { body, place })))
}

/// A request's body that remembers whether it was read to its end.
struct Received {
    body: Incoming,
    place: Arc<Place>,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.place.body_ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that tells when it has been made, or nobody wants the rest.
struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.answer_ended();
    }
}
