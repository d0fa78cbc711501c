//! Which runs are to be kept whatever their age. Held in memory, as every list of runs shows them; how many
//! there may be is bounded by whoever sets them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::batch::Batch;
use super::durable::Database;
use super::message::Change;
use super::{Shared, Storage, StorageError, keys, record, runs, values};
use crate::model::{Pin, RunId};

/// The pins that are durable.
pub(super) struct Pins(Mutex<HashMap<RunId, Pin>>);

impl Pins {
    pub(super) fn open(database: &Database) -> Result<Self, StorageError> {
        let mut pins = HashMap::new();
        for key in database.scan(keys::PINS).keys() {
            let key = key?;
            let Some(run) = keys::ending_run(&key) else { continue };
            if let Some(pin) = values::get(database, &key)? {
                pins.insert(run, record::decode(&pin)?);
            }
        }
        Ok(Self(Mutex::new(pins)))
    }

    pub(super) fn of(&self, run: RunId) -> Option<Pin> {
        self.lock().get(&run).cloned()
    }

    /// A change is durable.
    pub(super) fn set(&self, run: RunId, pin: Option<Pin>) {
        let mut pins = self.lock();
        match pin {
            Some(pin) => pins.insert(run, pin),
            None => pins.remove(&run),
        };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Pin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Why a run is kept whatever its age; none if it is not.
    pub fn pin(&self, run: RunId) -> Option<Pin> {
        self.shared().pins.of(run)
    }

    /// How many runs are pinned.
    pub fn pinned(&self) -> usize {
        self.shared().pins.lock().len()
    }

    /// Pins a run, or lets it go again. False if there is no such run.
    pub async fn set_pin(&self, run: RunId, pin: Option<Pin>) -> Result<bool, StorageError> {
        self.change(Change::Pin { run, pin }).await
    }
}

/// Adds a pin to the batch, or takes it away.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut Batch,
    run: RunId,
    pin: Option<Pin>,
) -> Result<bool, StorageError> {
    let database = &shared.database;
    if runs::summary(database, run)?.is_none() || batch.gone.contains(&run) {
        return Ok(false);
    }
    let key = keys::pin(run);
    values::remove(database, &mut batch.writes, &key)?;
    if let Some(pin) = &pin {
        values::put(&mut batch.writes, &key, &record::encode(pin)?);
    }
    // From now on: what is forgotten in the same batch looks here.
    shared.pins.set(run, pin);
    Ok(true)
}
