//! Moving and backing up: everything out as lines of JSON, and back in.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::report_body::Report;
use super::views::ImportView;
use crate::app::App;
use crate::transfer::{self, Applied, Most, TransferError};

/// How much is written at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Lines of JSON.
#[derive(ToSchema)]
#[schema(value_type = String)]
pub(super) struct Export(#[allow(dead_code, reason = "names a shape for OpenAPI")] String);

/// Export everything that the server keeps, less the values of secrets.
///
/// Lines of JSON: suites with their versions, components, fixtures, policies and marks, schedules, triggers,
/// plugins, statistics, and every run that has ended, with its logs and artifacts. An answer that does not end
/// with an `end` line was cut off.
#[utoipa::path(
    get, path = "/export", tag = "server",
    responses((status = 200, body = Export, content_type = "application/x-ndjson")),
)]
pub(super) async fn export(State(api): State<Api>) -> Result<Response, ApiError> {
    let open = api.reports.open(&api.app.metrics).await?;
    let (places, metrics) = (api.reports.clone(), api.app.metrics.clone());
    let limit = Duration::from_millis(api.app.config.http.transfer_timeout_ms);
    let limit = (limit, "http.transfer_timeout_ms");
    let (report, chunks) = Report::new(open, places, metrics, limit).await?;
    let held = api.app.retention.hold().await;
    let storage = api.app.storage.clone();
    tokio::task::spawn_blocking(move || {
        let _held = held;
        let mut out = io::BufWriter::with_capacity(CHUNK_BYTES, report);
        match transfer::export(&storage, &mut out) {
            Ok(()) => out.get_mut().complete(),
            Err(error) => tracing::debug!(%error, "an export broke off"),
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(chunks)).into_response())
}

/// Import what a server exported.
///
/// It is checked to its end before anything is stored; then all of it is, even if the server ends at once. What
/// is here already stays as it is: the same again changes nothing.
#[utoipa::path(
    post, path = "/import", tag = "server",
    request_body(content = Export, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = ImportView),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "Another run has the number of one of these, there would be more of something than may \
                        be, or another import is under way"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "It is no export, is cut off or damaged, or a newer version wrote it"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn import(
    State(api): State<Api>,
    request: Request,
) -> Result<Json<ImportView>, ApiError> {
    let one = api.importing.clone().try_lock_owned().map_err(|_| TransferError::Busy)?;
    let broken = |error| io::Error::new(io::ErrorKind::UnexpectedEof, error);
    // Whoever takes too long is not waited for: the body ends there, and nothing is imported.
    let (_waiting, gone) = tokio::sync::oneshot::channel::<()>();
    let body = request.into_body().into_data_stream().map_err(broken).take_until(gone);
    // One that is whole goes on to its end when nobody waits for the answer any more.
    let done = tokio::spawn(async move {
        let _one = one;
        let app = api.app;
        let (storage, data) = (app.storage.clone(), app.config.data_dir.clone());
        let lines = SyncIoBridge::new(StreamReader::new(body));
        // One that could not be stored to its end, as the disk was full, comes first.
        let held = app.retention.hold().await;
        if let Some(earlier) = transfer::resume(&storage, &data).await? {
            take_up(&app, earlier).await;
        }
        drop(held);
        let most = Most {
            schedules: app.config.scheduler.most,
            triggers: app.config.webhooks.most,
            plugins: app.config.plugin.installed,
        };
        let import = move || transfer::import(&storage, &data, most, lines);
        let spool = tokio::task::spawn_blocking(import).await.map_err(ApiError::internal)?;
        if let Err(TransferError::TooMany { setting, .. }) = &spool {
            app.metrics.server_limit_hit(setting);
        }
        let spool = spool?;
        // A run that is old is forgotten when it is whole, and not if it is pinned.
        let _held = app.retention.hold().await;
        let applied = spool.apply(&app.storage).await?;
        let view = ImportView::from(&applied);
        take_up(&app, applied).await;
        Ok(Json(view))
    });
    done.await.map_err(ApiError::internal)?
}

/// Has what is new do its work.
async fn take_up(app: &App, applied: Applied) {
    app.scheduler.take_up(applied.schedules, Timestamp::now()).await;
    app.triggers.take_up(applied.triggers);
}

impl From<&Applied> for ImportView {
    fn from(applied: &Applied) -> Self {
        let secrets = applied.missing_secrets.iter();
        Self {
            runs: applied.runs,
            runs_there: applied.runs_there,
            versions: applied.versions,
            schedules: applied.schedules.len() as u64,
            triggers: applied.triggers.len() as u64,
            plugins: applied.plugins,
            missing_secrets: secrets
                .map(|(of, names)| (of.clone(), names.iter().cloned().collect()))
                .collect(),
        }
    }
}

impl From<TransferError> for ApiError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Storage(error) => error.into(),
            TransferError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::malformed("the body ended before it was complete; nothing was imported")
            }
            TransferError::Io(error) => crate::storage::StorageError::from(error).into(),
            TransferError::Conflict(_)
            | TransferError::TooMany { .. }
            | TransferError::Meanwhile(_)
            | TransferError::Busy => Self::new(Kind::Conflict, error),
            error => Self::invalid(error),
        }
    }
}
