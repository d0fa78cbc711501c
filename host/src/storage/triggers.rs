//! Triggers, and what became of calls to them. A run, the row of the call that started it and what makes
//! that delivery known again are stored in one batch, so no delivery ever starts two runs.

use super::batch::Batch;
use super::durable::Database;
use super::message::Change;
use super::{
    IdempotencyKey, Page, Paged, Receipt, Shared, Storage, StorageError, cursor, keys, record,
    values,
};
use crate::model::{CallOutcome, CallRow, Digest, EventKind, Name, RunId, Trigger, TriggerCounts};

/// A call that is dealt with, and how the trigger stands then.
#[derive(Clone, Debug)]
pub struct Called {
    /// The trigger as it is from now on.
    pub trigger: Trigger,
    /// What became of the call.
    pub row: Option<CallRow>,
    /// What its delivery is known by from now on.
    pub marks: Vec<Digest>,
}

impl Called {
    /// A trigger that nobody called.
    pub fn only(trigger: Trigger) -> Self {
        Self { trigger, row: None, marks: Vec::new() }
    }
}

impl Storage {
    /// Every trigger, by name.
    pub fn triggers(&self) -> Result<Vec<Trigger>, StorageError> {
        let database = &self.shared().database;
        let records = database.scan(keys::TRIGGERS).keys().map(|key| read(database, &key?));
        records.filter_map(Result::transpose).collect()
    }

    /// What became of a trigger's calls, the last first.
    pub fn call_rows(&self, trigger: &Name, page: &Page) -> Result<Paged<CallRow>, StorageError> {
        let shared = self.shared();
        let start = keys::call_rows(trigger);
        cursor::page(&shared.database, &start, page, |rest| {
            let key = [start.as_slice(), rest].concat();
            let row: Option<CallRow> = read(&shared.database, &key)?;
            // A run that is not durable yet may never have been.
            Ok(row.filter(|row| row.run.is_none_or(|run| shared.pending.seq(run) != Some(0))))
        })
    }

    /// The run that a delivery with this mark started.
    pub fn run_of_delivery(
        &self,
        trigger: &Name,
        mark: &Digest,
    ) -> Result<Option<RunId>, StorageError> {
        read(&self.shared().database, &keys::delivery(trigger, mark))
    }

    /// Queues the first event of a run that a call asks for, with what becomes of that call: see
    /// [`Storage::append`]. Nothing is stored if the delivery is known.
    pub async fn append_called(&self, run: RunId, queued: EventKind, called: Called) -> Receipt {
        self.enqueue(run, queued, None, Some(called.into()), true).await
    }

    /// Stores a trigger as it is from now on, with what became of a call that starts no run.
    /// With a key, remembers what was made for it.
    pub async fn put_trigger(
        &self,
        called: Called,
        key: Option<IdempotencyKey>,
    ) -> Result<(), StorageError> {
        self.change(Change::PutTrigger { called: Box::new(called), key }).await.map(drop)
    }

    /// Forgets a trigger and what became of its calls; its runs stay. False if there was none.
    pub async fn delete_trigger(&self, trigger: &Name) -> Result<bool, StorageError> {
        self.change(Change::DeleteTrigger { trigger: trigger.clone() }).await
    }
}

fn read<T: serde::de::DeserializeOwned>(
    database: &Database,
    key: &[u8],
) -> Result<Option<T>, StorageError> {
    values::get(database, key)?.map(|bytes| record::decode(&bytes)).transpose()
}

