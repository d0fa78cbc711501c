//! The server's JSON as this command reads it: only what it shows, so that a server may say more.

use jiff::Timestamp;
use serde::Deserialize;

use super::progress::Facts;
use crate::model::{
    Attempt, AttemptDetail, Counts, Digest, EventKind, Exchange, Failure, Frame, Level, LogLine,
    Name, Outcome, PlannedTest, RunEvent, RunId, RunRequest, RunSpec, RunStatus, Source, Stage,
    SubResult, SuiteId, TestStatus,
};

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// A suite and one of its versions.
#[derive(Debug, Deserialize)]
pub(crate) struct SuiteRef {
    pub(crate) namespace: Name,
    pub(crate) name: Name,
    pub(crate) version: Digest,
}

impl SuiteRef {
    pub(crate) fn id(&self) -> SuiteId {
        SuiteId { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// An uploaded version.
#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) suite: SuiteRef,
    pub(crate) tests: Vec<serde::de::IgnoredAny>,
    pub(crate) imports: Vec<String>,
    #[serde(default)]
    pub(crate) wants_http: Vec<String>,
    pub(crate) size_bytes: u64,
}

/// A suite in a list.
#[derive(Debug, Deserialize)]
pub(crate) struct SuiteSummary {
    pub(crate) namespace: Name,
    pub(crate) name: Name,
    pub(crate) newest: NewestVersion,
}

/// The newest version of a suite in a list.
#[derive(Debug, Deserialize)]
pub(crate) struct NewestVersion {
    pub(crate) suite: SuiteRef,
    pub(crate) tests_count: u64,
    pub(crate) created_at: Timestamp,
}

/// A run in a list, or by itself.
#[derive(Debug, Deserialize)]
pub(crate) struct RunSummary {
    pub(crate) id: RunId,
    pub(crate) number: u64,
    pub(crate) suite: SuiteRef,
    pub(crate) status: RunStatus,
    pub(crate) reference: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) counts: Counts,
    #[serde(default)]
    parallelism: Option<u32>,
    #[serde(default)]
    repeat: Option<u32>,
    #[serde(default)]
    shuffle_seed: Option<u64>,
}

impl RunSummary {
    /// What its events do not tell.
    pub(crate) fn facts(&self) -> Facts {
        let &Self { parallelism, repeat, shuffle_seed, .. } = self;
        Facts { parallelism, repeat, shuffle_seed }
    }
}

/// A test of a run with its attempts.
#[derive(Debug, Deserialize)]
pub(crate) struct TestWithAttempts {
    pub(crate) attempts: Vec<AttemptWithDetail>,
}

/// An attempt with what it left behind.
#[derive(Debug, Deserialize)]
pub(crate) struct AttemptWithDetail {
    #[serde(default)]
    detail: Option<Detail>,
    #[serde(flatten)]
    attempt: Attempt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    log: Option<Vec<Line>>,
    log_dropped_bytes: u64,
    backtrace: Vec<Frame>,
    further_failures: Vec<Failure>,
    exchanges: Vec<Exchange>,
    sub_results: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    name: String,
    status: TestStatus,
    message: Option<String>,
    duration_ms: u64,
}

/// One line of a run's log.
#[derive(Debug, Deserialize)]
pub(crate) struct LogRecord {
    #[serde(flatten)]
    pub(crate) stage: StageRef,
    pub(crate) round: u32,
    pub(crate) attempt: u32,
    #[serde(flatten)]
    pub(crate) line: Line,
}

/// One line of a log.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    source: String,
    text: String,
}

impl From<Line> for LogLine {
    fn from(line: Line) -> Self {
        let source = match line.source.as_str() {
            "stdout" => Source::Stdout,
            "stderr" => Source::Stderr,
            "trace" => Source::Log(Level::Trace),
            "debug" => Source::Log(Level::Debug),
            "info" => Source::Log(Level::Info),
            "warn" => Source::Log(Level::Warn),
            "error" => Source::Log(Level::Error),
            _ => Source::Host,
        };
        Self { at: line.at, source, text: line.text }
    }
}

impl From<AttemptWithDetail> for Attempt {
    fn from(AttemptWithDetail { detail, attempt }: AttemptWithDetail) -> Self {
        let detail = detail.map(|detail| {
            Box::new(AttemptDetail {
                log: detail.log.into_iter().flatten().map(Into::into).collect(),
                log_dropped_bytes: detail.log_dropped_bytes,
                backtrace: detail.backtrace,
                further_failures: detail.further_failures,
                exchanges: detail.exchanges,
                sub_results: detail.sub_results.into_iter().map(Into::into).collect(),
                ..AttemptDetail::default()
            })
        });
        Self { detail, ..attempt }
    }
}

impl From<Part> for SubResult {
    fn from(part: Part) -> Self {
        let text = part.message.unwrap_or_default();
        let outcome = match part.status {
            TestStatus::Passed => Outcome::Passed,
            TestStatus::Skipped => Outcome::Skipped { reason: text },
            _ => Outcome::Failed(Failure { message: text, location: None }),
        };
        Self { name: part.name, outcome, duration_ms: part.duration_ms }
    }
}

/// A part of a run that has attempts.
#[derive(Debug, Deserialize)]
pub(crate) struct StageRef {
    stage: String,
    #[serde(default)]
    test: Option<String>,
}

impl From<StageRef> for Stage {
    fn from(stage: StageRef) -> Self {
        match (stage.stage.as_str(), stage.test) {
            (_, Some(test)) => Self::Test(test),
            ("teardown", None) => Self::Teardown,
            _ => Self::Setup,
        }
    }
}

