//! What handlers take out of a request: path, query and body, each refused in the API's own words and
//! within bounds of size and time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Api;
use super::error::{ApiError, Kind};
use crate::metrics::Metrics;
use crate::storage::Page;

/// The path's parameters. A parameter that cannot be read names nothing that exists: 404.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0))
            .map_err(|error| ApiError::not_found(reason(&error.body_text())))
    }
}

/// The query's parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // What is no UTF-8 would be taken for other characters, and so for another value.
        if !is_utf8(parts.uri.query().unwrap_or_default()) {
            return Err(ApiError::malformed(
                "the query has percent-encoded bytes that are no UTF-8",
            ));
        }
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::malformed(reason(&error.body_text())))
    }
}

/// Whether the text is UTF-8 once its percent-encoding is undone.
fn is_utf8(text: &str) -> bool {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                decoded.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => decoded.extend_from_slice(part.as_bytes()),
        }
    }
    String::from_utf8(decoded).is_ok()
}

/// axum's text is a title and then the reason; a problem has a title of its own.
fn reason(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, reason)| reason)
}

/// How many items a page has if nobody says.
const DEFAULT_LIMIT: usize = 50;
/// How many items a page has at most.
const MAX_LIMIT: usize = 500;

/// The page that `limit` and `cursor` ask for.
pub(super) fn page(limit: Option<usize>, cursor: Option<String>) -> Result<Page, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("limit is {limit}: it must be from 1 to {MAX_LIMIT}");
        return Err(ApiError::malformed(detail));
    }
    Ok(Page { limit, cursor })
}

/// How large a route's bodies may be, laid around the route.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit {
    pub(super) bytes: u64,
    /// What an operator sets to change it.
    pub(super) setting: &'static str,
    /// Which memory they take.
    pub(super) memory: Memory,
}

/// Which memory bodies share with others of their kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Memory {
    Json,
    Uploads,
}

impl Memory {
    fn of(self, api: &Api) -> &Arc<Semaphore> {
        match self {
            Self::Json => &api.json_memory,
            Self::Uploads => &api.upload_memory,
        }
    }

    fn exhausted(self, metrics: &Metrics) -> ApiError {
        let (setting, what) = match self {
            Self::Json => ("http.body_memory_bytes", "sent"),
            Self::Uploads => ("http.upload_memory_bytes", "uploaded"),
        };
        metrics.server_limit_hit(setting);
        ApiError::unavailable(format!(
            "too much is being {what} at once (setting `{setting}`); try again in a moment"
        ))
    }
}

impl BodyLimit {
    fn exceeded(self, metrics: &Metrics) -> ApiError {
        let Self { bytes, setting, .. } = self;
        metrics.server_limit_hit(setting);
        let detail = format!("the body is larger than the {bytes} bytes that this server takes");
        ApiError::new(Kind::TooLarge, format!("{detail} here (setting `{setting}`)"))
    }
}

/// A whole body, held in memory and counted there until it is dropped.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    content_type: Option<String>,
    _held: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Api> for Received {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let content_type = content_type(request.headers());
        let encoding = request.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(ApiError::new(
                Kind::UnsupportedMediaType,
                "the body is compressed (header `content-encoding`): send it as it is",
            ));
        }
        let size = request.extensions().get::<BodyLimit>().copied();
        let size = size.ok_or_else(|| ApiError::internal("a route without a limit on bodies"))?;
        let limit = Duration::from_millis(api.app.config.http.body_timeout_ms);
        let reading = read(request.into_body(), size, size.memory.of(api), &api.app.metrics);
        let read = tokio::time::timeout(limit, reading).await.map_err(|_| {
            api.app.metrics.server_limit_hit("http.body_timeout_ms");
            let detail =
                format!("the body did not arrive within {}", humantime::Duration::from(limit));
            ApiError::new(Kind::TooSlow, format!("{detail} (setting `http.body_timeout_ms`)"))
        })?;
        let (bytes, held) = read?;
        Ok(Self { bytes, content_type, _held: held })
    }
}

/// Reads a body to its end. Memory is taken as the bytes arrive, so that a slow client holds no more
/// than it has sent.
async fn read(
    mut body: Body,
    limit: BodyLimit,
    memory: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut bytes = BytesMut::new();
    if body.size_hint().lower() > limit.bytes {
        return Err(limit.exceeded(metrics));
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(unreadable)?.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > limit.bytes {
            return Err(limit.exceeded(metrics));
        }
        let wanted = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let permit = memory.clone().try_acquire_many_owned(wanted);
        let permit = permit.map_err(|_| limit.memory.exhausted(metrics))?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok((data, held));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), held))
}

