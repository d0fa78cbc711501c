//! The step's summary: Markdown that nothing in it can break out of, and that GitHub takes whatever its
//! size.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use crate::cli::failures::{Failed, write_failure};
use crate::cli::terminal::{Look, safe, safe_line};
use crate::model::{Run, RunStatus, Test, TestStatus, short};

/// The most that a step's summary may have; GitHub takes none of a larger one.
const SUMMARY_BYTES: usize = 1 << 20;
/// Below this it is not worth beginning.
const LEAST_BYTES: usize = 8 << 10;
/// The longest that one failure is told at, and one cell of the table.
const FAILURE_BYTES: usize = 16 << 10;
const CELL_BYTES: usize = 300;
/// Kept free for the words on what is left out.
const RESERVE: usize = 200;

/// What is told of one part of a run that failed.
pub(crate) struct Details {
    name: String,
    text: String,
}

impl Details {
    /// What is told of it, cut.
    pub(crate) fn of(suite: &str, failed: &Failed<'_>) -> Self {
        let mut text = Vec::new();
        for attempt in &failed.attempts {
            // Writing to memory does not fail.
            _ = write_failure(&mut text, Look::PLAIN, suite, failed, attempt);
        }
        let text = String::from_utf8_lossy(&text);
        let name = short(&failed.name(), CELL_BYTES);
        Self { name, text: short(text.trim_matches('\n'), FAILURE_BYTES) }
    }

    fn markdown(&self) -> String {
        let (name, text) = (inline(&self.name), block(&self.text));
        format!("\n<details><summary>{name}</summary>\n\n<pre>{text}</pre>\n\n</details>\n")
    }
}

/// Appends a run to the file, as far as that has room.
pub(super) fn append(path: &Path, run: &Run, details: &[Details]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let taken = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let room = SUMMARY_BYTES.saturating_sub(taken);
    if room < LEAST_BYTES {
        return Ok(());
    }
    file.write_all(markdown(run, details, room).as_bytes())
}

/// The run in at most so many bytes.
fn markdown(run: &Run, details: &[Details], room: usize) -> String {
    let mut page = Page { text: String::new(), room: room.saturating_sub(RESERVE) };
    page.add(&head(run));
    let rows: Vec<_> = worth_a_row(run).collect();
    if !rows.is_empty() {
        page.add("\n| | test | attempts | time | why |\n| --- | --- | --- | --- | --- |\n");
        page.add_all("tests", &rows, |test| row(test));
    }
    page.add_all("failures", details, Details::markdown);
    page.text.push('\n');
    page.text
}

struct Page {
    text: String,
    room: usize,
}

impl Page {
    /// Adds a piece if there is room for all of it.
    fn add(&mut self, piece: &str) -> bool {
        let fits = self.text.len() + piece.len() <= self.room;
        if fits {
            self.text.push_str(piece);
        }
        fits
    }

    /// Adds a piece for each item until there is no more room, and then says for how many there is none.
    fn add_all<T>(&mut self, what: &str, items: &[T], piece: impl Fn(&T) -> String) {
        let told = items.iter().take_while(|item| self.add(&piece(item))).count();
        if told < items.len() {
            // The reserve is for this.
            let more = items.len() - told;
            _ = write!(self.text, "\n\n{more} more {what} had no room here.\n");
            self.room = self.text.len();
        }
    }
}

fn head(run: &Run) -> String {
    let counts = run.counts();
    let verdict = match run.status {
        RunStatus::Passed if counts.flaky > 0 => "⚠️ passed, with flaky tests",
        RunStatus::Passed => "✅ passed",
        RunStatus::Failed => "❌ failed",
        RunStatus::Cancelled => "⚠️ was stopped",
        RunStatus::Error => "❌ ended in an error of the platform",
        RunStatus::Queued | RunStatus::Running => "⚠️ has not ended",
    };
    let mut text = format!("### {} {verdict}\n\n", inline(&run.spec.suite.to_string()));
    let parts = [
        (counts.failed, "failed"),
        (counts.error, "in error"),
        (counts.soft_failed, "softly failed"),
        (counts.passed, "passed"),
        (counts.flaky, "of them flaky"),
        (counts.skipped, "skipped"),
        (counts.cancelled, "cancelled"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, word)| format!("{count} {word}")).collect();
    text += &if parts.is_empty() { "no test to run".to_owned() } else { parts.join(", ") };
    if let Some(ms) = run.duration_ms() {
        _ = write!(text, " in {:.3} s", ms as f64 / 1000.0);
    }
    let request = &run.spec.request;
    let facts = [
        ("shard", request.shard.map(|shard| shard.to_string())),
        ("reference", request.reference.clone()),
        ("message", run.message.clone()),
    ];
    for (name, value) in facts {
        let Some(value) = value else { continue };
        _ = write!(text, " · {name} {}", inline(&short(&value, CELL_BYTES)));
    }
    text + &format!(" · run {}\n", inline(&run.spec.id.to_string()))
}

/// The tests that did not just pass, the worst first. What was filtered out is only counted.
fn worth_a_row(run: &Run) -> impl Iterator<Item = &Test> {
    let filtered = |test: &&Test| {
        !test.reason.as_deref().is_some_and(|reason| reason.starts_with("filtered out"))
    };
    let rank = |test: &Test| match test.status {
        TestStatus::Failed if !test.soft => Some(0),
        TestStatus::Error => Some(1),
        TestStatus::Failed => Some(2),
        TestStatus::Passed if test.is_flaky() => Some(3),
        TestStatus::Skipped => Some(4),
        TestStatus::Cancelled | TestStatus::Pending | TestStatus::Running => Some(5),
        TestStatus::Passed => None,
    };
    (0..=5).flat_map(move |wanted| {
        run.tests.iter().filter(filtered).filter(move |test| rank(test) == Some(wanted))
    })
}

fn row(test: &Test) -> String {
    let word = match test.status {
        TestStatus::Failed if test.soft => "softly failed",
        TestStatus::Passed => "flaky",
        status => status.as_str(),
    };
    let last = test.attempts.iter().next_back();
    let failed = test.attempts.iter().rev().find(|a| a.status != TestStatus::Passed);
    let why = test.reason.as_deref().or_else(|| failed?.message.as_deref()).unwrap_or_default();
    let why = why.lines().next().unwrap_or_default();
    let time = last.map(|a| format!("{:.3} s", a.duration_ms as f64 / 1000.0)).unwrap_or_default();
    let (name, why) = (short(&test.name, CELL_BYTES), short(why, CELL_BYTES));
    let tries = test.attempts.total();
    format!("| {word} | {} | {tries} | {time} | {} |\n", inline(&name), inline(&why))
}

/// Text of others on one line of Markdown. Whatever could mean anything there is written by its number,
/// which Markdown and its tables take for plain text.
fn inline(text: &str) -> String {
    let mut safe = String::new();
    for c in safe_line(text).chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == ' ' || !c.is_ascii() => safe.push(c),
            c => _ = write!(safe, "&#{};", u32::from(c)),
        }
    }
    if safe.is_empty() { safe } else { format!("<code>{safe}</code>") }
}

/// Text of others between `<pre>` and `</pre>`, where Markdown has no say.
fn block(text: &str) -> String {
    let text = safe(text, false);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
