//! Statistics, kept up to date with each batch: what an event changes of what is counted is stored in one with
//! the event, so that nothing is lost or counted twice, whenever the process is killed.
//!
//! Nothing here fails a run: what cannot be counted is logged.

mod restored;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sled::IVec;

use super::durable::Database;
use super::{Shared, StorageError, StorageSettings, keys, record, recount, values};
use crate::metrics::Metrics;
use crate::model::{RunEvent, RunId, RunSummary, SuiteId};
use crate::statistics::{
    Counted, Failed, Group, News, Outcome, Sample, Series, Spot, State, Tally,
};

pub use restored::Known;
pub(super) use restored::stage_restored;

/// How many tests are looked at for one that has not run for long, where there are too many.
const LOOKED_AT: usize = 64;

/// What is known of runs that have not ended.
#[derive(Default)]
pub(super) struct Tallies(HashMap<RunId, Tally>);

impl Tallies {
    /// What is known of a run; read from its events if it is not here.
    pub(super) fn of(&mut self, database: &Database, run: RunId, has_events: bool) -> &mut Tally {
        self.0.entry(run).or_insert_with(|| {
            if !has_events {
                return Tally::default();
            }
            recount::tally(database, run).unwrap_or_else(|error| {
                tracing::error!(%run, %error, "failed to read a run again for its statistics");
                Tally::keeping()
            })
        })
    }

    /// The run has ended.
    pub(super) fn forget(&mut self, run: RunId) {
        self.0.remove(&run);
    }
}

/// What a batch changes.
#[derive(Default)]
pub(super) struct Counting {
    tests: HashMap<(SuiteId, String), Open>,
    groups: HashMap<(SuiteId, [u8; 16]), OpenGroup>,
    news: Vec<News>,
    before: HashMap<Vec<u8>, Option<IVec>>,
    /// Tests that became or are no longer flaky or broken.
    states: Vec<(SuiteId, State, i64)>,
}

/// A test in this batch.
struct Open {
    before: Option<State>,
    /// What is known of it, as it is stored.
    stored: Option<IVec>,
    /// The first place that no stored result has.
    free: u64,
    series: Series,
    /// Results that are new, changed or gone.
    changed: BTreeMap<u64, Option<Sample>>,
}

/// A group in this batch.
struct OpenGroup {
    before: Option<Group>,
    now: Group,
}

impl Counting {
    /// Takes in what an event changes. What it brings about comes in the order of events, once for each.
    pub(super) fn add(
        &mut self,
        shared: &Shared,
        run: &RunSummary,
        event: &RunEvent,
        counted: Vec<Counted>,
    ) {
        let database = &shared.database;
        if let Err(error) = self.count(database, &shared.settings, run, event, counted) {
            tracing::error!(run = %run.id, %error, "failed to count a result");
        }
    }

    /// The same, while the store is opened.
    pub(super) fn count(
        &mut self,
        database: &Database,
        settings: &StorageSettings,
        run: &RunSummary,
        event: &RunEvent,
        counted: Vec<Counted>,
    ) -> Result<(), StorageError> {
        for counted in counted {
            match counted {
                Counted::Result { test, round, before, now } => {
                    let place = (run.id, round);
                    self.result(database, &run.suite, &test, place, before, now)?;
                }
                Counted::Failure(failed) if settings.statistics_groups > 0 => {
                    self.failure(database, run, event, *failed)?;
                }
                Counted::Failure(_) => {}
                Counted::NoFailure(id) => self.no_failure(database, &run.suite, id)?,
            }
        }
        Ok(())
    }

    fn result(
        &mut self,
        database: &Database,
        suite: &SuiteId,
        test: &str,
        place: (RunId, u32),
        before: Option<Outcome>,
        now: Option<Box<Sample>>,
    ) -> Result<(), StorageError> {
        let open = self.open(database, suite, test)?;
        let (was, failed) = (open.series.state(), open.series.is_failing());
        match (before, now) {
            (None, Some(sample)) => {
                open.changed.insert(open.series.next, Some((*sample).clone()));
                open.series.push(&sample);
            }
            (before, now) => open.replace(database, suite, test, place, before, now)?,
        }
        let became_flaky = was != State::Flaky && open.series.state() == State::Flaky;
        let news = match test.is_empty() {
            true => News::of_suite(failed, open.series.is_failing()),
            false => became_flaky.then(|| News::TestBecameFlaky { test: test.to_owned() }),
        };
        self.news.extend(news);
        Ok(())
    }

