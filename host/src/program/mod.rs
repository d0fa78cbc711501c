//! Test programs that were never written for us: how to ask one for its tests, how to call one test,
//! and what its output and exit code mean. One file per protocol.
//!
//! Pure: `wasm` runs the program and hands over what it wrote. A program's output is untrusted text;
//! whatever it says, it decides about its own test and nothing else.

mod go_test;
mod libtest;
mod tap;

use crate::model::{Cause, Failure, LogLine, Outcome, Protocol, Source, SubResult, TestCase};

/// How a program ended by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It returned, or called `exit`.
    Code(u8),
    /// It trapped; with the panic or exception that it wrote to stderr before, if it wrote one.
    Trapped(Option<Failure>),
}

/// What a program's end means for its test.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How the test ended.
    pub outcome: Outcome,
    /// What ended it, if it failed.
    pub cause: Option<Cause>,
    /// Named parts, in the order in which they ended.
    pub sub_results: Vec<SubResult>,
}

/// Reads what a program writes as it comes, where its judge needs each line: of a long log only the start and
/// the end are kept.
#[derive(Debug)]
pub struct Reader(Option<tap::Document>);

impl Reader {
    /// Takes in a line of standard output.
    pub fn line(&mut self, line: &str) {
        if let Some(document) = &mut self.0 {
            document.line(line);
        }
    }
}

impl Judgement {
    fn passed() -> Self {
        Self { outcome: Outcome::Passed, cause: None, sub_results: Vec::new() }
    }

    fn skipped(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped { reason: reason.into() }, ..Self::passed() }
    }

    fn failed(cause: Cause, failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), cause: Some(cause), sub_results: Vec::new() }
    }
}

impl Protocol {
    /// The arguments that make the program name its tests; none if it is one test itself.
    pub fn list_arguments(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Libtest => Some(&libtest::LIST),
            Self::GoTest => Some(&go_test::LIST),
            Self::Tap | Self::ExitCode => None,
        }
    }

    /// The tests that the program named on its standard output; none if that is no list of this
    /// protocol. `program` is the name of a test that is the program itself.
    pub fn tests(self, program: &str, output: &str) -> Option<Vec<TestCase>> {
        match self {
            Self::Libtest => libtest::tests(output),
            Self::GoTest => go_test::tests(output),
            Self::Tap | Self::ExitCode => Some(vec![named(program)]),
        }
    }

    /// The arguments that make the program name those of its tests that are ignored, if it can.
    pub fn list_ignored_arguments(self) -> Option<&'static [&'static str]> {
        (self == Self::Libtest).then_some(&libtest::LIST_IGNORED)
    }

    /// The arguments that make the program say why these tests are ignored, without running them.
    pub fn reasons_arguments(self, ignored: &[&str]) -> Vec<String> {
        libtest::reasons(ignored)
    }

    /// Why a test is ignored, from what the program wrote then.
    pub fn reason(self, test: &str, output: &str) -> Option<String> {
        libtest::reason(test, output)
    }

    /// The arguments that make the program run one test.
    pub fn run_arguments(self, test: &str) -> Vec<String> {
        match self {
            Self::Libtest => libtest::run(test),
            Self::GoTest => go_test::run(test),
            Self::Tap | Self::ExitCode => Vec::new(),
        }
    }

    /// What its harness marks its own lines with, so that they can be told from the test's. It is for
    /// the judge alone and not shown.
    pub fn mark(self) -> Option<char> {
        (self == Self::GoTest).then_some(go_test::MARK)
    }

    /// What reads the program's standard output, and keeps at most so many bytes of it.
    pub fn reader(self, room: usize) -> Reader {
        let reads = matches!(self, Self::Tap | Self::ExitCode);
        Reader(reads.then(|| tap::Document::keeping(room)))
    }

    /// What the end of the call with these arguments means. `reader` has read all of its standard output.
    pub fn judge(self, test: &str, ended: Ended, log: &[LogLine], reader: Reader) -> Judgement {
        match (self, reader.0) {
            (Self::Libtest, _) => libtest::judge(test, ended, log),
            (Self::GoTest, _) => go_test::judge(test, ended, log),
            (Self::Tap, document) => tap::judge(ended, log, document.unwrap_or_default()),
            // A test point that failed would be passed over by an exit code of 0.
            (Self::ExitCode, Some(document)) if document.is_tap() => {
                tap::judge(ended, log, document)
            }
            (Self::ExitCode, _) => exit_code(ended, log),
        }
    }
}

/// A test of which nothing but the name is known.
fn named(name: &str) -> TestCase {
    TestCase { name: name.to_owned(), ..TestCase::default() }
}

