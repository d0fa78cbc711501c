//! A page for people who shall see how the tested systems are and nothing else: the suites of one namespace,
//! each with its verdict. It has no link to the rest, and is there only if the operator says so.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::badge::is_verdict;
use super::page::{self, Page};
use super::show::{self, Look};
use super::suites::{STRIP, last_runs};
use super::text::Html;
use super::{Path, Refusal, Web};
use crate::model::{Name, RunStatus};
use crate::storage::{self, Storage, StorageError};

/// How many suites are looked at for those of a namespace.
const SUITES: usize = 500;

/// A suite.
struct Line {
    name: String,
    look: Option<Look>,
    since: Option<Html>,
    strip: Html,
}

#[derive(Template)]
#[template(path = "public.html")]
struct PublicPage<'a> {
    page: &'a Page,
    namespace: &'a Name,
    lines: Vec<Line>,
    bad: usize,
}

/// The page.
pub(super) async fn read(
    State(web): State<Web>,
    Path(namespace): Path<Name>,
    page: Page,
) -> Result<Response, Refusal> {
    if !web.app.config.web.public_status.contains(&namespace) {
        let detail = format!(
            "there is no status page of {namespace}: the setting `web.public_status` lists those that have one"
        );
        return Err(Refusal::Missing(detail));
    }
    let of = namespace.clone();
    let lines = web.ask(move |storage| lines(storage, &of)).await?;
    let is_bad = |line: &&Line| line.look.is_some_and(|look| look.word != "passed");
    let bad = lines.iter().filter(is_bad).count();
    let status = if bad > 0 { RunStatus::Failed } else { RunStatus::Passed };
    let page = page.named(format!("Status of {namespace}"), "").showing(status);
    page::answer(&page, &PublicPage { page: &page, namespace: &namespace, lines, bad })
}

fn lines(storage: &Storage, namespace: &Name) -> Result<Vec<Line>, StorageError> {
    let mut lines = Vec::new();
    let suites = storage.suites(&storage::Page { limit: SUITES, cursor: None })?.items;
    for version in suites.iter().filter(|version| version.suite.namespace == *namespace) {
        let runs = last_runs(storage, &version.suite, STRIP)?;
        let verdicts: Vec<_> = runs.iter().filter(|run| is_verdict(run.status)).collect();
        let last = verdicts.first().map(|run| run.status);
        let same = verdicts.iter().take_while(|run| Some(run.status) == last).last();
        let looks: Vec<Look> = verdicts.iter().rev().map(|run| run.status.into()).collect();
        lines.push(Line {
            name: version.suite.name.to_string(),
            look: last.map(Into::into),
            since: same.map(|run| show::ago(run.created_at)),
            strip: show::strip(&looks),
        });
    }
    lines.sort_by_key(|line| (line.look.is_none_or(|it| it.word == "passed"), line.name.clone()));
    Ok(lines)
}
