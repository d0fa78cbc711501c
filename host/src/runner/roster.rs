//! Who waits, who runs, and who is taken out of the queue: the dispatcher's state, and what each message
//! means for it. Starts nothing itself.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::needs::{self, Needs};
use super::queue::{Facts, Held, Queue, Standing, Waiting};
use crate::model::{RunId, SuiteId};

/// A run's turn: a retried run has a further one, and may begin it before the end of the last is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(u64);

/// A run that an executor is to take.
pub(super) struct Start {
    pub(super) run: RunId,
    pub(super) since: Instant,
    pub(super) turn: Turn,
    pub(super) cancel: CancellationToken,
}

/// A run under way.
struct Running {
    turn: Turn,
    cancel: CancellationToken,
    facts: Facts,
}

/// Where every run stands that has not ended.
pub(super) struct Roster {
    queue: Queue,
    /// Those that lack what they need.
    held: needs::Lacking,
    running: HashMap<RunId, Running>,
    /// Stopped while they waited, to be ended without an executor.
    stopped: VecDeque<Facts>,
    /// Those of them that are being ended.
    ending: HashMap<RunId, Facts>,
    turns: u64,
}

impl Roster {
    /// How many runs that were stopped while they waited are ended at the same time: enough to share the
    /// store's flushes, few enough that ten thousand are not in memory at once.
    const ENDINGS: usize = 16;

    /// With the runs that wait from the start.
    pub(super) fn new(waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let mut queue = Queue::default();
        waiting.into_iter().for_each(|waiting| queue.push(waiting));
        let (running, ending) = (HashMap::new(), HashMap::new());
        let held = needs::Lacking::default();
        Self { queue, held, running, stopped: VecDeque::new(), ending, turns: 0 }
    }

