//! Runs, and what is sent to ask for one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::reading::{by_name, or_default};
use super::{
    AnnotationView, AttemptView, ClearingView, MarkView, PinView, QueueView, RoundsView, schemas,
};
use crate::model::{
    Annotation, Attempts, Cause, Counts, Digest, Name, OnFlaky, Priority, Run, RunId, RunRequest,
    RunStatus, RunSummary, Shard, SuiteId, Tags, Test, TestStatus, Wait,
};

/// A suite and one of its versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SuiteRef {
    /// The namespace.
    #[schema(value_type = String, example = "default")]
    pub namespace: Name,
    /// The name.
    #[schema(value_type = String, example = "hello")]
    pub name: Name,
    /// The version: the SHA-256 of the component's bytes.
    #[schema(value_type = String, example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub version: Digest,
}

impl SuiteRef {
    /// That version of that suite.
    pub fn of(suite: &SuiteId, version: Digest) -> Self {
        Self { namespace: suite.namespace.clone(), name: suite.name.clone(), version }
    }
}

/// A run as it stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// The run.
    #[schema(value_type = String, format = "uuid")]
    pub id: RunId,
    /// Its number in its suite, for people.
    pub number: u64,
    /// The suite and its version.
    pub suite: SuiteRef,
    /// The archive of the files that the version brought along when the run was asked for, if any.
    #[schema(value_type = Option<String>)]
    pub fixtures: Option<Digest>,
    /// How it stands.
    #[schema(schema_with = schemas::run_status)]
    pub status: RunStatus,
    /// What the platform could not do, or why it was stopped.
    pub message: Option<String>,
    /// What is being tested, as the request said.
    pub reference: Option<String>,
    /// Who or what asked, as the request said.
    pub initiated_by: Option<String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// The filter on names, as the request said.
    pub filter: Option<String>,
    /// Which part of the suite it is, such as `2/5`, if the request asked for one.
    #[schema(value_type = Option<String>)]
    pub shard: Option<Shard>,
    /// How many tests may run at the same time.
    pub parallelism: u32,
    /// How many rounds of its tests it has at most.
    pub repeat: u32,
    /// After which time no further round begins, if the request said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_for_ms: Option<u64>,
    /// Whether no further round begins after one that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat_until_failure: bool,
    /// What its rounds came to so far; missing if it has only one. A round passed if every test that counts
    /// did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<RoundsView>,
    /// The seed of the order, if it was shuffled.
    pub shuffle_seed: Option<u64>,
    /// The deadline of the whole run.
    pub timeout_ms: u64,
    /// Which class of runs it is of.
    #[schema(value_type = String, example = "normal")]
    #[serde(default)]
    pub priority: Priority,
    /// What it has in common with runs that supersede it, or that it supersedes.
    #[serde(default)]
    pub group: Option<String>,
    /// Its place in the queue, and what it waits for, if it does when it is read by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueView>,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// Why it counts in no statistics, if somebody took it out as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<ClearingView>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it first started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How long it was under way: the sum of its periods, each from a start to the end. What lies between
    /// the end and a retry does not count, nor the time in which the server was down. Null until it ended.
    pub duration_ms: Option<u64>,
    /// What happened before the tests; null if that was not begun.
    pub setup: Option<StageAttemptsView>,
    /// What happened after the tests; null if that was not begun.
    pub teardown: Option<StageAttemptsView>,
    /// How many tests ended in which way so far.
    pub counts: CountsView,
    /// The tests in the order in which they run.
    pub tests: Vec<TestView>,
    /// Why it is kept whatever its age; left out if it is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinView>,
    /// What plugins had to say, in order.
    pub annotations: Vec<AnnotationView>,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self { tests: run.tests.iter().map(Into::into).collect(), ..Self::without_tests(run) }
    }
}

impl RunView {
    /// The run with what plugins said of it.
    pub fn annotated(run: &Run, annotations: &[(Name, Annotation)]) -> Self {
        let annotations = annotations.iter().map(Into::into).collect();
        Self { annotations, ..Self::from(run) }
    }

