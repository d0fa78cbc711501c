//! How long runs are kept.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the runs of a suite are kept, where that differs from the server's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// For so many milliseconds after their end; 0 is without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// So many of them, the newest; 0 is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
}

impl Keep {
    /// Whether it differs in nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What holds where the server's own rule is `rule`.
    pub fn over(self, rule: KeepRule) -> KeepRule {
        KeepRule {
            age_ms: self.age_ms.unwrap_or(rule.age_ms),
            runs: self.runs.unwrap_or(rule.runs),
        }
    }
}

/// How long runs are kept. A run goes when it is too old or one too many, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRule {
    /// For so many milliseconds after their end; 0 is without end.
    pub age_ms: u64,
    /// So many of them, the newest; 0 is all.
    pub runs: u64,
}

impl KeepRule {
    /// Runs that ended before this are too old; none if no run ever is.
    pub fn oldest(self, now: Timestamp) -> Option<Timestamp> {
        let age = i64::try_from(self.age_ms).ok().filter(|age| *age > 0)?;
        now.checked_sub(SignedDuration::from_millis(age)).ok()
    }
}

/// A run is to be kept whatever its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Since when.
    pub at: Timestamp,
    /// Who asked, as they say.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_suite_does_not_say_is_the_servers() {
        let server = KeepRule { age_ms: 1_000, runs: 10 };
        assert_eq!(Keep::default().over(server), server);
        let own = Keep { age_ms: Some(0), runs: Some(3) };
        assert_eq!(own.over(server), KeepRule { age_ms: 0, runs: 3 });
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(server.oldest(now), Some(Timestamp::from_second(99).unwrap()));
        assert_eq!(own.over(server).oldest(now), None);
        assert_eq!(KeepRule { age_ms: u64::MAX, runs: 0 }.oldest(now), None);
    }
}
