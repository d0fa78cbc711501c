//! The Test Anything Protocol, versions 13 and 14: <https://testanything.org/tap-version-14-specification.html>.
//!
//! A test point is a named part, and one of a subtest too, as `subtest/point`. The program failed if a point
//! failed that is not a TODO, if there are fewer, more or other points than its plan says, if it bailed out, or
//! by its exit code. Read line by line, as of a long log only the start and the end are kept.

use std::collections::BTreeSet;

use super::{Ended, Judgement, exit_code};
use crate::model::{Cause, Failure, Location, LogLine, Outcome, SubResult};

/// How deep subtests may lie in each other; what lies deeper counts by the point that follows it alone.
const DEEPEST: usize = 8;

pub(super) fn judge(ended: Ended, log: &[LogLine], document: Document) -> Judgement {
    let problem = document.problem();
    let Document { plan, points, failed, .. } = document;
    let judgement = match (ended, problem) {
        // How it ended says more than a plan that was not kept.
        (ended @ Ended::Trapped(_), _) => exit_code(ended, log),
        (ended @ Ended::Code(1..), _) if failed == 0 => exit_code(ended, log),
        (Ended::Code(_), Some(failure)) => Judgement::failed(Cause::Assertion, failure),
        (ended, None) => match plan {
            Some(Plan { count: 0, reason }) => Judgement::skipped(reason),
            _ => exit_code(ended, log),
        },
    };
    Judgement { sub_results: points, ..judgement }
}

/// What was written until now.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// How many bytes of names and diagnoses may still be kept.
    room: usize,
    /// How deep it lies in others.
    depth: usize,
    /// Whether the first line that says something is that of a version; none if there was no such line.
    begins_with_version: Option<bool>,
    plan: Option<Plan>,
    /// As far as there was room.
    points: Vec<SubResult>,
    found: usize,
    failed: usize,
    /// The name of the first point that failed, and what is known of it.
    first_failure: Option<(String, Failure)>,
    last: Last,
    numbers: Numbers,
    bailed_out: Option<String>,
    /// The lines of the diagnosis that is being written.
    yaml: Option<Yaml>,
    /// The subtest of the point to come.
    subtest: Option<Box<Self>>,
}

/// What a diagnosis is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// Of none that failed.
    #[default]
    Fine,
    /// Of a failure that is among the points.
    Kept,
    /// Of a failure that is not.
    Dropped,
}

/// A diagnosis that is being written.
#[derive(Debug, Default)]
struct Yaml {
    lines: Vec<String>,
    bytes: usize,
}

/// `1..4`, or `1..0 # SKIP reason`.
#[derive(Debug)]
struct Plan {
    count: usize,
    reason: String,
}

/// The numbers of the points, as far as they tell that some are missing.
#[derive(Debug, Default)]
struct Numbers {
    /// All up to this one were there.
    without_gap: usize,
    /// Those that were there beyond it.
    beyond: BTreeSet<usize>,
    twice: Option<usize>,
    /// Whether more came out of order than are kept.
    unknown: bool,
}

