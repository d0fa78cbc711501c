//! Reports of a run in the forms that other tools read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::runs::find;
use super::{Api, HttpSettings};
use crate::metrics::Metrics;
use crate::model::RunId;
use crate::report::Format;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportQuery {
    /// Which form: `junit`, `json` (the default), `go-test` or `tap`.
    #[serde(default)]
    #[param(inline)]
    format: FormatParam,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum FormatParam {
    Junit,
    #[default]
    Json,
    GoTest,
    Tap,
}

impl From<FormatParam> for Format {
    fn from(format: FormatParam) -> Self {
        match format {
            FormatParam::Junit => Self::Junit,
            FormatParam::Json => Self::Json,
            FormatParam::GoTest => Self::GoTest,
            FormatParam::Tap => Self::Tap,
        }
    }
}

/// Read a report of a run, as it stands.
#[utoipa::path(
    get, path = "/runs/{id}/report", tag = "runs",
    params(("id" = String, Path, format = "uuid"), ReportQuery),
    responses(
        (status = 200, description = "JUnit XML, JSON, lines of `go test -json`, or TAP 14", content(
            (String = "application/xml"), (Object = "application/json"),
            (String = "application/x-ndjson"), (String = "text/plain"),
        )),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    Query(query): Query<ReportQuery>,
) -> Result<Response, ApiError> {
    let format = Format::from(query.format);
    let open = api.reports.open(&api.app.metrics).await?;
    let run = find(&api, id).await?;
    let storage = api.app.storage.clone();
    let (report, chunks) = Report::new(open, &api).await?;
    tokio::task::spawn_blocking(move || {
        let detail = |stage: &_, round, number| {
            let detail = storage.detail(id, stage, round, number);
            let log = |error: &_| tracing::error!(%error, "failed to read an attempt for a report");
            detail.inspect_err(log).ok().flatten()
        };
        let mut out = io::BufWriter::with_capacity(CHUNK_BYTES, report);
        match format.write(&run, &detail, &mut out).and_then(|()| io::Write::flush(&mut out)) {
            Ok(()) => out.get_mut().complete(),
            Err(error) => tracing::debug!(%error, "a report broke off"),
        }
    });
    Ok(([(header::CONTENT_TYPE, format.media_type())], Body::from_stream(chunks)).into_response())
}

/// How many chunks wait for a client.
const CHUNKS: usize = 4;
/// How large a chunk is.
const CHUNK_BYTES: usize = 64 << 10;

/// The places for reports. Those who wait for their clients have begun and hold nobody up.
#[derive(Clone)]
pub(super) struct Places {
    begun: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let places =
            |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { begun: places(settings.open_reports), working: places(settings.reports) }
    }

    async fn open(&self, metrics: &Metrics) -> Result<OwnedSemaphorePermit, ApiError> {
        if self.begun.available_permits() == 0 {
            metrics.server_limit_hit("http_open_reports");
        }
        self.begun.clone().acquire_owned().await.map_err(ApiError::internal)
    }
}

/// Writes into an answer's body, no faster than its client reads, on a thread that may block.
struct Report {
    chunks: mpsc::Sender<Bytes>,
    /// Told when the report is complete. Dropped before, the answer ends visibly incomplete.
    complete: Option<oneshot::Sender<()>>,
    deadline: Instant,
    places: Places,
    /// The place of one that is worked on; given back while the client is waited for.
    working: Option<OwnedSemaphorePermit>,
    metrics: Metrics,
    runtime: Handle,
    _open: OwnedSemaphorePermit,
}

impl Report {
    /// A report to be written, and its body.
    async fn new(
        open: OwnedSemaphorePermit,
        api: &Api,
    ) -> Result<(Self, impl Stream<Item = io::Result<Bytes>> + use<>), ApiError> {
        let (metrics, places) = (api.app.metrics.clone(), api.reports.clone());
        if places.working.available_permits() == 0 {
            metrics.server_limit_hit("http_reports");
        }
        let working = places.working.clone().acquire_owned().await.map_err(ApiError::internal)?;
        let limit = Duration::from_millis(api.app.config.http.report_timeout_ms);
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (complete, completed) = oneshot::channel();
        let end = async move {
            let broken_off = |_| Err(io::Error::other("the report broke off"));
            completed.await.map_or_else(broken_off, |()| Ok(Bytes::new()))
        };
        let body = ReceiverStream::new(chunks).map(Ok).chain(futures::stream::once(end));
        let report = Self {
            chunks: sender,
            complete: Some(complete),
            deadline: Instant::now() + limit,
            places,
            working: Some(working),
            metrics,
            runtime: Handle::current(),
            _open: open,
        };
        Ok((report, body))
    }

    fn complete(&mut self) {
        if let Some(complete) = self.complete.take() {
            // Nobody hears it where the client is gone.
            let _ = complete.send(());
        }
    }

    /// Waits for the client without holding up other reports.
    async fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        drop(self.working.take());
        self.chunks.send(chunk).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        let working = self.places.working.clone().acquire_owned().await;
        self.working = Some(working.map_err(io::Error::other)?);
        Ok(())
    }
}

impl io::Write for Report {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = match self.chunks.try_send(Bytes::copy_from_slice(data)) {
            Ok(()) => return Ok(data.len()),
            Err(TrySendError::Full(chunk)) => chunk,
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let (runtime, deadline) = (self.runtime.clone(), self.deadline);
        let sent = runtime.block_on(tokio::time::timeout_at(deadline, self.send(chunk)));
        sent.unwrap_or_else(|_| {
            self.metrics.server_limit_hit("http_report_timeout_ms");
            Err(io::ErrorKind::TimedOut.into())
        })?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
