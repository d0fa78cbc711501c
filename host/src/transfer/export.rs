//! Everything that a server keeps, line by line.

use std::collections::{BTreeSet, HashSet};
use std::io;

use jiff::Timestamp;

use super::lines::{DATA_BYTES, FORMAT, Line, Lines, data};
use crate::model::{
    Attempt, AttemptDetail, Digest, EventKind, Gated, Policy, RunEvent, RunId, RunSummary, SuiteId,
};
use crate::storage::{Known, Page, Storage, StorageError, StoredGroup};

/// How many events are read at a time.
const EVENTS: usize = 100;

/// How many tests or groups of failures are read at a time, and how many results stand in one line.
const KNOWN: usize = 200;

/// What is put in place of a value that is secret.
const MASK: &str = "***";

/// Writes everything that a server keeps: suites, what starts their runs, plugins, statistics, and the runs
/// that had ended. Nothing may be forgotten meanwhile.
pub fn export(storage: &Storage, out: impl io::Write) -> io::Result<()> {
    let now = Timestamp::now();
    let mut export = Export { storage, lines: Lines::to(out), now };
    let by = concat!("handoff ", env!("CARGO_PKG_VERSION")).to_owned();
    export.lines.write(&Line::HandoffExport { format: FORMAT, by })?;
    export.suites()?;
    export.starters()?;
    export.plugins()?;
    export.statistics()?;
    let (mut last, mut runs) = (None, 0);
    while let Some(run) = storage.run_after(last).map_err(failed)? {
        runs += u64::from(export.run(run)?);
        last = Some(run);
    }
    let sum = &export.lines.sum;
    let end = Line::End { lines: sum.lines, runs, digest: sum.digest() };
    export.lines.write(&end)?;
    export.lines.flush()
}

/// The cause is logged where the error of the store is known; the reader of an export sees it break off.
fn failed(error: StorageError) -> io::Error {
    tracing::error!("an export breaks off: failed to {error}");
    io::Error::other(error)
}

struct Export<'a, W> {
    storage: &'a Storage,
    lines: Lines<W>,
    /// Runs that ended later are not in it.
    now: Timestamp,
}

