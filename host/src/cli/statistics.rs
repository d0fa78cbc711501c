//! `handoff stats` and `handoff flaky`: what many results come to.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs, read};
use super::exit::{Exit, Failure};
use super::terminal::{Look, Style, safe_line};
use super::{Output, Surroundings};
use crate::http::views::{
    ChangeView, FailureGroupView, IntervalView, List, MarkView, MeasureView, SeenView,
    StandingView, StatisticsView,
};
use crate::model::{Digest, SuiteId};
use crate::statistics::{Outcome, State};

#[derive(Args)]
pub(super) struct StatsArgs {
    /// The suite: `namespace/name`, or a name in the namespace `default`
    suite: SuiteId,
    /// One of its tests; without it, the suite's runs, and how each test stands
    test: Option<String>,
    /// Over the last so many results, or those of so long: `100`, or `7d` [default: all that are kept]
    #[arg(long)]
    window: Option<String>,
    /// Only results of this version
    #[arg(long, value_name = "sha256:…")]
    version: Option<Digest>,
    /// Only results with this reference
    #[arg(long)]
    reference: Option<String>,
    /// Show the suite's failures that are the same as groups
    #[arg(long, conflicts_with_all = ["test", "window", "version", "reference"])]
    failures: bool,
    /// How many tests, or groups of failures, at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args)]
pub(super) struct FlakyArgs {
    /// Only of this suite
    suite: Option<SuiteId>,
    /// Start as many rounds of this test as make 95 % sure that it is mended
    #[arg(long, value_name = "TEST", requires = "suite", conflicts_with = "broken")]
    confirm: Option<String>,
    /// Show the tests that are broken
    #[arg(long)]
    broken: bool,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How to write the result
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl StatsArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let look = surroundings.out;
        let (namespace, name) = (self.suite.namespace.to_string(), self.suite.name.to_string());
        let suite = ["suites", &namespace, &name];
        let limit = [("limit", self.limit.to_string())];
        if self.failures {
            let path = [suite.as_slice(), &["failures"]].concat();
            let groups: Value = client.get(&path, &limit).await?;
            return self.write(groups, |out, json| {
                let groups: List<FailureGroupView> = read(json)?;
                groups.items.iter().try_for_each(|group| write_group(out, look, group))?;
                more(out, groups.next_cursor.is_some())
            });
        }
        let version = self.version.map(|version| version.to_string());
        let query = [
            ("window", self.window.clone()),
            ("version", version),
            ("reference", self.reference.clone()),
        ];
        let query: Vec<_> = query.into_iter().filter_map(|(key, it)| Some((key, it?))).collect();
        let own: &[&str] = match &self.test {
            Some(test) => &["tests", test, "statistics"],
            None => &["statistics"],
        };
        let statistics: Value = client.get(&[suite.as_slice(), own].concat(), &query).await?;
        if self.test.is_some() || self.output == Output::Json {
            return self.write(statistics, |out, json| write_statistics(out, look, &read(json)?));
        }
        let path = [suite.as_slice(), &["statistics", "tests"]].concat();
        let tests: List<StandingView> = client.get(&path, &limit).await?;
        self.write(statistics, |out, json| {
            write_statistics(out, look, &read(json)?)?;
            writeln!(out)?;
            tests.items.iter().try_for_each(|test| write_standing(out, look, test, false))?;
            more(out, tests.next_cursor.is_some())
        })
    }

