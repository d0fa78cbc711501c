//! Plugins: what is told of what happens to runs.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::views::{DeliveryView, List, PluginBody, PluginView};
use crate::model::{Name, Plugin};
use crate::plugins::{Change, PluginError};

/// Every plugin, by name.
#[utoipa::path(
    get, path = "/plugins", tag = "plugins",
    responses((status = 200, body = List<PluginView>)),
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<List<PluginView>>, ApiError> {
    let plugins = api.app.plugins.list()?;
    let items = plugins.iter().map(|plugin| view(&api, plugin));
    Ok(Json(List { items: items.collect::<Result<_, _>>()?, next_cursor: None }))
}

fn view(api: &Api, plugin: &Plugin) -> Result<PluginView, ApiError> {
    Ok(PluginView::of(plugin, api.app.plugins.waiting(&plugin.name)?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InstallQuery {
    /// The plugin's name.
    #[param(value_type = String, example = "alerts")]
    name: Name,
}

/// Install a plugin, or another version of one.
///
/// The body is a WebAssembly component that exports `handoff:plugin/hooks`. It is asked what it would like;
/// one that would like to reach more than it is granted, or whose configuration is not complete, is installed
/// disabled. Another version keeps what the one before was granted and what it keeps.
#[utoipa::path(
    post, path = "/plugins", tag = "plugins",
    params(InstallQuery, ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = super::suites::Component, content_type = "application/wasm"),
    responses(
        (status = 201, body = PluginView, headers(("Location" = String))),
        (status = 200, body = PluginView, description = "There was one of that name, which this replaces"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn install(
    State(api): State<Api>,
    Query(InstallQuery { name }): Query<InstallQuery>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    if body.bytes.is_empty() {
        return Err(ApiError::invalid("the body is empty: send the component's bytes"));
    }
    let key = key.over(&body.bytes);
    let installed = api.app.plugins.install(name, body.bytes.clone(), Change::default(), key).await;
    let (plugin, is_new) = installed?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/api/v1/plugins/{}", plugin.name);
    Ok((status, [(header::LOCATION, location)], Json(view(&api, &plugin)?)).into_response())
}

/// Read a plugin.
#[utoipa::path(
    get, path = "/plugins/{name}", tag = "plugins", params(("name" = String, Path)),
    responses(
        (status = 200, body = PluginView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<Json<PluginView>, ApiError> {
    Ok(Json(view(&api, &api.app.plugins.get(&name)?)?))
}

/// Change a plugin: configure, grant, filter, enable, disable.
///
/// What is left out stays; each field that is given replaces what there was. Secrets are write-only: they are
/// shown as null, and a null keeps the stored value. The plugin is asked again what it would like.
#[utoipa::path(
    patch, path = "/plugins/{name}", tag = "plugins", params(("name" = String, Path)),
    request_body = PluginBody,
    responses(
        (status = 200, body = PluginView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change(
    State(api): State<Api>,
    Path(name): Path<Name>,
    body: Received,
) -> Result<Json<PluginView>, ApiError> {
    let asked: PluginBody = body.json()?;
    let stored = api.app.plugins.get(&name)?;
    let change = asked.over(&stored.policy).map_err(|secret| {
        ApiError::invalid(format!(
            "the secret {secret:?} has no stored value that null could keep: send its value"
        ))
    })?;
    if let Some(policy) = &change.policy {
        api.app.config.validate_policy(policy).map_err(ApiError::invalid)?;
    }
    let plugin = api.app.plugins.change(name, change).await?;
    Ok(Json(view(&api, &plugin)?))
}

/// Delete a plugin with what it keeps and what waits for it. What it said of runs stays.
#[utoipa::path(
    delete, path = "/plugins/{name}", tag = "plugins", params(("name" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<Name>,
) -> Result<StatusCode, ApiError> {
    api.app.plugins.delete(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a plugin is told to try it out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Trial {
    /// A message for it.
    message: Option<String>,
}

/// Tell a plugin something to try it out: the event `trial`, whatever it wants and whatever its filters say.
#[utoipa::path(
    post, path = "/plugins/{name}/test", tag = "plugins",
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Option<Trial>, content_type = "application/json"),
    responses(
        (status = 202, body = DeliveryView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn test(
    State(api): State<Api>,
    Path(name): Path<Name>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let Trial { message } = body.json_or_default()?;
    let key = key.over(&body.bytes);
    let delivery = api.app.plugins.test(name, message, key).await?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::whole(&delivery))).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveriesQuery {
    /// How many items at most, from 1 to 500. Default: 50.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List what a plugin was told and what waits for it, the newest first.
#[utoipa::path(
    get, path = "/plugins/{name}/deliveries", tag = "plugins",
    params(("name" = String, Path), DeliveriesQuery),
    responses(
        (status = 200, body = List<DeliveryView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn deliveries(
    State(api): State<Api>,
    Path(name): Path<Name>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<List<DeliveryView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    Ok(Json(List::of(api.app.plugins.deliveries(&name, &page)?)))
}

/// Read one delivery, with what the plugin wrote and sent at the last call.
#[utoipa::path(
    get, path = "/plugins/{name}/deliveries/{number}", tag = "plugins",
    params(("name" = String, Path), ("number" = u64, Path)),
    responses(
        (status = 200, body = DeliveryView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delivery(
    State(api): State<Api>,
    Path((name, number)): Path<(Name, u64)>,
) -> Result<Json<DeliveryView>, ApiError> {
    Ok(Json(DeliveryView::whole(&api.app.plugins.delivery(&name, number)?)))
}

/// Have a delivery told again that was told or set aside.
#[utoipa::path(
    post, path = "/plugins/{name}/deliveries/{number}/redeliver", tag = "plugins",
    params(
        ("name" = String, Path), ("number" = u64, Path),
        ("Idempotency-Key" = Option<String>, Header),
    ),
    responses(
        (status = 202, body = DeliveryView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn redeliver(
    State(api): State<Api>,
    Path((name, number)): Path<(Name, u64)>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let key = key.over(&body.bytes);
    let delivery = api.app.plugins.redeliver(name, number, key).await?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::whole(&delivery))).into_response())
}

impl From<PluginError> for ApiError {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::NoPlugin(_) | PluginError::NoDelivery(..) => Self::not_found(error),
            PluginError::Waits(_) | PluginError::Disabled(_) | PluginError::Full(_) => {
                Self::new(Kind::Conflict, error)
            }
            PluginError::TooMany(_) => Self::new(Kind::Conflict, format!("failed to {error}")),
            PluginError::NotEnabled(_) => Self::invalid(format!("failed to {error}")),
            PluginError::NoHooks => Self::new(Kind::Rejected, format!("failed to {error}")),
            PluginError::Compile(error) => error.into(),
            PluginError::Storage(error) => error.into(),
        }
    }
}
