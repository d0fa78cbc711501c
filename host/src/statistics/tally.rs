//! Which results and failures a run's events come to, one event after the other.
//!
//! What ended in an error of the platform, was cancelled or skipped is no result; what is cleared is none
//! any more. A round that was tried again by hand is one result still: what it comes to in the end.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Fingerprint, Outcome, Sample};
use crate::model::{
    Attempt, ClearedAttempt, Counts, EventKind, RunEvent, RunStatus, RunSummary, Stage, TestStatus,
};

/// What an event changes of what is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// A result came, changed or went.
    Result {
        /// The test; empty for the suite itself.
        test: String,
        /// In which round.
        round: u32,
        /// How it counted before.
        before: Option<Outcome>,
        /// The result from now on.
        now: Option<Box<Sample>>,
    },
    /// An attempt failed.
    Failure(Box<Failed>),
    /// An attempt that failed does not count any more; with half the digest of what it had in common with
    /// others.
    NoFailure([u8; 16]),
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// At which test.
    pub test: String,
    /// What tells it from others.
    pub print: Fingerprint,
    /// Its message as it was.
    pub message: Option<String>,
}

/// What is known of a run that has not ended, or that is tried again.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rounds of tests: those without a verdict, or all if the run was read again.
    rounds: HashMap<String, Vec<Round>>,
    /// Whether rounds that have their verdict are kept: they may be tried again.
    keeps: bool,
    /// How the run counts for its suite.
    counted: Option<Outcome>,
    /// Fuel of all attempts at tests.
    fuel: u64,
    /// Whether one of them ran unmetered.
    unmetered: bool,
}

/// One round of a test.
#[derive(Clone, Debug)]
struct Round {
    number: u32,
    tried: Vec<Tried>,
    /// Its verdict, and when it came.
    verdict: Option<(TestStatus, Timestamp)>,
    counted: Option<Outcome>,
}

/// An attempt that passed or failed.
#[derive(Clone, Copy, Debug)]
struct Tried {
    number: u32,
    /// Half the digest of what it has in common with others, if it failed.
    failure: Option<[u8; 16]>,
    cleared: bool,
    passed: bool,
    duration_ms: u64,
    fuel: Option<u64>,
}

