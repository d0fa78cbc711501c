//! Go's `testing`, as `go test -c` links it into a program. Its output is that of `-test.v=test2json`
//! (since Go 1.20), in which every line of the harness begins with the control character SYN, so that
//! a test's own output cannot be taken for it by chance:
//! <https://pkg.go.dev/cmd/test2json>.

use super::{Ended, Judgement, lines, named, not_begun, trapped};
use crate::model::{Cause, Failure, Location, LogLine, Outcome, Source, SubResult, TestCase};

pub(super) const LIST: [&str; 2] = ["-test.list", ".*"];

/// Begins each line of the harness.
pub(super) const MARK: char = '\u{16}';
/// How a test's own log lines are indented, and the lines after the first of one message.
const INDENT: &str = "    ";

/// A name on each line. Examples are tests too; benchmarks and fuzz targets are left out. None if no line is
/// such a name: what the package's `init` and `TestMain` write stands between them.
pub(super) fn tests(output: &str) -> Option<Vec<TestCase>> {
    let names = || output.lines().filter(|line| KINDS.iter().any(|kind| is_of(kind, line)));
    names().next()?;
    let tests = names().filter(|name| ["Test", "Example"].iter().any(|kind| is_of(kind, name)));
    Some(tests.map(named).collect())
}

/// What the names of functions begin with that the harness finds.
const KINDS: [&str; 4] = ["Test", "Example", "Benchmark", "Fuzz"];

/// Whether it is a name as `go vet` wants it of that kind: `TestX` or `Test_x`, and not `Testing`.
fn is_of(kind: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    name.strip_prefix(kind)
        .is_some_and(|rest| !rest.starts_with(char::is_lowercase) && rest.chars().all(word))
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
    let panic = panic(test, log);
    let sub_results = course.sub_results(test, panic.as_ref());
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
        (Ended::Code(code), own) => match panic {
            Some(panic) => Judgement::failed(Cause::Panic, panic),
            None if own.is_none() => not_begun(code, log),
            None => failed(code, own, &sub_results),
        },
    };
    Judgement { sub_results, ..judgement }
}

