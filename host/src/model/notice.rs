//! What a plugin is told: one fact with all that there is to know of it. Its JSON is what plugins of every
//! language read, so a field may come, and none may go or change its meaning.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Cause, Counts, Link, Location, Name, Run, RunId, RunStatus, SuiteId, TestStatus, short,
};

/// Failed tests that a notice tells of, the first ones; how many there are, the counts tell.
const FAILURES: usize = 50;
/// Bytes of a failure's message in a notice; the rest is with the run.
const MESSAGE_BYTES: usize = 2_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A run was accepted.
    RunQueued,
    /// A run started.
    RunStarted,
    /// A run has its verdict.
    RunFinished,
    /// An attempt at a test ended.
    AttemptFinished,
    /// A test has its verdict.
    TestFinished,
    /// A suite failed that had not before.
    SuiteFailing,
    /// A suite failed again.
    SuiteStillFailing,
    /// A suite passed that had failed.
    SuiteRecovered,
    /// A test passed after a failed attempt, which it had not done before.
    TestFlaky,
    /// A time of a schedule was missed, or failed to start a run.
    ScheduleMissed,
    /// A run ended by the platform's own fault.
    PlatformError,
    /// A plugin was disabled because it failed again and again.
    PluginDisabled,
    /// Somebody tries the plugin out.
    Trial,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::RunQueued,
        Self::RunStarted,
        Self::RunFinished,
        Self::AttemptFinished,
        Self::TestFinished,
        Self::SuiteFailing,
        Self::SuiteStillFailing,
        Self::SuiteRecovered,
        Self::TestFlaky,
        Self::ScheduleMissed,
        Self::PlatformError,
        Self::PluginDisabled,
        Self::Trial,
    ];

    /// The word for it in JSON, in filters and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunQueued => "run_queued",
            Self::RunStarted => "run_started",
            Self::RunFinished => "run_finished",
            Self::AttemptFinished => "attempt_finished",
            Self::TestFinished => "test_finished",
            Self::SuiteFailing => "suite_failing",
            Self::SuiteStillFailing => "suite_still_failing",
            Self::SuiteRecovered => "suite_recovered",
            Self::TestFlaky => "test_flaky",
            Self::ScheduleMissed => "schedule_missed",
            Self::PlatformError => "platform_error",
            Self::PluginDisabled => "plugin_disabled",
            Self::Trial => "trial",
        }
    }

    /// The kind of that name; hyphens count as underscores.
    pub fn of(word: &str) -> Option<Self> {
        let word = word.replace('-', "_");
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Something that happened, as a plugin is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Unique; the same notice that is told again has the same.
    pub id: RunId,
    /// What happened.
    pub event: NoticeKind,
    /// When.
    pub at: Timestamp,
    /// Stable for one trouble.
    pub dedup_key: String,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<NoticeRun>,
    /// The suite that it is about, if there is no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<NoticeSuite>,
    /// The test or attempt that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<NoticeTest>,
    /// The tests that failed in a way that counts, the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<NoticeTest>,
    /// The trouble that a suite is in, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<NoticeTrouble>,
    /// The schedule whose time was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Name>,
    /// The plugin that was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Name>,
    /// More in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where to read on.
    pub links: Vec<Link>,
}

impl Notice {
    /// What a notice of this kind may look like, to try a plugin out.
    pub fn sample(event: NoticeKind) -> Self {
        let (id, at) = (RunId::new(), Timestamp::now());
        let failed = !matches!(event, NoticeKind::SuiteRecovered | NoticeKind::TestFlaky);
        let url = format!("http://127.0.0.1:1337/runs/{id}");
        let suite = SuiteId { namespace: Name::default_namespace(), name: Name::sample() };
        let of_run = !matches!(
            event,
            NoticeKind::ScheduleMissed | NoticeKind::PluginDisabled | NoticeKind::Trial
        );
        let test = NoticeTest::sample(failed, at);
        let counts = Counts { passed: 3, failed: failed.into(), ..Counts::default() };
        let run = NoticeRun {
            id,
            number: 12,
            suite,
            version: format!("sha256:{}", "0".repeat(64)),
            status: if failed { RunStatus::Failed } else { RunStatus::Passed },
            reference: Some("main".into()),
            initiated_by: Some("handoff plugins try".into()),
            params: BTreeMap::new(),
            labels: BTreeMap::new(),
            owner: None,
            created_at: at,
            started_at: Some(at),
            finished_at: Some(at),
            duration_ms: Some(1_234),
            counts,
            message: None,
            url: url.clone(),
        };
        let of_test = matches!(
            event,
            NoticeKind::TestFinished | NoticeKind::AttemptFinished | NoticeKind::TestFlaky
        );
        let trouble = NoticeTrouble { first_run: id, since: at, failed_runs: 2, clean_runs: 0 };
        Self {
            id: RunId::new(),
            event,
            at,
            dedup_key: format!("suite:{}:{id}", run.suite),
            failures: if failed && of_run { vec![test.clone()] } else { Vec::new() },
            test: of_test.then_some(test),
            trouble: of_run.then_some(trouble),
            schedule: (event == NoticeKind::ScheduleMissed).then(Name::sample),
            plugin: (event == NoticeKind::PluginDisabled).then(Name::sample),
            message: (!of_run).then(|| "a sample".into()),
            links: vec![Link { title: "Run".into(), url }],
            suite: (event == NoticeKind::ScheduleMissed).then(|| NoticeSuite {
                suite: run.suite.clone(),
                labels: BTreeMap::new(),
                reference: run.reference.clone(),
            }),
            run: of_run.then_some(run),
        }
    }
}