impl Tally {
    /// Of a run that is read again from its first event on.
    pub fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// Takes in one more event; `run` is how it stands after it.
    pub fn apply(&mut self, run: &RunSummary, event: &RunEvent) -> Vec<Counted> {
        match &event.kind {
            EventKind::AttemptFinished { stage: Stage::Test(test), attempt } => {
                self.attempt(test, attempt).into_iter().collect()
            }
            EventKind::TestFinished { test, round, status, .. } => {
                self.verdict(run, test, *round, (*status, event.at)).into_iter().collect()
            }
            EventKind::RunFinished { status, counts, .. } => {
                self.run_finished(run, event.at, *status, counts).into_iter().collect()
            }
            EventKind::Cleared { test, attempt, counts, .. } => {
                self.clear(run, event.at, test.as_deref(), *attempt, counts)
            }
            EventKind::RunQueued { .. }
            | EventKind::RunStarted
            | EventKind::AttemptStarted { .. }
            | EventKind::AttemptFinished { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::RetryRequested { .. } => Vec::new(),
        }
    }

    /// Takes an attempt, all at a test, or the whole run out.
    fn clear(
        &mut self,
        run: &RunSummary,
        at: Timestamp,
        test: Option<&str>,
        attempt: Option<ClearedAttempt>,
        counts: &Counts,
    ) -> Vec<Counted> {
        let mut counted = Vec::new();
        for (name, rounds) in &mut self.rounds {
            if test.is_some_and(|test| test != name) {
                continue;
            }
            for round in rounds {
                let mut some = false;
                for tried in &mut round.tried {
                    let place = (round.number, tried.number);
                    if tried.cleared || attempt.is_some_and(|one| (one.round, one.number) != place)
                    {
                        continue;
                    }
                    (tried.cleared, some) = (true, true);
                    counted.extend(tried.failure.map(Counted::NoFailure));
                }
                if some {
                    counted.extend(round.count(run, name));
                }
            }
        }
        let ended = run.finished_at.unwrap_or(at);
        counted.extend(self.run_finished(run, ended, run.status, counts));
        counted
    }

    fn attempt(&mut self, test: &str, attempt: &Attempt) -> Option<Counted> {
        let passed = match attempt.status {
            TestStatus::Passed => true,
            TestStatus::Failed => false,
            _ => return None,
        };
        let Attempt { round, duration_ms, fuel_used: fuel, message, .. } = attempt;
        self.fuel = self.fuel.saturating_add(fuel.unwrap_or_default());
        self.unmetered |= fuel.is_none();
        let print = Fingerprint::of(attempt);
        let tried = Tried {
            number: attempt.number,
            failure: print.as_ref().map(|print| print.id),
            cleared: false,
            passed,
            duration_ms: *duration_ms,
            fuel: *fuel,
        };
        let rounds = self.rounds.entry(test.to_owned()).or_default();
        match rounds.iter_mut().find(|it| it.number == *round) {
            Some(round) => round.tried.push(tried),
            None => rounds.push(Round {
                number: *round,
                tried: vec![tried],
                verdict: None,
                counted: None,
            }),
        }
        let failed = Failed { test: test.to_owned(), print: print?, message: message.clone() };
        Some(Counted::Failure(Box::new(failed)))
    }

    fn verdict(
        &mut self,
        run: &RunSummary,
        test: &str,
        number: u32,
        verdict: (TestStatus, Timestamp),
    ) -> Option<Counted> {
        let rounds = self.rounds.get_mut(test)?;
        let at = rounds.iter().position(|it| it.number == number)?;
        rounds[at].verdict = Some(verdict);
        let counted = rounds[at].count(run, test);
        if !self.keeps {
            rounds.swap_remove(at);
            if rounds.is_empty() {
                self.rounds.remove(test);
            }
        }
        counted
    }

    fn run_finished(
        &mut self,
        run: &RunSummary,
        at: Timestamp,
        status: RunStatus,
        counts: &Counts,
    ) -> Option<Counted> {
        let outcome = match status {
            _ if run.cleared.is_some() => None,
            RunStatus::Passed if counts.flaky > 0 => Some(Outcome::Retried),
            // One in which all was skipped says nothing.
            RunStatus::Passed if counts.passed + counts.soft_failed > 0 => Some(Outcome::Passed),
            RunStatus::Failed => Some(Outcome::Failed),
            _ => None,
        };
        let before = std::mem::replace(&mut self.counted, outcome);
        let now = outcome.map(|outcome| {
            let passed = outcome != Outcome::Failed;
            let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            Box::new(Sample {
                attempts: number(counts.passed + counts.failed + counts.soft_failed),
                failed: number(counts.failed),
                duration_ms: run.duration_ms().filter(|_| passed),
                fuel: Some(self.fuel).filter(|_| passed && !self.unmetered),
                ..sample(run, 1, at, outcome)
            })
        });
        let is_something = before.is_some() || now.is_some();
        is_something.then(|| Counted::Result { test: String::new(), round: 1, before, now })
    }
}

impl Round {
    /// How it counts from now on.
    fn count(&mut self, run: &RunSummary, test: &str) -> Option<Counted> {
        let (status, at) = self.verdict?;
        let tried: Vec<Tried> = self.tried.iter().filter(|tried| !tried.cleared).copied().collect();
        let last = tried.last();
        let failed = tried.iter().filter(|tried| !tried.passed).count();
        let outcome = match (status, last) {
            (TestStatus::Passed | TestStatus::Failed, Some(last)) => Some(match last.passed {
                true if failed > 0 => Outcome::Retried,
                true => Outcome::Passed,
                false => Outcome::Failed,
            }),
            _ => None,
        };
        let before = std::mem::replace(&mut self.counted, outcome);
        let now = outcome.map(|outcome| {
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let passed = last.filter(|tried| tried.passed);
            Box::new(Sample {
                attempts: number(tried.len()),
                failed: number(failed),
                duration_ms: passed.map(|tried| tried.duration_ms),
                fuel: passed.and_then(|tried| tried.fuel),
                ..sample(run, self.number, at, outcome)
            })
        });
        let is_something = before.is_some() || now.is_some();
        let (test, round) = (test.to_owned(), self.number);
        is_something.then_some(Counted::Result { test, round, before, now })
    }
}

fn sample(run: &RunSummary, round: u32, at: Timestamp, outcome: Outcome) -> Sample {
    Sample {
        run: run.id,
        number: run.number,
        round,
        at,
        version: run.version,
        reference: run.reference.clone(),
        outcome,
        attempts: 0,
        failed: 0,
        duration_ms: None,
        fuel: None,
    }
}

#[cfg(test)]
mod tests;
