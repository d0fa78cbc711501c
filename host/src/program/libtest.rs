//! Rust's test harness, as `cargo test --target wasm32-wasip1` and `wasm32-wasip2` link it into a
//! program. Its output is described in <https://doc.rust-lang.org/rustc/tests/index.html>.
//!
//! A panic ends the program there: the panic's text is on stderr, and no verdict follows on stdout.

use super::{Ended, Judgement, lines, named, not_begun, trapped};
use crate::model::{Cause, Failure, LogLine, Source, TestCase};

pub(super) const LIST: [&str; 3] = ["--list", "--format", "terse"];

/// The same for those with `#[ignore]`.
pub(super) const LIST_IGNORED: [&str; 4] = ["--list", "--format", "terse", "--ignored"];

/// `NAME: test` on each line, and `NAME: benchmark` for what is left out.
pub(super) fn tests(output: &str) -> Option<Vec<TestCase>> {
    let mut tests = Vec::new();
    for line in output.lines().filter(|line| !line.is_empty()) {
        let (name, kind) = line.rsplit_once(": ")?;
        match kind {
            "test" => tests.push(named(name)),
            "benchmark" => {}
            _ => return None,
        }
    }
    Some(tests)
}

/// Asks for tests that are ignored. They are not run, but told one after the other with their reasons.
pub(super) fn reasons(ignored: &[&str]) -> Vec<String> {
    ignored.iter().copied().chain(["--exact"]).map(str::to_owned).collect()
}

/// Why a test is ignored, in the answer to that.
pub(super) fn reason(test: &str, output: &str) -> Option<String> {
    output.lines().find_map(|line| {
        let rest = line.strip_prefix("test ")?.strip_prefix(test)?;
        let rest = rest.strip_prefix(" - should panic").unwrap_or(rest);
        Some(rest.strip_prefix(" ... ignored, ")?.to_owned())
    })
}

/// Captured output would be shown only for failures, and is lost in a panic.
pub(super) fn run(test: &str) -> Vec<String> {
    [test, "--exact", "--nocapture"].map(str::to_owned).to_vec()
}

pub(super) fn judge(test: &str, ended: Ended, log: &[LogLine]) -> Judgement {
    let summary = lines(log, Source::Stdout).rev().find_map(Summary::parse);
    match (ended, summary) {
        (Ended::Trapped(failure), _) => trapped(failure),
        (Ended::Code(0), Some(Summary { passed: 1, .. })) => Judgement::passed(),
        (Ended::Code(0), Some(Summary { ignored: 1, .. })) => {
            Judgement::skipped(ignored(test, log).unwrap_or_else(|| "it is ignored".to_owned()))
        }
        (Ended::Code(0), Some(_)) => {
            let message = format!("the program has no test {test:?} any more");
            Judgement::failed(Cause::Exit, Failure { message, location: None })
        }
        // It ends with 101, of which WASI 0.2 may leave no more than that it is not 0.
        (Ended::Code(1..), Some(Summary { failed: 1, .. })) => {
            let message = error(log).unwrap_or_else(|| "the test returned an error".to_owned());
            Judgement::failed(Cause::Assertion, Failure { message, location: None })
        }
        // What it says before all else.
        (Ended::Code(code), None)
            if !lines(log, Source::Stdout).any(|it| it.starts_with("running ")) =>
        {
            not_begun(code, log)
        }
        (Ended::Code(code), _) => {
            let message = format!("it ended with exit code {code} in the middle of the test");
            Judgement::failed(Cause::Exit, Failure { message, location: None })
        }
    }
}

/// `test result: ok. 1 passed; 0 failed; 0 ignored; …`
struct Summary {
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Summary {
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        let (passed, failed, ignored) = (count("passed")?, count("failed")?, count("ignored")?);
        Some(Self { passed, failed, ignored })
    }
}

/// `test NAME ... ignored, reason`, or the remark for a test that must panic.
fn ignored(test: &str, log: &[LogLine]) -> Option<String> {
    lines(log, Source::Stdout).find_map(|line| {
        let rest = line.strip_prefix("test ")?.strip_prefix(test)?;
        if rest.starts_with(" - should panic") {
            return Some(
                "it must panic, which libtest cannot observe on WebAssembly: nothing unwinds there"
                    .to_owned(),
            );
        }
        let reason = rest.strip_prefix(" ... ignored")?.strip_prefix(", ")?;
        Some(reason.to_owned())
    })
}

