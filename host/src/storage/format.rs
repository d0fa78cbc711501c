//! The format of the whole store: which records there are, beside how each is written (`record`).
//!
//! | format | |
//! | --- | --- |
//! | 1 | as first released |
//! | 2 | which runs have an artifact is found by the artifact |
//! | 3 | lists and numbers have up to 64 runs under one key |
//! | 4 | a series of results is written in postcard; those that are JSON are still read |
//!
//! A store of an older format is brought up to date when it is opened, in steps that a crash may cut off
//! anywhere. One of a newer format is refused: what this version does not know it would not keep in order.

use super::durable::Database;
use super::{StorageError, keys, lists, runs};
use crate::model::EventKind;

/// The format that is written.
pub(super) const FORMAT: u8 = 4;

/// How many keys are written at a time.
const STEP: usize = 1_000;

/// Brings a store up to date, or says why not.
pub(super) fn check(database: &Database) -> Result<(), StorageError> {
    match database.get_raw(keys::LAYOUT)?.as_deref() {
        None => mark(database),
        Some([FORMAT]) => Ok(()),
        Some([format, ..]) if *format > FORMAT => Err(StorageError::NewerStore(*format, FORMAT)),
        Some([format @ 1..FORMAT]) => {
            tracing::info!(from = format, to = FORMAT, "bringing the store up to date");
            if *format == 1 {
                index_artifacts(database)?;
            }
            if *format < 3 {
                lists::pack(database, STEP)?;
            }
            mark(database)
        }
        Some(_) => Err(StorageError::Damaged("the mark of the store's format".into())),
    }
}

fn mark(database: &Database) -> Result<(), StorageError> {
    let mut batch = sled::Batch::default();
    batch.insert(keys::LAYOUT, &[FORMAT]);
    database.commit(batch)
}

/// Says of each artifact which runs have it.
fn index_artifacts(database: &Database) -> Result<(), StorageError> {
    let (mut batch, mut keys) = (sled::Batch::default(), 0);
    for entry in database.scan(keys::PAGES) {
        let (key, head) = entry?;
        let Some(run) = keys::read_page_run(&key) else { continue };
        let (_, events) = runs::read_page(database, run, &key, head)?;
        for event in events {
            let EventKind::AttemptFinished { attempt, .. } = &event.kind else { continue };
            for artifact in &attempt.artifacts {
                batch.insert(keys::artifact_user(&artifact.digest, run), &[]);
                keys += 1;
            }
        }
        if keys >= STEP {
            database.commit(std::mem::take(&mut batch))?;
            keys = 0;
        }
    }
    database.commit(batch)
}
