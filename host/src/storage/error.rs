//! What can go wrong with the store, in words that tell what to do.

use std::io;
use std::path::PathBuf;

use super::EarlierAnswer;
use crate::model::{Name, RunId, SuiteId};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk has less free space than `min_free_bytes`, or none: nothing was written.
    #[error("store it: the disk has too little free space, make room or lower min_free_bytes")]
    Full,
    /// The store is held by another process.
    #[error("open the store in {}: another process has it open", .0.display())]
    Locked(PathBuf),
    /// An Idempotency-Key was used before with another request.
    #[error("use this Idempotency-Key: it was used with another request")]
    KeyReused,
    /// An equal request with the same Idempotency-Key came first; this is what it made.
    #[error("use this Idempotency-Key: the same request was answered already")]
    KeyTaken(EarlierAnswer),
    /// The cursor is not one that this list gave.
    #[error("read on from this cursor: it does not belong to this list, start without one")]
    BadCursor,
    /// A first event of a run that exists, or a later event of one that does not.
    #[error("store the event: it does not fit what is stored of run {0}")]
    Misplaced(RunId),
    /// What is to be changed is not there, or no longer.
    #[error("change it: there is no suite {0}")]
    NoSuite(SuiteId),
    /// As many tests are marked as may be.
    #[error(
        "mark the test: {0} tests of the suite are marked already, take a mark away first (storage.marks)"
    )]
    TooManyMarks(u64),
    /// The configuration says it, and nobody else.
    #[error(
        "change what is said of the test {0:?}: the server's configuration declares it, change it there and restart"
    )]
    MarkDeclared(String),
    /// What became of a time of this schedule is stored already.
    #[error("store what became of a time of schedule {0}: it was dealt with already")]
    DealtWith(Name),
    /// A delivery to this trigger has started this run already.
    #[error(
        "store what became of a call to trigger {0}: its delivery has started the run {1} already"
    )]
    Delivered(Name, RunId),
    /// Written in a format that this version does not know.
    #[error("read the store: it was written by a newer version of handoff (format {0})")]
    TooNew(u8),
    /// The whole store is of a format that this version does not know.
    #[error(
        "open the store: a newer version of handoff wrote it (format {0}, and this version knows {1} and \
         older): start that version or a newer one on it, or restore the copy from before the upgrade; \
         nothing was changed"
    )]
    NewerStore(u8, u8),
    /// A record or file is not what was written.
    #[error("read the store: {0} is damaged")]
    Damaged(String),
    /// The store was closed.
    #[error("use the store: it is closed")]
    Closed,
    /// A write failed in a way after which nothing can be known to be durable. What was
    /// acknowledged before is safe; the process must open the store again.
    #[error("use the store: {0}; restart the server")]
    Broken(String),
    /// A file of the store could not be read or written.
    #[error("use the store")]
    Io(#[source] io::Error),
}

/// Others may have filled the disk since it was looked at.
impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl StorageError {
    /// The same error once more, for one who waits for the same thing.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Locked(dir) => Self::Locked(dir.clone()),
            Self::KeyReused => Self::KeyReused,
            Self::KeyTaken(answer) => Self::KeyTaken(answer.clone()),
            Self::BadCursor => Self::BadCursor,
            Self::Misplaced(run) => Self::Misplaced(*run),
            Self::NoSuite(suite) => Self::NoSuite(suite.clone()),
            Self::TooManyMarks(most) => Self::TooManyMarks(*most),
            Self::MarkDeclared(test) => Self::MarkDeclared(test.clone()),
            Self::DealtWith(schedule) => Self::DealtWith(schedule.clone()),
            Self::Delivered(trigger, run) => Self::Delivered(trigger.clone(), *run),
            Self::TooNew(format) => Self::TooNew(*format),
            Self::NewerStore(found, known) => Self::NewerStore(*found, *known),
            Self::Damaged(what) => Self::Damaged(what.clone()),
            Self::Closed => Self::Closed,
            Self::Broken(why) => Self::Broken(why.clone()),
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

/// An error of sled's is final: it has set its own global error and refuses further writes.
impl From<sled::Error> for StorageError {
    fn from(error: sled::Error) -> Self {
        Self::Broken(error.to_string())
    }
}
