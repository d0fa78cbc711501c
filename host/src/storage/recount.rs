//! Statistics made again from what is stored of runs: of one run that is taken up again, and of all when a
//! store is opened that was written before there were statistics, or by another rule.

use super::counting::Counting;
use super::durable::Database;
use super::{StorageError, StorageSettings, keys, runs};
use crate::metrics::Metrics;
use crate::model::{EventKind, Run, RunEvent, RunId, RunSummary};
use crate::statistics::{State, Tally};

/// The rule by which the stored statistics were made.
const RULE: u8 = 1;
/// How many runs are counted in one batch.
const RUNS: usize = 100;
/// How many keys are removed in one batch.
const REMOVED: usize = 10_000;

/// What is known of a run, from all its events.
pub(super) fn tally(database: &Database, run: RunId) -> Result<Tally, StorageError> {
    let mut tally = Tally::keeping();
    each_event(database, run, |run, event| {
        tally.apply(run, event);
        Ok(())
    })?;
    Ok(tally)
}

/// Gives each event of a run, with the run as it stands after it.
fn each_event(
    database: &Database,
    run: RunId,
    mut take: impl FnMut(&RunSummary, &RunEvent) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut standing: Option<RunSummary> = None;
    let mut from = 0;
    let mut last = None;
    while let Some((first, page)) = runs::page_from(database, run, from)? {
        from = first + page.len() as u64;
        for event in &page {
            if let EventKind::RunQueued { spec } = &event.kind {
                standing = Some(Run::new(spec.as_ref().clone()).summary());
            }
            let Some(standing) = &mut standing else { continue };
            runs::apply(standing, event, last.unwrap_or(event.at));
            last = Some(event.at);
            take(standing, event)?;
        }
    }
    Ok(())
}

/// Makes the statistics again if they are not there as this rule makes them, and tells the metrics how many
/// tests are in which state. If the process is killed meanwhile, the next one begins anew.
pub(super) fn bring_up_to_date(
    database: &Database,
    settings: &StorageSettings,
    metrics: &Metrics,
) -> Result<(), StorageError> {
    if database.get_raw(keys::COUNTED)?.as_deref() != Some(&[RULE]) {
        count_all(database, settings)?;
    }
    for state in State::ALL {
        let start = keys::tests_in(*state, None);
        for key in database.scan(&start).keys() {
            if let Some((suite, _)) = keys::read_test_in(&key?[start.len()..]) {
                metrics.tests_in_state(&suite, state.as_str(), 1);
            }
        }
    }
    Ok(())
}

fn count_all(database: &Database, settings: &StorageSettings) -> Result<(), StorageError> {
    for table in keys::DERIVED {
        remove_all(database, table)?;
        remove_all(database, &[b"+", table].concat())?;
    }
    // What has been counted before is not to be counted again as it happens.
    let unheard = Metrics::new();
    let (mut counting, mut runs) = (Counting::default(), 0_usize);
    for key in database.scan(keys::RUNS).keys().rev() {
        let Some(run) = keys::read_run(&key?[keys::RUNS.len()..]) else { continue };
        let mut tally = Tally::keeping();
        each_event(database, run, |run, event| {
            let counted = tally.apply(run, event);
            counting.count(database, settings, run, event, counted)
        })?;
        runs += 1;
        if runs.is_multiple_of(RUNS) {
            let counted = std::mem::take(&mut counting);
            commit(database, settings, &unheard, counted)?;
        }
    }
    commit(database, settings, &unheard, counting)?;
    if runs > 0 {
        tracing::info!(runs, "made the statistics of stored runs");
    }
    let mut batch = sled::Batch::default();
    batch.insert(keys::COUNTED, &[RULE]);
    database.commit(batch)
}

fn commit(
    database: &Database,
    settings: &StorageSettings,
    metrics: &Metrics,
    mut counting: Counting,
) -> Result<(), StorageError> {
    let mut batch = sled::Batch::default();
    counting.stage(database, settings, metrics, &mut batch)?;
    database.commit(batch)
}

fn remove_all(database: &Database, start: &[u8]) -> Result<(), StorageError> {
    loop {
        let mut batch = sled::Batch::default();
        let mut some = false;
        for key in database.scan(start).keys().take(REMOVED) {
            batch.remove(key?);
            some = true;
        }
        if !some {
            return Ok(());
        }
        database.commit(batch)?;
    }
}
