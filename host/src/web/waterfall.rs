//! What happened when: attempts, and within them parts that took time and requests, as bars on one scale.

use jiff::Timestamp;

use super::attempt::stage_path;
use super::show;
use super::text::{self, Html};
use crate::model::{Attempt, AttemptDetail, Run, Stage};
use crate::storage::{Storage, StorageError};

/// How many attempts of a run are shown, of how many with what is inside, and how many bars in all.
const ATTEMPTS: usize = 120;
const WITH_DETAILS: usize = 30;
const BARS: usize = 300;
/// The width of the scale, in units of the picture.
const WIDTH: u64 = 1000;

/// A bar.
pub(super) struct Bar {
    pub(super) label: Html,
    pub(super) path: Option<String>,
    /// Its class in the style sheet.
    pub(super) kind: &'static str,
    /// Whether it is within the one above.
    pub(super) is_inner: bool,
    pub(super) left: u64,
    pub(super) width: u64,
    pub(super) took: String,
}

/// Something that took time.
struct Piece {
    label: Html,
    path: Option<String>,
    kind: &'static str,
    is_inner: bool,
    start: Timestamp,
    ms: u64,
}

/// The bars of a run, and how many attempts have none.
pub(super) fn of_run(storage: &Storage, run: &Run) -> Result<(Vec<Bar>, usize), StorageError> {
    let mut attempts: Vec<(Stage, &Attempt)> = Vec::new();
    attempts.extend(run.setup.iter().map(|it| (Stage::Setup, it)));
    for test in &run.tests {
        attempts.extend(test.attempts.iter().map(|it| (Stage::Test(test.name.clone()), it)));
    }
    attempts.extend(run.teardown.iter().map(|it| (Stage::Teardown, it)));
    attempts.sort_by_key(|(_, attempt)| attempt.started_at);
    let left_out = attempts.len().saturating_sub(ATTEMPTS);
    let with_details = attempts.len() <= WITH_DETAILS;
    let mut pieces = Vec::new();
    for (stage, attempt) in attempts.into_iter().take(ATTEMPTS) {
        let name = match &stage {
            Stage::Setup => text::guest("setup"),
            Stage::Test(name) => text::name(&text::start(name, 120)),
            Stage::Teardown => text::guest("teardown"),
        };
        pieces.push(Piece {
            label: name,
            path: Some(stage_path(run.spec.id, &stage)),
            kind: attempt.status.as_str(),
            is_inner: false,
            start: attempt.started_at,
            ms: attempt.duration_ms,
        });
        if with_details {
            let detail = storage.detail(run.spec.id, &stage, attempt.round, attempt.number)?;
            pieces.extend(inner(&detail.unwrap_or_default()));
        }
    }
    Ok((bars(pieces), left_out))
}

/// The bars of one attempt.
pub(super) fn of_attempt(attempt: &Attempt, detail: &AttemptDetail) -> Vec<Bar> {
    let inner = inner(detail);
    if inner.is_empty() {
        return Vec::new();
    }
    let whole = Piece {
        label: text::guest("the attempt"),
        path: None,
        kind: attempt.status.as_str(),
        is_inner: false,
        start: attempt.started_at,
        ms: attempt.duration_ms,
    };
    bars([whole].into_iter().chain(inner).collect())
}

/// What took time within an attempt, in order of its start.
fn inner(detail: &AttemptDetail) -> Vec<Piece> {
    let spans = detail.spans.iter().map(|span| Piece {
        label: text::guest(&text::start(&span.name, 120)),
        path: None,
        kind: "span",
        is_inner: true,
        start: span.started_at,
        ms: span.duration_ms,
    });
    let requests = detail.exchanges.iter().map(|exchange| Piece {
        label: text::guest(&text::start(&format!("{} {}", exchange.method, exchange.url), 120)),
        path: None,
        kind: if exchange.allowed { "request" } else { "denied" },
        is_inner: true,
        start: exchange.started_at,
        ms: exchange.duration_ms,
    });
    let mut pieces: Vec<_> = spans.chain(requests).collect();
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

fn bars(mut pieces: Vec<Piece>) -> Vec<Bar> {
    pieces.truncate(BARS);
    let start = |piece: &Piece| piece.start.as_millisecond();
    let end = |piece: &Piece| start(piece).saturating_add_unsigned(piece.ms);
    let from = pieces.iter().map(start).min().unwrap_or(0);
    let to = pieces.iter().map(end).max().unwrap_or(0);
    let scale = u64::try_from(to - from).unwrap_or(0).max(1);
    let bar = |piece: Piece| {
        let left = u64::try_from(start(&piece) - from).unwrap_or(0).saturating_mul(WIDTH) / scale;
        let width = piece.ms.saturating_mul(WIDTH) / scale;
        Bar {
            left: left.min(WIDTH - 3),
            width: width.clamp(3, WIDTH),
            took: show::duration(piece.ms),
            label: piece.label,
            path: piece.path,
            kind: piece.kind,
            is_inner: piece.is_inner,
        }
    };
    pieces.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_where_things_happened_and_can_be_seen() {
        let piece = |from: i64, ms| Piece {
            label: Html::default(),
            path: None,
            kind: "passed",
            is_inner: false,
            start: Timestamp::from_millisecond(from).unwrap(),
            ms,
        };
        let bars = bars(vec![piece(1000, 500), piece(1500, 500), piece(2000, 0)]);
        let places: Vec<_> = bars.iter().map(|bar| (bar.left, bar.width)).collect();
        assert_eq!(places, [(0, 500), (500, 500), (997, 3)]);
    }
}
