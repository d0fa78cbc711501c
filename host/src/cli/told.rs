//! What a server tells, back in the model's words, so that a run there is shown as one here. The
//! shapes themselves are those of [`crate::http::views`].

use serde::Deserialize;

use super::client::parse;
use super::exit;
use crate::http::views::{
    AttemptView, ClearedAttemptView, CountsView, DetailView, EventBody, EventView, ExchangeView,
    FailureView, FrameView, LocationView, LogLineView, MarkView, StageView, SubResultView,
    SuiteRef,
};
use crate::model::{
    Artifact, Attempt, AttemptDetail, ClearedAttempt, Counts, EventKind, Exchange, Failure, Frame,
    Level, Location, LogLine, Mark, Outcome, PlannedTest, RunEvent, RunRequest, RunSpec, Source,
    Stage, SubResult, SuiteId, TestStatus,
};

/// An event in the model's words; none if it is of a kind that only a newer server knows.
pub(crate) fn event(json: &[u8]) -> Result<Option<RunEvent>, exit::Failure> {
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    let named: Named = parse(json)?;
    if !EventKind::NAMES.contains(&named.event.as_str()) {
        return Ok(None);
    }
    parse::<EventView>(json).map(|event| Some(event.into()))
}

impl From<&SuiteRef> for SuiteId {
    fn from(suite: &SuiteRef) -> Self {
        Self { namespace: suite.namespace.clone(), name: suite.name.clone() }
    }
}

impl From<EventView> for RunEvent {
    fn from(event: EventView) -> Self {
        let kind = match event.body {
            EventBody::RunQueued { number, ref suite, ref tests } => {
                let planned = tests.iter().map(|test| PlannedTest {
                    name: test.name.clone(),
                    soft: test.soft,
                    timeout_ms: None,
                    max_attempts: test.max_attempts,
                    skip: test.skip.clone(),
                    mark: test.mark.clone().map(Into::into),
                });
                // What is to be done, as far as the server tells.
                let spec = RunSpec {
                    id: event.run_id,
                    number,
                    suite: suite.into(),
                    version: suite.version,
                    created_at: event.at,
                    request: RunRequest::default(),
                    timeout_ms: 0,
                    parallelism: 1,
                    repeat: 1,
                    tests: planned.collect(),
                    program: None,
                    language: None,
                    fixtures: None,
                    sharing: Default::default(),
                };
                EventKind::RunQueued { spec: Box::new(spec) }
            }
            EventBody::RunStarted => EventKind::RunStarted,
            EventBody::AttemptStarted { stage, round, number } => {
                EventKind::AttemptStarted { stage: stage.into(), round, number }
            }
            EventBody::AttemptFinished { stage, attempt } => EventKind::AttemptFinished {
                stage: stage.into(),
                attempt: Box::new((*attempt).into()),
            },
            EventBody::TestFinished { test, round, status, reason } => {
                EventKind::TestFinished { test, round, status, reason }
            }
            EventBody::CancelRequested { by } => EventKind::CancelRequested { by },
            EventBody::RetryRequested { tests, by } => EventKind::RetryRequested { tests, by },
            EventBody::RunFinished { status, message, counts } => {
                EventKind::RunFinished { status, message, counts: counts.into() }
            }
            EventBody::Cleared { test, attempt, reason, by, counts } => EventKind::Cleared {
                test,
                attempt: attempt.map(Into::into),
                reason,
                by,
                counts: counts.into(),
            },
        };
        Self { run_id: event.run_id, seq: event.seq, at: event.at, kind }
    }
}

impl From<ClearedAttemptView> for ClearedAttempt {
    fn from(ClearedAttemptView { round, number, status }: ClearedAttemptView) -> Self {
        Self { round, number, status }
    }
}

impl From<MarkView> for Mark {
    fn from(MarkView { kind, reason, by, since, until, declared }: MarkView) -> Self {
        Self { kind, reason, by, since, until, declared }
    }
}

impl From<StageView> for Stage {
    fn from(stage: StageView) -> Self {
        match (stage.stage.as_str(), stage.test) {
            (_, Some(test)) => Self::Test(test),
            ("teardown", None) => Self::Teardown,
            _ => Self::Setup,
        }
    }
}

