//! Reports of a run in the forms that other tools read.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::report_body::Report;
use super::runs::find;
use crate::model::RunId;
use crate::report::{Format, Stored};

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
    let (places, metrics) = (api.reports.clone(), api.app.metrics.clone());
    let limit = Duration::from_millis(api.app.config.http.report_timeout_ms);
    let limit = (limit, "http.report_timeout_ms");
    let (report, chunks) = Report::new(open, places, metrics, limit).await?;
    tokio::task::spawn_blocking(move || {
        let source = Stored { storage, run: id, up_to: run.last_seq };
        let mut out = io::BufWriter::with_capacity(CHUNK_BYTES, report);
        match format.write(&run, &source, &mut out).and_then(|()| io::Write::flush(&mut out)) {
            Ok(()) => out.get_mut().complete(),
            Err(error) => tracing::debug!(%error, "a report broke off"),
        }
    });
    Ok(([(header::CONTENT_TYPE, format.media_type())], Body::from_stream(chunks)).into_response())
}

/// How much is written at a time.
const CHUNK_BYTES: usize = 64 << 10;