impl Document {
    /// One that keeps so many bytes of names and diagnoses.
    pub(super) fn keeping(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Whether it is TAP: it begins as only TAP does, or has a plan and test points, since TAP 12 has no line
    /// for its version.
    pub(super) fn is_tap(&self) -> bool {
        let begins = self.begins_with_version == Some(true) || self.bailed_out.is_some();
        begins || (self.plan.is_some() && self.found > 0)
    }

    /// Takes in a line of standard output.
    pub(super) fn line(&mut self, line: &str) {
        if self.begins_with_version.is_none() && !line.trim().is_empty() {
            let version = matches!(line.trim_end(), "TAP version 13" | "TAP version 14");
            self.begins_with_version = Some(version);
        }
        if self.yaml.is_some() && !line.is_empty() && !line.starts_with("  ") {
            // It has no end of its own.
            self.end_yaml();
        }
        if self.yaml.is_some() {
            self.yaml_line(line);
        } else if line.trim_end() == "  ---" {
            self.yaml = Some(Yaml::default());
        } else if let Some(reason) = line.trim_start().strip_prefix("Bail out!") {
            // Also from within a subtest.
            self.bailed_out = Some(reason.trim().to_owned());
        } else if let Some(inner) = line.strip_prefix("    ")
            && self.depth < DEEPEST
        {
            // All of them together take no more than this one.
            let (room, depth) = (self.room / 2, self.depth + 1);
            let subtest = || Box::new(Self { room, depth, ..Self::default() });
            self.subtest.get_or_insert_with(subtest).line(inner);
        } else if let Some((number, point)) = point(line, self.found + 1) {
            self.numbers.push(number);
            self.point(point);
        } else if self.plan.is_none() {
            self.plan = plan(line);
        }
    }

    fn yaml_line(&mut self, line: &str) {
        if line.trim_end() == "  ..." {
            self.end_yaml();
        } else if let Some(yaml) = &mut self.yaml {
            let text = line.strip_prefix("  ").unwrap_or(line);
            yaml.bytes += text.len() + size_of::<String>();
            if yaml.bytes <= self.room {
                yaml.lines.push(text.to_owned());
            }
        }
    }

    fn end_yaml(&mut self) {
        let lines = self.yaml.take().unwrap_or_default().lines;
        let (message, location) = (lines.join("\n"), location(&lines));
        self.diagnose(Failure { message, location });
    }

    fn point(&mut self, point: SubResult) {
        self.found += 1;
        let subtest = self.subtest.take();
        let inner = subtest.as_ref().and_then(|subtest| subtest.problem());
        for part in subtest.into_iter().flat_map(|subtest| subtest.points) {
            self.keep(SubResult { name: format!("{}/{}", point.name, part.name), ..part });
        }
        let failed = matches!(point.outcome, Outcome::Failed(_));
        let name = point.name.clone();
        let failure = match &point.outcome {
            Outcome::Failed(failure) => Some(failure.clone()),
            _ => None,
        };
        let is_kept = self.keep(point);
        self.last = match (failed, is_kept) {
            (false, _) => Last::Fine,
            (true, true) => Last::Kept,
            (true, false) => Last::Dropped,
        };
        self.failed += usize::from(failed);
        if let (1, Some(failure)) = (self.failed, failure) {
            self.first_failure = Some((name, failure));
        }
        if let Some(inner) = inner {
            self.diagnose(inner);
            // What YAML says of the whole afterwards tells less.
            self.last = Last::Fine;
        }
    }

    fn keep(&mut self, part: SubResult) -> bool {
        let more = match &part.outcome {
            Outcome::Passed => 0,
            Outcome::Failed(failure) => failure.message.len(),
            Outcome::Skipped { reason } => reason.len(),
        };
        self.takes(part.name.len() + more + size_of::<SubResult>()) && {
            self.points.push(part);
            true
        }
    }

    /// Whether there is room for so much; if so, it is taken.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// What is known of the last point, if it failed.
    fn diagnose(&mut self, failure: Failure) {
        if self.last == Last::Fine {
            return;
        }
        if let (1, Some((_, first))) = (self.failed, &mut self.first_failure) {
            first.clone_from(&failure);
        }
        if self.last == Last::Kept
            && self.takes(failure.message.len())
            && let Some(SubResult { outcome, .. }) = self.points.last_mut()
        {
            *outcome = Outcome::Failed(failure);
        }
    }

    /// Why it failed, if it did.
    fn problem(&self) -> Option<Failure> {
        let message = if let Some(reason) = &self.bailed_out {
            format!("it bailed out: {reason}")
        } else if let Some((name, Failure { message, location })) = &self.first_failure {
            let more = match self.failed {
                1 => String::new(),
                failed => format!(" (and {} more)", failed - 1),
            };
            let message = format!("{name}{more}: {message}");
            return Some(Failure { message, location: location.clone() });
        } else {
            self.unplanned()?
        };
        Some(Failure { message, location: None })
    }

    fn unplanned(&self) -> Option<String> {
        let Some(Plan { count, .. }) = self.plan else {
            let why = "so nobody knows whether it is complete";
            return Some(format!("it wrote no plan (such as `1..4`), {why}"));
        };
        if count != self.found {
            return Some(format!("it planned {count} test points and wrote {}", self.found));
        }
        self.numbers.problem(count)
    }
}

impl Numbers {
    /// How many numbers that come before their turn are kept.
    const BEYOND: usize = 10_000;

