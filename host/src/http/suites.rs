//! Suites and their versions.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::FutureExt as _;
use serde::Deserialize;
use tokio::sync::watch;
use tower_http::request_id::RequestId;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::uploading::{self, EVERY};
use super::views::{
    List, ProtocolView, SuiteSummaryView, SuiteView, UploadEventView, VersionSummaryView,
    VersionView,
};
use crate::model::{Digest, Introduction, Name, Step, SuiteId, SuiteVersion};

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items at most, from 1 to 500. Default: 50.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// The namespace, in place of what the component says.
    #[param(value_type = Option<String>)]
    namespace: Option<Name>,
    /// The name of a test program, which has none of its own. A suite keeps the name that it says.
    #[param(value_type = Option<String>)]
    name: Option<Name>,
    /// How the tests of a program are found, run and judged: `libtest`, `go-test`, `tap` or
    /// `exit-code`. Default: found out. A suite takes none.
    protocol: Option<ProtocolView>,
}

/// A component.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Component(#[allow(dead_code, reason = "names a shape for OpenAPI")] Vec<u8>);

/// Upload a suite.
///
/// The body is a WebAssembly component that exports `handoff:suite/tests`, or a test program for WASI
/// preview 1 or 2 that was not written for this server, such as what `cargo test --no-run` and
/// `go test -c` make. It is checked, compiled and asked for its tests before it is stored.
///
/// With `Accept: text/event-stream` the answer begins at once and tells how far it is: events `step`, then
/// `done` or `refused`.
#[utoipa::path(
    post, path = "/suites", tag = "suites",
    params(UploadQuery, ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Component, content_type = "application/wasm"),
    responses(
        (status = 201, body = VersionView, description = "The version is new", headers(("Location" = String))),
        (status = 200, description = "This version was there already; or events, if they were asked for", content(
            (VersionView = "application/json"), (UploadEventView = "text/event-stream"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The same program is there with another protocol"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn upload(
    State(api): State<Api>,
    Query(query): Query<UploadQuery>,
    key: Idempotency,
    headers: HeaderMap,
    request_id: Option<Extension<RequestId>>,
    body: Received,
) -> Result<Response, ApiError> {
    if body.bytes.is_empty() {
        return Err(ApiError::invalid("the body is empty: send the component's bytes"));
    }
    let key = key.over(&body.bytes);
    let UploadQuery { namespace, name, protocol } = query;
    let introduction = Introduction { namespace, name, protocol: protocol.map(Into::into) };
    let (teller, steps) = watch::channel(Step::default());
    let patience = Duration::from_millis(api.app.config.http.upload_timeout_ms);
    let upload = async move {
        let upload = api.app.runner.upload(body.bytes.clone(), introduction, key, teller);
        // The body counts as held until here.
        let ended = tokio::time::timeout(patience, upload).await.map(|ended| (ended, body));
        let (ended, _) = ended.map_err(|_| ApiError::too_long())?;
        Ok(ended?)
    };
    if uploading::asked_for(&headers) {
        return Ok(uploading::told(upload.boxed(), steps, EVERY, request_id.as_deref()));
    }
    let (version, new) = upload.await?;
    Ok(answer(&version, new))
}

fn answer(version: &SuiteVersion, new: bool) -> Response {
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let SuiteId { namespace, name } = &version.suite;
    let location = format!("/api/v1/suites/{namespace}/{name}/versions/{}", version.digest);
    (status, [(header::LOCATION, location)], Json(VersionView::from(version))).into_response()
}

/// List suites, the newest upload first.
#[utoipa::path(
    get, path = "/suites", tag = "suites", params(PageQuery),
    responses((status = 200, body = List<SuiteSummaryView>)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<SuiteSummaryView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    let suites = api.ask(move |storage| storage.suites(&page)).await?;
    Ok(Json(List::of(suites)))
}

/// Read a suite with its newest version.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = SuiteView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
) -> Result<Json<SuiteView>, ApiError> {
    Ok(Json((&newest(&api, &suite).await?).into()))
}

/// The newest version of a suite that must exist.
pub(super) async fn newest(api: &Api, suite: &SuiteId) -> Result<SuiteVersion, ApiError> {
    let wanted = suite.clone();
    let version = api.ask(move |storage| storage.newest_version(&wanted)).await?;
    version.ok_or_else(|| no_suite(suite))
}

fn no_suite(suite: &SuiteId) -> ApiError {
    ApiError::not_found(format!("there is no suite {suite}"))
}

/// Delete a suite with its versions and its policy.
///
/// Its runs stay with all they left behind, and those that have not ended run to their end; they cannot be
/// tried again until the same version is uploaded again. The versions' bytes are removed from the disk
/// unless another suite has them, or a run that has not ended.
#[utoipa::path(
    delete, path = "/suites/{namespace}/{name}", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
) -> Result<StatusCode, ApiError> {
    if api.app.storage.delete_suite(&suite).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_suite(&suite))
    }
}

/// List a suite's versions, the newest first.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/versions", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), PageQuery),
    responses(
        (status = 200, body = List<VersionSummaryView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn versions(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<VersionSummaryView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    newest(&api, &suite).await?;
    let versions = api.ask(move |storage| storage.versions(&suite, &page)).await?;
    Ok(Json(List::of(versions)))
}

/// A version's place.
#[derive(Deserialize)]
pub(super) struct VersionPath {
    namespace: Name,
    name: Name,
    digest: Digest,
}

/// Read one version.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/versions/{digest}", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), ("digest" = String, Path)),
    responses(
        (status = 200, body = VersionView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn version(
    State(api): State<Api>,
    Path(VersionPath { namespace, name, digest }): Path<VersionPath>,
) -> Result<Json<VersionView>, ApiError> {
    let suite = SuiteId { namespace, name };
    let missing = format!("the suite {suite} has no version {digest}");
    let version = api.ask(move |storage| storage.version(&suite, &digest)).await?;
    Ok(Json((&version.ok_or_else(|| ApiError::not_found(missing))?).into()))
}