    fn write(
        &self,
        json: Value,
        human: impl FnOnce(&mut std::io::StdoutLock<'static>, Value) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        write(self.output, json, human)
    }
}

impl FlakyArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let client = Client::new(&self.server)?;
        let look = surroundings.out;
        if let (Some(test), Some(suite)) = (&self.confirm, &self.suite) {
            let (namespace, name) = (suite.namespace.to_string(), suite.name.to_string());
            let path = ["suites", &namespace, &name, "tests", test, "confirm"];
            let run: Value = client.create(&path, &json!({})).await?;
            return write(self.output, run, |out, run| {
                let (number, id) = (&run["number"], run["id"].as_str().unwrap_or_default());
                writeln!(
                    out,
                    "Started {suite}#{number} ({id}): follow it with `handoff logs {id}`."
                )?;
                Ok(())
            });
        }
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.suite.as_ref().map(|suite| ("suite", suite.to_string())));
        let state = if self.broken { "broken" } else { "flaky" };
        let tests: Value = client.get(&["statistics", state], &query).await?;
        write(self.output, tests, |out, json| {
            let tests: List<StandingView> = read(json)?;
            if tests.items.is_empty() {
                writeln!(out, "No test is {state}.")?;
            }
            tests.items.iter().try_for_each(|test| write_standing(out, look, test, true))?;
            more(out, tests.next_cursor.is_some())
        })
    }
}

fn write(
    output: Output,
    json: Value,
    human: impl FnOnce(&mut std::io::StdoutLock<'static>, Value) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{json:#}")?,
        Output::Human => human(&mut out, json)?,
    }
    Ok(Exit::Passed)
}

fn more(out: &mut impl Write, are_more: bool) -> Result<(), Failure> {
    if are_more {
        writeln!(out, "There are more: --limit shows more of them.")?;
    }
    Ok(())
}

fn state(look: Look, state: State) -> String {
    let style = match state {
        State::Steady => Style::Good,
        State::Flaky => Style::Notable,
        State::Broken => Style::Bad,
    };
    look.paint(style, &format!("{:<6}", state.as_str())).to_string()
}

/// The last results as a strip: `.` passed, `r` passed after a failed attempt, `x` failed.
fn strip(standing: &StandingView) -> String {
    let sign = |outcome| match outcome {
        Outcome::Passed => '.',
        Outcome::Retried => 'r',
        Outcome::Failed => 'x',
    };
    standing.recent.iter().map(|mark| sign(mark.outcome)).collect()
}

fn write_standing(
    out: &mut impl Write,
    look: Look,
    standing: &StandingView,
    with_suite: bool,
) -> Result<(), Failure> {
    let suite = format!("{}/{} ", standing.suite.namespace, standing.suite.name);
    let suite = if with_suite { suite } else { String::new() };
    let test = safe_line(standing.test.as_deref().unwrap_or_default());
    let passed = standing.pass_rate.map(percent).unwrap_or_default();
    let took = standing.typical_duration_ms.map(|ms| format!("{ms} ms")).unwrap_or_default();
    let since = standing.since.as_ref().map(|seen| format!("  since {}", place(seen)));
    let sure = match (standing.state, standing.confirmation.more_runs) {
        (State::Flaky, runs) => format!("  {runs} clean runs to be sure"),
        _ => String::new(),
    };
    let (state, strip) = (state(look, standing.state), strip(standing));
    let name = look.paint(Style::Name, &format!("{suite}{test}"));
    let since = since.unwrap_or_default();
    let mark = standing.mark.as_ref().map(|mark| format!("  [{}]", marked(mark)));
    let mark = mark.unwrap_or_default();
    writeln!(out, "{state} {strip:>30} {passed:>6} passed {took:>9}  {name}{mark}{since}{sure}")?;
    Ok(())
}

/// What is said of a test, in a few words.
fn marked(mark: &MarkView) -> String {
    let until = mark.until.map(|until| format!(" until {}", until.strftime("%F")));
    format!("{}{}", mark.kind.as_str().replace('_', " "), until.unwrap_or_default())
}

