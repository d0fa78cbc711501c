//! What the events of every run must keep to, however often the server was killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use handoff_tests::{AttemptKey, Event, Seen};

/// The events of one run from the first to the last.
pub(crate) struct History<'a>(&'a [Event]);

impl<'a> History<'a> {
    /// Checks what holds for every run that has ended.
    pub(crate) fn of_ended_run(events: &'a [Event]) -> Self {
        let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
        let expected: Vec<u64> = (1..=events.len() as u64).collect();
        assert_eq!(numbers, expected, "no gap and no duplicate");
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names.first(), Some(&"run_queued"), "{names:?}");
        assert_eq!(names.last(), Some(&"run_finished"), "{names:?}");
        let count = |name| names.iter().filter(|n| **n == name).count();
        assert_eq!((count("run_queued"), count("run_finished")), (1, 1), "{names:?}");
        let history = Self(events);
        history.nothing_finished_runs_again();
        history
    }

    fn nothing_finished_runs_again(&self) {
        let mut started = BTreeSet::new();
        let mut finished = BTreeSet::new();
        let mut decided = BTreeSet::new();
        for event in self.0 {
            if let Some(key) = event.attempt() {
                let again = match event.name.as_str() {
                    "attempt_started" => finished.contains(&key) || !started.insert(key.clone()),
                    _ => !finished.insert(key.clone()),
                };
                assert!(!again, "{key:?} happened twice: {event:?}");
                let verdict = (key.test.clone().unwrap_or_default(), key.round);
                assert!(!decided.contains(&verdict), "ran after its verdict: {event:?}");
            } else if event.name == "test_finished" {
                let test = event.data["test"].as_str().unwrap_or_default().to_owned();
                let round = event.data["round"].as_u64().unwrap_or_default();
                assert!(decided.insert((test, round)), "two verdicts: {event:?}");
            }
        }
        let unfinished: Vec<_> = started.difference(&finished).collect();
        assert!(unfinished.is_empty(), "an attempt has no end: {unfinished:?}");
    }

    /// Attempts that the death of the server cut short.
    pub(crate) fn lost(&self) -> usize {
        self.0.iter().filter(|event| event.data["attempt"]["cause"] == "lost").count()
    }

    /// The verdict of the run.
    pub(crate) fn status(&self) -> &str {
        self.0.last().and_then(|event| event.data["status"].as_str()).unwrap_or_default()
    }

    /// Checks that what was heard while the run went on is what was stored.
    pub(crate) fn tells_what_was_heard<'e>(&self, heard: impl Iterator<Item = &'e Event>) {
        for event in heard {
            let stored = self.0.get(event.seq as usize - 1);
            assert_eq!(stored, Some(event), "an event was heard that is not stored");
        }
    }

    /// Checks that the tested system saw no attempt that was not recorded. The guest `steps` sends one
    /// request in each attempt, which says which attempt it is.
    pub(crate) fn records_what_was_seen(&self, seen: &[&Seen]) {
        let recorded: BTreeSet<(String, String)> = self
            .0
            .iter()
            .filter_map(Event::attempt)
            .map(|key| (who(&key), key.number.to_string()))
            .collect();
        for request in seen {
            let attempt = (request.query["test"].clone(), request.query["attempt"].clone());
            assert!(recorded.contains(&attempt), "{attempt:?} was seen and is not recorded");
        }
    }
}

/// The test or the stage that an attempt is at, as the guest `steps` calls it.
pub(crate) fn who(key: &AttemptKey) -> String {
    key.test.clone().unwrap_or_else(|| key.stage.clone())
}

/// Checks that the tested system saw each attempt of a run once. Holds where the server ended in
/// order; a server that was killed may have begun an attempt whose beginning it could not store, and
/// begins it again.
pub(crate) fn each_attempt_was_seen_once(seen: &[&Seen]) {
    let mut times = BTreeMap::<(&str, &str), usize>::new();
    for request in seen {
        let attempt = (request.query["test"].as_str(), request.query["attempt"].as_str());
        *times.entry(attempt).or_default() += 1;
    }
    let again: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "attempts ran more than once: {again:?}");
}

/// The requests that the tested system got, by run, each with its place among all.
pub(crate) fn by_run(seen: &[Seen]) -> BTreeMap<&str, Vec<(usize, &Seen)>> {
    let mut runs = BTreeMap::<&str, Vec<_>>::new();
    for (place, request) in seen.iter().enumerate() {
        runs.entry(request.query["run"].as_str()).or_default().push((place, request));
    }
    runs
}

/// The requests that the tested system got from one run.
pub(crate) fn of_run<'a>(seen: &'a [Seen], run: &str) -> Vec<&'a Seen> {
    seen.iter().filter(|request| request.query["run"] == run).collect()
}
