//! Whether lines are an export, whole and without contradiction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::lines::{FORMAT, Line, Sum, bytes};
use super::spool;
use crate::model::{Digest, EventKind, Fixtures, Name, Run, RunEvent, RunId, SuiteId};
use crate::scheduler::Rule;
use crate::storage::{Page, RunQuery, Storage, StorageError};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It is something else.
    #[error("line {line} is none of an export of handoff: {why}; nothing was imported")]
    NoExport {
        /// Which line, counted from 1.
        line: u64,
        /// Why not.
        why: String,
    },
    /// A newer version wrote it.
    #[error(
        "this export is of format {0}, by {1}, and this version knows {FORMAT} and older: import it into that \
         version of handoff or a newer one; nothing was imported"
    )]
    TooNew(u32, String),
    /// It contradicts itself.
    #[error("line {line}: {why}; nothing was imported")]
    Wrong {
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// It has no end.
    #[error(
        "the export ends behind line {0}, before its end: it was cut off; send it whole; nothing was imported"
    )]
    CutOff(u64),
    /// It contradicts what is here.
    #[error("{0}; nothing was imported")]
    Conflict(String),
    /// It has more than may be here.
    #[error(
        "with it there would be more than {most} {what} (setting `{setting}`): raise that, or delete some; nothing \
         was imported"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
        /// What sets that.
        setting: &'static str,
    },
    /// Something began here meanwhile.
    #[error("a run of {0} was asked for here meanwhile: import it again")]
    Meanwhile(SuiteId),
    /// An import is under way.
    #[error("another import is under way: wait for its end")]
    Busy,
    /// It could not be laid aside.
    #[error("lay the export aside: {0}")]
    Io(#[from] std::io::Error),
    /// It could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How many of a kind there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Schedules: the setting `scheduler.most`.
    pub schedules: usize,
    /// Triggers: the setting `webhooks.most`.
    pub triggers: usize,
    /// Plugins: the setting `plugin.installed`.
    pub plugins: usize,
}

/// Those of a kind that are here or come.
struct Kind {
    names: HashSet<Name>,
    what: &'static str,
    most: usize,
    setting: &'static str,
}

impl Kind {
    fn add(&mut self, name: &Name) -> Result<(), TransferError> {
        let &mut Self { what, most, setting, .. } = self;
        // What is here may be more already: a bound that was lowered takes nothing away.
        if self.names.insert(name.clone()) && self.names.len() > most {
            return Err(TransferError::TooMany { what, most, setting });
        }
        Ok(())
    }
}

/// The file whose data comes.
struct File {
    digest: Digest,
    left: u64,
    hasher: Sha256,
    out: std::fs::File,
}

/// The run whose events come.
struct Told {
    id: RunId,
    seq: u64,
    run: Option<Run>,
}

/// How a suite stood here before its runs came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Here {
    /// The highest number that a run had.
    pub(super) highest: u64,
    /// The highest number that one has in the export.
    pub(super) coming: u64,
    /// Whether no run of it was started here, and some are new: its statistics are then those of the export.
    /// Otherwise the runs count that are new by their numbers; others were here, and counted, though they may
    /// be forgotten.
    pub(super) is_new: bool,
}

/// How each suite with runs stood here.
pub(super) type AllHere = BTreeMap<SuiteId, Here>;

/// What was found so far. In memory it has what is bounded by the number of suites.
pub(super) struct Checker<'a> {
    storage: &'a Storage,
    blobs: &'a Path,
    sum: Sum,
    runs: u64,
    file: Option<File>,
    run: Option<Told>,
    /// The last run that came: each is younger than the one before.
    last_run: Option<RunId>,
    ended: bool,
    suites: HashSet<SuiteId>,
    here: BTreeMap<SuiteId, Found>,
    /// The newest run of each suite that has some here. If it is in the export, none was started here.
    newest_here: HashMap<RunId, SuiteId>,
    schedules: Kind,
    triggers: Kind,
    plugins: Kind,
}

