//! Attempts, with what they left behind.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ClearingView, StageView, schemas};
use crate::model::{
    Artifact, Attempt, AttemptDetail, Attempts, Cause, Digest, Exchange, Failure, Frame, Level,
    Location, LogLine, Outcome, Source, Span, Stage, SubResult, TestStatus, Value,
};

/// One execution in a fresh instance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Which attempt in its round, counted from 1.
    pub number: u32,
    /// Which round of a repeated run, counted from 1.
    pub round: u32,
    /// How it ended.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
    /// What ended it, if it failed or ended in error: `assertion`, `panic`, `trap`, `exit`, `timeout`,
    /// `fuel`, `memory`, `setup`, `host` or `lost`.
    #[schema(value_type = Option<String>, example = "assertion")]
    pub cause: Option<Cause>,
    /// Whether the attempt asked for its failure not to count.
    pub soft: bool,
    /// Why it failed, was skipped or ended in error: the first KiB, with a mark at the end if there is
    /// more. Whole where the attempt has its detail, and in reports.
    pub message: Option<String>,
    /// Where it failed.
    pub location: Option<LocationView>,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// Instructions used, in units that do not depend on the machine; null if the suite runs unmetered,
    /// and if the attempt was cut off at its deadline or cancelled: what it had used then is not known.
    pub fuel_used: Option<u64>,
    /// The most memory that it had at one time.
    pub memory_peak_bytes: u64,
    /// Whether the middle of the log was dropped.
    pub logs_truncated: bool,
    /// The limits that were hit, each once.
    pub limits_hit: Vec<String>,
    /// The files it kept.
    pub artifacts: Vec<ArtifactView>,
    /// Why it counts in no statistics, if somebody took it out. What is cleared as a whole is not told
    /// again of each attempt at setup and teardown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared: Option<ClearingView>,
    /// What else it left behind; only where a test, setup or teardown is asked for by itself, and in the
    /// JSON report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<DetailView>,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            round: attempt.round,
            status: attempt.status,
            cause: attempt.cause,
            soft: attempt.soft,
            message: attempt.message.clone(),
            location: attempt.location.as_ref().map(Into::into),
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            fuel_used: attempt.fuel_used,
            memory_peak_bytes: attempt.memory_peak_bytes,
            logs_truncated: attempt.logs_truncated,
            limits_hit: attempt.limits_hit.iter().map(|limit| limit.as_str().into()).collect(),
            artifacts: attempt.artifacts.iter().map(Into::into).collect(),
            cleared: None,
            detail: None,
        }
    }
}

impl AttemptView {
    /// An attempt, one of these.
    pub fn of(attempt: &Attempt, among: &Attempts) -> Self {
        let cleared = among.clearing(attempt.round, attempt.number).map(Into::into);
        Self { cleared, ..attempt.into() }
    }
}

/// A place in source code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LocationView {
    /// The file, as the language's own tools print it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1, if known.
    pub column: Option<u32>,
}

impl From<&Location> for LocationView {
    fn from(location: &Location) -> Self {
        Self { file: location.file.clone(), line: location.line, column: location.column }
    }
}

/// A file kept with an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// Its name, as the suite calls it.
    pub name: String,
    /// Its media type, as the suite says.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its content's digest; `GET /runs/{id}/artifacts/{digest}` answers with the content.
    #[schema(value_type = String)]
    pub digest: Digest,
}

impl From<&Artifact> for ArtifactView {
    fn from(artifact: &Artifact) -> Self {
        Self {
            name: artifact.name.clone(),
            media_type: artifact.media_type.clone(),
            size_bytes: artifact.size_bytes,
            digest: artifact.digest,
        }
    }
}

/// A file kept with an attempt of a run, and where it came from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunArtifactView {
    /// Its number in the run, counted from 1 in the order in which attempts ended; does not change.
    pub number: u64,
    /// What kept it.
    #[serde(flatten)]
    pub stage: StageView,
    /// In which round.
    pub round: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The file.
    #[serde(flatten)]
    pub artifact: ArtifactView,
}

/// What an attempt left behind beside its result.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DetailView {
    /// The log; only in the JSON report, `GET /runs/{id}/logs` has it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<LogLineView>>,
    /// How many bytes of log were dropped from the middle.
    pub log_dropped_bytes: u64,
    /// The WebAssembly stack of a trap, innermost first.
    pub backtrace: Vec<FrameView>,
    /// Failures reported after the first.
    pub further_failures: Vec<FailureView>,
    /// Outgoing HTTP requests and TCP connections.
    pub exchanges: Vec<ExchangeView>,
    /// Timed parts.
    pub spans: Vec<SpanView>,
    /// Named parts.
    pub sub_results: Vec<SubResultView>,
    /// Values that the attempt set for the rest of the run.
    pub values: Vec<ValueView>,
}

