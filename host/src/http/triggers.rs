//! Triggers: what starts runs when another system calls, and the calls themselves.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::runs::location;
use super::views::{CallView, List, TriggerBody, TriggerView};
use crate::model::{Name, Secret, TriggerSpec};
use crate::triggers::{Call, Reading, Refusal, TriggerError};

/// Every trigger, by name.
#[utoipa::path(
    get, path = "/triggers", tag = "triggers",
    responses((status = 200, body = List<TriggerView>)),
)]
pub(super) async fn list(State(api): State<Api>) -> Json<List<TriggerView>> {
    let readings = api.app.triggers.list().await;
    Json(List { items: readings.iter().map(Into::into).collect(), next_cursor: None })
}

/// Make a trigger.
///
/// Its name is its identity: the same request again is answered with what is there, another one under the
/// same name is refused.
#[utoipa::path(
    post, path = "/triggers", tag = "triggers",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = TriggerBody,
    responses(
        (status = 201, body = TriggerView, headers(("Location" = String))),
        (status = 200, body = TriggerView, description = "It was there already"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let asked: TriggerBody = body.json()?;
    let key = key.over(&body.bytes);
    let name = asked.name.clone();
    let spec = spec_of(asked, None)?;
    let (reading, new) = api.app.triggers.create(name.clone(), spec, key, Timestamp::now()).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/api/v1/triggers/{name}");
    Ok((status, [(header::LOCATION, location)], Json(TriggerView::from(&reading))).into_response())
}

/// What a request asks for. Where a secret is found is the server's own business.
fn spec_of(asked: TriggerBody, stored: Option<&Secret>) -> Result<TriggerSpec, ApiError> {
    if asked.rule.secret_env.is_some() || asked.rule.secret_file.is_some() {
        return Err(ApiError::invalid(
            "secret_env and secret_file are for the server's configuration file: send the `secret`",
        ));
    }
    asked.into_spec(stored).map_err(ApiError::invalid)
}

/// Read a trigger.
#[utoipa::path(
    get, path = "/triggers/{name}", tag = "triggers",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = TriggerView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<Json<TriggerView>, ApiError> {
    shown(api.app.triggers.get(&name).await)
}

/// Change a trigger.
///
/// The body is a JSON merge patch (RFC 7396): fields that are left out stay, null takes a field back to
/// its default. The secret stays unless another is sent.
#[utoipa::path(
    patch, path = "/triggers/{name}", tag = "triggers",
    params(("name" = String, Path)),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, body = TriggerView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change(
    State(api): State<Api>,
    Path(name): Path<Name>,
    body: Received,
) -> Result<Json<TriggerView>, ApiError> {
    let patch: Value = body.json()?;
    let triggers = &api.app.triggers;
    let before = triggers.get(&name).await?;
    let mut document =
        serde_json::to_value(TriggerView::from(&before).body).map_err(ApiError::internal)?;
    json_patch::merge(&mut document, &patch);
    let after: TriggerBody = serde_json::from_value(document).map_err(ApiError::invalid)?;
    if after.name != name {
        return Err(ApiError::invalid(
            "a trigger keeps its name: make another one, and delete this",
        ));
    }
    let spec = spec_of(after, Some(&before.trigger.spec.secret))?;
    shown(triggers.change(&name, spec, Timestamp::now()).await)
}

/// Forget a trigger, and what became of its calls. Its runs stay.
#[utoipa::path(
    delete, path = "/triggers/{name}", tag = "triggers",
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
    api.app.triggers.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Call a trigger: this is the address that other systems are given.
///
/// The body is JSON, of whatever form the trigger's mapping expects, or an event of GitHub's. It is signed with
/// the trigger's secret. The same delivery again starts nothing.
#[utoipa::path(
    post, path = "/triggers/{name}", tag = "triggers",
    params(
        ("name" = String, Path),
        ("webhook-id" = Option<String>, Header, description = "The delivery, for a generic sender"),
        ("webhook-timestamp" = Option<String>, Header, description = "When it was signed, in seconds since 1970"),
        ("webhook-signature" = Option<String>, Header, description = "`v1,` and the signature in base64"),
        ("x-github-delivery" = Option<String>, Header, description = "The delivery, from GitHub"),
        ("x-github-event" = Option<String>, Header, description = "GitHub's event"),
        ("x-hub-signature-256" = Option<String>, Header, description = "GitHub's signature"),
    ),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 202, body = CallView, description = "It started a run", headers(("Location" = String))),
        (status = 200, body = CallView, description = "It was not meant to start one"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The delivery started a run before"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64))),
    ),
)]
pub(super) async fn call(
    State(api): State<Api>,
    Path(name): Path<Name>,
    headers: HeaderMap,
    body: Result<Received, ApiError>,
) -> Result<Response, ApiError> {
    let (triggers, now) = (&api.app.triggers, Timestamp::now());
    let body = match body {
        Ok(body) => body,
        Err(error) => {
            let unread = call_of(&headers, Bytes::new());
            triggers.unread(&name, unread, error.detail(), now).await?;
            return Err(error);
        }
    };
    let row = triggers.deliver(&name, call_of(&headers, body.bytes.clone()), now).await?;
    let view = Json(CallView::from(&row));
    Ok(match row.run {
        Some(run) => {
            (StatusCode::ACCEPTED, [(header::LOCATION, location(run))], view).into_response()
        }
        None => view.into_response(),
    })
}

fn call_of(headers: &HeaderMap, body: Bytes) -> Call {
    let text = |name: &'static str| Some((name, headers.get(name)?.to_str().ok()?.to_owned()));
    Call::new(Call::HEADERS.into_iter().filter_map(text).collect(), body)
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

/// What became of a trigger's calls, the last first.
#[utoipa::path(
    get, path = "/triggers/{name}/history", tag = "triggers",
    params(("name" = String, Path), HistoryQuery),
    responses(
        (status = 200, body = List<CallView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(api): State<Api>,
    Path(name): Path<Name>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<List<CallView>>, ApiError> {
    api.app.triggers.get(&name).await?;
    let page = page(query.limit, query.cursor)?;
    Ok(Json(List::of(api.ask(move |storage| storage.call_rows(&name, &page)).await?)))
}

fn shown(reading: Result<Reading, TriggerError>) -> Result<Json<TriggerView>, ApiError> {
    Ok(Json((&reading?).into()))
}

impl From<TriggerError> for ApiError {
    fn from(error: TriggerError) -> Self {
        match error {
            TriggerError::NoTrigger(_) => Self::not_found(error),
            TriggerError::Taken(_) | TriggerError::Declared(_) | TriggerError::TooMany(_) => {
                Self::new(Kind::Conflict, error)
            }
            TriggerError::Value(_) => Self::invalid(error),
            TriggerError::Submit(error) => error.into(),
            TriggerError::Storage(error) => error.into(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(error: Refusal) -> Self {
        match error {
            Refusal::Unsigned(_) => Self::new(Kind::Unsigned, error),
            Refusal::Replayed { .. } => Self::new(Kind::Conflict, error),
            Refusal::Unfit(_) => Self::invalid(error),
            Refusal::Submit(error) => error.into(),
            Refusal::Trigger(error) => error.into(),
        }
    }
}
