//! What an operator says of a test without another version of its suite: that it is muted, disabled or
//! expected to fail.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{PlannedTest, TestStatus};

/// The end of a day in UTC, such as `2027-01-31`: up to then a mark holds that says so. An error if it is no day.
pub fn end_of_day(day: &str) -> Result<Timestamp, jiff::Error> {
    let next = day.parse::<Date>()?.tomorrow()?;
    Ok(next.to_zoned(TimeZone::UTC)?.timestamp())
}

/// What is said of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// It runs, and its result does not count.
    Muted,
    /// It does not run.
    Disabled,
    /// It runs once; a failure does not count, and passing does.
    ExpectedToFail,
}

impl MarkKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Muted, Self::Disabled, Self::ExpectedToFail];

    /// The word for it in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::Disabled => "disabled",
            Self::ExpectedToFail => "expected_to_fail",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::ExpectedToFail => "expected to fail",
            other => other.as_str(),
        }
    }
}

impl FromStr for MarkKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| "write muted, disabled or expected_to_fail".into())
    }
}

/// What is said of a test, why, by whom and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What.
    pub kind: MarkKind,
    /// Why.
    pub reason: String,
    /// Who said so, as they say.
    pub by: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Up to when it holds; for ever if there is no end.
    pub until: Option<Timestamp>,
    /// Whether the server's configuration says so; it is changed there alone then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// The marked tests of a suite, by name.
pub type Marks = BTreeMap<String, Mark>;

impl Mark {
    /// What is said from `now` on; the error says why it cannot be.
    pub fn from_now(
        kind: MarkKind,
        reason: String,
        by: Option<String>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, String> {
        if reason.trim().is_empty() {
            return Err(
                "the reason is missing: say why, for whoever looks at the test later".into()
            );
        }
        match until {
            Some(until) if until <= now => Err(format!("until is {until}, which has passed")),
            _ => Ok(Self { kind, reason, by, since: now, until, declared: false }),
        }
    }

    /// Whether it holds for a run that is accepted at this time.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    /// The same for people.
    pub fn in_words(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let until = self.until.map(|until| format!(" until {until}")).unwrap_or_default();
        format!("{}{by}{until}: {}", self.kind.in_words(), self.reason)
    }
}

impl PlannedTest {
    /// The test as the mark has it.
    pub fn marked(&mut self, mark: &Mark) {
        match mark.kind {
            MarkKind::Muted => self.soft = true,
            MarkKind::Disabled if self.skip.is_none() => self.skip = Some(mark.in_words()),
            MarkKind::Disabled => {}
            // It is known how it ends: trying again would only make it look flaky.
            MarkKind::ExpectedToFail => self.max_attempts = 1,
        }
        self.mark = Some(mark.clone());
    }

    /// The verdict on the test when its attempts came to this, and why it is another one.
    pub fn verdict(&self, status: TestStatus) -> (TestStatus, Option<String>) {
        match &self.mark {
            Some(mark) if self.is_expected_to_fail() && status == TestStatus::Passed => {
                let why = format!("it passed, and is {}", mark.in_words());
                (TestStatus::Failed, Some(why))
            }
            _ => (status, None),
        }
    }

    /// Whether a failure is what everybody expects.
    pub fn is_expected_to_fail(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.kind == MarkKind::ExpectedToFail)
    }

    /// Whether it runs and its result does not count.
    pub fn is_muted(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.kind == MarkKind::Muted)
    }
}
