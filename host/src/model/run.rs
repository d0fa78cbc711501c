//! A run as it stands: a fold over its events, and the verdict that follows.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Activity, Attempt, Attempts, ClearedAttempt, Clearing, Digest, EventKind, FirstFailure, Mark,
    MarkKind, OnFlaky, PlannedTest, Rounds, RunEvent, RunId, RunSpec, SuiteId, Tally, TestStatus,
};

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Accepted, not yet started.
    Queued,
    /// Under way.
    Running,
    /// Every test that counts passed, or was skipped.
    Passed,
    /// Setup, or the last attempt of a test that is not soft, failed.
    Failed,
    /// The platform could not finish it.
    Error,
    /// Somebody stopped it.
    Cancelled,
}

impl RunStatus {
    /// Every status.
    pub const ALL: &[Self] =
        &[Self::Queued, Self::Running, Self::Passed, Self::Failed, Self::Error, Self::Cancelled];

    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The word for it in JSON, in labels and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A part of a run that has attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the tests.
    Setup,
    /// A test, by name.
    Test(String),
    /// After the tests.
    Teardown,
}

/// How many tests ended in which way. Each test counts in one of `passed`, `failed`, `soft_failed`,
/// `skipped`, `error` and `cancelled`; `flaky` counts some of `passed` again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed, and that counts.
    pub failed: u64,
    /// Failed, and that does not count.
    pub soft_failed: u64,
    /// Skipped.
    pub skipped: u64,
    /// The platform's fault.
    pub error: u64,
    /// Stopped, or not begun when the run was stopped.
    pub cancelled: u64,
    /// Passed after a failed attempt.
    pub flaky: u64,
}

/// A test in a run as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// How it stands; over several rounds, the worst of them.
    pub status: TestStatus,
    /// Whether its failure does not fail the run: because it was declared so, or because each attempt
    /// that decided a failed round asked for it.
    pub soft: bool,
    /// Whether a round failed in a way that counts.
    pub failed_hard: bool,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// The attempts that ended.
    pub attempts: Attempts,
    /// What an operator said of it when the run was accepted.
    pub mark: Option<Mark>,
    /// In how many rounds it has its verdict.
    pub rounds_finished: u32,
    /// What these came to; what is retried is no further round.
    pub rounds: Tally,
}

impl Test {
    /// Whether it passed after a failed attempt of the same round. Platform errors do not count, nor does
    /// anything of a test that is muted.
    pub fn is_flaky(&self) -> bool {
        self.status == TestStatus::Passed && self.attempts.has_failed() && !self.is(MarkKind::Muted)
    }

    /// Whether that was said of it when the run was accepted.
    pub fn is(&self, kind: MarkKind) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.kind == kind)
    }
}

/// A run as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is to do.
    pub spec: RunSpec,
    /// How it stands.
    pub status: RunStatus,
    /// When it came into the queue: when it was accepted, or asked to be tried again.
    pub queued_at: Timestamp,
    /// When it first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the platform could not do, or why it was stopped.
    pub message: Option<String>,
    /// How long it was under way.
    pub activity: Activity,
    /// Attempts at setup that ended; a retry has its own.
    pub setup: Attempts,
    /// Attempts at teardown that ended; a retry has its own.
    pub teardown: Attempts,
    /// The tests in the order in which they run.
    pub tests: Vec<Test>,
    /// What its rounds came to.
    pub rounds: Rounds,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// How many verdicts were failures that count, in all rounds since it was accepted or asked to be tried
    /// again.
    pub failures: u64,
    /// How long attempts took that followed a failed one of the same round.
    pub retried_ms: u64,
    /// Why it counts in no statistics, if somebody took it out as a whole.
    pub cleared: Option<Clearing>,
    /// The attempts that began and have not ended: stage, round, number.
    pub under_way: Vec<(Stage, u32, u32)>,
    /// The number of the last event.
    pub last_seq: u64,
    /// When the last event happened.
    pub last_at: Timestamp,
    /// How many of its tests are tried.
    tried: usize,
    /// Where each test stands in `tests`.
    index: HashMap<String, usize>,
}

