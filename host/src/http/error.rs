//! The one place where something that went wrong becomes an HTTP answer.
//!
//! A handler returns an [`ApiError`]; its response carries the error as an extension and no body.
//! [`render`], a middleware around everything, turns it and every other answer of status 400 or above
//! (axum's own, a layer's) into `application/problem+json` (RFC 9457) with the request's id. There a
//! 5xx is logged, once, with its cause, and answered without it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower_http::request_id::RequestId;
use utoipa::ToSchema;

use crate::compile::CompileError;
use crate::metrics::Metrics;
use crate::model::PlanError;
use crate::runner::{
    ArchiveError, ControlError, DescribeError, FixturesError, PutFixturesError, SubmitError,
    UploadError,
};
use crate::storage::StorageError;
use crate::web::{self, Refusal, Refused};

/// What went wrong, in the form of RFC 9457.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The kind of problem, for programs: `urn:handoff:problem:` and a word that does not change.
    #[serde(rename = "type")]
    #[schema(example = "urn:handoff:problem:not-found")]
    kind: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, and what to do about it.
    detail: String,
    /// The request's id, as in the header `x-request-id` and in the server's log.
    request_id: Option<String>,
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    Unsigned,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    Conflict,
    TooLarge,
    UriTooLong,
    HeadTooLarge,
    UnsupportedMediaType,
    Invalid,
    NothingMatches,
    Rejected,
    KeyReused,
    QueueFull,
    Internal,
    Unavailable,
    StorageFull,
}

impl Kind {
    /// Status, word and title.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::Unsigned => {
                (StatusCode::UNAUTHORIZED, "unsigned", "The call is not signed as it should be")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The request is refused"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This cannot be done with that method",
            ),
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request came too slowly")
            }
            Self::Conflict => {
                (StatusCode::CONFLICT, "conflict", "This cannot be done in the present state")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large")
            }
            Self::UriTooLong => {
                (StatusCode::URI_TOO_LONG, "uri-too-long", "The request's address is too long")
            }
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "The request's headers are too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The request has the wrong content type",
            ),
            Self::Invalid => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request asks for what cannot be")
            }
            Self::NothingMatches => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "nothing-matches",
                "The request leaves no test to run",
            ),
            Self::Rejected => {
                (StatusCode::UNPROCESSABLE_ENTITY, "rejected", "The component is not accepted")
            }
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The Idempotency-Key was used with another request",
            ),
            Self::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "queue-full", "The queue is full"),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server made a mistake")
            }
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The server cannot do this at present",
            ),
            Self::StorageFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "storage-full", "The server's disk is full")
            }
        }
    }

    /// The kind of an answer that only has a status, and what to tell.
    fn of(status: StatusCode) -> (Self, &'static str) {
        match status {
            StatusCode::FORBIDDEN => (Self::Forbidden, "the request is not allowed"),
            StatusCode::NOT_FOUND => {
                (Self::NotFound, "there is nothing at this path: see /api/openapi.json")
            }
            StatusCode::METHOD_NOT_ALLOWED => (
                Self::MethodNotAllowed,
                "the path takes other methods: the header `allow` of this answer lists them",
            ),
            StatusCode::REQUEST_TIMEOUT => (Self::TooSlow, "the request took too long to arrive"),
            StatusCode::PAYLOAD_TOO_LARGE => (Self::TooLarge, "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                (Self::UnsupportedMediaType, "send JSON with `content-type: application/json`")
            }
            StatusCode::UNPROCESSABLE_ENTITY => (Self::Invalid, "the request is not valid"),
            StatusCode::SERVICE_UNAVAILABLE => {
                (Self::Unavailable, "the answer took longer than the server allows; try again")
            }
            status if status.is_client_error() => {
                (Self::Malformed, "the request cannot be read as HTTP")
            }
            _ => (Self::Internal, INTERNAL),
        }
    }
}

/// What is told of a mistake of the server.
const INTERNAL: &str = "the server made a mistake; its log has the cause under this request's id";

