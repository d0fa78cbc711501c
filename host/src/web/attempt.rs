//! One attempt after the other at a test, at setup or at teardown, with all that each left behind.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::artifacts::File;
use super::logs::{self, Log};
use super::page::{self, Page};
use super::run::{Fact, test_path};
use super::show::{self, Look};
use super::text::{self, Html};
use super::waterfall::{self, Bar};
use super::{Path, Refusal, Web};
use crate::model::{
    Attempt, AttemptDetail, Exchange, Location, Outcome, Run, RunId, Stage, SuiteId,
};
use crate::storage::{Storage, StorageError};

/// How many lines of log a failure shows, and how many an attempt does.
const TAIL: usize = 20;
const LINES: usize = 400;
/// How many attempts are shown whole on one page.
const SHOWN: usize = 3;
/// How many requests, parts and frames are listed of an attempt.
const LISTED: usize = 200;

/// A failure with what explains it.
pub(super) struct Failure {
    pub(super) id: String,
    pub(super) name: Html,
    pub(super) path: String,
    pub(super) look: Look,
    pub(super) soft: bool,
    pub(super) cause: &'static str,
    pub(super) message: Html,
    pub(super) location: Html,
    pub(super) attempts: u32,
    pub(super) took: String,
    pub(super) log: Log,
    pub(super) requests: Vec<Request>,
}

impl Failure {
    /// The last attempt at something that failed.
    pub(super) fn of(
        storage: &Storage,
        run: &Run,
        stage: &Stage,
        attempt: &Attempt,
        soft: bool,
        trace_url: &Option<String>,
    ) -> Result<Self, StorageError> {
        let (attempt, detail) = whole(storage, run.spec.id, stage, attempt)?;
        // What was denied, or answered badly, often is the cause.
        let odd = |it: &&Exchange| !it.allowed || it.error.is_some() || it.status >= Some(400);
        let requests = detail.exchanges.iter().filter(odd).take(5);
        Ok(Self {
            id: format!(
                "failure-{}",
                blake3::hash(format!("{stage:?}").as_bytes()).to_hex().split_at(8).0
            ),
            name: stage_name(stage),
            path: stage_path(run.spec.id, stage),
            look: attempt.status.into(),
            soft,
            cause: attempt.cause.map_or("", |cause| cause.as_str()),
            message: attempt.message.as_deref().map(message).unwrap_or_default(),
            location: attempt.location.as_ref().map(location).unwrap_or_default(),
            attempts: attempt.number,
            took: show::duration(attempt.duration_ms),
            requests: requests.map(|exchange| Request::of(exchange, trace_url)).collect(),
            log: logs::tail(&detail, TAIL),
        })
    }
}

/// A message, bounded as a page must be.
fn message(message: &str) -> Html {
    super::ansi::message(&text::start(message, 4 << 10))
}

fn location(location: &Location) -> Html {
    let column = location.column.map(|column| format!(":{column}")).unwrap_or_default();
    text::guest(&format!("{}:{}{column}", location.file, location.line))
}

fn stage_name(stage: &Stage) -> Html {
    match stage {
        Stage::Setup => text::guest("setup"),
        Stage::Test(name) => text::name(name),
        Stage::Teardown => text::guest("teardown"),
    }
}

/// Where the page of a part of a run is.
pub(super) fn stage_path(run: RunId, stage: &Stage) -> String {
    match stage {
        Stage::Setup => format!("/runs/{run}/setup"),
        Stage::Test(name) => test_path(run, name),
        Stage::Teardown => format!("/runs/{run}/teardown"),
    }
}

/// An attempt with its message whole, and its detail.
fn whole(
    storage: &Storage,
    run: RunId,
    stage: &Stage,
    attempt: &Attempt,
) -> Result<(Attempt, AttemptDetail), StorageError> {
    let detail = storage.detail(run, stage, attempt.round, attempt.number)?.unwrap_or_default();
    let mut attempt = attempt.clone();
    attempt.restore(&detail);
    Ok((attempt, detail))
}

