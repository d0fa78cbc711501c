//! Go's `testing`, as `go test -c` links it into a program. Its output is that of `-test.v=test2json`
//! (since Go 1.20), in which every line of the harness begins with the control character SYN, so that
//! a test's own output cannot be taken for it by chance:
//! <https://pkg.go.dev/cmd/test2json>.

use super::{Ended, Judgement, lines, named, trapped};
use crate::model::{Cause, Failure, Location, LogLine, Outcome, Source, SubResult, TestCase};

pub(super) const LIST: [&str; 2] = ["-test.list", ".*"];

/// Begins each line of the harness.
pub(super) const MARK: char = '\u{16}';
/// How a test's own log lines are indented, and the lines after the first of one message.
const INDENT: &str = "    ";

/// A name on each line. Examples are tests too; benchmarks and fuzz targets are left out.
pub(super) fn tests(output: &str) -> Option<Vec<TestCase>> {
    let mut tests = Vec::new();
    for name in output.lines().filter(|line| !line.is_empty()) {
        if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        if name.starts_with("Test") || name.starts_with("Example") {
            tests.push(named(name));
        } else if !name.starts_with("Benchmark") && !name.starts_with("Fuzz") {
            return None;
        }
    }
    Some(tests)
}

/// As `go test` calls it: `os.Exit(0)` in a test is a failure. The deadline is ours.
pub(super) fn run(test: &str) -> Vec<String> {
    // A name has letters, digits and `_` only, see `tests`.
    let only = format!("^{test}$");
    ["-test.v=test2json", "-test.paniconexit0", "-test.timeout=0", "-test.run", &only]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn judge(test: &str, ended: Ended, log: &[LogLine]) -> Judgement {
    let mut course = Course::read(log);
    let own = course.take(test);
    let sub_results = course.sub_results(test);
    let judgement = match (ended, own) {
        (Ended::Trapped(failure), _) => trapped(failure),
        (Ended::Code(0), Some(Part { end: Some(End::Passed), .. })) => Judgement::passed(),
        (Ended::Code(0), Some(Part { end: Some(End::Skipped), said, .. })) => {
            Judgement::skipped(said.last().map_or("it says no reason", |said| &said.message))
        }
        (Ended::Code(0), None) => {
            let message = format!("the program has no test {test:?} any more");
            Judgement::failed(Cause::Exit, Failure { message, location: None })
        }
        (Ended::Code(code), own) => failed(code, own, &sub_results, log),
    };
    Judgement { sub_results, ..judgement }
}

/// A panic says so on stderr; else what the test said of itself counts, then its parts, then what it
/// wrote otherwise.
fn failed(code: u8, own: Option<Part>, parts: &[SubResult], log: &[LogLine]) -> Judgement {
    if let Some(failure) = panic(log) {
        return Judgement::failed(Cause::Panic, failure);
    }
    let Some(Part { end: Some(End::Failed), said, printed, .. }) = own else {
        let message = format!("it ended with exit code {code} in the middle of the test");
        return Judgement::failed(Cause::Exit, Failure { message, location: None });
    };
    let failed: Vec<_> = parts.iter().filter(|p| matches!(p.outcome, Outcome::Failed(_))).collect();
    let failure = match (said_failure(&said), failed.as_slice()) {
        (Some(failure), _) => failure,
        (None, [first, rest @ ..]) => {
            let Outcome::Failed(Failure { message, location }) = &first.outcome else {
                unreachable!("only failed parts are left");
            };
            let more =
                if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let message = format!("{}{more}: {message}", first.name);
            Failure { message, location: location.clone() }
        }
        // An example whose output is not as it should be is told on stdout.
        (None, []) if !printed.is_empty() => {
            Failure { message: printed.join("\n"), location: None }
        }
        (None, []) => {
            Failure { message: "the test failed without a message".into(), location: None }
        }
    };
    Judgement::failed(Cause::Assertion, failure)
}

/// All that a failed test said: nothing tells `Log` from `Error` in the output. The place is that of
/// the last, which is where `Fatal` was called.
fn said_failure(said: &[Failure]) -> Option<Failure> {
    let location = said.last()?.location.clone();
    let message = said.iter().map(|said| said.message.as_str()).collect::<Vec<_>>().join("\n");
    Some(Failure { message, location })
}

/// `panic: message [recovered]` and the first place in the goroutine's stack after `panic` itself that
/// is in a file of tests, or else the first outside Go's own runtime.
fn panic(log: &[LogLine]) -> Option<Failure> {
    let stderr: Vec<&str> = lines(log, Source::Stderr).collect();
    let told = |line: &str| {
        let message =
            line.strip_prefix("panic: ").or_else(|| line.strip_prefix("fatal error: "))?;
        let message = message.strip_suffix(" [recovered, repanicked]").unwrap_or(message);
        Some(message.strip_suffix(" [recovered]").unwrap_or(message).to_owned())
    };
    let (at, message) = stderr.iter().enumerate().find_map(|(at, line)| Some((at, told(line)?)))?;
    let places = || {
        stderr[at..].iter().filter_map(|line| {
            let (file, rest) = line.strip_prefix('\t')?.rsplit_once(':')?;
            let line = rest.split(' ').next()?.parse().ok()?;
            Some(Location { file: file.to_owned(), line, column: None })
        })
    };
    let location = places().find(|place| place.file.ends_with("_test.go"));
    let location =
        location.or_else(|| places().find(|place| !place.file.contains("/src/runtime/")));
    Some(Failure { message, location })
}

/// What the harness told, test by test.
#[derive(Default)]
struct Course {
    parts: Vec<Part>,
}

/// One test or subtest.
#[derive(Default)]
struct Part {
    name: String,
    end: Option<End>,
    duration_ms: u64,
    /// What it logged, in order: with the place of the call.
    said: Vec<Failure>,
    /// Other lines on stdout while it was its turn.
    printed: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Passed,
    Failed,
    Skipped,
}

impl Course {
    fn read(log: &[LogLine]) -> Self {
        let mut course = Self::default();
        let mut current = String::new();
        for line in lines(log, Source::Stdout) {
            // Output without a line break comes before a mark.
            let (before, marked) = match line.split_once(MARK) {
                Some((before, marked)) => (before, Some(marked)),
                None => (line, None),
            };
            if (marked.is_none() || !before.is_empty())
                && let Some(part) = course.part(&current)
            {
                part.take(before);
            }
            if let Some(marked) = marked {
                course.framing(marked, &mut current);
            }
        }
        course
    }

    fn framing(&mut self, line: &str, current: &mut String) {
        let turn = ["=== RUN", "=== CONT", "=== NAME", "=== PAUSE"]
            .iter()
            .find_map(|word| Some((*word, line.strip_prefix(word)?.trim())));
        if let Some((word, name)) = turn {
            if word == "=== RUN" {
                self.parts.push(Part { name: name.to_owned(), ..Part::default() });
            }
            name.clone_into(current);
            return;
        }
        let ends = [
            ("--- PASS: ", End::Passed),
            ("--- FAIL: ", End::Failed),
            ("--- SKIP: ", End::Skipped),
        ];
        let Some((rest, end)) =
            ends.iter().find_map(|(word, end)| Some((line.strip_prefix(word)?, *end)))
        else {
            return;
        };
        let Some((name, seconds)) = rest.rsplit_once(" (") else { return };
        if let Some(part) = self.part(name) {
            part.end = Some(end);
            let seconds = seconds.strip_suffix("s)").and_then(|text| text.parse::<f64>().ok());
            part.duration_ms = seconds.map_or(0, |seconds| (seconds * 1e3) as u64);
        }
        // An example prints what it got after its end.
        name.clone_into(current);
    }

    fn part(&mut self, name: &str) -> Option<&mut Part> {
        self.parts.iter_mut().rev().find(|part| part.name == name)
    }

    fn take(&mut self, name: &str) -> Option<Part> {
        let at = self.parts.iter().position(|part| part.name == name)?;
        Some(self.parts.remove(at))
    }

    /// The subtests of `test`, without its name. One that did not end is one that panicked or exited.
    fn sub_results(self, test: &str) -> Vec<SubResult> {
        let of = |part: Part| {
            let name = part.name.strip_prefix(test)?.strip_prefix('/')?.to_owned();
            let outcome = match part.end {
                Some(End::Passed) => Outcome::Passed,
                Some(End::Skipped) => Outcome::Skipped {
                    reason: part.said.last().map_or(String::new(), |said| said.message.clone()),
                },
                Some(End::Failed) => {
                    Outcome::Failed(said_failure(&part.said).unwrap_or(Failure {
                        message: "a part of it failed".into(),
                        location: None,
                    }))
                }
                None => {
                    Outcome::Failed(Failure { message: "it did not end".into(), location: None })
                }
            };
            Some(SubResult { name, outcome, duration_ms: part.duration_ms })
        };
        self.parts.into_iter().filter_map(of).collect()
    }
}

impl Part {
    /// `    file_test.go:12: message`, and with one more indent the further lines of that message.
    fn take(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(INDENT) {
            if let (Some(further), Some(said)) = (rest.strip_prefix(INDENT), self.said.last_mut()) {
                said.message.push('\n');
                said.message.push_str(further);
                return;
            }
            if let Some(said) = said(rest) {
                self.said.push(said);
                return;
            }
        }
        self.printed.push(line.to_owned());
    }
}

fn said(line: &str) -> Option<Failure> {
    let (place, message) = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))?;
    let (file, line) = place.rsplit_once(':')?;
    if !file.ends_with(".go") {
        return None;
    }
    let location = Location { file: file.to_owned(), line: line.parse().ok()?, column: None };
    Some(Failure { message: message.to_owned(), location: Some(location) })
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::super::tests::{failure, log};
    use super::*;
    use crate::model::Protocol;

    fn judged(test: &str, code: u8, stdout: &str, stderr: &str) -> Judgement {
        let stdout = stdout.replace('^', "\u{16}");
        Protocol::GoTest.judge(test, Ended::Code(code), &log(&stdout, stderr))
    }

    #[test]
    fn tests_and_examples_are_listed_and_the_rest_is_left_out() {
        let found = tests("TestPass\nTest_größe\nBenchmarkX\nFuzzX\nExample_a\n").unwrap();
        let names: Vec<_> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["TestPass", "Test_größe", "Example_a"]);
        for other in ["hello, world\n", "flag provided but not defined: -test.list\n", "TestA b\n"]
        {
            assert_eq!(tests(other), None, "{other}");
        }
    }

    #[test]
    fn a_test_passes_or_skips_only_if_the_harness_says_so() {
        let passes = "^=== RUN   TestA\n    a_test.go:3: hello\n        world\n^--- PASS: TestA (0.00s)\n^=== NAME  \n^PASS\n";
        assert_eq!(judged("TestA", 0, passes, ""), Judgement::passed());
        let skips = "^=== RUN   TestA\n    a_test.go:6: not here\n^--- SKIP: TestA (0.00s)\n^=== NAME  \n^PASS\n";
        assert_eq!(judged("TestA", 0, skips, ""), Judgement::skipped("not here"));
        // Without the mark it is the test's own output.
        let forged = "^=== RUN   TestA\n--- PASS: TestA (0.00s)\n";
        assert_eq!(judged("TestA", 0, forged, "").cause, Some(Cause::Exit));
        let none = judged("TestA", 0, "testing: warning: no tests to run\nPASS\n", "");
        assert!(failure(&none).0.contains("no test \"TestA\""));
        assert_eq!(judged("TestA", 3, "^=== RUN   TestA\n", "").cause, Some(Cause::Exit));
    }

    #[test]
    fn a_failure_says_all_that_the_test_said() {
        let fails = "^=== RUN   TestA\n    a_test.go:4: info\n    a_test.go:5: bad 1\n        second\n    a_test.go:6: worse\nno newline^--- FAIL: TestA (0.05s)\n^=== NAME  \n^FAIL\n";
        let judgement = judged("TestA", 1, fails, "");
        assert_eq!(judgement.cause, Some(Cause::Assertion));
        assert_eq!(failure(&judgement), ("info\nbad 1\nsecond\nworse", Some(("a_test.go", 6))));
        let example = "^=== RUN   Example_a\n^--- FAIL: Example_a (0.00s)\ngot:\na\nwant:\nb\n^=== NAME  \n^FAIL\n";
        assert_eq!(failure(&judged("Example_a", 1, example, "")), ("got:\na\nwant:\nb", None));
    }

    #[test]
    fn subtests_are_parts_of_their_test() {
        let stdout = "^=== RUN   TestA\n^=== RUN   TestA/a\n    a_test.go:7: in a\n^--- PASS: TestA/a (0.01s)\n^=== NAME  TestA\n^=== RUN   TestA/b_c\n    a_test.go:8: in b\n^--- FAIL: TestA/b_c (0.00s)\n^=== NAME  TestA\n^=== RUN   TestA/d\n^=== RUN   TestA/d/e\n    a_test.go:9: in e\n^--- SKIP: TestA/d/e (0.00s)\n^=== NAME  TestA/d\n^--- PASS: TestA/d (0.00s)\n^=== NAME  TestA\n^--- FAIL: TestA (0.00s)\n^=== NAME  \n^FAIL\n";
        let judgement = judged("TestA", 1, stdout, "");
        assert_eq!(failure(&judgement), ("b_c: in b", Some(("a_test.go", 8))));
        let parts: Vec<_> =
            judgement.sub_results.iter().map(|p| (p.name.as_str(), p.duration_ms)).collect();
        assert_eq!(parts, [("a", 10), ("b_c", 0), ("d", 0), ("d/e", 0)]);
        assert_eq!(judgement.sub_results[0].outcome, Outcome::Passed);
        assert_eq!(judgement.sub_results[3].outcome, Outcome::Skipped { reason: "in e".into() });
    }

    #[test]
    fn a_panic_is_told_with_its_place_in_the_test() {
        let stderr = "panic: assignment to entry in nil map [recovered, repanicked]\n\ngoroutine 7 [running]:\ntesting.tRunner.func1.2({0x26300, 0x2366f0})\n\t/go/src/testing/testing.go:1974 +0x20\npanic({0x26300, 0x2366f0})\n\t/go/src/runtime/panic.go:860 +0x1c\nx.TestA(0x404248)\n\t/src/x/a_test.go:8 +0x2\n";
        let judgement = judged("TestA", 2, "^=== RUN   TestA\n^--- FAIL: TestA (0.00s)\n", stderr);
        assert_eq!(judgement.cause, Some(Cause::Panic));
        let expected = ("assignment to entry in nil map", Some(("/src/x/a_test.go", 8)));
        assert_eq!(failure(&judgement), expected);
    }
}
