//! A run's events: replayed from where the client says, then followed to the run's end. As server-sent
//! events, or as messages of a WebSocket on the same path.
//!
//! Everything is pulled: a client that reads slowly makes the stream wait, and one that does not read is
//! cut off by the connection's write timeout. The run notices neither.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::IntoParams;

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Query};
use super::middleware::Live;
use super::runs::no_run;
use super::views::EventView;
use crate::model::{RunEvent, RunId};
use crate::storage::StorageError;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// Only events with a greater `seq`. The header `Last-Event-ID` takes precedence.
    after: Option<u64>,
}

type Events = BoxStream<'static, Result<Arc<RunEvent>, Arc<StorageError>>>;

/// Follow a run.
///
/// Server-sent events: `id` is the event's `seq`, `event` its name, `data` the event in JSON. Begins after
/// `Last-Event-ID`, or at the first event, and ends after the run's last event. With `Upgrade: websocket`
/// the same events come as text messages.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "runs",
    params(
        ("id" = String, Path, format = "uuid"), FollowQuery,
        ("Last-Event-ID" = Option<u64>, Header),
    ),
    responses(
        (status = 200, body = EventView, content_type = "text/event-stream"),
        (status = 101, description = "The connection is now a WebSocket"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    Query(query): Query<FollowQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let after = after(&headers, query.after)?;
    api.ask(move |storage| storage.summary(id)).await?.ok_or_else(|| no_run(id))?;
    let closing = api.closing.clone();
    let events = api.app.runner.watch(id, after).ok_or_else(ApiError::too_many_followers)?;
    let events = events.take_until(closing.cancelled_owned()).boxed();
    let settings = &api.app.config.http;
    let heartbeat = Duration::from_millis(settings.heartbeat_ms.max(1));
    let patience = Duration::from_millis(settings.write_timeout_ms);
    match upgrade {
        Ok(upgrade) => Ok(upgrade
            .max_message_size(MAX_CLIENT_MESSAGE)
            .on_upgrade(move |socket| send(socket, events, heartbeat, patience))),
        Err(error) if headers.contains_key(header::UPGRADE) => {
            Err(ApiError::new(Kind::Malformed, error.body_text()))
        }
        Err(_) => Ok(server_sent(events, heartbeat)),
    }
}

/// A client of a WebSocket has nothing to say.
const MAX_CLIENT_MESSAGE: usize = 4 << 10;

fn after(headers: &HeaderMap, query: Option<u64>) -> Result<u64, ApiError> {
    let Some(last) = headers.get("last-event-id") else { return Ok(query.unwrap_or(0)) };
    let number = last.to_str().ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ApiError::malformed("Last-Event-ID must be the number of an event"))
}

/// The text of one event; none if the store failed, which ends the stream, so that the client asks again.
fn text(event: Result<Arc<RunEvent>, Arc<StorageError>>) -> Option<(Arc<RunEvent>, String)> {
    let event = event
        .inspect_err(|error| tracing::error!(%error, "failed to read events for a watcher"))
        .ok()?;
    let text = serde_json::to_string(&EventView::from(event.as_ref())).ok()?;
    Some((event, text))
}

fn server_sent(events: Events, heartbeat: Duration) -> Response {
    let events = events
        .map(text)
        .take_while(|event| std::future::ready(event.is_some()))
        .filter_map(std::future::ready)
        .map(|(event, text)| {
            let id = event.seq.to_string();
            Ok::<_, std::convert::Infallible>(
                Event::default().id(id).event(event.kind.name()).data(text),
            )
        });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat));
    // Proxies that buffer would hold events back.
    let unbuffered = [("x-accel-buffering", "no")];
    (axum::Extension(Live), unbuffered, events).into_response()
}

/// Sends events until they end or the client is gone; pings in between.
async fn send(mut socket: WebSocket, mut events: Events, heartbeat: Duration, patience: Duration) {
    let mut beat = interval(heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            event = events.next() => match event.map(text) {
                Some(Some((_, text))) => Message::Text(text.into()),
                Some(None) => break close(socket, close_code::ERROR, patience).await,
                None => break close(socket, close_code::NORMAL, patience).await,
            },
            _ = beat.tick() => Message::Ping(Vec::new().into()),
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
        };
        if !matches!(timeout(patience, socket.send(message)).await, Ok(Ok(()))) {
            break;
        }
    }
}

/// Says goodbye and hears the client out, up to its own goodbye: a connection that is dropped with
/// something unread takes along what the client has not read yet.
async fn close(mut socket: WebSocket, code: u16, patience: Duration) {
    let frame = CloseFrame { code, reason: "".into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(patience, goodbye).await;
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::model::{EventKind, RunEvent};

    fn event(seq: u64) -> Result<Arc<RunEvent>, Arc<StorageError>> {
        let run_id = RunId::from_bytes([7; 16]);
        let at = jiff::Timestamp::UNIX_EPOCH;
        Ok(Arc::new(RunEvent { run_id, seq, at, kind: EventKind::RunStarted }))
    }

    async fn sent(events: Vec<Result<Arc<RunEvent>, Arc<StorageError>>>) -> String {
        let events = futures::stream::iter(events).boxed();
        let response = server_sent(events, Duration::from_secs(60));
        assert!(response.extensions().get::<Live>().is_some());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn events_are_sent_with_their_number_and_name_and_the_stream_ends_with_them() {
        insta::assert_snapshot!(sent(vec![event(3), event(4)]).await);
    }

    #[tokio::test]
    async fn a_store_that_fails_ends_the_stream_so_that_the_client_asks_again() {
        let broken = Err(Arc::new(StorageError::Broken("a secret cause".into())));
        let text = sent(vec![event(1), broken, event(2)]).await;
        assert!(text.contains("id: 1\n") && !text.contains("id: 2\n"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn a_silent_stream_shows_that_it_is_alive() {
        let response = server_sent(futures::stream::pending().boxed(), Duration::from_millis(1));
        let frame = response.into_body().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), ":\n\n");
    }

    #[test]
    fn the_header_of_a_reconnecting_client_goes_before_the_query() {
        let mut headers = HeaderMap::new();
        assert_eq!(after(&headers, None).unwrap(), 0);
        assert_eq!(after(&headers, Some(3)).unwrap(), 3);
        headers.insert("last-event-id", "7".parse().unwrap());
        assert_eq!(after(&headers, Some(3)).unwrap(), 7);
        headers.insert("last-event-id", "seven".parse().unwrap());
        assert!(after(&headers, None).is_err());
    }
}