/// How long a client is asked to wait when it is not known better.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Something that went wrong, on the way to becoming an answer.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    kind: Kind,
    detail: String,
    retry_after: Option<Duration>,
    /// The setting of a bound that is counted when this is answered.
    bound: Option<&'static str>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A problem of the client's making, in words that tell what to do.
    pub(super) fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string(), retry_after: None, bound: None, cause: None }
    }

    /// There is no such thing.
    pub(super) fn not_found(detail: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// The request cannot be read.
    pub(super) fn malformed(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// The request can be read and asks for something that cannot be.
    pub(super) fn invalid(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// A mistake of the server: logged with its cause, answered without.
    pub(super) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let cause = Some(Arc::from(cause.into()));
        Self { cause, ..Self::new(Kind::Internal, INTERNAL) }
    }

    /// No further client may follow this run.
    pub(super) fn too_many_followers() -> Self {
        Self::unavailable(
            "as many clients as may do follow this run already (limit `runner.watchers_per_run`): \
             try again later",
        )
    }

    /// The answer did not begin within the time that a setting gives.
    pub(super) fn timed_out(setting: &'static str) -> Self {
        let detail = format!(
            "the answer took longer than the server allows (setting `{setting}`); try again"
        );
        Self { bound: Some(setting), ..Self::unavailable(detail) }
    }

    /// The server cannot do it at present.
    pub(super) fn unavailable(detail: impl fmt::Display) -> Self {
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(Kind::Unavailable, detail) }
    }

    /// An upload took too long.
    pub(super) fn too_long() -> Self {
        Self::unavailable(
            "the upload took longer than the server allows (setting `http.upload_timeout_ms`): try again",
        )
    }

    /// What happened, and what to do about it.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What a client is told. A mistake of the server is logged here, with its cause.
    pub(super) fn problem(self, request_id: Option<String>) -> Problem {
        let (status, word, title) = self.kind.facts();
        if status.is_server_error() {
            let cause = self.cause.as_deref().map(chain);
            tracing::error!(%status, detail = self.detail, cause, "a request failed");
        }
        Problem {
            kind: format!("urn:handoff:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            request_id,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.kind.facts().0.into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds(wait));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A time as the header `retry-after` has it: whole seconds, at least one.
fn seconds(wait: Duration) -> HeaderValue {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// Gives every answer of status 400 or above its body.
pub(super) async fn render(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let request_id = id.and_then(|id| id.header_value().to_str().ok().map(str::to_owned));
    let by_browser = is_for_people(&request);
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let refusal = response.extensions_mut().remove::<Refused>().and_then(Refused::take);
    let as_page = by_browser || refusal.is_some();
    let error = refusal.map(ApiError::from).or_else(|| response.extensions_mut().remove());
    let error = error.unwrap_or_else(|| {
        let (kind, detail) = Kind::of(status);
        ApiError::new(kind, detail)
    });
    if let Some(bound) = error.bound {
        metrics.server_limit_hit(bound);
    }
    let status = error.kind.facts().0;
    let retry_after = error.retry_after;
    let problem = error.problem(request_id);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_LENGTH);
    if as_page {
        let Problem { title, detail, request_id, .. } = problem;
        let mut answer = web::error_page(status, title, &detail, request_id.as_deref());
        answer.headers_mut().extend(response.headers().clone());
        if let Some(wait) = retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds(wait));
        }
        return answer;
    }
    let mut answer = (status, Json(problem)).into_response();
    answer.headers_mut().extend(response.headers().clone());
    let problem_json = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, problem_json);
    answer
}

/// Whether a person's browser asks for a page.
fn is_for_people(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
        && !request.uri().path().starts_with("/api/")
}

/// An error and what caused it, on one line.
fn chain(error: &(dyn Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing(detail) => Self::not_found(detail),
            Refusal::Malformed(detail) => Self::malformed(detail),
            Refusal::Invalid(detail) => Self::invalid(detail),
            Refusal::Token => Self::new(
                Kind::Forbidden,
                "this form is of a page that your browser was not given, or no longer has the cookie \
                 of: go back, load the page again, and send the form once more",
            ),
            Refusal::Busy => Self::unavailable(
                "too much is being uploaded at once (setting `http.upload_memory_bytes`); try again in \
                 a moment",
            ),
            Refusal::Submit(error) => error.into(),
            Refusal::Control(error) => error.into(),
            Refusal::Upload(error) => error.into(),
            Refusal::Schedule(error) => error.into(),
            Refusal::Plugin(error) => error.into(),
            Refusal::Trigger(error) => error.into(),
            Refusal::Pin(error) => error.into(),
            Refusal::Mark(error) => error.into(),
            Refusal::Confirm(error) => error.into(),
            Refusal::Storage(error) => error.into(),
            Refusal::Internal(cause) => Self::internal(cause),
        }
    }
}

