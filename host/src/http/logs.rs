//! A run's log: what all its attempts wrote, attempt after attempt in the order in which they began, and
//! what those under way write.
//!
//! One attempt's log is in memory at a time, so a log of any length streams.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
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

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only of this test.
    test: Option<String>,
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
    let parts = parts(&run, &query);
    let shown = parts.iter().map(Part::key).collect();
    let stored = stored(api.clone(), id, parts, query.format);
    let kind = [(header::CONTENT_TYPE, query.format.media_type())];
    let ended = run.status.is_terminal();
    if query.follow && live.is_none() && !ended {
        return Err(ApiError::too_many_followers());
    }
    let Some(live) = live.filter(|_| !ended) else {
        return Ok((kind, Body::from_stream(stored)).into_response());
    };
    let closing = api.closing.clone().cancelled_owned();
    let live = following(live.take_until(closing), query, shown).map(Ok);
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
        test.is_none_or(|test| matches!(stage, Stage::Test(name) if name == test))
            && self.attempt.is_none_or(|wanted| wanted == number)
    }
}

/// One attempt that has ended.
struct Part {
    stage: Stage,
    round: u32,
    number: u32,
    status: TestStatus,
    duration_ms: u64,
}

impl Part {
    fn key(&self) -> (Stage, u32, u32) {
        (self.stage.clone(), self.round, self.number)
    }
}

/// The attempts that are asked for, in the order in which they began.
fn parts(run: &Run, query: &LogQuery) -> Vec<Part> {
    let setup = run.setup.iter().map(|attempt| (Stage::Setup, attempt));
    let tests = run.tests.iter().flat_map(|test| {
        test.attempts.iter().map(|attempt| (Stage::Test(test.name.clone()), attempt))
    });
    let teardown = run.teardown.iter().map(|attempt| (Stage::Teardown, attempt));
    let mut all: Vec<(Stage, &Attempt)> = setup.chain(tests).chain(teardown).collect();
    all.retain(|(stage, attempt)| query.takes(stage, attempt.number));
    all.sort_by_key(|(_, attempt)| attempt.started_at);
    let part = |(stage, attempt): (Stage, &Attempt)| Part {
        stage,
        round: attempt.round,
        number: attempt.number,
        status: attempt.status,
        duration_ms: attempt.duration_ms,
    };
    all.into_iter().map(part).collect()
}

/// The logs of these attempts, one chunk each.
fn stored(
    api: Api,
    id: RunId,
    parts: Vec<Part>,
    format: LogFormat,
) -> impl Stream<Item = Result<String, std::io::Error>> {
    stream::iter(parts).then(move |part| {
        let api = api.clone();
        async move {
            let (stage, round, number) = part.key();
            let detail = api.ask(move |storage| storage.detail(id, &stage, round, number)).await;
            let detail = detail.map_err(|error| {
                tracing::error!(?error, "failed to read a log");
                std::io::Error::other("the log cannot be read")
            })?;
            Ok(chunk(&part, &detail.unwrap_or_default(), format))
        }
    })
}

/// One attempt's log, in text under a heading.
fn chunk(part: &Part, detail: &AttemptDetail, format: LogFormat) -> String {
    let mut text = String::new();
    if format == LogFormat::Text {
        text = heading(&part.stage, part.round, part.number);
        text.push_str(&format!(": {}, {} ms\n", part.status.as_str(), part.duration_ms));
    }
    for line in &detail.log {
        push_line(&mut text, &part.stage, part.round, part.number, line, format);
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
    shown: HashSet<(Stage, u32, u32)>,
) -> impl Stream<Item = String> {
    let mut last = None;
    live.filter_map(move |LiveLine { stage, round, number, line }| {
        let key = (stage, round, number);
        if !query.takes(&key.0, number) || shown.contains(&key) {
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
        let chunk = |part: &Part| {
            let (stage, round, number) = part.key();
            chunk(part, &detail(&stage, round, number).unwrap_or_default(), query.format)
        };
        parts(&run, &query).iter().map(chunk).collect()
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
        let live = stream::iter([line("old", "1"), line("new", "2"), line("new", "3")]);
        let shown = HashSet::from([(Stage::Test("old".into()), 1, 1)]);
        let text: String = following(live, query(""), shown).collect().await;
        assert_eq!(
            text,
            "--- test \"new\", attempt 1\n1970-01-01T00:00:00.000Z stdout 2\n\
             1970-01-01T00:00:00.000Z stdout 3\n"
        );
    }
}