    fn open(
        &mut self,
        database: &Database,
        suite: &SuiteId,
        test: &str,
    ) -> Result<&mut Open, StorageError> {
        let key = (suite.clone(), test.to_owned());
        if !self.tests.contains_key(&key) {
            let stored = values::get(database, &keys::series(suite, test))?;
            let series = stored.as_deref().map(record::decode_series).transpose()?;
            let before = series.as_ref().map(Series::state);
            let (series, changed) = (series.unwrap_or_default(), BTreeMap::new());
            let free = series.next;
            self.tests.insert(key.clone(), Open { before, stored, free, series, changed });
        }
        self.tests.get_mut(&key).ok_or_else(|| StorageError::Damaged("a series".into()))
    }

    fn failure(
        &mut self,
        database: &Database,
        run: &RunSummary,
        event: &RunEvent,
        failed: Failed,
    ) -> Result<(), StorageError> {
        let Failed { test, print, message } = failed;
        let spot = Spot { at: event.at, run: run.id, number: run.number, test };
        let key = (run.suite.clone(), print.id);
        if let Some(open) = self.groups.get_mut(&key) {
            open.now.add(spot);
            return Ok(());
        }
        let before: Option<Group> = read(database, &keys::group(&run.suite, &print.id))?;
        let mut now = before.clone();
        match &mut now {
            Some(now) => now.add(spot),
            None => now = Some(Group::new(&print, message, spot)),
        }
        self.groups.extend(now.map(|now| (key, OpenGroup { before, now })));
        Ok(())
    }

    /// One failure less of a group.
    fn no_failure(
        &mut self,
        database: &Database,
        suite: &SuiteId,
        id: [u8; 16],
    ) -> Result<(), StorageError> {
        let key = (suite.clone(), id);
        if !self.groups.contains_key(&key) {
            let before: Option<Group> = read(database, &keys::group(suite, &id))?;
            // One that went, because there were too many, stays gone.
            let Some(now) = before.clone() else { return Ok(()) };
            self.groups.insert(key.clone(), OpenGroup { before, now });
        }
        if let Some(open) = self.groups.get_mut(&key) {
            open.now.count = open.now.count.saturating_sub(1);
        }
        Ok(())
    }

    /// Adds it all to the batch.
    pub(super) fn finish(
        &mut self,
        shared: &Shared,
        batch: &mut sled::Batch,
    ) -> Result<(), StorageError> {
        self.stage(&shared.database, &shared.settings, &shared.metrics, batch)
    }

    /// The same, while the store is opened.
    pub(super) fn stage(
        &mut self,
        database: &Database,
        settings: &StorageSettings,
        metrics: &Metrics,
        batch: &mut sled::Batch,
    ) -> Result<(), StorageError> {
        let mut stage = Stage { database, settings, metrics, batch, before: &mut self.before };
        let new: Vec<_> = self.tests.iter().filter(|(_, open)| open.before.is_none()).collect();
        let mut suites: HashMap<SuiteId, Changed> = HashMap::new();
        for ((suite, test), _) in new {
            suites.entry(suite.clone()).or_default().tests += u64::from(!test.is_empty());
        }
        for ((suite, id), open) in &self.groups {
            let (was, is) = (open.before.is_some(), open.now.count > 0);
            let more = i64::from(is) - i64::from(was);
            suites.entry(suite.clone()).or_default().groups += more;
            stage.group(suite, id, open)?;
        }
        for ((suite, test), open) in &mut self.tests {
            let (before, now) = (open.before.unwrap_or_default(), open.series.state());
            stage.results(suite, test, open)?;
            stage.series(suite, test, open.stored.take(), &open.series)?;
            if before != now && !test.is_empty() {
                stage.state(suite, test, before, now);
                self.states.extend([(suite.clone(), before, -1), (suite.clone(), now, 1)]);
            }
        }
        for (suite, new) in suites {
            let keep = Keep { suite: &suite, tests: &self.tests, groups: &self.groups };
            let gone = stage.bound(&keep, new)?;
            self.states.extend(gone.into_iter().map(|state| (suite.clone(), state, -1)));
        }
        Ok(())
    }

    /// Records that change, as they were.
    pub(super) fn before(&mut self) -> HashMap<Vec<u8>, Option<IVec>> {
        std::mem::take(&mut self.before)
    }

    /// The batch is durable.
    pub(super) fn stored(self, metrics: &Metrics) {
        self.news.iter().for_each(|news| metrics.statistics_news(news.as_str()));
        for (suite, state, more) in self.states {
            metrics.tests_in_state(&suite, state.as_str(), more);
        }
    }
}

