//! What is told of failures when a run is over: the message, the log, the requests, the backtrace.

use std::borrow::Cow;
use std::io::{self, Write};

use super::exit::is_worth_telling;
use super::progress::{time, word_of};
use super::terminal::{Look, Style, safe, safe_line};
use crate::model::{
    Attempt, Exchange, Failure, Frame, Level, Location, LogLine, Outcome, Run, Source, Stage,
    SubResult,
};

/// How many failing tests are told of in full. Beyond that nobody reads; the summary names them all.
pub(crate) const MAX_TOLD: usize = 50;

/// A part of a run with failed attempts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed<'a> {
    pub(crate) stage: Stage,
    /// Whether it had more than one attempt.
    pub(crate) tried_again: bool,
    /// Those that failed.
    pub(crate) attempts: Vec<Cow<'a, Attempt>>,
}

impl Failed<'_> {
    /// What it is called, on one line.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match &self.stage {
            Stage::Setup => "(setup)".into(),
            Stage::Teardown => "(teardown)".into(),
            Stage::Test(name) => safe_line(name),
        }
    }
}

/// The parts of a run whose failures are told, each with its failed attempts: setup, tests in their
/// order, teardown. Flaky tests are among them.
pub(crate) fn to_tell(run: &Run) -> Vec<Failed<'_>> {
    let tests = run.tests.iter().map(|test| (Stage::Test(test.name.clone()), &test.attempts));
    let all = std::iter::once((Stage::Setup, &run.setup))
        .chain(tests)
        .chain(std::iter::once((Stage::Teardown, &run.teardown)));
    let failed = all.map(|(stage, attempts)| {
        let failed = attempts.iter().filter(|attempt| is_worth_telling(attempt.status));
        let failed = failed.map(Cow::Borrowed).collect();
        Failed { stage, tried_again: attempts.len() > 1, attempts: failed }
    });
    failed.filter(|failed| !failed.attempts.is_empty()).collect()
}

/// Everything worth telling of one failed attempt.
pub(crate) fn write_failure(
    out: &mut impl Write,
    look: Look,
    suite: &str,
    failed: &Failed<'_>,
    attempt: &Attempt,
) -> io::Result<()> {
    let name = failed.name();
    let word = match failed.tried_again {
        true => format!("TRY {} {}", attempt.number, word_of(attempt)),
        false => word_of(attempt).to_owned(),
    };
    let rule = look.paint(Style::Bad, "────");
    let word = look.paint(Style::Bad, &word);
    let took = time(Some(attempt.duration_ms));
    writeln!(out, "\n{rule} {word} {took} {} {name}", look.paint(Style::Name, suite))?;
    let cause = attempt.cause.map_or(attempt.status.as_str(), |cause| cause.as_str());
    let at = attempt.location.as_ref().map(|location| format!(" at {}", place(location)));
    writeln!(out, "  {}", look.paint(Style::Bad, &format!("{cause}{}", at.unwrap_or_default())))?;
    if let Some(message) = &attempt.message {
        indented(out, look, "    ", message)?;
    }
    if !attempt.limits_hit.is_empty() {
        let limits: Vec<_> = attempt.limits_hit.iter().map(|limit| limit.as_str()).collect();
        writeln!(out, "  limits hit: {}", limits.join(", "))?;
    }
    let Some(detail) = &attempt.detail else { return Ok(()) };
    for Failure { message, location } in &detail.further_failures {
        let at = location.as_ref().map(|location| format!(" at {}", place(location)));
        writeln!(out, "  also{}", at.unwrap_or_default())?;
        indented(out, look, "    ", message)?;
    }
    section(out, look, "parts", &detail.sub_results, |out, part| write_part(out, look, part))?;
    section(out, look, "requests", &detail.exchanges, |out, e| write_exchange(out, look, e))?;
    section(out, look, "backtrace", &detail.backtrace, write_frame)?;
    write_output(out, look, attempt)
}

/// Says how many of `all` failing parts were not told in full.
pub(crate) fn write_more(out: &mut impl Write, all: usize) -> io::Result<()> {
    match all.saturating_sub(MAX_TOLD) {
        0 => Ok(()),
        more => writeln!(out, "\n{more} more failed; a report (--report) tells of them all"),
    }
}

/// What an attempt wrote and logged.
pub(crate) fn write_output(out: &mut impl Write, look: Look, attempt: &Attempt) -> io::Result<()> {
    let Some(detail) = &attempt.detail else { return Ok(()) };
    section(out, look, "log", &detail.log, |out, line| {
        let after = line.at.duration_since(attempt.started_at).as_millis().max(0) as f64 / 1000.0;
        let after = look.paint(Style::Faint, &format!("{after:>8.3}s"));
        write!(out, "    {after} ")?;
        write_line(out, look, line)
    })?;
    if detail.log_dropped_bytes > 0 {
        let dropped =
            format!("    ({} bytes in the middle were dropped)", detail.log_dropped_bytes);
        writeln!(out, "{}", look.paint(Style::Faint, &dropped))?;
    }
    section(out, look, "artifacts", &attempt.artifacts, |out, artifact| {
        let (name, kind) = (safe_line(&artifact.name), safe_line(&artifact.media_type));
        writeln!(out, "    {name} ({kind}, {} bytes)", artifact.size_bytes)
    })
}

