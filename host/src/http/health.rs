//! Whether the server lives, whether it can work, and its metrics.

use axum::extract::State;
use axum::http::{HeaderName, header};

use super::Api;
use super::error::{ApiError, Problem};

/// Whether the server answers at all.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Whether the server takes work: the store is open and the queue of an earlier process is taken up.
#[utoipa::path(
    get, path = "/readyz", tag = "server",
    responses(
        (status = 200, body = String),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, ApiError> {
    if api.app.is_draining() {
        return Err(ApiError::unavailable("the server is shutting down: it takes no more runs"));
    }
    if !api.app.runner.ready() {
        return Err(ApiError::unavailable("the queue is still being taken up"));
    }
    let healthy = api.app.storage.healthy();
    healthy.map_err(|error| ApiError::unavailable(format!("failed to {error}")))?;
    Ok("ready\n")
}

/// Metrics in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4")),
)]
pub(super) async fn metrics(
    State(api): State<Api>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let disk = api.ask(|storage| storage.disk_use()).await?;
    api.app.metrics.disk_use(disk.total(), disk.free);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, api.app.metrics.render()))
}
