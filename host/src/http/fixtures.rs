//! The files that a version of a suite brings along.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query, Received};
use super::suites::newest;
use super::views::FixturesView;
use crate::model::{Digest, SuiteId};

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// The version, `sha256:…`. Default: the newest.
    #[param(value_type = Option<String>)]
    version: Option<Digest>,
}

impl VersionQuery {
    /// The version, if there is such a one.
    async fn of(self, api: &Api, suite: &SuiteId) -> Result<Digest, ApiError> {
        let Some(digest) = self.version else { return Ok(newest(api, suite).await?.digest) };
        let wanted = suite.clone();
        let found = api.ask(move |storage| storage.version(&wanted, &digest)).await?;
        let missing = || ApiError::not_found(format!("the suite {suite} has no version {digest}"));
        found.map(|_| digest).ok_or_else(missing)
    }
}

/// A tar archive.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Archive(#[allow(dead_code, reason = "names a shape for OpenAPI")] Vec<u8>);

/// Set the files that a version brings along.
///
/// The body is a tar archive, as it is or compressed by gzip or zstd, with files and directories and
/// nothing else. The guest finds them, and cannot change them, at the policy's `fixtures_path`. Runs
/// that were asked for before keep the files that there were then. A version that is uploaded later has
/// the same files until it is given its own.
#[utoipa::path(
    put, path = "/suites/{namespace}/{name}/fixtures", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), VersionQuery),
    request_body(content = Archive, content_type = "application/x-tar"),
    responses(
        (status = 200, body = FixturesView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replace(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<VersionQuery>,
    body: Received,
) -> Result<Json<FixturesView>, ApiError> {
    if body.bytes.is_empty() {
        return Err(ApiError::invalid(
            "the body is empty: send an archive, or DELETE to have none",
        ));
    }
    let version = query.of(&api, &suite).await?;
    let fixtures = api.app.runner.put_fixtures(&suite, version, body.bytes).await?;
    Ok(Json(FixturesView::of(&suite, version, &fixtures)))
}

/// Read which files a version brings along.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/fixtures", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), VersionQuery),
    responses(
        (status = 200, body = FixturesView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<FixturesView>, ApiError> {
    let version = query.of(&api, &suite).await?;
    let wanted = suite.clone();
    let fixtures = api.ask(move |storage| storage.fixtures(&wanted, &version)).await?;
    let fixtures = fixtures.ok_or_else(|| none(&suite, &version))?;
    Ok(Json(FixturesView::of(&suite, version, &fixtures)))
}

/// Leave a version without files.
#[utoipa::path(
    delete, path = "/suites/{namespace}/{name}/fixtures", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), VersionQuery),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<VersionQuery>,
) -> Result<StatusCode, ApiError> {
    let version = query.of(&api, &suite).await?;
    match api.app.storage.delete_fixtures(&suite, version).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(none(&suite, &version)),
    }
}

fn none(suite: &SuiteId, version: &Digest) -> ApiError {
    ApiError::not_found(format!("the version {version} of {suite} has no fixtures"))
}
