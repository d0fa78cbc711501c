//! As much of a failed attempt's log as is told at the end of a run: its start and its end. Beyond that nobody
//! reads a terminal, and a log may have hundreds of megabytes.

use std::collections::VecDeque;

use crate::model::{Attempt, LogLine, Source};

/// Bytes of the start.
const HEAD_BYTES: usize = 16 << 10;
/// Bytes of the end, where a failure mostly is.
const TAIL_BYTES: usize = 48 << 10;
/// Bytes of one line.
const LINE_BYTES: usize = 8 << 10;

/// A log that is read line by line, of which only what is told is held.
#[derive(Default)]
pub(super) struct Excerpt {
    head: Vec<LogLine>,
    head_bytes: usize,
    tail: VecDeque<LogLine>,
    tail_bytes: usize,
    left_out: usize,
    left_out_bytes: usize,
}

impl Excerpt {
    /// Takes in the next line.
    pub(super) fn push(&mut self, mut line: LogLine) {
        let end = line.text.floor_char_boundary(LINE_BYTES);
        if end < line.text.len() {
            let cut = line.text.len() - end;
            line.text.truncate(end);
            line.text.push_str(&format!(" … [{cut} bytes left out]"));
        }
        let bytes = line.text.len() + 1;
        if self.tail.is_empty() && self.head_bytes + bytes <= HEAD_BYTES {
            self.head_bytes += bytes;
            self.head.push(line);
            return;
        }
        self.tail_bytes += bytes;
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_BYTES {
            let Some(line) = self.tail.pop_front() else { break };
            self.tail_bytes -= line.text.len() + 1;
            self.left_out += 1;
            self.left_out_bytes += line.text.len() + 1;
        }
    }

    /// What is told. `rest` says how to see what is left out.
    pub(super) fn told(self, rest: &str) -> Vec<LogLine> {
        let mut told = self.head;
        if let Some(next) = self.tail.front().filter(|_| self.left_out > 0) {
            let (lines, bytes) = (self.left_out, self.left_out_bytes);
            let text = format!("… {lines} lines ({bytes} bytes) are left out here: {rest}");
            told.push(LogLine { at: next.at, source: Source::Host, text: text.into() });
        }
        told.extend(self.tail);
        told
    }
}

/// The attempt with what is told of its log.
pub(super) fn shortened(attempt: &Attempt, rest: &str) -> Attempt {
    let mut shortened = attempt.clone();
    if let Some(detail) = &mut shortened.detail {
        let mut excerpt = Excerpt::default();
        std::mem::take(&mut detail.log).into_iter().for_each(|line| excerpt.push(line));
        detail.log = excerpt.told(rest);
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;
    use crate::model::{AttemptDetail, Cause};

    fn told(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let log =
            texts.into_iter().map(|text| LogLine { at, source: Source::Stdout, text: text.into() });
        let detail = AttemptDetail { log: log.collect(), ..AttemptDetail::default() };
        let attempt =
            Attempt { detail: Some(Box::new(detail)), ..sample::failed(1, Cause::Assertion) };
        let lines = shortened(&attempt, "look there").detail.unwrap().log;
        lines.into_iter().map(|line| line.text.into()).collect()
    }

    #[test]
    fn of_a_long_log_the_start_and_the_end_are_told_and_what_is_not() {
        let lines = 100_000;
        let told = told((0..lines).map(|n| format!("line {n:6}")));
        assert_eq!(
            (told[0].as_str(), told.last().unwrap().as_str()),
            ("line      0", "line  99999")
        );
        let bytes: usize = told.iter().map(|line| line.len() + 1).sum();
        assert!(bytes < HEAD_BYTES + TAIL_BYTES + 100, "{bytes} bytes");
        let left_out = lines - (told.len() - 1);
        let remark =
            format!("… {left_out} lines ({} bytes) are left out here: look there", left_out * 12);
        assert!(told.contains(&remark), "{remark}");
    }

    #[test]
    fn a_short_log_is_told_whole_and_a_long_line_in_part() {
        let short: Vec<_> = (0..5_000).map(|n| format!("line {n:6}")).collect();
        assert_eq!(told(short.clone()), short);
        let long = told(["ü".repeat(1 << 20), "end".into()]);
        assert!(long[0].starts_with("üü") && long[0].ends_with(" … [2088960 bytes left out]"));
        assert_eq!((long.len(), long[1].as_str()), (2, "end"));
    }
}
