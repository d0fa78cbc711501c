//! Storing an import that is whole. It can be cut off anywhere, and done again: what is there stays as it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::check::{AllHere, TransferError};
use super::lines::Line;
use super::spool::{self, Spool};
use crate::model::{
    AttemptDetail, Digest, EventKind, Gated, Pin, Plugin, Policy, RunEvent, RunId, Schedule,
    Standing, SuiteId, Trigger,
};
use crate::storage::{Called, Dealt, Known, Receipt, RestoredVersion, Storage};

/// How many events wait to be stored at the most, and how many bytes of files with them.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 1 << 20;

/// How many lines of statistics are stored at once.
const KNOWN: usize = 100;

/// What came of an import.
#[derive(Debug, Default)]
pub struct Applied {
    /// Runs that are new.
    pub runs: u64,
    /// Runs that were there, and stayed as they were.
    pub runs_there: u64,
    /// Versions that are new.
    pub versions: u64,
    /// Schedules that are new.
    pub schedules: Vec<Schedule>,
    /// Triggers that are new. Nobody can call them before they have a secret.
    pub triggers: Vec<Trigger>,
    /// How many plugins are new. They are disabled.
    pub plugins: u64,
    /// Secrets that the export does not have, by what they are of: to be set again.
    pub missing_secrets: BTreeMap<String, BTreeSet<String>>,
}

/// Removes what a process left of an import that was cut off, and stores one that was whole.
pub async fn resume(storage: &Storage, data: &Path) -> Result<Option<Applied>, TransferError> {
    let (coming, whole) = spool::places(data);
    spool::clear(&coming)?;
    if !whole.exists() {
        return Ok(None);
    }
    tracing::info!("storing an import that was whole when the server ended");
    Spool(whole).apply(storage).await.map(Some)
}

impl Spool {
    /// Stores everything, and removes what was laid aside.
    pub async fn apply(self, storage: &Storage) -> Result<Applied, TransferError> {
        let here: Vec<_> =
            serde_json::from_slice(&std::fs::read(self.here())?).map_err(io::Error::from)?;
        let mut apply = Apply {
            storage,
            spool: &self,
            here: here.into_iter().collect(),
            applied: Applied::default(),
            known: None,
            run: None,
            waiting: VecDeque::new(),
        };
        let mut lines = BufReader::new(File::open(self.lines())?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let parsed = serde_json::from_slice(&line).map_err(io::Error::from)?;
            apply.line(parsed).await?;
            line.clear();
        }
        apply.stored().await?;
        let applied = apply.applied;
        self.remove()?;
        Ok(applied)
    }
}

/// The run whose events come.
struct Current {
    id: RunId,
    pin: Option<Pin>,
    said: Option<Box<Gated>>,
    /// The last event that is stored.
    stored: u64,
    /// Whether it is there already, with its end.
    there: bool,
    /// Whether its results are still to be counted.
    counts: bool,
}

struct Apply<'a> {
    storage: &'a Storage,
    spool: &'a Spool,
    here: AllHere,
    applied: Applied,
    /// Statistics that wait to be stored.
    known: Option<(SuiteId, Vec<Known>)>,
    run: Option<Current>,
    waiting: VecDeque<Receipt>,
}