fn write_statistics(
    out: &mut impl Write,
    look: Look,
    statistics: &StatisticsView,
) -> Result<(), Failure> {
    let StatisticsView { standing, window } = statistics;
    let name = format!("{}/{}", standing.suite.namespace, standing.suite.name);
    let test = standing.test.as_ref().map(|test| format!(" {}", safe_line(test)));
    let name = look.paint(Style::Name, &format!("{name}{}", test.unwrap_or_default())).to_string();
    let since = standing.since.as_ref().map(|seen| format!(" since {}", place(seen)));
    let state = state(look, standing.state);
    writeln!(
        out,
        "{name}: {}{}  {}",
        state.trim_end(),
        since.unwrap_or_default(),
        strip(standing)
    )?;
    if let Some(mark) = &standing.mark {
        writeln!(out, "  {}: {}", marked(mark), safe_line(&mark.reason))?;
    }
    let cut = if window.cut { " (older ones are no longer kept)" } else { "" };
    writeln!(out, "  results          {}, {} failed{cut}", window.runs, window.failed)?;
    let rates = [("failure rate", window.failure_rate), ("passed on retry", window.retry_rate)];
    for (what, rate) in rates.into_iter().filter_map(|(what, rate)| Some((what, rate?))) {
        writeln!(out, "  {what:<16} {}", interval(rate))?;
    }
    if let Some(rate) = window.flip_rate {
        writeln!(out, "  flip rate        {}", percent(rate))?;
    }
    let measures = [("duration", &window.duration_ms, " ms"), ("fuel", &window.fuel, "")];
    for (what, measure, unit) in measures {
        if let Some(measure) = measure {
            writeln!(out, "  {what:<16} {}", measured(measure, unit))?;
        }
    }
    let seen = [
        ("last passed", &standing.last_passed),
        ("last failed", &standing.last_failed),
        ("failing since", &standing.failing_since),
    ];
    for (what, seen) in seen {
        if let Some(seen) = seen {
            writeln!(out, "  {what:<16} {}", place(seen))?;
        }
    }
    write_changes(out, statistics)
}

fn write_changes(out: &mut impl Write, statistics: &StatisticsView) -> Result<(), Failure> {
    let StatisticsView { standing, window } = statistics;
    let value = |value: f64| format!("{value}");
    let ms = |value: f64| format!("{value} ms");
    if let Some(change) = &window.outcome_change {
        writeln!(out, "  {}", changed("has a failed attempt in", change, percent))?;
    }
    if let Some(change) = &window.duration_change {
        writeln!(out, "  {}", changed("takes", change, ms))?;
    }
    if let Some(change) = &window.fuel_change {
        writeln!(out, "  {}", changed("uses fuel", change, value))?;
    }
    let sure = &standing.confirmation;
    if sure.more_runs > 0 {
        let runs = sure.more_runs;
        writeln!(out, "  {runs} more clean runs make 95 % sure that it is mended.")?;
    }
    Ok(())
}

fn changed(what: &str, change: &ChangeView, value: impl Fn(f64) -> String) -> String {
    let ChangeView { since, before, after, p_value, .. } = change;
    let certain = match *p_value {
        0.0 => "certain".to_owned(),
        p => format!("p = {p:.1e}"),
    };
    format!(
        "{what} {} before, {} since {} ({certain})",
        value(*before),
        value(*after),
        place(since)
    )
}

