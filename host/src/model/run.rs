//! A run as it stands: a fold over its events, and the verdict that follows.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Attempt, Digest, EventKind, PlannedTest, RunEvent, RunId, RunSpec, SuiteId, TestStatus,
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
    /// The attempts that ended, in order.
    pub attempts: Vec<Attempt>,
    /// In how many rounds it has its verdict.
    pub rounds_finished: u32,
    /// How many of `attempts` were made before the last request to retry it.
    pub attempts_before: usize,
}

impl Test {
    /// Whether it passed after a failed attempt of the same round. Platform errors do not count.
    pub fn is_flaky(&self) -> bool {
        self.status == TestStatus::Passed
            && self.attempts.iter().any(|a| a.status == TestStatus::Failed)
    }
}

/// A run as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is to do.
    pub spec: RunSpec,
    /// How it stands.
    pub status: RunStatus,
    /// When it first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the platform could not do, or why it was stopped.
    pub message: Option<String>,
    /// Attempts at setup that ended.
    pub setup: Vec<Attempt>,
    /// Attempts at teardown that ended.
    pub teardown: Vec<Attempt>,
    /// How many attempts at setup and at teardown were made before the last request to retry: a retry
    /// has its own.
    pub stages_before: (usize, usize),
    /// The tests in the order in which they run.
    pub tests: Vec<Test>,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// The attempts that began and have not ended: stage, round, number.
    pub under_way: Vec<(Stage, u32, u32)>,
    /// The number of the last event.
    pub last_seq: u64,
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
    /// How many tests ended in which way; all zero until it ended.
    pub counts: Counts,
}

impl Run {
    /// A run that was just accepted.
    pub fn new(spec: RunSpec) -> Self {
        let test = |planned: &PlannedTest| Test {
            name: planned.name.clone(),
            status: TestStatus::Pending,
            soft: planned.soft,
            failed_hard: false,
            reason: None,
            attempts: Vec::new(),
            rounds_finished: 0,
            attempts_before: 0,
        };
        Self {
            status: RunStatus::Queued,
            started_at: None,
            finished_at: None,
            message: None,
            setup: Vec::new(),
            teardown: Vec::new(),
            stages_before: (0, 0),
            tests: spec.tests.iter().map(test).collect(),
            cancel_requested: false,
            under_way: Vec::new(),
            last_seq: 0,
            index: spec.tests.iter().enumerate().map(|(at, t)| (t.name.clone(), at)).collect(),
            spec,
        }
    }

