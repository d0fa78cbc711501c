//! What starts runs when another system calls: each trigger with what it takes, and what became of the calls.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::page::{self, From, Page};
use super::run::Fact;
use super::show;
use super::text::{self, Html};
use super::{Path, Refusal, Web};
use crate::model::{CallOutcome, CallRow, Name, RunId, Sender, SuiteId, TriggerSpec};
use crate::storage;
use crate::triggers::Reading;

/// How many calls are on one page.
const ROWS: usize = 50;
/// Bytes of a text where there is little room.
const SHORT: usize = 300;

/// A trigger in the list.
pub(super) struct Line {
    pub(super) name: Name,
    /// The suite, if it is always the same one.
    suite: Option<SuiteId>,
    /// What of the payload names it, if it is not.
    mapped: Html,
    pub(super) sender: &'static str,
    broken: Html,
    is_declared: bool,
    runs: u64,
    description: Html,
}

impl Line {
    fn of(reading: &Reading) -> Self {
        let trigger = &reading.trigger;
        let short = |text: &String| text::guest(&text::start(text, SHORT));
        Self {
            name: trigger.name.clone(),
            suite: trigger.spec.suite.clone(),
            mapped: trigger.spec.mapping.suite.as_ref().map(short).unwrap_or_default(),
            sender: match trigger.spec.sender {
                Sender::Generic => "a sender with its secret",
                Sender::Github(_) => "GitHub",
            },
            broken: reading.broken.as_ref().map(short).unwrap_or_default(),
            is_declared: trigger.declared,
            runs: trigger.runs,
            description: trigger.spec.description.as_ref().map(short).unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "triggers.html")]
struct TriggersPage<'a> {
    page: &'a Page,
    lines: Vec<Line>,
}

/// All triggers.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let readings = web.app.triggers.list().await;
    let page = page.named("Triggers", "triggers");
    let lines = readings.iter().map(Line::of).collect();
    page::answer(&page, &TriggersPage { page: &page, lines })
}

/// The triggers that always run a suite.
pub(super) async fn of_suite(web: &Web, suite: &SuiteId) -> Vec<Line> {
    let readings = web.app.triggers.list().await;
    let own = readings.iter().filter(|it| it.trigger.spec.suite.as_ref() == Some(suite));
    own.map(Line::of).collect()
}

/// What became of a call.
struct Call {
    at: Html,
    outcome: Html,
    event: Html,
    delivery: Html,
    run: Option<RunId>,
    reason: Html,
}

impl Call {
    fn of(row: &CallRow) -> Self {
        let class = match row.outcome {
            CallOutcome::Started => "passed",
            CallOutcome::Ignored => "skipped",
            CallOutcome::Refused => "cancelled",
            CallOutcome::Failed => "failed",
        };
        let short = |text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| text::guest(&text::start(text, SHORT))).unwrap_or_default()
        };
        Self {
            at: show::ago(row.at),
            outcome: show::word(class, row.outcome.as_str()),
            event: short(&row.event),
            delivery: short(&row.delivery),
            run: row.run,
            reason: short(&row.reason),
        }
    }
}

#[derive(Template)]
#[template(path = "trigger.html")]
struct TriggerPage<'a> {
    page: &'a Page,
    line: Line,
    path: String,
    facts: Vec<Fact>,
    calls: Vec<Call>,
    older: Option<String>,
    is_first: bool,
}

/// One trigger.
pub(super) async fn one(
    State(web): State<Web>,
    Path(name): Path<Name>,
    Query(from): Query<From>,
    page: Page,
) -> Result<Response, Refusal> {
    let reading = web.app.triggers.get(&name).await?;
    let is_first = from.cursor.is_none();
    let wanted = storage::Page { limit: ROWS, cursor: from.cursor };
    let of = name.clone();
    let rows = web.ask(move |storage| storage.call_rows(&of, &wanted)).await?;
    let page = page.named(format!("Trigger {name}"), "triggers");
    let content = TriggerPage {
        page: &page,
        line: Line::of(&reading),
        path: format!("/api/v1/triggers/{name}"),
        facts: facts(&reading.trigger.spec),
        calls: rows.items.iter().map(Call::of).collect(),
        older: rows.next_cursor,
        is_first,
    };
    page::answer(&page, &content)
}

/// What a trigger takes, and what a run of it is asked for.
fn facts(spec: &TriggerSpec) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            let value = text::guest(&text::start(value, SHORT));
            facts.push(Fact { name: text::guest(name), value });
        }
    };
    if let Sender::Github(filter) = &spec.sender {
        for (name, list) in [
            ("Events", &filter.events),
            ("Branches", &filter.branches),
            ("Environments", &filter.environments),
            ("States", &filter.states),
            ("Actions", &filter.actions),
        ] {
            add(name, &list.join(", "));
        }
    }
    let request = &spec.request;
    add(
        "Reference",
        spec.mapping.reference.as_deref().or(request.reference.as_deref()).unwrap_or(""),
    );
    add("Filter", request.filter.as_deref().unwrap_or(""));
    add("Tags", &request.tags.include.join(", "));
    let params = request.params.iter().chain(&spec.mapping.params);
    params.for_each(|(name, value)| add(&format!("Parameter {name}"), value));
    facts
}
