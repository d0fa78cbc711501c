//! Answers to questions over a window of results.

use jiff::Timestamp;

use super::ranks::rank_test;
use super::{
    Interval, LevelChange, Outcome, Sample, Seen, Series, last_fuel_change, last_level_change,
    last_rate_change, quantile, wilson,
};
use crate::model::Digest;

/// By how much durations must differ for a change to be told, in milliseconds: less is the machine's.
const DURATION_MS: u64 = 10;
/// From so many values on there is a trend.
const TREND: usize = 10;

/// Which results to look at: those with all of what is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// The last so many.
    pub results: Option<usize>,
    /// Those since then.
    pub since: Option<Timestamp>,
    /// Of this version.
    pub version: Option<Digest>,
    /// With exactly this reference.
    pub reference: Option<String>,
}

/// How values are distributed.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// How many there are.
    pub count: u64,
    /// Half of them are not larger.
    pub p50: u64,
    /// 95 % of them are not larger.
    pub p95: u64,
    /// How the newer half of them differs from the older one, if there are enough.
    pub trend: Option<Shift>,
}

/// How the newer half of values differs from the older one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// By which part of itself the median changed.
    pub p50: f64,
    /// By which part of itself the 95th percentile changed.
    pub p95: f64,
    /// How likely halves of one distribution differ as much, by their ranks.
    pub p_value: f64,
}

/// Since when something is different.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The last result before the change.
    pub previous: Seen,
    /// The first one after it.
    pub since: Seen,
    /// The rate of bad results, or the median, before.
    pub before: f64,
    /// From then on.
    pub after: f64,
    /// Over how many results before.
    pub before_runs: u64,
    /// Over how many from then on.
    pub after_runs: u64,
    /// How likely it looks like this without a change; 0 if it is certain.
    pub p_value: f64,
}

/// What it takes to be 95 % sure that a test is mended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confirmation {
    /// How many bad results it had up to the last one, of those by which it is judged.
    pub bad: u64,
    /// Of how many.
    pub of: u64,
    /// How many clean ones came since.
    pub clean: u64,
    /// How many more are needed.
    pub more: u64,
}

/// What the results in a window come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How many there are.
    pub runs: u64,
    /// How many failed.
    pub failed: u64,
    /// How many passed after a failed attempt.
    pub retried: u64,
    /// How many attempts they took.
    pub attempts: u64,
    /// How many of these failed.
    pub failed_attempts: u64,
    /// The part that failed.
    pub failure_rate: Option<Interval>,
    /// The part that passed after a failed attempt.
    pub retry_rate: Option<Interval>,
    /// How often two results in a row with the same version and reference differ in whether they failed; none
    /// if there are no two.
    pub flip_rate: Option<f64>,
    /// How long the attempts took that passed, in milliseconds.
    pub duration: Option<Measure>,
    /// The fuel of those.
    pub fuel: Option<Measure>,
    /// Since when results are bad more, or less, often.
    pub outcome_change: Option<Changed>,
    /// Since when it takes longer, or less long.
    pub duration_change: Option<Changed>,
    /// Since when it uses more or less fuel.
    pub fuel_change: Option<Changed>,
    /// The first result of the window.
    pub first: Option<Seen>,
    /// The last one.
    pub last: Option<Seen>,
    /// Whether there may have been further ones in the window, which are no longer kept.
    pub cut: bool,
    /// What it takes to be sure that it is mended, whatever the window.
    pub confirmation: Confirmation,
}

/// The report over a window of what is kept, oldest first.
pub fn report(series: &Series, kept: &[(u64, Sample)], window: &Window) -> Report {
    let matches = |(_, sample): &&(u64, Sample)| {
        window.version.is_none_or(|version| version == sample.version)
            && window.reference.as_ref().is_none_or(|it| Some(it) == sample.reference.as_ref())
            && window.since.is_none_or(|since| since <= sample.at)
    };
    let mut chosen: Vec<&(u64, Sample)> = kept.iter().filter(matches).collect();
    let most = window.results.unwrap_or(usize::MAX);
    let is_full = chosen.len() >= most;
    chosen.drain(..chosen.len().saturating_sub(most));
    let reaches = window.since.is_some_and(|it| kept.first().is_some_and(|(_, at)| at.at < it));
    let cut = series.totals.runs > kept.len() as u64 && !is_full && !reaches;
    over(series, &chosen, cut)
}