    fn push(&mut self, number: usize) {
        if number == self.without_gap + 1 {
            self.without_gap = number;
            while self.beyond.remove(&(self.without_gap + 1)) {
                self.without_gap += 1;
            }
        } else if self.beyond.len() >= Self::BEYOND {
            self.unknown = true;
        } else if number <= self.without_gap || !self.beyond.insert(number) {
            self.twice.get_or_insert(number);
        }
    }

    /// What is wrong if there were so many, and were to be so many.
    fn problem(&self, count: usize) -> Option<String> {
        match (self.twice, self.beyond.last()) {
            (Some(0), _) => Some("it wrote test point 0, and the first one is 1".into()),
            (Some(twice), _) => Some(format!("it wrote test point {twice} twice")),
            (None, Some(last)) if !self.unknown => {
                Some(format!("it planned {count} test points and wrote one with number {last}"))
            }
            (None, _) => None,
        }
    }
}

/// Where it failed, as harnesses write it into a diagnosis: `file` and `line`, or one of `at` and `location` as
/// `file:line:column`.
fn location(yaml: &[String]) -> Option<Location> {
    let value = |keys: &[&str]| {
        let found = yaml.iter().filter_map(|line| line.trim().split_once(':'));
        let mut values = found.filter(|(key, _)| keys.contains(key)).map(|(_, value)| value.trim());
        values.find(|value| !value.is_empty()).map(|value| value.trim_matches(['"', '\'']))
    };
    let number = |text: &str| text.trim().parse().ok();
    let line = value(&["line", "lineNumber"]).and_then(number);
    if let (Some(file), Some(line)) = (value(&["file", "fileName", "filename"]), line) {
        let column = value(&["column", "columnNumber"]).and_then(number);
        return Some(Location { file: file.to_owned(), line, column });
    }
    let place = value(&["at", "location"])?;
    // `function (file:line:column)` is common.
    let place = place.rsplit_once('(').map_or(place, |(_, place)| place.trim_end_matches(')'));
    let (before, last) = place.rsplit_once(':')?;
    let last = number(last)?;
    let (file, line, column) = match before.rsplit_once(':') {
        Some((file, line)) if number(line).is_some() => (file, number(line)?, Some(last)),
        _ => (before, last, None),
    };
    Some(Location { file: file.to_owned(), line, column })
}

/// `ok 1 - name # SKIP reason`, and its number; `next` if it names none.
fn point(line: &str, next: usize) -> Option<(usize, SubResult)> {
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
    Some((number, SubResult { name, outcome, duration_ms: 0 }))
}

/// Splits `description # SKIP reason`. A `#` after a backslash is none.
fn directive(text: &str) -> (&str, Option<(&'static str, &str)>) {
    let hashes = text.match_indices('#').map(|(at, _)| at);
    for hash in hashes.filter(|at| !text[..*at].ends_with('\\')) {
        let rest = text[hash + 1..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, reason) = rest.split_at(letters);
        let word = match word.to_ascii_lowercase().as_str() {
            // `# skipped: reason` is common.
            "skip" | "skipped" => "skip",
            "todo" => "todo",
            _ => continue,
        };
        return (&text[..hash], Some((word, reason.trim_start_matches(':').trim())));
    }
    (text, None)
}

fn plan(line: &str) -> Option<Plan> {
    let rest = line.strip_prefix("1..")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    if digits == 0 {
        return None;
    }
    // More than can be counted are more than there can be.
    let count = rest[..digits].parse().unwrap_or(usize::MAX);
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
    use super::super::tests::{failure, judge, log};
    use super::*;
    use crate::model::Protocol;

    fn judged(code: u8, stdout: &str) -> Judgement {
        judge(Protocol::Tap, "a", Ended::Code(code), &log(stdout, ""))
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
            ("subtest/inner", Outcome::Passed),
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
            let (message, place) = failure(&judgement);
            assert_eq!(message, "sells: message: sold out\nat: shop.c:7");
            assert_eq!(place, Some(("shop.c", 7)));
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
            ("1..2\nok 1\nok 1\n", "test point 1 twice"),
            ("1..2\nok 1\nok 7\n", "one with number 7"),
            ("1..2\nok 2\nok 2\n", "test point 2 twice"),
            ("1..4\nok 2\nok 3\nok 1\nok 2\n", "test point 2 twice"),
            ("1..1\nok 0\n", "test point 0"),
            ("1..18446744073709551616\nok 1\n", "wrote 1"),
            // A diagnosis without an end.
            ("1..1\nok 1\n  ---\n  a: b\nnot ok 2 - sells\n", "sells: not ok"),
            ("1..2\nnot ok 1 - sells\n  ---\n  a: b\nok 2\n", "sells: a: b"),
            ("1..1\nok 1\n  ---\n  a: b\nBail out! gone\n", "bailed out: gone"),
            // Words that begin as directives do.
            ("1..1\nnot ok 1 - sells # skipjack\n", "sells # skipjack: not ok"),
            ("1..1\nnot ok 1 - sells # todolist\n", "sells # todolist: not ok"),
        ] {
            let judgement = judged(0, stdout);
            assert!(failure(&judgement).0.contains(told), "{stdout:?}: {judgement:?}");
        }
        assert_eq!(judged(2, "1..1\nok 1\n").cause, Some(Cause::Exit));
        assert_eq!(judged(2, "1..3\nok 1\n").cause, Some(Cause::Exit));
    }

    #[test]
    fn points_come_in_any_order() {
        assert_eq!(judged(0, "ok 2\nok 3\nok 1\n1..3\n").outcome, Outcome::Passed);
        let later = judged(0, "1..1\nnot ok 1 - fixes #12 # TODO later\n");
        assert_eq!(later.outcome, Outcome::Passed);
        assert_eq!(later.sub_results[0].name, "fixes #12");
    }

    #[test]
    fn a_failed_subtest_tells_what_failed_in_it() {
        let inner = "    # Subtest: pays\n    1..2\n    ok 1 - cash\n    not ok 2 - card\n      ---\n      \
                     file: pay.js\n      line: 3\n      ...\n";
        let outer = "  ---\n  error: 1 subtest failed\n  ...\n";
        let judgement =
            judged(1, &format!("TAP version 14\n{inner}not ok 1 - pays\n{outer}1..1\n"));
        assert_eq!(failure(&judgement), ("pays: card: file: pay.js\nline: 3", Some(("pay.js", 3))));
        let names: Vec<_> = judgement.sub_results.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["pays/cash", "pays/card", "pays"]);
        // However deep they lie.
        let deep: String = (0..99).rev().map(|at| format!("{}ok 1\n", "    ".repeat(at))).collect();
        assert_eq!(judged(0, &format!("1..1\n{deep}")).outcome, Outcome::Passed);
    }

