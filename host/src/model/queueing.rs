//! How runs wait for one another: by class, by what their suite must not share, and by how many of it may be
//! under way.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Label, Policy, SuiteDescription};

/// Which runs go first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else waits, or it has waited for long.
    Low,
    /// In turn.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl Priority {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Whether it is what a run has of which nobody says otherwise.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The word for it in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// By what time runs are ordered that came at `at`. Each class stands `ageing_ms` before the one below:
    /// so a run that has waited so long goes before a new one of the next class, and none waits for ever.
    pub fn place(self, at: Timestamp, ageing_ms: u64) -> Timestamp {
        let ahead = match self {
            Self::Low => 0,
            Self::Normal => ageing_ms,
            Self::High => ageing_ms.saturating_mul(2),
        };
        let ahead = SignedDuration::from_millis(i64::try_from(ahead).unwrap_or(i64::MAX));
        at.saturating_sub(ahead).unwrap_or(Timestamp::MIN)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == word);
        found.ok_or_else(|| "write low, normal or high".into())
    }
}

/// What the runs of a suite must not share, and how many may be under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// Of each of these, one run on the server holds it at a time, of whatever suite. In order, each once.
    pub locks: Vec<String>,
    /// How many runs of the suite may be under way at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u32>,
}

impl Sharing {
    /// The label by which a suite declares a lock; it may have several.
    pub const LOCK: &'static str = "handoff.lock";
    /// The label by which a suite declares how many runs of it may be under way.
    pub const CONCURRENT_RUNS: &'static str = "handoff.concurrent-runs";
    /// The most locks that one run may take: a part of the contract, since each is asked for whenever a run
    /// ends.
    pub const MAX_LOCKS: usize = 16;
    /// The longest name of a lock.
    pub const MAX_LOCK_BYTES: usize = SuiteDescription::MAX_WORD_BYTES;

    /// What a suite declares and the operator adds: all locks of both, and the smaller number.
    pub fn of(described: &SuiteDescription, policy: &Policy) -> Self {
        let declared = Self::declared(&described.labels).unwrap_or_default();
        let locks: BTreeSet<_> = declared.locks.iter().chain(&policy.locks).cloned().collect();
        let numbers = [declared.concurrent_runs, policy.concurrent_runs];
        Self {
            locks: locks.into_iter().take(2 * Self::MAX_LOCKS).collect(),
            concurrent_runs: numbers.into_iter().flatten().min(),
        }
    }

    /// What the labels declare; the error says which of them cannot be read.
    pub fn declared(labels: &[Label]) -> Result<Self, String> {
        let mut sharing = Self::default();
        for label in labels {
            match label.key.as_str() {
                Self::LOCK => sharing.locks.push(label.value.clone()),
                Self::CONCURRENT_RUNS => {
                    let number = label.value.parse().ok().filter(|number| *number > 0);
                    let number = number.ok_or_else(|| {
                        let (key, value) = (&label.key, &label.value);
                        format!("the label {key} is {value:?}: it must be a number from 1")
                    })?;
                    sharing.concurrent_runs = Some(number);
                }
                _ => {}
            }
        }
        check_locks(&sharing.locks)
            .map_err(|wrong| format!("the label {}: {wrong}", Self::LOCK))?;
        Ok(sharing)
    }

    /// Whether nothing holds a run back.
    pub fn is_free(&self) -> bool {
        self.locks.is_empty() && self.concurrent_runs.is_none()
    }
}

/// What is wrong with names of locks, if anything is.
pub fn check_locks(locks: &[String]) -> Result<(), String> {
    if locks.len() > Sharing::MAX_LOCKS {
        return Err(format!("{} locks, {} are allowed", locks.len(), Sharing::MAX_LOCKS));
    }
    let is_bad = |lock: &&String| {
        let wrong = lock.trim() != lock.as_str() || lock.chars().any(char::is_control);
        lock.is_empty() || lock.len() > Sharing::MAX_LOCK_BYTES || wrong
    };
    match locks.iter().find(is_bad) {
        None => Ok(()),
        Some(lock) => {
            let most = Sharing::MAX_LOCK_BYTES;
            Err(format!("{lock:?} is no name of a lock: write 1 to {most} bytes on one line"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> Label {
        Label { key: key.into(), value: value.into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_run_that_waited_for_long_goes_before_a_new_one_of_a_higher_class() {
        use Priority::{High, Low, Normal};
        let place = |class: Priority, second| class.place(at(second), 60_000);
        assert!(place(High, 10) < place(Normal, 10) && place(Normal, 10) < place(Low, 10));
        assert!(place(Normal, 10) < place(High, 71) && place(Normal, 10) > place(High, 69));
        assert!(place(Low, 10) < place(High, 131), "two classes take twice as long");
        assert_eq!(Low.place(Timestamp::MIN, u64::MAX), Timestamp::MIN);
        assert_eq!(High.place(at(0), u64::MAX), Timestamp::MIN);
    }

    #[test]
    fn a_suite_declares_by_labels_and_the_operator_adds() {
        let labels = vec![
            label("handoff.lock", "staging"),
            label("handoff.lock", "database"),
            label("handoff.concurrent-runs", "3"),
            label("team", "a"),
        ];
        let described = SuiteDescription { labels, ..SuiteDescription::default() };
        let locks = vec!["staging".to_owned(), "printer".to_owned()];
        let policy = Policy { locks, concurrent_runs: Some(2), ..Policy::default() };
        let both = Sharing::of(&described, &policy);
        assert_eq!(both.locks, ["database", "printer", "staging"]);
        assert_eq!(both.concurrent_runs, Some(2));
        assert!(Sharing::of(&SuiteDescription::default(), &Policy::default()).is_free());
    }

    #[test]
    fn a_label_that_cannot_be_read_is_named() {
        for (key, value, words) in [
            ("handoff.concurrent-runs", "0", "a number from 1"),
            ("handoff.concurrent-runs", "many", "a number from 1"),
            ("handoff.lock", "", "no name of a lock"),
            ("handoff.lock", "a\nb", "no name of a lock"),
        ] {
            let wrong = Sharing::declared(&[label(key, value)]).unwrap_err();
            assert!(wrong.contains(key) && wrong.contains(words), "{wrong}");
        }
        let many: Vec<_> = (0..17).map(|n| label("handoff.lock", &n.to_string())).collect();
        assert!(Sharing::declared(&many).unwrap_err().contains("17 locks"));
    }
}