fn over(series: &Series, chosen: &[&(u64, Sample)], cut: bool) -> Report {
    let count = |outcome| chosen.iter().filter(|(_, it)| it.outcome == outcome).count() as u64;
    let runs = chosen.len() as u64;
    let (failed, retried) = (count(Outcome::Failed), count(Outcome::Retried));
    let durations = Values::of(chosen, |sample| sample.duration_ms);
    let fuel = Values::of(chosen, |sample| sample.fuel);
    Report {
        runs,
        failed,
        retried,
        attempts: chosen.iter().map(|(_, it)| u64::from(it.attempts)).sum(),
        failed_attempts: chosen.iter().map(|(_, it)| u64::from(it.failed)).sum(),
        failure_rate: wilson(failed, runs),
        retry_rate: wilson(retried, runs),
        flip_rate: flip_rate(chosen),
        duration_change: durations.changed(last_level_change(&durations.values, DURATION_MS)),
        duration: durations.measure(),
        fuel_change: fuel.changed(last_fuel_change(&fuel.values)),
        fuel: fuel.measure(),
        outcome_change: outcome_change(chosen),
        first: chosen.first().map(|(place, sample)| Seen::of(*place, sample)),
        last: chosen.last().map(|(place, sample)| Seen::of(*place, sample)),
        cut,
        confirmation: series.confirmation(),
    }
}

fn flip_rate(chosen: &[&(u64, Sample)]) -> Option<f64> {
    let alike = |pair: &&[&(u64, Sample)]| {
        let condition = |at: usize| (&pair[at].1.version, &pair[at].1.reference);
        condition(0) == condition(1)
    };
    let failed = |it: &(u64, Sample)| it.1.outcome == Outcome::Failed;
    let pairs: Vec<_> = chosen.windows(2).filter(alike).collect();
    let flips = pairs.iter().filter(|pair| failed(pair[0]) != failed(pair[1])).count();
    (!pairs.is_empty()).then(|| flips as f64 / pairs.len() as f64)
}

fn outcome_change(chosen: &[&(u64, Sample)]) -> Option<Changed> {
    let bad: Vec<bool> = chosen.iter().map(|(_, sample)| sample.outcome.is_bad()).collect();
    let change = last_rate_change(&bad)?;
    let seen = |at: usize| Seen::of(chosen[at].0, &chosen[at].1);
    let rate = |(all, bad): (usize, usize)| bad as f64 / all as f64;
    Some(Changed {
        previous: seen(change.at - 1),
        since: seen(change.at),
        before: rate(change.before),
        after: rate(change.after),
        before_runs: change.before.0 as u64,
        after_runs: change.after.0 as u64,
        p_value: change.p_value,
    })
}

/// Numbers of those results that have one.
struct Values<'a> {
    values: Vec<u64>,
    of: Vec<&'a (u64, Sample)>,
}

