//! Runs: ask for one, look at them, stop one, try its failed tests again.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::views::{
    AttemptView, DetailView, List, RunBody, RunSummaryView, RunView, StageAttemptsView, TestView,
};
use crate::model::{Attempt, Name, Run, RunId, RunStatus, Stage, SuiteId};
use crate::storage::RunQuery;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CreateQuery {
    /// How long to wait for the run to finish, such as `30s`; cut to the server's `http.max_wait_ms`.
    #[serde(default, deserialize_with = "duration")]
    #[param(value_type = Option<String>, example = "30s")]
    wait: Option<Duration>,
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let parsed = humantime::parse_duration(&text);
    parsed.map(Some).map_err(|error| {
        serde::de::Error::custom(format!("{error}: write a time such as `30s` or `1m 30s`"))
    })
}

/// Ask for a run of a suite.
///
/// The run is stored when the answer comes. With an `Idempotency-Key` that was used before with the same
/// request, the answer is that of the run made then.
#[utoipa::path(
    post, path = "/suites/{namespace}/{name}/runs", tag = "runs",
    params(
        ("namespace" = String, Path), ("name" = String, Path), CreateQuery,
        ("Idempotency-Key" = Option<String>, Header),
    ),
    request_body(content = Option<RunBody>, content_type = "application/json"),
    responses(
        (status = 202, body = RunView, description = "The run is queued", headers(("Location" = String))),
        (status = 200, body = RunView, description = "The run finished in the time that was waited"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64))),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<CreateQuery>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let request: RunBody = body.json_or_default()?;
    let key = key.over(&body.bytes);
    drop(body);
    let id = api.app.runner.submit(suite, request.into(), key).await?;
    let run = match query.wait {
        Some(wait) => {
            wait_for(&api, id, wait).await;
            find(&api, id).await?
        }
        // The same for every request with the same key, however far the run has come.
        None => as_queued(&api, id).await?,
    };
    let status = if run.status.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, [(header::LOCATION, location(id))], Json(RunView::from(&run))).into_response())
}

pub(super) fn location(id: RunId) -> String {
    format!("/api/v1/runs/{id}")
}

/// Returns when the run has ended, the time is over, or the server is about to stop.
async fn wait_for(api: &Api, id: RunId, wait: Duration) {
    let most = Duration::from_millis(api.app.config.http.max_wait_ms);
    if wait > most {
        api.app.metrics.server_limit_hit("http.max_wait_ms");
    }
    let wait = wait.min(most);
    let Some(ended) = api.app.runner.ended(id) else { return };
    tokio::select! {
        () = ended.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
        () = api.closing.cancelled() => {}
    }
}

/// The run as it was when it was accepted.
pub(super) async fn as_queued(api: &Api, id: RunId) -> Result<Run, ApiError> {
    let first = api.ask(move |storage| storage.events(id, 0, 1)).await?;
    Run::fold(&first).ok_or_else(|| no_run(id))
}

/// A run that must exist.
pub(super) async fn find(api: &Api, id: RunId) -> Result<Run, ApiError> {
    api.ask(move |storage| storage.run(id)).await?.ok_or_else(|| no_run(id))
}

