//! How a test or a suite stands by its results: the word for it, since when, its rates with their intervals,
//! and what changed when. What the words mean is told in docs/statistics.md.

use super::run::Fact;
use super::show;
use super::text::{self, Html};
use crate::model::SuiteId;
use crate::statistics::{
    Changed, Interval, Measure, Outcome, Report, Seen, Series, State, Window, report,
};
use crate::storage::{Page, Results, Storage, StorageError, StoredSeries};

/// How likely halves of one distribution may differ as much for a trend to be told.
const SURE: f64 = 0.01;
/// How many tests of each state are listed of a suite.
const LISTED: usize = 20;

/// How a test or a suite stands.
pub(super) struct Standing {
    /// `flaky` or `broken`; empty if it is neither.
    pub(super) chip: Html,
    /// Since when, and in which run it began.
    pub(super) since: Html,
    pub(super) facts: Vec<Fact>,
    pub(super) changes: Vec<Change>,
    /// How many clean runs it takes to be sure that it is mended; 0 if it is.
    pub(super) more: u64,
    pub(super) clean: u64,
    /// The part of the results that failed, in few words.
    pub(super) rate: Option<String>,
    /// How many results there are.
    pub(super) runs: u64,
}

/// Something that is different since a result.
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) since: Html,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) chance: String,
    pub(super) is_worse: bool,
}

impl Standing {
    /// How it stands by these results.
    pub(super) fn of(results: &Results) -> Self {
        let Results { series, kept } = results;
        let report = report(series, kept, &Window::default());
        let mended = report.confirmation;
        Self {
            chip: chip(series.state()),
            since: series.since().map(seen).unwrap_or_default(),
            facts: facts(series, &report),
            changes: changes(&report),
            runs: report.runs,
            more: mended.more,
            clean: mended.clean,
            rate: report.failure_rate.map(|rate| format!("{} of {}", interval(rate), report.runs)),
        }
    }
}

fn chip(state: State) -> Html {
    match state {
        State::Steady => Html::default(),
        State::Flaky => show::word("flaky", "flaky"),
        State::Broken => show::word("failed", "broken"),
    }
}

/// One result: its run, when, and what was tested.
fn seen(seen: &Seen) -> Html {
    let reference = seen.reference.as_deref().map(|it| text::guest(&text::start(it, 80)));
    let reference = reference.map(|it| format!(", {it}")).unwrap_or_default();
    let (run, number, at) = (seen.run, seen.number, show::ago(seen.at));
    let version: String = seen.version.to_string().chars().skip(7).take(8).collect();
    Html::made(format!(
        "<a href=\"/runs/{run}\">#{number}</a>, {at}{reference} \
         <span class=\"quiet\">version {version}</span>"
    ))
}

fn interval(Interval { rate, low, high }: Interval) -> String {
    format!("{} ({} to {})", show::percent(rate), show::percent(low), show::percent(high))
}

fn facts(series: &Series, report: &Report) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Option<Html>| {
        facts.extend(value.map(|value| Fact { name: text::guest(name), value }));
    };
    let runs = report.runs;
    let results = if runs == 1 { "result" } else { "results" };
    let of_all = |rate: Interval| text::guest(&format!("{} of {runs} {results}", interval(rate)));
    add("Fails", report.failure_rate.map(of_all));
    add(
        "Passes only on a further attempt",
        report.retry_rate.filter(|it| it.rate > 0.0).map(of_all),
    );
    let flips = report.flip_rate.filter(|rate| *rate > 0.0);
    let flips = flips.map(|rate| {
        let share = show::percent(rate);
        text::guest(&format!("{share} of results, while version and reference stayed the same"))
    });
    add("Changes between passed and failed", flips);
    let failing = series.failing_since.as_ref().filter(|_| series.failing > 1);
    let failing = failing.map(|first| {
        Html::made(format!("{} times in a row, since {}", series.failing, seen(first)))
    });
    add("Fails without a break", failing);
    add("Passed last", series.last_passed.as_ref().map(seen));
    add("Failed last", series.last_failed.as_ref().map(seen));
    let measure = |it: &Measure, in_words: fn(u64) -> String| {
        let trend = it.trend.filter(|trend| trend.p_value < SURE && trend.p50.abs() >= 0.05);
        let trend = trend.map(|trend| {
            let more = if trend.p50 > 0.0 { "more" } else { "less" };
            let by = show::percent(trend.p50.abs());
            format!("; the newer half of them takes {by} {more}")
        });
        let (half, most) = (in_words(it.p50), in_words(it.p95));
        text::guest(&format!("{half} typically, 95 % within {most}{}", trend.unwrap_or_default()))
    };
    add("Takes when it passes", report.duration.as_ref().map(|it| measure(it, show::duration)));
    add("Fuel when it passes", report.fuel.as_ref().map(|it| measure(it, show::number)));
    facts
}

