//! A run: the verdict first, then what failed and why, then everything else.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::artifacts::{self, File};
use super::attempt::Failure;
use super::comparison::{self, Difference};
use super::page::{self, Page};
use super::plugins::Said;
use super::rows::{Cell, Rows};
use super::show::{self, Look};
use super::text::{self, Html};
use super::waits::{self, RoundsLine, Waits};
use super::waterfall::{self, Bar};
use super::{Path, Refusal, Web, ansi};
use crate::model::{Counts, Name, Pin, Run, RunId, RunStatus, Stage, SuiteId, Test, TestStatus};
use crate::storage::{Storage, StorageError};

/// How many failures are shown with all that is known of them.
const OPEN: usize = 10;
/// How many tests are listed on one page.
const TESTS: usize = 500;

/// How much of what plugins say is shown at once, and how much at all.
const SAID: usize = 5;
const SAID_AT_MOST: usize = 100;

/// How far a run is.
pub(super) struct Progress {
    pub(super) all: usize,
    pub(super) done: usize,
    pub(super) failed: u64,
    under_way: Vec<Html>,
}

/// How far a run is.
pub(super) fn progress(run: &Run) -> Progress {
    let stage = |(stage, ..): &(Stage, u32, u32)| match stage {
        Stage::Setup => text::guest("setup"),
        Stage::Test(name) => text::name(name),
        Stage::Teardown => text::guest("teardown"),
    };
    Progress {
        all: run.tests.len(),
        done: run.tests.iter().filter(|test| test.status.is_terminal()).count(),
        failed: run.counts().failed,
        under_way: run.under_way.iter().take(8).map(stage).collect(),
    }
}

