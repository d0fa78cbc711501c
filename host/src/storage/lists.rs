//! Lists of runs by suite, status and reference, and runs by their number. sled keeps some 36 bytes of each key
//! in memory, whatever its cache holds, and a run is in seven lists: so a key holds up to [`MOST`] runs.
//!
//! The key of a bucket is that of its list and an inverted run id; in it are the runs of the list that are not
//! older than that and not in a bucket before it, the newest first, with their ids inverted. Stores of format 2
//! had a key for each run, with an empty value: read as a bucket of one, it is the same.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::StorageError;
use super::durable::Database;
use super::keys::{self, place};
use crate::model::{RunId, SuiteId};

/// The most runs in a bucket. A change writes a bucket anew: this many are a KiB, as much as the event itself.
const MOST: usize = 64;

/// A run's id as it stands in lists: the newest sorts first.
type Place = [u8; 16];

/// What a batch changes of lists.
#[derive(Default)]
pub(super) struct Changes {
    /// By list: whether a run is in it from now on.
    lists: HashMap<Vec<u8>, BTreeMap<Place, bool>>,
    /// By suite: which run has a number from now on; with none, the run that had it has no more.
    numbers: BTreeMap<Vec<u8>, BTreeMap<u8, (RunId, bool)>>,
}

fn read_place(place: Place) -> RunId {
    RunId::from_bytes(keys::inverted(&place))
}

impl Changes {
    /// A run is in this list from now on.
    pub(super) fn enter(&mut self, list: Vec<u8>, run: RunId) {
        self.lists.entry(list).or_default().insert(place(run), true);
    }

    /// A run is in this list no more.
    pub(super) fn leave(&mut self, list: Vec<u8>, run: RunId) {
        self.lists.entry(list).or_default().insert(place(run), false);
    }

    /// A run has this number.
    pub(super) fn number(&mut self, suite: &SuiteId, number: u64, run: RunId) {
        let (key, slot) = keys::numbers(suite, number);
        self.numbers.entry(key).or_default().insert(slot, (run, true));
    }

    /// No run has this number any more, if this one had it.
    pub(super) fn no_number(&mut self, suite: &SuiteId, number: u64, run: RunId) {
        let (key, slot) = keys::numbers(suite, number);
        self.numbers.entry(key).or_default().insert(slot, (run, false));
    }

    /// Adds it all to the batch.
    pub(super) fn stage(
        &mut self,
        database: &Database,
        writes: &mut sled::Batch,
    ) -> Result<(), StorageError> {
        for (list, changes) in self.lists.drain() {
            let mut open = Open { database, list: &list, buckets: BTreeMap::new() };
            for (place, is_in) in changes {
                open.change(place, is_in)?;
            }
            open.stage(writes);
        }
        for (key, changes) in std::mem::take(&mut self.numbers) {
            stage_numbers(database, writes, key, changes)?;
        }
        Ok(())
    }
}

/// A list whose buckets are changed.
struct Open<'a> {
    database: &'a Database,
    list: &'a [u8],
    /// The buckets that are looked at, by the end of their keys; those that are empty are to go.
    buckets: BTreeMap<Place, Vec<Place>>,
}

