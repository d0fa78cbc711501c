//! Schedules: what runs by itself.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::runs::{as_queued, location};
use super::views::{DueView, List, RunView, ScheduleBody, ScheduleView};
use crate::model::{Name, Paused};
use crate::scheduler::{Reading, ScheduleError};

/// Every schedule, by name.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules",
    responses((status = 200, body = List<ScheduleView>)),
)]
pub(super) async fn list(State(api): State<Api>) -> Json<List<ScheduleView>> {
    let readings = api.app.scheduler.list(Timestamp::now()).await;
    Json(List { items: readings.iter().map(Into::into).collect(), next_cursor: None })
}

/// Make a schedule.
///
/// Its name is its identity: the same request again is answered with what is there, another one under the
/// same name is refused.
#[utoipa::path(
    post, path = "/schedules", tag = "schedules",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = ScheduleBody,
    responses(
        (status = 201, body = ScheduleView, headers(("Location" = String))),
        (status = 200, body = ScheduleView, description = "It was there already"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let asked: ScheduleBody = body.json()?;
    let key = key.over(&body.bytes);
    let (name, paused) = (asked.name.clone(), asked.paused);
    let spec = asked.into_spec().map_err(ApiError::invalid)?;
    let now = Timestamp::now();
    let (reading, new) = api.app.scheduler.create(name.clone(), spec, paused, key, now).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/api/v1/schedules/{name}");
    Ok((status, [(header::LOCATION, location)], Json(ScheduleView::from(&reading))).into_response())
}

/// Read a schedule.
#[utoipa::path(
    get, path = "/schedules/{name}", tag = "schedules",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = ScheduleView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<Json<ScheduleView>, ApiError> {
    shown(api.app.scheduler.get(&name, Timestamp::now()).await)
}

/// Change a schedule.
///
/// The body is a JSON merge patch (RFC 7396): fields that are left out stay, null takes a field back to
/// its default. Another rule counts from now on.
#[utoipa::path(
    patch, path = "/schedules/{name}", tag = "schedules",
    params(("name" = String, Path)),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, body = ScheduleView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change(
    State(api): State<Api>,
    Path(name): Path<Name>,
    body: Received,
) -> Result<Json<ScheduleView>, ApiError> {
    let patch: Value = body.json()?;
    let (scheduler, now) = (&api.app.scheduler, Timestamp::now());
    let before = ScheduleView::from(&scheduler.get(&name, now).await?).body;
    let mut document = serde_json::to_value(&before).map_err(ApiError::internal)?;
    json_patch::merge(&mut document, &patch);
    let after: ScheduleBody = serde_json::from_value(document).map_err(ApiError::invalid)?;
    if after.name != name {
        return Err(ApiError::invalid(
            "a schedule keeps its name: make another one, and delete this",
        ));
    }
    let paused = after.paused;
    let spec = after.into_spec().map_err(ApiError::invalid)?;
    shown(scheduler.change(&name, spec, paused, now).await)
}

/// Forget a schedule, and what became of its times. Its runs stay.
#[utoipa::path(
    delete, path = "/schedules/{name}", tag = "schedules",
    params(("name" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<StatusCode, ApiError> {
    api.app.scheduler.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks, and why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Who or what asks.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Stop a schedule until it is resumed. Times that pass meanwhile are none.
#[utoipa::path(
    post, path = "/schedules/{name}/pause", tag = "schedules",
    params(("name" = String, Path)),
    request_body(content = Option<Asked>, content_type = "application/json"),
    responses(
        (status = 200, body = ScheduleView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<Name>,
    body: Received,
) -> Result<Json<ScheduleView>, ApiError> {
    let Asked { by, reason } = body.json_or_default()?;
    let now = Timestamp::now();
    shown(api.app.scheduler.pause(&name, Paused { since: now, by, reason }, now).await)
}

/// Let a paused schedule go on from now.
#[utoipa::path(
    post, path = "/schedules/{name}/resume", tag = "schedules",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = ScheduleView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<Json<ScheduleView>, ApiError> {
    shown(api.app.scheduler.resume(&name, Timestamp::now()).await)
}

/// Start a run of a schedule at once, whatever its rule says and whatever else runs.
#[utoipa::path(
    post, path = "/schedules/{name}/trigger", tag = "schedules",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Option<Asked>, content_type = "application/json"),
    responses(
        (status = 202, body = RunView, headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64))),
    ),
)]
pub(super) async fn trigger(
    State(api): State<Api>,
    Path(name): Path<Name>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let Asked { by, reason } = body.json_or_default()?;
    let key = key.over(&body.bytes);
    let why = [by.map(|by| format!("asked for by {by}")), reason].into_iter().flatten();
    let why = why.collect::<Vec<_>>().join(": ");
    let why = Some(why).filter(|why| !why.is_empty());
    let run = api.app.scheduler.trigger(&name, why, key, Timestamp::now()).await?;
    let view = RunView::from(&as_queued(&api, run).await?);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location(run))], Json(view)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// How many items at most.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What became of a schedule's times, the last first.
#[utoipa::path(
    get, path = "/schedules/{name}/history", tag = "schedules",
    params(("name" = String, Path), HistoryQuery),
    responses(
        (status = 200, body = List<DueView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(api): State<Api>,
    Path(name): Path<Name>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<List<DueView>>, ApiError> {
    api.app.scheduler.get(&name, Timestamp::now()).await?;
    let page = page(query.limit, query.cursor)?;
    Ok(Json(List::of(api.ask(move |storage| storage.due_rows(&name, &page)).await?)))
}

fn shown(reading: Result<Reading, ScheduleError>) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json((&reading?).into()))
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::NoSchedule(_) => Self::not_found(error),
            ScheduleError::Taken(_) | ScheduleError::Declared(_) | ScheduleError::TooMany(_) => {
                Self::new(Kind::Conflict, error)
            }
            ScheduleError::Rule(_) | ScheduleError::Value(_) => Self::invalid(error),
            ScheduleError::Submit(error) => error.into(),
            ScheduleError::Storage(error) => error.into(),
        }
    }
}
