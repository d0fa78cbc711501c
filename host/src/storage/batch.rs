//! What is stored together: events get their numbers, and become pages, summaries, lists and details
//! in one sled batch.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::EarlierAnswer;
use super::components::Changes;
use super::counting::{Counting, Tallies};
use super::idempotency::{self, Answered, Keys};
use super::message::{Append, Origin};
use super::pending::Before;
use super::retention::Freed;
use super::{
    IdempotencyKey, Shared, StorageError, keys, lists, record, runs, schedules, suites, triggers,
    values,
};
use crate::model::{Digest, EventKind, Run, RunEvent, RunId, RunSummary, SuiteId};

/// Bytes of JSON in one page of events. A reader decodes a page at a time: so a page is small beside what
/// else a request holds, and large enough for zstd to find what repeats.
const PAGE_BYTES: usize = 32 << 10;

/// A run as it stands: what the next event needs to know.
#[derive(Clone)]
pub(super) struct Standing {
    seq: u64,
    /// When its last event happened.
    at: Timestamp,
    summary: RunSummary,
}

/// The runs that are not finished, as far as the committing thread remembers them. Whatever is not
/// here is read from the store.
#[derive(Default)]
pub(super) struct Standings {
    runs: HashMap<RunId, Standing>,
    tallies: Tallies,
}

/// The most runs to remember, about half a KiB each; more than that, and all are forgotten and read again.
/// Not a setting: it costs time alone. More than `runner.queue` and `runner.concurrent_runs` come to by default, so that none is read twice.
const MAX_STANDINGS: usize = 16_384;

/// A run in this batch.
struct Touched {
    before: Option<Standing>,
    now: Standing,
    /// The pages that are full, with the number of their first event.
    full: Vec<(u64, Vec<u8>)>,
    /// The page that is being filled, less its closing bracket, and the number of its first event.
    page: (u64, Vec<u8>),
}