impl DetailView {
    /// The detail, with the log or without.
    pub fn of(detail: &AttemptDetail, with_log: bool) -> Self {
        Self {
            log: with_log.then(|| detail.log.iter().map(Into::into).collect()),
            log_dropped_bytes: detail.log_dropped_bytes,
            backtrace: detail.backtrace.iter().map(Into::into).collect(),
            further_failures: detail.further_failures.iter().map(Into::into).collect(),
            exchanges: detail.exchanges.iter().map(Into::into).collect(),
            spans: detail.spans.iter().map(Into::into).collect(),
            sub_results: detail.sub_results.iter().map(Into::into).collect(),
            values: detail.values.iter().map(Into::into).collect(),
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// When its first byte was written.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Where it came from.
    #[schema(schema_with = schemas::source)]
    pub source: String,
    /// The line, without its line break.
    pub text: String,
}

impl From<&LogLine> for LogLineView {
    fn from(line: &LogLine) -> Self {
        Self { at: line.at, source: source(line.source).into(), text: line.text.to_string() }
    }
}

/// The word for where a line came from.
fn source(source: Source) -> &'static str {
    match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
        Source::Log(Level::Trace) => "trace",
        Source::Log(Level::Debug) => "debug",
        Source::Log(Level::Info) => "info",
        Source::Log(Level::Warn) => "warn",
        Source::Log(Level::Error) => "error",
        Source::Host => "host",
    }
}

/// One line of a run's log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogRecordView {
    /// What wrote it.
    #[serde(flatten)]
    pub stage: StageView,
    /// In which round.
    pub round: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The line.
    #[serde(flatten)]
    pub line: LogLineView,
}

impl LogRecordView {
    /// A line of that attempt.
    pub fn of(stage: &Stage, round: u32, attempt: u32, line: &LogLine) -> Self {
        Self { stage: stage.into(), round, attempt, line: line.into() }
    }
}

/// One frame of a WebAssembly stack.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FrameView {
    /// The function's name.
    pub function: String,
    /// Its place in the source, where the component says.
    pub location: Option<LocationView>,
}

impl From<&Frame> for FrameView {
    fn from(frame: &Frame) -> Self {
        let location = frame.location.as_ref().map(Into::into);
        Self { function: frame.function.clone(), location }
    }
}

/// Why something failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// What went wrong.
    pub message: String,
    /// Where, if known.
    pub location: Option<LocationView>,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        let location = failure.location.as_ref().map(Into::into);
        Self { message: failure.message.clone(), location }
    }
}

/// One outgoing HTTP request, or one TCP connection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExchangeView {
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The HTTP method, or `CONNECT` for a TCP connection.
    pub method: String,
    /// The URL without user, password and query values.
    pub url: String,
    /// Whether the policy allowed it.
    pub allowed: bool,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why there was no answer, or why it was denied.
    pub error: Option<String>,
    /// Bytes of body sent.
    pub sent_bytes: u64,
    /// Bytes of body received.
    pub received_bytes: u64,
    /// From the start to the last byte.
    pub duration_ms: u64,
    /// The trace id that was sent along in `traceparent`.
    pub trace_id: Option<String>,
}

impl From<&Exchange> for ExchangeView {
    fn from(exchange: &Exchange) -> Self {
        Self {
            started_at: exchange.started_at,
            method: exchange.method.clone(),
            url: exchange.url.clone(),
            allowed: exchange.allowed,
            status: exchange.status,
            error: exchange.error.clone(),
            sent_bytes: exchange.sent_bytes,
            received_bytes: exchange.received_bytes,
            duration_ms: exchange.duration_ms,
            trace_id: exchange.trace_id.clone(),
        }
    }
}

/// A timed part of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SpanView {
    /// Its name.
    pub name: String,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// Its attributes.
    pub attributes: std::collections::BTreeMap<String, String>,
}

impl From<&Span> for SpanView {
    fn from(span: &Span) -> Self {
        Self {
            name: span.name.clone(),
            started_at: span.started_at,
            duration_ms: span.duration_ms,
            attributes: span.attributes.iter().cloned().collect(),
        }
    }
}

/// A named part of a test.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SubResultView {
    /// Its name.
    pub name: String,
    /// How it ended.
    #[schema(schema_with = schemas::test_status)]
    pub status: TestStatus,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    /// Where it failed.
    pub location: Option<LocationView>,
    /// How long it took, by the suite's own measure.
    pub duration_ms: u64,
}

impl From<&SubResult> for SubResultView {
    fn from(result: &SubResult) -> Self {
        let (status, message, location) = match &result.outcome {
            Outcome::Passed => (TestStatus::Passed, None, None),
            Outcome::Failed(Failure { message, location }) => {
                (TestStatus::Failed, Some(message.clone()), location.as_ref().map(Into::into))
            }
            Outcome::Skipped { reason } => (TestStatus::Skipped, Some(reason.clone()), None),
        };
        let name = result.name.clone();
        Self { name, status, message, location, duration_ms: result.duration_ms }
    }
}

/// A value that lasts for the rest of the run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// Its name.
    pub name: String,
    /// The value; null if it is secret.
    pub value: Option<String>,
    /// Whether it is secret.
    pub secret: bool,
}

impl From<&Value> for ValueView {
    fn from(value: &Value) -> Self {
        let shown = (!value.secret).then(|| value.value.clone());
        Self { name: value.name.clone(), value: shown, secret: value.secret }
    }
}