/// One line of a log: where it came from, and the text.
pub(crate) fn write_line(out: &mut impl Write, look: Look, line: &LogLine) -> io::Result<()> {
    let (word, style) = match line.source {
        Source::Stdout => ("stdout", Style::Faint),
        Source::Stderr => ("stderr", Style::Faint),
        Source::Host => ("host", Style::Faint),
        Source::Log(Level::Trace) => ("TRACE", Style::Faint),
        Source::Log(Level::Debug) => ("DEBUG", Style::Faint),
        Source::Log(Level::Info) => ("INFO", Style::Good),
        Source::Log(Level::Warn) => ("WARN", Style::Notable),
        Source::Log(Level::Error) => ("ERROR", Style::Bad),
    };
    let word = look.paint(style, &format!("{word:<6}"));
    writeln!(out, "{word} {}", safe(&line.text, look.color))
}

fn section<W: Write, T>(
    out: &mut W,
    look: Look,
    title: &str,
    items: &[T],
    mut write: impl FnMut(&mut W, &T) -> io::Result<()>,
) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {}", look.paint(Style::Strong, &format!("{title}:")))?;
    items.iter().try_for_each(|item| write(out, item))
}

fn write_part(out: &mut impl Write, look: Look, part: &SubResult) -> io::Result<()> {
    let name = safe_line(&part.name);
    let (word, style, message) = match &part.outcome {
        Outcome::Passed => ("passed", Style::Good, None),
        Outcome::Failed(failure) => ("failed", Style::Bad, Some(&failure.message)),
        Outcome::Skipped { reason } => ("skipped", Style::Notable, Some(reason)),
    };
    writeln!(out, "    {} {name}", look.paint(style, &format!("{word:>7}")))?;
    message.map_or(Ok(()), |message| indented(out, look, "            ", message))
}

fn write_exchange(out: &mut impl Write, look: Look, exchange: &Exchange) -> io::Result<()> {
    let end = match (exchange.allowed, exchange.status, &exchange.error) {
        (false, _, error) => {
            let why = error.as_ref().map(|error| format!(": {}", safe_line(error)));
            look.paint(Style::Bad, &format!("denied{}", why.unwrap_or_default()))
        }
        (true, Some(status), _) => format!("{status}, {} ms", exchange.duration_ms),
        (true, None, Some(error)) => look.paint(Style::Notable, &safe_line(error)),
        (true, None, None) => format!("no answer, {} ms", exchange.duration_ms),
    };
    writeln!(out, "    {} {} → {end}", safe_line(&exchange.method), safe_line(&exchange.url))
}

fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let at = frame.location.as_ref().map(|location| format!(" at {}", place(location)));
    writeln!(out, "    {}{}", safe_line(&frame.function), at.unwrap_or_default())
}

fn place(location: &Location) -> String {
    let column = location.column.map(|column| format!(":{column}")).unwrap_or_default();
    format!("{}:{}{column}", safe_line(&location.file), location.line)
}

/// Text of a guest, each line set in, so that no line of it can pass for one of ours.
fn indented(out: &mut impl Write, look: Look, indent: &str, text: &str) -> io::Result<()> {
    safe(text, look.color).lines().try_for_each(|line| writeln!(out, "{indent}{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;
    use crate::model::Cause;

    fn told(stage: Stage, attempt: &Attempt) -> String {
        let mut out = Vec::new();
        let failed = Failed { stage, tried_again: true, attempts: vec![Cow::Borrowed(attempt)] };
        write_failure(&mut out, Look::PLAIN, "hello", &failed, attempt).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_failure_is_told_with_its_message_parts_requests_backtrace_and_log() {
        let attempt = sample::failed(2, Cause::Assertion);
        insta::assert_snapshot!(told(Stage::Test("fails".into()), &attempt));
    }

    #[test]
    fn a_guest_cannot_fake_a_line_of_ours() {
        let mut attempt = sample::failed(1, Cause::Panic);
        attempt.message = Some("a\r        PASS [   0.001s] hello x\x1b[1A\nsecond".into());
        attempt.detail = None;
        let told = told(Stage::Setup, &attempt);
        assert!(!told.contains('\x1b') && !told.contains('\r'), "{told:?}");
        assert!(told.ends_with("    second\n"), "{told:?}");
    }

    #[test]
    fn failed_attempts_of_flaky_tests_are_told_and_passed_ones_are_not() {
        let run = sample::finished();
        let told = to_tell(&run);
        let told: Vec<_> =
            told.iter().map(|f| (&f.stage, f.tried_again, f.attempts.len())).collect();
        let test = |name: &str| Stage::Test(name.into());
        let names = ["is flaky", "fails", "fails softly", "hangs"].map(test);
        let expected = [
            (&names[0], true, 1),
            (&names[1], true, 2),
            (&names[2], false, 1),
            (&names[3], false, 1),
        ];
        assert_eq!(told, expected);
    }
}
