//! How long a run was under way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a run was under way: the sum of its periods, each from a start to the end. What lies
/// between an end and a retry does not count, nor what lies between the death of a server and the next
/// start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// All periods that ended, in milliseconds.
    ended_ms: u64,
    /// When the one under way began.
    since: Option<Timestamp>,
}

impl Activity {
    /// A period begins. One that is still under way ended with its process, and was last heard of at
    /// `last`.
    pub fn begin(&mut self, at: Timestamp, last: Timestamp) {
        self.end(last);
        self.since = Some(at);
    }

    /// The period under way ends.
    pub fn end(&mut self, at: Timestamp) {
        if let Some(since) = self.since.take() {
            // A clock that was set back gives nothing.
            let took = u64::try_from(at.duration_since(since).as_millis()).unwrap_or(0);
            self.ended_ms = self.ended_ms.saturating_add(took);
        }
    }

    /// All periods that ended, in milliseconds.
    pub fn ended_ms(self) -> u64 {
        self.ended_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn what_lies_between_the_periods_does_not_count() {
        let mut activity = Activity::default();
        activity.begin(at(1_000), at(900));
        activity.end(at(1_200));
        activity.begin(at(9_000), at(8_900));
        // The process died after an event at 9,030, and the next one took the run up at 20,000.
        activity.begin(at(20_000), at(9_030));
        activity.end(at(20_004));
        assert_eq!(activity.ended_ms(), 200 + 30 + 4);
    }

    #[test]
    fn a_run_that_never_began_and_a_clock_set_back_take_no_time() {
        let mut activity = Activity::default();
        activity.end(at(1_000));
        activity.begin(at(2_000), at(1_000));
        activity.end(at(1_500));
        assert_eq!(activity.ended_ms(), 0);
    }
}