pub(super) fn no_run(id: RunId) -> ApiError {
    ApiError::not_found(format!("there is no run {id}"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of which suite: `namespace/name`, or a name in the namespace `default`.
    suite: Option<String>,
    /// In which state.
    #[param(value_type = Option<String>, example = "failed")]
    status: Option<RunStatus>,
    /// With which reference.
    reference: Option<String>,
    /// How many items at most, from 1 to 500. Default: 50.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List runs, the newest first.
#[utoipa::path(
    get, path = "/runs", tag = "runs", params(ListQuery),
    responses(
        (status = 200, body = List<RunSummaryView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<RunSummaryView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    let suite = query.suite.map(|suite| suite.parse()).transpose().map_err(ApiError::malformed)?;
    let query = RunQuery { suite, status: query.status, reference: query.reference };
    let runs = api.ask(move |storage| storage.runs(&query, &page)).await?;
    let mut runs: List<RunSummaryView> = List::of(runs);
    for run in &mut runs.items {
        run.pinned = api.app.storage.pin(run.id).as_ref().map(Into::into);
    }
    Ok(Json(runs))
}

/// Read a run.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = RunView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<RunId>,
) -> Result<Json<RunView>, ApiError> {
    let run = find(&api, id).await?;
    let standing = match run.status {
        RunStatus::Queued => api.app.runner.standing(id).await,
        _ => None,
    };
    Ok(Json(RunView { queue: standing.as_ref().map(Into::into), ..shown(&api, &run).await? }))
}

/// A run as it stands, with what is known of it beside its events.
async fn shown(api: &Api, run: &Run) -> Result<RunView, ApiError> {
    let id = run.spec.id;
    let annotations = api.ask(move |storage| storage.annotations(id)).await?;
    let pinned = api.app.storage.pin(id).as_ref().map(Into::into);
    Ok(RunView { pinned, ..RunView::annotated(run, &annotations) })
}

/// A run's place in its suite.
#[derive(Deserialize)]
pub(super) struct NumberPath {
    namespace: Name,
    name: Name,
    number: u64,
}

/// Read a run by its number in its suite.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/runs/{number}", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), ("number" = u64, Path)),
    responses(
        (status = 200, body = RunView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read_by_number(
    State(api): State<Api>,
    Path(NumberPath { namespace, name, number }): Path<NumberPath>,
) -> Result<Json<RunView>, ApiError> {
    let suite = SuiteId { namespace, name };
    let missing = format!("the suite {suite} has no run #{number}");
    let run = api
        .ask(move |storage| match storage.run_by_number(&suite, number)? {
            Some(id) => storage.run(id),
            None => Ok(None),
        })
        .await?;
    Ok(Json(shown(&api, &run.ok_or_else(|| ApiError::not_found(missing))?).await?))
}

/// How many attempts at one thing are shown with their details; the last ones, if there are more.
const MAX_DETAILS: usize = 50;

/// Read a test of a run: all its attempts, the last 50 with their details.
///
/// The test's name may contain slashes, as they are or percent-encoded.
#[utoipa::path(
    get, path = "/runs/{id}/tests/{*test}", tag = "runs",
    params(("id" = String, Path, format = "uuid"), ("test" = String, Path)),
    responses(
        (status = 200, body = TestView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn test(
    State(api): State<Api>,
    Path((id, name)): Path<(RunId, String)>,
) -> Result<Json<TestView>, ApiError> {
    let run = find(&api, id).await?;
    let missing = || ApiError::not_found(format!("the run {id} has no test {name:?}"));
    let mut test = TestView::without_attempts(run.test(&name).ok_or_else(missing)?);
    test.attempts = attempts(&api, run, Stage::Test(name)).await?;
    Ok(Json(test))
}

/// Read a run's setup: all attempts at it, the last 50 with their details.
#[utoipa::path(
    get, path = "/runs/{id}/setup", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = StageAttemptsView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn setup(
    State(api): State<Api>,
    Path(id): Path<RunId>,
) -> Result<Json<StageAttemptsView>, ApiError> {
    let run = find(&api, id).await?;
    let missing = || ApiError::not_found(format!("no setup of the run {id} has ended"));
    let setup = StageAttemptsView::of(&run.setup).ok_or_else(missing)?;
    Ok(Json(StageAttemptsView { attempts: attempts(&api, run, Stage::Setup).await?, ..setup }))
}

/// Read a run's teardown: all attempts at it, the last 50 with their details.
#[utoipa::path(
    get, path = "/runs/{id}/teardown", tag = "runs", params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = StageAttemptsView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn teardown(
    State(api): State<Api>,
    Path(id): Path<RunId>,
) -> Result<Json<StageAttemptsView>, ApiError> {
    let run = find(&api, id).await?;
    let missing = || ApiError::not_found(format!("no teardown of the run {id} has ended"));
    let teardown = StageAttemptsView::of(&run.teardown).ok_or_else(missing)?;
    let attempts = attempts(&api, run, Stage::Teardown).await?;
    Ok(Json(StageAttemptsView { attempts, ..teardown }))
}

/// All attempts at a part of a run, the last of them with their details and whole messages.
async fn attempts(api: &Api, run: Run, stage: Stage) -> Result<Vec<AttemptView>, ApiError> {
    let (id, up_to) = (run.spec.id, run.last_seq);
    api.ask(move |storage| {
        let among = match &stage {
            Stage::Setup => &run.setup,
            Stage::Teardown => &run.teardown,
            Stage::Test(name) => run.test(name).map_or(&run.setup, |test| &test.attempts),
        };
        let mut attempts = Vec::new();
        storage.attempts(id, up_to, |of, attempt| {
            attempts.extend((*of == stage).then(|| attempt.clone()));
        })?;
        let with_details = attempts.len().saturating_sub(MAX_DETAILS);
        let view = |(place, mut attempt): (usize, Attempt)| {
            if place < with_details {
                return Ok(AttemptView::of(&attempt, among));
            }
            // Nothing is stored of an attempt that left nothing behind.
            let detail = storage.detail(id, &stage, attempt.round, attempt.number)?;
            let detail = detail.unwrap_or_default();
            attempt.restore(&detail);
            let detail = Some(DetailView::of(&detail, false));
            Ok(AttemptView { detail, ..AttemptView::of(&attempt, among) })
        };
        attempts.into_iter().enumerate().map(view).collect()
    })
    .await
}

/// Who asks.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ByBody {
    /// Who or what asks.
    initiated_by: Option<String>,
}

impl ByBody {
    /// Bounded as it is where a run is asked for.
    fn by(api: &Api, body: &Received) -> Result<Option<String>, ApiError> {
        let by = body.json_or_default::<Self>()?.initiated_by;
        let bounds = &api.app.config.runner.bounds;
        let checked = bounds.check_text("initiated_by", by.as_deref().unwrap_or_default());
        checked.map_err(|error| {
            error.bound().into_iter().for_each(|bound| api.app.metrics.server_limit_hit(bound));
            ApiError::invalid(error)
        })?;
        Ok(by)
    }
}

/// Stop a run. Teardown still runs, if setup did.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, format = "uuid")),
    request_body(content = Option<ByBody>, content_type = "application/json"),
    responses(
        (status = 202, body = RunView, headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The run has ended"),
    ),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    body: Received,
) -> Result<Response, ApiError> {
    api.app.runner.cancel(id, ByBody::by(&api, &body)?).await?;
    accepted(&api, id, u64::MAX).await
}

/// Try a run's failed tests again, as further attempts of the same run.
///
/// With an `Idempotency-Key` that was used before with the same request, nothing is tried, and the answer
/// is the one that was given then.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs",
    params(("id" = String, Path, format = "uuid"), ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Option<ByBody>, content_type = "application/json"),
    responses(
        (status = 202, body = RunView, headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "The run has not ended, no test failed, or its version was deleted"),
        (status = 422, body = Problem, content_type = "application/problem+json",
         description = "The run would come to more attempts than one may have"),
    ),
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let by = ByBody::by(&api, &body)?;
    let seq = api.app.runner.retry(id, by, key.over(&body.bytes)).await?;
    // The same for every request with the same key, however far the run has come.
    accepted(&api, id, seq).await
}

async fn accepted(api: &Api, id: RunId, seq: u64) -> Result<Response, ApiError> {
    let run = api.ask(move |storage| storage.run_as_of(id, seq)).await?;
    let run = run.ok_or_else(|| no_run(id))?;
    let location = [(header::LOCATION, location(id))];
    Ok((StatusCode::ACCEPTED, location, Json(RunView::from(&run))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunRequest, Tags, Wait};

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<RunBody>(r#"{"filtr": "x"}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `filtr`, expected one of `filter`"), "{error}");
    }

    #[test]
    fn tags_come_as_one_list_or_as_two() {
        let expected = Tags { include: vec!["a".into()], exclude: vec!["b".into()] };
        for text in [r#"["a", "!b"]"#, r#"{"include": ["a"], "exclude": ["b"]}"#] {
            let body: RunBody = serde_json::from_str(&format!(r#"{{"tags": {text}}}"#)).unwrap();
            assert_eq!(RunRequest::from(body).tags, expected, "{text}");
        }
        let error = serde_json::from_str::<RunBody>(r#"{"tags": {"with": []}}"#).unwrap_err();
        assert!(error.to_string().starts_with("expected a list of tags"), "{error}");
    }

    #[test]
    fn a_wait_of_no_known_form_is_told_the_forms() {
        for wait in [r#""x""#, r#"{"fixed_ms": 1}"#, r#"{"kind": "fixed"}"#, r#"{"kind": "long"}"#]
        {
            let body = format!(r#"{{"retry_wait": {wait}}}"#);
            let error = serde_json::from_str::<RunBody>(&body).unwrap_err().to_string();
            assert!(error.contains(r#"{"kind": "fixed", "wait_ms": 100}"#), "{error}");
            assert!(!error.contains("tagged"), "{error}");
        }
        let body = r#"{"retry_wait": {"kind": "fixed", "wait_ms": 7}}"#;
        let body: RunBody = serde_json::from_str(body).unwrap();
        assert_eq!(body.retry_wait, Wait::Fixed { wait_ms: 7 });
    }

    #[test]
    fn a_time_to_wait_is_read_as_people_write_it() {
        let read = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            let query = axum::extract::Query::<CreateQuery>::try_from_uri(&uri);
            query.map(|query| query.0.wait).map_err(|error| error.body_text())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("wait=30s"), Ok(Some(Duration::from_secs(30))));
        insta::assert_snapshot!(read("wait=soon").unwrap_err());
        insta::assert_snapshot!(read("wiat=30s").unwrap_err());
    }
}
