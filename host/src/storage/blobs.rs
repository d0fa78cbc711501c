//! Components and artifacts: files named by the digest of their content, under `<dir>/ab/`. Each kind has a
//! directory of its own, so that a component can go while an artifact with the same content stays.
//!
//! A file is written under a temporary name, synced, renamed, and its directory synced, so that a
//! name always stands for the whole content.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::StorageError;
use super::durable::{private_dir, sync_dir};
use crate::model::Digest;

/// Where files are written before they have their name.
const TEMPORARY: &str = "tmp";

/// The files of one kind.
pub(super) struct Blobs {
    dir: PathBuf,
    /// Tells temporary names of this process apart.
    next_temporary: AtomicU64,
    /// Counted when first asked for, and kept up to date from then on.
    bytes: OnceLock<AtomicU64>,
    /// Held while a file gets or loses its name, so that each is counted once.
    naming: Mutex<()>,
}

impl Blobs {
    /// Opens the directory, and removes what an earlier process left half-written.
    pub(super) fn open(dir: PathBuf) -> Result<Self, StorageError> {
        let temporary = dir.join(TEMPORARY);
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        private_dir(&dir)?;
        private_dir(&temporary)?;
        sync_dir(&dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        let (next_temporary, bytes) = (AtomicU64::new(0), OnceLock::new());
        Ok(Self { dir, next_temporary, bytes, naming: Mutex::default() })
    }

    /// Stores the content, unless it is there already. Durable when it returns.
    pub(super) fn put(&self, digest: &Digest, content: &Bytes) -> io::Result<()> {
        let path = self.path(digest);
        let shelf = path.parent().unwrap_or(&self.dir);
        if fs::metadata(&path).is_ok_and(|file| file.len() == content.len() as u64) {
            // Another writer may have renamed it and not yet synced its name.
            return sync_dir(shelf);
        }
        if !shelf.exists() {
            private_dir(shelf)?;
            sync_dir(&self.dir)?;
        }
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(TEMPORARY).join(format!("{}.{number}", digest.hex()));
        let written = write(&temporary, content).and_then(|()| self.name(&temporary, &path));
        if let Err(error) = written {
            // Best effort: what stays is removed at the next opening.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync_dir(shelf)
    }

    fn name(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        let _one = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = size(path)?.unwrap_or(0);
        fs::rename(temporary, path)?;
        if let Some(bytes) = self.bytes.get() {
            bytes.fetch_sub(replaced, Ordering::Relaxed);
            bytes.fetch_add(size(path)?.unwrap_or(0), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Stores each of these.
    pub(super) fn put_all(&self, contents: &[(Digest, Bytes)]) -> io::Result<()> {
        contents.iter().try_for_each(|(digest, content)| self.put(digest, content))
    }

    /// The content, checked against its digest.
    pub(super) fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        match fs::read(self.path(digest)) {
            Ok(content) if Digest::of(&content) == *digest => Ok(Some(content.into())),
            Ok(_) => Err(StorageError::Damaged(format!("the file of {digest}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the content is there.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Removes the content, if it is there, and gives its size.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<Option<u64>> {
        let _one = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(digest);
        let Some(size) = size(&path)? else { return Ok(None) };
        fs::remove_file(&path)?;
        if let Some(bytes) = self.bytes.get() {
            bytes.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(Some(size))
    }

    /// The contents of one of 256 parts: those whose digests begin with this byte.
    pub(super) fn part(&self, part: u8) -> io::Result<Vec<Digest>> {
        let files = match fs::read_dir(self.dir.join(hex::encode([part]))) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let digest = |file: io::Result<fs::DirEntry>| match file {
            Ok(file) => {
                let name = file.file_name();
                Ok(name.to_str().and_then(|name| format!("sha256:{name}").parse().ok()))
            }
            Err(error) => Err(error),
        };
        files.filter_map(|file| digest(file).transpose()).collect()
    }

    /// Removes every content of which this is not true.
    pub(super) fn keep_only(&self, is_needed: impl Fn(&Digest) -> bool) -> io::Result<()> {
        for shelf in fs::read_dir(&self.dir)? {
            let shelf = shelf?;
            if shelf.file_name() == TEMPORARY || !shelf.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shelf.path())? {
                let name = file?.file_name();
                let digest = name.to_str().and_then(|name| format!("sha256:{name}").parse().ok());
                if let Some(digest) = digest.filter(|digest| !is_needed(digest)) {
                    tracing::info!(%digest, "removing a file that nothing names");
                    self.remove(&digest)?;
                }
            }
        }
        Ok(())
    }

    /// Bytes on disk. Counts all files when first called.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.bytes.get_or_init(|| AtomicU64::new(size_below(&self.dir))).load(Ordering::Relaxed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.hex();
        self.dir.join(&name[..2]).join(name)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The size of a file, if there is one.
fn size(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(file.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn size_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(dir: &tempfile::TempDir) -> Blobs {
        Blobs::open(dir.path().join("blobs")).unwrap()
    }

    #[test]
    fn content_is_stored_once_under_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(&dir);
        assert_eq!(blobs.disk_bytes(), 0);
        let content = Bytes::from_static(b"content");
        let digest = Digest::of(&content);
        assert_eq!(blobs.get(&digest).unwrap(), None);
        blobs.put(&digest, &content).unwrap();
        blobs.put(&digest, &content).unwrap();
        assert_eq!(blobs.get(&digest).unwrap(), Some(content));
        assert_eq!(blobs.disk_bytes(), 7);
        assert_eq!(open(&dir).disk_bytes(), 7);
        let mode = fs::metadata(blobs.path(&digest)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_changed_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(&dir);
        let content = Bytes::from_static(b"content");
        let digest = Digest::of(&content);
        blobs.put(&digest, &content).unwrap();
        fs::write(blobs.path(&digest), b"changed").unwrap();
        assert!(matches!(blobs.get(&digest), Err(StorageError::Damaged(_))));
    }

    #[test]
    fn a_half_written_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(&dir);
        let content = Bytes::from_static(b"content");
        let digest = Digest::of(&content);
        blobs.put(&digest, &content).unwrap();
        fs::write(blobs.path(&digest), b"con").unwrap();
        blobs.put(&digest, &content).unwrap();
        assert_eq!(blobs.get(&digest).unwrap(), Some(content));
    }

    #[test]
    fn what_is_removed_takes_no_room_and_can_be_stored_again() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(&dir);
        let contents = ["kept", "removed", "swept"].map(|text| Bytes::from_static(text.as_bytes()));
        let [kept, removed, swept] = contents.each_ref().map(|content| Digest::of(content));
        for content in &contents {
            blobs.put(&Digest::of(content), content).unwrap();
        }
        assert_eq!(blobs.disk_bytes(), 16);
        blobs.remove(&removed).unwrap();
        blobs.remove(&removed).unwrap();
        assert_eq!((blobs.disk_bytes(), blobs.get(&removed).unwrap()), (9, None));
        blobs.keep_only(|digest| *digest == kept).unwrap();
        assert_eq!((blobs.disk_bytes(), blobs.get(&swept).unwrap()), (4, None));
        blobs.put(&removed, &contents[1]).unwrap();
        assert_eq!(blobs.get(&removed).unwrap().as_ref(), Some(&contents[1]));
        assert_eq!(open(&dir).disk_bytes(), 11);
    }

    #[test]
    fn what_was_left_half_written_is_removed_at_opening() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(&dir);
        fs::write(blobs.dir.join("tmp/rest"), b"rest").unwrap();
        drop(blobs);
        let blobs = open(&dir);
        assert_eq!(fs::read_dir(blobs.dir.join("tmp")).unwrap().count(), 0);
    }
}
