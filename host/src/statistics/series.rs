//! What is known of a test, or of a suite, from its results one after the other: its last results, since when
//! it fails, and whether it is flaky or broken. Small, so that a list of tests costs as much as it is long.

mod packed;

use serde::{Deserialize, Serialize};

use super::{Confirmation, Outcome, Sample, Seen, quantile, runs_to_be_sure};
use crate::model::Digest;

/// Over so many of the last results a test is judged. Part of the words' meaning, so no setting.
pub(super) const JUDGED: usize = 100;
/// From so many changes between passed and failed on, with nothing else changed, a test becomes flaky. One
/// failure, of however many results, has two: the tested system may have been down.
const ALARM: u32 = 3;
/// With so few left among the last results, it is flaky no more.
const RECOVERED: u32 = 1;
/// From so many failures in a row on a test may be broken.
const IN_A_ROW: u64 = 3;
/// How unlikely as many must be in a test that fails as often as this one did before.
const UNLIKELY: f64 = 0.01;

/// The word for a test; never two at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Neither of the others.
    #[default]
    Steady,
    /// Its results change between passed and failed while nothing else changes.
    Flaky,
    /// It has been failing each time, more often than it would by itself.
    Broken,
}

impl State {
    /// Every state.
    pub const ALL: &[Self] = &[Self::Steady, Self::Flaky, Self::Broken];

    /// The word for it in JSON, in labels and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Flaky => "flaky",
            Self::Broken => "broken",
        }
    }
}

/// How many results there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All that count.
    pub runs: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that passed after a failed attempt.
    pub retried: u64,
}

/// One of the last results: how it ended, which of `conditions` it had, how long it took if it passed, and the
/// number of its run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief(pub Outcome, pub u32, pub Option<u64>, pub u64);

/// Something worth telling that a result brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "news")]
pub enum News {
    /// A suite failed that passed before, or for the first time.
    SuiteBecameFailing,
    /// A suite failed again.
    SuiteStillFailing,
    /// A suite passed that failed before.
    SuiteRecovered,
    /// A test is flaky that was not.
    TestBecameFlaky {
        /// Its name.
        test: String,
    },
}

impl News {
    /// What a result of a suite means, by whether the one before it failed. The one rule, for the metric and for
    /// what plugins are told.
    pub fn of_suite(failed_before: bool, failed: bool) -> Option<Self> {
        match (failed_before, failed) {
            (false, true) => Some(Self::SuiteBecameFailing),
            (true, true) => Some(Self::SuiteStillFailing),
            (true, false) => Some(Self::SuiteRecovered),
            (false, false) => None,
        }
    }

    /// Its name in JSON and in labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SuiteBecameFailing => "suite_became_failing",
            Self::SuiteStillFailing => "suite_still_failing",
            Self::SuiteRecovered => "suite_recovered",
            Self::TestBecameFlaky { .. } => "test_became_flaky",
        }
    }
}

/// What is known of a test, or of a suite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The place that the next result takes.
    pub next: u64,
    /// How many results are kept.
    pub kept: u64,
    /// How many there ever were.
    pub totals: Totals,
    /// The last results, the oldest first.
    pub recent: Vec<Brief>,
    /// Version and reference of results in `recent`, as half a digest of both.
    conditions: Vec<u64>,
    /// The last one.
    pub last: Option<Seen>,
    /// The last one that passed, after however many attempts.
    pub last_passed: Option<Seen>,
    /// The last one that failed.
    pub last_failed: Option<Seen>,
    /// The first of those that failed one after the other up to the last.
    pub failing_since: Option<Seen>,
    /// How many they are.
    pub failing: u64,
    /// How many passed at once, one after the other up to the last.
    pub clean: u64,
    /// Since when it is flaky.
    pub flaky_since: Option<Seen>,
    /// Only what came from this place on tells whether it is flaky.
    judged_from: u64,
}

impl Series {
    /// The word for it.
    pub fn state(&self) -> State {
        if self.is_broken() {
            State::Broken
        } else if self.flaky_since.is_some() {
            State::Flaky
        } else {
            State::Steady
        }
    }

    /// Since when that word holds, if it is flaky or broken.
    pub fn since(&self) -> Option<&Seen> {
        match self.state() {
            State::Steady => None,
            State::Flaky => self.flaky_since.as_ref(),
            State::Broken => self.failing_since.as_ref(),
        }
    }

    /// Whether the last result failed.
    pub fn is_failing(&self) -> bool {
        self.failing > 0
    }

    /// Takes in a further result.
    pub fn push(&mut self, sample: &Sample) {
        self.kept += 1;
        self.count(sample.outcome, 1);
        let place = self.next;
        self.next += 1;
        self.see(place, sample);
    }

    /// The same after a result in the middle was taken out or replaced: `kept` has those that are kept.
    /// What is older stays as it is known.
    pub fn again(&mut self, before: Option<Outcome>, now: Option<Outcome>, kept: &[(u64, Sample)]) {
        before.into_iter().for_each(|outcome| self.count(outcome, -1));
        now.into_iter().for_each(|outcome| self.count(outcome, 1));
        let from = kept.first().map_or(self.next, |(place, _)| *place);
        let older = |seen: &Option<Seen>| seen.clone().filter(|seen| seen.place < from);
        let mut again = Self {
            next: self.next,
            kept: kept.len() as u64,
            totals: self.totals,
            last: older(&self.last),
            last_passed: older(&self.last_passed),
            last_failed: older(&self.last_failed),
            failing_since: older(&self.failing_since),
            flaky_since: older(&self.flaky_since),
            judged_from: self.judged_from.min(from),
            ..Self::default()
        };
        if let Some(since) = &again.failing_since {
            again.failing = from - since.place;
        }
        kept.iter().for_each(|(place, sample)| again.see(*place, sample));
        *self = again;
    }

