//! An upload that tells how far it is: server-sent events in place of the one answer, for a client that
//! accepts them. Compiling a large component takes seconds, and a proxy may end what is silent for long.
//!
//! A client that goes away ends its upload, as it does without events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tower_http::request_id::RequestId;

use super::error::ApiError;
use super::middleware::Live;
use super::views::{UploadEventView, VersionView};
use crate::model::{Step, SuiteVersion};

/// How often an upload says that it is still under way.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// What an upload comes to.
pub(super) type Upload = BoxFuture<'static, Result<(SuiteVersion, bool), ApiError>>;

/// Whether the client asks to be told.
pub(super) fn asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.flat_map(|accept| accept.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// An upload, what is done with it, and when that was last told.
struct Uploading {
    upload: Upload,
    steps: watch::Receiver<Step>,
    since: Instant,
    tick: Interval,
    request_id: Option<String>,
}

/// The steps of `upload` as they are told and, while it is under way, `every` so often; then what came of
/// it.
pub(super) fn told(
    upload: Upload,
    steps: watch::Receiver<Step>,
    every: Duration,
    request_id: Option<&RequestId>,
) -> Response {
    let since = Instant::now();
    let mut tick = interval_at(since + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let request_id = request_id.and_then(|id| id.header_value().to_str().ok().map(str::to_owned));
    let uploading = Uploading { upload, steps, since, tick, request_id };
    let events = futures::stream::unfold(Some(uploading), |uploading| async {
        let mut uploading = uploading?;
        let (event, ended) = uploading.next().await;
        Some((event, (!ended).then_some(uploading)))
    });
    let events = events.map(|event| {
        let data = serde_json::to_string(&event).unwrap_or_default();
        Ok::<_, Infallible>(Event::default().event(event.name()).data(data))
    });
    let unbuffered = [("x-accel-buffering", "no")];
    (axum::Extension(Live), unbuffered, Sse::new(events)).into_response()
}

impl Uploading {
    /// The next event, and whether it is the last.
    async fn next(&mut self) -> (UploadEventView, bool) {
        let Self { upload, steps, since, tick, request_id } = self;
        tokio::select! {
            biased;
            result = upload => {
                let event = match result {
                    Ok((version, new)) => {
                        let version = Box::new(VersionView::from(&version));
                        UploadEventView::Done { new, version }
                    }
                    Err(error) => {
                        UploadEventView::Refused { problem: error.problem(request_id.take()) }
                    }
                };
                (event, true)
            }
            Ok(()) = steps.changed() => (step(steps, *since), false),
            _ = tick.tick() => (step(steps, *since), false),
        }
    }
}

fn step(steps: &mut watch::Receiver<Step>, since: Instant) -> UploadEventView {
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    UploadEventView::Step { step: (*steps.borrow_and_update()).into(), elapsed_ms }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn only_who_accepts_events_gets_them() {
        let asks = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            asked_for(&headers)
        };
        assert!(asks("text/event-stream"));
        assert!(asks("application/json, Text/Event-Stream;q=0.9"));
        assert!(!asks("*/*") && !asks("application/json") && !asked_for(&HeaderMap::new()));
    }

    /// Each event without its number of milliseconds.
    async fn events(upload: Upload, steps: watch::Receiver<Step>, most: usize) -> Vec<String> {
        let response = told(upload, steps, Duration::from_millis(1), None);
        assert!(response.extensions().get::<Live>().is_some());
        let frames = response.into_body().into_data_stream().take(most);
        let text = |frame: Result<bytes::Bytes, _>| {
            String::from_utf8(frame.unwrap().to_vec())
                .unwrap()
                .replace(|c: char| c.is_numeric(), "")
        };
        frames.map(text).collect().await
    }

    const COMPILE: &str =
        "event: step\ndata: {\"event\":\"step\",\"step\":\"compile\",\"elapsed_ms\":}\n\n";

    #[tokio::test]
    async fn steps_are_told_as_they_begin_and_the_end_last() {
        let (teller, steps) = watch::channel(Step::Check);
        let upload = async move {
            teller.send_replace(Step::Compile);
            tokio::task::yield_now().await;
            Err(ApiError::invalid("it is odd"))
        };
        let events = events(upload.boxed(), steps, 10).await;
        let [step, end] = &events[..] else { panic!("{events:?}") };
        assert_eq!(step, COMPILE);
        insta::assert_snapshot!(end);
    }

    #[tokio::test]
    async fn an_upload_that_takes_long_is_told_of_again_and_again() {
        let (teller, steps) = watch::channel(Step::Check);
        teller.send_replace(Step::Compile);
        let events = events(futures::future::pending().boxed(), steps, 3).await;
        assert_eq!(events, [COMPILE; 3]);
    }
}