/// How tests ended, for people.
pub(super) fn counts_in_words(counts: &Counts) -> String {
    let parts = [
        (counts.failed, "failed"),
        (counts.error, "in error"),
        (counts.soft_failed, "failed softly"),
        (counts.passed, "passed"),
        (counts.flaky, "of them flaky"),
        (counts.skipped, "skipped"),
        (counts.cancelled, "cancelled"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// Where the page of a test of a run is.
pub(super) fn test_path(run: RunId, test: &str) -> String {
    format!("/runs/{run}/tests/{}", encoded(test))
}

/// A text as a segment of a path.
pub(super) fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// A test in the table.
struct TestLine {
    name: Html,
    path: String,
    cell: Cell,
    took: String,
    message: Html,
    /// What was said of it when the run was accepted.
    mark: Option<(&'static str, String)>,
    /// What its rounds came to, if there are several.
    rounds: Option<String>,
    cleared: Option<Html>,
}

impl TestLine {
    fn of(run: RunId, test: &Test) -> Self {
        let cell = Cell::of(test);
        let mark = test.mark.as_ref();
        let cleared = cell.cleared.as_deref();
        Self {
            mark: mark
                .map(|mark| (super::marks::in_words(mark.kind), text::plain(&mark.in_words()))),
            rounds: (test.rounds.total() > 1).then(|| waits::counts(&test.rounds)),
            cleared: cleared.map(|why| text::guest(&text::start(why, 200))),
            name: text::name(&test.name),
            path: test_path(run, &test.name),
            took: if cell.attempts > 0 { show::duration(cell.duration_ms) } else { String::new() },
            message: cell.message.as_deref().map(ansi::message).unwrap_or_default(),
            cell,
        }
    }
}

/// Setup or teardown in the table.
struct StageLine {
    name: &'static str,
    path: String,
    look: Look,
    took: String,
    attempts: u64,
    message: Html,
}

/// A value with its name.
pub(super) struct Fact {
    pub(super) name: Html,
    pub(super) value: Html,
}

impl Fact {
    /// A value of ours.
    fn new(name: &str, value: Html) -> Self {
        Self { name: text::guest(name), value }
    }
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage<'a> {
    page: &'a Page,
    run: &'a Run,
    look: Look,
    headline: String,
    progress: Progress,
    counts: String,
    message: Html,
    created: Html,
    took: Option<String>,
    failures: Vec<Failure>,
    more_failures: usize,
    stages: Vec<StageLine>,
    tests: Vec<TestLine>,
    listed_from: usize,
    next_page: Option<usize>,
    bars: Vec<Bar>,
    bars_left_out: usize,
    files: Vec<File>,
    facts: Vec<Fact>,
    params: Vec<Fact>,
    differences: Option<(RunId, u64, Vec<Difference>)>,
    command: String,
    retry: usize,
    said: Vec<Said>,
    /// What plugins said beyond what is shown at once.
    said_more: Vec<Said>,
    waits: Option<Waits>,
    rounds: Option<RoundsLine>,
    cleared: Option<Aside>,
    pinned: Option<Aside>,
}

/// Something that somebody decided about a run: why, who and when.
struct Aside {
    reason: Html,
    by: Html,
    at: Html,
}

impl Aside {
    fn of(reason: Option<&str>, by: Option<&str>, at: jiff::Timestamp) -> Self {
        let short = |it: Option<&str>, most: usize| {
            it.map(|it| text::guest(&text::start(it, most))).unwrap_or_default()
        };
        Self { reason: short(reason, 400), by: short(by, 80), at: show::ago(at) }
    }
}

impl RunPage<'_> {
    fn id(&self) -> RunId {
        self.run.spec.id
    }

    fn suite(&self) -> &SuiteId {
        &self.run.spec.suite
    }

    fn is_live(&self) -> bool {
        !self.run.status.is_terminal()
    }
}

/// Which part of the tests is listed.
#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    page: usize,
}

/// What is read of a run at once.
struct Told {
    run: Run,
    failures: Vec<Failure>,
    more_failures: usize,
    bars: (Vec<Bar>, usize),
    files: Vec<File>,
    differences: Option<(RunId, u64, Vec<Difference>)>,
    said: Vec<Said>,
    pin: Option<Pin>,
}

fn tell(
    storage: &Storage,
    rows: &Rows,
    id: RunId,
    trace_url: &Option<String>,
) -> Result<Option<Told>, StorageError> {
    let Some(run) = storage.run(id)? else { return Ok(None) };
    let (failures, more_failures) = failures(storage, &run, trace_url)?;
    let differences = comparison::with_last_passed(storage, rows, &run)?;
    let (bars, files) = (waterfall::of_run(storage, &run)?, artifacts::of_run(&run));
    let said = storage.annotations(id)?.iter().take(SAID_AT_MOST).map(Said::of).collect();
    let pin = storage.pin(id);
    Ok(Some(Told { run, failures, more_failures, bars, files, differences, said, pin }))
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Query(part): Query<Part>,
    page: Page,
) -> Result<Response, Refusal> {
    let rows = Arc::clone(&web.rows);
    let trace_url = web.app.config.web.trace_url.clone();
    let told = web.ask(move |storage| tell(storage, &rows, id, &trace_url));
    let told = told.await?.ok_or_else(|| Refusal::Missing(format!("there is no run {id}")))?;
    let mut said = told.said;
    let said_more = said.split_off(said.len().min(SAID));
    let run = &told.run;
    let title = format!("{} {} #{}", run.status.as_str(), run.spec.suite, run.spec.number);
    let page = page.named(title, "runs").showing(run.status);
    let counts = run.counts();
    let first = part.page.saturating_mul(TESTS).min(run.tests.len());
    let mut tests: Vec<&Test> = run.tests.iter().collect();
    // What did not pass is what people look for, also where there are many pages of tests.
    tests.sort_by_key(|test| !is_bad(test));
    let listed = tests[first..].iter().take(TESTS);
    let standing = match run.status {
        RunStatus::Queued => web.app.runner.standing(id).await,
        _ => None,
    };
    let content = RunPage {
        page: &page,
        look: run.status.into(),
        headline: headline(run, &counts),
        progress: progress(run),
        counts: counts_in_words(&counts),
        message: run.message.as_deref().map(text::guest).unwrap_or_default(),
        created: show::ago(run.spec.created_at),
        took: run.duration_ms().map(show::duration),
        stages: stages(run),
        tests: listed.map(|test| TestLine::of(id, test)).collect(),
        listed_from: first,
        next_page: (run.tests.len() > first + TESTS).then_some(part.page + 1),
        facts: facts(run),
        params: params(run),
        command: super::actions::command(run),
        retry: if run.status.is_terminal() { run.to_retry().len() } else { 0 },
        failures: told.failures,
        more_failures: told.more_failures,
        bars: told.bars.0,
        bars_left_out: told.bars.1,
        files: told.files,
        differences: told.differences,
        said,
        said_more,
        waits: standing.as_ref().map(Waits::of),
        rounds: RoundsLine::of(run),
        cleared: run
            .cleared
            .as_ref()
            .map(|it| Aside::of(Some(&it.reason), it.by.as_deref(), it.at)),
        pinned: told.pin.map(|it| Aside::of(it.reason.as_deref(), it.by.as_deref(), it.at)),
        run,
    };
    page::answer(&page, &content)
}

/// What is to be known first.
fn headline(run: &Run, counts: &Counts) -> String {
    let tests = |count: u64| if count == 1 { "test" } else { "tests" };
    match run.status {
        RunStatus::Failed if run.setup.last_status() == Some(TestStatus::Failed) => {
            "Setup failed, so nothing could be tested".into()
        }
        RunStatus::Failed if counts.failed > 0 => {
            format!("{} of {} tests failed", counts.failed, run.tests.len())
        }
        RunStatus::Failed => "Failed".into(),
        RunStatus::Passed if counts.flaky > 0 => {
            let flaky = counts.flaky;
            format!("Passed, {flaky} {} only on a further attempt", tests(flaky))
        }
        RunStatus::Passed if counts.passed == 0 && counts.soft_failed > 0 => {
            format!("Passed: {} failed, and none of them counts", counts.soft_failed)
        }
        RunStatus::Passed if counts.passed == 0 => "Passed: every test was skipped".into(),
        RunStatus::Passed => format!("{} {} passed", counts.passed, tests(counts.passed)),
        RunStatus::Error => "The platform could not finish this run".into(),
        RunStatus::Cancelled => "Cancelled".into(),
        RunStatus::Queued => "Waits for its turn".into(),
        RunStatus::Running if run.cancel_requested => "Is being cancelled".into(),
        RunStatus::Running => "Running".into(),
    }
}

fn is_bad(test: &Test) -> bool {
    matches!(test.status, TestStatus::Failed | TestStatus::Error)
}

/// The failures with all that is known of the first ones, and how many more there are.
fn failures(
    storage: &Storage,
    run: &Run,
    trace_url: &Option<String>,
) -> Result<(Vec<Failure>, usize), StorageError> {
    let mut bad: Vec<&Test> = run.tests.iter().filter(|test| is_bad(test)).collect();
    bad.sort_by_key(|test| test.soft);
    let mut failures = Vec::new();
    for (stage, attempts) in [(Stage::Setup, &run.setup), (Stage::Teardown, &run.teardown)] {
        let last = attempts.last().filter(|attempt| attempt.cause.is_some());
        if let Some(attempt) = last {
            failures.push(Failure::of(storage, run, &stage, attempt, false, trace_url)?);
        }
    }
    for test in bad.iter().take(OPEN) {
        if let Some(attempt) = test.attempts.last() {
            let stage = Stage::Test(test.name.clone());
            failures.push(Failure::of(storage, run, &stage, attempt, test.soft, trace_url)?);
        }
    }
    Ok((failures, bad.len().saturating_sub(OPEN)))
}

fn stages(run: &Run) -> Vec<StageLine> {
    let stages = [("setup", &run.setup), ("teardown", &run.teardown)];
    let line = |(name, attempts): (&'static str, &crate::model::Attempts)| {
        let last = attempts.last()?;
        Some(StageLine {
            name,
            path: format!("/runs/{}/{name}", run.spec.id),
            look: last.status.into(),
            took: show::duration(attempts.iter().map(|attempt| attempt.duration_ms).sum()),
            attempts: attempts.total(),
            message: last.message.as_deref().map(ansi::message).unwrap_or_default(),
        })
    };
    stages.into_iter().filter_map(line).collect()
}

fn facts(run: &Run) -> Vec<Fact> {
    let (spec, request) = (&run.spec, &run.spec.request);
    let said = |text: &Option<String>| text.as_deref().map(text::guest);
    let number = |number: u32| (number > 1).then(|| text::guest(&number.to_string()));
    let tags = [("", &request.tags.include), ("!", &request.tags.exclude)];
    let tags =
        tags.iter().flat_map(|(sign, tags)| tags.iter().map(move |tag| format!("{sign}{tag}")));
    let tags = tags.collect::<Vec<_>>().join(", ");
    let facts = [
        ("Reference", said(&request.reference)),
        ("Asked for by", said(&request.initiated_by)),
        ("Filter", said(&request.filter)),
        ("Tags", (!tags.is_empty()).then(|| text::guest(&tags))),
        ("Part", request.shard.map(|shard| text::guest(&shard.to_string()))),
        ("At the same time", number(spec.parallelism)),
        ("Rounds", number(spec.repeat)),
        ("Seed of the order", request.shuffle_seed.map(|seed| text::guest(&seed.to_string()))),
        ("Deadline", Some(text::guest(&show::duration(spec.timeout_ms)))),
        ("Began", run.started_at.map(show::ago)),
        ("Ended", run.finished_at.map(show::ago)),
        ("Version", Some(text::guest(&spec.version.to_string()))),
        ("Fixtures", spec.fixtures.as_ref().map(|it| text::guest(&it.digest.to_string()))),
    ];
    facts.into_iter().filter_map(|(name, value)| Some(Fact::new(name, value?))).collect()
}

fn params(run: &Run) -> Vec<Fact> {
    let params = run.spec.request.params.iter();
    let fact = |(name, value): (&String, &String)| Fact {
        name: text::guest(name),
        value: text::guest(&text::start(value, 400)),
    };
    params.map(fact).collect()
}

/// A run's place in its suite.
#[derive(Deserialize)]
pub(super) struct Place {
    namespace: Name,
    name: Name,
    number: u64,
}

/// Leads to a run by its number.
pub(super) async fn by_number(
    State(web): State<Web>,
    Path(Place { namespace, name, number }): Path<Place>,
) -> Result<Response, Refusal> {
    let suite = SuiteId { namespace, name };
    let missing = Refusal::Missing(format!("the suite {suite} has no run #{number}"));
    let id = web.ask(move |storage| storage.run_by_number(&suite, number)).await?;
    Ok(Redirect::to(&format!("/runs/{}", id.ok_or(missing)?)).into_response())
}