    #[test]
    fn places_are_found_as_harnesses_write_them() {
        let place = |yaml: &str| {
            let lines: Vec<_> = yaml.lines().map(str::to_owned).collect();
            location(&lines).map(|at| (at.file, at.line, at.column))
        };
        let at = |file: &str, line, column| Some((file.to_owned(), line, column));
        assert_eq!(place("at:\n  line: 4\n  column: 2\n  file: a.js"), at("a.js", 4, Some(2)));
        assert_eq!(place("location: '/x/a.js:4:2'"), at("/x/a.js", 4, Some(2)));
        assert_eq!(place("at: Test.run (a.js:4:2)"), at("a.js", 4, Some(2)));
        assert_eq!(place("at: C:\\a.js:4"), at("C:\\a.js", 4, None));
        for none in ["", "at: somewhere", "file: a.js", "line: 4", "at: a:b"] {
            assert_eq!(place(none), None, "{none}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_still_counts() {
        let points = |failing: usize| {
            let point = |at| {
                format!("{}ok {at} - {}\n", if at == failing { "not " } else { "" }, "x".repeat(99))
            };
            format!("1..1000\n{}", (1..=1000).map(point).collect::<String>())
        };
        let judged = |text: &str| {
            let mut document = Document::keeping(4_000);
            text.lines().for_each(|line| document.line(line));
            super::judge(Ended::Code(0), &[], document)
        };
        let passed = judged(&points(0));
        assert_eq!(passed.outcome, Outcome::Passed);
        assert!((1..50).contains(&passed.sub_results.len()), "{}", passed.sub_results.len());
        let failed = judged(&points(900));
        assert!(failure(&failed).0.ends_with("xx: not ok"), "{failed:?}");
    }

    #[test]
    fn a_plan_of_none_skips() {
        assert_eq!(judged(0, "1..0 # SKIP no network\n"), Judgement::skipped("no network"));
        assert_eq!(judged(0, "1..0\n"), Judgement::skipped("it planned no test points"));
    }
}
