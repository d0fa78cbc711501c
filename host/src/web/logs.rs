//! The end of an attempt's log as a page shows it. The whole log is a download.

use super::ansi;
use super::text::{self, Html};
use crate::model::{AttemptDetail, Level, LogLine, Source};

/// Lines of a log.
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    /// How many lines before them are not shown.
    pub(super) before: usize,
    /// How many bytes the middle of the log lost.
    pub(super) dropped: u64,
}

/// A line.
pub(super) struct Line {
    /// The time of day.
    pub(super) time: String,
    /// Where it came from: a word, and its class in the style sheet.
    pub(super) source: &'static str,
    pub(super) text: Html,
}

/// Bytes of a line, and of all lines of one log that a page shows.
const LINE_BYTES: usize = 2 << 10;
const LOG_BYTES: usize = 96 << 10;

/// The last lines of a log: at most so many, and no more than a page should have.
pub(super) fn tail(detail: &AttemptDetail, most: usize) -> Log {
    let mut bytes = 0;
    let fits = |line: &&LogLine| {
        bytes += line.text.len().min(LINE_BYTES) + 40;
        bytes <= LOG_BYTES
    };
    let shown = detail.log.iter().rev().take(most).take_while(fits).count();
    let before = detail.log.len() - shown;
    let lines = detail.log[before..].iter().map(Line::of).collect();
    Log { lines, before, dropped: detail.log_dropped_bytes }
}

/// A short log, whole.
pub(super) fn of_lines(log: &[LogLine]) -> Log {
    Log { lines: log.iter().map(Line::of).collect(), before: 0, dropped: 0 }
}

impl Line {
    fn of(line: &LogLine) -> Self {
        let time = line.at.strftime("%H:%M:%S.%3f").to_string();
        let text = ansi::line(&text::start(&line.text, LINE_BYTES));
        Self { time, source: source(line.source), text }
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
        Source::Log(Level::Trace) => "trace",
        Source::Log(Level::Debug) => "debug",
        Source::Log(Level::Info) => "info",
        Source::Log(Level::Warn) => "warn",
        Source::Log(Level::Error) => "error",
        Source::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_end_of_a_log_whatever_its_length() {
        let line = |text: String| LogLine {
            at: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Stdout,
            text: text.into(),
        };
        let log = (0..10_000).map(|n| line(format!("line {n} {}", "x".repeat(5000)))).collect();
        let detail = AttemptDetail { log, ..AttemptDetail::default() };
        let log = tail(&detail, 400);
        assert_eq!(log.lines.len(), LOG_BYTES / (LINE_BYTES + 40));
        assert_eq!(log.before + log.lines.len(), 10_000);
        assert!(
            log.lines.last().is_some_and(|line| line.text.to_string().starts_with("line 9999 "))
        );
        assert_eq!(tail(&AttemptDetail::default(), 400).lines.len(), 0);
    }
}