fn exit_code(ended: Ended, log: &[LogLine]) -> Judgement {
    match ended {
        Ended::Code(0) => Judgement::passed(),
        Ended::Code(code) => {
            let words = last_words(log).map_or(String::new(), |words| format!(": {words}"));
            let message = format!("it ended with exit code {code}{words}");
            Judgement::failed(Cause::Exit, Failure { message, location: None })
        }
        Ended::Trapped(failure) => trapped(failure),
    }
}

/// The end of a program that did not come to its test: it may not know its arguments.
fn not_begun(code: u8, log: &[LogLine]) -> Judgement {
    let words = first_words(log).map_or(String::new(), |words| format!(": {words}"));
    let message = format!("it ended with exit code {code} before the test began{words}");
    Judgement::failed(Cause::Exit, Failure { message, location: None })
}

fn trapped(failure: Option<Failure>) -> Judgement {
    match failure {
        Some(failure) => Judgement::failed(Cause::Panic, failure),
        None => {
            let message = "it trapped".to_owned();
            Judgement::failed(Cause::Trap, Failure { message, location: None })
        }
    }
}

/// What came on one stream.
fn lines(log: &[LogLine], source: Source) -> impl DoubleEndedIterator<Item = &str> {
    log.iter().filter(move |line| line.source == source).map(|line| line.text.as_str())
}

/// The first line on stderr, or else on stdout, that says something: what a usage follows.
pub fn first_words(log: &[LogLine]) -> Option<&str> {
    let first = |source| lines(log, source).find(|line| !line.trim().is_empty());
    first(Source::Stderr).or_else(|| first(Source::Stdout))
}

/// The last line on stderr, or else on stdout, that says something.
fn last_words(log: &[LogLine]) -> Option<&str> {
    let last = |source| lines(log, source).rev().find(|line| !line.trim().is_empty());
    last(Source::Stderr).or_else(|| last(Source::Stdout))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// A log as it is captured: line by line.
    pub(super) fn log(stdout: &str, stderr: &str) -> Vec<LogLine> {
        let of = |source, text: &str| {
            let line =
                |text: &str| LogLine { at: Timestamp::UNIX_EPOCH, source, text: text.into() };
            text.lines().map(line).collect::<Vec<_>>()
        };
        [of(Source::Stdout, stdout), of(Source::Stderr, stderr)].concat()
    }

    pub(super) fn judge(
        protocol: Protocol,
        test: &str,
        ended: Ended,
        log: &[LogLine],
    ) -> Judgement {
        let mut reader = protocol.reader(usize::MAX);
        lines(log, Source::Stdout).for_each(|line| reader.line(line));
        protocol.judge(test, ended, log, reader)
    }

    pub(super) fn failure(judgement: &Judgement) -> (&str, Option<(&str, u32)>) {
        match &judgement.outcome {
            Outcome::Failed(Failure { message, location }) => {
                (message, location.as_ref().map(|l| (l.file.as_str(), l.line)))
            }
            other => panic!("{other:?} is no failure"),
        }
    }

    #[test]
    fn an_exit_code_decides_alone() {
        let judged =
            |code| judge(Protocol::ExitCode, "a", Ended::Code(code), &log("x", "no disk\n\n"));
        assert_eq!(judged(0), Judgement::passed());
        assert_eq!(judged(3).cause, Some(Cause::Exit));
        assert_eq!(failure(&judged(3)), ("it ended with exit code 3: no disk", None));
        let silent = judge(Protocol::ExitCode, "a", Ended::Code(1), &[]);
        assert_eq!(failure(&silent).0, "it ended with exit code 1");
        let trapped = judge(Protocol::ExitCode, "a", Ended::Trapped(None), &[]);
        assert_eq!(trapped.cause, Some(Cause::Trap));
        assert_eq!(Protocol::ExitCode.tests("shop", "").unwrap()[0].name, "shop");
    }

    #[test]
    fn what_is_written_as_tap_is_read_as_tap() {
        let points = "1..1\nnot ok 1 - sells\n";
        for version in ["TAP version 14\n", "TAP version 13\n", "", "# connecting\n"] {
            let failed = log(&format!("{version}{points}"), "");
            let judgement = judge(Protocol::ExitCode, "a", Ended::Code(0), &failed);
            assert_eq!(judgement.sub_results.len(), 1);
            assert_eq!(judgement.cause, Some(Cause::Assertion));
        }
        let bailed =
            judge(Protocol::ExitCode, "a", Ended::Code(0), &log("Bail out! no disk\n", ""));
        assert_eq!(failure(&bailed).0, "it bailed out: no disk");
        for other in ["not ok 1 - sells\n", "1..1\n", "1..1\nokay\n"] {
            let judgement = judge(Protocol::ExitCode, "a", Ended::Code(0), &log(other, ""));
            assert_eq!(judgement, Judgement::passed(), "{other}");
        }
    }
}
