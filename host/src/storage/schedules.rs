//! Schedules, and what became of their times. A run and the row of the time that started it are stored
//! in one batch, so no time ever starts two runs.

use super::batch::Batch;
use super::durable::Database;
use super::message::Change;
use super::{
    IdempotencyKey, Page, Paged, Receipt, Shared, Storage, StorageError, cursor, keys, record,
    values,
};
use crate::model::{DueOutcome, DueRow, EventKind, Name, RunId, Schedule};

/// A time of a schedule that is dealt with, and how the schedule stands then.
#[derive(Clone, Debug)]
pub struct Dealt {
    /// The schedule as it is from now on.
    pub schedule: Schedule,
    /// What became of the times.
    pub rows: Vec<DueRow>,
}

impl Storage {
    /// Every schedule, by name.
    pub fn schedules(&self) -> Result<Vec<Schedule>, StorageError> {
        let database = &self.shared().database;
        let records = database.scan(keys::SCHEDULES).keys().map(|key| {
            let record = values::get(database, &key?)?;
            record.map(|bytes| record::decode(&bytes)).transpose()
        });
        records.filter_map(Result::transpose).collect()
    }

    /// What became of a schedule's times, the last first.
    pub fn due_rows(&self, schedule: &Name, page: &Page) -> Result<Paged<DueRow>, StorageError> {
        let shared = self.shared();
        let start = keys::due_rows(schedule);
        cursor::page(&shared.database, &start, page, |rest| {
            let key = [start.as_slice(), rest].concat();
            let Some(record) = values::get(&shared.database, &key)? else { return Ok(None) };
            let row: DueRow = record::decode(&record)?;
            // A run that is not durable yet may never have been.
            let hidden = row.run.is_some_and(|run| shared.pending.seq(run) == Some(0));
            Ok(Some(row).filter(|_| !hidden))
        })
    }

    /// Queues the first event of a run that a time of a schedule asks for, with what becomes of that time:
    /// see [`Storage::append`]. Nothing is stored if the time was dealt with already.
    pub async fn append_due(
        &self,
        run: RunId,
        queued: EventKind,
        dealt: Dealt,
        key: Option<IdempotencyKey>,
    ) -> Receipt {
        self.enqueue(run, queued, key, Some(dealt.into()), true).await
    }

    /// Stores a schedule as it is from now on, with what became of times that start no run.
    /// With a key, remembers what was made for it.
    pub async fn put_schedule(
        &self,
        dealt: Dealt,
        key: Option<IdempotencyKey>,
    ) -> Result<(), StorageError> {
        self.change(Change::PutSchedule { dealt: Box::new(dealt), key }).await.map(drop)
    }

    /// Forgets a schedule and what became of its times; its runs stay. False if there was none.
    pub async fn delete_schedule(&self, schedule: &Name) -> Result<bool, StorageError> {
        let schedule = schedule.clone();
        self.change(Change::DeleteSchedule { schedule }).await
    }
}

/// Adds a schedule and rows to the batch. Fails if one of the times was dealt with already: a time that
/// waits is not.
pub(super) fn stage(shared: &Shared, batch: &mut Batch, dealt: Dealt) -> Result<(), StorageError> {
    let Dealt { mut schedule, rows } = dealt;
    let database = &shared.database;
    let stored = values::get(database, &keys::schedule(&schedule.name))?;
    let stored: Option<Schedule> = stored.map(|bytes| record::decode(&bytes)).transpose()?;
    // Counted here alone: what is passed on may be older.
    schedule.rows = stored.map_or(0, |stored| stored.rows);
    for row in &rows {
        let key = keys::due_row(&schedule.name, row.due_at);
        match values::get(database, &key)? {
            Some(before) => {
                let before: DueRow = record::decode(&before)?;
                if before.outcome != DueOutcome::Waiting {
                    return Err(StorageError::DealtWith(schedule.name));
                }
            }
            None => schedule.rows += 1,
        }
        values::put(&mut batch.writes, &key, &record::encode(row)?);
        shared.journal.note_due(&mut batch.writes, &schedule, row)?;
    }
    let most = shared.settings.schedule_rows;
    if schedule.rows > most {
        shared.metrics.server_limit_hit("storage.schedule_rows");
    }
    forget_oldest(database, &mut batch.writes, &mut schedule, most)?;
    let key = keys::schedule(&schedule.name);
    values::remove(database, &mut batch.writes, &key)?;
    values::put(&mut batch.writes, &key, &record::encode(&schedule)?);
    Ok(())
}

/// Removes as many rows as there are more than `most`.
fn forget_oldest(
    database: &Database,
    batch: &mut sled::Batch,
    schedule: &mut Schedule,
    most: u64,
) -> Result<(), StorageError> {
    let start = keys::due_rows(&schedule.name);
    let mut oldest = database.scan(&start).keys().rev();
    while schedule.rows > most {
        // Those of this batch are not there yet.
        let Some(key) = oldest.next() else { break };
        values::remove(database, batch, &key?)?;
        schedule.rows -= 1;
    }
    Ok(())
}

/// Forgets a schedule with the batch; false if there was none.
pub(super) fn stage_removal(
    database: &Database,
    batch: &mut sled::Batch,
    schedule: &Name,
) -> Result<bool, StorageError> {
    let key = keys::schedule(schedule);
    let found = database.get_raw(&key)?.is_some();
    values::remove(database, batch, &key)?;
    for key in database.scan(&keys::due_rows(schedule)).keys() {
        values::remove(database, batch, &key?)?;
    }
    Ok(found)
}