    /// The run that these events tell of; none if the first is not `RunQueued`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Option<Self> {
        let mut events = events.into_iter();
        let first = events.next()?;
        let EventKind::RunQueued { spec } = &first.kind else { return None };
        let mut run = Self::new(spec.as_ref().clone());
        run.last_seq = first.seq;
        events.for_each(|event| run.apply(event));
        Some(run)
    }

    /// Takes in one more event.
    pub fn apply(&mut self, event: &RunEvent) {
        self.last_seq = event.seq;
        match &event.kind {
            EventKind::RunQueued { .. } => {}
            EventKind::RunStarted => {
                self.status = RunStatus::Running;
                self.started_at.get_or_insert(event.at);
            }
            EventKind::AttemptStarted { stage, round, number } => {
                self.under_way.push((stage.clone(), *round, *number));
                if let Stage::Test(name) = stage
                    && let Some(test) = self.test_mut(name)
                    && test.status == TestStatus::Pending
                {
                    test.status = TestStatus::Running;
                }
            }
            EventKind::AttemptFinished { stage, attempt } => self.finish_attempt(stage, attempt),
            EventKind::TestFinished { test, status, reason, .. } => {
                let declared = self.declared_soft(test);
                if let Some(test) = self.test_mut(test) {
                    test.rounds_finished += 1;
                    let earlier = test.status.is_terminal().then_some(test.status);
                    test.status = worst(earlier, *status);
                    test.reason.clone_from(reason);
                    let asked = test.attempts.last().is_some_and(|attempt| attempt.soft);
                    test.failed_hard |= *status == TestStatus::Failed && !declared && !asked;
                    let failed = test.status == TestStatus::Failed;
                    test.soft = declared || (failed && !test.failed_hard);
                }
            }
            // A request that comes after the end changes nothing.
            EventKind::CancelRequested { .. } if self.status.is_terminal() => {}
            EventKind::CancelRequested { by } => {
                self.cancel_requested = true;
                self.message = by.as_ref().map(|by| format!("cancelled by {by}"));
            }
            EventKind::RetryRequested { tests, .. } => {
                self.status = RunStatus::Queued;
                self.finished_at = None;
                self.message = None;
                self.cancel_requested = false;
                self.stages_before = (self.setup.len(), self.teardown.len());
                let last_round = self.spec.repeat - 1;
                for test in self.tests.iter_mut().filter(|test| tests.contains(&test.name)) {
                    test.status = TestStatus::Pending;
                    test.failed_hard = false;
                    test.reason = None;
                    test.rounds_finished = last_round;
                    test.attempts_before = test.attempts.len();
                }
            }
            EventKind::RunFinished { status, message, .. } => {
                self.status = *status;
                self.finished_at = Some(event.at);
                if message.is_some() {
                    self.message.clone_from(message);
                }
            }
        }
    }

    fn finish_attempt(&mut self, stage: &Stage, attempt: &Attempt) {
        let ended = (stage, attempt.round, attempt.number);
        self.under_way.retain(|(stage, round, number)| (stage, *round, *number) != ended);
        match stage {
            Stage::Setup => self.setup.push(attempt.clone()),
            Stage::Teardown => self.teardown.push(attempt.clone()),
            Stage::Test(name) => {
                if let Some(test) = self.test_mut(name) {
                    test.attempts.push(attempt.clone());
                }
            }
        }
    }

    /// The test of that name.
    pub fn test(&self, name: &str) -> Option<&Test> {
        self.tests.get(*self.index.get(name)?)
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

    /// The verdict that follows from what ended so far. A failure that counts decides first: it holds
    /// whatever else could not be tried. What the platform could not do comes next, so that it never
    /// passes for a success.
    pub fn verdict(&self) -> RunStatus {
        let counts = self.counts();
        let setup = self.setup.last().map(|attempt| attempt.status);
        if self.cancel_requested {
            RunStatus::Cancelled
        } else if counts.failed > 0 || setup == Some(TestStatus::Failed) {
            RunStatus::Failed
        } else if counts.error > 0 || setup == Some(TestStatus::Error) {
            RunStatus::Error
        } else if counts.cancelled > 0 {
            // Only the run's own deadline leaves tests undone without a request to cancel.
            RunStatus::Failed
        } else {
            RunStatus::Passed
        }
    }

    /// What a list shows of it.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            id: self.spec.id,
            number: self.spec.number,
            suite: self.spec.suite.clone(),
            version: self.spec.version,
            status: self.status,
            reference: self.spec.request.reference.clone(),
            initiated_by: self.spec.request.initiated_by.clone(),
            created_at: self.spec.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            counts: if self.status.is_terminal() { self.counts() } else { Counts::default() },
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
mod tests {
    use super::*;
    use crate::model::RunRequest;

    fn spec(tests: &[(&str, bool)], repeat: u32) -> RunSpec {
        let planned = |(name, soft): &(&str, bool)| PlannedTest {
            name: (*name).into(),
            soft: *soft,
            timeout_ms: None,
            max_attempts: 3,
            skip: None,
        };
        RunSpec {
            id: RunId::new(),
            number: 1,
            suite: "hello".parse().unwrap(),
            version: Digest::of(b""),
            created_at: Timestamp::UNIX_EPOCH,
            request: RunRequest::default(),
            timeout_ms: 1000,
            parallelism: 1,
            repeat,
            tests: tests.iter().map(planned).collect(),
        }
    }

    fn attempt(number: u32, status: TestStatus) -> Attempt {
        Attempt {
            number,
            round: 1,
            status,
            cause: None,
            soft: false,
            message: None,
            location: None,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: 1,
            fuel_used: None,
            memory_peak_bytes: 0,
            logs_truncated: false,
            limits_hit: vec![],
            artifacts: vec![],
            detail: None,
        }
    }

    /// A run in which each test had these attempts and ended as the last of them.
    fn run_of(tests: &[(&str, bool)], attempts: &[(&str, &[TestStatus])]) -> Run {
        let mut run = Run::new(spec(tests, 1));
        let mut kinds = vec![EventKind::RunStarted];
        for (name, statuses) in attempts {
            for (number, status) in (1..).zip(*statuses) {
                let stage = Stage::Test((*name).into());
                let started = EventKind::AttemptStarted { stage: stage.clone(), round: 1, number };
                let attempt = Box::new(attempt(number, *status));
                kinds.extend([started, EventKind::AttemptFinished { stage, attempt }]);
            }
            let status = *statuses.last().unwrap();
            let test = (*name).into();
            kinds.push(EventKind::TestFinished { test, round: 1, status, reason: None });
        }
        for (seq, kind) in (2..).zip(kinds) {
            run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
        }
        run
    }

    #[test]
    fn a_test_that_passed_after_a_failure_is_flaky_and_the_run_passed() {
        use TestStatus::{Failed, Passed};
        let run =
            run_of(&[("a", false), ("b", false)], &[("a", &[Failed, Passed]), ("b", &[Passed])]);
        assert_eq!(run.verdict(), RunStatus::Passed);
        assert_eq!(run.counts(), Counts { passed: 2, flaky: 1, ..Counts::default() });
        assert!(run.under_way.is_empty());
    }

    #[test]
    fn a_platform_error_is_no_flakiness_and_never_a_success() {
        use TestStatus::{Error, Failed, Passed};
        let run = run_of(&[("a", false)], &[("a", &[Error, Passed])]);
        assert_eq!(run.counts(), Counts { passed: 1, ..Counts::default() });
        let run = run_of(&[("a", false), ("b", false)], &[("a", &[Error]), ("b", &[Passed])]);
        assert_eq!(run.verdict(), RunStatus::Error);
        let run = run_of(&[("a", false), ("b", false)], &[("a", &[Error]), ("b", &[Failed])]);
        assert_eq!(run.verdict(), RunStatus::Failed);
    }

    #[test]
    fn a_soft_failure_is_shown_and_does_not_count() {
        use TestStatus::Failed;
        let run = run_of(&[("a", true)], &[("a", &[Failed])]);
        assert_eq!(run.verdict(), RunStatus::Passed);
        assert_eq!(run.counts(), Counts { soft_failed: 1, ..Counts::default() });
    }

    #[test]
    fn a_run_in_which_all_is_skipped_passed() {
        let run = run_of(&[("a", false)], &[("a", &[TestStatus::Skipped])]);
        assert_eq!(run.verdict(), RunStatus::Passed);
    }

    #[test]
    fn over_rounds_the_worst_verdict_stays() {
        let mut run = Run::new(spec(&[("a", false)], 3));
        let rounds = [TestStatus::Passed, TestStatus::Failed, TestStatus::Passed];
        for (round, status) in (1..).zip(rounds) {
            let kind = EventKind::TestFinished { test: "a".into(), round, status, reason: None };
            let seq = u64::from(round) + 1;
            run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
        }
        assert_eq!(run.test("a").unwrap().status, TestStatus::Failed);
        assert_eq!(run.test("a").unwrap().rounds_finished, 3);
    }

    #[test]
    fn a_failure_that_counts_is_not_hidden_by_a_soft_one() {
        let mut run = Run::new(spec(&[("a", false)], 2));
        for (round, status, soft) in [(1, TestStatus::Failed, false), (2, TestStatus::Passed, true)]
        {
            let stage = Stage::Test("a".into());
            let attempt = Box::new(Attempt { round, soft, ..attempt(1, status) });
            let finished = EventKind::AttemptFinished { stage, attempt };
            let test = "a".to_owned();
            for kind in [finished, EventKind::TestFinished { test, round, status, reason: None }] {
                let seq = run.last_seq + 1;
                run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
            }
        }
        assert_eq!(run.verdict(), RunStatus::Failed);
        assert_eq!(run.counts(), Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn a_retry_opens_the_run_again_for_the_tests_it_names() {
        use TestStatus::{Failed, Passed, Pending};
        let mut run = run_of(&[("a", false), ("b", false)], &[("a", &[Failed]), ("b", &[Passed])]);
        let tests = vec!["a".to_owned()];
        let kind = EventKind::RetryRequested { tests, by: None };
        run.apply(&RunEvent { run_id: run.spec.id, seq: 99, at: Timestamp::UNIX_EPOCH, kind });
        assert_eq!(run.status, RunStatus::Queued);
        assert_eq!(run.test("a").unwrap().status, Pending);
        assert_eq!(run.test("a").unwrap().attempts.len(), 1);
        assert_eq!(run.test("b").unwrap().status, Passed);
    }

    #[test]
    fn events_read_back_as_they_were() {
        let id = RunId::new();
        let kind = EventKind::AttemptFinished {
            stage: Stage::Test("a".into()),
            attempt: Box::new(attempt(1, TestStatus::Passed)),
        };
        let event = RunEvent { run_id: id, seq: 7, at: Timestamp::UNIX_EPOCH, kind };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<RunEvent>(&json).unwrap(), event, "{json}");
    }
}