impl Open<'_> {
    fn change(&mut self, place: Place, is_in: bool) -> Result<(), StorageError> {
        let Some(end) = self.bucket_for(place)? else {
            if is_in {
                self.buckets.insert(place, vec![place]);
            }
            return Ok(());
        };
        let Some(bucket) = self.buckets.get_mut(&end) else { return Ok(()) };
        match (bucket.binary_search(&place), is_in) {
            (Ok(at), false) => _ = bucket.remove(at),
            (Err(at), true) => {
                bucket.insert(at, place);
                if bucket.len() > MOST {
                    // Mostly runs come in order: what is older than the newest stays full then.
                    let newer: Vec<_> =
                        bucket.drain(..if at == 0 { 1 } else { MOST / 2 }).collect();
                    self.buckets.extend(newer.last().copied().map(|end| (end, newer)));
                }
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
        Ok(())
    }

    /// The bucket that a run is in or belongs into, read if it was not; none if all are of newer runs.
    fn bucket_for(&mut self, place: Place) -> Result<Option<Place>, StorageError> {
        let open = self.buckets.range(place..).find(|(_, bucket)| !bucket.is_empty());
        let open = open.map(|(end, _)| *end);
        let from = [self.list, &place].concat();
        for entry in self.database.range(from..) {
            let (key, value) = entry?;
            let Some(end) = end_of(self.list, &key) else { break };
            if open.is_some_and(|open| open <= end) {
                break;
            }
            // One that is to go is no more, though it is still stored.
            if self.buckets.contains_key(&end) {
                continue;
            }
            self.buckets.insert(end, read(end, &value)?);
            return Ok(Some(end));
        }
        Ok(open)
    }

    fn stage(self, writes: &mut sled::Batch) {
        for (end, bucket) in self.buckets {
            let key = [self.list, &end].concat();
            match bucket.is_empty() {
                true => writes.remove(key),
                false => writes.insert(key, bucket.concat()),
            }
        }
    }
}

/// The end of a bucket's key, if it is of this list.
fn end_of(list: &[u8], key: &[u8]) -> Option<Place> {
    key.strip_prefix(list)?.try_into().ok()
}

fn read(end: Place, value: &[u8]) -> Result<Vec<Place>, StorageError> {
    if value.is_empty() {
        return Ok(vec![end]);
    }
    let (places, rest) = value.as_chunks();
    match rest.is_empty() {
        true => Ok(places.to_vec()),
        false => Err(StorageError::Damaged("a list of runs".into())),
    }
}

/// Runs of a list, the newest first, at most `most`: those older than `after`, or from the newest on.
pub(super) fn newest(
    database: &Database,
    list: &[u8],
    after: Option<RunId>,
    most: usize,
) -> Result<Vec<RunId>, StorageError> {
    let after = after.map(place);
    let from = [list, &after.unwrap_or_default()].concat();
    let mut found = Vec::new();
    // No batch is applied meanwhile that moves runs from one bucket to another.
    let _quiet = database.quiet();
    for entry in database.range(from..) {
        let (key, value) = entry?;
        let Some(end) = end_of(list, &key) else { break };
        let places = read(end, &value)?.into_iter();
        found.extend(places.filter(|place| after.is_none_or(|after| *place > after)));
        if found.len() >= most {
            found.truncate(most);
            break;
        }
    }
    Ok(found.into_iter().map(read_place).collect())
}

/// Runs of a list, the oldest first, at most `most`: those newer than `after`, or from the oldest on.
pub(super) fn oldest(
    database: &Database,
    list: &[u8],
    after: Option<RunId>,
    most: usize,
) -> Result<Vec<RunId>, StorageError> {
    let after = after.map(place);
    let mut found = Vec::new();
    let _quiet = database.quiet();
    let last = [list, &after.unwrap_or([0xff; 16])].concat();
    // The bucket that `after` is in may end behind it.
    let behind = database.range((Bound::Excluded(last.clone()), Bound::Unbounded)).next();
    let before = database.range([list, &Place::default()].concat()..=last).rev();
    for entry in behind.into_iter().chain(before) {
        let (key, value) = entry?;
        let Some(end) = end_of(list, &key) else { continue };
        let places = read(end, &value)?.into_iter().rev();
        found.extend(places.filter(|place| after.is_none_or(|after| *place < after)));
        if found.len() >= most {
            found.truncate(most);
            break;
        }
    }
    Ok(found.into_iter().map(read_place).collect())
}

/// The n-th newest run of a list, from 0.
pub(super) fn nth_newest(
    database: &Database,
    list: &[u8],
    n: usize,
) -> Result<Option<RunId>, StorageError> {
    let mut passed = 0;
    let _quiet = database.quiet();
    for entry in database.scan(list) {
        let (key, value) = entry?;
        let Some(end) = end_of(list, &key) else { continue };
        let places = read(end, &value)?;
        if let Some(found) = places.get(n - passed) {
            return Ok(Some(read_place(*found)));
        }
        passed += places.len();
    }
    Ok(None)
}

/// The run of a suite with this number.
pub(super) fn numbered(
    database: &Database,
    suite: &SuiteId,
    number: u64,
) -> Result<Option<RunId>, StorageError> {
    let (key, slot) = keys::numbers(suite, number);
    Ok(read_numbers(database, &key)?.get(&slot).copied())
}

fn read_numbers(database: &Database, key: &[u8]) -> Result<BTreeMap<u8, RunId>, StorageError> {
    let Some(value) = database.get_raw(key)? else { return Ok(BTreeMap::new()) };
    let (entries, rest) = value.as_chunks::<17>();
    if !rest.is_empty() {
        return Err(StorageError::Damaged("the numbers of runs".into()));
    }
    let read = |entry: &[u8; 17]| {
        let (slot, run) = entry.split_first().unwrap_or((&0, &[]));
        Some((*slot, RunId::from_bytes(run.try_into().ok()?)))
    };
    Ok(entries.iter().filter_map(read).collect())
}

fn stage_numbers(
    database: &Database,
    writes: &mut sled::Batch,
    key: Vec<u8>,
    changes: BTreeMap<u8, (RunId, bool)>,
) -> Result<(), StorageError> {
    let mut numbers = read_numbers(database, &key)?;
    for (slot, (run, has)) in changes {
        match has {
            true => _ = numbers.insert(slot, run),
            false if numbers.get(&slot) == Some(&run) => _ = numbers.remove(&slot),
            false => {}
        }
    }
    match numbers.is_empty() {
        true => writes.remove(key),
        false => {
            let entry = |(slot, run): (u8, RunId)| [[slot].as_slice(), run.as_bytes()].concat();
            let value: Vec<u8> = numbers.into_iter().flat_map(entry).collect();
            writes.insert(key, value);
        }
    }
    Ok(())
}

/// Brings the lists of a store of format 2 up to date, which had a key for each run in each of them. Can be cut
/// off anywhere and begun anew. `step` keys are written at a time.
pub(super) fn pack(database: &Database, step: usize) -> Result<(), StorageError> {
    let (mut batch, mut keys) = (sled::Batch::default(), 0);
    let mut list: Vec<u8> = Vec::new();
    let mut bucket: Vec<Place> = Vec::new();
    for entry in database.scan(keys::LISTS) {
        let (key, value) = entry?;
        let Some((of, end)) = key.split_last_chunk() else { continue };
        if of != list || bucket.len() + value.len().div_ceil(16).max(1) > MOST {
            put(&mut batch, &list, &mut bucket);
            list = of.to_vec();
            // Never in the midst of a bucket, whose runs would be nowhere.
            if keys >= step {
                database.commit(std::mem::take(&mut batch))?;
                keys = 0;
            }
        }
        // Under the key of the last it is put again.
        batch.remove(&key);
        keys += 1;
        bucket.extend(read(*end, &value)?);
    }
    put(&mut batch, &list, &mut bucket);
    database.commit(batch)?;
    pack_numbers(database, step)
}

fn put(batch: &mut sled::Batch, list: &[u8], bucket: &mut Vec<Place>) {
    if let Some(end) = bucket.last() {
        batch.insert([list, end].concat(), bucket.concat());
        bucket.clear();
    }
}

fn pack_numbers(database: &Database, step: usize) -> Result<(), StorageError> {
    let (mut batch, mut keys) = (sled::Batch::default(), 0);
    let mut changes = Changes::default();
    let mut last = Vec::new();
    for entry in database.scan(keys::NUMBERS_OF_2) {
        let (key, value) = entry?;
        let found = keys::read_number_of_2(&key).zip(value.as_ref().try_into().ok());
        let Some(((suite, number), run)) = found else { continue };
        let (bucket, _) = keys::numbers(&suite, number);
        // Never in the midst of a bucket, which is read before it is written.
        if bucket != last && keys >= step {
            changes.stage(database, &mut batch)?;
            database.commit(std::mem::take(&mut batch))?;
            keys = 0;
        }
        last = bucket;
        changes.number(&suite, number, RunId::from_bytes(run));
        batch.remove(key);
        keys += 1;
    }
    changes.stage(database, &mut batch)?;
    database.commit(batch)
}

#[cfg(test)]
mod tests;
