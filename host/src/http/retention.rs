//! What is kept and what was forgotten, and runs that are to stay.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Received};
use super::views::{PinView, RetentionView};
use crate::model::{Pin, RunId};
use crate::retention::PinError;

/// Read what is kept, what it takes of the disk, and what was forgotten.
#[utoipa::path(
    get, path = "/retention", tag = "server", responses((status = 200, body = RetentionView)),
)]
pub(super) async fn read(State(api): State<Api>) -> Result<Json<RetentionView>, ApiError> {
    let disk = api.ask(|storage| storage.disk_use()).await?;
    Ok(Json(RetentionView::of(&api.app.retention.report(), &disk)))
}

/// Forget now what may go. The answer does not wait for it.
#[utoipa::path(
    post, path = "/retention", tag = "server", responses((status = 202, body = RetentionView)),
)]
pub(super) async fn start(
    State(api): State<Api>,
) -> Result<(StatusCode, Json<RetentionView>), ApiError> {
    api.app.retention.ask();
    Ok((StatusCode::ACCEPTED, read(State(api)).await?))
}

/// Who pins a run, and why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PinBody {
    /// Who or what asks.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Keep a run, whatever its age.
#[utoipa::path(
    put, path = "/runs/{id}/pin", tag = "runs",
    params(("id" = String, Path, format = "uuid")),
    request_body(content = Option<PinBody>, content_type = "application/json"),
    responses(
        (status = 200, body = PinView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "As many runs as may be are pinned"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pin(
    State(api): State<Api>,
    Path(run): Path<RunId>,
    body: Received,
) -> Result<Json<PinView>, ApiError> {
    let PinBody { by, reason } = body.json_or_default()?;
    let bounds = &api.app.config.runner.bounds;
    for (field, text) in [("by", &by), ("reason", &reason)] {
        let checked = text.as_ref().map_or(Ok(()), |text| bounds.check_text(field, text));
        checked.map_err(ApiError::invalid)?;
    }
    let pin = Pin { at: Timestamp::now(), by, reason };
    api.app.retention.pin(run, Some(pin.clone())).await?;
    Ok(Json((&pin).into()))
}

/// Let a run be forgotten in its time again.
#[utoipa::path(
    delete, path = "/runs/{id}/pin", tag = "runs",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn unpin(
    State(api): State<Api>,
    Path(run): Path<RunId>,
) -> Result<StatusCode, ApiError> {
    api.app.retention.pin(run, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<PinError> for ApiError {
    fn from(error: PinError) -> Self {
        match error {
            PinError::NoRun(_) => Self::not_found(error),
            PinError::TooMany(_) => Self::new(Kind::Conflict, error),
            PinError::Storage(error) => error.into(),
        }
    }
}