    /// The run with an empty list of tests.
    pub fn without_tests(run: &Run) -> Self {
        let request = &run.spec.request;
        Self {
            id: run.spec.id,
            number: run.spec.number,
            suite: SuiteRef::of(&run.spec.suite, run.spec.version),
            fixtures: run.spec.fixtures.as_ref().map(|fixtures| fixtures.digest),
            status: run.status,
            message: run.message.clone(),
            reference: request.reference.clone(),
            initiated_by: request.initiated_by.clone(),
            params: request.params.clone(),
            filter: request.filter.clone(),
            shard: request.shard,
            parallelism: run.spec.parallelism,
            repeat: run.spec.repeat,
            repeat_for_ms: request.repeat_for_ms,
            repeat_until_failure: request.repeat_until_failure,
            rounds: run.is_repeated().then(|| (&run.rounds.ended).into()),
            shuffle_seed: request.shuffle_seed,
            timeout_ms: run.spec.timeout_ms,
            priority: request.priority,
            group: request.group().map(Into::into),
            queue: None,
            cancel_requested: run.cancel_requested,
            cleared: run.cleared.as_ref().map(Into::into),
            created_at: run.spec.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            duration_ms: run.duration_ms(),
            setup: StageAttemptsView::of(&run.setup),
            teardown: StageAttemptsView::of(&run.teardown),
            counts: (&run.counts()).into(),
            tests: Vec::new(),
            pinned: None,
            annotations: Vec::new(),
        }
    }
}

/// Setup or teardown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StageAttemptsView {
    /// How its last attempt ended.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
    /// Its last attempts. `GET /runs/{id}/setup` and `GET /runs/{id}/teardown` have all.
    pub attempts: Vec<AttemptView>,
    /// How many there were.
    pub attempts_total: u64,
}

impl StageAttemptsView {
    /// The last attempts; none if there was none.
    pub fn of(attempts: &Attempts) -> Option<Self> {
        let status = attempts.last()?.status;
        let attempts_total = attempts.total();
        Some(Self { status, attempts: attempts.iter().map(Into::into).collect(), attempts_total })
    }
}

/// How many tests ended in which way. Each counts once, and `flaky` counts some of `passed` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Passed.
    pub passed: u64,
    /// Failed, and that counts.
    pub failed: u64,
    /// Skipped.
    pub skipped: u64,
    /// The platform's fault.
    pub error: u64,
    /// Stopped, or not begun when the run was stopped.
    pub cancelled: u64,
    /// Passed after a failed attempt.
    pub flaky: u64,
    /// Failed, and that does not count.
    pub soft_failed: u64,
}

impl From<&Counts> for CountsView {
    fn from(counts: &Counts) -> Self {
        Self {
            passed: counts.passed,
            failed: counts.failed,
            skipped: counts.skipped,
            error: counts.error,
            cancelled: counts.cancelled,
            flaky: counts.flaky,
            soft_failed: counts.soft_failed,
        }
    }
}

/// A test in a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestView {
    /// Its name.
    pub name: String,
    /// How it stands; over several rounds, the worst of them.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
    /// Whether its failure does not fail the run.
    pub soft: bool,
    /// Whether it passed after a failed attempt.
    pub flaky: bool,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// What an operator said of it when the run was accepted: that it is muted, disabled or expected to
    /// fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkView>,
    /// Why its attempts count in no statistics, if somebody took all of them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<ClearingView>,
    /// The attempts that ended, in order. In a run the last ones: a run shows `storage.attempts_shown` in
    /// sum, and at least one of each test. `GET /runs/{id}/tests/{test}` has all.
    pub attempts: Vec<AttemptView>,
    /// How many attempts ended.
    pub attempts_total: u64,
    /// What its rounds came to so far; missing if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<RoundsView>,
}

impl From<&Test> for TestView {
    fn from(test: &Test) -> Self {
        let view = |attempt| AttemptView::of(attempt, &test.attempts);
        let attempts = test.attempts.iter().map(view).collect();
        Self { attempts, ..Self::without_attempts(test) }
    }
}