impl Apply<'_> {
    async fn line(&mut self, line: Line) -> Result<(), TransferError> {
        match line {
            Line::Known { suite, known } => return self.known(suite, known).await,
            Line::Event { event, detail } => return self.event(*event, detail).await,
            // Runs share their flushes. Nothing is asked of one before it is stored.
            Line::Run { .. } if !self.is_awaited() => {}
            _ => self.stored().await?,
        }
        match line {
            Line::Version { version, uploaded_at, fixtures } => {
                let component = self.content(&version.digest, false)?;
                let fixtures = match fixtures {
                    None => None,
                    Some(fixtures) => {
                        let archive = self.content(&fixtures.digest, false)?;
                        Some((fixtures, archive))
                    }
                };
                let version =
                    RestoredVersion { version: *version, uploaded_at, component, fixtures };
                let new = self.storage.restore_version(version).await?;
                self.applied.versions += u64::from(new);
            }
            Line::Policy { suite, policy, secrets } => self.policy(suite, *policy, secrets).await?,
            Line::Marks { suite, marks } => {
                self.storage.restore_marks(suite, marks).await?;
            }
            Line::Number { suite, highest } => {
                self.storage.restore_number(suite, highest).await?;
            }
            Line::Schedule(schedule) => self.schedule(*schedule).await?,
            Line::Trigger(trigger) => self.trigger(*trigger).await?,
            Line::Plugin { plugin, secrets } => self.plugin(*plugin, secrets).await?,
            Line::Run { id, pin, said } => {
                let stored = self.storage.last_seq(id)?;
                let summary = self.storage.summary(id)?;
                let there = summary.is_some_and(|summary| summary.status.is_terminal());
                match there {
                    true => self.applied.runs_there += 1,
                    false => self.applied.runs += 1,
                }
                self.run = Some(Current { id, pin, said, stored, there, counts: false });
            }
            _ => {}
        }
        Ok(())
    }

    async fn schedule(&mut self, schedule: Schedule) -> Result<(), TransferError> {
        let there = self.storage.schedules()?.iter().any(|it| it.name == schedule.name);
        if !there {
            let dealt = Dealt { schedule: schedule.clone(), rows: Vec::new() };
            self.storage.put_schedule(dealt, None).await?;
            self.applied.schedules.push(schedule);
        }
        Ok(())
    }

    /// A trigger whose secret nobody has, until it is set again.
    async fn trigger(&mut self, mut trigger: Trigger) -> Result<(), TransferError> {
        if self.storage.triggers()?.iter().any(|it| it.name == trigger.name) {
            return Ok(());
        }
        let secret: [u8; 32] = rand::random();
        trigger.spec.secret.0 = format!("whsec_{}", STANDARD.encode(secret));
        self.storage.put_trigger(Called::only(trigger.clone()), None).await?;
        self.missing(format!("trigger {}", trigger.name), ["secret".to_owned()].into());
        self.applied.triggers.push(trigger);
        Ok(())
    }

    /// A plugin is told nothing until it is enabled: the server that it comes from may still tell it.
    async fn plugin(
        &mut self,
        mut plugin: Plugin,
        secrets: BTreeSet<String>,
    ) -> Result<(), TransferError> {
        if self.storage.plugin(&plugin.name)?.is_some() {
            return Ok(());
        }
        let reason = "it was imported: set its secrets, and enable it".to_owned();
        plugin.standing = Standing::Disabled { reason, stays: true };
        let component = self.content(&plugin.digest, false)?;
        self.missing(format!("plugin {}", plugin.name), secrets);
        self.storage.put_plugin(plugin, Some(component), None).await?;
        self.applied.plugins += 1;
        Ok(())
    }

    fn missing(&mut self, of: String, secrets: BTreeSet<String>) {
        if !secrets.is_empty() {
            self.applied.missing_secrets.insert(of, secrets);
        }
    }

    async fn known(&mut self, suite: SuiteId, known: Known) -> Result<(), TransferError> {
        if !self.here.get(&suite).is_some_and(|here| here.is_new) {
            return Ok(());
        }
        match &mut self.known {
            Some((of, some)) if *of == suite && some.len() < KNOWN => some.push(known),
            _ => {
                self.stored().await?;
                self.known = Some((suite, vec![known]));
            }
        }
        Ok(())
    }

    /// Whether something is to be stored that stands on what waits.
    fn is_awaited(&self) -> bool {
        let has_more = |run: &Current| run.pin.is_some() || run.said.is_some();
        self.known.is_some() || self.run.as_ref().is_some_and(has_more)
    }

    /// Waits until everything so far is stored.
    async fn stored(&mut self) -> Result<(), TransferError> {
        if let Some((suite, known)) = self.known.take() {
            self.storage.restore_known(suite, known).await?;
        }
        self.wait_for(0).await?;
        let Some(Current { id, pin, said, there, .. }) = self.run.take() else { return Ok(()) };
        if let Some(said) = said.filter(|_| !there) {
            self.storage.put_gated(id, *said).await?;
        }
        if pin.is_some() {
            self.storage.set_pin(id, pin).await?;
        }
        Ok(())
    }

    /// A suite that has a policy keeps it. Secrets of the same names stay.
    async fn policy(
        &mut self,
        suite: SuiteId,
        policy: Policy,
        secrets: BTreeSet<String>,
    ) -> Result<(), TransferError> {
        let there = self.storage.policy(&suite)?;
        let known = there.as_ref().map(|policy| &policy.secrets);
        let missing =
            secrets.into_iter().filter(|name| known.is_none_or(|it| !it.contains_key(name)));
        let missing: BTreeSet<_> = missing.collect();
        if there.is_none() {
            self.storage.put_policy(&suite, &policy).await?;
        }
        self.missing(suite.to_string(), missing);
        Ok(())
    }

    async fn event(
        &mut self,
        event: RunEvent,
        detail: Option<Box<AttemptDetail>>,
    ) -> Result<(), TransferError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if let EventKind::RunQueued { spec } = &event.kind {
            let here = self.here.get(&spec.suite);
            run.counts = here.is_some_and(|here| !here.is_new && spec.number > here.highest);
        }
        if run.there || event.seq <= run.stored {
            return Ok(());
        }
        let (id, counts) = (run.id, run.counts);
        let mut kind = event.kind;
        if let EventKind::AttemptFinished { attempt, .. } = &mut kind {
            attempt.detail = detail;
            let sizes = attempt.artifacts.iter().map(|artifact| artifact.size_bytes);
            if sizes.sum::<u64>() > WAITING_BYTES as u64 {
                self.wait_for(0).await?;
            }
            for artifact in &mut attempt.artifacts {
                artifact.content = self.content(&artifact.digest, true)?;
            }
        }
        let receipt = self.storage.restore_event(id, kind, event.at, counts).await;
        self.waiting.push_back(receipt);
        self.wait_for(WAITING).await
    }

    /// Waits until no more than so many events are not stored.
    async fn wait_for(&mut self, most: usize) -> Result<(), TransferError> {
        while self.waiting.len() > most {
            let Some(receipt) = self.waiting.pop_front() else { break };
            let stored = receipt.await.map_err(io::Error::other)?;
            stored.map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(())
    }

    /// A file that came along, or is there.
    fn content(&self, digest: &Digest, artifact: bool) -> Result<Bytes, TransferError> {
        match std::fs::read(spool::blob(&self.spool.blobs(), digest)) {
            Ok(content) => Ok(content.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = || io::Error::other(format!("the file {digest} is not there"));
                Ok(self.storage.file(digest, artifact)?.ok_or_else(missing)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}
