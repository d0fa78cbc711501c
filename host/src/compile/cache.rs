//! Compiled code on disk, so that a restart costs milliseconds and not a compilation.
//!
//! One file per component and engine. Its name says which; its header holds a BLAKE3 hash over its
//! name and content, under a random key that lies beside the directory and never leaves the server.
//! A file that was damaged, cut, renamed, brought from elsewhere or written by somebody else fails
//! that check and is deleted, never loaded. The key is no secret from this server's own user, who
//! could as well change the binary.

use std::fs::{self, File, Permissions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};
use wasmtime::Engine;

use super::adapt;
use super::trusted::Trusted;
use crate::model::Digest;

/// Starts every file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"hdfcwsm2";
const HEADER_BYTES: usize = MAGIC.len() + blake3::OUT_LEN;
const TEMPORARY: &str = "tmp-";
const EXTENSION: &str = "cwasm";
/// A temporary file that old was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// The directory and its key.
pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; blake3::KEY_LEN],
    max_bytes: u64,
    max_file_bytes: u64,
}

/// What is on disk for a component.
pub(super) enum Found {
    Nothing,
    Code(Trusted),
    /// Why the file cannot be used. It is deleted.
    Rejected(String),
}

/// Which component, compiled for which engine.
pub(super) struct Entry<'a> {
    pub(super) digest: Digest,
    pub(super) engine: &'a EngineId,
}

impl Cache {
    /// Opens or creates `dir`, mode 0700, and its key, a file `<dir>.key` with mode 0600.
    pub(super) fn open(dir: PathBuf, max_bytes: u64, max_file_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        let key = read_or_make_key(&dir.with_extension("key"))?;
        let cache = Self { dir, key, max_bytes, max_file_bytes };
        cache.sweep()?;
        Ok(cache)
    }

    /// The code of `entry`, verified.
    pub(super) fn read(&self, entry: &Entry<'_>) -> Found {
        match self.try_read(entry) {
            Ok(Found::Rejected(reason)) => {
                self.remove(entry);
                Found::Rejected(reason)
            }
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(error) => {
                // Too many open files, for example: nothing is wrong with this one.
                tracing::warn!(%error, "a cached component could not be read");
                Found::Nothing
            }
        }
    }

    fn try_read(&self, entry: &Entry<'_>) -> io::Result<Found> {
        let file = File::open(self.path(entry))?;
        let size = file.metadata()?.len();
        if size > self.max_file_bytes + HEADER_BYTES as u64 {
            return Ok(Found::Rejected("larger than any can be".into()));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        (&file).take(size).read_to_end(&mut bytes)?;
        let Some((header, code)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Found::Rejected("shorter than its header".into()));
        };
        let (magic, hash) = header.split_at(MAGIC.len());
        // Blake3's own comparison takes the same time wherever the difference is.
        let ours = |hash: blake3::Hash| hash == self.hash(entry, code);
        if magic != MAGIC || !blake3::Hash::from_slice(hash).is_ok_and(ours) {
            let reason = "damaged, of another format, or not written by this server";
            return Ok(Found::Rejected(reason.into()));
        }
        // The time of last use, for `trim`. Reading was the point, so a failure is no matter.
        let _ = file.set_modified(SystemTime::now());
        Ok(Found::Code(Trusted::from_verified_file(bytes, HEADER_BYTES)))
    }

    /// Keeps `code` for the next start, and deletes what was not used for longest if there is too
    /// much. What alone is larger than the whole cache is not kept.
    pub(super) fn write(&self, entry: &Entry<'_>, code: &Trusted) -> io::Result<()> {
        let code = code.as_bytes();
        if code.len() as u64 + HEADER_BYTES as u64 > self.max_bytes {
            return Ok(());
        }
        let mut file = self.temporary()?;
        file.write_all(MAGIC)?;
        file.write_all(self.hash(entry, code).as_bytes())?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(self.path(entry)).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()?;
        self.trim()
    }

    /// Deletes a file that turned out to be of no use.
    pub(super) fn remove(&self, entry: &Entry<'_>) {
        let _ = fs::remove_file(self.path(entry));
    }

    /// Where `entry` is.
    fn path(&self, entry: &Entry<'_>) -> PathBuf {
        self.dir.join(format!("{}-{}.{EXTENSION}", entry.digest.hex(), entry.engine.short()))
    }

    /// Only who has the key can make it. Over the name as well, so that no file stands for another.
    fn hash(&self, entry: &Entry<'_>, code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key)
            .update(MAGIC)
            .update(entry.digest.as_bytes())
            .update(&entry.engine.0)
            .update(code)
            .finalize()
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        Builder::new().prefix(TEMPORARY).tempfile_in(&self.dir)
    }

    /// Deletes the temporary files of processes that were killed, and trims.
    fn sweep(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.dir)? {
            let file = file?;
            let old = file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|at| {
                SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED)
            });
            if old && file.file_name().to_string_lossy().starts_with(TEMPORARY) {
                let _ = fs::remove_file(file.path());
            }
        }
        self.trim()
    }

    /// Deletes the files not used for longest until the rest fits.
    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            // Another process may have deleted it meanwhile.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

/// The key in `path`. One that others may read, or that is no key, is replaced, which makes all
/// that it protected worthless.
fn read_or_make_key(path: &Path) -> io::Result<[u8; blake3::KEY_LEN]> {
    match File::open(path) {
        Ok(file) => {
            let private = file.metadata()?.permissions().mode() & 0o077 == 0;
            let mut key = Vec::new();
            (&file).take(blake3::KEY_LEN as u64 + 1).read_to_end(&mut key)?;
            match key.try_into() {
                Ok(key) if private => return Ok(key),
                _ => {
                    tracing::warn!(path = %path.display(), "the key of the compile cache is replaced")
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key: [u8; blake3::KEY_LEN] = rand::random();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(dir)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()?;
    Ok(key)
}

/// Everything on which compiled code and its symbols depend beside the upload: wasmtime's version and
/// target, the processor's abilities, all settings that shape them, and what makes components of core
/// modules.
pub(super) struct EngineId([u8; 32]);

impl EngineId {
    /// The identity of `engine` with so much debug information.
    pub(super) fn of(engine: &Engine, debug_bytes: u64) -> Self {
        let mut fingerprint = Fingerprint::default();
        engine.precompile_compatibility_hash().hash(&mut fingerprint);
        debug_bytes.hash(&mut fingerprint);
        adapt::VERSION.hash(&mut fingerprint);
        Self(fingerprint.into_bytes())
    }

    /// Enough of it for a file's name; the whole is in the file's hash.
    fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

/// A hasher whose result is the same in every build, unlike the standard library's.
#[derive(Default)]
pub(super) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(super) fn into_bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}