impl From<CountsView> for Counts {
    fn from(counts: CountsView) -> Self {
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

impl From<AttemptView> for Attempt {
    fn from(attempt: AttemptView) -> Self {
        // A limit of a newer server has no name here.
        let limit = |name: String| serde_json::from_value(name.into()).ok();
        let artifact = |artifact: crate::http::views::ArtifactView| Artifact {
            name: artifact.name,
            media_type: artifact.media_type,
            size_bytes: artifact.size_bytes,
            digest: artifact.digest,
            content: bytes::Bytes::new(),
        };
        Self {
            number: attempt.number,
            round: attempt.round,
            status: attempt.status,
            cause: attempt.cause,
            soft: attempt.soft,
            message: attempt.message,
            location: attempt.location.map(Into::into),
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            fuel_used: attempt.fuel_used,
            memory_peak_bytes: attempt.memory_peak_bytes,
            logs_truncated: attempt.logs_truncated,
            limits_hit: attempt.limits_hit.into_iter().filter_map(limit).collect(),
            artifacts: attempt.artifacts.into_iter().map(artifact).collect(),
            detail: attempt.detail.map(|detail| Box::new(detail.into())),
        }
    }
}

/// Spans and values are not shown.
impl From<DetailView> for AttemptDetail {
    fn from(detail: DetailView) -> Self {
        Self {
            log: detail.log.into_iter().flatten().map(Into::into).collect(),
            log_dropped_bytes: detail.log_dropped_bytes,
            backtrace: detail.backtrace.into_iter().map(Into::into).collect(),
            further_failures: detail.further_failures.into_iter().map(Into::into).collect(),
            exchanges: detail.exchanges.into_iter().map(Into::into).collect(),
            sub_results: detail.sub_results.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<LocationView> for Location {
    fn from(LocationView { file, line, column }: LocationView) -> Self {
        Self { file, line, column }
    }
}

impl From<FailureView> for Failure {
    fn from(FailureView { message, location }: FailureView) -> Self {
        Self { message, location: location.map(Into::into) }
    }
}

impl From<FrameView> for Frame {
    fn from(FrameView { function, location }: FrameView) -> Self {
        Self { function, location: location.map(Into::into) }
    }
}

impl From<ExchangeView> for Exchange {
    fn from(exchange: ExchangeView) -> Self {
        Self {
            started_at: exchange.started_at,
            method: exchange.method,
            url: exchange.url,
            allowed: exchange.allowed,
            status: exchange.status,
            error: exchange.error,
            sent_bytes: exchange.sent_bytes,
            received_bytes: exchange.received_bytes,
            duration_ms: exchange.duration_ms,
            trace_id: exchange.trace_id,
        }
    }
}

impl From<SubResultView> for SubResult {
    fn from(part: SubResultView) -> Self {
        let message = part.message.unwrap_or_default();
        let outcome = match part.status {
            TestStatus::Passed => Outcome::Passed,
            TestStatus::Skipped => Outcome::Skipped { reason: message },
            _ => Outcome::Failed(Failure { message, location: part.location.map(Into::into) }),
        };
        Self { name: part.name, outcome, duration_ms: part.duration_ms }
    }
}

impl From<LogLineView> for LogLine {
    fn from(line: LogLineView) -> Self {
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
        Self { at: line.at, source, text: line.text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    /// One event of each kind at least.
    fn told() -> Vec<RunEvent> {
        let mut events = sample::events();
        let last = events.last().cloned().unwrap();
        let tests = vec!["fails".to_owned()];
        let more = [
            EventKind::CancelRequested { by: Some("me".into()) },
            EventKind::RetryRequested { tests, by: None },
            EventKind::Cleared {
                test: Some("fails".into()),
                attempt: Some(ClearedAttempt { round: 1, number: 1, status: TestStatus::Failed }),
                reason: "no network".into(),
                by: Some("me".into()),
                counts: Counts::default(),
            },
        ];
        events.extend(more.map(|kind| RunEvent { kind, ..last.clone() }));
        events
    }

    /// What the server makes of an event, read again.
    fn there_and_back(event: &RunEvent) -> Option<RunEvent> {
        let json = serde_json::to_vec(&EventView::from(event)).unwrap();
        super::event(&json).unwrap()
    }

    #[test]
    fn events_come_back_as_they_went() {
        let mut names = Vec::new();
        for event in told() {
            names.push(event.kind.name());
            let mut back = there_and_back(&event).unwrap();
            let mut sent = event.clone();
            if let EventKind::AttemptFinished { attempt, .. } = &mut sent.kind {
                attempt.detail = None;
            }
            if let (EventKind::RunQueued { spec: back }, EventKind::RunQueued { spec: sent }) =
                (&mut back.kind, &sent.kind)
            {
                assert_eq!((&back.suite, &back.version), (&sent.suite, &sent.version));
                assert_eq!((back.number, back.tests.len()), (sent.number, sent.tests.len()));
                continue;
            }
            assert_eq!(back, sent);
        }
        assert!(EventKind::NAMES.iter().all(|name| names.contains(name)), "{names:?}");
    }

    #[test]
    fn an_event_of_a_newer_server_is_passed_over() {
        assert!(event(br#"{"event":"annotated","by":"plugin"}"#).unwrap().is_none());
        assert!(event(br#"{"event":"run_finished"}"#).is_err());
    }

    #[test]
    fn what_an_attempt_left_behind_comes_back() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let source = Source::Log(Level::Warn);
        let location = Some(Location { file: "a.rs".into(), line: 3, column: None });
        let failure = Failure { message: "m".into(), location };
        let outcomes = [
            Outcome::Passed,
            Outcome::Failed(failure.clone()),
            Outcome::Skipped { reason: "r".into() },
        ];
        let part = |outcome| SubResult { name: "p".into(), outcome, duration_ms: 1 };
        let detail = AttemptDetail {
            log: vec![LogLine { at, source, text: "t".into() }],
            log_dropped_bytes: 5,
            backtrace: vec![Frame { function: "f".into(), location: failure.location.clone() }],
            further_failures: vec![failure],
            sub_results: outcomes.map(part).into(),
            ..AttemptDetail::default()
        };
        assert_eq!(AttemptDetail::from(DetailView::of(&detail, true)), detail);
    }
}