/// A request to the tested system.
pub(super) struct Request {
    pub(super) method: Html,
    pub(super) url: Html,
    pub(super) allowed: bool,
    pub(super) status: String,
    pub(super) is_bad: bool,
    pub(super) error: Html,
    pub(super) sent: String,
    pub(super) received: String,
    pub(super) took: String,
    pub(super) trace: Option<String>,
    pub(super) trace_url: Option<String>,
}

impl Request {
    fn of(exchange: &Exchange, trace_url: &Option<String>) -> Self {
        let trace = exchange.trace_id.clone();
        // The id is the host's own: hexadecimal, so it cannot leave its place in the address.
        let trace_url = trace_url.as_ref().zip(trace.as_ref());
        Self {
            method: text::guest(&exchange.method),
            url: text::guest(&text::start(&exchange.url, 600)),
            allowed: exchange.allowed,
            status: exchange.status.map(|status| status.to_string()).unwrap_or_default(),
            is_bad: exchange.status >= Some(400),
            error: exchange.error.as_deref().map(message).unwrap_or_default(),
            sent: show::bytes(exchange.sent_bytes),
            received: show::bytes(exchange.received_bytes),
            took: show::duration(exchange.duration_ms),
            trace_url: trace_url.map(|(url, trace)| url.replace("{trace_id}", trace)),
            trace,
        }
    }
}

/// Requests, as many as are listed.
pub(super) fn requests(exchanges: &[Exchange], trace_url: &Option<String>) -> Vec<Request> {
    exchanges.iter().take(LISTED).map(|exchange| Request::of(exchange, trace_url)).collect()
}

/// A part that the test told of.
struct PartLine {
    name: Html,
    look: Look,
    message: Html,
    took: String,
}

/// An attempt with all that it left behind.
struct Shown {
    id: String,
    number: u32,
    round: u32,
    look: Look,
    cause: &'static str,
    message: Html,
    location: Html,
    at: Html,
    took: String,
    fuel: Option<String>,
    memory: String,
    limits: Vec<&'static str>,
    further: Vec<Html>,
    backtrace: Vec<Html>,
    requests: Vec<Request>,
    parts: Vec<PartLine>,
    values: Vec<Fact>,
    bars: Vec<Bar>,
    files: Vec<File>,
    log: Log,
    log_url: String,
    /// Why it counts in no statistics, if somebody took it out.
    cleared: Option<Html>,
}

/// An attempt that is not shown whole.
struct Brief {
    number: u32,
    round: u32,
    look: Look,
    took: String,
    message: Html,
}

#[derive(Template)]
#[template(path = "attempt.html")]
struct AttemptPage<'a> {
    page: &'a Page,
    run: RunId,
    number: u64,
    suite: SuiteId,
    name: Html,
    history: Option<String>,
    look: Look,
    soft: bool,
    reason: Html,
    shown: Vec<Shown>,
    briefs: Vec<Brief>,
    /// The test's own name, for forms; none for a stage.
    raw: Option<String>,
    mark: Option<Html>,
    is_live: bool,
    last_seq: u64,
}

/// Which attempt is shown, if not the last ones.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Which {
    round: Option<u32>,
    attempt: Option<u32>,
}

/// A test of a run.
pub(super) async fn test(
    State(web): State<Web>,
    Path((id, test)): Path<(RunId, String)>,
    Query(which): Query<Which>,
    page: Page,
) -> Result<Response, Refusal> {
    read(web, id, Stage::Test(test), which, page).await
}

/// A run's setup.
pub(super) async fn setup(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Query(which): Query<Which>,
    page: Page,
) -> Result<Response, Refusal> {
    read(web, id, Stage::Setup, which, page).await
}

/// A run's teardown.
pub(super) async fn teardown(
    State(web): State<Web>,
    Path(id): Path<RunId>,
    Query(which): Query<Which>,
    page: Page,
) -> Result<Response, Refusal> {
    read(web, id, Stage::Teardown, which, page).await
}

