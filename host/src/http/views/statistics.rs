//! Statistics as the API has them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LocationView, MarkView};
use crate::model::{Cause, Digest, Marks, RunId, SuiteId};
use crate::statistics::{
    Brief, Changed, Confirmation, Group, Interval, Measure, Outcome, Report, Seen, Series, Spot,
    State, Totals,
};
use crate::storage::{StoredGroup, StoredSeries};

/// How many of the last results are shown in a strip.
const STRIP: usize = 30;

/// A suite.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SuiteNames {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One result: where and when.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SeenView {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// When it had its verdict.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The version of the suite.
    #[schema(value_type = String)]
    pub version: Digest,
    /// What was tested.
    pub reference: Option<String>,
}

/// A rate with its 95 % Wilson interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct IntervalView {
    /// The rate that was seen, from 0 to 1.
    pub rate: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most that it may be.
    pub high: f64,
}

/// How values are distributed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct MeasureView {
    /// How many there are.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// How the newer half differs from the older one; null if there are fewer than ten.
    pub trend: Option<TrendView>,
}

/// How the newer half of values differs from the older one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct TrendView {
    /// By which part of itself the median changed: 0.1 is a tenth more.
    pub p50: f64,
    /// By which part of itself the 95th percentile changed.
    pub p95: f64,
    /// How likely halves of one distribution differ as much (rank test).
    pub p_value: f64,
}

/// Since when something is different.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The first result after the change.
    pub since: SeenView,
    /// The last one before it.
    pub previous: SeenView,
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
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfirmationView {
    /// How many results were bad, up to the last bad one.
    pub bad: u64,
    /// Of how many.
    pub of: u64,
    /// How many clean ones came since.
    pub clean: u64,
    /// How many more clean runs are needed.
    pub more_runs: u64,
}

/// How many results there ever were.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct TotalsView {
    /// All that count.
    pub runs: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that passed after a failed attempt.
    pub retried: u64,
}

/// One of the last results.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct BriefView {
    /// The number of the run.
    pub number: u64,
    /// `passed`, `retried` (passed after a failed attempt) or `failed`.
    #[schema(value_type = String, example = "passed")]
    pub outcome: Outcome,
    /// How long it took, if it passed.
    pub duration_ms: Option<u64>,
}

/// How a test, or a suite, stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StandingView {
    /// The suite.
    pub suite: SuiteNames,
    /// The test; null for the suite itself.
    pub test: Option<String>,
    /// `steady`, `flaky` or `broken`.
    #[schema(value_type = String, example = "steady")]
    pub state: State,
    /// Since when it is flaky or broken.
    pub since: Option<SeenView>,
    /// The last result.
    pub last: Option<SeenView>,
    /// The last one that passed.
    pub last_passed: Option<SeenView>,
    /// The last one that failed.
    pub last_failed: Option<SeenView>,
    /// The first of the failures that no passed result followed.
    pub failing_since: Option<SeenView>,
    /// How many failures these are.
    pub failing: u64,
    /// The part of the last 100 results that did not fail, from 0 to 1.
    pub pass_rate: Option<f64>,
    /// How long it takes when it passes: the median of the last 100 results.
    pub typical_duration_ms: Option<u64>,
    /// The last 30 results, the oldest first.
    pub recent: Vec<BriefView>,
    /// What it takes to be sure that it is mended.
    pub confirmation: ConfirmationView,
    /// How many results there ever were.
    pub totals: TotalsView,
    /// What is said of the test at present: that it is muted, disabled or expected to fail.
    #[serde(default)]
    pub mark: Option<MarkView>,
}

/// How a test, or a suite, stands, and what the results in a window come to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatisticsView {
    /// How it stands, whatever the window.
    #[serde(flatten)]
    pub standing: StandingView,
    /// What the results in the window come to.
    pub window: ReportView,
}

/// What the results in a window come to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// How many results there are.
    pub runs: u64,
    /// How many failed.
    pub failed: u64,
    /// How many passed after a failed attempt.
    pub retried: u64,
    /// How many attempts they took; of a suite: how many tests.
    pub attempts: u64,
    /// How many of these failed.
    pub failed_attempts: u64,
    /// The part that failed.
    pub failure_rate: Option<IntervalView>,
    /// The part that passed after a failed attempt.
    pub retry_rate: Option<IntervalView>,
    /// How often, of two results in a row with the same version and reference, one failed and one did not.
    pub flip_rate: Option<f64>,
    /// How long the attempts took that passed, in milliseconds.
    pub duration_ms: Option<MeasureView>,
    /// The fuel of those.
    pub fuel: Option<MeasureView>,
    /// Since when an attempt fails more, or less, often.
    pub outcome_change: Option<ChangeView>,
    /// Since when it takes longer, or less long.
    pub duration_change: Option<ChangeView>,
    /// Since when it uses more, or less, fuel.
    pub fuel_change: Option<ChangeView>,
    /// The first result of the window.
    pub first: Option<SeenView>,
    /// The last one.
    pub last: Option<SeenView>,
    /// Whether the window may have had further results that are no longer kept.
    pub cut: bool,
}

