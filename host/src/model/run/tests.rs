//! What follows from a run's events.

use super::*;
use crate::model::{RunRequest, samples};

fn spec(tests: &[(&str, bool)], repeat: u32) -> RunSpec {
    let names: Vec<_> = tests.iter().map(|(name, _)| *name).collect();
    let mut spec = samples::spec(&names);
    spec.repeat = repeat;
    spec.tests.iter_mut().zip(tests).for_each(|(test, (_, soft))| test.soft = *soft);
    spec
}

fn attempt(number: u32, status: TestStatus) -> Attempt {
    Attempt { duration_ms: 1, ..Attempt::new(1, number, status, Timestamp::UNIX_EPOCH) }
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
    let run = run_of(&[("a", false), ("b", false)], &[("a", &[Failed, Passed]), ("b", &[Passed])]);
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
fn failures_that_count_are_counted_until_there_are_enough() {
    use TestStatus::{Cancelled, Error, Failed, Passed};
    let tests = [("a", false), ("soft", true), ("b", false), ("c", false)];
    let of = |attempts: &[(&str, &[TestStatus])], most| {
        let mut run = run_of(&tests, attempts);
        run.spec.request.max_failures = Some(most);
        (run.failures, run.has_failed_enough(), run.was_cut_by_failures())
    };
    // Neither what failed and passed then, nor what is soft, nor what is our fault.
    let none: &[(&str, &[TestStatus])] =
        &[("a", &[Failed, Passed]), ("soft", &[Failed]), ("b", &[Error])];
    assert_eq!(of(none, 1), (0, false, false));
    let one: &[(&str, &[TestStatus])] = &[("a", &[Passed]), ("b", &[Failed]), ("c", &[Cancelled])];
    assert_eq!(of(one, 1), (1, true, true));
    assert_eq!(of(one, 2), (1, false, false));
    // The last test was the one that failed: nothing was left out.
    assert_eq!(of(&[("a", &[Passed]), ("c", &[Failed])], 1), (1, true, false));
    let mut run = run_of(&tests, one);
    run.retry(&["b".into()], Timestamp::UNIX_EPOCH);
    assert_eq!(run.failures, 0, "a retry has its own");
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
    for (round, status, soft) in [(1, TestStatus::Failed, false), (2, TestStatus::Passed, true)] {
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
fn a_retry_takes_up_what_a_deadline_left_and_not_what_somebody_stopped() {
    use TestStatus::{Cancelled, Failed, Passed};
    let tests = [("a", false), ("b", false), ("c", false)];
    let ended: [(&str, &[TestStatus]); 3] =
        [("a", &[Passed]), ("b", &[Failed]), ("c", &[Cancelled])];
    let mut run = run_of(&tests, &ended);
    assert_eq!(run.to_retry(), ["b", "c"]);
    let tell = |run: &mut Run, kind| {
        let seq = run.last_seq + 1;
        run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
    };
    tell(&mut run, EventKind::CancelRequested { by: None });
    assert_eq!(run.to_retry(), ["b"]);
    // A retry is asked for anew: nobody has stopped it yet.
    tell(&mut run, finished(RunStatus::Cancelled));
    tell(&mut run, EventKind::RetryRequested { tests: vec!["b".into()], by: None });
    assert_eq!(run.to_retry(), ["c"]);
}

fn finished(status: RunStatus) -> EventKind {
    EventKind::RunFinished { status, message: None, counts: Counts::default() }
}

#[test]
fn a_run_keeps_the_last_attempts_of_each_test_and_what_all_came_to() {
    use TestStatus::{Failed, Passed};
    let ended: [(&str, &[TestStatus]); 2] =
        [("a", &[Failed, Failed, Failed, Passed]), ("b", &[Passed])];
    let whole = run_of(&[("a", false), ("b", false)], &ended);
    for (most, kept) in [(usize::MAX, vec![1, 2, 3, 4]), (4, vec![3, 4]), (1, vec![4])] {
        let run = whole.clone().keeping(most);
        let numbers = run.tests[0].attempts.iter().map(|attempt| attempt.number);
        assert_eq!(numbers.collect::<Vec<_>>(), kept);
        assert_eq!((run.tests[0].attempts.total(), run.tests[1].attempts.len()), (4, 1));
    }
    let none = whole.clone().keeping(0);
    assert!(none.tests.iter().all(|test| test.attempts.is_empty()));
    assert_eq!((none.counts(), none.verdict()), (whole.counts(), whole.verdict()));
    let round = none.tests[0].attempts.round(1);
    assert_eq!((round.attempts, round.tries, round.failed, round.duration_ms), (4, 3, true, 4));
}

#[test]
fn a_long_run_takes_no_more_room_than_it_keeps() {
    let mut run = Run::new(spec(&[("a", false)], 1000)).keeping(10);
    for round in 1..=1000 {
        let stage = Stage::Test("a".into());
        let attempt = Box::new(Attempt { round, ..attempt(1, TestStatus::Passed) });
        let kind = EventKind::AttemptFinished { stage, attempt };
        let seq = run.last_seq + 1;
        run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
    }
    let attempts = &run.tests[0].attempts;
    assert_eq!(attempts.iter().map(|a| a.round).collect::<Vec<_>>(), Vec::from_iter(991..=1000));
    assert_eq!((attempts.total(), attempts.is_complete()), (1000, false));
    assert!(attempts.held() <= 20);
}

#[test]
fn a_cleared_failure_makes_no_test_flaky_and_changes_no_verdict() {
    use TestStatus::{Failed, Passed};
    let ended: [(&str, &[TestStatus]); 2] =
        [("a", &[Failed, Failed, Passed]), ("b", &[Failed, Passed])];
    let mut run = run_of(&[("a", false), ("b", false)], &ended);
    let mut clear = |test: Option<&str>, number: Option<u32>| {
        let attempt = number.map(|number| ClearedAttempt::of(&attempt(number, Failed)));
        let counts = run.counts_without(test, attempt);
        let test = test.map(Into::into);
        let kind = EventKind::Cleared { test, attempt, reason: "x".into(), by: None, counts };
        let seq = run.last_seq + 1;
        run.apply(&RunEvent { run_id: run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind });
        assert_eq!(run.counts(), counts);
        (counts.flaky, counts.passed, run.clearings())
    };
    assert_eq!(clear(Some("a"), Some(1)), (2, 2, 1));
    assert_eq!(clear(Some("a"), Some(2)), (1, 2, 2));
    assert_eq!(clear(Some("b"), None), (0, 2, 3));
    assert_eq!(clear(None, None), (0, 2, 4));
    let [a, b] = [0, 1].map(|place| &run.tests[place].attempts);
    assert!(a.clearing(1, 2).is_some() && a.clearing(1, 3).is_none());
    assert!(a.clearing_of_all().is_none() && b.clearing_of_all().is_some());
    assert!(run.cleared.is_some() && run.verdict() == RunStatus::Passed);
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

/// A run of the tests `a`, which is soft, `b` and, skipped, `c`, whose rounds ended like this, a test after the
/// other, each after an attempt of 10 ms.
fn rounds_of(request: RunRequest, rounds: &[(TestStatus, TestStatus)]) -> Run {
    let mut spec = spec(&[("a", true), ("b", false), ("c", false)], 4);
    spec.request = request;
    spec.tests[2].skip = Some("left out".into());
    let mut run = Run::new(spec);
    let mut now = 0;
    let mut tell = |run: &mut Run, ms: i64, kind| {
        now += ms;
        let (at, seq) = (Timestamp::from_millisecond(now).unwrap(), run.last_seq + 1);
        run.apply(&RunEvent { run_id: run.spec.id, seq, at, kind });
    };
    tell(&mut run, 0, EventKind::RunStarted);
    for (round, (a, b)) in (1..).zip(rounds) {
        for (test, status) in [("a", *a), ("b", *b)] {
            let stage = Stage::Test(test.into());
            let started = EventKind::AttemptStarted { stage: stage.clone(), round, number: 1 };
            tell(&mut run, 0, started);
            let attempt = Attempt {
                duration_ms: 10,
                message: Some(format!("{test} in {round}")),
                ..Attempt::new(round, 1, status, Timestamp::UNIX_EPOCH)
            };
            tell(&mut run, 10, EventKind::AttemptFinished { stage, attempt: Box::new(attempt) });
            let test = test.into();
            tell(&mut run, 0, EventKind::TestFinished { test, round, status, reason: None });
        }
        if round == 1 {
            let (test, status) = ("c".into(), TestStatus::Skipped);
            tell(&mut run, 0, EventKind::TestFinished { test, round, status, reason: None });
        }
    }
    run
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

#[test]
fn rounds_are_told_together_and_for_each_test() {
    use TestStatus::{Failed, Passed};
    let rounds = [(Passed, Passed), (Failed, Passed), (Passed, Failed), (Failed, Failed)];
    let mut run = rounds_of(RunRequest::default(), &rounds);
    let tally = &run.rounds.ended;
    assert_eq!((tally.total(), tally.passed, tally.failed), (4, 2, 2), "{tally:?}");
    assert_eq!(tally.failure_rate(), Some(0.5));
    assert_eq!(tally.took.least_mean_most(), Some((20, 20, 20)));
    let first = tally.first_failure.clone().unwrap();
    assert_eq!((first.round, first.test.as_str(), first.at), (3, "b", at(60)));
    assert_eq!(first.message.as_deref(), Some("b in 3"));
    let (a, b) = (&run.tests[0].rounds, &run.tests[1].rounds);
    assert_eq!((a.passed, a.soft_failed, a.failed, a.first_failure.clone()), (2, 2, 0, None));
    assert_eq!((b.passed, b.failed, b.took.least_mean_most()), (2, 2, Some((10, 10, 10))));
    assert_eq!(run.tests[2].rounds.skipped, 1, "what is skipped has one verdict");
    assert_eq!(run.next_round(at(90)), None);
    // What is retried is the last round once more, and no further one.
    let tell = |run: &mut Run, kind| {
        let seq = run.last_seq + 1;
        run.apply(&RunEvent { run_id: run.spec.id, seq, at: at(100), kind });
    };
    tell(&mut run, finished(RunStatus::Failed));
    tell(&mut run, EventKind::RetryRequested { tests: vec!["b".into()], by: None });
    assert_eq!(run.next_round(at(100)), Some(4));
    let (test, status) = ("b".into(), Passed);
    tell(&mut run, EventKind::TestFinished { test, round: 4, status, reason: None });
    assert_eq!((run.next_round(at(100)), run.rounds.ended.total()), (None, 4));
}

#[test]
fn rounds_end_when_they_are_to() {
    use TestStatus::{Failed, Passed};
    let until = RunRequest { repeat_until_failure: true, ..RunRequest::default() };
    let next = |request: &RunRequest, rounds: &[(TestStatus, TestStatus)], ms| {
        rounds_of(request.clone(), rounds).next_round(at(ms))
    };
    assert_eq!(next(&until, &[(Passed, Passed)], 20), Some(2));
    assert_eq!(next(&until, &[(Failed, Passed)], 20), Some(2), "a soft failure does not count");
    assert_eq!(next(&until, &[(Passed, Passed), (Passed, Failed)], 40), None);
    assert_eq!(next(&until, &[(Passed, Passed); 4], 80), None);
    let timed = RunRequest { repeat_for_ms: Some(30), ..RunRequest::default() };
    assert_eq!(next(&timed, &[(Passed, Passed)], 29), Some(2));
    assert_eq!(next(&timed, &[(Passed, Passed)], 30), None);
    // The first round is made, and one that has begun is made to its end.
    assert_eq!(next(&timed, &[], 99), Some(1));
    let mut run = rounds_of(timed, &[(Passed, Passed)]);
    let (test, status) = ("a".into(), Passed);
    let kind = EventKind::TestFinished { test, round: 2, status, reason: None };
    run.apply(&RunEvent { run_id: run.spec.id, seq: run.last_seq + 1, at: at(21), kind });
    assert_eq!(run.next_round(at(99)), Some(2));
}

#[test]
fn a_retry_of_rounds_that_have_ended_is_the_last_of_them() {
    use TestStatus::{Failed, Passed};
    let until = RunRequest { repeat_until_failure: true, ..RunRequest::default() };
    let mut run = rounds_of(until, &[(Passed, Passed), (Failed, Failed)]);
    let tell = |run: &mut Run, kind| {
        let seq = run.last_seq + 1;
        run.apply(&RunEvent { run_id: run.spec.id, seq, at: at(100), kind });
    };
    assert_eq!((run.next_round(at(90)), run.last_round()), (None, 4));
    tell(&mut run, finished(RunStatus::Failed));
    assert_eq!((run.next_round(at(90)), run.last_round()), (None, 2));
    tell(&mut run, EventKind::RetryRequested { tests: vec!["a".into(), "b".into()], by: None });
    assert_eq!(run.next_round(at(100)), Some(2), "although a round has failed");
    for test in ["a", "b"] {
        let (test, status) = (test.into(), Passed);
        tell(&mut run, EventKind::TestFinished { test, round: 2, status, reason: None });
    }
    assert_eq!((run.next_round(at(100)), run.verdict()), (None, RunStatus::Passed));
}