impl TestView {
    /// The test with an empty list of attempts.
    pub fn without_attempts(test: &Test) -> Self {
        Self {
            name: test.name.clone(),
            status: test.status,
            soft: test.soft,
            flaky: test.is_flaky(),
            reason: test.reason.clone(),
            mark: test.mark.as_ref().map(Into::into),
            cleared: test.attempts.clearing_of_all().map(Into::into),
            attempts: Vec::new(),
            attempts_total: test.attempts.total(),
            rounds: (test.rounds.total() > 1).then(|| (&test.rounds).into()),
        }
    }
}

/// What a list shows of a run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunSummaryView {
    /// The run.
    #[schema(value_type = String, format = "uuid")]
    pub id: RunId,
    /// Its number in its suite.
    pub number: u64,
    /// The suite and its version.
    pub suite: SuiteRef,
    /// How it stands.
    #[schema(schema_with = schemas::run_status)]
    pub status: RunStatus,
    /// What is being tested.
    pub reference: Option<String>,
    /// Who or what asked.
    pub initiated_by: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it first started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How long it was under way: the sum of its periods, each from a start to the end. What lies between
    /// the end and a retry does not count, nor the time in which the server was down. Null until it ended.
    pub duration_ms: Option<u64>,
    /// How many tests ended in which way; all zero until it ended.
    pub counts: CountsView,
    /// Why it counts in no statistics, if somebody took it out as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<ClearingView>,
    /// Why it is kept whatever its age; left out if it is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinView>,
}

impl From<&RunSummary> for RunSummaryView {
    fn from(run: &RunSummary) -> Self {
        Self {
            id: run.id,
            number: run.number,
            suite: SuiteRef::of(&run.suite, run.version),
            status: run.status,
            reference: run.reference.clone(),
            initiated_by: run.initiated_by.clone(),
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            duration_ms: run.duration_ms(),
            counts: (&run.counts).into(),
            cleared: run.cleared.as_ref().map(Into::into),
            pinned: None,
        }
    }
}