fn place(seen: &SeenView) -> String {
    let reference = seen.reference.as_deref().map(|text| format!(", {}", safe_line(text)));
    let (at, version) = (seen.at.strftime("%F %T"), seen.version.hex());
    format!("#{} ({at}, sha256:{version:.12}{})", seen.number, reference.unwrap_or_default())
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn interval(interval: IntervalView) -> String {
    let IntervalView { rate, low, high } = interval;
    format!("{} ({} to {})", percent(rate), percent(low), percent(high))
}

fn measured(measure: &MeasureView, unit: &str) -> String {
    let MeasureView { p50, p95, trend, .. } = measure;
    let trend = trend.map(|trend| {
        format!(", newer half {:+.1} % (p = {:.2})", trend.p50 * 100.0, trend.p_value)
    });
    format!("p50 {p50}{unit}, p95 {p95}{unit}{}", trend.unwrap_or_default())
}

fn write_group(out: &mut impl Write, look: Look, group: &FailureGroupView) -> Result<(), Failure> {
    let location =
        group.location.as_ref().map(|at| format!(" at {}:{}", safe_line(&at.file), at.line));
    let (count, cause) = (group.count, group.cause.as_str());
    let message = look.paint(Style::Name, &safe_line(&group.message)).to_string();
    writeln!(out, "{count:>6} × {cause}: {message}{}", location.unwrap_or_default())?;
    let tests: Vec<_> = group.tests.iter().map(|test| safe_line(test)).collect();
    let others = if group.more_tests { " and others" } else { "" };
    let (first, last) = (&group.first, &group.last);
    let at = |at: jiff::Timestamp| at.strftime("%F %T").to_string();
    writeln!(out, "         {}{others}", tests.join(", "))?;
    writeln!(
        out,
        "         #{} {} to #{} {}",
        first.number,
        at(first.at),
        last.number,
        at(last.at)
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u64) -> Value {
        json!({
            "run": "01010101-0101-0101-0101-010101010101", "number": number,
            "at": "2026-01-02T03:04:05Z", "version": Digest::of(b""), "reference": "main",
        })
    }

    fn statistics() -> StatisticsView {
        let change = json!({
            "since": seen(12), "previous": seen(11), "before": 0.02, "after": 0.4,
            "before_runs": 11, "after_runs": 20, "p_value": 0.00012,
        });
        let rate = json!({"rate": 0.25, "low": 0.1, "high": 0.4});
        let json = json!({
            "suite": {"namespace": "team", "name": "hello"}, "test": "log\u{1b}[2Jin",
            "state": "flaky", "since": seen(12), "last": seen(31), "last_passed": seen(31),
            "last_failed": seen(30), "failing_since": null, "failing": 0, "pass_rate": 0.75,
            "typical_duration_ms": 120, "totals": {"runs": 31, "failed": 5, "retried": 3},
            "recent": [
                {"number": 29, "outcome": "retried", "duration_ms": 5},
                {"number": 30, "outcome": "failed", "duration_ms": null},
                {"number": 31, "outcome": "passed", "duration_ms": 5},
            ],
            "confirmation": {"bad": 8, "of": 30, "clean": 1, "more_runs": 9},
            "mark": {
                "kind": "expected_to_fail", "reason": "not\nbuilt", "by": null,
                "since": "2026-01-02T03:04:05Z", "until": "2027-01-02T03:04:05Z",
            },
            "window": {
                "runs": 31, "failed": 5, "retried": 3, "attempts": 34, "failed_attempts": 8,
                "failure_rate": rate, "retry_rate": rate, "flip_rate": 0.1,
                "duration_ms": {
                    "count": 26, "p50": 120, "p95": 300,
                    "trend": {"p50": 0.1, "p95": 0.2, "p_value": 0.03},
                },
                "fuel": {"count": 26, "p50": 1000, "p95": 1001, "trend": null},
                "outcome_change": change, "duration_change": null,
                "fuel_change": {
                    "since": seen(20), "previous": seen(19), "before": 1000, "after": 1001,
                    "before_runs": 10, "after_runs": 5, "p_value": 0,
                },
                "first": seen(1), "last": seen(31), "cut": true,
            },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn statistics_are_told_in_words() {
        let mut out = Vec::new();
        write_statistics(&mut out, Look::PLAIN, &statistics()).unwrap();
        write_standing(&mut out, Look::PLAIN, &statistics().standing, true).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_group_of_failures_has_three_lines() {
        let group = json!({
            "fingerprint": "00", "cause": "panic", "message": "got <n>", "example": "got 1",
            "location": {"file": "src/a.rs", "line": 7, "column": null}, "count": 12,
            "tests": ["a", "b"], "more_tests": true,
            "first": {"at": "2026-01-02T03:04:05Z", "run": "01010101-0101-0101-0101-010101010101", "number": 1, "test": "a"},
            "last": {"at": "2026-01-03T03:04:05Z", "run": "01010101-0101-0101-0101-010101010101", "number": 9, "test": "b"},
        });
        let mut out = Vec::new();
        write_group(&mut out, Look::PLAIN, &serde_json::from_value(group).unwrap()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
