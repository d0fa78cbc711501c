//! The Test Anything Protocol, versions 13 and 14: <https://testanything.org/tap-version-14-specification.html>.
//!
//! A test point is a named part. The program failed if a point failed that is not a TODO, if there are
//! fewer or more points than its plan says, if it bailed out, or by its exit code.

use super::{Ended, Judgement, exit_code, lines};
use crate::model::{Cause, Failure, LogLine, Outcome, Source, SubResult};

/// Whether the output is TAP: it begins as only TAP does, or has a plan and test points, since TAP 12 has no
/// line for its version.
pub(super) fn is_tap(log: &[LogLine]) -> bool {
    let first = lines(log, Source::Stdout).find(|line| !line.trim().is_empty());
    let version = |line: &str| matches!(line.trim_end(), "TAP version 13" | "TAP version 14");
    let document = Document::read(log);
    first.is_some_and(version) || (document.plan.is_some() && !document.points.is_empty())
}

pub(super) fn judge(ended: Ended, log: &[LogLine]) -> Judgement {
    let Document { plan, points, bailed_out } = Document::read(log);
    let failed: Vec<_> =
        points.iter().filter(|p| matches!(p.outcome, Outcome::Failed(_))).collect();
    let problem = if let Some(reason) = bailed_out {
        Some(format!("it bailed out: {reason}"))
    } else if let [first, rest @ ..] = failed.as_slice() {
        let Outcome::Failed(Failure { message, .. }) = &first.outcome else {
            unreachable!("only failed points are left");
        };
        let more =
            if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        Some(format!("{}{more}: {message}", first.name))
    } else {
        planned(plan.as_ref(), points.len())
    };
    let judgement = match (ended, problem) {
        // How it ended says more than a plan that was not kept.
        (ended @ Ended::Trapped(_), _) => exit_code(ended, log),
        (ended @ Ended::Code(1..), _) if failed.is_empty() => exit_code(ended, log),
        (Ended::Code(_), Some(message)) => {
            Judgement::failed(Cause::Assertion, Failure { message, location: None })
        }
        (ended, None) => match plan {
            Some(Plan { count: 0, reason }) => Judgement::skipped(reason),
            _ => exit_code(ended, log),
        },
    };
    Judgement { sub_results: points, ..judgement }
}

fn planned(plan: Option<&Plan>, found: usize) -> Option<String> {
    match plan {
        None => {
            Some("it wrote no plan (such as `1..4`), so nobody knows whether it is complete".into())
        }
        Some(plan) if plan.count != found => {
            Some(format!("it planned {} test points and wrote {found}", plan.count))
        }
        Some(_) => None,
    }
}

struct Document {
    plan: Option<Plan>,
    points: Vec<SubResult>,
    bailed_out: Option<String>,
}

/// `1..4`, or `1..0 # SKIP reason`.
struct Plan {
    count: usize,
    reason: String,
}

impl Document {
    fn read(log: &[LogLine]) -> Self {
        let mut document = Self { plan: None, points: Vec::new(), bailed_out: None };
        let mut yaml: Option<Vec<String>> = None;
        for line in lines(log, Source::Stdout) {
            if let Some(block) = &mut yaml {
                match line.trim_end() {
                    "  ..." => {
                        document.diagnose(&yaml.take().unwrap_or_default());
                    }
                    text => block.push(text.strip_prefix("  ").unwrap_or(text).to_owned()),
                }
                continue;
            }
            if line.trim_end() == "  ---" {
                yaml = Some(Vec::new());
            } else if let Some(reason) = line.trim_start().strip_prefix("Bail out!") {
                // Also from within a subtest.
                document.bailed_out = Some(reason.trim().to_owned());
            } else if let Some(point) = point(line, document.points.len() + 1) {
                document.points.push(point);
            } else if document.plan.is_none() {
                document.plan = plan(line);
            }
        }
        document
    }

    /// The YAML after a point explains it.
    fn diagnose(&mut self, yaml: &[String]) {
        if let Some(SubResult { outcome: Outcome::Failed(failure), .. }) = self.points.last_mut() {
            failure.message = yaml.join("\n");
        }
    }
}

