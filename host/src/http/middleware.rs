//! All layers on one screen, and the few that are ours.

use std::any::Any;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use tower_http::cors::CorsLayer;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use super::error::{ApiError, Kind, render};
use super::{HttpSettings, head};
use crate::metrics::Metrics;

/// Every layer, from the outermost to the innermost.
pub(super) fn around(
    router: Router,
    settings: &HttpSettings,
    metrics: Metrics,
    loopback: bool,
) -> Router {
    let origins = Arc::new(Origins::new(settings, loopback));
    let head = (settings.uri_bytes, metrics.clone());
    let layers = ServiceBuilder::new()
        .layer(map_request(drop_odd_request_id))
        .layer(SetRequestIdLayer::x_request_id(NewRequestId))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetSensitiveRequestHeadersLayer::new(SENSITIVE))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(from_fn_with_state(metrics.clone(), measure))
        .layer(response_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(response_header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(response_header(header::REFERRER_POLICY, "no-referrer"))
        .layer(response_header(header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .layer(response_header(header::CACHE_CONTROL, "no-store"))
        .layer(origins.cors())
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(MayWait)))
        .layer(from_fn_with_state(metrics, render))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(head, head::check))
        .layer(from_fn_with_state(origins, guard));
    router.layer(layers)
}

/// Headers that are never logged.
const SENSITIVE: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// An answer must have begun within so many milliseconds.
pub(super) fn time(ms: u64) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(ms))
}

/// Says of an answer that did not begin in time which setting gives the time. A handler's own refusals have
/// their reason already.
pub(super) async fn timed_out(State(setting): State<&'static str>, response: Response) -> Response {
    let has_reason = response.extensions().get::<ApiError>().is_some();
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !has_reason {
        return ApiError::timed_out(setting).into_response();
    }
    response
}

/// Sets a header that a handler did not set itself.
fn response_header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// Makes ids for requests that come without one.
#[derive(Clone, Copy)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        HeaderValue::try_from(uuid::Uuid::now_v7().to_string()).ok().map(RequestId::new)
    }
}

/// Forgets an id that is not fit for a log line, so that a new one is made.
async fn drop_odd_request_id(mut request: Request) -> Request {
    let sane = |id: &HeaderValue| {
        let ok = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b':');
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(ok)
    };
    if !request.headers().get("x-request-id").is_some_and(sane) {
        request.headers_mut().remove("x-request-id");
    }
    request
}

fn span<B>(request: &axum::http::Request<B>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    let route = route(request.extensions());
    // The query stays out: it may hold what somebody pasted there.
    tracing::info_span!("request", id, method = %request.method(), route)
}

/// The template of the route, so that its values are bounded.
fn route(extensions: &Extensions) -> &str {
    extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str)
}

async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
    metrics.http_request(method.as_str(), route, response.status().as_u16(), started.elapsed());
    response
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

/// Marks an answer whose parts must leave at once: compressing would hold them back.
#[derive(Clone, Copy)]
pub(super) struct Live;

/// Takes answers that may wait for the compressor.
#[derive(Clone, Copy)]
struct MayWait;

impl Predicate for MayWait {
    fn should_compress<B: HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        response.extensions().get::<Live>().is_none()
    }
}

/// Which names and origins may be used. The API needs no password on a loopback address, so a web page
/// in the browser of whoever runs it must not be able to call it: neither from its own origin, nor by
/// having its own name resolve to this address.
struct Origins {
    hosts: Option<Vec<String>>,
    origins: Vec<String>,
}

impl Origins {
    fn new(settings: &HttpSettings, loopback: bool) -> Self {
        let checked = loopback || !settings.allowed_hosts.is_empty();
        let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            hosts: checked.then(|| lower(&settings.allowed_hosts)),
            origins: lower(&settings.allowed_origins),
        }
    }

    /// Answers browsers that ask whether a page of an allowed origin may call.
    fn cors(&self) -> CorsLayer {
        if self.origins.is_empty() {
            return CorsLayer::new();
        }
        let origins = self.origins.iter().filter_map(|origin| origin.parse::<HeaderValue>().ok());
        CorsLayer::new()
            .allow_origin(origins.collect::<Vec<_>>())
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([
                header::CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
                HeaderName::from_static("x-request-id"),
            ])
            .expose_headers([header::LOCATION, HeaderName::from_static("x-request-id")])
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str()));
        let host = host.unwrap_or_default().to_ascii_lowercase();
        if self.hosts.is_some() && host_name(&host).is_empty() {
            return Err(ApiError::malformed(
                "the request does not say whom it is for: send the header `host`, with the name or \
                 address by which you reach the server",
            ));
        }
        if let Some(hosts) = &self.hosts
            && !is_local_name(host_name(&host))
            && !hosts.iter().any(|allowed| allowed == host_name(&host))
        {
            let name = host_name(&host);
            return Err(forbidden(format!(
                "the server does not answer to the name {name:?}: list it in the setting \
                 `http.allowed_hosts`"
            )));
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !changes && text(header::UPGRADE).is_none() {
            return Ok(());
        }
        let refused = "pages of other origins may not do this: list the origin in the setting \
                       `http.allowed_origins`";
        match text(header::ORIGIN).map(str::to_ascii_lowercase) {
            Some(origin) if self.origins.contains(&origin) => Ok(()),
            Some(origin) if origin.split_once("://").is_some_and(|(_, at)| at == host) => Ok(()),
            Some(_) => Err(forbidden(refused)),
            None if headers.contains_key(header::ORIGIN) => Err(forbidden(refused)),
            None if text(HeaderName::from_static("sec-fetch-site")) == Some("cross-site") => {
                Err(forbidden(refused))
            }
            None => Ok(()),
        }
    }
}

fn forbidden(detail: impl Display) -> ApiError {
    ApiError::new(Kind::Forbidden, detail)
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether no DNS server of somebody else's has a say in where this name leads.
fn is_local_name(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || address.parse::<std::net::IpAddr>().is_ok()
}

async fn guard(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    match origins.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