/// What the test said of itself counts, then its parts, then what it wrote otherwise.
fn failed(code: u8, own: Option<Part>, parts: &[SubResult]) -> Judgement {
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

/// `panic: message [recovered]`, whose further lines begin with a tab, and the first place in the
/// goroutine's stack after `panic` itself that is in a file of tests, or else the first outside Go's own
/// runtime. Where all goroutines stand still the stack of the test's own tells more than the first.
fn panic(test: &str, log: &[LogLine]) -> Option<Failure> {
    let stderr: Vec<&str> = lines(log, Source::Stderr).collect();
    let told = |line: &str| {
        let begin = ["panic: ", "fatal error: "].into_iter().find(|it| line.starts_with(it))?;
        Some((begin, line[begin.len()..].to_owned()))
    };
    let (at, (begin, mut message)) =
        stderr.iter().enumerate().find_map(|(at, line)| Some((at, told(line)?)))?;
    let further = stderr[at + 1..].iter().map_while(|line| line.strip_prefix('\t'));
    for line in further.take_while(|line| !line.starts_with("panic: ")) {
        message.push('\n');
        message.push_str(line);
    }
    let ends = [" [recovered, repanicked]", " [recovered]"];
    let message = ends.iter().find_map(|end| message.strip_suffix(end)).unwrap_or(&message);
    // A function, and on the next line its place.
    let frames = || {
        stderr[at..].windows(2).filter_map(|pair| {
            let (file, rest) = pair[1].strip_prefix('\t')?.rsplit_once(':')?;
            let line = rest.split(' ').next()?.parse().ok()?;
            Some((pair[0], Location { file: file.to_owned(), line, column: None }))
        })
    };
    let own = |function: &str| begin.starts_with("fatal") && function.contains(&format!(".{test}"));
    let location = frames()
        .find(|(function, _)| own(function))
        .or_else(|| frames().find(|(_, place)| place.file.ends_with("_test.go")))
        .or_else(|| frames().find(|(_, place)| !place.file.contains("/src/runtime/")));
    let location = location.map(|(_, place)| place);
    Some(Failure { message: message.to_owned(), location })
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
    fn sub_results(self, test: &str, panic: Option<&Failure>) -> Vec<SubResult> {
        let names: Vec<_> = self.parts.iter().map(|part| format!("{}/", part.name)).collect();
        let has_parts = |name: &str| {
            names.iter().any(|it| it.len() > name.len() + 1 && it.starts_with(&format!("{name}/")))
        };
        let of = |part: Part| {
            let name = part.name.strip_prefix(test)?.strip_prefix('/')?.to_owned();
            let outcome = match part.end {
                Some(End::Passed) => Outcome::Passed,
                Some(End::Skipped) => Outcome::Skipped {
                    reason: part.said.last().map_or(String::new(), |said| said.message.clone()),
                },
                Some(End::Failed) => Outcome::Failed(match (said_failure(&part.said), panic) {
                    (Some(failure), _) => failure,
                    (None, _) if has_parts(&part.name) => silent("a part of it failed"),
                    (None, Some(panic)) => panic.clone(),
                    (None, None) => silent("it failed without a message"),
                }),
                None => Outcome::Failed(silent("it did not end")),
            };
            Some(SubResult { name, outcome, duration_ms: part.duration_ms })
        };
        self.parts.into_iter().filter_map(of).collect()
    }
}

fn silent(message: &str) -> Failure {
    Failure { message: message.into(), location: None }
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
    use super::super::tests::{failure, judge as judge_as, log};
    use super::*;
    use crate::model::Protocol;

    fn judged(test: &str, code: u8, stdout: &str, stderr: &str) -> Judgement {
        let stdout = stdout.replace('^', "\u{16}");
        judge_as(Protocol::GoTest, test, Ended::Code(code), &log(&stdout, stderr))
    }

    #[test]
    fn tests_and_examples_are_listed_and_the_rest_is_left_out() {
        let found = tests("TestPass\nTest_größe\nBenchmarkX\nFuzzX\nExample_a\n").unwrap();
        let names: Vec<_> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["TestPass", "Test_größe", "Example_a"]);
        let loud = "connecting\nTesting it\nTestPass\nok: TestNot\nTestA b\nBenchmarkX\n\ndone";
        let found = tests(loud).unwrap();
        assert_eq!(found.iter().map(|test| test.name.as_str()).collect::<Vec<_>>(), ["TestPass"]);
        assert_eq!(tests("BenchmarkX\n"), Some(vec![]));
        for other in
            ["", "hello, world\n", "flag provided but not defined: -test.list\n", "Testing\n"]
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

    #[test]
    fn a_panic_is_told_whole_and_of_the_part_that_it_ended() {
        let stdout = "^=== RUN   TestA\n^=== RUN   TestA/b\n^--- FAIL: TestA/b (0.00s)\n^--- FAIL: TestA (0.00s)\n";
        let stderr = "panic: two\n\tlines [recovered, repanicked]\n\ngoroutine 7 [running]:\nx.TestA.func1(0x4)\n\t/src/x/a_test.go:8 +0x2\n";
        let judgement = judged("TestA", 2, stdout, stderr);
        let expected = ("two\nlines", Some(("/src/x/a_test.go", 8)));
        assert_eq!(failure(&judgement), expected);
        let Outcome::Failed(part) = &judgement.sub_results[0].outcome else { panic!("it passed") };
        assert_eq!(part.message, "two\nlines");

        let silent = "^=== RUN   TestA\n^=== RUN   TestA/b\n^--- FAIL: TestA/b (0.00s)\n^=== NAME  TestA\n^--- FAIL: TestA (0.00s)\n^=== NAME  \n^FAIL\n";
        let judgement = judged("TestA", 1, silent, "");
        assert_eq!(failure(&judgement), ("b: it failed without a message", None));
    }

    #[test]
    fn a_standstill_is_placed_where_the_test_waits() {
        let stderr = "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\ntesting.(*T).Run(0x4)\n\t/go/src/testing/testing.go:2 +0x1\nmain.TestMain(0x4)\n\t/src/x/a_test.go:8 +0x2\n\ngoroutine 7 [chan receive]:\nx.TestA(0x4)\n\t/src/x/a_test.go:36 +0x2\n";
        let judgement = judged("TestA", 2, "^=== RUN   TestA\n", stderr);
        let expected = ("all goroutines are asleep - deadlock!", Some(("/src/x/a_test.go", 36)));
        assert_eq!(failure(&judgement), expected);
    }
}
