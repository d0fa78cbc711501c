//! Who waits, who runs, and who is taken out of the queue: the dispatcher's state, and what each message
//! means for it. Starts nothing itself.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::model::RunId;

/// A place in the queue, given back when the run starts or is taken out.
pub(super) type Slot = OwnedSemaphorePermit;

/// A run that waits.
pub(super) struct Waiting {
    pub(super) run: RunId,
    pub(super) since: Instant,
    /// None for runs of an earlier process, which have their place whatever the bound is now.
    pub(super) slot: Option<Slot>,
}

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

/// Where every run stands that has not ended.
pub(super) struct Roster {
    queue: VecDeque<Waiting>,
    running: HashMap<RunId, (Turn, CancellationToken)>,
    /// Stopped while they waited, to be ended without an executor.
    stopped: VecDeque<RunId>,
    /// How many of these are being ended.
    ending: usize,
    turns: u64,
}

impl Roster {
    /// How many runs that were stopped while they waited are ended at the same time: enough to share the
    /// store's flushes, few enough that ten thousand are not in memory at once.
    const ENDINGS: usize = 16;

    /// With the runs that wait from the start.
    pub(super) fn new(queue: VecDeque<Waiting>) -> Self {
        Self { queue, running: HashMap::new(), stopped: VecDeque::new(), ending: 0, turns: 0 }
    }

    /// A run waits for its turn.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
    }

    /// A run is to stop. One that waits has nothing to wait for any more, and frees its place.
    pub(super) fn cancel(&mut self, run: RunId) {
        // The queue first: a run that is retried may wait for its next turn before the end of the last
        // is heard.
        if let Some(at) = self.queue.iter().position(|waiting| waiting.run == run) {
            self.queue.remove(at);
            self.stopped.push_back(run);
        } else if let Some((_, cancel)) = self.running.get(&run) {
            cancel.cancel();
        }
    }

    /// The next run to start, while fewer than `most` are under way.
    pub(super) fn start(&mut self, most: usize) -> Option<Start> {
        if self.running.len() >= most {
            return None;
        }
        let Waiting { run, since, slot } = self.queue.pop_front()?;
        drop(slot);
        self.turns += 1;
        let (turn, cancel) = (Turn(self.turns), CancellationToken::new());
        self.running.insert(run, (turn, cancel.clone()));
        Some(Start { run, since, turn, cancel })
    }

    /// A run's turn is over.
    pub(super) fn ended(&mut self, run: RunId, turn: Turn) {
        if self.running.get(&run).is_some_and(|(of, _)| *of == turn) {
            self.running.remove(&run);
        }
    }

    /// The next run to end without an executor.
    pub(super) fn end(&mut self) -> Option<RunId> {
        if self.ending >= Self::ENDINGS {
            return None;
        }
        let run = self.stopped.pop_front()?;
        self.ending += 1;
        Some(run)
    }

    /// A run that was to be ended without an executor is; or it needs one all the same, to clean up after
    /// an earlier process, and is the next to have it.
    pub(super) fn ended_in_queue(&mut self, run: RunId, needs_executor: bool) {
        self.ending = self.ending.saturating_sub(1);
        if needs_executor {
            self.queue.push_front(Waiting { run, since: Instant::now(), slot: None });
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.ending == 0
    }

    /// How many wait, and how many are under way.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(runs: &[RunId]) -> Roster {
        let waiting = |run: &RunId| Waiting { run: *run, since: Instant::now(), slot: None };
        Roster::new(runs.iter().map(waiting).collect())
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
        roster.wait(Waiting { run, since: Instant::now(), slot: None });
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
        roster.wait(Waiting { run, since: Instant::now(), slot: None });
        roster.cancel(run);
        assert_eq!(roster.end(), Some(run));
        assert!(!first.cancel.is_cancelled());
    }
}
