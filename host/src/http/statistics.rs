//! Statistics of suites and tests, and groups of failures.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Kind, Problem};
use super::extract::{Path, Query, Received, page};
use super::idempotency::Idempotency;
use super::runs::{as_queued, location};
use super::views::{FailureGroupView, List, RunView, StandingView, StatisticsView};
use crate::model::{Digest, Marks, Name, SuiteId};
use crate::runner::{ConfirmError, ConfirmOrder};
use crate::statistics::{State as Standing, Window, report};
use crate::storage::{Paged, Storage, StorageError, StoredSeries};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WindowQuery {
    /// The last so many results, or those of so long: `100`, or `7d`. Default: all that are kept.
    #[param(example = "100")]
    window: Option<String>,
    /// Only results of this version.
    #[param(value_type = Option<String>)]
    version: Option<Digest>,
    /// Only results with exactly this reference.
    reference: Option<String>,
}

impl WindowQuery {
    fn window(self, now: Timestamp) -> Result<Window, ApiError> {
        let Self { window, version, reference } = self;
        let mut chosen = Window { version, reference, ..Window::default() };
        let Some(text) = window else { return Ok(chosen) };
        let malformed = || {
            let detail =
                format!("window is {text:?}: write a number of results, or a time such as");
            ApiError::malformed(format!("{detail} `12h` or `7d`"))
        };
        match text.parse::<usize>() {
            Ok(0) => return Err(malformed()),
            Ok(results) => chosen.results = Some(results),
            Err(_) => {
                let long = humantime::parse_duration(&text).map_err(|_| malformed())?;
                let long = SignedDuration::try_from(long).map_err(|_| malformed())?;
                chosen.since = Some(now.saturating_sub(long).map_err(|_| malformed())?);
            }
        }
        Ok(chosen)
    }
}