/// What a list shows of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub id: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// The suite.
    pub suite: SuiteId,
    /// The version.
    pub version: Digest,
    /// The archive of its fixtures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixtures: Option<Digest>,
    /// How it stands.
    pub status: RunStatus,
    /// What is being tested.
    pub reference: Option<String>,
    /// Who or what asked.
    pub initiated_by: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it was under way.
    pub activity: Activity,
    /// How many tests ended in which way; all zero until it ended.
    pub counts: Counts,
    /// Why it counts in no statistics, if somebody took it out as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<Clearing>,
}

impl RunSummary {
    /// How long it was under way in all; none until it ended, and if it never started.
    pub fn duration_ms(&self) -> Option<u64> {
        duration_ms(self.status, self.started_at, self.activity)
    }
}

fn duration_ms(
    status: RunStatus,
    started_at: Option<Timestamp>,
    activity: Activity,
) -> Option<u64> {
    (status.is_terminal() && started_at.is_some()).then(|| activity.ended_ms())
}

impl Run {
    /// A run that was just accepted. Keeps all its attempts: see [`keeping`](Self::keeping).
    pub fn new(spec: RunSpec) -> Self {
        let test = |planned: &PlannedTest| Test {
            name: planned.name.clone(),
            status: TestStatus::Pending,
            soft: planned.soft,
            failed_hard: false,
            reason: None,
            attempts: Attempts::keeping(usize::MAX),
            mark: planned.mark.clone(),
            rounds_finished: 0,
            rounds: Tally::default(),
        };
        Self {
            status: RunStatus::Queued,
            queued_at: spec.created_at,
            started_at: None,
            finished_at: None,
            message: None,
            activity: Activity::default(),
            setup: Attempts::keeping(usize::MAX),
            teardown: Attempts::keeping(usize::MAX),
            tests: spec.tests.iter().map(test).collect(),
            rounds: Rounds::default(),
            tried: spec.tests.iter().filter(|test| test.skip.is_none()).count(),
            cancel_requested: false,
            failures: 0,
            retried_ms: 0,
            cleared: None,
            under_way: Vec::new(),
            last_seq: 0,
            last_at: spec.created_at,
            index: spec.tests.iter().enumerate().map(|(at, t)| (t.name.clone(), at)).collect(),
            spec,
        }
    }

    /// The run with about so many attempts in sum from now on: the last ones of each test, with as large
    /// a share for each, and at least one. With 0 it keeps none.
    pub fn keeping(mut self, attempts: usize) -> Self {
        let share = (attempts / self.tests.len().max(1)).max(attempts.min(1));
        let tests = self.tests.iter_mut().map(|test| &mut test.attempts);
        tests.chain([&mut self.setup, &mut self.teardown]).for_each(|them| them.keep(share));
        self
    }

    /// Whether it had more attempts than it keeps.
    pub fn leaves_attempts_out(&self) -> bool {
        let tests = self.tests.iter().map(|test| &test.attempts);
        tests.chain([&self.setup, &self.teardown]).any(|attempts| !attempts.is_complete())
    }

