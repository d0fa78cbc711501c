//! What the committing thread is asked to store.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::plugins::{Routed, Settled};
use super::retention::{Freed, Leaving};
use super::schedules::Dealt;
use super::transfer::Restored;
use super::triggers::Called;
use super::{IdempotencyKey, Made, StorageError, keys, record, runs};
use crate::model::{
    AttemptDetail, Digest, EventKind, Fixtures, Gated, Mark, Name, Pin, Plugin, Policy, RunEvent,
    RunId, SuiteId, SuiteVersion,
};

/// Lines of log and other items from which on the detail of an attempt counts as large. Not a setting: it
/// bounds nothing, it only tells what is made ready in passing, within some tens of microseconds, from what
/// takes its turn among `storage.large_details`.
const LARGE_DETAIL: usize = 100;

/// An event that holds so many bytes is stored at once, to make room in the queue. Not a setting: what may
/// wait is bounded by `storage.queue_bytes`, and a flush for so many bytes costs little beside writing them.
const URGENT_BYTES: usize = 256 << 10;

/// Where the answer to an event goes.
pub(super) type EventReply = oneshot::Sender<Result<u64, Arc<StorageError>>>;
/// Where the answer to a change of a suite goes.
pub(super) type ChangeReply = oneshot::Sender<Result<bool, StorageError>>;

/// One thing to store.
pub(super) enum Message {
    /// An event of a run.
    Append(Box<Append>, EventReply),
    /// A change of a suite.
    Change(Change, ChangeReply),
    /// Store what came before, then end.
    Close,
}

/// An event, made ready by its sender, so that the committing thread has little to do for each.
pub(super) struct Append {
    /// The event without details; its number is still missing.
    pub(super) event: RunEvent,
    /// The event as its page will hold it.
    pub(super) json: Vec<u8>,
    /// Key and record of the attempt's detail.
    pub(super) detail: Option<(Vec<u8>, Vec<u8>)>,
    /// What the attempt's artifacts hold.
    pub(super) contents: Vec<(Digest, Bytes)>,
    pub(super) key: Option<IdempotencyKey>,
    /// What asks for the run, if it is to know of that.
    pub(super) origin: Option<Origin>,
    /// Whether somebody waits until it is durable.
    pub(super) awaited: bool,
    /// If it happened elsewhere, and nobody is told of it.
    pub(super) restoring: Option<Restoring>,
    /// The room it takes in the queue until it is stored.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// How an event is taken in that happened elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restoring {
    /// Whether what it changes of the statistics is taken in too.
    pub(super) counts: bool,
}

/// What asks for a run, and is stored with it.
pub(super) enum Origin {
    /// A time of a schedule.
    Due(Box<Dealt>),
    /// A call to a trigger.
    Called(Box<Called>),
}

impl From<Dealt> for Origin {
    fn from(dealt: Dealt) -> Self {
        Self::Due(Box::new(dealt))
    }
}

impl From<Called> for Origin {
    fn from(called: Called) -> Self {
        Self::Called(Box::new(called))
    }
}

/// A change of a suite.
pub(super) enum Change {
    PutVersion { version: Box<SuiteVersion>, component: Bytes, key: Option<IdempotencyKey> },
    PutPolicy { suite: SuiteId, before: Option<Box<Policy>>, policy: Vec<u8> },
    PutFixtures { suite: SuiteId, version: Digest, fixtures: Option<(Box<Fixtures>, Bytes)> },
    Mark { suite: SuiteId, test: String, mark: Option<Box<Mark>> },
    Delete { suite: SuiteId },
    PutSchedule { dealt: Box<Dealt>, key: Option<IdempotencyKey> },
    DeleteSchedule { schedule: Name },
    PutTrigger { called: Box<Called>, key: Option<IdempotencyKey> },
    DeleteTrigger { trigger: Name },
    Restore { suite: SuiteId, restored: Restored },
    Pin { run: RunId, pin: Option<Pin> },
    Forget { parts: Vec<Leaving>, freed: Arc<Freed> },
    Sweep { files: Vec<Digest>, freed: Arc<Freed> },
    Plugin(PluginChange, Option<Made>),
}

/// A change of a plugin, or of what it is told.
pub(super) enum PluginChange {
    Put {
        plugin: Box<Plugin>,
        component: Option<Bytes>,
        broke: Option<String>,
    },
    Delete {
        name: Name,
    },
    /// With the record of each delivery.
    Routed(Box<Routed>, Vec<Vec<u8>>),
    /// With the delivery's record.
    Settled(Box<Settled>, Vec<u8>),
    Gated {
        run: RunId,
        gated: Box<Gated>,
    },
}

/// What a change changes. A batch has one change of each.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Suite(SuiteId),
    Schedule(Name),
    Trigger(Name),
    Run(RunId),
    /// What goes: two of them would not see what the other takes.
    Leaving,
    Plugin(Name),
    Gate(RunId),
    Journal,
}

/// Whether an event takes long to be made ready: milliseconds for a log of many lines.
pub(super) fn is_large(kind: &EventKind) -> bool {
    let EventKind::AttemptFinished { attempt, .. } = kind else { return false };
    attempt.detail.as_ref().is_some_and(|detail| {
        let AttemptDetail { log, spans, sub_results, exchanges, .. } = detail.as_ref();
        log.len() + spans.len() + sub_results.len() + exchanges.len() > LARGE_DETAIL
    })
}

