//! Runs that wait for an executor, in the order in which they may have one, and what each waits for.
//!
//! Runs that share the same things stand in one group: what holds back the first of a group holds back all
//! of it. So finding the next run costs as much as there are groups, however many runs wait. A run takes all
//! its locks at once, or none; and what the first run in order lacks, no later one may take, so that two
//! runs never wait for each other and none is passed for ever.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::needs::Needs;
use crate::model::{RunId, Sharing, SuiteId};

/// A place in the queue, given back when the run starts or is taken out.
pub(super) type Slot = OwnedSemaphorePermit;

/// What the queue knows of a run.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) run: RunId,
    pub(super) suite: SuiteId,
    /// What it shares with others.
    pub(super) sharing: Sharing,
    /// By what it is ordered; see [`crate::model::Priority::place`].
    pub(super) place: Timestamp,
    /// Its number in its suite.
    pub(super) number: u64,
    /// What it has in common with runs of its suite of which the newest alone matters.
    pub(super) group: Option<String>,
    /// Whether the older ones of these are to be cancelled.
    pub(super) supersedes: bool,
    /// What must have happened before it begins.
    pub(super) needs: Option<Needs>,
}

impl Facts {
    /// Whether a run that did not end yet is pointless because of this one.
    pub(super) fn makes_pointless(&self, other: &Self) -> bool {
        let same = self.suite == other.suite && self.group.is_some() && self.group == other.group;
        self.supersedes && same && other.number < self.number
    }
}

/// A run that waits.
pub(super) struct Waiting {
    pub(super) facts: Facts,
    pub(super) since: Instant,
    /// None for runs of an earlier process, which have their place whatever the bound is now.
    pub(super) slot: Option<Slot>,
}

/// What a run in the queue waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// Another run has the lock, or comes before it in taking it.
    Lock {
        /// Which lock.
        lock: String,
        /// Which run.
        run: RunId,
    },
    /// As many runs of its suite are under way as may be.
    Suite {
        /// How many.
        limit: u32,
    },
    /// As many runs are under way on the server as may be.
    Server {
        /// How many.
        limit: usize,
    },
    /// A suite that it needs has not passed yet.
    Needed {
        /// Which.
        suite: SuiteId,
        /// Its run that may, if there is one.
        run: Option<RunId>,
    },
    /// A suite that it needs did not pass.
    Blocked {
        /// Which.
        suite: SuiteId,
        /// In which run.
        run: RunId,
    },
    /// Others come before it.
    Turn,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock { lock, run } => {
                write!(f, "the lock {lock:?}, which the run {run} has or takes first")
            }
            Self::Suite { limit } => {
                write!(f, "an end of one of the {limit} runs of its suite that may be under way")
            }
            Self::Server { limit } => {
                write!(f, "an end of one of the {limit} runs that may be under way")
            }
            Self::Needed { suite, run: Some(run) } => {
                write!(f, "the suite {suite} to pass, whose run {run} has not ended")
            }
            Self::Needed { suite, run: None } => {
                write!(f, "the suite {suite} to pass, which has no run for this reference")
            }
            Self::Blocked { suite, run } => {
                write!(f, "the suite {suite} to pass, which did not in the run {run}")
            }
            Self::Turn => f.write_str("its turn"),
        }
    }
}

/// How a run stands in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its place, from 1, among all that wait for an executor; none if it lacks something that it needs.
    pub place: Option<usize>,
    /// What it waits for.
    pub waits_for: Vec<WaitsFor>,
}

/// The place of a run: those of the same time in the order in which they came.
type Order = (Timestamp, u64);

/// What runs have in common that wait for the same. Free runs are one group, of whatever suite.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Group {
    suite: Option<SuiteId>,
    sharing: Sharing,
}

impl Group {
    fn of(facts: &Facts) -> Self {
        let limited = facts.sharing.concurrent_runs.is_some();
        Self { suite: limited.then(|| facts.suite.clone()), sharing: facts.sharing.clone() }
    }
}

/// The runs that wait.
#[derive(Default)]
pub(super) struct Queue {
    groups: HashMap<Group, BTreeMap<Order, Waiting>>,
    places: HashMap<RunId, (Group, Order)>,
    arrivals: u64,
}

/// What the runs under way hold.
pub(super) struct Held<'a> {
    locks: HashMap<&'a str, RunId>,
    suites: HashMap<&'a SuiteId, u32>,
}