/// What is asked of a new run. All of it is optional, the body itself too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object that says what is asked of the run")]
pub struct RunBody {
    /// A regular expression on the names of tests, unanchored.
    pub filter: Option<String>,
    /// Which tags.
    #[serde(deserialize_with = "or_default")]
    pub tags: TagsBody,
    /// Runs one part of the suite, such as `2/5` for the second of five. The part that a test is in is the
    /// first eight bytes of the SHA-256 of its name, read as a big-endian number, modulo the number of
    /// parts, plus one. A part without a test passes.
    #[schema(value_type = Option<String>, example = "2/5")]
    pub shard: Option<Shard>,
    /// What is being tested, for example a commit or a release.
    pub reference: Option<String>,
    /// Who or what asks.
    pub initiated_by: Option<String>,
    /// Parameters for the suite.
    #[serde(deserialize_with = "or_default")]
    pub params: BTreeMap<String, String>,
    /// The deadline of the whole run.
    pub timeout_ms: Option<u64>,
    /// The deadline of each attempt, in place of what the tests and the suite say.
    pub test_timeout_ms: Option<u64>,
    /// How often each test is tried at most, in place of what the tests and the suite say.
    pub max_attempts: Option<u32>,
    /// How long to wait before a further attempt: `{"kind": "none"}`, `{"kind": "fixed", "wait_ms": 100}`
    /// or `{"kind": "exponential", "initial_ms": 100, "max_ms": 5000}`.
    #[schema(value_type = Object)]
    #[serde(deserialize_with = "wait")]
    pub retry_wait: Wait,
    /// How many tests may run at the same time.
    pub parallelism: Option<u32>,
    /// Runs the tests in the order that this number gives.
    pub shuffle_seed: Option<u64>,
    /// How many rounds of all its tests the run has, one after the other between one setup and one teardown.
    /// With one of the next two: how many at most.
    pub repeat: Option<u32>,
    /// No further round begins so long after the start of the run.
    pub repeat_for_ms: Option<u64>,
    /// No further round begins after one that failed.
    #[serde(deserialize_with = "or_default")]
    pub repeat_until_failure: bool,
    /// After which causes of a failure a test is tried again: some of `assertion`, `panic`, `trap`, `exit`,
    /// `timeout`, `fuel` and `memory`. Default: after each.
    #[schema(value_type = Vec<String>, example = json!(["timeout"]))]
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<Cause>,
    /// How long further attempts and the waits before them may take in sum. A further attempt begins only
    /// if it begins within that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget_ms: Option<u64>,
    /// What becomes of a run in which a test passed only when it was tried again, and none failed: `pass`
    /// or `fail`.
    #[schema(value_type = String, required = false, example = "pass")]
    #[serde(deserialize_with = "or_default", skip_serializing_if = "OnFlaky::is_default")]
    pub on_flaky: OnFlaky,
    /// At which failure the run is stopped: attempts under way are cancelled, no further one begins but
    /// teardown, and the run has failed. Soft failures do not count, failures in each round do.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// Which class of runs it is of: `low`, `normal` or `high`. Higher ones go first, but none waits for
    /// ever: a run that has waited for `runner.priority_ageing_ms` goes before new ones of the next class.
    #[schema(value_type = String, required = false, example = "normal")]
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Priority::is_default")]
    pub priority: Priority,
    /// Suites, as `namespace/name`, that must have passed for the same reference before it begins. What
    /// counts is the newest run of each that was neither cancelled nor cleared.
    #[schema(value_type = Vec<String>, example = json!(["default/smoke"]))]
    #[serde(deserialize_with = "suites", skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<SuiteId>,
    /// How long it waits for them at most; then it is cancelled. Default: `runner.bounds.max_needs_wait_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_within_ms: Option<u64>,
    /// What runs of the suite have in common of which the newest alone matters, such as a branch. Default:
    /// the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it cancels the older runs of the suite with the same group that wait or are under way.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
    /// The suite's version. Default: the newest upload.
    #[schema(value_type = Option<String>)]
    pub version: Option<Digest>,
}

/// A choice by tags.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a list of tags, or {\"include\": [], \"exclude\": []}")]
pub enum TagsBody {
    /// A test must have one of these; with `!` in front, it must not have it.
    #[schema(example = json!(["smoke", "!slow"]))]
    List(Vec<String>),
    /// The same in two lists.
    #[serde(deserialize_with = "by_name")]
    Lists(TagLists),
}

/// A choice by tags in two lists.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TagLists {
    /// A test must have one of these, if there are any.
    pub include: Vec<String>,
    /// A test must have none of these.
    pub exclude: Vec<String>,
}

impl Default for TagsBody {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl From<TagsBody> for Tags {
    fn from(tags: TagsBody) -> Self {
        match tags {
            TagsBody::Lists(TagLists { include, exclude }) => Self { include, exclude },
            TagsBody::List(list) => {
                let mut tags = Self::default();
                for tag in list {
                    match tag.strip_prefix('!') {
                        Some(tag) => tags.exclude.push(tag.into()),
                        None => tags.include.push(tag),
                    }
                }
                tags
            }
        }
    }
}

/// Reads names of suites, whole or in parts.
fn suites<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SuiteId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected the names of suites, as `namespace/name`")]
    enum Written {
        Text(String),
        Parts(SuiteId),
    }
    let written = or_default::<_, Vec<Written>>(from)?.into_iter();
    let read = written.map(|suite| match suite {
        Written::Text(text) => text.parse().map_err(D::Error::custom),
        Written::Parts(suite) => Ok(suite),
    });
    read.collect()
}

/// Reads a wait, and tells its forms if it has none of them.
fn wait<'de, D: Deserializer<'de>>(from: D) -> Result<Wait, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    if value.is_null() {
        return Ok(Wait::default());
    }
    let kind = value.get("kind").and_then(|kind| kind.as_str());
    let why = match kind {
        None => "the kind of wait is missing".to_owned(),
        Some(_) => match Wait::deserialize(value) {
            Ok(wait) => return Ok(wait),
            Err(error) => error.to_string(),
        },
    };
    Err(D::Error::custom(format!(
        r#"{why}: write {{"kind": "none"}}, {{"kind": "fixed", "wait_ms": 100}} or {{"kind": "exponential", "initial_ms": 100, "max_ms": 5000}}"#
    )))
}