    /// The run that these events tell of; none if the first is not `RunQueued`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Option<Self> {
        let mut events = events.into_iter();
        let first = events.next()?;
        let EventKind::RunQueued { spec } = &first.kind else { return None };
        let mut run = Self::new(spec.as_ref().clone());
        run.apply(first);
        events.for_each(|event| run.apply(event));
        Some(run)
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &RunEvent) {
        let last_at = std::mem::replace(&mut self.last_at, event.at);
        self.last_seq = event.seq;
        match &event.kind {
            EventKind::RunQueued { .. } => {}
            EventKind::RunStarted => {
                self.status = RunStatus::Running;
                self.rounds.resume();
                self.started_at.get_or_insert(event.at);
                self.activity.begin(event.at, last_at);
            }
            EventKind::AttemptStarted { stage, round, number } => {
                self.under_way.push((stage.clone(), *round, *number));
                if matches!(stage, Stage::Test(_)) {
                    self.rounds.begin(event.at);
                }
                if let Stage::Test(name) = stage
                    && let Some(test) = self.test_mut(name)
                    && test.status == TestStatus::Pending
                {
                    test.status = TestStatus::Running;
                }
            }
            EventKind::AttemptFinished { stage, attempt } => self.finish_attempt(stage, attempt),
            EventKind::TestFinished { test, round, status, reason } => {
                let (declared, mut counts) = (self.declared_soft(test), false);
                self.tally(test, *round, *status, event.at);
                if let Some(test) = self.test_mut(test) {
                    test.rounds_finished += 1;
                    let earlier = test.status.is_terminal().then_some(test.status);
                    test.status = worst(earlier, *status);
                    test.reason.clone_from(reason);
                    let of_round = test.attempts.round(*round);
                    let is_expected = test.is(MarkKind::ExpectedToFail)
                        && matches!(of_round.last, Some((TestStatus::Failed, _)));
                    let asked = of_round.soft || is_expected;
                    counts = *status == TestStatus::Failed && !declared && !asked;
                    test.failed_hard |= counts;
                    let failed = test.status == TestStatus::Failed;
                    test.soft = declared || (failed && !test.failed_hard);
                    test.attempts.decided();
                }
                self.failures += u64::from(counts);
            }
            // A request that comes after the end changes nothing.
            EventKind::CancelRequested { .. } if self.status.is_terminal() => {}
            EventKind::CancelRequested { by } => {
                self.cancel_requested = true;
                self.message = by.as_ref().map(|by| format!("cancelled by {by}"));
            }
            EventKind::RetryRequested { tests, .. } => self.retry(tests, event.at),
            EventKind::RunFinished { status, message, .. } => {
                self.status = *status;
                self.rounds.close(self.rounds_begun());
                self.finished_at = Some(event.at);
                self.activity.end(event.at);
                if message.is_some() {
                    self.message.clone_from(message);
                }
            }
            EventKind::Cleared { test, attempt, reason, by, .. } => {
                let why = Clearing { reason: reason.clone(), by: by.clone(), at: event.at };
                match test {
                    None => self.cleared = Some(why),
                    Some(name) => {
                        if let Some(test) = self.test_mut(name) {
                            test.attempts.clear(*attempt, why);
                        }
                    }
                }
            }
        }
    }

    /// Opens a run that has ended for these tests.
    fn retry(&mut self, tests: &[String], at: Timestamp) {
        self.status = RunStatus::Queued;
        self.queued_at = at;
        self.finished_at = None;
        self.message = None;
        self.cancel_requested = false;
        self.failures = 0;
        self.setup.retry();
        self.teardown.retry();
        let last_round = self.last_round() - 1;
        for test in self.tests.iter_mut().filter(|test| tests.contains(&test.name)) {
            test.status = TestStatus::Pending;
            test.failed_hard = false;
            test.reason = None;
            test.rounds_finished = last_round;
            test.attempts.retry();
        }
    }

    /// The counts when an attempt at a test, or all that ended, are cleared.
    pub fn counts_without(&self, test: Option<&str>, attempt: Option<ClearedAttempt>) -> Counts {
        let mut counts = self.counts();
        if let Some(test) = test.and_then(|name| self.test(name)) {
            let after = test.is_flaky() && test.attempts.has_failed_without(attempt);
            counts.flaky -= u64::from(test.is_flaky() && !after);
        }
        counts
    }

    /// How many times something of it was cleared.
    pub fn clearings(&self) -> usize {
        let tests = self.tests.iter().map(|test| test.attempts.clearings());
        usize::from(self.cleared.is_some()) + tests.sum::<usize>()
    }

    /// Takes in a test's verdict for a round, before the test itself does.
    fn tally(&mut self, name: &str, round: u32, status: TestStatus, at: Timestamp) {
        let declared = self.declared_soft(name);
        let all = if round == 1 { self.tests.len() } else { self.tried };
        if self.rounds.closed().is_some() {
            return;
        }
        let Some(test) = self.index.get(name).map(|at| &mut self.tests[*at]) else { return };
        let attempts = test.attempts.round(round);
        let counts = !declared && !attempts.soft;
        let failure = || FirstFailure {
            round,
            test: name.to_owned(),
            at,
            message: attempts.last.as_ref().and_then(|(_, message)| message.clone()),
        };
        test.rounds.push(status, counts, attempts.duration_ms);
        if status == TestStatus::Failed && counts && test.rounds.first_failure.is_none() {
            test.rounds.first_failure = Some(failure());
        }
        self.rounds.push((status, counts), all, at, failure);
    }

    /// In how many rounds a test has its verdict, at least 1.
    fn rounds_begun(&self) -> u32 {
        self.tests.iter().map(|test| test.rounds_finished).max().unwrap_or(1).max(1)
    }

    /// The last round that it may have: as many as were asked for, or as it had when it ended.
    pub fn last_round(&self) -> u32 {
        self.rounds.closed().unwrap_or(self.spec.repeat)
    }

    /// The round that is to be run at `now`: the one that has begun and not ended, or a further one,
    /// unless there were enough.
    pub fn next_round(&self, now: Timestamp) -> Option<u32> {
        if self
            .spec
            .tests
            .iter()
            .zip(&self.tests)
            .any(|(planned, test)| planned.skip.is_some() && test.rounds_finished == 0)
        {
            return Some(1);
        }
        let finished = self.tried().map(|test| test.rounds_finished);
        let (ended, begun) = (finished.clone().min()?, finished.max()?);
        let next = ended.saturating_add(1);
        // What is retried is the last round once more, however long ago that was and however it ended.
        let is_due = next == 1 || begun >= next || self.rounds.closed().is_some();
        (next <= self.last_round() && (is_due || !self.has_had_enough(now))).then_some(next)
    }

    /// The tests that are tried. The others have their verdict in the first round, and are in no further one.
    fn tried(&self) -> impl Iterator<Item = &Test> + Clone {
        let planned = self.spec.tests.iter().zip(&self.tests);
        planned.filter(|(planned, _)| planned.skip.is_none()).map(|(_, test)| test)
    }

    /// Whether no further round is to begin.
    fn has_had_enough(&self, now: Timestamp) -> bool {
        let request = &self.spec.request;
        let is_over = request.repeat_for_ms.zip(self.started_at).is_some_and(|(most, since)| {
            u64::try_from(now.duration_since(since).as_millis()).unwrap_or(0) >= most
        });
        is_over
            || self.has_failed_enough()
            || (request.repeat_until_failure && self.rounds.have_failed())
    }

    /// Whether it has had as many failures as it may have.
    pub fn has_failed_enough(&self) -> bool {
        let most = self.spec.request.max_failures;
        most.is_some_and(|most| self.failures >= u64::from(most))
    }

    /// Whether its failures left something undone that it was to do.
    pub fn was_cut_by_failures(&self) -> bool {
        let is_cut = self.counts().cancelled > 0 || self.rounds_begun() < self.last_round();
        is_cut && self.has_failed_enough() && !self.cancel_requested
    }

    /// Whether it is to run its tests more often than once, as one run with what that comes to.
    pub fn is_repeated(&self) -> bool {
        self.spec.repeat > 1
    }

    fn finish_attempt(&mut self, stage: &Stage, attempt: &Attempt) {
        let ended = (stage, attempt.round, attempt.number);
        self.under_way.retain(|(stage, round, number)| (stage, *round, *number) != ended);
        match stage {
            Stage::Setup => self.setup.push(attempt),
            Stage::Teardown => self.teardown.push(attempt),
            Stage::Test(name) => {
                if let Some(test) = self.test_mut(name) {
                    let is_retry = test.attempts.round(attempt.round).tries > 0;
                    test.attempts.push(attempt);
                    if is_retry {
                        self.retried_ms = self.retried_ms.saturating_add(attempt.duration_ms);
                    }
                }
            }
        }
    }

    /// The test of that name.
    pub fn test(&self, name: &str) -> Option<&Test> {
        self.tests.get(*self.index.get(name)?)
    }

    /// Where the test of that name stands among the tests.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    fn declared_soft(&self, name: &str) -> bool {
        self.index.get(name).is_some_and(|at| self.spec.tests[*at].soft)
    }

    fn test_mut(&mut self, name: &str) -> Option<&mut Test> {
        self.tests.get_mut(*self.index.get(name)?)
    }

    /// How many tests ended in which way.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for test in &self.tests {
            let count = match test.status {
                TestStatus::Pending | TestStatus::Running => continue,
                TestStatus::Passed => &mut counts.passed,
                TestStatus::Failed if test.soft => &mut counts.soft_failed,
                TestStatus::Failed => &mut counts.failed,
                TestStatus::Skipped => &mut counts.skipped,
                TestStatus::Error => &mut counts.error,
                TestStatus::Cancelled => &mut counts.cancelled,
            };
            *count += 1;
            counts.flaky += u64::from(test.is_flaky());
        }
        counts
    }

    /// The tests that a retry runs again: those that failed or ended in error, and, if nobody stopped
    /// the run, those that it had no time for.
    pub fn to_retry(&self) -> Vec<String> {
        let again = |status| match status {
            TestStatus::Failed | TestStatus::Error => true,
            TestStatus::Cancelled => !self.cancel_requested,
            _ => false,
        };
        let tests = self.tests.iter().filter(|test| again(test.status));
        tests.map(|test| test.name.clone()).collect()
    }

    /// How many attempts it may come to if these tests have one more round.
    pub fn attempts_with(&self, tests: &[String]) -> u64 {
        let more =
            tests.iter().filter_map(|name| Some(self.spec.tests[*self.index.get(name)?].tries()));
        let made =
            self.tests.iter().map(|test| &test.attempts).chain([&self.setup, &self.teardown]);
        made.map(Attempts::total).sum::<u64>() + more.sum::<u64>()
    }

    /// The verdict that follows from what ended so far. A failure that counts decides first: it holds
    /// whatever else could not be tried. What the platform could not do comes next, so that it never
    /// passes for a success.
    pub fn verdict(&self) -> RunStatus {
        let counts = self.counts();
        let setup = self.setup.last_status();
        if self.cancel_requested {
            RunStatus::Cancelled
        } else if counts.failed > 0 || setup == Some(TestStatus::Failed) {
            RunStatus::Failed
        } else if counts.error > 0 || setup == Some(TestStatus::Error) {
            RunStatus::Error
        } else if counts.cancelled > 0 {
            // Only the run's own deadline leaves tests undone without a request to cancel and a failure.
            RunStatus::Failed
        } else if self.is_too_flaky(&counts) {
            RunStatus::Failed
        } else {
            RunStatus::Passed
        }
    }

    fn is_too_flaky(&self, counts: &Counts) -> bool {
        counts.flaky > 0 && self.spec.request.on_flaky == OnFlaky::Fail
    }

    /// Whether it fails for nothing else than that a test passed only when it was tried again.
    pub fn failed_for_flakiness(&self) -> bool {
        let counts = self.counts();
        let setup_failed = self.setup.last_status() == Some(TestStatus::Failed);
        let failed = counts.failed + counts.cancelled > 0 || setup_failed;
        self.verdict() == RunStatus::Failed && !failed && self.is_too_flaky(&counts)
    }

    /// How long it was under way in all; none until it ended, and if it never started.
    pub fn duration_ms(&self) -> Option<u64> {
        duration_ms(self.status, self.started_at, self.activity)
    }

    /// Whether it has nothing to clean up: no attempt is under way, and setup was not started, or not
    /// since the last request to retry.
    pub fn is_untouched(&self) -> bool {
        self.under_way.is_empty() && !self.setup.is_tried()
    }

    /// What a list shows of it.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            id: self.spec.id,
            number: self.spec.number,
            suite: self.spec.suite.clone(),
            version: self.spec.version,
            fixtures: self.spec.fixtures.as_ref().map(|fixtures| fixtures.digest),
            status: self.status,
            reference: self.spec.request.reference.clone(),
            initiated_by: self.spec.request.initiated_by.clone(),
            created_at: self.spec.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            activity: self.activity,
            counts: if self.status.is_terminal() { self.counts() } else { Counts::default() },
            cleared: self.cleared.clone(),
        }
    }
}

/// The worse of two verdicts on one test.
fn worst(earlier: Option<TestStatus>, now: TestStatus) -> TestStatus {
    let rank = |status| match status {
        TestStatus::Pending | TestStatus::Running | TestStatus::Skipped => 0,
        TestStatus::Passed => 1,
        TestStatus::Cancelled => 2,
        TestStatus::Error => 3,
        TestStatus::Failed => 4,
    };
    earlier.filter(|earlier| rank(*earlier) > rank(now)).unwrap_or(now)
}

#[cfg(test)]
mod tests;