fn unreadable(_: axum::Error) -> ApiError {
    ApiError::malformed("the body ended before it was complete")
}

impl Received {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let essence = self.content_type.as_deref().and_then(|text| text.split(';').next());
        let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            return Err(ApiError::new(
                Kind::UnsupportedMediaType,
                "send JSON with `content-type: application/json`",
            ));
        }
        // What has named fields could be read from a list of values too, which nobody means.
        if self.bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::invalid("the body is a list: send an object"));
        }
        axum::Json::from_bytes(&self.bytes).map(|json| json.0).map_err(json_problem)
    }

    /// The body as JSON, or what an empty body stands for.
    pub(super) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.bytes.is_empty() { Ok(T::default()) } else { self.json() }
    }
}

fn json_problem(error: JsonRejection) -> ApiError {
    let text = error.body_text();
    let reason = reason(&text);
    match error {
        JsonRejection::JsonDataError(_) => ApiError::invalid(reason),
        _ => ApiError::malformed(format!("the body is not JSON: {reason}")),
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned())
}

/// The request's path and query, as the idempotency key's digest takes them in.
pub(super) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |text| text.as_str())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;
    use crate::http::views::RunBody;

    fn received(content_type: Option<&str>, body: &'static str) -> Received {
        let bytes = Bytes::from_static(body.as_bytes());
        Received { bytes, content_type: content_type.map(Into::into), _held: None }
    }

    fn refusal(content_type: Option<&str>, body: &'static str) -> String {
        let error = received(content_type, body).json_or_default::<RunBody>().unwrap_err();
        format!("{error:?}")
    }

    #[test]
    fn json_is_refused_with_the_place_and_the_name_of_what_is_wrong() {
        let json = Some("application/json; charset=utf-8");
        let malformed = refusal(json, "{\"filter\": \n nope}");
        assert!(malformed.contains("line 2 column"), "{malformed}");
        let unknown = refusal(json, "{\"filtr\": \"x\"}");
        assert!(unknown.contains("unknown field `filtr`"), "{unknown}");
        let inside = refusal(json, "{\"params\": {\"a\": 1}}");
        assert!(
            inside.contains("params.a: invalid type: integer `1`, expected a string"),
            "{inside}"
        );
        for other in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            assert!(refusal(other, "{}").contains("UnsupportedMediaType"));
        }
        assert!(received(None, "").json_or_default::<RunBody>().is_ok());
    }

    #[test]
    fn a_query_is_utf8_also_under_its_percents() {
        for fine in ["", "a=b", "a=%C3%BC", "a=\u{fc}", "%", "a=%zz&b=%4", "a=%EF%BF%BD", "%\u{fc}"]
        {
            assert!(is_utf8(fine), "{fine}");
        }
        for bad in ["a=%ff", "%C3", "a=%C3&b=%BC", "%C3%28"] {
            assert!(!is_utf8(bad), "{bad}");
        }
    }

    const LIMIT: BodyLimit = BodyLimit { bytes: 10, setting: "a.b", memory: Memory::Json };

    #[tokio::test]
    async fn bodies_take_memory_until_they_are_dropped() {
        let memory = Arc::new(Semaphore::new(10));
        let metrics = Metrics::new();
        let (bytes, held) = read(Body::from("12345678"), LIMIT, &memory, &metrics).await.unwrap();
        assert_eq!((bytes.len(), memory.available_permits()), (8, 2));
        let refused = read(Body::from("123"), LIMIT, &memory, &metrics).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 503);
        assert!(metrics.render().contains("{limit=\"http_body_memory_bytes\"} 1"));
        drop(held);
        assert_eq!(memory.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_beyond_its_bound_is_too_large_however_it_comes() {
        let chunks = futures::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>("1234")));
        let (memory, metrics) = (Arc::new(Semaphore::new(100)), Metrics::new());
        for body in [Body::from_stream(chunks), Body::from("12345678901")] {
            let refused = read(body, LIMIT, &memory, &metrics).await.unwrap_err();
            let told = format!("{refused:?}");
            assert!(told.contains("10 bytes") && told.contains("`a.b`"), "{told}");
            assert_eq!(refused.into_response().status(), 413);
            assert_eq!(memory.available_permits(), 100);
        }
        assert!(metrics.render().contains("{limit=\"a_b\"} 2"));
        assert!(read(Body::from("1234567890"), LIMIT, &memory, &metrics).await.is_ok());
    }

    #[test]
    fn a_page_has_a_bound() {
        assert_eq!(page(None, None).unwrap().limit, DEFAULT_LIMIT);
        assert_eq!(page(Some(500), Some("x".into())).unwrap().limit, 500);
        assert!(page(Some(0), None).is_err());
        assert!(page(Some(501), None).is_err());
    }
}
