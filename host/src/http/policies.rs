//! What suites are granted.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Received};
use super::suites::newest;
use super::views::PolicyView;
use crate::model::{Policy, SuiteId};

/// Read what a suite is granted. Secrets are shown as null.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/policy", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = PolicyView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
) -> Result<Json<PolicyView>, ApiError> {
    Ok(Json((&stored(&api, suite).await?).into()))
}

/// Replace what a suite is granted.
///
/// What is left out grants nothing. A secret that is sent as null keeps its stored value, so that what
/// was read can be sent back.
#[utoipa::path(
    put, path = "/suites/{namespace}/{name}/policy", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path)),
    request_body = PolicyView,
    responses(
        (status = 200, body = PolicyView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replace(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    body: Received,
) -> Result<Json<PolicyView>, ApiError> {
    let asked: PolicyView = body.json()?;
    loop {
        let before = stored(&api, suite.clone()).await?;
        let policy = asked.clone().over(&before).map_err(|name| {
            ApiError::invalid(format!(
                "the secret {name:?} has no stored value that null could keep: send its value"
            ))
        })?;
        api.app.check_policy(&policy).map_err(ApiError::invalid)?;
        // Somebody else was first: a null keeps what they have stored, not what was there before.
        if api.app.storage.replace_policy(&suite, before, &policy).await? {
            return Ok(Json((&policy).into()));
        }
    }
}

/// The policy of a suite that must exist.
async fn stored(api: &Api, suite: SuiteId) -> Result<Policy, ApiError> {
    newest(api, &suite).await?;
    Ok(api.ask(move |storage| storage.policy(&suite)).await?.unwrap_or_default())
}
