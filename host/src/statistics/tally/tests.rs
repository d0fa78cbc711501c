//! What counts of the events of a run.

use super::*;
use crate::model::{Cause, Run, samples};

/// A run under way, told of what happens.
struct Told {
    run: Run,
    tally: Tally,
    events: Vec<RunEvent>,
}

impl Told {
    fn new() -> Self {
        let run = Run::new(samples::spec(&["a", "b"]));
        Self { run, tally: Tally::default(), events: Vec::new() }
    }

    fn tell(&mut self, kind: EventKind) -> Vec<Counted> {
        let seq = self.events.len() as u64 + 1;
        let event = RunEvent { run_id: self.run.spec.id, seq, at: Timestamp::UNIX_EPOCH, kind };
        self.run.apply(&event);
        let counted = self.tally.apply(&self.run.summary(), &event);
        self.events.push(event);
        counted
    }

    fn attempt(&mut self, test: &str, number: u32, status: TestStatus) -> Vec<Counted> {
        let attempt = Attempt {
            cause: (status == TestStatus::Failed).then_some(Cause::Assertion),
            duration_ms: u64::from(number) * 10,
            fuel_used: Some(100),
            ..Attempt::new(1, number, status, Timestamp::UNIX_EPOCH)
        };
        let attempt = Box::new(attempt);
        self.tell(EventKind::AttemptFinished { stage: Stage::Test(test.into()), attempt })
    }

    fn verdict(&mut self, test: &str, status: TestStatus) -> Vec<Counted> {
        self.tell(EventKind::TestFinished { test: test.into(), round: 1, status, reason: None })
    }

    fn end(&mut self) -> Vec<Counted> {
        let (status, counts) = (self.run.verdict(), self.run.counts());
        self.tell(EventKind::RunFinished { status, message: None, counts })
    }

    /// Forgets everything, and reads the run again.
    fn read_again(&mut self) {
        self.tally = Tally::keeping();
        for event in &self.events {
            self.tally.apply(&self.run.summary(), event);
        }
    }
}

fn result(counted: &[Counted]) -> (Option<Outcome>, Option<&Sample>) {
    match counted {
        [Counted::Result { before, now, .. }] => (*before, now.as_deref()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_is_one_result_whatever_it_took() {
    let mut told = Told::new();
    assert!(told.tell(EventKind::RunStarted).is_empty());
    assert!(matches!(&told.attempt("a", 1, TestStatus::Failed)[..], [Counted::Failure(_)]));
    assert!(told.attempt("a", 2, TestStatus::Error).is_empty());
    assert!(told.attempt("a", 3, TestStatus::Passed).is_empty());
    let counted = told.verdict("a", TestStatus::Passed);
    let (before, now) = result(&counted);
    let now = now.unwrap();
    assert_eq!((before, now.outcome, now.attempts, now.failed), (None, Outcome::Retried, 2, 1));
    assert_eq!((now.duration_ms, now.fuel), (Some(30), Some(100)), "of the one that passed");
    assert!(told.tally.rounds.is_empty(), "nothing is held of what has its verdict");
    told.attempt("b", 1, TestStatus::Passed);
    told.verdict("b", TestStatus::Passed);
    let counted = told.end();
    let suite = result(&counted).1.unwrap();
    assert_eq!((suite.outcome, suite.attempts, suite.fuel), (Outcome::Retried, 2, Some(300)));
}

#[test]
fn what_the_platform_or_somebody_stopped_is_no_result() {
    for status in [TestStatus::Error, TestStatus::Cancelled, TestStatus::Skipped] {
        let mut told = Told::new();
        told.tell(EventKind::RunStarted);
        told.attempt("a", 1, status);
        assert_eq!(told.verdict("a", status), [], "{status:?}");
        told.attempt("b", 1, TestStatus::Failed);
        assert_eq!(told.verdict("b", status), [], "{status:?}, after a failed attempt");
        assert_eq!(told.end().len(), usize::from(told.run.verdict() == RunStatus::Failed));
    }
}

#[test]
fn a_round_that_is_tried_again_changes_its_result() {
    let mut told = Told::new();
    told.tell(EventKind::RunStarted);
    told.attempt("a", 1, TestStatus::Failed);
    assert_eq!(result(&told.verdict("a", TestStatus::Failed)).1.unwrap().outcome, Outcome::Failed);
    told.attempt("b", 1, TestStatus::Passed);
    told.verdict("b", TestStatus::Passed);
    assert_eq!(result(&told.end()).1.unwrap().outcome, Outcome::Failed);
    told.read_again();
    told.tell(EventKind::RetryRequested { tests: vec!["a".into()], by: None });
    told.attempt("a", 2, TestStatus::Passed);
    let counted = told.verdict("a", TestStatus::Passed);
    let (before, now) = result(&counted);
    assert_eq!((before, now.unwrap().outcome), (Some(Outcome::Failed), Outcome::Retried));
    let counted = told.end();
    let (before, now) = result(&counted);
    assert_eq!((before, now.unwrap().outcome), (Some(Outcome::Failed), Outcome::Retried));
}

#[test]
fn a_run_that_is_read_again_goes_on_as_if_nothing_had_been() {
    let mut told = Told::new();
    told.tell(EventKind::RunStarted);
    told.attempt("a", 1, TestStatus::Failed);
    told.read_again();
    told.attempt("a", 2, TestStatus::Passed);
    let counted = told.verdict("a", TestStatus::Passed);
    let (before, now) = result(&counted);
    assert_eq!((before, now.unwrap().attempts), (None, 2));
}

#[test]
fn what_is_cleared_counts_no_more() {
    let mut told = Told::new();
    told.tell(EventKind::RunStarted);
    let failure = told.attempt("a", 1, TestStatus::Failed);
    let [Counted::Failure(failed)] = &failure[..] else { panic!("{failure:?}") };
    let id = failed.print.id;
    told.attempt("a", 2, TestStatus::Passed);
    told.verdict("a", TestStatus::Passed);
    told.attempt("b", 1, TestStatus::Passed);
    told.verdict("b", TestStatus::Passed);
    told.end();
    told.read_again();
    let mut clear = |test: Option<&str>, attempt| {
        let counts = told.run.counts_without(test, attempt);
        let (test, reason, by) = (test.map(Into::into), "no network".to_owned(), None);
        told.tell(EventKind::Cleared { test, attempt, reason, by, counts })
    };
    let first = ClearedAttempt { round: 1, number: 1, status: TestStatus::Failed };
    let counted = clear(Some("a"), Some(first));
    let [Counted::NoFailure(gone), test, suite] = &counted[..] else { panic!("{counted:?}") };
    assert_eq!(*gone, id);
    for result_of in [test, suite] {
        let (before, now) = result(std::slice::from_ref(result_of));
        assert_eq!((before, now.unwrap().outcome), (Some(Outcome::Retried), Outcome::Passed));
    }
    let mut gone = clear(None, None);
    gone.retain(|counted| !matches!(counted, Counted::Result { now: None, .. }));
    assert_eq!(gone, [], "no result is left");
}
