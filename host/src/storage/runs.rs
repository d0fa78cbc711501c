//! Reading runs: their events in pages, summaries, lists and details.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable::Database;
use super::{Page, Paged, RunQuery, Storage, StorageError, cursor, keys, record, values};
use crate::model::{
    Attempt, AttemptDetail, Clearing, Counts, EventKind, Run, RunEvent, RunId, RunStatus,
    RunSummary, Stage,
};

/// An event as a page holds it: the key tells run and number.
#[derive(Deserialize)]
struct StoredEvent {
    at: Timestamp,
    kind: EventKind,
}

/// An event on its way into a page.
#[derive(Serialize)]
struct StoredEventRef<'a> {
    at: Timestamp,
    kind: &'a EventKind,
}

/// An event as a page holds it. A page is a JSON array of these.
pub(super) fn event_json(event: &RunEvent) -> Result<Vec<u8>, StorageError> {
    let stored = StoredEventRef { at: event.at, kind: &event.kind };
    Ok(serde_json::to_vec(&stored).map_err(std::io::Error::from)?)
}

impl Storage {
    /// Events with `seq > after`, in order, at most `limit`, without details.
    pub fn events(
        &self,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RunEvent>, StorageError> {
        let database = &self.shared().database;
        let mut events = Vec::new();
        let mut from = first_page(database, run, after)?;
        while events.len() < limit {
            let Some((first, page)) = page_from(database, run, from)? else { break };
            from = first + page.len() as u64;
            events.extend(page.into_iter().filter(|event| event.seq > after));
        }
        events.truncate(limit);
        // Asked last: see `pending`.
        if let Some(last) = self.shared().pending.seq(run) {
            events.retain(|event| event.seq <= last);
        }
        Ok(events)
    }

    /// The fold of all events of a run, with the last [`StorageSettings::attempts_shown`] attempts; none
    /// if there is no such run.
    pub fn run(&self, run: RunId) -> Result<Option<Run>, StorageError> {
        self.run_as_of(run, u64::MAX)
    }

    /// The same as it was after the event with the number `seq`.
    pub fn run_as_of(&self, run: RunId, seq: u64) -> Result<Option<Run>, StorageError> {
        let most = self.shared().settings.attempts_shown.max(1);
        let mut folded: Option<Run> = None;
        self.each_event(run, seq, |event| match &mut folded {
            Some(folded) => folded.apply(event),
            None => folded = Run::fold([event]).map(|run| run.keeping(most)),
        })?;
        if folded.as_ref().is_some_and(Run::leaves_attempts_out) {
            self.shared().metrics.server_limit_hit("storage.attempts_shown");
        }
        Ok(folded)
    }

    /// Gives every attempt of a run that ended with the event `up_to` or before, in the order in which
    /// they ended, without details.
    pub fn attempts(
        &self,
        run: RunId,
        up_to: u64,
        mut take: impl FnMut(&Stage, &Attempt),
    ) -> Result<(), StorageError> {
        self.each_event(run, up_to, |event| {
            if let EventKind::AttemptFinished { stage, attempt } = &event.kind {
                take(stage, attempt);
            }
        })
    }

    fn each_event(
        &self,
        run: RunId,
        up_to: u64,
        mut take: impl FnMut(&RunEvent),
    ) -> Result<(), StorageError> {
        /// Some pages at a time, so that a long run's events are not all in memory at once.
        const EVENTS: u64 = 1000;
        let mut after = 0;
        while after < up_to {
            let events = self.events(run, after, EVENTS.min(up_to - after) as usize)?;
            let Some(last) = events.last() else { break };
            after = last.seq;
            events.iter().for_each(&mut take);
        }
        Ok(())
    }

    /// What lists show of a run.
    pub fn summary(&self, run: RunId) -> Result<Option<RunSummary>, StorageError> {
        let found = summary(&self.shared().database, run)?;
        Ok(self.shared().pending.visible(run, found))
    }

    /// The runs that match the query, newest first. Costs as much as the page is long, however many
    /// runs are stored.
    pub fn runs(&self, query: &RunQuery, page: &Page) -> Result<Paged<RunSummary>, StorageError> {
        let shared = self.shared();
        let start = keys::runs_with(query.suite.as_ref(), query.status, query.reference.as_deref());
        // It may have changed since its place in the list was read.
        let shown = |run| Ok(self.summary(run)?.filter(|summary| query.matches(summary)));
        if start == keys::RUNS {
            return cursor::page(&shared.database, &start, page, |rest| {
                keys::read_run(rest).map_or(Ok(None), shown)
            });
        }
        cursor::page_of_runs(&shared.database, &start, page, shown)
    }

    /// Ids of runs without a final event, oldest first.
    pub fn unfinished(&self) -> Result<Vec<RunId>, StorageError> {
        let mut runs = Vec::new();
        for key in self.shared().database.scan(keys::UNFINISHED).keys() {
            let run = keys::read_unfinished(&key?[keys::UNFINISHED.len()..]);
            runs.extend(run.filter(|run| self.shared().pending.seq(*run) != Some(0)));
        }
        Ok(runs)
    }

    /// What was kept of an attempt beside its summary; none also if nothing was to be kept.
    pub fn detail(
        &self,
        run: RunId,
        stage: &Stage,
        round: u32,
        number: u32,
    ) -> Result<Option<AttemptDetail>, StorageError> {
        let key = keys::detail(run, stage, round, number);
        let record = values::get(&self.shared().database, &key)?;
        record.map(|bytes| record::decode(&bytes)).transpose()
    }
}

impl RunQuery {
    /// Whether a run is to be listed.
    fn matches(&self, run: &RunSummary) -> bool {
        self.suite.as_ref().is_none_or(|suite| *suite == run.suite)
            && self.status.is_none_or(|status| status == run.status)
            && self.reference.as_ref().is_none_or(|it| Some(it) == run.reference.as_ref())
    }
}

/// The stored summary, be it durable or not.
pub(super) fn summary(database: &Database, run: RunId) -> Result<Option<RunSummary>, StorageError> {
    let record = values::get(database, &keys::run(run))?;
    record.map(|bytes| record::decode(&bytes)).transpose()
}

/// Number and time of the last event, be it durable or not; none if there is none.
pub(super) fn last_event(
    database: &Database,
    run: RunId,
) -> Result<Option<(u64, Timestamp)>, StorageError> {
    let start = keys::pages(run);
    let Some(last) = database.scan(&start).next_back() else { return Ok(None) };
    let (key, head) = last?;
    let (_, page) = read_page(database, run, &key, head)?;
    Ok(page.last().map(|event| (event.seq, event.at)))
}

/// The first event of the page that holds the event after `after`.
fn first_page(database: &Database, run: RunId, after: u64) -> Result<u64, StorageError> {
    let bounds = keys::page(run, 0)..=keys::page(run, after.saturating_add(1));
    let last = database.range(bounds).keys().next_back().transpose()?;
    Ok(last.and_then(|key| keys::read_page(&key[keys::pages(run).len()..])).unwrap_or(1))
}

/// The first page that starts at `from` or later.
pub(super) fn page_from(
    database: &Database,
    run: RunId,
    from: u64,
) -> Result<Option<(u64, Vec<RunEvent>)>, StorageError> {
    let bounds = keys::page(run, from)..=keys::page(run, u64::MAX);
    let Some(entry) = database.range(bounds).next() else { return Ok(None) };
    let (key, head) = entry?;
    read_page(database, run, &key, head).map(Some)
}

pub(super) fn read_page(
    database: &Database,
    run: RunId,
    key: &[u8],
    head: sled::IVec,
) -> Result<(u64, Vec<RunEvent>), StorageError> {
    let damaged = || StorageError::Damaged(format!("a page of events of run {run}"));
    let first = keys::read_page(&key[keys::pages(run).len()..]).ok_or_else(damaged)?;
    let record = values::complete(database, key, head)?;
    let stored: Vec<StoredEvent> = record::decode(&record)?;
    if stored.is_empty() {
        return Err(damaged());
    }
    let event = |(seq, stored): (u64, StoredEvent)| RunEvent {
        run_id: run,
        seq,
        at: stored.at,
        kind: stored.kind,
    };
    Ok((first, (first..).zip(stored).map(event).collect()))
}

/// Takes an event into a summary; the same as the summary of the fold. The event before it happened at
/// `last`.
pub(super) fn apply(summary: &mut RunSummary, event: &RunEvent, last: Timestamp) {
    match &event.kind {
        EventKind::RunStarted => {
            summary.status = RunStatus::Running;
            summary.started_at.get_or_insert(event.at);
            summary.activity.begin(event.at, last);
        }
        EventKind::RetryRequested { .. } => {
            summary.status = RunStatus::Queued;
            summary.finished_at = None;
            summary.counts = Counts::default();
        }
        EventKind::RunFinished { status, counts, .. } => {
            summary.status = *status;
            summary.finished_at = Some(event.at);
            summary.activity.end(event.at);
            summary.counts = *counts;
        }
        EventKind::Cleared { test, reason, by, counts, .. } => {
            summary.counts = *counts;
            if test.is_none() {
                let (reason, by) = (reason.clone(), by.clone());
                summary.cleared = Some(Clearing { reason, by, at: event.at });
            }
        }
        EventKind::RunQueued { .. }
        | EventKind::AttemptStarted { .. }
        | EventKind::AttemptFinished { .. }
        | EventKind::TestFinished { .. }
        | EventKind::CancelRequested { .. } => {}
    }
}
