//! What runs by itself: each schedule with its rule in words, its next times and what became of the last.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::actions::Why;
use super::page::{self, Page};
use super::show;
use super::text::{self, Html};
use super::visitor::Form;
use super::{Path, Refusal, Web};
use crate::model::{Name, Paused, RunId, SuiteId};
use crate::scheduler::Reading;
use crate::storage;

/// How many of its past times are shown of a schedule.
const ROWS: usize = 50;

/// A schedule in the list.
struct Line {
    name: String,
    suite: SuiteId,
    in_words: String,
    cron: Html,
    zone: Html,
    /// Its next times on its own clock, and how far they are away.
    next: Vec<(String, Html)>,
    state: Option<String>,
    is_paused: bool,
    is_declared: bool,
    runs: u64,
    description: Html,
}

impl From<Reading> for Line {
    fn from(reading: Reading) -> Self {
        let state = state(&reading);
        let schedule = reading.schedule;
        let zone = TimeZone::get(&schedule.spec.timezone).unwrap_or(TimeZone::UTC);
        let on_its_clock =
            |at: Timestamp| at.to_zoned(zone.clone()).strftime("%a %F %T %Z").to_string();
        Self {
            name: schedule.name.to_string(),
            suite: schedule.spec.suite,
            in_words: within_a_sentence(&reading.in_words),
            cron: text::guest(&schedule.spec.cron),
            zone: text::guest(&schedule.spec.timezone),
            next: reading.next.iter().map(|at| (on_its_clock(*at), show::ago(*at))).collect(),
            state,
            is_paused: schedule.paused.is_some(),
            is_declared: schedule.declared,
            runs: schedule.runs,
            description: schedule.spec.description.as_deref().map(text::guest).unwrap_or_default(),
        }
    }
}

/// A rule in words, as it stands within a sentence.
pub(super) fn within_a_sentence(in_words: &str) -> String {
    let words = in_words.trim_end_matches('.');
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Why a schedule starts no run at present; none if it does.
pub(super) fn state(reading: &Reading) -> Option<String> {
    let paused = reading.schedule.paused.as_ref().map(|paused| {
        let by = paused.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let why = paused.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("paused{by}{why}")
    });
    let ended = reading.ended.as_ref().map(|why| format!("ended: {why}"));
    let broken = reading.broken.as_ref().map(|why| format!("broken: {why}"));
    paused.or(ended).or(broken).map(|state| text::plain(&text::start(&state, 300)))
}

#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage<'a> {
    page: &'a Page,
    lines: Vec<Line>,
}

/// All schedules.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let readings = web.app.scheduler.list(Timestamp::now()).await;
    let page = page.named("Schedules", "schedules");
    let lines = readings.into_iter().map(Into::into).collect();
    page::answer(&page, &SchedulesPage { page: &page, lines })
}

/// What became of a time.
struct Due {
    at: Html,
    outcome: &'static str,
    run: Option<RunId>,
    reason: Html,
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage<'a> {
    page: &'a Page,
    line: Line,
    dues: Vec<Due>,
}

/// One schedule.
pub(super) async fn one(
    State(web): State<Web>,
    Path(name): Path<Name>,
    page: Page,
) -> Result<Response, Refusal> {
    let reading = web.app.scheduler.get(&name, Timestamp::now()).await?;
    let wanted = storage::Page { limit: ROWS, cursor: None };
    let of = name.clone();
    let rows = web.ask(move |storage| storage.due_rows(&of, &wanted)).await?.items;
    let due = |row: crate::model::DueRow| Due {
        at: show::ago(row.due_at),
        outcome: row.outcome.as_str(),
        run: row.run,
        reason: row.reason.as_deref().map(text::guest).unwrap_or_default(),
    };
    let page = page.named(format!("Schedule {name}"), "schedules");
    let content = SchedulePage {
        page: &page,
        line: reading.into(),
        dues: rows.into_iter().map(due).collect(),
    };
    page::answer(&page, &content)
}

/// What can be done with a schedule.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Pause,
    Resume,
    Trigger,
}

/// Pauses a schedule, lets it go on, or starts a run of it at once.
pub(super) async fn act(
    State(web): State<Web>,
    Path((name, action)): Path<(Name, Action)>,
    Form(Why { reason }): Form<Why>,
) -> Result<Response, Refusal> {
    let (scheduler, now) = (&web.app.scheduler, Timestamp::now());
    let by = Some(super::actions::BY.to_owned());
    match action {
        Action::Pause => {
            scheduler.pause(&name, Paused { since: now, by, reason }, now).await?;
        }
        Action::Resume => {
            scheduler.resume(&name, now).await?;
        }
        Action::Trigger => {
            let why = Some("asked for by the web page".to_owned());
            let run = scheduler.trigger(&name, why, None, now).await?;
            return Ok(Redirect::to(&format!("/runs/{run}")).into_response());
        }
    }
    Ok(Redirect::to(&format!("/schedules/{name}")).into_response())
}