/// What is to be stored together.
pub(super) struct Batch {
    pub(super) writes: sled::Batch,
    touched: HashMap<RunId, Touched>,
    answered: HashMap<Digest, Answered>,
    numbers: HashMap<SuiteId, u64>,
    components: Changes,
    pub(super) lists: lists::Changes,
    counting: Counting,
    events: Vec<Arc<RunEvent>>,
    now: Timestamp,
    /// Runs that are forgotten.
    pub(super) gone: HashSet<RunId>,
    /// Files that nobody may need any more, with where to count what is freed.
    pub(super) loose: Vec<(Digest, Arc<Freed>)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            writes: sled::Batch::default(),
            touched: HashMap::new(),
            answered: HashMap::new(),
            numbers: HashMap::new(),
            components: Changes::new(),
            lists: lists::Changes::default(),
            counting: Counting::default(),
            events: Vec::new(),
            now: Timestamp::now(),
            gone: HashSet::new(),
            loose: Vec::new(),
        }
    }

    /// Whether it has an event of this run.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.touched.contains_key(&run)
    }

    /// Adds an event, and gives its number.
    pub(super) fn add(
        &mut self,
        shared: &Shared,
        standings: &mut Standings,
        append: Append,
    ) -> Result<u64, StorageError> {
        let Append { mut event, json, detail, key, origin, restoring, .. } = append;
        let run = event.run_id;
        if let Some(key) = &key {
            self.check_key(shared, key)?;
        }
        match origin {
            Some(Origin::Due(dealt)) => schedules::stage(shared, self, *dealt)?,
            Some(Origin::Called(called)) => triggers::stage(shared, self, *called)?,
            None => {}
        }
        let touched = self.touch(shared, standings, &event)?;
        touched.now.seq += 1;
        let seq = touched.now.seq;
        event.seq = seq;
        let last = std::mem::replace(&mut touched.now.at, event.at);
        runs::apply(&mut touched.now.summary, &event, last);
        touched.push(seq, &json);
        if restoring.is_none_or(|restoring| restoring.counts) {
            // Its first event is the only one before which there is nothing to read.
            let tally = standings.tallies.of(&shared.database, run, seq > 1);
            let counted = tally.apply(&touched.now.summary, &event);
            if !counted.is_empty() {
                let summary = touched.now.summary.clone();
                self.counting.add(shared, &summary, &event, counted);
            }
        }
        if let Some((key, record)) = detail {
            values::put(&mut self.writes, &key, &record);
        }
        if let Some(key) = key {
            self.remember(&key, EarlierAnswer::Event { run, seq });
        }
        if let EventKind::RunQueued { spec } = &event.kind {
            self.lists.number(&spec.suite, spec.number, run);
            self.number(spec.suite.clone(), spec.number);
        }
        if let EventKind::AttemptFinished { attempt, .. } = &event.kind {
            for artifact in &attempt.artifacts {
                self.writes.insert(keys::artifact_user(&artifact.digest, run), &[]);
            }
        }
        if restoring.is_none() {
            shared.journal.note(&mut self.writes, &event)?;
            self.events.push(Arc::new(event));
        }
        Ok(seq)
    }

    /// A run of this suite has this number.
    pub(super) fn number(&mut self, suite: SuiteId, number: u64) {
        let highest = self.numbers.entry(suite).or_default();
        *highest = number.max(*highest);
    }

    /// One more needs a component, or, with -1, one less.
    pub(super) fn needs(&mut self, component: Digest, more: i64) {
        *self.components.entry(component).or_default() += more;
    }

    /// Keeps what was made for a key.
    pub(super) fn remember(&mut self, key: &IdempotencyKey, made: EarlierAnswer) {
        let answered = Answered { made, request: key.request, at: self.now };
        self.answered.insert(idempotency::digest(key), answered);
    }

    /// Fails if something was made for the key already, and is still there.
    pub(super) fn check_key(
        &self,
        shared: &Shared,
        key: &IdempotencyKey,
    ) -> Result<(), StorageError> {
        let digest = idempotency::digest(key);
        let found = match self.answered.get(&digest) {
            Some(answered) => Some(answered.clone()),
            None => idempotency::find(&shared.database, &digest, &shared.settings, self.now)?,
        };
        let Some(answered) = found else { return Ok(()) };
        let made = answered.to(&key.request)?;
        // A batch has one change of each suite, so what is looked for here was not uploaded in this one.
        let is_gone = match &made {
            EarlierAnswer::Version { suite, version, .. } => {
                suites::version(&shared.database, suite, version)?.is_none()
            }
            EarlierAnswer::Schedule { schedule } => {
                shared.database.get_raw(&keys::schedule(schedule))?.is_none()
            }
            EarlierAnswer::Trigger { trigger } => {
                shared.database.get_raw(&keys::trigger(trigger))?.is_none()
            }
            EarlierAnswer::Plugin { plugin, .. } => {
                shared.database.get_raw(&keys::plugin(plugin))?.is_none()
            }
            EarlierAnswer::Delivery { plugin, number } => {
                shared.database.get_raw(&keys::plugin_delivery(plugin, *number))?.is_none()
            }
            EarlierAnswer::Event { run, .. } => {
                !self.has(*run) && shared.database.get_raw(&keys::run(*run))?.is_none()
            }
        };
        if is_gone {
            return Ok(());
        }
        Err(StorageError::KeyTaken(made))
    }

    /// The run of an event, which must exist, unless the event is its first.
    fn touch(
        &mut self,
        shared: &Shared,
        standings: &Standings,
        event: &RunEvent,
    ) -> Result<&mut Touched, StorageError> {
        let run = event.run_id;
        let first = match &event.kind {
            EventKind::RunQueued { spec } if spec.id == run => Some(spec),
            EventKind::RunQueued { .. } => return Err(StorageError::Misplaced(run)),
            _ => None,
        };
        if self.gone.contains(&run) {
            return Err(StorageError::Misplaced(run));
        }
        let vacant = match self.touched.entry(run) {
            Entry::Occupied(_) if first.is_some() => return Err(StorageError::Misplaced(run)),
            Entry::Occupied(touched) => return Ok(touched.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let before = match standings.runs.get(&run) {
            Some(standing) => Some(standing.clone()),
            None => read_standing(shared, run)?,
        };
        let now = match (&before, first) {
            (None, Some(spec)) => {
                let summary = Run::new(spec.as_ref().clone()).summary();
                Standing { seq: 0, at: event.at, summary }
            }
            (Some(before), None) => before.clone(),
            _ => return Err(StorageError::Misplaced(run)),
        };
        let page = (0, Vec::new());
        Ok(vacant.insert(Touched { before, now, full: Vec::new(), page }))
    }

    /// Adds what follows from the events: pages, summaries, lists, numbers and idempotency keys.
    pub(super) fn finish(&mut self, shared: &Shared, keys: &mut Keys) -> Result<(), StorageError> {
        for (run, touched) in &mut self.touched {
            touched.close_page();
            for (first, json) in touched.full.drain(..) {
                values::put(&mut self.writes, &keys::page(*run, first), &record::pack(&json)?);
            }
            let before = touched.before.as_ref().map(|standing| &standing.summary);
            let is_unfinished = |run: &RunSummary| i64::from(!run.status.is_terminal());
            let more = is_unfinished(&touched.now.summary) - before.map_or(0, is_unfinished);
            if more != 0 {
                let RunSummary { version, fixtures, .. } = &touched.now.summary;
                for digest in [Some(version), fixtures.as_ref()].into_iter().flatten() {
                    *self.components.entry(*digest).or_default() += more;
                }
            }
            if before != Some(&touched.now.summary) {
                stage_summary(&mut self.writes, &mut self.lists, before, &touched.now.summary)?;
            }
        }
        for (suite, number) in &self.numbers {
            let highest = shared.numbers.stored(&shared.database, suite)?.max(*number);
            self.writes.insert(keys::highest_number(suite), record::encode(&highest)?);
        }
        self.lists.stage(&shared.database, &mut self.writes)?;
        self.counting.finish(shared, &mut self.writes)?;
        if !self.answered.is_empty() {
            let added = self.answered.iter();
            let (database, settings) = (&shared.database, &shared.settings);
            if keys.stage(database, &mut self.writes, settings, added, self.now)? {
                shared.metrics.server_limit_hit("storage.idempotency_keys");
            }
        }
        Ok(())
    }

    /// The runs in this batch as they were before it.
    pub(super) fn before(&self) -> HashMap<RunId, Before> {
        let before = |(run, touched): (&RunId, &Touched)| {
            let before = match &touched.before {
                Some(standing) => {
                    Before { seq: standing.seq, summary: Some(standing.summary.clone()) }
                }
                None => Before { seq: 0, summary: None },
            };
            (*run, before)
        };
        self.touched.iter().map(before).collect()
    }

    /// The records of statistics that this batch changes, as they were before it.
    pub(super) fn records_before(&mut self) -> HashMap<Vec<u8>, Option<sled::IVec>> {
        self.counting.before()
    }

    /// Who needs components that did not before, and the other way round.
    pub(super) fn components(&mut self) -> Changes {
        std::mem::take(&mut self.components)
    }

    /// The batch is durable: remembers its runs, and gives its events, in order.
    pub(super) fn stored(self, shared: &Shared, standings: &mut Standings) -> Vec<Arc<RunEvent>> {
        for (run, touched) in self.touched {
            if touched.now.summary.status.is_terminal() {
                standings.runs.remove(&run);
                standings.tallies.forget(run);
            } else {
                standings.runs.insert(run, touched.now);
            }
        }
        if standings.runs.len() > MAX_STANDINGS {
            *standings = Standings::default();
        }
        self.counting.stored(&shared.metrics);
        for (suite, number) in &self.numbers {
            shared.numbers.stored_up_to(suite, *number);
        }
        self.events
    }
}

impl Touched {
    fn push(&mut self, seq: u64, json: &[u8]) {
        let (first, page) = &mut self.page;
        if page.is_empty() {
            *first = seq;
        }
        page.push(if page.is_empty() { b'[' } else { b',' });
        page.extend_from_slice(json);
        if page.len() >= PAGE_BYTES {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        let (first, page) = &mut self.page;
        if !page.is_empty() {
            page.push(b']');
            self.full.push((*first, std::mem::take(page)));
        }
    }
}

fn read_standing(shared: &Shared, run: RunId) -> Result<Option<Standing>, StorageError> {
    let Some(summary) = runs::summary(&shared.database, run)? else { return Ok(None) };
    let (seq, at) = runs::last_event(&shared.database, run)?.unwrap_or((0, summary.created_at));
    Ok(Some(Standing { seq, at, summary }))
}

/// Puts a summary, and moves the run in the lists where it stands elsewhere than before.
fn stage_summary(
    batch: &mut sled::Batch,
    lists: &mut lists::Changes,
    before: Option<&RunSummary>,
    now: &RunSummary,
) -> Result<(), StorageError> {
    let of = |it: &RunSummary| keys::lists_of(&it.suite, it.status, it.reference.as_deref());
    let (from, to) = (before.map(of).unwrap_or_default(), of(now));
    for list in from.iter().filter(|list| !to.contains(list)) {
        lists.leave(list.clone(), now.id);
    }
    for list in to.into_iter().filter(|list| !from.contains(list)) {
        lists.enter(list, now.id);
    }
    match (before.map(|it| it.status.is_terminal()), now.status.is_terminal()) {
        (None | Some(true), false) => batch.insert(keys::unfinished(now.id), &[]),
        (_, true) => batch.remove(keys::unfinished(now.id)),
        (Some(false), false) => {}
    }
    values::put(batch, &keys::run(now.id), &record::encode(now)?);
    Ok(())
}
