//! The bounds of a request's head: how long its address, how large, how many headers. A head beyond them,
//! or one that is no HTTP, is answered as any other request that is refused.
//!
//! Only the longest address is looked at here. The head as a whole is bounded while it comes in, by hyper,
//! which then gives the connection up: `connections` asks the routes once more, by a stand-in for the
//! request, and what [`unreadable`] makes of hyper's error is answered.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::HttpSettings;
use super::error::{ApiError, Kind};
use crate::metrics::Metrics;

/// Refuses a request with an address that is too long, and the stand-in for one that cannot be read.
pub(super) async fn check(
    State((uri_bytes, metrics)): State<(u64, Metrics)>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(why) = request.extensions().get::<ApiError>() {
        return why.clone().into_response();
    }
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri as u64 > uri_bytes {
        return uri_too_long(uri_bytes, &metrics).into_response();
    }
    next.run(request).await
}

fn uri_too_long(uri_bytes: u64, metrics: &Metrics) -> ApiError {
    metrics.server_limit_hit("http.uri_bytes");
    let detail = format!(
        "the path and the query have more than the {uri_bytes} bytes that this server takes (setting \
         `http.uri_bytes`)"
    );
    ApiError::new(Kind::UriTooLong, detail)
}

/// Why hyper gave up a request of which `head` had come.
pub(super) fn unreadable(
    error: &hyper::Error,
    head: &[u8],
    settings: &HttpSettings,
    metrics: &Metrics,
) -> ApiError {
    if !error.is_parse_too_large() {
        return ApiError::malformed(format!("the request cannot be read as HTTP/1.1: {error}"));
    }
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let uri = first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if uri.len() as u64 > settings.uri_bytes {
        return uri_too_long(settings.uri_bytes, metrics);
    }
    let headers = lines.take_while(|line| !line.trim_ascii().is_empty()).count();
    let (setting, bound) = if headers > settings.headers {
        ("http.headers", format!("{} headers", settings.headers))
    } else {
        ("http.head_bytes", format!("{} bytes", settings.head_bytes))
    };
    metrics.server_limit_hit(setting);
    let detail = format!(
        "the request's head has more than the {bound} that this server takes (setting `{setting}`)"
    );
    ApiError::new(Kind::HeadTooLarge, detail)
}