async fn read(
    web: Web,
    id: RunId,
    stage: Stage,
    which: Which,
    page: Page,
) -> Result<Response, Refusal> {
    let trace_url = web.app.config.web.trace_url.clone();
    let of = stage.clone();
    let told = web.ask(move |storage| {
        let Some(run) = storage.run(id)? else { return Ok(None) };
        let mut attempts = Vec::new();
        storage.attempts(id, run.last_seq, |stage, attempt| {
            attempts.extend((*stage == of).then(|| attempt.clone()));
        })?;
        let (shown, briefs) = chosen(attempts, which);
        let shown = shown.iter().map(|attempt| Shown::of(storage, id, &of, attempt, &trace_url));
        Ok(Some((run, shown.collect::<Result<Vec<_>, _>>()?, briefs)))
    });
    let missing = || Refusal::Missing(format!("there is no run {id}"));
    let (run, mut shown, briefs) = told.await?.ok_or_else(missing)?;
    for attempt in &mut shown {
        super::artifacts::read_texts(&web, &mut attempt.files).await?;
    }
    let raw = match &stage {
        Stage::Test(name) => Some(name.clone()),
        Stage::Setup | Stage::Teardown => None,
    };
    let test = raw.as_deref().and_then(|name| run.test(name));
    tell_of_clearing(&mut shown, test);
    let mark = test.and_then(|test| test.mark.as_ref()).map(|mark| text::guest(&mark.in_words()));
    let (look, soft, reason) = match &stage {
        Stage::Test(name) => {
            let test = run.test(name).ok_or_else(|| {
                Refusal::Missing(format!("the run {id} has no test {:?}", text::start(name, 200)))
            })?;
            let reason = test.reason.as_deref().map(text::guest).unwrap_or_default();
            (super::rows::Cell::of(test).look, test.soft, reason)
        }
        Stage::Setup | Stage::Teardown => {
            let last = shown.first().ok_or_else(|| {
                Refusal::Missing(format!("nothing of that part of the run {id} has ended"))
            })?;
            (last.look, false, Html::default())
        }
    };
    let suite = run.spec.suite.clone();
    let (title, history) = match &stage {
        Stage::Test(name) => {
            let path = format!("/suites/{suite}/tests/{}", super::run::encoded(name));
            (text::plain(&text::start(name, 80)), Some(path))
        }
        Stage::Setup => ("setup".to_owned(), None),
        Stage::Teardown => ("teardown".to_owned(), None),
    };
    let page = page.named(format!("{} {title}", look.word), "runs").showing(run.status);
    let content = AttemptPage {
        page: &page,
        run: id,
        number: run.spec.number,
        suite,
        name: stage_name(&stage),
        history,
        look,
        soft,
        reason,
        shown,
        briefs,
        mark,
        raw,
        is_live: !run.status.is_terminal(),
        last_seq: run.last_seq,
    };
    page::answer(&page, &content)
}

/// Tells why attempts count in no statistics, those that somebody took out.
fn tell_of_clearing(shown: &mut [Shown], test: Option<&crate::model::Test>) {
    for attempt in shown {
        let why = test.and_then(|test| test.attempts.clearing(attempt.round, attempt.number));
        attempt.cleared = why.map(|why| text::guest(&text::start(&why.reason, 400)));
    }
}

