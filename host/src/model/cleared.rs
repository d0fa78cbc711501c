//! What somebody took out of the statistics: it is kept and shown as such.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attempt, TestStatus};

/// Why something counts in no statistics, since when, and who said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearing {
    /// Why.
    pub reason: String,
    /// Who, as they say.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An attempt at a test that is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearedAttempt {
    /// In which round, counted from 1.
    pub round: u32,
    /// Which attempt in this round, counted from 1.
    pub number: u32,
    /// How it ended.
    pub status: TestStatus,
}

impl ClearedAttempt {
    /// That attempt.
    pub fn of(attempt: &Attempt) -> Self {
        Self { round: attempt.round, number: attempt.number, status: attempt.status }
    }
}

/// Which of the attempts at one thing are cleared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cleared {
    /// All up to this one: its round and number.
    up_to: Option<((u32, u32), Clearing)>,
    /// Single ones.
    single: Vec<(ClearedAttempt, Clearing)>,
}

impl Cleared {
    /// All attempts up to the last one are cleared.
    pub(super) fn all(&mut self, last: (u32, u32), clearing: Clearing) {
        self.up_to = Some((last, clearing));
    }

    /// One is.
    pub(super) fn one(&mut self, attempt: ClearedAttempt, clearing: Clearing) {
        self.single.push((attempt, clearing));
    }

    /// Why the attempt is cleared, if it is.
    pub(super) fn of(&self, round: u32, number: u32) -> Option<&Clearing> {
        let single = self.single.iter().find(|(one, _)| (one.round, one.number) == (round, number));
        let all = self.up_to.as_ref().filter(|(last, _)| (round, number) <= *last);
        single.map(|(_, why)| why).or(all.map(|(_, why)| why))
    }

    /// Why all up to this one are cleared by one word, if they are.
    pub(super) fn all_up_to(&self, last: (u32, u32)) -> Option<&Clearing> {
        self.up_to.as_ref().filter(|(at, _)| *at == last).map(|(_, why)| why)
    }

    /// How many times something was cleared.
    pub(super) fn count(&self) -> usize {
        self.single.len() + usize::from(self.up_to.is_some())
    }
}
