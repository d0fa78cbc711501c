//! sled, made durable: opening it, one atomic batch at a time, and a flush that reaches the disk.
//!
//! Facts of sled 0.34.7 that this file rests on:
//! - Its own flush ends in `sync_file_range` (pagecache/iobuf.rs), which neither empties the disk's
//!   cache nor stores the file's length (spacejam/sled#1351, #1452). `sync_data` on the same file does.
//! - All records are in `<dir>/db`. `<dir>/conf` is written once, without a sync, and an empty one
//!   makes the store unreadable. `<dir>/snap.*` is written and synced when the store is opened, only
//!   then. So these two and the directories are synced at opening, and `db` after each batch.
//! - A value over a quarter of a segment (128 KiB) goes to a file under `<dir>/blobs` that is never
//!   synced. A leaf holds up to some 20 values and is written as one, so `values` keeps them small
//!   enough for this never to happen.
//! - After a failed write it keeps a global error and refuses further writes until it is opened
//!   again; what was flushed before is recovered then.
//! - `Mode` is read by nothing; compression is left to us, as only some records gain by it; without
//!   `flush_every_ms` there is no thread that writes behind our back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::StorageError;

/// How long sled may take to let go of its file after an earlier handle of this process was
/// dropped: a job of its thread pool may still be truncating it. Ours alone is the lock that counts.
const LET_GO_TRIES: u32 = 500;
const LET_GO_WAIT: Duration = Duration::from_millis(10);

/// sled, and the file that it writes to.
pub(super) struct Database {
    db: sled::Db,
    file: File,
    /// Held for writing while a batch is applied, so that a value in several parts can be read whole.
    applying: RwLock<()>,
    syncs: AtomicU64,
}

impl Database {
    /// Opens or makes the database in the directory `dir`.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        private_dir(dir)?;
        // sled asserts that it has at least one byte for each of its 256 shards.
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes.max(1 << 20))
            .flush_every_ms(None);
        let db = open_patiently(&config)?;
        let file = File::options().read(true).write(true).open(dir.join("db"))?;
        File::open(dir.join("conf"))?.sync_all()?;
        file.sync_all()?;
        sync_dir(&dir.join("blobs"))?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        Ok(Self { db, file, applying: RwLock::default(), syncs: AtomicU64::new(0) })
    }

    /// Applies the batch, whole or not at all, and returns when it is durable. After an error
    /// nothing may be concluded about the batch, and no further one may be tried.
    pub(super) fn commit(&self, batch: sled::Batch) -> Result<(), StorageError> {
        {
            let _alone = self.applying.write().unwrap_or_else(PoisonError::into_inner);
            self.db.apply_batch(batch)?;
        }
        self.db.flush()?;
        self.file.sync_data().map_err(|error| StorageError::Broken(error.to_string()))?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How many batches were made durable.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// As long as this is held, no batch is applied.
    pub(super) fn quiet(&self) -> RwLockReadGuard<'_, ()> {
        self.applying.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, as sled holds it.
    pub(super) fn get_raw(&self, key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
        Ok(self.db.get(key)?)
    }

    /// Keys and values in order.
    pub(super) fn range<R: std::ops::RangeBounds<Vec<u8>>>(&self, range: R) -> sled::Iter {
        self.db.range(range)
    }

    /// Keys that start with `start`, and their values, in order.
    pub(super) fn scan(&self, start: &[u8]) -> sled::Iter {
        self.db.scan_prefix(start)
    }

    /// Bytes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or_default()
    }
}

fn open_patiently(config: &sled::Config) -> Result<sled::Db, StorageError> {
    for _ in 0..LET_GO_TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LET_GO_WAIT);
            }
            opened => return Ok(opened?),
        }
    }
    Ok(config.open()?)
}

/// Makes a directory, and those above it, that only we may enter.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    // The parent of a relative path of one part is the empty path.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(key: &str) -> sled::Batch {
        let mut batch = sled::Batch::default();
        batch.insert(key, "value");
        batch
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::open(&path, 1 << 20).unwrap();
        database.commit(batch("key")).unwrap();
        drop(database);
        let database = Database::open(&path, 1 << 20).unwrap();
        assert_eq!(database.get_raw(b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn each_batch_is_synced_once() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("db"), 1 << 20).unwrap();
        let before = database.syncs();
        database.commit(batch("a")).unwrap();
        database.commit(batch("b")).unwrap();
        assert_eq!(database.syncs(), before + 2);
    }

    #[test]
    fn only_we_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        private_dir(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
