//! A run's log: what all its attempts wrote, attempt after attempt in the order in which they began, and
//! what those under way write.
//!
//! One attempt's log is in memory at a time, so a log of any length streams.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::middleware::Live;
use super::runs::find;
use super::views::LogRecordView;
use crate::model::{Attempt, AttemptDetail, LogLine, Run, RunId, Stage, TestStatus};
use crate::runner::LiveLine;
use crate::storage::{Storage, StorageError};

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only of this test.
    test: Option<String>,
    /// Only of `setup`, of the tests (`test`), or of `teardown`.
    #[param(inline)]
    stage: Option<LogStage>,
    /// Only of attempts with this number.
    attempt: Option<u32>,
    /// `text` (the default), or `json` for one object a line.
    #[serde(default)]
    #[param(inline)]
    format: LogFormat,
    /// Whether to go on with the lines of attempts under way, as they come, to the run's end.
    #[serde(default)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LogStage {
    Setup,
    Test,
    Teardown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Read a run's log.
#[utoipa::path(
    get, path = "/runs/{id}/logs", tag = "runs",
    params(("id" = String, Path, format = "uuid"), LogQuery),
    responses(
        (status = 200, description = "Text, or a JSON object a line", content(
            (String = "text/plain"), (LogRecordView = "application/x-ndjson"),
        )),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<RunId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    // Listening begins before reading, so that no attempt falls between the two.
    let live = if query.follow { api.app.runner.live_log(id) } else { None };
    let run = find(&api, id).await?;
    if let Some(test) = query.test.as_ref().filter(|test| run.test(test).is_none()) {
        return Err(ApiError::not_found(format!("the run {id} has no test {test:?}")));
    }
    let run = Arc::new(run);
    let (of, wanted) = (run.clone(), query.clone());
    let parts = api.ask(move |storage| parts(storage, &of, &wanted)).await?;
    let shown = parts.iter().map(Part::key).collect();
    let stored = stored(api.clone(), run.clone(), parts, query.format);
    let kind = [(header::CONTENT_TYPE, query.format.media_type())];
    let ended = run.status.is_terminal();
    if query.follow && live.is_none() && !ended {
        return Err(ApiError::too_many_followers());
    }
    let Some(live) = live.filter(|_| !ended) else {
        return Ok((kind, Body::from_stream(stored)).into_response());
    };
    let closing = api.closing.clone().cancelled_owned();
    let live = following(live.take_until(closing), query, run, shown).map(Ok);
    Ok((axum::Extension(Live), kind, Body::from_stream(stored.chain(live))).into_response())
}

impl LogFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/x-ndjson",
        }
    }
}

impl LogQuery {
    fn takes(&self, stage: &Stage, number: u32) -> bool {
        let test = self.test.as_ref();
        let of = match stage {
            Stage::Setup => LogStage::Setup,
            Stage::Test(_) => LogStage::Test,
            Stage::Teardown => LogStage::Teardown,
        };
        test.is_none_or(|test| matches!(stage, Stage::Test(name) if name == test))
            && self.stage.is_none_or(|wanted| wanted == of)
            && self.attempt.is_none_or(|wanted| wanted == number)
    }
}

/// One attempt that has ended. A run may have very many, so this is small.
struct Part {
    /// What was attempted: setup, the test at that place, or teardown.
    place: Place,
    round: u32,
    number: u32,
    status: TestStatus,
    duration_ms: u64,
    started_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Setup,
    Test(usize),
    Teardown,
}

impl Place {
    fn of(stage: &Stage, run: &Run) -> Option<Self> {
        Some(match stage {
            Stage::Setup => Self::Setup,
            Stage::Test(name) => Self::Test(run.position(name)?),
            Stage::Teardown => Self::Teardown,
        })
    }

    fn stage(self, run: &Run) -> Stage {
        match self {
            Self::Setup => Stage::Setup,
            Self::Test(at) => Stage::Test(run.tests[at].name.clone()),
            Self::Teardown => Stage::Teardown,
        }
    }
}

impl Part {
    /// What is asked for of an attempt.
    fn of(stage: &Stage, attempt: &Attempt, run: &Run, query: &LogQuery) -> Option<Self> {
        let place = Place::of(stage, run).filter(|_| query.takes(stage, attempt.number))?;
        Some(Self {
            place,
            round: attempt.round,
            number: attempt.number,
            status: attempt.status,
            duration_ms: attempt.duration_ms,
            started_at: attempt.started_at,
        })
    }

    fn key(&self) -> (Place, u32, u32) {
        (self.place, self.round, self.number)
    }
}

/// The attempts that are asked for, in the order in which they began.
fn parts(storage: &Storage, run: &Run, query: &LogQuery) -> Result<Vec<Part>, StorageError> {
    let mut parts = Vec::new();
    storage.attempts(run.spec.id, run.last_seq, |stage, attempt| {
        parts.extend(Part::of(stage, attempt, run, query));
    })?;
    parts.sort_by_key(|part: &Part| part.started_at);
    Ok(parts)
}