/// Statistics of a suite's runs.
///
/// A result is a run. Those that ended in an error of the platform, were cancelled or cleared are none.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/statistics", tag = "statistics",
    params(("namespace" = String, Path), ("name" = String, Path), WindowQuery),
    responses(
        (status = 200, body = StatisticsView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn suite(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<StatisticsView>, ApiError> {
    read(&api, suite, String::new(), query).await
}

/// Statistics of a test.
///
/// A result is what the test came to in one round of a run, whatever attempts it took.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/tests/{test}/statistics", tag = "statistics",
    params(
        ("namespace" = String, Path), ("name" = String, Path), ("test" = String, Path), WindowQuery,
    ),
    responses(
        (status = 200, body = StatisticsView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn test(
    State(api): State<Api>,
    Path((namespace, name, test)): Path<(Name, Name, String)>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<StatisticsView>, ApiError> {
    read(&api, SuiteId { namespace, name }, test, query).await
}

async fn read(
    api: &Api,
    suite: SuiteId,
    test: String,
    query: WindowQuery,
) -> Result<Json<StatisticsView>, ApiError> {
    let now = Timestamp::now();
    let window = query.window(now)?;
    let view = api.ask(move |storage| {
        let (found, marks) = (storage.results(&suite, &test)?, storage.marks(&suite)?);
        Ok(found.ok_or_else(|| no_results(&suite, &test)).map(|found| StatisticsView {
            window: (&report(&found.series, &found.kept, &window)).into(),
            standing: StandingView::of(&suite, &test, &found.series).marked(&marks, now),
        }))
    });
    Ok(Json(view.await??))
}

fn no_results(suite: &SuiteId, test: &str) -> ApiError {
    ApiError::not_found(match test {
        "" => format!("there is no result of the suite {suite}: no run of it has passed or failed"),
        _ => format!("there is no result of a test {test:?} of the suite {suite}"),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items at most, from 1 to 500. Default: 50.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How each test of a suite stands, by name.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/statistics/tests", tag = "statistics",
    params(("namespace" = String, Path), ("name" = String, Path), PageQuery),
    responses(
        (status = 200, body = List<StandingView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tests(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<StandingView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    standings(&api, move |storage| storage.tests(&suite, &page)).await
}

/// Tests with what is said of them. Tests of one suite come one after the other.
async fn standings(
    api: &Api,
    find: impl FnOnce(&Storage) -> Result<Paged<StoredSeries>, StorageError> + Send + 'static,
) -> Result<Json<List<StandingView>>, ApiError> {
    let list = api.ask(move |storage| {
        let (found, now) = (find(storage)?, Timestamp::now());
        let mut marks: Option<(SuiteId, Marks)> = None;
        let mut items = Vec::with_capacity(found.items.len());
        for stored in &found.items {
            let known = match marks.take().filter(|(of, _)| *of == stored.suite) {
                Some(known) => known,
                None => (stored.suite.clone(), storage.marks(&stored.suite)?),
            };
            items.push(StandingView::from(stored).marked(&known.1, now));
            marks = Some(known);
        }
        Ok(List { items, next_cursor: found.next_cursor })
    });
    Ok(Json(list.await?))
}

/// The groups of failures of a suite, the one that was last seen first.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/failures", tag = "statistics",
    params(("namespace" = String, Path), ("name" = String, Path), PageQuery),
    responses(
        (status = 200, body = List<FailureGroupView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn failures(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<FailureGroupView>>, ApiError> {
    let page = page(query.limit, query.cursor)?;
    Ok(Json(List::of(api.ask(move |storage| storage.groups(&suite, &page)).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StateQuery {
    /// Of which suite: `namespace/name`, or a name in the namespace `default`. Default: of all.
    suite: Option<String>,
    /// How many items at most, from 1 to 500. Default: 50.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The tests that are flaky, by suite and name.
#[utoipa::path(
    get, path = "/statistics/flaky", tag = "statistics", params(StateQuery),
    responses(
        (status = 200, body = List<StandingView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn flaky(
    State(api): State<Api>,
    Query(query): Query<StateQuery>,
) -> Result<Json<List<StandingView>>, ApiError> {
    in_state(&api, Standing::Flaky, query).await
}

/// The tests that are broken, by suite and name.
#[utoipa::path(
    get, path = "/statistics/broken", tag = "statistics", params(StateQuery),
    responses(
        (status = 200, body = List<StandingView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn broken(
    State(api): State<Api>,
    Query(query): Query<StateQuery>,
) -> Result<Json<List<StandingView>>, ApiError> {
    in_state(&api, Standing::Broken, query).await
}

async fn in_state(
    api: &Api,
    state: Standing,
    query: StateQuery,
) -> Result<Json<List<StandingView>>, ApiError> {
    let suite = query.suite.map(|text| text.parse::<SuiteId>()).transpose();
    let suite = suite.map_err(|error| ApiError::malformed(format!("suite: {error}")))?;
    let page = page(query.limit, query.cursor)?;
    standings(api, move |storage| storage.tests_in(state, suite.as_ref(), &page)).await
}

/// What a run that confirms a test is asked for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfirmBody {
    /// Which version. Default: the newest upload.
    #[schema(value_type = Option<String>)]
    version: Option<Digest>,
    /// What is tested. Default: as in the last result, whose parameters it has too.
    reference: Option<String>,
    /// Who or what asks.
    initiated_by: Option<String>,
}

/// Start as many rounds of a test as it takes to be 95 % sure that it is mended.
///
/// One run with so many rounds, each of one attempt. If all pass, the test is not flaky any more.
#[utoipa::path(
    post, path = "/suites/{namespace}/{name}/tests/{test}/confirm", tag = "statistics",
    params(
        ("namespace" = String, Path), ("name" = String, Path), ("test" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
    ),
    request_body(content = Option<ConfirmBody>, content_type = "application/json"),
    responses(
        (status = 202, body = RunView, headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is confirmed already, or never failed"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64))),
    ),
)]
pub(super) async fn confirm(
    State(api): State<Api>,
    Path((namespace, name, test)): Path<(Name, Name, String)>,
    key: Idempotency,
    body: Received,
) -> Result<Response, ApiError> {
    let asked: ConfirmBody = body.json_or_default()?;
    let key = key.over(&body.bytes);
    drop(body);
    let suite = SuiteId { namespace, name };
    let ConfirmBody { version, reference, initiated_by } = asked;
    let order = ConfirmOrder { version, reference, initiated_by };
    let run = api.app.runner.confirm(suite, &test, order, key).await?;
    let view = RunView::from(&as_queued(&api, run).await?);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location(run))], Json(view)).into_response())
}

impl From<ConfirmError> for ApiError {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::NoResult(..) => Self::not_found(error),
            ConfirmError::Confirmed(_) => Self::new(Kind::Conflict, error),
            ConfirmError::Submit(error) => error.into(),
        }
    }
}
