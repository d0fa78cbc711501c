//! What happened, typed. Fields that a later server adds are left out; an event that this version does not
//! know is [`EventKind::Other`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EventKind {
    /// A run was accepted.
    RunQueued,
    /// A run started.
    RunStarted,
    /// A run has its verdict.
    RunFinished,
    /// An attempt at a test ended.
    AttemptFinished,
    /// A test has its verdict.
    TestFinished,
    /// A suite failed that had not before.
    SuiteFailing,
    /// A suite failed again.
    SuiteStillFailing,
    /// A suite passed that had failed.
    SuiteRecovered,
    /// A test passed after a failed attempt, which it had not done before.
    TestFlaky,
    /// A time of a schedule was missed, or failed to start a run.
    ScheduleMissed,
    /// A run ended by the platform's own fault.
    PlatformError,
    /// A plugin was disabled because it failed again and again.
    PluginDisabled,
    /// Somebody tries the plugin out.
    Trial,
    /// Something that this version does not know.
    Other(String),
}

/// Each kind that is known, with its word.
const WORDS: [(EventKind, &str); 13] = [
    (EventKind::RunQueued, "run_queued"),
    (EventKind::RunStarted, "run_started"),
    (EventKind::RunFinished, "run_finished"),
    (EventKind::AttemptFinished, "attempt_finished"),
    (EventKind::TestFinished, "test_finished"),
    (EventKind::SuiteFailing, "suite_failing"),
    (EventKind::SuiteStillFailing, "suite_still_failing"),
    (EventKind::SuiteRecovered, "suite_recovered"),
    (EventKind::TestFlaky, "test_flaky"),
    (EventKind::ScheduleMissed, "schedule_missed"),
    (EventKind::PlatformError, "platform_error"),
    (EventKind::PluginDisabled, "plugin_disabled"),
    (EventKind::Trial, "trial"),
];

impl EventKind {
    /// The word for it.
    pub fn as_str(&self) -> &str {
        if let Self::Other(word) = self {
            return word;
        }
        WORDS.iter().find(|(kind, _)| kind == self).map_or("", |(_, word)| word)
    }
}

impl From<String> for EventKind {
    fn from(word: String) -> Self {
        let known = WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| kind.clone());
        known.unwrap_or(Self::Other(word))
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> Self {
        kind.as_str().to_owned()
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique. The same event may come more than once, and then has the same id.
    pub id: String,
    /// What happened.
    #[serde(rename = "event")]
    pub kind: EventKind,
    /// When, in RFC 3339.
    pub at: String,
    /// Stable for one trouble: a suite that became failing, is still failing and recovered has the same.
    pub dedup_key: String,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The suite that it is about, if there is no run: that of a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<AboutSuite>,
    /// The test or attempt that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// The tests that failed in a way that counts, the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Test>,
    /// The trouble that a suite is in, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// The schedule whose time was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The plugin that was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// More in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where to read on; the run itself comes first.
    #[serde(default)]
    pub links: Vec<Link>,
}

impl Event {
    /// What happened in few words, such as `shop/checkout is failing`.
    pub fn headline(&self) -> String {
        let suite = self.run.as_ref().map(|run| run.suite.to_string()).unwrap_or_default();
        let failed = self.trouble.as_ref().map_or(1, |trouble| trouble.failed_runs);
        let runs = if failed == 1 { "run" } else { "runs" };
        let named = |name: &Option<String>| name.clone().unwrap_or_default();
        match &self.kind {
            EventKind::SuiteFailing => format!("{suite} is failing"),
            EventKind::SuiteStillFailing => format!("{suite} is still failing ({failed} {runs})"),
            EventKind::SuiteRecovered => {
                format!("{suite} has recovered after {failed} failed {runs}")
            }
            EventKind::TestFlaky => format!("{suite} has a flaky test"),
            EventKind::PlatformError => format!("{suite} could not be run"),
            EventKind::ScheduleMissed => {
                format!("schedule {} missed a time", named(&self.schedule))
            }
            EventKind::PluginDisabled => format!("plugin {} is disabled", named(&self.plugin)),
            EventKind::RunFinished => {
                format!("{suite} {}", self.run.as_ref().map_or("", |run| run.status.as_str()))
            }
            EventKind::Trial => "Handoff reaches you".to_owned(),
            other => format!("{suite} {}", other.as_str().replace('_', " ")),
        }
    }
}

/// A titled link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// What it is called.
    pub title: String,
    /// Where it leads.
    pub url: String,
}