/// `Error: …`, the way in which a test that returns an error shows it, and the lines that follow.
fn error(log: &[LogLine]) -> Option<String> {
    let lines: Vec<&str> = lines(log, Source::Stderr).collect();
    let start = lines.iter().rposition(|line| line.starts_with("Error: "))?;
    let text = lines[start..].join("\n");
    Some(text.trim_start_matches("Error: ").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::super::tests::{failure, judge as judge_as, log};
    use super::*;
    use crate::model::Protocol;

    const OK: &str = "\nrunning 1 test\ntest a::b ... out\nok\n\n\
        test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 6 filtered out; finished in 0.02s\n";

    fn judged(ended: Ended, stdout: &str, stderr: &str) -> Judgement {
        judge_as(Protocol::Libtest, "a::b", ended, &log(stdout, stderr))
    }

    #[test]
    fn tests_are_listed_and_benchmarks_left_out() {
        let found = tests("a::b: test\nfast: benchmark\nsrc/lib.rs - f (line 3): test\n").unwrap();
        let names: Vec<_> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["a::b", "src/lib.rs - f (line 3)"]);
        assert_eq!(tests(""), Some(vec![]));
        for other in ["usage: prog [FILE]", "hello\n", "a: test\nb: fish\n"] {
            assert_eq!(tests(other), None, "{other}");
        }
    }

    #[test]
    fn a_test_passes_only_if_the_harness_says_so() {
        assert_eq!(judged(Ended::Code(0), OK, ""), Judgement::passed());
        let refused = judged(Ended::Code(1), "", "error: Unrecognized option: 'fast'\n");
        let expected =
            "it ended with exit code 1 before the test began: error: Unrecognized option: 'fast'";
        assert_eq!(failure(&refused).0, expected);
        // The program ended itself before the harness had a verdict.
        let exited = judged(Ended::Code(0), "\nrunning 1 test\ntest a::b ... ", "");
        assert_eq!(exited.cause, Some(Cause::Exit));
        assert!(failure(&exited).0.contains("exit code 0 in the middle"), "{exited:?}");
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s\n";
        assert!(failure(&judged(Ended::Code(0), none, "")).0.contains("no test \"a::b\""));
    }

    #[test]
    fn ignored_tests_say_why() {
        let summary =
            "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 6 filtered out\n";
        let reason = |line: &str| match judged(
            Ended::Code(0),
            &format!("running 1 test\n{line}\n\n{summary}"),
            "",
        )
        .outcome
        {
            crate::model::Outcome::Skipped { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("test a::b ... ignored, slow"), "slow");
        assert_eq!(reason("test a::b ... ignored"), "it is ignored");
        assert!(reason("test a::b - should panic ... ignored").contains("must panic"));
    }

    #[test]
    fn the_reasons_of_ignored_tests_are_asked_for_together() {
        assert_eq!(reasons(&["a", "b::c"]), ["a", "b::c", "--exact"]);
        let told = "\nrunning 3 tests\ntest a ... ignored\ntest b::c ... ignored, slow, and more\n\
            test d - should panic ... ignored, not yet\n\ntest result: ok. 0 passed\n";
        let reason = |test| reason(test, told);
        assert_eq!(reason("b::c").as_deref(), Some("slow, and more"));
        assert_eq!(reason("d").as_deref(), Some("not yet"));
        assert_eq!((reason("a"), reason("b")), (None, None));
    }

    #[test]
    fn failures_carry_the_panic_or_the_error() {
        let stdout = "running 1 test\ntest a::b ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 6 filtered out\n";
        let failed = judged(Ended::Code(101), stdout, "Error: \"on purpose\"\n");
        assert_eq!(failed.cause, Some(Cause::Assertion));
        // All that WASI 0.2 leaves of 101.
        assert_eq!(judged(Ended::Code(1), stdout, "Error: \"on purpose\"\n"), failed);
        assert_eq!(failure(&failed).0, "\"on purpose\"");
        let panic = Failure { message: "arith".into(), location: None };
        let trapped = judged(Ended::Trapped(Some(panic)), "running 1 test\n", "");
        assert_eq!((trapped.cause, failure(&trapped).0), (Some(Cause::Panic), "arith"));
        assert_eq!(judged(Ended::Trapped(None), "", "").cause, Some(Cause::Trap));
        assert_eq!(judged(Ended::Code(3), "running 1 test\n", "").cause, Some(Cause::Exit));
    }
}
