//! Forgetting runs: which may go, in what steps, and the files that nobody needs any more.
//!
//! A run goes with one batch out of every list and out of sight. What it left goes with the same batch if it
//! is little, and otherwise in further ones, until which a mark tells of the rest. A file goes once the last
//! run that names it is durably gone. So a crash leaves nothing missing that is needed; what it leaves too
//! much is found by its mark, or by [`Storage::sweep`].

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::batch::Batch;
use super::components::Users;
use super::durable::Database;
use super::message::Change;
use super::{Shared, Storage, StorageError, keys, lists, runs, suites, values};
use crate::model::{Digest, EventKind, KeepRule, RunId, RunStatus, RunSummary, SuiteId};

/// The most keys that one step removes, and the most bytes of records that it reads for that: a batch of
/// them takes a few milliseconds, which is what a run may wait for. Not a setting: `retention.step_runs` says
/// how much is done at once, this what a step with large runs comes to.
const STEP_KEYS: usize = 512;
const STEP_BYTES: u64 = 1 << 20;
/// How many runs of a list are read at a time, to look for those that may go.
const LOOKED_AT: usize = 64;

/// What was freed, counted by the committing thread.
#[derive(Debug, Default)]
pub struct Freed {
    runs: AtomicU64,
    record_bytes: AtomicU64,
    files: AtomicU64,
    file_bytes: AtomicU64,
}

/// What was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreedSums {
    /// Runs that were forgotten.
    pub runs: u64,
    /// Bytes of keys and values of records.
    pub record_bytes: u64,
    /// Files that were removed.
    pub files: u64,
    /// Bytes of these files.
    pub file_bytes: u64,
}

impl Freed {
    /// What was freed so far.
    pub fn sums(&self) -> FreedSums {
        let sum = |of: &AtomicU64| of.load(Ordering::Relaxed);
        FreedSums {
            runs: sum(&self.runs),
            record_bytes: sum(&self.record_bytes),
            files: sum(&self.files),
            file_bytes: sum(&self.file_bytes),
        }
    }
}

impl FreedSums {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            runs: self.runs + more.runs,
            record_bytes: self.record_bytes + more.record_bytes,
            files: self.files + more.files,
            file_bytes: self.file_bytes + more.file_bytes,
        }
    }
}

/// A part of what is to go of a run.
pub(super) struct Leaving {
    run: RunId,
    /// Whether it is the first part.
    begins: bool,
    /// Whether nothing is left then.
    ends: bool,
    keys: Vec<sled::IVec>,
    artifacts: Vec<Digest>,
    bytes: u64,
}

/// Runs that may go, and where the search for further ones goes on.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    /// The runs, oldest first.
    pub runs: Vec<RunId>,
    /// The last run that was looked at; none at the end.
    pub last: Option<RunId>,
}

impl Storage {
    /// The first suite behind this one, in the order of names, that ever had a run.
    pub fn suite_with_runs_after(
        &self,
        suite: Option<&SuiteId>,
    ) -> Result<Option<SuiteId>, StorageError> {
        let from = suite.map_or(keys::HIGHEST_NUMBERS.to_vec(), keys::highest_number);
        let range = (Bound::Excluded(from), Bound::Unbounded);
        let Some(key) = self.shared().database.range(range).keys().next() else { return Ok(None) };
        Ok(keys::read_highest_number(&key?))
    }

    /// The newest run of a suite that is one too many where `most` are kept. Costs as much as `most`.
    pub fn first_beyond(&self, suite: &SuiteId, most: u64) -> Result<Option<RunId>, StorageError> {
        let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else {
            return Ok(None);
        };
        let start = keys::runs_with(Some(suite), None, None);
        lists::nth_newest(&self.shared().database, &start, most)
    }