impl<'a> Held<'a> {
    pub(super) fn by(running: impl Iterator<Item = &'a Facts>) -> Self {
        let mut held = Self { locks: HashMap::new(), suites: HashMap::new() };
        for facts in running {
            *held.suites.entry(&facts.suite).or_default() += 1;
            held.locks.extend(facts.sharing.locks.iter().map(|lock| (lock.as_str(), facts.run)));
        }
        held
    }

    /// The limit of its suite, if that is reached.
    fn limit(&self, group: &Group) -> Option<u32> {
        let limit = group.sharing.concurrent_runs?;
        let running = self.suites.get(group.suite.as_ref()?).copied().unwrap_or(0);
        (running >= limit).then_some(limit)
    }
}

impl Queue {
    /// A run waits for its turn.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.arrivals += 1;
        let (group, order) = (Group::of(&waiting.facts), (waiting.facts.place, self.arrivals));
        self.places.insert(waiting.facts.run, (group.clone(), order));
        self.groups.entry(group).or_default().insert(order, waiting);
    }

    /// Takes a run out.
    pub(super) fn remove(&mut self, run: RunId) -> Option<Waiting> {
        let (group, order) = self.places.remove(&run)?;
        let runs = self.groups.get_mut(&group)?;
        let waiting = runs.remove(&order);
        if runs.is_empty() {
            self.groups.remove(&group);
        }
        waiting
    }

    /// Takes the first run out that nothing holds back.
    pub(super) fn next(&mut self, held: &Held<'_>) -> Option<Waiting> {
        let mut wanted = HashSet::new();
        let mut next = None;
        for (group, _, first) in self.heads() {
            let locks = group.sharing.locks.iter().map(String::as_str);
            if held.limit(group).is_some() {
                continue;
            }
            if locks.clone().any(|lock| held.locks.contains_key(lock) || wanted.contains(lock)) {
                wanted.extend(locks);
                continue;
            }
            next = Some(first.facts.run);
            break;
        }
        self.remove(next?)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What runs that wait are known by.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.groups.values().flat_map(|runs| runs.values()).map(|waiting| &waiting.facts)
    }

    /// How a run stands; none if it does not wait. `full` is the bound of the server if it is reached.
    pub(super) fn standing(
        &self,
        run: RunId,
        held: &Held<'_>,
        full: Option<usize>,
    ) -> Option<Standing> {
        let (group, order) = self.places.get(&run)?;
        let before = |runs: &BTreeMap<Order, Waiting>| runs.range(..order).count();
        let place = 1 + self.groups.values().map(before).sum::<usize>();
        let mut waits_for = Vec::new();
        for lock in &group.sharing.locks {
            let by = held.locks.get(lock.as_str()).copied().or_else(|| self.first_for(lock, order));
            waits_for.extend(by.map(|run| WaitsFor::Lock { lock: lock.clone(), run }));
        }
        waits_for.extend(held.limit(group).map(|limit| WaitsFor::Suite { limit }));
        waits_for.extend(full.map(|limit| WaitsFor::Server { limit }));
        if waits_for.is_empty() {
            waits_for.push(WaitsFor::Turn);
        }
        Some(Standing { place: Some(place), waits_for })
    }

    /// The first run before `order` that waits for the lock too.
    fn first_for(&self, lock: &str, order: &Order) -> Option<RunId> {
        let mut heads = self.heads().into_iter().filter(|(_, first, _)| *first < order);
        let found = heads.find(|(group, ..)| group.sharing.locks.iter().any(|other| other == lock));
        found.map(|(.., first)| first.facts.run)
    }

    /// The first of each group, in order.
    fn heads(&self) -> Vec<(&Group, &Order, &Waiting)> {
        let firsts = self.groups.iter().filter_map(|(group, runs)| {
            let (order, first) = runs.first_key_value()?;
            Some((group, order, first))
        });
        let mut firsts: Vec<_> = firsts.collect();
        firsts.sort_unstable_by_key(|(_, order, _)| **order);
        firsts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Priority;

    /// A run of a suite that came in that second.
    fn facts(suite: &str, second: i64, priority: Priority, locks: &[&str]) -> Facts {
        let locks = locks.iter().map(|lock| (*lock).to_owned()).collect();
        let at = Timestamp::from_second(second).unwrap();
        Facts {
            run: RunId::new(),
            suite: suite.parse().unwrap(),
            sharing: Sharing { locks, concurrent_runs: None },
            place: priority.place(at, 60_000),
            number: 1,
            group: None,
            supersedes: false,
            needs: None,
        }
    }

    fn queue(runs: &[&Facts]) -> Queue {
        let mut queue = Queue::default();
        for facts in runs {
            let facts = (*facts).clone();
            queue.push(Waiting { facts, since: Instant::now(), slot: None });
        }
        queue
    }

    fn next(queue: &mut Queue, running: &[&Facts]) -> Option<RunId> {
        let next = queue.next(&Held::by(running.iter().copied()));
        next.map(|waiting| waiting.facts.run)
    }

    #[test]
    fn higher_classes_go_first_and_those_of_one_class_in_turn() {
        use Priority::{High, Low, Normal};
        let runs = [Low, Normal, High, Normal, High].map(|class| facts("s", 5, class, &[]));
        let old = facts("s", -300, Low, &[]);
        let mut queue = queue(&[&runs[0], &runs[1], &runs[2], &runs[3], &runs[4], &old]);
        let order = [&old, &runs[2], &runs[4], &runs[1], &runs[3], &runs[0]];
        for run in order {
            assert_eq!(next(&mut queue, &[]), Some(run.run));
        }
        assert_eq!((queue.len(), queue.groups.len()), (0, 0));
    }

    #[test]
    fn of_runs_that_share_a_lock_one_runs_at_a_time_and_others_pass() {
        let [first, second] = [1, 2].map(|at| facts("s", at, Priority::Normal, &["staging"]));
        let other = facts("t", 3, Priority::Normal, &[]);
        let mut queue = queue(&[&first, &second, &other]);
        assert_eq!(next(&mut queue, &[]), Some(first.run));
        let held = Held::by([&first].into_iter());
        let standing = queue.standing(second.run, &held, None).unwrap();
        let by = WaitsFor::Lock { lock: "staging".into(), run: first.run };
        assert_eq!(standing, Standing { place: Some(1), waits_for: vec![by] });
        assert_eq!(next(&mut queue, &[&first]), Some(other.run));
        assert_eq!(next(&mut queue, &[&first]), None);
        assert_eq!(next(&mut queue, &[]), Some(second.run));
    }

    #[test]
    fn a_run_that_needs_two_locks_is_not_passed_by_those_that_need_one() {
        let [a, b] = ["a", "b"].map(|lock| facts("s", 0, Priority::Normal, &[lock]));
        let both = facts("s", 1, Priority::Normal, &["a", "b"]);
        let late = facts("s", 2, Priority::Normal, &["b"]);
        let mut queue = queue(&[&both, &late]);
        // `b` is free, but the first in the queue needs it as soon as `a` is.
        assert_eq!(next(&mut queue, &[&a]), None);
        let held = Held::by([&a].into_iter());
        let standing = queue.standing(late.run, &held, Some(1)).unwrap();
        let by = WaitsFor::Lock { lock: "b".into(), run: both.run };
        assert_eq!(standing.waits_for, [by, WaitsFor::Server { limit: 1 }]);
        assert_eq!(standing.place, Some(2));
        assert_eq!(next(&mut queue, &[]), Some(both.run));
        assert_eq!(next(&mut queue, &[&both, &b]), None);
        assert_eq!(next(&mut queue, &[]), Some(late.run));
    }

    #[test]
    fn no_more_runs_of_a_suite_are_under_way_than_it_bears() {
        let mut runs = [1, 2, 3].map(|at| facts("s", at, Priority::Normal, &[]));
        runs.iter_mut().for_each(|facts| facts.sharing.concurrent_runs = Some(2));
        let mut queue = queue(&[&runs[0], &runs[1], &runs[2]]);
        assert_eq!(next(&mut queue, &[]), Some(runs[0].run));
        assert_eq!(next(&mut queue, &[&runs[0]]), Some(runs[1].run));
        assert_eq!(next(&mut queue, &[&runs[0], &runs[1]]), None);
        let held = Held::by([&runs[0], &runs[1]].into_iter());
        let standing = queue.standing(runs[2].run, &held, None).unwrap();
        assert_eq!(standing.waits_for, [WaitsFor::Suite { limit: 2 }]);
        assert!(queue.remove(runs[2].run).is_some() && queue.remove(runs[2].run).is_none());
        assert_eq!(queue.standing(runs[2].run, &held, None), None);
    }
}
