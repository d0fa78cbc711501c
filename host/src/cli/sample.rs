//! A run of everything that can happen to a test, as events, for tests of what is shown.

use jiff::{SignedDuration, Timestamp};

use crate::model::*;

/// The run's id; fixed, so that what is shown can be compared.
pub(crate) const RUN: [u8; 16] = [1; 16];

/// A run with a test of each kind, from its first event to its last.
pub(crate) fn events() -> Vec<RunEvent> {
    let tests = [
        ("passes", 1, None),
        ("is flaky", 3, None),
        ("fails", 2, None),
        ("fails softly", 1, None),
        ("hangs", 1, None),
        ("is disabled", 1, Some("disabled: moved")),
        ("is left out", 1, Some("filtered out: it has the tag \"slow\"")),
    ];
    let planned = |(name, max_attempts, skip): (&str, u32, Option<&str>)| PlannedTest {
        name: name.into(),
        soft: false,
        timeout_ms: None,
        max_attempts,
        skip: skip.map(Into::into),
        mark: None,
    };
    let spec = RunSpec {
        id: RunId::from_bytes(RUN),
        number: 12,
        suite: "team/hello".parse().unwrap(),
        version: Digest::of(b""),
        created_at: Timestamp::UNIX_EPOCH,
        request: RunRequest::default(),
        timeout_ms: 1000,
        parallelism: 1,
        repeat: 1,
        tests: tests.map(planned).into(),
        program: None,
        language: None,
        fixtures: None,
        sharing: Default::default(),
    };
    let mut kinds = vec![EventKind::RunQueued { spec: Box::new(spec) }, EventKind::RunStarted];
    kinds.extend(attempt(Stage::Setup, passed(1)));
    kinds.extend(test("passes", vec![passed(1)]));
    kinds.extend(test("is flaky", vec![failed(1, Cause::Panic), passed(2)]));
    kinds.extend(test("fails", vec![failed(1, Cause::Assertion), failed(2, Cause::Assertion)]));
    let soft = Attempt { soft: true, ..failed(1, Cause::Assertion) };
    kinds.extend(test("fails softly", vec![soft]));
    kinds.extend(test("hangs", vec![failed(1, Cause::Timeout)]));
    for (name, _, reason) in tests.into_iter().filter(|(.., skip)| skip.is_some()) {
        kinds.push(EventKind::TestFinished {
            test: name.into(),
            round: 1,
            status: TestStatus::Skipped,
            reason: reason.map(Into::into),
        });
    }
    kinds.extend(attempt(Stage::Teardown, passed(1)));
    let counts =
        Counts { passed: 2, failed: 2, soft_failed: 1, skipped: 2, flaky: 1, ..Counts::default() };
    kinds.push(EventKind::RunFinished { status: RunStatus::Failed, message: None, counts });
    let event = |(seq, kind): (u64, EventKind)| RunEvent {
        run_id: RunId::from_bytes(RUN),
        seq,
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(10 * seq as i64),
        kind,
    };
    (1..).zip(kinds).map(event).collect()
}

/// The run that those events come to.
pub(crate) fn finished() -> Run {
    Run::fold(&events()).unwrap()
}

/// The events of a test with these attempts, which ended as the last of them.
pub(crate) fn test(name: &str, attempts: Vec<Attempt>) -> Vec<EventKind> {
    let status = attempts.last().unwrap().status;
    let stage = Stage::Test(name.into());
    let mut kinds: Vec<_> = attempts.into_iter().flat_map(|a| attempt(stage.clone(), a)).collect();
    kinds.push(EventKind::TestFinished { test: name.into(), round: 1, status, reason: None });
    kinds
}

fn attempt(stage: Stage, attempt: Attempt) -> [EventKind; 2] {
    let (round, number) = (attempt.round, attempt.number);
    let started = EventKind::AttemptStarted { stage: stage.clone(), round, number };
    [started, EventKind::AttemptFinished { stage, attempt: Box::new(attempt) }]
}

/// An attempt that passed.
pub(crate) fn passed(number: u32) -> Attempt {
    Attempt {
        number,
        round: 1,
        status: TestStatus::Passed,
        cause: None,
        soft: false,
        message: None,
        location: None,
        started_at: Timestamp::UNIX_EPOCH,
        duration_ms: 4,
        fuel_used: Some(1000),
        memory_peak_bytes: 1 << 20,
        logs_truncated: false,
        limits_hit: vec![],
        artifacts: vec![],
        detail: Some(Box::new(AttemptDetail {
            log: vec![line(1, Source::Stdout, "hello \x1b[31mred\x1b[0m")],
            ..AttemptDetail::default()
        })),
    }
}

/// An attempt that failed, with everything that can be told of it.
pub(crate) fn failed(number: u32, cause: Cause) -> Attempt {
    let at = |line| Location { file: "src/lib.rs".into(), line, column: None };
    let frame = |function: &str| Frame { function: function.into(), location: Some(at(30)) };
    let exchange = Exchange {
        started_at: Timestamp::UNIX_EPOCH,
        method: "GET".into(),
        url: "http://127.0.0.1:8080/health".into(),
        allowed: true,
        status: Some(500),
        error: None,
        sent_bytes: 0,
        received_bytes: 12,
        duration_ms: 3,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
    };
    let denied = Exchange {
        url: "https://example.com/".into(),
        allowed: false,
        status: None,
        error: Some("not granted".into()),
        ..exchange.clone()
    };
    let part = |name: &str, outcome| SubResult { name: name.into(), outcome, duration_ms: 1 };
    let wrong = Failure { message: "wrong\ncolour".into(), location: Some(at(20)) };
    let detail = AttemptDetail {
        log: vec![
            line(1, Source::Stdout, "hello"),
            line(2, Source::Log(Level::Warn), "a\u{1b}[2Jb"),
            line(3, Source::Stderr, "bye"),
        ],
        log_dropped_bytes: 100,
        backtrace: vec![frame("hello::check"), frame("hello::run")],
        further_failures: vec![Failure { message: "and this".into(), location: None }],
        exchanges: vec![exchange, denied],
        spans: vec![],
        sub_results: vec![part("one", Outcome::Passed), part("two", Outcome::Failed(wrong))],
        values: vec![],
        whole: None,
    };
    Attempt {
        status: TestStatus::Failed,
        cause: Some(cause),
        message: Some("assertion `left == right` failed\n  left: 1\n right: 2".into()),
        location: Some(at(12)),
        duration_ms: 1234,
        logs_truncated: true,
        detail: Some(Box::new(detail)),
        ..passed(number)
    }
}

fn line(ms: i64, source: Source, text: &str) -> LogLine {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms);
    LogLine { at, source, text: text.into() }
}