    /// Runs of a suite that the rule lets go, at most `most`, looked for from the oldest on or from `after`.
    /// `beyond` is what [`Storage::first_beyond`] said.
    pub fn expired(
        &self,
        suite: &SuiteId,
        (rule, beyond): (KeepRule, Option<RunId>),
        now: Timestamp,
        after: Option<RunId>,
        most: usize,
    ) -> Result<Expired, StorageError> {
        let shared = self.shared();
        let oldest = rule.oldest(now);
        let start = keys::runs_with(Some(suite), None, None);
        let (mut found, mut after) = (Expired::default(), after);
        loop {
            let runs = lists::oldest(&shared.database, &start, after, LOOKED_AT)?;
            let is_end = runs.len() < LOOKED_AT;
            for run in runs {
                if found.runs.len() == most {
                    return Ok(found);
                }
                (after, found.last) = (Some(run), Some(run));
                let Some(summary) = self.summary(run)? else { continue };
                let is_beyond = beyond.is_some_and(|beyond| run.as_bytes() <= beyond.as_bytes());
                // No later one ended before it was created.
                if !is_beyond && oldest.is_none_or(|oldest| summary.created_at > oldest) {
                    found.last = None;
                    return Ok(found);
                }
                let ended = summary.finished_at;
                let is_old = oldest.is_some_and(|oldest| ended.is_some_and(|ended| ended < oldest));
                if (is_beyond || is_old) && may_go(shared, &summary)? {
                    found.runs.push(run);
                }
            }
            if is_end {
                break;
            }
        }
        found.last = None;
        Ok(found)
    }

    /// Forgets runs with all that they left, and gives those of which something is left: say it again for
    /// them. What may not go, or no longer, stays. Works while the disk is full, as far as it can.
    pub async fn forget(
        &self,
        runs: Vec<RunId>,
        freed: Arc<Freed>,
    ) -> Result<Vec<RunId>, StorageError> {
        let storage = self.clone();
        let parts = tokio::task::spawn_blocking(move || parts(&storage.shared().database, runs));
        let (parts, rest) = parts.await.map_err(std::io::Error::other)??;
        self.ask(Change::Forget { parts, freed }).await?;
        Ok(rest)
    }

    /// Runs that were being forgotten when the process ended, at most `most`.
    pub fn half_forgotten(&self, most: usize) -> Result<Vec<RunId>, StorageError> {
        let keys = self.shared().database.scan(keys::LEAVING).keys().take(most);
        keys.filter_map(|key| key.map(|key| keys::ending_run(&key)).transpose())
            .collect::<Result<_, _>>()
            .map_err(Into::into)
    }

    /// Removes those files of one of 256 parts of the artifacts that no run names: what a crash left.
    pub async fn sweep(&self, part: u8, freed: Arc<Freed>) -> Result<(), StorageError> {
        let storage = self.clone();
        let files = tokio::task::spawn_blocking(move || storage.shared().artifacts.part(part));
        let files = files.await.map_err(std::io::Error::other)??;
        if !files.is_empty() {
            self.ask(Change::Sweep { files, freed }).await?;
        }
        Ok(())
    }
}

/// Whether a run may be forgotten: it has ended, is not pinned, and is neither the last that passed nor the
/// last that failed of a suite that is there.
fn may_go(shared: &Shared, run: &RunSummary) -> Result<bool, StorageError> {
    if !run.status.is_terminal() || shared.pins.of(run.id).is_some() {
        return Ok(false);
    }
    if !matches!(run.status, RunStatus::Passed | RunStatus::Failed) {
        return Ok(true);
    }
    let start = keys::runs_with(Some(&run.suite), Some(run.status), None);
    let is_last = lists::nth_newest(&shared.database, &start, 0)? == Some(run.id);
    Ok(!is_last || !suites::exists(&shared.database, &run.suite)?)
}

/// What goes of each of these runs in one step, and those of which something is left then.
fn parts(
    database: &Database,
    runs: Vec<RunId>,
) -> Result<(Vec<Leaving>, Vec<RunId>), StorageError> {
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    let (mut keys, mut bytes) = (0, 0);
    for run in runs {
        if keys >= STEP_KEYS || bytes >= STEP_BYTES {
            rest.push(run);
            continue;
        }
        let part = part(database, run, STEP_KEYS - keys, STEP_BYTES - bytes)?;
        keys += part.keys.len();
        bytes += part.bytes;
        rest.extend((!part.ends).then_some(run));
        parts.push(part);
    }
    Ok((parts, rest))
}

