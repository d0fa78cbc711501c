//! A suite's status as a small picture, for other pages to show.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::text::escaped;
use super::{Path, Refusal, Web};
use crate::model::{RunStatus, SuiteId};
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// How a suite's last run that has a verdict ended; none if there is none.
pub(super) fn verdict(
    storage: &Storage,
    suite: &SuiteId,
) -> Result<Option<RunStatus>, StorageError> {
    /// So many runs may be under way or cancelled and hide it; mostly it is the first.
    const LOOKED_AT: [usize; 2] = [3, 100];
    let query = RunQuery { suite: Some(suite.clone()), ..RunQuery::default() };
    for limit in LOOKED_AT {
        let runs = storage.runs(&query, &Page { limit, cursor: None })?.items;
        let mut statuses = runs.iter().map(|run| run.status);
        if let Some(status) = statuses.find(|status| is_verdict(*status)) {
            return Ok(Some(status));
        }
        if runs.len() < limit {
            break;
        }
    }
    Ok(None)
}

/// Whether it says how the tested system is.
pub(super) fn is_verdict(status: RunStatus) -> bool {
    matches!(status, RunStatus::Passed | RunStatus::Failed | RunStatus::Error)
}

/// The badge.
pub(super) async fn read(
    State(web): State<Web>,
    Path(suite): Path<SuiteId>,
) -> Result<Response, Refusal> {
    let of = suite.clone();
    let found = web
        .ask(move |storage| {
            Ok(match storage.newest_version(&of)? {
                Some(_) => Some(verdict(storage, &of)?),
                None => None,
            })
        })
        .await?;
    let status = found.ok_or_else(|| missing(&suite))?;
    let (word, colour) = match status {
        Some(RunStatus::Passed) => ("passing", "#1a7f37"),
        Some(RunStatus::Failed) => ("failing", "#c4232f"),
        Some(_) => ("error", "#7a3fb0"),
        None => ("no runs", "#59636e"),
    };
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, picture(suite.name.as_str(), word, colour)).into_response())
}

/// Refuses what is asked of a suite that is not there.
pub(super) fn missing(suite: &SuiteId) -> Refusal {
    Refusal::Missing(format!("there is no suite {suite}"))
}

fn picture(label: &str, word: &str, colour: &str) -> String {
    let width = |text: &str| 12 + 7 * text.chars().count();
    let (left, right) = (width(label), width(word));
    let (all, middle, end) = (left + right, left / 2, left + right / 2);
    let label = escaped(label);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" \
         aria-label=\"{label}: {word}\"><title>{label}: {word}</title>\
         <rect width=\"{all}\" height=\"20\" rx=\"3\" fill=\"#31456a\"/>\
         <path fill=\"{colour}\" d=\"M{left} 0h{}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" \
         font-size=\"11\"><text x=\"{middle}\" y=\"14\">{label}</text>\
         <text x=\"{end}\" y=\"14\">{word}</text></g></svg>",
        right - 3
    )
}