/// A suite in a notice that is about no run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeSuite {
    /// The suite.
    pub suite: SuiteId,
    /// Its labels, as its newest version has them.
    pub labels: BTreeMap<String, String>,
    /// What was to be tested.
    pub reference: Option<String>,
}

/// A run in a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeRun {
    /// The run.
    pub id: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// Its suite.
    pub suite: SuiteId,
    /// The suite's version.
    pub version: String,
    /// How it stands.
    pub status: RunStatus,
    /// What is being tested.
    pub reference: Option<String>,
    /// Who or what asked.
    pub initiated_by: Option<String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Labels of the suite.
    pub labels: BTreeMap<String, String>,
    /// Who owns the suite.
    pub owner: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it was under way.
    pub duration_ms: Option<u64>,
    /// How many tests ended in which way.
    pub counts: Counts,
    /// What the platform could not do, or why it was stopped.
    pub message: Option<String>,
    /// Where it is shown.
    pub url: String,
}

/// A test in a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeTest {
    /// Its name.
    pub name: String,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How it ended.
    pub status: TestStatus,
    /// Whether its failure does not fail the run.
    pub soft: bool,
    /// Whether it passed after a failed attempt.
    pub flaky: bool,
    /// Which attempt, or how many there were.
    pub attempts: u64,
    /// What ended the last attempt.
    pub cause: Option<Cause>,
    /// Why, the start of it.
    pub message: Option<String>,
    /// Where.
    pub location: Option<Location>,
    /// How long the last attempt took.
    pub duration_ms: Option<u64>,
    /// When the last attempt started.
    pub started_at: Option<Timestamp>,
    /// The traces of the requests of the last attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// The group of failures that the last attempt belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A suite that fails, from its first failed run to the one that passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeTrouble {
    /// The run in which it began.
    pub first_run: RunId,
    /// When that ended.
    pub since: Timestamp,
    /// How many runs have failed since, that one included.
    pub failed_runs: u64,
    /// Of a test that was flaky, in older stores: in how many runs it passed at once since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clean_runs: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl NoticeRun {
    /// The run as a notice tells of it; where it is shown starts with `base`.
    pub fn of(run: &Run, base: &str) -> Self {
        let request = &run.spec.request;
        Self {
            id: run.spec.id,
            number: run.spec.number,
            suite: run.spec.suite.clone(),
            version: run.spec.version.to_string(),
            status: run.status,
            reference: request.reference.clone(),
            initiated_by: request.initiated_by.clone(),
            params: request.params.clone(),
            labels: BTreeMap::new(),
            owner: None,
            created_at: run.spec.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            duration_ms: run.duration_ms(),
            counts: run.counts(),
            message: run.message.clone(),
            url: format!("{base}/runs/{}", run.spec.id),
        }
    }
}

impl NoticeTest {
    fn sample(failed: bool, at: Timestamp) -> Self {
        Self {
            name: "answers".into(),
            tags: vec!["smoke".into()],
            status: if failed { TestStatus::Failed } else { TestStatus::Passed },
            soft: false,
            flaky: !failed,
            attempts: 2,
            cause: failed.then_some(Cause::Assertion),
            message: failed.then(|| "expected status 200, got 500".into()),
            location: None,
            duration_ms: Some(120),
            started_at: Some(at),
            trace_ids: vec!["4bf92f3577b34da6a3ce929d0e0e4736".into()],
            group: failed.then(|| "5c0ffee05c0ffee05c0ffee05c0ffee0".into()),
        }
    }

    /// A test of a run as it stands.
    pub fn of(run: &Run, name: &str) -> Option<Self> {
        let test = run.test(name)?;
        let last = test.attempts.last();
        let message = last.and_then(|last| last.message.as_deref()).or(test.reason.as_deref());
        Some(Self {
            name: test.name.clone(),
            tags: Vec::new(),
            status: test.status,
            soft: test.soft,
            flaky: test.is_flaky(),
            attempts: test.attempts.total(),
            cause: last.and_then(|last| last.cause),
            message: message.map(|message| short(message, MESSAGE_BYTES)),
            location: last.and_then(|last| last.location.clone()),
            duration_ms: last.map(|last| last.duration_ms),
            started_at: last.map(|last| last.started_at),
            trace_ids: Vec::new(),
            group: None,
        })
    }

    /// The first tests of a run that failed in a way that counts.
    pub fn failures(run: &Run) -> Vec<Self> {
        let failed =
            run.tests.iter().filter(|test| test.status == TestStatus::Failed && !test.soft);
        failed.take(FAILURES).filter_map(|test| Self::of(run, &test.name)).collect()
    }
}