/// The attempts that are shown whole, the last first, and the others.
fn chosen(mut attempts: Vec<Attempt>, which: Which) -> (Vec<Attempt>, Vec<Brief>) {
    attempts.reverse();
    let is_chosen = |attempt: &Attempt| {
        which.attempt.is_none_or(|number| number == attempt.number)
            && which.round.is_none_or(|round| round == attempt.round)
    };
    let is_any = which.attempt.is_none() && which.round.is_none();
    let (mut shown, mut briefs) = (Vec::new(), Vec::new());
    for attempt in attempts {
        if is_chosen(&attempt) && (shown.len() < if is_any { SHOWN } else { 1 }) {
            shown.push(attempt);
        } else if briefs.len() < LISTED {
            briefs.push(Brief {
                number: attempt.number,
                round: attempt.round,
                look: attempt.status.into(),
                took: show::duration(attempt.duration_ms),
                message: attempt
                    .message
                    .as_deref()
                    .map(|message| text::guest(&text::start(message, 160)))
                    .unwrap_or_default(),
            });
        }
    }
    (shown, briefs)
}

impl Shown {
    fn of(
        storage: &Storage,
        run: RunId,
        stage: &Stage,
        attempt: &Attempt,
        trace_url: &Option<String>,
    ) -> Result<Self, StorageError> {
        let (attempt, detail) = whole(storage, run, stage, attempt)?;
        let files = super::artifacts::of_attempt(run, &attempt);
        let further = detail.further_failures.iter().take(LISTED);
        let further = further.map(|failure| {
            let place = failure.location.as_ref().map(|at| format!(" ({}:{})", at.file, at.line));
            message(&format!("{}{}", failure.message, place.unwrap_or_default()))
        });
        let frames = detail.backtrace.iter().take(LISTED).map(|frame| {
            let place = frame.location.as_ref().map(|at| format!("  {}:{}", at.file, at.line));
            text::guest(&format!("{}{}", frame.function, place.unwrap_or_default()))
        });
        let values = detail.values.iter().take(LISTED).map(|value| Fact {
            name: text::guest(&value.name),
            value: match value.secret {
                true => Html::made("<i>secret</i>".into()),
                false => text::guest(&text::start(&value.value, 400)),
            },
        });
        Ok(Self {
            id: format!("attempt-{}-{}", attempt.round, attempt.number),
            number: attempt.number,
            round: attempt.round,
            look: attempt.status.into(),
            cause: attempt.cause.map_or("", |cause| cause.as_str()),
            message: attempt.message.as_deref().map(message).unwrap_or_default(),
            location: attempt.location.as_ref().map(location).unwrap_or_default(),
            at: show::ago(attempt.started_at),
            took: show::duration(attempt.duration_ms),
            fuel: attempt.fuel_used.map(show::number),
            memory: show::bytes(attempt.memory_peak_bytes),
            limits: attempt.limits_hit.iter().map(|limit| limit.as_str()).collect(),
            further: further.collect(),
            backtrace: frames.collect(),
            requests: requests(&detail.exchanges, trace_url),
            parts: detail.sub_results.iter().take(LISTED).map(PartLine::of).collect(),
            values: values.collect(),
            bars: waterfall::of_attempt(&attempt, &detail),
            files,
            log: logs::tail(&detail, LINES),
            log_url: log_url(run, stage, &attempt),
            cleared: None,
        })
    }
}

fn log_url(run: RunId, stage: &Stage, attempt: &Attempt) -> String {
    let what = match stage {
        Stage::Setup => "stage=setup".to_owned(),
        Stage::Test(name) => format!("stage=test&test={}", super::run::encoded(name)),
        Stage::Teardown => "stage=teardown".to_owned(),
    };
    format!("/api/v1/runs/{run}/logs?{what}&attempt={}", attempt.number)
}

impl PartLine {
    fn of(part: &crate::model::SubResult) -> Self {
        let (status, why) = match &part.outcome {
            Outcome::Passed => (crate::model::TestStatus::Passed, None),
            Outcome::Failed(failure) => {
                (crate::model::TestStatus::Failed, Some(failure.message.as_str()))
            }
            Outcome::Skipped { reason } => {
                (crate::model::TestStatus::Skipped, Some(reason.as_str()))
            }
        };
        Self {
            name: text::guest(&text::start(&part.name, 200)),
            look: status.into(),
            message: why.map(message).unwrap_or_default(),
            took: show::duration(part.duration_ms),
        }
    }
}