/// Failures with the same cause, message and place.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureGroupView {
    /// What tells the group from others.
    pub fingerprint: String,
    /// What ended the attempts.
    #[schema(value_type = String, example = "assertion")]
    pub cause: Cause,
    /// The message, where what differs each time is replaced by `<n>` or `<id>`.
    pub message: String,
    /// The message of the first failure, as it was.
    pub example: Option<String>,
    /// Where.
    pub location: Option<LocationView>,
    /// How many failures.
    pub count: u64,
    /// At which tests, the first 20.
    pub tests: Vec<String>,
    /// Whether there are more tests than are named.
    pub more_tests: bool,
    /// The first failure.
    pub first: SpotView,
    /// The last one.
    pub last: SpotView,
}

/// One failure.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SpotView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// In which run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// At which test.
    pub test: String,
}

impl From<&SuiteId> for SuiteNames {
    fn from(suite: &SuiteId) -> Self {
        Self { namespace: suite.namespace.to_string(), name: suite.name.to_string() }
    }
}

impl From<&Seen> for SeenView {
    fn from(seen: &Seen) -> Self {
        let Seen { run, number, at, version, reference, .. } = seen.clone();
        Self { run, number, at, version, reference }
    }
}

fn seen(seen: &Option<Seen>) -> Option<SeenView> {
    seen.as_ref().map(Into::into)
}

impl From<Interval> for IntervalView {
    fn from(Interval { rate, low, high }: Interval) -> Self {
        Self { rate, low, high }
    }
}

impl From<&Measure> for MeasureView {
    fn from(measure: &Measure) -> Self {
        let trend = measure.trend.map(|shift| TrendView {
            p50: shift.p50,
            p95: shift.p95,
            p_value: shift.p_value,
        });
        Self { count: measure.count, p50: measure.p50, p95: measure.p95, trend }
    }
}

impl From<&Changed> for ChangeView {
    fn from(changed: &Changed) -> Self {
        Self {
            since: (&changed.since).into(),
            previous: (&changed.previous).into(),
            before: changed.before,
            after: changed.after,
            before_runs: changed.before_runs,
            after_runs: changed.after_runs,
            p_value: changed.p_value,
        }
    }
}

impl From<Confirmation> for ConfirmationView {
    fn from(Confirmation { bad, of, clean, more }: Confirmation) -> Self {
        Self { bad, of, clean, more_runs: more }
    }
}

impl StandingView {
    /// How a test stands; with an empty name, the suite itself.
    pub fn of(suite: &SuiteId, test: &str, series: &Series) -> Self {
        let recent = &series.recent;
        let failed = recent.iter().filter(|mark| mark.0 == Outcome::Failed).count();
        let Totals { runs, failed: all_failed, retried } = series.totals;
        let mark =
            |mark: &Brief| BriefView { number: mark.3, outcome: mark.0, duration_ms: mark.2 };
        Self {
            suite: suite.into(),
            test: Some(test.to_owned()).filter(|test| !test.is_empty()),
            state: series.state(),
            since: series.since().map(Into::into),
            last: seen(&series.last),
            last_passed: seen(&series.last_passed),
            last_failed: seen(&series.last_failed),
            failing_since: seen(&series.failing_since),
            failing: series.failing,
            pass_rate: (!recent.is_empty()).then(|| 1.0 - failed as f64 / recent.len() as f64),
            typical_duration_ms: series.typical_duration_ms(),
            recent: recent[recent.len().saturating_sub(STRIP)..].iter().map(mark).collect(),
            confirmation: series.confirmation().into(),
            totals: TotalsView { runs, failed: all_failed, retried },
            mark: None,
        }
    }

    /// The same with what is said of the test at `now`, of all that is said of its suite.
    pub fn marked(self, marks: &Marks, now: Timestamp) -> Self {
        let mark = self.test.as_ref().and_then(|test| marks.get(test));
        let mark = mark.filter(|mark| mark.holds_at(now)).map(Into::into);
        Self { mark, ..self }
    }
}

impl From<&StoredSeries> for StandingView {
    fn from(stored: &StoredSeries) -> Self {
        Self::of(&stored.suite, &stored.test, &stored.series)
    }
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        Self {
            runs: report.runs,
            failed: report.failed,
            retried: report.retried,
            attempts: report.attempts,
            failed_attempts: report.failed_attempts,
            failure_rate: report.failure_rate.map(Into::into),
            retry_rate: report.retry_rate.map(Into::into),
            flip_rate: report.flip_rate,
            duration_ms: report.duration.as_ref().map(Into::into),
            fuel: report.fuel.as_ref().map(Into::into),
            outcome_change: report.outcome_change.as_ref().map(Into::into),
            duration_change: report.duration_change.as_ref().map(Into::into),
            fuel_change: report.fuel_change.as_ref().map(Into::into),
            first: seen(&report.first),
            last: seen(&report.last),
            cut: report.cut,
        }
    }
}

impl From<&Spot> for SpotView {
    fn from(spot: &Spot) -> Self {
        Self { at: spot.at, run: spot.run, number: spot.number, test: spot.test.clone() }
    }
}

impl From<&StoredGroup> for FailureGroupView {
    fn from(stored: &StoredGroup) -> Self {
        let Group { cause, message, example, location, count, tests, more_tests, first, last } =
            &stored.group;
        Self {
            fingerprint: hex::encode(stored.id),
            cause: *cause,
            message: message.clone(),
            example: example.clone(),
            location: location.as_ref().map(Into::into),
            count: *count,
            tests: tests.clone(),
            more_tests: *more_tests,
            first: first.into(),
            last: last.into(),
        }
    }
}