impl From<Arc<StorageError>> for ApiError {
    fn from(error: Arc<StorageError>) -> Self {
        match error.as_ref() {
            StorageError::Full => Self {
                cause: Some(error.clone()),
                ..Self::new(
                    Kind::StorageFull,
                    "the server's disk has too little free space, so nothing was stored; free some",
                )
            },
            StorageError::KeyReused => Self::new(
                Kind::KeyReused,
                "this Idempotency-Key was used with another request: use a new key for a new request",
            ),
            StorageError::BadCursor => Self::malformed(
                "the cursor does not belong to this list: start without one, with the same query",
            ),
            StorageError::NoSuite(suite) => Self::not_found(format!("there is no suite {suite}")),
            StorageError::TooManyMarks(_) | StorageError::MarkDeclared(_) => {
                Self::new(Kind::Conflict, format!("failed to {error}"))
            }
            StorageError::Closed => Self::unavailable("the server is shutting down"),
            _ => Self::internal(error),
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        Arc::new(error).into()
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NoSuite(_) | SubmitError::NoVersion(..) => Self::not_found(error),
            SubmitError::Plan(error @ PlanError::NothingMatches(..)) => {
                Self::new(Kind::NothingMatches, error)
            }
            SubmitError::Plan(error) => Self::invalid(error),
            SubmitError::QueueFull { retry_after, .. } => {
                Self { retry_after: Some(retry_after), ..Self::new(Kind::QueueFull, error) }
            }
            SubmitError::Draining => Self::unavailable(error),
            SubmitError::Storage(error) => error.into(),
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoRun(_) | ControlError::NoTest(_) | ControlError::NoAttempt(_) => {
                Self::not_found(error)
            }
            ControlError::NoReason => Self::invalid(error),
            ControlError::Ended(status) => {
                Self::new(Kind::Conflict, format!("the run has already ended: {}", status.as_str()))
            }
            ControlError::NotEnded
            | ControlError::NothingToRetry
            | ControlError::VersionDeleted(_) => Self::new(Kind::Conflict, error),
            ControlError::Submit(error) => error.into(),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Compile(error) => error.into(),
            UploadError::Describe(error @ DescribeError::Busy(_)) => {
                Self::unavailable(format!("failed to {error}"))
            }
            UploadError::Describe(DescribeError::Host(cause)) => Self::internal(cause),
            UploadError::Describe(
                error @ (DescribeError::Unnamed | DescribeError::NoProgram(_)),
            ) => Self::invalid(format!("failed to {error}")),
            UploadError::Describe(error) => Self::new(Kind::Rejected, format!("failed to {error}")),
            error @ UploadError::OtherProtocol { .. } => {
                Self::new(Kind::Conflict, format!("failed to {error}"))
            }
            UploadError::Storage(error) => error.into(),
        }
    }
}

impl From<PutFixturesError> for ApiError {
    fn from(error: PutFixturesError) -> Self {
        match error {
            PutFixturesError::Archive(FixturesError::Host(cause)) => Self::internal(cause),
            PutFixturesError::Archive(
                error @ (FixturesError::TooLarge { .. }
                | FixturesError::Archive(ArchiveError::TooMuch { .. })),
            ) => Self::new(Kind::TooLarge, format!("failed to {error}")),
            PutFixturesError::Archive(error) => Self::invalid(format!("failed to {error}")),
            PutFixturesError::Storage(error) => error.into(),
        }
    }
}

impl From<CompileError> for ApiError {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Busy => Self::unavailable(
                "too many uploads wait to be compiled already; try again in a moment",
            ),
            CompileError::Host(_) | CompileError::Unread(_) => Self::internal(error),
            error => Self::new(Kind::Rejected, format!("failed to {error}")),
        }
    }
}