    /// A result that is no longer kept was taken out or replaced.
    pub fn recount(&mut self, before: Option<Outcome>, now: Option<Outcome>) {
        before.into_iter().for_each(|outcome| self.count(outcome, -1));
        now.into_iter().for_each(|outcome| self.count(outcome, 1));
    }

    fn count(&mut self, outcome: Outcome, more: i64) {
        let add = |count: &mut u64| *count = count.saturating_add_signed(more);
        add(&mut self.totals.runs);
        match outcome {
            Outcome::Passed => {}
            Outcome::Retried => add(&mut self.totals.retried),
            Outcome::Failed => add(&mut self.totals.failed),
        }
    }

    fn see(&mut self, place: u64, sample: &Sample) {
        let seen = Seen::of(place, sample);
        if sample.outcome == Outcome::Failed {
            self.failing_since.get_or_insert_with(|| seen.clone());
            self.failing += 1;
            self.last_failed = Some(seen.clone());
        } else {
            (self.failing_since, self.failing) = (None, 0);
            self.last_passed = Some(seen.clone());
        }
        self.clean = if sample.outcome.is_bad() { 0 } else { self.clean + 1 };
        self.last = Some(seen.clone());
        self.mark(sample);
        let changes = self.changes();
        if self.flaky_since.is_none() {
            if changes >= ALARM {
                self.flaky_since = Some(seen);
            }
        } else if changes <= RECOVERED || self.to_be_sure() == 0 {
            self.flaky_since = None;
            self.judged_from = place + 1;
        }
    }

    fn mark(&mut self, sample: &Sample) {
        if self.recent.len() == JUDGED {
            self.recent.remove(0);
        }
        let condition = condition(&sample.version, sample.reference.as_deref());
        let found = self.conditions.iter().position(|it| *it == condition);
        let at = found.unwrap_or_else(|| {
            self.forget_conditions();
            self.conditions.push(condition);
            self.conditions.len() - 1
        });
        self.recent.push(Brief(sample.outcome, at as u32, sample.duration_ms, sample.number));
    }

    /// Leaves out the conditions that no result has any more.
    fn forget_conditions(&mut self) {
        let mut kept = Vec::new();
        for Brief(_, at, ..) in &mut self.recent {
            let condition = self.conditions[*at as usize];
            let place = kept.iter().position(|it| *it == condition).unwrap_or_else(|| {
                kept.push(condition);
                kept.len() - 1
            });
            *at = place as u32;
        }
        self.conditions = kept;
    }

    /// The results by which it is judged.
    fn judged(&self) -> &[Brief] {
        let count = (self.next - self.judged_from.min(self.next)) as usize;
        &self.recent[self.recent.len().saturating_sub(count)..]
    }

    /// How often results of one version and reference changed between passed and failed. One that passed
    /// after a failed attempt is both.
    pub(super) fn changes(&self) -> u32 {
        let mut last: Vec<Option<bool>> = vec![None; self.conditions.len()];
        let mut changes = 0;
        for Brief(outcome, condition, ..) in self.judged() {
            let last = &mut last[*condition as usize];
            let steps: &[bool] = match outcome {
                Outcome::Passed => &[true],
                Outcome::Retried => &[false, true],
                Outcome::Failed => &[false],
            };
            for passed in steps {
                changes += u32::from(last.is_some_and(|last| last != *passed));
                *last = Some(*passed);
            }
        }
        changes
    }

    fn is_broken(&self) -> bool {
        if self.failing < IN_A_ROW {
            return false;
        }
        let failing = usize::try_from(self.failing).unwrap_or(usize::MAX);
        let before = &self.recent[..self.recent.len().saturating_sub(failing)];
        let failed = before.iter().filter(|mark| mark.0 == Outcome::Failed).count();
        let rate = failed as f64 / before.len().max(1) as f64;
        rate.powf(self.failing as f64) <= UNLIKELY
    }

    /// How often it had bad results among those by which it is judged, up to the last bad one; and of how
    /// many.
    pub(super) fn bad_of(&self) -> (u64, u64) {
        let judged = self.judged();
        let up_to = judged.iter().rposition(|mark| mark.0.is_bad()).map_or(0, |at| at + 1);
        let bad = judged[..up_to].iter().filter(|mark| mark.0.is_bad()).count();
        (bad as u64, up_to as u64)
    }

    /// How many more clean runs make 95 % sure that it is mended; 0 if it is not known to fail, or they
    /// were there.
    pub(super) fn to_be_sure(&self) -> u64 {
        let (bad, all) = self.bad_of();
        runs_to_be_sure(bad, all).saturating_sub(self.clean)
    }

    /// What it takes to be 95 % sure that it is mended.
    pub fn confirmation(&self) -> Confirmation {
        let (bad, of) = self.bad_of();
        Confirmation { bad, of, clean: self.clean, more: self.to_be_sure() }
    }

    /// How long it takes when it passes: the median of the last results.
    pub fn typical_duration_ms(&self) -> Option<u64> {
        let mut took: Vec<u64> = self.recent.iter().filter_map(|mark| mark.2).collect();
        took.sort_unstable();
        quantile(&took, 0.5)
    }
}

fn condition(version: &Digest, reference: Option<&str>) -> u64 {
    let mut text = version.as_bytes().to_vec();
    text.push(u8::from(reference.is_some()));
    text.extend_from_slice(reference.unwrap_or_default().as_bytes());
    let digest = Digest::of(&text);
    let mut half = [0; 8];
    half.copy_from_slice(&digest.as_bytes()[..8]);
    // JSON numbers of 53 bits are exact everywhere.
    u64::from_be_bytes(half) >> 11
}

#[cfg(test)]
mod tests;
