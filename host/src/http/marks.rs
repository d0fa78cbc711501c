//! What is said of tests without another version of their suite.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Received};
use super::suites::newest;
use super::views::{LastRunView, List, MarkBody, MarkedView};
use crate::model::{Mark, Marks, Name, RunSummary, SuiteId};
use crate::runner::MarkError;
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// How many runs are looked through for the last one of the marked tests.
const RUNS_LOOKED_AT: usize = 10;

/// List the marked tests of a suite, with how each ended last.
#[utoipa::path(
    get, path = "/suites/{namespace}/{name}/marks", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = List<MarkedView>),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(suite): Path<SuiteId>,
) -> Result<Json<List<MarkedView>>, ApiError> {
    newest(&api, &suite).await?;
    let items = api.ask(move |storage| shown(storage, &suite)).await?;
    Ok(Json(List { items, next_cursor: None }))
}

/// Which test of which suite.
#[derive(serde::Deserialize)]
pub(super) struct TestPath {
    namespace: Name,
    name: Name,
    test: String,
}

impl TestPath {
    fn parts(self) -> (SuiteId, String) {
        (SuiteId { namespace: self.namespace, name: self.name }, self.test)
    }
}

/// Mute or disable a test, or expect it to fail, from the next run on.
///
/// It takes the place of what was said of the test before. The test must be in the newest version.
#[utoipa::path(
    put, path = "/suites/{namespace}/{name}/marks/{*test}", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), ("test" = String, Path)),
    request_body = MarkBody,
    responses(
        (status = 200, body = MarkedView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "As many tests of the suite are marked as may be"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(api): State<Api>,
    Path(path): Path<TestPath>,
    body: Received,
) -> Result<Json<MarkedView>, ApiError> {
    let (suite, test) = path.parts();
    let mark = body.json::<MarkBody>()?.into_mark(Timestamp::now()).map_err(ApiError::invalid)?;
    api.app.runner.mark(&suite, &test, mark.clone()).await?;
    Ok(Json(MarkedView::of(&test, &mark, None, mark.since)))
}

/// Say nothing of a test any more.
#[utoipa::path(
    delete, path = "/suites/{namespace}/{name}/marks/{*test}", tag = "suites",
    params(("namespace" = String, Path), ("name" = String, Path), ("test" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(path): Path<TestPath>,
) -> Result<StatusCode, ApiError> {
    let (suite, test) = path.parts();
    api.app.runner.unmark(&suite, &test).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<MarkError> for ApiError {
    fn from(error: MarkError) -> Self {
        match error {
            MarkError::NoSuite(_) | MarkError::NoTest(..) | MarkError::NotMarked(..) => {
                Self::not_found(error)
            }
            MarkError::Text(error) => Self::invalid(error),
            MarkError::Storage(error) => error.into(),
        }
    }
}

/// The marked tests, with how each ended last. Costs as much as a few runs are long.
fn shown(storage: &Storage, suite: &SuiteId) -> Result<Vec<MarkedView>, StorageError> {
    let marks = storage.marks(suite)?;
    let mut last = std::collections::BTreeMap::new();
    if !marks.is_empty() {
        let query = RunQuery { suite: Some(suite.clone()), ..RunQuery::default() };
        let page = storage.runs(&query, &Page { limit: RUNS_LOOKED_AT, cursor: None })?;
        for run in page.items.iter().filter(|run| run.status.is_terminal()) {
            look_at(storage, run, &marks, &mut last)?;
            if last.len() == marks.len() {
                break;
            }
        }
    }
    let now = Timestamp::now();
    let view =
        |(test, mark): (&String, &Mark)| MarkedView::of(test, mark, last.get(test).cloned(), now);
    Ok(marks.iter().map(view).collect())
}

/// Adds how the marked tests ended in a run of which nothing later is known.
fn look_at(
    storage: &Storage,
    summary: &RunSummary,
    marks: &Marks,
    last: &mut std::collections::BTreeMap<String, LastRunView>,
) -> Result<(), StorageError> {
    let Some(run) = storage.run(summary.id)? else { return Ok(()) };
    for name in marks.keys() {
        if let Some(test) = run.test(name).filter(|test| test.attempts.total() > 0)
            && !last.contains_key(name)
        {
            last.insert(name.clone(), LastRunView::of(&run, test));
        }
    }
    Ok(())
}
