//! Records of any size as small sled values: what does not fit goes on under further keys.
//!
//! Small, because sled writes a leaf of up to some 20 values as one piece, keeps it in its cache as
//! one piece, and must never think it too large for its log (see `durable`).

use super::durable::Database;
use super::{StorageError, keys};

/// The most bytes of one value. A part of exactly this size is followed by another. Some 20 of them, the
/// most in a leaf of sled's, must stay below the 128 KiB that sled would put in a file of its own.
pub(super) const PART_BYTES: usize = 4 << 10;

/// Puts a record under `key`. Where a longer one may be there, [`replace`] or [`remove`] it.
pub(super) fn put(batch: &mut sled::Batch, key: &[u8], record: &[u8]) {
    let (head, mut rest) = record.split_at(record.len().min(PART_BYTES));
    batch.insert(key, head);
    let mut full = head.len() == PART_BYTES;
    for n in 0.. {
        if !full {
            break;
        }
        let (part, after) = rest.split_at(rest.len().min(PART_BYTES));
        batch.insert(keys::continuation(key, n), part);
        full = part.len() == PART_BYTES;
        rest = after;
    }
}

/// Puts a record under `key` in place of `before`, the whole record that is there, if there is one.
pub(super) fn replace(
    batch: &mut sled::Batch,
    key: &[u8],
    before: Option<&sled::IVec>,
    record: &[u8],
) {
    let further = |length: usize| (length / PART_BYTES) as u32;
    for n in further(record.len())..before.map_or(0, |before| further(before.len())) {
        batch.remove(keys::continuation(key, n));
    }
    put(batch, key, record);
}

/// Removes the record under `key`, if there is one.
pub(super) fn remove(
    database: &Database,
    batch: &mut sled::Batch,
    key: &[u8],
) -> Result<(), StorageError> {
    let mut part = database.get_raw(key)?;
    batch.remove(key);
    for n in 0.. {
        if part.is_none_or(|part| part.len() < PART_BYTES) {
            break;
        }
        let next = keys::continuation(key, n);
        part = database.get_raw(&next)?;
        batch.remove(next);
    }
    Ok(())
}

/// The record under `key`.
pub(super) fn get(database: &Database, key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
    match database.get_raw(key)? {
        Some(head) if head.len() == PART_BYTES => {
            // Read again without interruption: it may be about to change.
            let _quiet = database.quiet();
            database.get_raw(key)?.map(|head| complete(database, key, head)).transpose()
        }
        head => Ok(head),
    }
}

/// The record under `key` that starts with `head`, which a scan has read. Only for records that are
/// never changed.
pub(super) fn complete(
    database: &Database,
    key: &[u8],
    head: sled::IVec,
) -> Result<sled::IVec, StorageError> {
    if head.len() < PART_BYTES {
        return Ok(head);
    }
    let mut record = head.to_vec();
    for n in 0.. {
        let part = database
            .get_raw(&keys::continuation(key, n))?
            .ok_or_else(|| StorageError::Damaged("a record in several parts".into()))?;
        record.extend_from_slice(&part);
        if part.len() < PART_BYTES {
            break;
        }
    }
    Ok(record.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_size_are_read_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::open(&path, 1 << 20).unwrap();
        let sizes = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 1 << 20, 3];
        for size in sizes {
            let record: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
            let mut batch = sled::Batch::default();
            let before = get(&database, b"key").unwrap();
            replace(&mut batch, b"key", before.as_ref(), &record);
            database.commit(batch).unwrap();
            assert_eq!(get(&database, b"key").unwrap().unwrap(), record, "{size}");
            assert_eq!(database.scan(b"+").count(), size / PART_BYTES, "{size}");
        }
        let mut batch = sled::Batch::default();
        remove(&database, &mut batch, b"key").unwrap();
        database.commit(batch).unwrap();
        assert_eq!(get(&database, b"key").unwrap(), None);
        assert_eq!(database.scan(b"+").count(), 0, "parts were left");
    }

    #[test]
    fn no_value_ever_leaves_the_log_that_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::open(&path, 1 << 20).unwrap();
        let record = vec![7; 256 << 10];
        for n in 0..64_u32 {
            let mut batch = sled::Batch::default();
            put(&mut batch, &n.to_be_bytes(), &record);
            database.commit(batch).unwrap();
        }
        assert_eq!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_part_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("db"), 1 << 20).unwrap();
        let mut batch = sled::Batch::default();
        put(&mut batch, b"key", &vec![1; 3 * PART_BYTES]);
        batch.remove(keys::continuation(b"key", 1));
        database.commit(batch).unwrap();
        assert!(matches!(get(&database, b"key"), Err(StorageError::Damaged(_))));
    }
}