/// One fact about a run.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    run_id: RunId,
    seq: u64,
    at: Timestamp,
    #[serde(flatten)]
    body: EventBody,
}

#[derive(Debug, Deserialize)]
struct Planned {
    name: String,
    soft: bool,
    max_attempts: u32,
    skip: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventBody {
    RunQueued {
        number: u64,
        suite: SuiteRef,
        tests: Vec<Planned>,
    },
    RunStarted,
    AttemptStarted {
        #[serde(flatten)]
        stage: StageRef,
        round: u32,
        number: u32,
    },
    AttemptFinished {
        #[serde(flatten)]
        stage: StageRef,
        attempt: Box<Attempt>,
    },
    TestFinished {
        test: String,
        round: u32,
        status: TestStatus,
        reason: Option<String>,
    },
    CancelRequested {
        by: Option<String>,
    },
    RetryRequested {
        tests: Vec<String>,
        by: Option<String>,
    },
    RunFinished {
        status: RunStatus,
        message: Option<String>,
        counts: Counts,
    },
    /// What a newer server may tell of.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The event in the model's words; none if it is of a kind that this command does not know.
    pub(crate) fn into_model(self) -> Option<RunEvent> {
        let kind = match self.body {
            EventBody::RunQueued { number, suite, tests } => {
                let spec = spec(self.run_id, self.at, number, &suite, tests);
                EventKind::RunQueued { spec: Box::new(spec) }
            }
            EventBody::RunStarted => EventKind::RunStarted,
            EventBody::AttemptStarted { stage, round, number } => {
                EventKind::AttemptStarted { stage: stage.into(), round, number }
            }
            EventBody::AttemptFinished { stage, attempt } => {
                EventKind::AttemptFinished { stage: stage.into(), attempt }
            }
            EventBody::TestFinished { test, round, status, reason } => {
                EventKind::TestFinished { test, round, status, reason }
            }
            EventBody::CancelRequested { by } => EventKind::CancelRequested { by },
            EventBody::RetryRequested { tests, by } => EventKind::RetryRequested { tests, by },
            EventBody::RunFinished { status, message, counts } => {
                EventKind::RunFinished { status, message, counts }
            }
            EventBody::Unknown => return None,
        };
        Some(RunEvent { run_id: self.run_id, seq: self.seq, at: self.at, kind })
    }
}

/// What is to be done, as far as the server tells.
fn spec(
    id: RunId,
    created_at: Timestamp,
    number: u64,
    suite: &SuiteRef,
    tests: Vec<Planned>,
) -> RunSpec {
    let planned = |Planned { name, soft, max_attempts, skip }| PlannedTest {
        name,
        soft,
        timeout_ms: None,
        max_attempts,
        skip,
    };
    RunSpec {
        id,
        number,
        suite: suite.id(),
        version: suite.version,
        created_at,
        request: RunRequest::default(),
        timeout_ms: 0,
        parallelism: 1,
        repeat: 1,
        tests: tests.into_iter().map(planned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: &str) -> Option<RunEvent> {
        let id = "01010101-0101-0101-0101-010101010101";
        let json = format!(r#"{{"run_id":"{id}","seq":1,"at":"1970-01-01T00:00:00Z",{body}}}"#);
        serde_json::from_str::<Event>(&json).unwrap().into_model()
    }

    #[test]
    fn events_are_read_as_the_server_writes_them() {
        let version = Digest::of(b"");
        let queued = event(&format!(
            r#""event":"run_queued","number":12,"suite":{{"namespace":"team","name":"hello",
               "version":"{version}"}},"tests":[{{"name":"a","soft":true,"max_attempts":3,"skip":null}},
               {{"name":"b","soft":false,"max_attempts":1,"skip":"no"}}],"more":1"#
        ));
        let EventKind::RunQueued { spec } = queued.unwrap().kind else { panic!("not queued") };
        assert_eq!(
            (spec.number, spec.suite.to_string(), spec.tests.len()),
            (12, "team/hello".into(), 2)
        );
        let started =
            event(r#""event":"attempt_started","stage":"test","test":"a","round":1,"number":2"#);
        let stage = Stage::Test("a".into());
        assert_eq!(started.unwrap().kind, EventKind::AttemptStarted { stage, round: 1, number: 2 });
    }

    #[test]
    fn an_event_of_a_newer_server_is_passed_over() {
        assert_eq!(event(r#""event":"annotated","by":"plugin""#), None);
    }

    #[test]
    fn an_attempt_is_read_with_its_detail() {
        let json = r#"{"number":1,"round":1,"status":"failed","cause":"panic","soft":false,
            "message":"boom","location":{"file":"a.rs","line":3,"column":null},
            "started_at":"1970-01-01T00:00:00Z","duration_ms":5,"fuel_used":null,
            "memory_peak_bytes":0,"logs_truncated":false,"limits_hit":["fuel"],"artifacts":[],
            "detail":{"log_dropped_bytes":0,"backtrace":[],"further_failures":[],"exchanges":[],
            "spans":[{"name":"s","started_at":"1970-01-01T00:00:00Z","duration_ms":1,"attributes":{}}],
            "sub_results":[{"name":"p","status":"failed","message":"m","location":null,"duration_ms":1}],
            "values":[{"name":"v","value":null,"secret":true}],
            "log":[{"at":"1970-01-01T00:00:00Z","source":"warn","text":"t"}]}}"#;
        let attempt: Attempt = serde_json::from_str::<AttemptWithDetail>(json).unwrap().into();
        let detail = attempt.detail.unwrap();
        assert_eq!(detail.log[0].source, Source::Log(Level::Warn));
        assert!(matches!(detail.sub_results[0].outcome, Outcome::Failed(_)));
    }
}