    /// A run waits for its turn.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.queue.push(waiting);
    }

    /// A run waits until what it needs is there.
    pub(super) fn hold(&mut self, waiting: Waiting) {
        self.held.keep(waiting);
    }

    /// A run has waited enough, and is to be stopped: nobody looks at its time again.
    pub(super) fn has_waited_enough(&mut self, run: RunId) {
        self.held.forget_end(run);
    }

    /// Those that lack what they need.
    pub(super) fn held(&self) -> &needs::Lacking {
        &self.held
    }

    /// A run of this suite changed how it stands: runs that waited for it wait for their turn, as far as what
    /// they need is there.
    pub(super) fn free(&mut self, suite: &SuiteId, is_there: impl Fn(&Needs) -> bool) {
        for waiting in self.held.freed(suite, is_there) {
            self.queue.push(waiting);
        }
    }

    /// A run is to stop. One that waits has nothing to wait for any more, and frees its place.
    pub(super) fn cancel(&mut self, run: RunId) {
        // The queue first: a run that is retried may wait for its next turn before the end of the last
        // is heard.
        if let Some(waiting) = self.queue.remove(run).or_else(|| self.held.remove(run)) {
            self.stopped.push_back(waiting.facts);
        } else if let Some(running) = self.running.get(&run) {
            running.cancel.cancel();
        }
    }

    /// The next run to start, while fewer than `most` are under way.
    pub(super) fn start(&mut self, most: usize) -> Option<Start> {
        if self.running.len() >= most {
            return None;
        }
        let held = Held::by(self.running.values().map(|running| &running.facts));
        let Waiting { facts, since, slot } = self.queue.next(&held)?;
        drop(slot);
        self.turns += 1;
        let (run, turn, cancel) = (facts.run, Turn(self.turns), CancellationToken::new());
        self.running.insert(run, Running { turn, cancel: cancel.clone(), facts });
        Some(Start { run, since, turn, cancel })
    }

    /// A run's turn is over. Gives its suite, if it was not heard of before.
    pub(super) fn ended(&mut self, run: RunId, turn: Turn) -> Option<SuiteId> {
        let is_its = self.running.get(&run).is_some_and(|running| running.turn == turn);
        if is_its { self.running.remove(&run).map(|running| running.facts.suite) } else { None }
    }

    /// The next run to end without an executor.
    pub(super) fn end(&mut self) -> Option<RunId> {
        if self.ending.len() >= Self::ENDINGS {
            return None;
        }
        let facts = self.stopped.pop_front()?;
        let run = facts.run;
        self.ending.insert(run, facts);
        Some(run)
    }

    /// A run that was to be ended without an executor is; or it needs one all the same, to clean up after
    /// an earlier process, and is the next to have it. Gives the suite of one that has ended.
    pub(super) fn ended_in_queue(&mut self, run: RunId, needs_executor: bool) -> Option<SuiteId> {
        let facts = self.ending.remove(&run)?;
        if !needs_executor {
            return Some(facts.suite);
        }
        let facts = Facts { place: Timestamp::MIN, ..facts };
        self.queue.push(Waiting { facts, since: Instant::now(), slot: None });
        None
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.ending.is_empty()
    }

    /// The runs that wait or are under way and that a newer one makes pointless.
    pub(super) fn made_pointless_by(&self, newer: &Facts) -> Vec<RunId> {
        let running = self.running.values().map(|running| &running.facts);
        let all = running.chain(self.queue.facts()).chain(self.held.facts());
        all.filter(|facts| newer.makes_pointless(facts)).map(|facts| facts.run).collect()
    }

    /// The newest run that makes a fresh one pointless that supersedes others itself.
    pub(super) fn that_makes_pointless(&self, older: &Facts) -> Option<Facts> {
        let running = self.running.values().map(|running| &running.facts);
        let newer = running
            .chain(self.queue.facts())
            .chain(self.held.facts())
            .filter(|facts| older.supersedes && facts.makes_pointless(older));
        newer.max_by_key(|facts| facts.number).cloned()
    }

    /// Those that wait and make others pointless.
    pub(super) fn that_supersede(&self) -> Vec<Facts> {
        let all = self.queue.facts().chain(self.held.facts());
        all.filter(|facts| facts.supersedes).cloned().collect()
    }

    /// How a run stands in the queue, where `most` may be under way; none if it does not wait.
    pub(super) fn standing(&self, run: RunId, most: usize) -> Option<Standing> {
        let held = Held::by(self.running.values().map(|running| &running.facts));
        let full = (self.running.len() >= most).then_some(most);
        self.queue.standing(run, &held, full)
    }

    /// How many wait, and how many are under way.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.queue.len() + self.held.len(), self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(runs: &[RunId]) -> Roster {
        Roster::new(runs.iter().map(|run| waiting(*run)))
    }

    fn waiting(run: RunId) -> Waiting {
        let (suite, sharing) = ("s".parse().unwrap(), crate::model::Sharing::default());
        let facts = Facts {
            run,
            suite,
            sharing,
            place: Timestamp::UNIX_EPOCH,
            number: 1,
            group: None,
            supersedes: false,
            needs: None,
        };
        Waiting { facts, since: Instant::now(), slot: None }
    }

    #[test]
    fn runs_that_are_stopped_in_the_queue_never_count_as_running() {
        let runs: Vec<_> = (0..100).map(|_| RunId::new()).collect();
        let mut roster = roster(&runs);
        let first = roster.start(1).unwrap();
        runs[1..].iter().for_each(|run| roster.cancel(*run));
        assert_eq!(roster.load(), (0, 1));
        assert!(roster.start(1).is_none(), "no further one starts");
        let ended: Vec<_> = std::iter::from_fn(|| roster.end()).collect();
        assert_eq!(ended, runs[1..=Roster::ENDINGS], "a few at a time");
        roster.ended_in_queue(ended[0], false);
        assert_eq!(roster.end(), Some(runs[Roster::ENDINGS + 1]));
        assert!(!first.cancel.is_cancelled());
    }

    #[test]
    fn a_run_that_has_to_clean_up_is_the_next_to_start() {
        let runs = [RunId::new(), RunId::new()];
        let mut roster = roster(&runs);
        roster.cancel(runs[1]);
        let run = roster.end().unwrap();
        roster.ended_in_queue(run, true);
        assert_eq!(roster.start(9).unwrap().run, runs[1]);
    }

    #[test]
    fn the_end_of_an_earlier_turn_leaves_the_next_one_alone() {
        let run = RunId::new();
        let mut roster = roster(&[run]);
        let first = roster.start(9).unwrap();
        // Retried, and started again, before the end of the first turn is heard.
        roster.wait(waiting(run));
        let second = roster.start(9).unwrap();
        roster.ended(run, first.turn);
        roster.cancel(run);
        assert!(second.cancel.is_cancelled(), "it can still be stopped");
        assert!(!roster.is_idle());
        roster.ended(run, second.turn);
        assert!(roster.is_idle());
    }

    #[test]
    fn a_retry_that_waits_is_stopped_also_before_the_end_of_the_turn_before_is_heard() {
        let run = RunId::new();
        let mut roster = roster(&[run]);
        let first = roster.start(1).unwrap();
        roster.wait(waiting(run));
        roster.cancel(run);
        assert_eq!(roster.end(), Some(run));
        assert!(!first.cancel.is_cancelled());
    }
}