/// `ok 1 - name # SKIP reason`. A subtest's points are indented: the point that follows it counts.
fn point(line: &str, next: usize) -> Option<SubResult> {
    let (ok, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(digits);
    let number = number.parse().unwrap_or(next);
    let (description, directive) = directive(rest.trim_start());
    let description = description.strip_prefix("- ").unwrap_or(description).trim();
    let description = description.replace("\\#", "#").replace("\\\\", "\\");
    let name = if description.is_empty() { format!("test {number}") } else { description };
    let outcome = match directive {
        Some(("skip", reason)) => Outcome::Skipped { reason: reason.to_owned() },
        // What is to be done may fail.
        Some(("todo", reason)) if !ok => Outcome::Skipped { reason: format!("to do: {reason}") },
        _ if ok => Outcome::Passed,
        _ => Outcome::Failed(Failure { message: "not ok".into(), location: None }),
    };
    Some(SubResult { name, outcome, duration_ms: 0 })
}

/// Splits `description # SKIP reason`. A `#` after a backslash is none.
fn directive(text: &str) -> (&str, Option<(&'static str, &str)>) {
    let hash = text.match_indices('#').map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'));
    let Some(hash) = hash else { return (text, None) };
    let rest = text[hash + 1..].trim_start();
    for word in ["skip", "todo"] {
        let Some(start) = rest.get(..word.len()) else { continue };
        if start.eq_ignore_ascii_case(word) {
            // `# skipped: reason` is common.
            let reason = rest[word.len()..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
            return (&text[..hash], Some((word, reason.trim_start_matches(':').trim())));
        }
    }
    (text, None)
}

fn plan(line: &str) -> Option<Plan> {
    let rest = line.strip_prefix("1..")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let count = rest[..digits].parse().ok()?;
    let reason = match directive(rest[digits..].trim_start()) {
        (_, Some((_, reason))) => reason,
        (_, None) => rest[digits..].trim().trim_start_matches('#').trim(),
    };
    let reason = if reason.is_empty() { "it planned no test points" } else { reason };
    Some(Plan { count, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::super::tests::{failure, log};
    use super::*;
    use crate::model::Protocol;

    fn judged(code: u8, stdout: &str) -> Judgement {
        Protocol::Tap.judge("a", Ended::Code(code), &log(stdout, ""))
    }

    #[test]
    fn points_are_parts() {
        let stdout = "TAP version 14\n1..6\nok 1 - sells \\#1\nok 2 pays # SKIP no card\n    ok 1 - inner\n    1..1\nok 3 - subtest\nnot ok 4 - later # TODO next week\nok\n# a comment\nok 6 # skipped: why\n";
        let judgement = judged(0, stdout);
        assert_eq!(judgement.outcome, Outcome::Passed);
        let skipped = |reason: &str| Outcome::Skipped { reason: reason.to_owned() };
        let parts: Vec<_> =
            judgement.sub_results.into_iter().map(|p| (p.name, p.outcome)).collect();
        let expected = [
            ("sells #1", Outcome::Passed),
            ("pays", skipped("no card")),
            ("subtest", Outcome::Passed),
            ("later", skipped("to do: next week")),
            ("test 5", Outcome::Passed),
            ("test 6", skipped("why")),
        ];
        assert_eq!(parts, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
    }

    #[test]
    fn a_failed_point_fails_with_its_diagnosis() {
        let stdout =
            "1..2\nnot ok 1 - sells\n  ---\n  message: sold out\n  at: shop.c:7\n  ...\nok 2\n";
        for code in [0, 1] {
            let judgement = judged(code, stdout);
            assert_eq!(judgement.cause, Some(Cause::Assertion));
            assert_eq!(failure(&judgement).0, "sells: message: sold out\nat: shop.c:7");
            assert_eq!(judgement.sub_results.len(), 2);
        }
    }

    #[test]
    fn what_is_incomplete_fails() {
        for (stdout, told) in [
            ("ok 1\n", "no plan"),
            ("", "no plan"),
            ("1..3\nok 1\nok 2\n", "planned 3 test points and wrote 2"),
            ("1..1\nok 1\nok 2\n", "planned 1 test points and wrote 2"),
            ("1..2\nok 1\nBail out! no database\n", "bailed out: no database"),
            ("1..1\nnot okay\n", "wrote 0"),
        ] {
            let judgement = judged(0, stdout);
            assert!(failure(&judgement).0.contains(told), "{stdout:?}: {judgement:?}");
        }
        assert_eq!(judged(2, "1..1\nok 1\n").cause, Some(Cause::Exit));
        assert_eq!(judged(2, "1..3\nok 1\n").cause, Some(Cause::Exit));
    }

    #[test]
    fn a_plan_of_none_skips() {
        assert_eq!(judged(0, "1..0 # SKIP no network\n"), Judgement::skipped("no network"));
        assert_eq!(judged(0, "1..0\n"), Judgement::skipped("it planned no test points"));
    }
}