/// Adds a trigger with a row and marks to the batch. Fails if the delivery is known.
pub(super) fn stage(
    shared: &Shared,
    batch: &mut Batch,
    called: Called,
) -> Result<(), StorageError> {
    let Called { mut trigger, row, marks } = called;
    let (database, writes) = (&shared.database, &mut batch.writes);
    let name = trigger.name.clone();
    for mark in &marks {
        if let Some(run) = read(database, &keys::delivery(&name, mark))? {
            return Err(StorageError::Delivered(name, run));
        }
    }
    let stored: Option<Trigger> = read(database, &keys::trigger(&name))?;
    // Counted here alone: what is passed on may be older.
    trigger.stored = stored.map(|stored| stored.stored).unwrap_or_default();
    if let Some(row) = &row {
        stage_row(shared, writes, &name, row, &mut trigger.stored)?;
        let run = row.run.filter(|_| row.outcome == CallOutcome::Started);
        for mark in run.iter().flat_map(|_| &marks) {
            values::put(writes, &keys::delivery(&name, mark), &record::encode(&run)?);
            writes.insert(keys::delivery_at(&name, row.at, mark), &[]);
            trigger.stored.known += 1;
        }
        forget_deliveries(shared, writes, &name, &mut trigger.stored)?;
    }
    let key = keys::trigger(&name);
    values::remove(database, writes, &key)?;
    values::put(writes, &key, &record::encode(&trigger)?);
    Ok(())
}

/// Adds a row, and removes as many as there are too many then. Those of calls without a right signature,
/// which anybody can make, have a bound of their own, so that they do not drive out the others.
fn stage_row(
    shared: &Shared,
    writes: &mut sled::Batch,
    trigger: &Name,
    row: &CallRow,
    counts: &mut TriggerCounts,
) -> Result<(), StorageError> {
    let database = &shared.database;
    values::put(writes, &keys::call_row(trigger, row.at), &record::encode(row)?);
    counts.rows += 1;
    if !row.signed {
        writes.insert(keys::unsigned_call(trigger, row.at), &[]);
        counts.unsigned += 1;
    }
    let (most, most_unsigned) = (shared.settings.trigger_rows, shared.settings.trigger_refusals);
    if counts.unsigned > most_unsigned {
        shared.metrics.server_limit_hit("storage.trigger_refusals");
        let start = keys::unsigned_calls(trigger);
        for key in database.scan(&start).keys() {
            let key = key?;
            if counts.unsigned <= most_unsigned {
                break;
            }
            if let Some(at) = keys::read_unsigned_call(&key) {
                values::remove(database, writes, &keys::call_row(trigger, at))?;
            }
            writes.remove(key);
            counts.unsigned -= 1;
            counts.rows -= 1;
        }
    }
    if counts.rows > most {
        shared.metrics.server_limit_hit("storage.trigger_rows");
        for key in database.scan(&keys::call_rows(trigger)).keys().rev() {
            let key = key?;
            if counts.rows <= most {
                break;
            }
            let unsigned = keys::read_call_row(&key).map(|at| keys::unsigned_call(trigger, at));
            if let Some(unsigned) = unsigned
                && database.get_raw(&unsigned)?.is_some()
            {
                writes.remove(unsigned);
                counts.unsigned = counts.unsigned.saturating_sub(1);
            }
            values::remove(database, writes, &key)?;
            counts.rows -= 1;
        }
    }
    Ok(())
}

/// Forgets the deliveries that are the longest ago, if there are too many.
fn forget_deliveries(
    shared: &Shared,
    writes: &mut sled::Batch,
    trigger: &Name,
    counts: &mut TriggerCounts,
) -> Result<(), StorageError> {
    let most = shared.settings.trigger_deliveries;
    if counts.known <= most {
        return Ok(());
    }
    shared.metrics.server_limit_hit("storage.trigger_deliveries");
    for key in shared.database.scan(&keys::deliveries(trigger)).keys() {
        let key = key?;
        if counts.known <= most {
            break;
        }
        if let Some(mark) = keys::read_delivery_at(&key) {
            values::remove(&shared.database, writes, &keys::delivery(trigger, &mark))?;
        }
        writes.remove(key);
        counts.known -= 1;
    }
    Ok(())
}

/// Forgets a trigger with the batch; false if there was none.
pub(super) fn stage_removal(
    database: &Database,
    writes: &mut sled::Batch,
    trigger: &Name,
) -> Result<bool, StorageError> {
    let key = keys::trigger(trigger);
    let found = database.get_raw(&key)?.is_some();
    values::remove(database, writes, &key)?;
    for start in keys::beside_trigger(trigger) {
        for key in database.scan(&start).keys() {
            values::remove(database, writes, &key?)?;
        }
    }
    Ok(found)
}