fn changes(report: &Report) -> Vec<Change> {
    let change = |changed: &Changed, words: [&'static str; 2], in_words: fn(f64) -> String| {
        let is_worse = changed.after > changed.before;
        Change {
            what: words[usize::from(is_worse)],
            since: seen(&changed.since),
            before: format!("{} over {}", in_words(changed.before), changed.before_runs),
            after: format!("{} over {}", in_words(changed.after), changed.after_runs),
            chance: match changed.p_value {
                0.0 => "certain".into(),
                chance => show::percent(chance),
            },
            is_worse,
        }
    };
    let duration = |ms: f64| show::duration(ms as u64);
    let fuel = |fuel: f64| show::number(fuel as u64);
    let changes = [
        (
            &report.outcome_change,
            ["fails less often", "fails more often"],
            show::percent as fn(f64) -> String,
        ),
        (&report.duration_change, ["takes less long", "takes longer"], duration),
        (&report.fuel_change, ["uses less fuel", "uses more fuel"], fuel),
    ];
    let some = changes.into_iter();
    some.filter_map(|(it, words, in_words)| Some(change(it.as_ref()?, words, in_words))).collect()
}

/// A test that is flaky or broken.
pub(super) struct Unsteady {
    pub(super) suite: SuiteId,
    pub(super) name: Html,
    pub(super) path: String,
    pub(super) chip: Html,
    pub(super) since: Html,
    pub(super) results: String,
}

impl Unsteady {
    fn of(stored: &StoredSeries) -> Self {
        let StoredSeries { suite, test, series } = stored;
        let count = |outcome| series.recent.iter().filter(|it| it.0 == outcome).count();
        let parts = [
            (count(Outcome::Failed), "failed"),
            (count(Outcome::Retried), "passed only on a further attempt"),
        ];
        let some = parts.iter().filter(|(count, _)| *count > 0);
        let some: Vec<_> = some.map(|(count, what)| format!("{count} {what}")).collect();
        Self {
            suite: suite.clone(),
            name: text::name(&text::start(test, 200)),
            path: format!("/suites/{suite}/tests/{}", super::run::encoded(test)),
            chip: chip(series.state()),
            since: series.since().map(seen).unwrap_or_default(),
            results: format!("of the last {}: {}", series.recent.len(), some.join(", ")),
        }
    }
}

/// The tests that are broken, then those that are flaky: of one suite, or of all. Whether there are more than
/// are listed is told too.
pub(super) fn unsteady(
    storage: &Storage,
    suite: Option<&SuiteId>,
    states: &[State],
) -> Result<(Vec<Unsteady>, bool), StorageError> {
    let (mut all, mut more) = (Vec::new(), false);
    for state in states {
        let page = Page { limit: LISTED, cursor: None };
        let found = storage.tests_in(*state, suite, &page)?;
        more |= found.next_cursor.is_some();
        all.extend(found.items.iter().map(Unsteady::of));
    }
    Ok((all, more))
}
