//! What the rounds of a repeated run came to: a tally that takes the same room however many there were.

use jiff::Timestamp;

use super::TestStatus;

/// What came of something that was done again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// How often it passed.
    pub passed: u64,
    /// How often it failed in a way that counts.
    pub failed: u64,
    /// How often it failed in a way that does not count.
    pub soft_failed: u64,
    /// How often the platform could not do it.
    pub error: u64,
    /// How often it was skipped.
    pub skipped: u64,
    /// How often it was stopped.
    pub cancelled: u64,
    /// How long it took, less what was skipped or stopped.
    pub took: Took,
    /// The first failure that counts.
    pub first_failure: Option<FirstFailure>,
}

/// How long something took that was done again and again, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    times: u64,
    sum: u64,
    least: u64,
    most: u64,
}

/// The first failure of a repeated run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    /// In which round, counted from 1.
    pub round: u32,
    /// Of which test.
    pub test: String,
    /// When.
    pub at: Timestamp,
    /// What was reported.
    pub message: Option<String>,
}

impl Tally {
    /// How often it ended in whichever way.
    pub fn total(&self) -> u64 {
        let Self { passed, failed, soft_failed, error, skipped, cancelled, .. } = self;
        passed + failed + soft_failed + error + skipped + cancelled
    }

    /// Which part of those that passed or failed have failed; none if there are none.
    pub fn failure_rate(&self) -> Option<f64> {
        let judged = self.passed + self.failed + self.soft_failed;
        (judged > 0).then(|| self.failed as f64 / judged as f64)
    }

    /// Takes in one more. `counts` is whether a failure does.
    pub(super) fn push(&mut self, status: TestStatus, counts: bool, took_ms: u64) {
        let count = match status {
            TestStatus::Pending | TestStatus::Running => return,
            TestStatus::Passed => &mut self.passed,
            TestStatus::Failed if counts => &mut self.failed,
            TestStatus::Failed => &mut self.soft_failed,
            TestStatus::Error => &mut self.error,
            TestStatus::Skipped => &mut self.skipped,
            TestStatus::Cancelled => &mut self.cancelled,
        };
        *count += 1;
        if !matches!(status, TestStatus::Skipped | TestStatus::Cancelled) {
            self.took.push(took_ms);
        }
    }
}

impl Took {
    fn push(&mut self, ms: u64) {
        self.least = if self.times == 0 { ms } else { self.least.min(ms) };
        self.most = self.most.max(ms);
        self.sum = self.sum.saturating_add(ms);
        self.times += 1;
    }

    /// The least, the mean and the most; none if nothing was timed.
    pub fn least_mean_most(self) -> Option<(u64, u64, u64)> {
        Some((self.least, self.sum.checked_div(self.times)?, self.most))
    }
}

/// The rounds of a run, and the one under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rounds {
    /// Those in which every test has its verdict.
    pub ended: Tally,
    under_way: Round,
    /// How many there were when the run ended. What is retried is no further round.
    closed: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Round {
    verdicts: usize,
    since: Option<Timestamp>,
    worst: Option<(TestStatus, bool)>,
}

impl Rounds {
    /// How many there were when the run ended for the first time.
    pub fn closed(&self) -> Option<u32> {
        self.closed
    }

    /// Whether a round failed in a way that counts.
    pub fn have_failed(&self) -> bool {
        self.ended.first_failure.is_some()
    }

    /// The run has ended after so many.
    pub(super) fn close(&mut self, rounds: u32) {
        self.closed.get_or_insert(rounds);
    }

    /// An executor took the run: what lies between the death of a server and the next start is no round's.
    pub(super) fn resume(&mut self) {
        self.under_way.since = None;
    }

    /// An attempt at a test began.
    pub(super) fn begin(&mut self, at: Timestamp) {
        self.under_way.since.get_or_insert(at);
    }

    /// A test of `tests` has its verdict for the round. `counts` is whether a failure does, and `failure`
    /// makes what is kept of the first one that does.
    pub(super) fn push(
        &mut self,
        (status, counts): (TestStatus, bool),
        tests: usize,
        at: Timestamp,
        failure: impl FnOnce() -> FirstFailure,
    ) {
        if status == TestStatus::Failed && counts && !self.have_failed() {
            self.ended.first_failure = Some(failure());
        }
        let round = &mut self.under_way;
        round.verdicts += 1;
        let rank = |(status, counts)| match (status, counts) {
            (TestStatus::Failed, true) => 5,
            (TestStatus::Error, _) => 4,
            (TestStatus::Cancelled, _) => 3,
            (TestStatus::Passed, _) => 2,
            // A round with soft failures alone has passed nothing, and failed nothing that counts.
            (TestStatus::Failed, false) => 1,
            _ => 0,
        };
        let now = (status, counts);
        round.worst = round.worst.filter(|worst| rank(*worst) >= rank(now)).or(Some(now));
        if round.verdicts < tests {
            return;
        }
        let Round { since, worst, .. } = std::mem::take(round);
        let took = since.map_or(0, |since| at.duration_since(since).as_millis());
        if let Some((status, counts)) = worst {
            self.ended.push(status, counts, u64::try_from(took).unwrap_or(0));
        }
    }
}
