//! What is kept, what it takes of the disk, and what was forgotten.

use askama::Template;
use axum::extract::State;
use axum::response::{Redirect, Response};

use super::actions::Nothing;
use super::page::{self, Page};
use super::show;
use super::text::Html;
use super::visitor::Form;
use super::{Refusal, Web};
use crate::storage::FreedSums;

/// What was freed, for people.
fn freed(sums: FreedSums) -> String {
    let FreedSums { runs, record_bytes, files, file_bytes } = sums;
    if sums == FreedSums::default() {
        return "nothing".into();
    }
    let (records, of_files) = (show::bytes(record_bytes), show::bytes(file_bytes));
    format!("{runs} runs with {records} of records, and {files} files with {of_files}")
}

#[derive(Template)]
#[template(path = "retention.html")]
struct RetentionPage<'a> {
    page: &'a Page,
    age: Option<String>,
    runs: Option<String>,
    pinned: usize,
    records: String,
    components: String,
    artifacts: String,
    total: String,
    free: String,
    /// When the last round began, whether it has ended, and what it freed.
    round: Option<(Html, bool, String)>,
    freed: String,
}

/// The page.
pub(super) async fn read(State(web): State<Web>, page: Page) -> Result<Response, Refusal> {
    let disk = web.ask(|storage| storage.disk_use()).await?;
    let report = web.app.retention.report();
    let page = page.named("What is kept", "about");
    let round = report
        .round
        .map(|round| (show::ago(round.started_at), round.ended_at.is_some(), freed(round.freed)));
    let content = RetentionPage {
        page: &page,
        age: (report.rule.age_ms > 0).then(|| show::long(report.rule.age_ms)),
        runs: (report.rule.runs > 0).then(|| show::number(report.rule.runs)),
        pinned: report.pinned,
        records: show::bytes(disk.records),
        components: show::bytes(disk.components),
        artifacts: show::bytes(disk.artifacts),
        total: show::bytes(disk.total()),
        free: show::bytes(disk.free),
        round,
        freed: freed(report.freed),
    };
    page::answer(&page, &content)
}

/// Forgets now what may go.
pub(super) async fn start(
    State(web): State<Web>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Refusal> {
    web.app.retention.ask();
    Ok(Redirect::to("/retention"))
}