impl Open {
    /// A result that counted before counts otherwise, or no more.
    fn replace(
        &mut self,
        database: &Database,
        suite: &SuiteId,
        test: &str,
        (run, round): (RunId, u32),
        before: Option<Outcome>,
        now: Option<Box<Sample>>,
    ) -> Result<(), StorageError> {
        let outcome = now.as_ref().map(|sample| sample.outcome);
        let mut kept = results(database, suite, test)?;
        for (place, sample) in &self.changed {
            match sample {
                Some(sample) => _ = kept.insert(*place, sample.clone()),
                None => _ = kept.remove(place),
            }
        }
        let found = kept.iter().find(|(_, it)| (it.run, it.round) == (run, round));
        let Some(place) = found.map(|(place, _)| *place) else {
            self.series.recount(before, outcome);
            return Ok(());
        };
        match &now {
            Some(sample) => _ = kept.insert(place, (**sample).clone()),
            None => _ = kept.remove(&place),
        }
        self.changed.insert(place, now.map(|sample| *sample));
        let kept: Vec<_> = kept.into_iter().collect();
        self.series.again(before, outcome, &kept);
        Ok(())
    }
}

/// The results of a test that are stored, by their places.
pub(super) fn results(
    database: &Database,
    suite: &SuiteId,
    test: &str,
) -> Result<BTreeMap<u64, Sample>, StorageError> {
    let mut found = BTreeMap::new();
    for entry in database.scan(&keys::samples(suite, test)) {
        let (key, head) = entry?;
        let place = keys::read_sample(&key).unwrap_or_default();
        found.insert(place, record::decode(&values::complete(database, &key, head)?)?);
    }
    Ok(found)
}

fn read<T: serde::de::DeserializeOwned>(
    database: &Database,
    key: &[u8],
) -> Result<Option<T>, StorageError> {
    values::get(database, key)?.map(|bytes| record::decode(&bytes)).transpose()
}

/// What is new of a suite.
#[derive(Clone, Copy, Default)]
struct Changed {
    tests: u64,
    groups: i64,
}

/// What must not go to make room: it is in this batch.
struct Keep<'a> {
    suite: &'a SuiteId,
    tests: &'a HashMap<(SuiteId, String), Open>,
    groups: &'a HashMap<(SuiteId, [u8; 16]), OpenGroup>,
}

/// How many tests and groups of a suite are kept.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Sizes {
    tests: u64,
    groups: u64,
}

/// Where changes become writes.
struct Stage<'a> {
    database: &'a Database,
    settings: &'a StorageSettings,
    metrics: &'a Metrics,
    batch: &'a mut sled::Batch,
    before: &'a mut HashMap<Vec<u8>, Option<IVec>>,
}