/// A suite's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Its namespace.
    pub namespace: String,
    /// Its name in that.
    pub name: String,
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A suite that an event without a run is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AboutSuite {
    /// The suite.
    pub suite: Suite,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What was to be tested.
    #[serde(default)]
    pub reference: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its number in its suite.
    pub number: u64,
    /// Its suite.
    pub suite: Suite,
    /// The suite's version.
    pub version: String,
    /// How it stands: `queued`, `running`, `passed`, `failed`, `error` or `cancelled`.
    pub status: String,
    /// What is being tested.
    #[serde(default)]
    pub reference: Option<String>,
    /// Who or what asked.
    #[serde(default)]
    pub initiated_by: Option<String>,
    /// Parameters.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Labels of the suite.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who owns the suite.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it was accepted, in RFC 3339.
    pub created_at: String,
    /// When it started.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// How long it was under way.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// How many tests ended in which way.
    #[serde(default)]
    pub counts: Counts,
    /// What the platform could not do, or why it was stopped.
    #[serde(default)]
    pub message: Option<String>,
    /// Where it is shown.
    pub url: String,
}

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed, and that counts.
    pub failed: u64,
    /// Failed, and that does not count.
    pub soft_failed: u64,
    /// Skipped.
    pub skipped: u64,
    /// The platform's fault.
    pub error: u64,
    /// Stopped.
    pub cancelled: u64,
    /// Passed after a failed attempt; counted in `passed` as well.
    pub flaky: u64,
}

impl Counts {
    /// How many tests there were.
    pub fn total(&self) -> u64 {
        let Self { passed, failed, soft_failed, skipped, error, cancelled, .. } = self;
        passed + failed + soft_failed + skipped + error + cancelled
    }
}

/// Such as `3 passed, 1 failed`: what there was at least one of.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.soft_failed, "failed softly"),
            (self.flaky, "flaky"),
            (self.skipped, "skipped"),
            (self.error, "in error"),
            (self.cancelled, "cancelled"),
        ];
        let some = all.iter().filter(|(count, _)| *count > 0);
        let some: Vec<_> = some.map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(if some.is_empty() { "no tests" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}

/// A test of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How it ended.
    pub status: String,
    /// Whether its failure does not fail the run.
    #[serde(default)]
    pub soft: bool,
    /// Whether it passed after a failed attempt.
    #[serde(default)]
    pub flaky: bool,
    /// Which attempt, or how many there were.
    #[serde(default)]
    pub attempts: u64,
    /// What ended the last attempt.
    #[serde(default)]
    pub cause: Option<String>,
    /// Why, the start of it.
    #[serde(default)]
    pub message: Option<String>,
    /// Where.
    #[serde(default)]
    pub location: Option<Location>,
    /// How long the last attempt took.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// When the last attempt started.
    #[serde(default)]
    pub started_at: Option<String>,
    /// The traces of the requests of the last attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// The group of failures that its last one belongs to: those with the same cause, place and message but for
    /// numbers and made-up names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Test {
    /// The first line of why it failed.
    pub fn summary(&self) -> &str {
        self.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default()
    }
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    #[serde(default)]
    pub column: Option<u32>,
}

/// A suite that fails, from its first failed run to the one that passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The run in which it began.
    pub first_run: String,
    /// When that ended.
    pub since: String,
    /// How many runs have failed since, that one included.
    pub failed_runs: u64,
}

/// How a suite or a test stands by its results so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// `steady`, `flaky` or `broken`.
    pub state: String,
    /// How many results there ever were.
    pub runs: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many passed after a failed attempt.
    pub retried: u64,
    /// How many failed one after the other up to the last; 0 if it passed.
    pub failing: u64,
    /// The first of these.
    #[serde(default)]
    pub failing_since: Option<Seen>,
    /// The last one that passed.
    #[serde(default)]
    pub last_passed: Option<Seen>,
    /// How long it takes when it passes: the median of the last results.
    #[serde(default)]
    pub typical_duration_ms: Option<u64>,
}

/// A result: in which run, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The run's id.
    pub run: String,
    /// Its number in its suite.
    pub number: u64,
    /// When it had its verdict, in RFC 3339.
    pub at: String,
    /// What was tested.
    #[serde(default)]
    pub reference: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_later_server_is_read() {
        let json =
            r#"{"id": "1", "event": "moon_rose", "at": "", "dedup_key": "", "colour": "red"}"#;
        let event: Event = serde_json::from_str(json).unwrap();
        assert_eq!(event.kind, EventKind::Other("moon_rose".into()));
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], "moon_rose");
    }

    #[test]
    fn counts_are_told_in_words() {
        let counts = Counts { passed: 3, failed: 1, flaky: 1, ..Counts::default() };
        assert_eq!(counts.to_string(), "3 passed, 1 failed, 1 flaky");
        assert_eq!(Counts::default().to_string(), "no tests");
    }

    #[test]
    fn each_kind_has_its_word() {
        for (kind, word) in WORDS {
            assert_eq!(EventKind::from(word.to_owned()), kind);
            assert_eq!(kind.as_str(), word);
        }
    }
}
