//! What operators say of tests: that they are muted, disabled or expected to fail. Shown with the suite and
//! the test, and changed there.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use jiff::Timestamp;
use serde::Deserialize;

use super::actions::BY;
use super::rows::Row;
use super::run::{encoded, test_path};
use super::show::{self, Look};
use super::text::{self, Html};
use super::visitor::Form;
use super::{Path, Refusal, Web};
use crate::model::{Mark, MarkKind, Marks, SuiteId, TestStatus, end_of_day};

/// What is said of a test.
pub(super) struct Marked {
    pub(super) test: Html,
    /// The test's own name, for forms.
    pub(super) raw: String,
    pub(super) path: String,
    pub(super) kind: &'static str,
    /// What taking it back is called.
    pub(super) undo: &'static str,
    pub(super) reason: Html,
    pub(super) by: Html,
    pub(super) since: Html,
    pub(super) until: Option<Html>,
    pub(super) is_expired: bool,
    /// How it ended last, where, and with which number.
    pub(super) last: Option<(Look, String, u64)>,
    /// Whether it passes again, so that nothing need be said of it any more.
    pub(super) passes: bool,
}

/// A kind for people.
pub(super) fn in_words(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Muted => "muted",
        MarkKind::Disabled => "disabled",
        MarkKind::ExpectedToFail => "expected to fail",
    }
}

impl Marked {
    /// What is said of a test, with how it ended in the last of these runs in which it was tried.
    pub(super) fn of(suite: &SuiteId, test: &str, mark: &Mark, rows: &[Arc<Row>]) -> Self {
        let tried = rows.iter().find_map(|row| {
            let cell = row.tests.get(test).filter(|cell| cell.attempts > 0)?;
            Some((row, cell))
        });
        let passed = tried.is_some_and(|(_, cell)| cell.last == Some(TestStatus::Passed));
        Self {
            test: text::name(&text::start(test, 200)),
            raw: test.to_owned(),
            path: format!("/suites/{suite}/tests/{}", encoded(test)),
            kind: in_words(mark.kind),
            undo: match mark.kind {
                MarkKind::Muted => "Unmute",
                MarkKind::Disabled => "Enable",
                MarkKind::ExpectedToFail => "Expect to pass",
            },
            reason: text::guest(&text::start(&mark.reason, 400)),
            by: mark.by.as_deref().map(|by| text::guest(&text::start(by, 80))).unwrap_or_default(),
            since: show::ago(mark.since),
            until: mark.until.map(show::ago),
            is_expired: !mark.holds_at(Timestamp::now()),
            last: tried.map(|(row, cell)| (cell.look, test_path(row.run.id, test), row.run.number)),
            passes: passed && mark.kind != MarkKind::Disabled,
        }
    }

    /// All of a suite, by name.
    pub(super) fn all(suite: &SuiteId, marks: &Marks, rows: &[Arc<Row>]) -> Vec<Self> {
        marks.iter().map(|(test, mark)| Self::of(suite, test, mark, rows)).collect()
    }
}

/// What is to be said of a test.
#[derive(Deserialize)]
pub(super) struct MarkForm {
    test: String,
    kind: String,
    #[serde(default)]
    reason: String,
    by: Option<String>,
    until: Option<String>,
}

/// Mutes or disables a test, or expects it to fail.
pub(super) async fn set(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Form(form): Form<MarkForm>,
) -> Result<Redirect, Refusal> {
    let kind: MarkKind = form.kind.parse().map_err(Refusal::Invalid)?;
    let until = form.until.as_deref().map(end_of).transpose()?;
    let by = form.by.or_else(|| Some(BY.into()));
    let mark = Mark::from_now(kind, form.reason, by, until, Timestamp::now());
    web.app.runner.mark(&suite, &form.test, mark.map_err(Refusal::Invalid)?).await?;
    Ok(to(&suite, &form.test))
}

fn end_of(day: &str) -> Result<Timestamp, Refusal> {
    let wrong = |_| Refusal::Invalid(format!("until is {day:?}: write a day as 2027-01-31"));
    end_of_day(day).map_err(wrong)
}

/// Of which test nothing is to be said any more.
#[derive(Deserialize)]
pub(super) struct Unmark {
    test: String,
}

/// Says nothing of a test any more.
pub(super) async fn unset(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
    Form(Unmark { test }): Form<Unmark>,
) -> Result<Redirect, Refusal> {
    web.app.runner.unmark(&suite, &test).await?;
    Ok(to(&suite, &test))
}

fn to(suite: &SuiteId, test: &str) -> Redirect {
    Redirect::to(&format!("/suites/{suite}/tests/{}", encoded(test)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_to_its_end() {
        assert_eq!(end_of("2027-01-31").unwrap().to_string(), "2027-02-01T00:00:00Z");
        assert!(end_of("soon").is_err() && end_of("9999-12-31").is_err());
    }
}