/// The logs of these attempts, one chunk each.
fn stored(
    api: Api,
    run: Arc<Run>,
    parts: Vec<Part>,
    format: LogFormat,
) -> impl Stream<Item = Result<String, std::io::Error>> {
    stream::iter(parts).then(move |part| {
        let (api, run) = (api.clone(), run.clone());
        async move {
            let (stage, id) = (part.place.stage(&run), run.spec.id);
            let (of, round, number) = (stage.clone(), part.round, part.number);
            let detail = api.ask(move |storage| storage.detail(id, &of, round, number)).await;
            let detail = detail.map_err(|error| {
                tracing::error!(?error, "failed to read a log");
                std::io::Error::other("the log cannot be read")
            })?;
            Ok(chunk(&stage, &part, &detail.unwrap_or_default(), format))
        }
    })
}

/// One attempt's log, in text under a heading.
fn chunk(stage: &Stage, part: &Part, detail: &AttemptDetail, format: LogFormat) -> String {
    let mut text = String::new();
    if format == LogFormat::Text {
        text = heading(stage, part.round, part.number);
        text.push_str(&format!(": {}, {} ms\n", part.status.as_str(), part.duration_ms));
    }
    for line in &detail.log {
        push_line(&mut text, stage, part.round, part.number, line, format);
    }
    text
}

fn heading(stage: &Stage, round: u32, number: u32) -> String {
    let what = match stage {
        Stage::Setup => "setup".to_owned(),
        Stage::Test(name) => format!("test {name:?}"),
        Stage::Teardown => "teardown".to_owned(),
    };
    let round = if round > 1 { format!(", round {round}") } else { String::new() };
    format!("--- {what}, attempt {number}{round}")
}

fn push_line(
    text: &mut String,
    stage: &Stage,
    round: u32,
    number: u32,
    line: &LogLine,
    format: LogFormat,
) {
    let view = LogRecordView::of(stage, round, number, line);
    match format {
        LogFormat::Json => text.push_str(&serde_json::to_string(&view).unwrap_or_default()),
        LogFormat::Text => {
            text.push_str(&format!("{:.3} {:<6} {}", line.at, view.line.source, line.text));
        }
    }
    text.push('\n');
}

/// The lines of attempts that are not among those already shown, with a heading where the attempt changes.
fn following(
    live: impl Stream<Item = LiveLine>,
    query: LogQuery,
    run: Arc<Run>,
    shown: HashSet<(Place, u32, u32)>,
) -> impl Stream<Item = String> {
    let mut last = None;
    live.filter_map(move |LiveLine { stage, round, number, line }| {
        let is_shown = |place| shown.contains(&(place, round, number));
        let is_shown = Place::of(&stage, &run).is_some_and(is_shown);
        let key = (stage, round, number);
        if !query.takes(&key.0, number) || is_shown {
            return std::future::ready(None);
        }
        let mut text = String::new();
        if query.format == LogFormat::Text && last.as_ref() != Some(&key) {
            text = heading(&key.0, round, number) + "\n";
        }
        push_line(&mut text, &key.0, round, number, &line, query.format);
        last = Some(key);
        std::future::ready(Some(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;
    use crate::report::samples;

    fn query(query: &str) -> LogQuery {
        let uri = format!("/?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).unwrap().0
    }

    fn text(asked: &str) -> String {
        let (run, detail) = samples::run();
        let query = query(asked);
        let tests = run.tests.iter().map(|test| (Stage::Test(test.name.clone()), &test.attempts));
        let all = [(Stage::Setup, &run.setup)].into_iter().chain(tests);
        let all = all.chain([(Stage::Teardown, &run.teardown)]);
        let mut text = String::new();
        for (stage, attempts) in all {
            for part in attempts.iter().filter_map(|it| Part::of(&stage, it, &run, &query)) {
                let detail = detail(&stage, part.round, part.number).unwrap_or_default();
                text.push_str(&chunk(&part.place.stage(&run), &part, &detail, query.format));
            }
        }
        text
    }

    #[test]
    fn all_attempts_in_order_under_headings() {
        // The sample has control characters, which do not belong into a file of this repository.
        insta::assert_snapshot!(text("").replace(|c: char| c.is_control() && c != '\n', "?"));
    }

    #[test]
    fn one_attempt_as_an_object_a_line() {
        let text = text("test=lost&attempt=2&format=json");
        for line in text.lines() {
            let record: LogRecordView = serde_json::from_str(line).unwrap();
            assert_eq!((record.stage.test.as_deref(), record.attempt), (Some("lost"), 2));
        }
        assert_eq!(text.lines().count(), 3);
    }

    #[tokio::test]
    async fn lines_of_attempts_already_shown_do_not_come_twice() {
        let line = |name: &str, text: &str| LiveLine {
            stage: Stage::Test(name.into()),
            round: 1,
            number: 1,
            line: LogLine {
                at: jiff::Timestamp::UNIX_EPOCH,
                source: Source::Stdout,
                text: text.into(),
            },
        };
        let run = Arc::new(samples::run().0);
        let live = stream::iter([line("passes", "1"), line("lost", "2"), line("lost", "3")]);
        let shown = HashSet::from([(Place::Test(run.position("passes").unwrap()), 1, 1)]);
        let text: String = following(live, query(""), run, shown).collect().await;
        assert_eq!(
            text,
            "--- test \"lost\", attempt 1\n1970-01-01T00:00:00.000Z stdout 2\n\
             1970-01-01T00:00:00.000Z stdout 3\n"
        );
    }
}