impl<'a> Values<'a> {
    fn of(chosen: &[&'a (u64, Sample)], value: impl Fn(&Sample) -> Option<u64>) -> Self {
        let some = chosen.iter().filter_map(|it| Some((value(&it.1)?, *it)));
        let (values, of) = some.unzip();
        Self { values, of }
    }

    fn changed(&self, change: Option<LevelChange>) -> Option<Changed> {
        let LevelChange { at, before, after, p_value } = change?;
        let seen = |at: usize| Seen::of(self.of[at].0, &self.of[at].1);
        Some(Changed {
            previous: seen(at - 1),
            since: seen(at),
            before: before as f64,
            after: after as f64,
            before_runs: at as u64,
            after_runs: (self.values.len() - at) as u64,
            p_value,
        })
    }

    fn measure(&self) -> Option<Measure> {
        let (p50, p95) = percentiles(&self.values)?;
        Some(Measure { count: self.values.len() as u64, p50, p95, trend: self.trend() })
    }

    fn trend(&self) -> Option<Shift> {
        if self.values.len() < TREND {
            return None;
        }
        let half = self.values.len() / 2;
        let (older, newer) = self.values.split_at(half);
        let (before, after) = (percentiles(older)?, percentiles(newer)?);
        let part = |before: u64, after: u64| (after as f64 - before as f64) / before.max(1) as f64;
        Some(Shift {
            p50: part(before.0, after.0),
            p95: part(before.1, after.1),
            p_value: rank_test(&self.values, half),
        })
    }
}

fn percentiles(values: &[u64]) -> Option<(u64, u64)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    Some((quantile(&sorted, 0.5)?, quantile(&sorted, 0.95)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

    fn kept(count: usize, sample: impl Fn(usize) -> Sample) -> (Series, Vec<(u64, Sample)>) {
        let mut series = Series::default();
        let samples: Vec<_> = (0..count).map(sample).collect();
        samples.iter().for_each(|sample| series.push(sample));
        (series, (0..).zip(samples).collect())
    }

    fn sample(at: usize, outcome: Outcome) -> Sample {
        Sample {
            run: RunId::new(),
            number: at as u64 + 1,
            round: 1,
            at: Timestamp::from_second(at as i64 * 60).unwrap(),
            version: Digest::of(&[u8::from(at >= 60)]),
            reference: Some(if at.is_multiple_of(2) { "main" } else { "next" }.into()),
            outcome,
            attempts: 1 + u32::from(outcome == Outcome::Retried),
            failed: u32::from(outcome.is_bad()),
            duration_ms: (outcome != Outcome::Failed).then_some(100 + at as u64 % 7),
            fuel: (outcome != Outcome::Failed).then_some(if at < 60 { 1000 } else { 1001 }),
        }
    }

    #[test]
    fn a_report_counts_what_is_in_its_window() {
        let outcome = |at| match at % 10 {
            0 => Outcome::Failed,
            5 => Outcome::Retried,
            _ => Outcome::Passed,
        };
        let (series, kept) = kept(100, |at| sample(at, outcome(at)));
        let all = report(&series, &kept, &Window::default());
        assert_eq!((all.runs, all.failed, all.retried), (100, 10, 10));
        assert_eq!((all.attempts, all.failed_attempts, all.cut), (110, 20, false));
        assert_eq!(all.failure_rate.unwrap().rate, 0.1);
        assert_eq!(all.flip_rate, None, "each has another reference than the one before");
        let duration = all.duration.unwrap();
        assert_eq!((duration.count, duration.p50, duration.p95), (90, 103, 106));
        let last = report(&series, &kept, &Window { results: Some(10), ..Window::default() });
        assert_eq!((last.runs, last.failed, last.first.unwrap().number), (10, 1, 91));
        let main = Window { reference: Some("main".into()), ..Window::default() };
        let main = report(&series, &kept, &main);
        assert_eq!((main.runs, main.failed, main.retried), (50, 10, 0));
        // Of 50 results in a row, one has another version than the one before.
        assert_eq!(main.flip_rate.unwrap(), 18.0 / 48.0);
        let version = Window { version: Some(Digest::of(&[1])), ..Window::default() };
        assert_eq!(report(&series, &kept, &version).runs, 40);
        let since = Some(Timestamp::from_second(90 * 60).unwrap());
        assert_eq!(report(&series, &kept, &Window { since, ..Window::default() }).runs, 10);
    }

    #[test]
    fn a_report_says_since_when_it_is_otherwise() {
        let (series, kept) = kept(100, |at| match at {
            // The place at which the version changes.
            60.. if at % 2 == 0 => sample(at, Outcome::Failed),
            _ => sample(at, Outcome::Passed),
        });
        let report = report(&series, &kept, &Window::default());
        let outcome = report.outcome_change.unwrap();
        assert_eq!((outcome.previous.number, outcome.since.number), (60, 61));
        assert_eq!((outcome.before, outcome.since.version), (0.0, Digest::of(&[1])));
        assert!(outcome.after > 0.4 && outcome.p_value < 1e-6, "{outcome:?}");
        let fuel = report.fuel_change.unwrap();
        assert_eq!((fuel.before, fuel.after, fuel.p_value), (1000.0, 1001.0, 0.0));
        assert_eq!(fuel.since.number, 62, "the first one that passed");
        assert_eq!(report.duration_change, None);
        assert!(report.duration.unwrap().trend.unwrap().p_value > 0.01);
        assert_eq!((report.confirmation.bad, report.confirmation.clean), (20, 1));
    }

    #[test]
    fn a_window_that_reaches_further_than_what_is_kept_says_so() {
        let (series, kept) = kept(100, |at| sample(at, Outcome::Passed));
        let kept = &kept[50..];
        let cut = |window| report(&series, kept, &window).cut;
        assert!(cut(Window::default()));
        assert!(!cut(Window { results: Some(50), ..Window::default() }));
        assert!(cut(Window { results: Some(51), ..Window::default() }));
        let since = |minute: i64| Some(Timestamp::from_second(minute * 60).unwrap());
        assert!(!cut(Window { since: since(60), ..Window::default() }));
        assert!(cut(Window { since: since(40), ..Window::default() }));
    }

    #[test]
    fn nothing_comes_to_nothing() {
        let report = report(&Series::default(), &[], &Window::default());
        assert_eq!((report.runs, report.failure_rate, report.duration), (0, None, None));
    }
}