impl<W: io::Write> Export<'_, W> {
    fn suites(&mut self) -> io::Result<()> {
        let (storage, mut last) = (self.storage, None);
        while let Some(suite) = storage.suite_after(last.as_ref()).map_err(failed)? {
            for (uploaded_at, digest) in storage.uploads(&suite).map_err(failed)? {
                self.version(&suite, digest, uploaded_at)?;
            }
            if let Some(policy) = storage.policy(&suite).map_err(failed)? {
                let (policy, secrets) = without_secrets(policy);
                let (suite, policy) = (suite.clone(), Box::new(policy));
                self.lines.write(&Line::Policy { suite, policy, secrets })?;
            }
            let mut marks = storage.marks(&suite).map_err(failed)?;
            marks.retain(|_, mark| !mark.declared);
            if !marks.is_empty() {
                self.lines.write(&Line::Marks { suite: suite.clone(), marks })?;
            }
            last = Some(suite);
        }
        Ok(())
    }

    /// What starts runs, less what the configuration declares.
    fn starters(&mut self) -> io::Result<()> {
        for mut schedule in self.storage.schedules().map_err(failed)? {
            if !schedule.declared {
                (schedule.rows, schedule.under_way) = (0, Vec::new());
                self.lines.write(&Line::Schedule(Box::new(schedule)))?;
            }
        }
        for mut trigger in self.storage.triggers().map_err(failed)? {
            if !trigger.declared {
                trigger.spec.secret.0.clear();
                trigger.stored = Default::default();
                self.lines.write(&Line::Trigger(Box::new(trigger)))?;
            }
        }
        Ok(())
    }

    fn plugins(&mut self) -> io::Result<()> {
        for mut plugin in self.storage.plugins().map_err(failed)? {
            if self.blob(&plugin.digest, false)? {
                let secrets;
                (plugin.policy, secrets) = without_secrets(plugin.policy);
                self.lines.write(&Line::Plugin { plugin: Box::new(plugin), secrets })?;
            }
        }
        Ok(())
    }

    /// What is known of suites that have runs. Read after the runs had ended that are in the export, so that
    /// none of their results is missing.
    fn statistics(&mut self) -> io::Result<()> {
        let (storage, mut last) = (self.storage, None);
        while let Some(suite) = storage.suite_with_runs_after(last.as_ref()).map_err(failed)? {
            let highest = storage.highest_number(&suite).map_err(failed)?;
            self.lines.write(&Line::Number { suite: suite.clone(), highest })?;
            self.test(&suite, String::new())?;
            let mut page = Page { limit: KNOWN, cursor: None };
            loop {
                let tests = storage.tests(&suite, &page).map_err(failed)?;
                for stored in tests.items {
                    self.test(&suite, stored.test)?;
                }
                page.cursor = tests.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
            loop {
                let groups = storage.groups(&suite, &page).map_err(failed)?;
                for StoredGroup { id, group } in groups.items {
                    self.known(&suite, Known::Group { id, group: Box::new(group) })?;
                }
                page.cursor = groups.next_cursor;
                if page.cursor.is_none() {
                    break;
                }
            }
            last = Some(suite);
        }
        Ok(())
    }

    /// What is known of a test, or, with an empty name, of the suite itself.
    fn test(&mut self, suite: &SuiteId, test: String) -> io::Result<()> {
        let Some(found) = self.storage.results(suite, &test).map_err(failed)? else {
            return Ok(());
        };
        let series = Box::new(found.series);
        self.known(suite, Known::Series { test: test.clone(), series })?;
        for kept in found.kept.chunks(KNOWN) {
            self.known(suite, Known::Results { test: test.clone(), kept: kept.to_vec() })?;
        }
        Ok(())
    }

    fn known(&mut self, suite: &SuiteId, known: Known) -> io::Result<()> {
        self.lines.write(&Line::Known { suite: suite.clone(), known })
    }

    fn version(
        &mut self,
        suite: &SuiteId,
        digest: Digest,
        uploaded_at: Timestamp,
    ) -> io::Result<()> {
        let storage = self.storage;
        // Somebody may delete it meanwhile.
        let Some(version) = storage.version(suite, &digest).map_err(failed)? else { return Ok(()) };
        if !self.blob(&digest, false)? {
            return Ok(());
        }
        let mut fixtures = storage.fixtures(suite, &digest).map_err(failed)?;
        if let Some(found) = &fixtures
            && !self.blob(&found.digest, false)?
        {
            fixtures = None;
        }
        self.lines.write(&Line::Version { version: Box::new(version), uploaded_at, fixtures })
    }

    /// Writes a file; false if it is not there.
    fn blob(&mut self, digest: &Digest, artifact: bool) -> io::Result<bool> {
        let content = self.storage.file(digest, artifact).map_err(failed)?;
        let Some(content) = content else { return Ok(false) };
        let size_bytes = content.len() as u64;
        self.lines.write(&Line::Blob { digest: *digest, size_bytes })?;
        content.chunks(DATA_BYTES).try_for_each(|part| self.lines.write(&data(part)))?;
        Ok(true)
    }

    /// Whether a run is in the export.
    fn has(&self, summary: &RunSummary) -> bool {
        summary.status.is_terminal() && summary.finished_at.is_some_and(|ended| ended < self.now)
    }

    /// Writes a run; false if it had not ended.
    fn run(&mut self, id: RunId) -> io::Result<bool> {
        let storage = self.storage;
        let up_to = storage.last_seq(id).map_err(failed)?;
        let summary = storage.summary(id).map_err(failed)?;
        // If it has ended now, that was its last event then: a retry would have changed it since.
        let Some(summary) = summary.filter(|summary| self.has(summary)) else { return Ok(false) };
        if storage.last_seq(id).map_err(failed)? != up_to {
            return Ok(false);
        }
        for artifact in self.artifacts(id, up_to)? {
            let first = storage.first_with_artifact(&artifact, |run| {
                Ok(storage.summary(run)?.is_some_and(|summary| self.has(&summary)))
            });
            if first.map_err(failed)? == Some(summary.id) {
                self.blob(&artifact, true)?;
            }
        }
        let (pin, said) = (storage.pin(id), self.said(id)?);
        self.lines.write(&Line::Run { id, pin, said })?;
        let mut after = 0;
        while after < up_to {
            let most = EVENTS.min(usize::try_from(up_to - after).unwrap_or(EVENTS));
            let events = storage.events(id, after, most).map_err(failed)?;
            let Some(last) = events.last() else {
                return Err(io::Error::other("events are missing"));
            };
            after = last.seq;
            for event in events {
                let detail = self.detail(&event)?.map(Box::new);
                self.lines.write(&Line::Event { event: Box::new(event), detail })?;
            }
        }
        Ok(true)
    }

    /// The artifacts that a run names, each once. They are bounded by the run's limits.
    fn artifacts(&self, run: RunId, up_to: u64) -> io::Result<Vec<Digest>> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let take = |_: &_, attempt: &Attempt| {
            let digests = attempt.artifacts.iter().map(|artifact| artifact.digest);
            found.extend(digests.filter(|digest| seen.insert(*digest)));
        };
        self.storage.attempts(run, up_to, take).map_err(failed)?;
        Ok(found)
    }

    /// What gates and plugins said of a run, as if gates had said it all.
    fn said(&self, run: RunId) -> io::Result<Option<Box<Gated>>> {
        let gated = self.storage.gated(run).map_err(failed)?;
        let said = self.storage.annotations(run).map_err(failed)?;
        let none = gated.is_none() && said.is_empty();
        Ok((!none).then(|| Box::new(Gated { said, ..gated.unwrap_or_default() })))
    }

    /// What is stored of an attempt beside its event, less what is secret.
    fn detail(&self, event: &RunEvent) -> io::Result<Option<AttemptDetail>> {
        let EventKind::AttemptFinished { stage, attempt } = &event.kind else { return Ok(None) };
        let detail = self.storage.detail(event.run_id, stage, attempt.round, attempt.number);
        let mut detail = detail.map_err(failed)?;
        let values = detail.iter_mut().flat_map(|detail| &mut detail.values);
        values.filter(|value| value.secret).for_each(|value| value.value = MASK.into());
        Ok(detail)
    }
}

/// A policy without the values of its secrets, and their names.
fn without_secrets(mut policy: Policy) -> (Policy, BTreeSet<String>) {
    let secrets = std::mem::take(&mut policy.secrets);
    (policy, secrets.into_keys().collect())
}