fn part(
    database: &Database,
    run: RunId,
    most: usize,
    most_bytes: u64,
) -> Result<Leaving, StorageError> {
    let begins = database.get_raw(&keys::leaving(run))?.is_none();
    let (keys, artifacts) = (Vec::new(), Vec::new());
    let mut part = Leaving { run, begins, ends: true, keys, artifacts, bytes: 0 };
    for start in keys::left_by(run) {
        for entry in database.scan(&start) {
            if part.keys.len() >= most || part.bytes >= most_bytes {
                part.ends = false;
                return Ok(part);
            }
            let (key, value) = entry?;
            part.bytes += (key.len() + value.len()) as u64;
            if start.first() == Some(&b'e') {
                part.artifacts.extend(artifacts_of(database, run, &key, value));
            }
            part.keys.push(key);
        }
    }
    Ok(part)
}

/// The artifacts that a page of events names. One that is damaged must not keep its run for ever.
fn artifacts_of(database: &Database, run: RunId, key: &[u8], head: sled::IVec) -> Vec<Digest> {
    let events = match runs::read_page(database, run, key, head) {
        Ok((_, events)) => events,
        Err(error) => {
            tracing::warn!(%run, "forgetting what is damaged: failed to {error}");
            return Vec::new();
        }
    };
    let of = |event: &crate::model::RunEvent| match &event.kind {
        EventKind::AttemptFinished { attempt, .. } => {
            attempt.artifacts.iter().map(|artifact| artifact.digest).collect()
        }
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

/// Adds to the batch that these parts go.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut Batch,
    parts: Vec<Leaving>,
    freed: &Arc<Freed>,
) -> Result<(), StorageError> {
    for part in parts {
        let run = part.run;
        if part.begins {
            let summary = runs::summary(&shared.database, run)?;
            let Some(summary) = summary.filter(|_| !batch.has(run)) else { continue };
            if !may_go(shared, &summary)? {
                continue;
            }
            stage_summary_gone(&shared.database, batch, &summary)?;
            if !part.ends {
                batch.writes.insert(keys::leaving(run), &[]);
            }
            batch.gone.insert(run);
            freed.runs.fetch_add(1, Ordering::Relaxed);
        } else if part.ends {
            batch.writes.remove(keys::leaving(run));
        }
        part.keys.into_iter().for_each(|key| batch.writes.remove(key));
        for artifact in &part.artifacts {
            batch.writes.remove(keys::artifact_user(artifact, run));
        }
        batch.loose.extend(part.artifacts.into_iter().map(|artifact| (artifact, freed.clone())));
        freed.record_bytes.fetch_add(part.bytes, Ordering::Relaxed);
    }
    Ok(())
}

/// Takes a run out of every list.
fn stage_summary_gone(
    database: &Database,
    batch: &mut Batch,
    summary: &RunSummary,
) -> Result<(), StorageError> {
    let RunSummary { id, suite, status, reference, number, .. } = summary;
    values::remove(database, &mut batch.writes, &keys::run(*id))?;
    for list in keys::lists_of(suite, *status, reference.as_deref()) {
        batch.lists.leave(list, *id);
    }
    batch.lists.no_number(suite, *number, *id);
    Ok(())
}

/// Removes those of these files that no run names. Only the committing thread may say so, with everything
/// stored that it was asked to store: see `components` for why no file is lost by that.
pub(super) fn remove_loose(shared: &Shared, users: &Users, loose: Vec<(Digest, Arc<Freed>)>) {
    for (digest, freed) in loose {
        let has_run = shared.database.scan(&keys::artifact_users(&digest)).next().is_some();
        // Components from before they had a directory of their own are among the artifacts.
        if has_run || users.need(&digest) {
            continue;
        }
        match shared.artifacts.remove(&digest) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                freed.files.fetch_add(1, Ordering::Relaxed);
                freed.file_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, %digest, "failed to remove an artifact; it is looked for again after the next start");
            }
        }
    }
}