/// What was found of a suite.
struct Found {
    here: Here,
    /// Whether the newest run that is here is in the export.
    has_newest: bool,
    /// Whether a run of the export is not here.
    has_new: bool,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        storage: &'a Storage,
        blobs: &'a Path,
        most: Most,
    ) -> Result<Self, StorageError> {
        let kind = |names, what, most, setting| Kind { names, what, most, setting };
        let schedules = storage.schedules()?.into_iter().map(|it| it.name).collect();
        let triggers = storage.triggers()?.into_iter().map(|it| it.name).collect();
        let plugins = storage.plugins()?.into_iter().map(|it| it.name).collect();
        Ok(Self {
            storage,
            blobs,
            sum: Sum::default(),
            runs: 0,
            file: None,
            run: None,
            last_run: None,
            ended: false,
            suites: HashSet::new(),
            here: BTreeMap::new(),
            newest_here: HashMap::new(),
            schedules: kind(schedules, "schedules", most.schedules, "scheduler.most"),
            triggers: kind(triggers, "triggers", most.triggers, "webhooks.most"),
            plugins: kind(plugins, "plugins", most.plugins, "plugin.installed"),
        })
    }

    /// Takes in a line with its line break. True if it is to be laid aside.
    pub(super) fn take(&mut self, text: &[u8]) -> Result<bool, TransferError> {
        let number = self.sum.lines + 1;
        let is_whole = text.last() == Some(&b'\n');
        let line = serde_json::from_slice::<Line>(text);
        let line = match line {
            Ok(line) if is_whole => line,
            _ if !is_whole && number > 1 => return Err(TransferError::CutOff(number - 1)),
            Ok(_) => return Err(TransferError::CutOff(0)),
            Err(error) => {
                self.newer(text)?;
                let why = if error.is_data() { error.to_string() } else { "it is no JSON".into() };
                return Err(TransferError::NoExport { line: number, why });
            }
        };
        let wrong = |why: String| TransferError::Wrong { line: number, why };
        if self.ended {
            return Err(wrong("something follows the end".into()));
        }
        if (number == 1) != matches!(line, Line::HandoffExport { .. }) {
            let why = "the first line, and no other, says that it is one".into();
            return Err(TransferError::NoExport { line: number, why });
        }
        if let Line::End { lines, runs, digest } = &line {
            self.between(number)?;
            if (*lines, *runs, *digest) != (self.sum.lines, self.runs, self.sum.digest()) {
                return Err(wrong(
                    "the end does not fit what came before: something is lost".into(),
                ));
            }
            self.ended = true;
            return Ok(false);
        }
        self.sum.add(text);
        self.line(line, number)
    }

    /// Whether the end was reached.
    pub(super) fn finish(self) -> Result<AllHere, TransferError> {
        if !self.ended {
            return Err(TransferError::CutOff(self.sum.lines));
        }
        let here = |(suite, found): (SuiteId, Found)| {
            let Found { here, has_newest, has_new } = found;
            // If nothing is new, what was cleared or tried again here since stays so.
            let is_new = here.is_new || (has_newest && has_new);
            (suite, Here { is_new, ..here })
        };
        Ok(self.here.into_iter().map(here).collect())
    }

    /// Fails if a line that cannot be read is the first one of a newer format.
    fn newer(&self, text: &[u8]) -> Result<(), TransferError> {
        let Ok(line) = serde_json::from_slice::<serde_json::Value>(text) else { return Ok(()) };
        let head = &line["handoff_export"];
        match head["format"].as_u64().and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > FORMAT => {
                let by = head["by"].as_str().unwrap_or("a newer version").to_owned();
                Err(TransferError::TooNew(format, by))
            }
            _ => Ok(()),
        }
    }

    fn line(&mut self, line: Line, number: u64) -> Result<bool, TransferError> {
        let wrong = |why: String| TransferError::Wrong { line: number, why };
        match line {
            Line::Data(data) => {
                let content = bytes(&data).ok_or_else(|| wrong("the data is damaged".into()))?;
                self.data(&content).map_err(|error| match error {
                    Ok(why) => wrong(why),
                    Err(error) => error.into(),
                })?;
                return Ok(false);
            }
            Line::Event { event, .. } => {
                let run =
                    self.run.as_mut().ok_or_else(|| wrong("an event without a run".into()))?;
                artifacts_are_there(self.storage, self.blobs, &event).map_err(wrong)?;
                run.take(&event).map_err(wrong)?;
                return Ok(true);
            }
            _ => self.between(number)?,
        }
        match line {
            Line::HandoffExport { format, by } if format > FORMAT => {
                return Err(TransferError::TooNew(format, by));
            }
            Line::Blob { digest, size_bytes } => {
                let out = std::fs::File::create(spool::blob(self.blobs, &digest))?;
                let hasher = Sha256::new();
                self.file = Some(File { digest, left: size_bytes, hasher, out });
                if size_bytes == 0 {
                    self.file_ended().map_err(wrong)?;
                }
                return Ok(false);
            }
            line => self.said(line).map_err(|error| match error {
                Ok(why) => wrong(why),
                Err(error) => error,
            })?,
        }
        Ok(true)
    }

    /// A line that stands for itself. The error is what is wrong with it, or why that is not known.
    fn said(&mut self, line: Line) -> Result<(), Result<String, TransferError>> {
        let wrong = |why: String| Err(Ok(why));
        match line {
            Line::Version { version, fixtures, .. } => {
                let fixtures = fixtures.as_ref().map(|Fixtures { digest, .. }| *digest);
                for digest in [Some(version.digest), fixtures].into_iter().flatten() {
                    self.file_is_there(&digest).map_err(Ok)?;
                }
                self.suites.insert(version.suite);
            }
            Line::Policy { suite, .. } | Line::Marks { suite, .. }
                if !self.suites.contains(&suite) =>
            {
                return wrong(format!("something of {suite}, of which there is no version"));
            }
            Line::Schedule(schedule) => {
                let spec = &schedule.spec;
                Rule::new(&spec.cron, &spec.timezone, schedule.changed_at)
                    .map_err(|error| Ok(format!("the schedule {}: {error}", schedule.name)))?;
                self.schedules.add(&schedule.name).map_err(Err)?;
            }
            Line::Trigger(trigger) => self.triggers.add(&trigger.name).map_err(Err)?,
            Line::Plugin { plugin, .. } => {
                self.file_is_there(&plugin.digest).map_err(Ok)?;
                self.plugins.add(&plugin.name).map_err(Err)?;
            }
            Line::Number { suite, highest } => {
                let here = self.here(&suite, highest).map_err(Err)?;
                self.here.insert(suite, here);
            }
            Line::Known { suite, .. } if !self.here.contains_key(&suite) => {
                return wrong(format!("statistics of {suite}, of which there is no number"));
            }
            Line::Run { id, .. } => {
                if self.last_run.is_some_and(|last| id.as_bytes() <= last.as_bytes()) {
                    return wrong(format!("the run {id} is older than the one before"));
                }
                if let Some(suite) = self.newest_here.get(&id)
                    && let Some(found) = self.here.get_mut(suite)
                {
                    found.has_newest = true;
                }
                self.last_run = Some(id);
                self.run = Some(Told { id, seq: 0, run: None });
                self.runs += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn file_is_there(&self, digest: &Digest) -> Result<(), String> {
        if spool::blob(self.blobs, digest).exists() {
            Ok(())
        } else {
            Err(format!("the file {digest} that it names is not there"))
        }
    }

    /// How a suite stands here.
    fn here(&mut self, suite: &SuiteId, coming: u64) -> Result<Found, TransferError> {
        let highest = self.storage.number_given(suite)?;
        // Not by the highest number: that may be of a run that had not ended when it was exported.
        let query = RunQuery { suite: Some(suite.clone()), ..RunQuery::default() };
        let newest = self.storage.runs(&query, &Page { limit: 1, cursor: None })?;
        for newest in newest.items {
            self.newest_here.insert(newest.id, suite.clone());
        }
        let here = Here { highest, coming, is_new: highest == 0 };
        Ok(Found { here, has_newest: false, has_new: false })
    }

    /// A file and a run must be whole before something else comes.
    fn between(&mut self, line: u64) -> Result<(), TransferError> {
        let wrong = |why: String| TransferError::Wrong { line, why };
        if let Some(file) = &self.file {
            return Err(wrong(format!(
                "{} bytes of the file {} are missing",
                file.left, file.digest
            )));
        }
        let Some(told) = self.run.take() else { return Ok(()) };
        let ended = told.run.filter(|run| run.status.is_terminal());
        let run = ended.ok_or_else(|| wrong(format!("the run {} has no end", told.id)))?;
        let (suite, number) = (&run.spec.suite, run.spec.number);
        let found = self.here.get_mut(suite).filter(|found| number <= found.here.coming);
        let Some(found) = found else {
            return Err(wrong(format!("{suite} has no run of the number {number}")));
        };
        let taken = self.storage.run_by_number(suite, number)?;
        found.has_new |= taken.is_none();
        match taken.filter(|other| *other != told.id) {
            None => Ok(()),
            Some(other) => Err(TransferError::Conflict(format!(
                "the run {} has the number {number} of {suite}, which the run {other} has here: import it where \
                 the suite has no runs of its own",
                told.id
            ))),
        }
    }

    /// Takes in data of a file. The error is what is wrong with it, or why it cannot be written.
    fn data(&mut self, content: &[u8]) -> Result<(), Result<String, std::io::Error>> {
        let Some(file) = &mut self.file else { return Err(Ok("data without a file".into())) };
        file.left = file
            .left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| Ok(format!("the file {} is longer than it should be", file.digest)))?;
        file.hasher.update(content);
        file.out.write_all(content).map_err(Err)?;
        if file.left == 0 { self.file_ended().map_err(Ok) } else { Ok(()) }
    }

    fn file_ended(&mut self) -> Result<(), String> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let found = Digest::from_bytes(file.hasher.finalize().into());
        if found == file.digest {
            Ok(())
        } else {
            Err(format!("the file {} is damaged: its digest is {found}", file.digest))
        }
    }
}

impl Told {
    fn take(&mut self, event: &RunEvent) -> Result<(), String> {
        self.seq += 1;
        if event.run_id != self.id || event.seq != self.seq {
            return Err(format!("an event that is not number {} of the run {}", self.seq, self.id));
        }
        match (&mut self.run, &event.kind) {
            (None, EventKind::RunQueued { spec }) if spec.id == self.id => {
                self.run = Run::fold([event]).map(|run| run.keeping(0));
                Ok(())
            }
            (Some(run), kind) if !matches!(kind, EventKind::RunQueued { .. }) => {
                run.apply(event);
                Ok(())
            }
            _ => Err(format!("the run {} does not begin with how it was asked for", self.id)),
        }
    }
}

fn artifacts_are_there(storage: &Storage, blobs: &Path, event: &RunEvent) -> Result<(), String> {
    let EventKind::AttemptFinished { attempt, .. } = &event.kind else { return Ok(()) };
    let is_there =
        |digest: &Digest| spool::blob(blobs, digest).exists() || storage.has_artifact(digest);
    match attempt.artifacts.iter().find(|artifact| !is_there(&artifact.digest)) {
        None => Ok(()),
        Some(missing) => Err(format!("the file {} of an artifact is not there", missing.digest)),
    }
}
