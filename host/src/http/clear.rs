//! Taking what ended out of the statistics, and running it again.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Received};
use super::idempotency::Idempotency;
use super::runs::{location, no_run};
use super::views::RunView;
use crate::model::RunId;
use crate::runner::ClearOrder;

/// What is to count no more, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClearBody {
    /// At which test. Left out, the whole run is cleared.
    #[serde(default)]
    test: Option<String>,
    /// Which attempt at the test. Left out, all that have ended are cleared.
    #[serde(default)]
    attempt: Option<u32>,
    /// In which round the attempt was. Default: 1.
    #[serde(default)]
    round: Option<u32>,
    /// Why.
    reason: String,
    /// Who or what asks.
    #[serde(default)]
    initiated_by: Option<String>,
    /// Whether to run it again: a test as a further attempt in the same run, a whole run as a new one of
    /// the same version.
    #[serde(default)]
    again: bool,
}

impl ClearBody {
    fn into_order(self) -> Result<ClearOrder, ApiError> {
        if self.test.is_none() && (self.attempt.is_some() || self.round.is_some()) {
            return Err(ApiError::invalid("an attempt is one at a test: say which with `test`"));
        }
        if self.attempt.is_none() && self.round.is_some() {
            return Err(ApiError::invalid(
                "a round has several attempts: say which with `attempt`",
            ));
        }
        let attempt = self.attempt.map(|number| (self.round.unwrap_or(1), number));
        let Self { test, reason, initiated_by: by, again, .. } = self;
        Ok(ClearOrder { test, attempt, reason, by, again })
    }
}

/// Take a run that has ended, a test of it or one attempt out of the statistics.
///
/// It is kept, and shown as cleared with the reason. No verdict changes, but a test that only failed in
/// attempts that are cleared is not flaky any more. What is cleared already stays as it is.
#[utoipa::path(
    post, path = "/runs/{id}/clear", tag = "runs",
    params(("id" = String, Path, format = "uuid"), ("Idempotency-Key" = Option<String>, Header)),
    request_body = ClearBody,
    responses(
        (status = 200, body = RunView, description = "It is cleared"),
        (status = 202, body = RunView, description = "It is cleared, and runs again in the run of this answer",
         headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "There is no such run, test or attempt"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "The run has not ended, or its version was deleted and cannot run again"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn clear(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let order = body.json::<ClearBody>()?.into_order()?;
    let key = key.over(&body.bytes);
    let again = order.again;
    let answer = api.app.runner.clear(id, order, key).await?;
    let run = api.ask(move |storage| storage.run_as_of(answer.run, answer.seq)).await?;
    let view = Json(RunView::from(&run.ok_or_else(|| no_run(id))?));
    Ok(match again {
        false => view.into_response(),
        true => {
            let head = [(header::LOCATION, location(answer.run))];
            (StatusCode::ACCEPTED, head, view).into_response()
        }
    })
}