impl Stage<'_> {
    fn put(&mut self, key: Vec<u8>, record: &[u8]) -> Result<(), StorageError> {
        let before = values::get(self.database, &key)?;
        self.replace(key, before, record);
        Ok(())
    }

    /// Puts a record in place of the one that is stored under its key, if there is one.
    fn replace(&mut self, key: Vec<u8>, before: Option<IVec>, record: &[u8]) {
        values::replace(self.batch, &key, before.as_ref(), record);
        self.before.entry(key).or_insert(before);
    }

    fn remove(&mut self, key: Vec<u8>) -> Result<(), StorageError> {
        let before = values::get(self.database, &key)?;
        values::remove(self.database, self.batch, &key)?;
        self.before.entry(key).or_insert(before);
        Ok(())
    }

    fn series(
        &mut self,
        suite: &SuiteId,
        test: &str,
        before: Option<IVec>,
        now: &Series,
    ) -> Result<(), StorageError> {
        self.replace(keys::series(suite, test), before, &record::encode_series(now)?);
        Ok(())
    }

    fn state(&mut self, suite: &SuiteId, test: &str, before: State, now: State) {
        self.batch.remove(keys::test_in(before, suite, test));
        if now != State::Steady {
            self.batch.insert(keys::test_in(now, suite, test), &[]);
        }
    }

    /// Results that changed, less the oldest where there are too many.
    fn results(
        &mut self,
        suite: &SuiteId,
        test: &str,
        open: &mut Open,
    ) -> Result<(), StorageError> {
        let most = self.settings.statistics_results.max(1);
        if open.series.kept > most {
            self.metrics.server_limit_hit("storage.statistics_results");
            for key in self.database.scan(&keys::samples(suite, test)).keys() {
                let place = keys::read_sample(&key?).unwrap_or_default();
                if open.series.kept <= most {
                    break;
                }
                if open.changed.get(&place) != Some(&None) {
                    open.changed.insert(place, None);
                    open.series.kept -= 1;
                }
            }
        }
        // What is still too much is of this batch.
        while open.series.kept > most {
            let oldest = open.changed.iter_mut().find(|(_, sample)| sample.is_some());
            let Some((_, sample)) = oldest else { break };
            *sample = None;
            open.series.kept -= 1;
        }
        for (place, sample) in &open.changed {
            let key = keys::sample(suite, test, *place);
            match sample {
                Some(sample) if *place >= open.free => {
                    self.replace(key, None, &record::encode(sample)?);
                }
                Some(sample) => self.put(key, &record::encode(sample)?)?,
                None => self.remove(key)?,
            }
        }
        Ok(())
    }

    fn group(
        &mut self,
        suite: &SuiteId,
        id: &[u8; 16],
        open: &OpenGroup,
    ) -> Result<(), StorageError> {
        if let Some(before) = &open.before {
            self.batch.remove(keys::group_at(suite, before.last.at, id));
        }
        if open.now.count == 0 {
            return self.remove(keys::group(suite, id));
        }
        self.batch.insert(keys::group_at(suite, open.now.last.at, id), &[]);
        self.put(keys::group(suite, id), &record::encode(&open.now)?)
    }

    /// Takes out what is too much of a suite, and gives the states of tests that went.
    fn bound(&mut self, keep: &Keep<'_>, new: Changed) -> Result<Vec<State>, StorageError> {
        if new.tests == 0 && new.groups == 0 {
            return Ok(Vec::new());
        }
        let key = keys::sizes(keep.suite);
        let mut sizes: Sizes = read(self.database, &key)?.unwrap_or_default();
        sizes.tests += new.tests;
        sizes.groups = sizes.groups.saturating_add_signed(new.groups);
        let mut gone = Vec::new();
        if sizes.tests > self.settings.statistics_tests {
            self.metrics.server_limit_hit("storage.statistics_tests");
            while sizes.tests > self.settings.statistics_tests {
                let Some(state) = self.forget_test(keep)? else { break };
                gone.push(state);
                sizes.tests -= 1;
                if gone.len() as u64 >= new.tests + LOOKED_AT as u64 {
                    break;
                }
            }
        }
        if sizes.groups > self.settings.statistics_groups {
            self.metrics.server_limit_hit("storage.statistics_groups");
            sizes.groups -= self.forget_groups(keep, sizes.groups)?;
        }
        self.batch.insert(key, record::encode(&sizes)?);
        Ok(gone)
    }

    /// Takes out the groups that were not seen for longest, and gives how many.
    fn forget_groups(&mut self, keep: &Keep<'_>, groups: u64) -> Result<u64, StorageError> {
        let over = groups - self.settings.statistics_groups;
        let mut gone = 0;
        for key in self.database.scan(&keys::groups(keep.suite)).keys().rev() {
            if gone == over {
                break;
            }
            let key = key?;
            let Some(id) = keys::read_group(&key) else { continue };
            if keep.groups.contains_key(&(keep.suite.clone(), id)) {
                continue;
            }
            self.batch.remove(key);
            self.remove(keys::group(keep.suite, &id))?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Takes out a test that has not run for long: of some that are near each other in the store, the one
    /// that has not for longest. Gives its state; none if all there are have just run.
    fn forget_test(&mut self, keep: &Keep<'_>) -> Result<Option<State>, StorageError> {
        let start = keys::series_of(keep.suite);
        // Begun elsewhere each time: at the first of the new ones.
        let new = keep
            .tests
            .iter()
            .filter(|((suite, _), open)| suite == keep.suite && open.before.is_none());
        let from = new.map(|((_, test), _)| keys::series(keep.suite, test)).min();
        let from = from.unwrap_or_else(|| start.clone());
        let end = [start.as_slice(), &[0xff]].concat();
        let around =
            self.database.range(from.clone()..end).chain(self.database.range(start.clone()..from));
        let in_batch: HashSet<&str> = keep
            .tests
            .keys()
            .filter(|key| key.0 == *keep.suite)
            .map(|key| key.1.as_str())
            .collect();
        let mut oldest: Option<(String, Series)> = None;
        let mut looked_at = 0;
        for entry in around {
            let (key, _) = entry?;
            let test = String::from_utf8_lossy(&key[start.len()..]).into_owned();
            let is_gone = self.before.contains_key(key.as_ref());
            if test.is_empty() || in_batch.contains(test.as_str()) || is_gone {
                continue;
            }
            let Some(record) = values::get(self.database, &key)? else { continue };
            let series = record::decode_series(&record)?;
            let at = |series: &Series| series.last.as_ref().map(|seen| seen.at);
            if oldest.as_ref().is_none_or(|(_, oldest)| at(&series) < at(oldest)) {
                oldest = Some((test, series));
            }
            looked_at += 1;
            if looked_at == LOOKED_AT {
                break;
            }
        }
        let Some((test, series)) = oldest else { return Ok(None) };
        let state = series.state();
        for key in self.database.scan(&keys::samples(keep.suite, &test)).keys() {
            self.remove(key?.to_vec())?;
        }
        self.batch.remove(keys::test_in(state, keep.suite, &test));
        self.remove(keys::series(keep.suite, &test))?;
        Ok(Some(state))
    }
}