impl Append {
    /// Takes what is stored apart out of an event, which happened at `at`.
    pub(super) fn new(
        run_id: RunId,
        mut kind: EventKind,
        key: Option<IdempotencyKey>,
        at: Timestamp,
    ) -> Result<Self, StorageError> {
        let mut detail = None;
        let mut contents = Vec::new();
        if let EventKind::AttemptFinished { stage, attempt } = &mut kind {
            attempt.cut();
            if let Some(taken) = attempt.detail.take()
                && *taken != AttemptDetail::default()
            {
                let key = keys::detail(run_id, stage, attempt.round, attempt.number);
                detail = Some((key, record::encode(&taken)?));
            }
            for artifact in &mut attempt.artifacts {
                contents.push((artifact.digest, std::mem::take(&mut artifact.content)));
            }
        }
        let event = RunEvent { run_id, seq: 0, at, kind };
        let json = runs::event_json(&event)?;
        let (origin, awaited, restoring, room) = (None, true, None, None);
        Ok(Self { event, json, detail, contents, key, origin, awaited, restoring, room })
    }

    /// Bytes that it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        let detail = self.detail.as_ref().map_or(0, |(_, record)| record.len());
        let contents: usize = self.contents.iter().map(|(_, content)| content.len()).sum();
        // The event itself is about as large as its JSON.
        2 * self.json.len() + detail + contents
    }

    /// Whether somebody waits until it is durable, or it takes much of the queue's room.
    pub(super) fn is_urgent(&self) -> bool {
        self.awaited || self.bytes() >= URGENT_BYTES
    }

    /// Whether it asks for new work, and may be refused while the disk is full. Progress of a run
    /// that was accepted is kept instead.
    pub(super) fn asks_for_work(&self) -> bool {
        let kind = &self.event.kind;
        self.restoring.is_none()
            && matches!(kind, EventKind::RunQueued { .. } | EventKind::RetryRequested { .. })
    }
}

impl PluginChange {
    /// Bytes that count towards the size of a batch.
    fn bytes(&self) -> usize {
        match self {
            Self::Put { component, .. } => component.as_ref().map_or(0, Bytes::len),
            Self::Routed(_, records) => records.iter().map(Vec::len).sum(),
            Self::Settled(settled, record) => {
                let kept = settled.kept.values().flatten().map(Vec::len).sum::<usize>();
                record.len() + kept
            }
            Self::Delete { .. } | Self::Gated { .. } => 0,
        }
    }
}

impl Change {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::PutVersion { version, .. } => Subject::Suite(version.suite.clone()),
            Self::PutPolicy { suite, .. }
            | Self::PutFixtures { suite, .. }
            | Self::Mark { suite, .. }
            | Self::Restore { suite, .. }
            | Self::Delete { suite } => Subject::Suite(suite.clone()),
            Self::PutSchedule { dealt, .. } => Subject::Schedule(dealt.schedule.name.clone()),
            Self::DeleteSchedule { schedule } => Subject::Schedule(schedule.clone()),
            Self::PutTrigger { called, .. } => Subject::Trigger(called.trigger.name.clone()),
            Self::DeleteTrigger { trigger } => Subject::Trigger(trigger.clone()),
            Self::Pin { run, .. } => Subject::Run(*run),
            Self::Forget { .. } | Self::Sweep { .. } => Subject::Leaving,
            Self::Plugin(change, _) => match change {
                PluginChange::Put { plugin, .. } => Subject::Plugin(plugin.name.clone()),
                PluginChange::Delete { name } => Subject::Plugin(name.clone()),
                PluginChange::Settled(settled, _) => {
                    Subject::Plugin(settled.delivery.plugin.clone())
                }
                PluginChange::Routed(..) => Subject::Journal,
                PluginChange::Gated { run, .. } => Subject::Gate(*run),
            },
        }
    }
}

impl Message {
    /// Whether it makes room.
    pub(super) fn frees(&self) -> bool {
        matches!(self, Self::Change(Change::Forget { .. } | Change::Sweep { .. }, _))
    }

    /// Whether it may be refused while the disk is full.
    pub(super) fn may_be_refused(&self) -> bool {
        match self {
            Self::Append(append, _) => append.asks_for_work(),
            // An import that is whole is stored whole.
            Self::Change(change, _) => !matches!(change, Change::Restore { .. }),
            Self::Close => false,
        }
    }

    /// Whether it is not to wait for others that share its flush.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Append(append, _) => append.is_urgent(),
            // Plugins wait, and no run for them.
            Self::Change(Change::Plugin(change, made), _) => {
                let waits = matches!(change, PluginChange::Routed(..) | PluginChange::Settled(..));
                !waits || made.is_some()
            }
            Self::Change(..) | Self::Close => true,
        }
    }

    /// Answers that it was not stored.
    pub(super) fn fail(self, error: &StorageError) {
        // A sender that no longer waits does not want to know.
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(Arc::new(error.again())))),
            Self::Change(_, reply) => drop(reply.send(Err(error.again()))),
            Self::Close => {}
        }
    }

    /// Bytes that count towards the size of a batch.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append, _) => append.bytes(),
            Self::Change(Change::PutVersion { component, .. }, _) => component.len(),
            Self::Change(Change::PutPolicy { policy, .. }, _) => policy.len(),
            Self::Change(Change::PutFixtures { fixtures, .. }, _) => {
                fixtures.as_ref().map_or(0, |(_, archive)| archive.len())
            }
            Self::Change(Change::Plugin(change, _), _) => change.bytes(),
            Self::Change(_, _) | Self::Close => 0,
        }
    }
}
