//! The attempts at one thing: what all of them came to, and the last of them. So a run that tries often
//! takes no more room than one that tries once, where only the tally is needed.

use std::ops::Deref;

use super::cleared::Cleared;
use super::{Attempt, Cause, ClearedAttempt, Clearing, TestStatus};

/// The attempts at a test, at setup or at teardown that ended, in order. As a slice, those that are kept:
/// the last ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts {
    /// Up to twice as many as are to be kept, so that few pushes move anything.
    kept: Vec<Attempt>,
    most: usize,
    total: u64,
    /// How many failed and are not cleared.
    failed: u64,
    cleared: Cleared,
    round: Round,
    /// Errors that came last, since the last request to retry.
    errors: u32,
    /// Whether one was made since the last request to retry.
    tried: bool,
}

/// What the attempts of one round came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Which, counted from 1; 0 if there was none yet.
    pub round: u32,
    /// How many attempts it had.
    pub attempts: u32,
    /// How many of them failed since the last request to retry: those that count as tries.
    pub tries: u32,
    /// Whether one failed.
    pub failed: bool,
    /// How long they took.
    pub duration_ms: u64,
    /// Whether the last one asked for its failure not to count.
    pub soft: bool,
    /// What ended the last one.
    pub cause: Option<Cause>,
    /// How the last one since the last request to retry ended, with its message as long as it may be
    /// needed for the verdict.
    pub last: Option<(TestStatus, Option<String>)>,
}

impl Round {
    /// Takes in an attempt of this round, or of the one that follows.
    pub fn push(&mut self, attempt: &Attempt) {
        if self.round != attempt.round {
            *self = Self { round: attempt.round, ..Self::default() };
        }
        let failed = attempt.status == TestStatus::Failed;
        self.attempts += 1;
        self.tries += u32::from(failed);
        self.failed |= failed;
        self.duration_ms = self.duration_ms.saturating_add(attempt.duration_ms);
        self.soft = attempt.soft;
        self.cause = attempt.cause;
        self.last = Some((attempt.status, attempt.message.clone()));
    }
}

impl Attempts {
    /// None yet, of which the last `most` are kept.
    pub(super) fn keeping(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Keeps the last `most` from now on.
    pub(super) fn keep(&mut self, most: usize) {
        self.most = most;
        self.kept.drain(..self.kept.len().saturating_sub(most));
    }

    pub(super) fn push(&mut self, attempt: &Attempt) {
        self.total += 1;
        self.failed += u64::from(attempt.status == TestStatus::Failed);
        self.errors = if attempt.status == TestStatus::Error { self.errors + 1 } else { 0 };
        self.tried = true;
        self.round.push(attempt);
        if self.most == 0 {
            return;
        }
        if self.kept.len() >= self.most.saturating_mul(2) {
            self.kept.drain(..self.kept.len() - self.most);
        }
        self.kept.push(attempt.clone());
    }

    /// A request to retry came: what was before does not count as a try.
    pub(super) fn retry(&mut self) {
        (self.round.tries, self.round.last) = (0, None);
        (self.errors, self.tried) = (0, false);
    }

    /// The round has its verdict: nobody asks for the last message any more.
    pub(super) fn decided(&mut self) {
        if let Some((_, message)) = &mut self.round.last {
            *message = None;
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether all of them are kept.
    pub fn is_complete(&self) -> bool {
        self.len() as u64 == self.total
    }

    /// Whether one failed that is not cleared.
    pub fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Takes one, or all that ended, out of the statistics.
    pub(super) fn clear(&mut self, attempt: Option<ClearedAttempt>, why: Clearing) {
        self.failed = self.failed_without(attempt);
        match attempt {
            None => self.cleared.all(self.last_place(), why),
            Some(one) => self.cleared.one(one, why),
        }
    }

    /// Whether one failed that is not cleared, when this one, or all that ended, are too.
    pub(super) fn has_failed_without(&self, attempt: Option<ClearedAttempt>) -> bool {
        self.failed_without(attempt) > 0
    }

    fn failed_without(&self, attempt: Option<ClearedAttempt>) -> u64 {
        match attempt {
            None => 0,
            Some(one) if self.clearing(one.round, one.number).is_some() => self.failed,
            Some(one) => self.failed - u64::from(one.status == TestStatus::Failed).min(self.failed),
        }
    }

    /// Why the attempt is out of the statistics, if it is.
    pub fn clearing(&self, round: u32, number: u32) -> Option<&Clearing> {
        self.cleared.of(round, number)
    }

    /// Why all of them are out of the statistics, if they are and were cleared together.
    pub fn clearing_of_all(&self) -> Option<&Clearing> {
        self.cleared.all_up_to(self.last_place())
    }

    /// How many times some of them were cleared.
    pub(super) fn clearings(&self) -> usize {
        self.cleared.count()
    }

    /// Round and number of the last one.
    fn last_place(&self) -> (u32, u32) {
        (self.round.round, self.round.attempts)
    }

    /// Whether one was made since the last request to retry.
    pub fn is_tried(&self) -> bool {
        self.tried
    }

    /// How the last one since the last request to retry ended.
    pub fn last_status(&self) -> Option<TestStatus> {
        self.round.last.as_ref().map(|(status, _)| *status)
    }

    /// How many errors came last, since the last request to retry.
    pub fn trailing_errors(&self) -> u32 {
        self.errors
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.kept.len()
    }

    /// What those of a round came to, which is the last one or one that had none.
    pub fn round(&self, round: u32) -> Round {
        match self.round.round == round {
            true => self.round.clone(),
            false => Round { round, ..Round::default() },
        }
    }
}

impl Deref for Attempts {
    type Target = [Attempt];

    fn deref(&self) -> &[Attempt] {
        &self.kept[self.kept.len().saturating_sub(self.most)..]
    }
}