impl From<RunBody> for RunRequest {
    fn from(body: RunBody) -> Self {
        Self {
            version: body.version,
            filter: body.filter,
            tags: body.tags.into(),
            shard: body.shard,
            reference: body.reference,
            initiated_by: body.initiated_by,
            params: body.params,
            timeout_ms: body.timeout_ms,
            test_timeout_ms: body.test_timeout_ms,
            max_attempts: body.max_attempts,
            retry_wait: body.retry_wait,
            parallelism: body.parallelism,
            shuffle_seed: body.shuffle_seed,
            repeat: body.repeat,
            retry_on: body.retry_on,
            retry_budget_ms: body.retry_budget_ms,
            on_flaky: body.on_flaky,
            max_failures: body.max_failures,
            needs: body.needs,
            needs_within_ms: body.needs_within_ms,
            priority: body.priority,
            group: body.group,
            supersede: body.supersede,
            repeat_for_ms: body.repeat_for_ms,
            repeat_until_failure: body.repeat_until_failure,
        }
    }
}

impl From<&RunRequest> for RunBody {
    fn from(request: &RunRequest) -> Self {
        let RunRequest { tags, .. } = request.clone();
        Self {
            version: request.version,
            filter: request.filter.clone(),
            tags: TagsBody::Lists(TagLists { include: tags.include, exclude: tags.exclude }),
            reference: request.reference.clone(),
            initiated_by: request.initiated_by.clone(),
            params: request.params.clone(),
            timeout_ms: request.timeout_ms,
            test_timeout_ms: request.test_timeout_ms,
            max_attempts: request.max_attempts,
            retry_wait: request.retry_wait,
            parallelism: request.parallelism,
            shuffle_seed: request.shuffle_seed,
            repeat: request.repeat,
            repeat_for_ms: request.repeat_for_ms,
            repeat_until_failure: request.repeat_until_failure,
            shard: request.shard,
            retry_on: request.retry_on.clone(),
            retry_budget_ms: request.retry_budget_ms,
            on_flaky: request.on_flaky,
            max_failures: request.max_failures,
            needs: request.needs.clone(),
            needs_within_ms: request.needs_within_ms,
            priority: request.priority,
            group: request.group.clone(),
            supersede: request.supersede,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::views::EventView;
    use crate::model::{EventKind, RunEvent, Stage};
    use crate::report::samples;

    #[test]
    fn a_run_has_the_shape_that_clients_lean_on() {
        let (run, _) = samples::run();
        let mut json = serde_json::to_value(RunView::from(&run)).unwrap();
        // One test is enough of a sample.
        json["tests"].as_array_mut().unwrap().truncate(2);
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    }

    #[test]
    fn events_have_their_name_and_their_stage_beside_them() {
        let (run, _) = samples::run();
        let attempt = Box::new(run.tests[0].attempts[0].clone());
        let kinds = [
            EventKind::RunQueued { spec: Box::new(run.spec.clone()) },
            EventKind::RunStarted,
            EventKind::AttemptStarted { stage: Stage::Setup, round: 1, number: 1 },
            EventKind::AttemptFinished { stage: Stage::Test("passes".into()), attempt },
            EventKind::RunFinished { status: run.status, message: None, counts: run.counts() },
        ];
        let shown = (1..).zip(kinds).map(|(seq, kind)| {
            let at = Timestamp::UNIX_EPOCH;
            let name = kind.name();
            let event = RunEvent { run_id: run.spec.id, seq, at, kind };
            let text = serde_json::to_string(&EventView::from(&event)).unwrap();
            let back: EventView = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
            assert!(text.contains(&format!("\"event\":\"{name}\"")), "{text}");
            text
        });
        insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
    }
}
