//! What was found out about components, on disk: compiled code, so that a restart costs milliseconds and
//! not a compilation, and what inspection says, so that the same bytes are not inspected again.
//!
//! One file per component and finding. Its name says which; at its end, so that code begins where it can
//! be mapped, is a BLAKE3 hash over its name and content, under a random key that lies beside the
//! directory and never leaves the server. A file that was damaged, cut, renamed, brought from elsewhere or
//! written by somebody else fails that check and is deleted, never used. The key is no secret from this
//! server's own user, who could as well change the binary.
//!
//! Code stays mapped while it is used, so a file is never changed: it is written under another name,
//! renamed, and deleted.

use std::fs::{self, File, Permissions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};
use wasmtime::Engine;

use super::adapt;
use super::settings::Structure;
use super::trusted::Trusted;

/// Ends every file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"hdfcwsm3";
/// The hash and the magic behind the content.
const SEAL_BYTES: usize = blake3::OUT_LEN + MAGIC.len();
const TEMPORARY: &str = "tmp-";
/// A temporary file that old was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3_600);
/// How much of a file is read and hashed at once: it stays in the processor's cache meanwhile.
const CHUNK_BYTES: usize = 256 << 10;

/// The directory and its key.
pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; blake3::KEY_LEN],
    max_bytes: u64,
    max_file_bytes: u64,
}

/// What is on disk for a component.
pub(super) enum Found<T> {
    Nothing,
    Content(T),
    /// Why the file cannot be used. It is deleted.
    Rejected(String),
}

/// Which finding about which component, which is named by a hash of its bytes.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) hash: [u8; 32],
    pub(super) finding: &'a Finding,
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
    pub(super) fn code(&self, entry: Entry<'_>) -> Found<Trusted> {
        self.read(entry, |file, length| Ok(Trusted::from_verified_file(file, length)), |_| ())
    }

    /// Another content of `entry`, verified.
    pub(super) fn content(&self, entry: Entry<'_>) -> Found<Vec<u8>> {
        let mut content = Vec::new();
        let found = self.read(entry, |_, _| Ok(()), |chunk| content.extend_from_slice(chunk));
        match found {
            Found::Content(()) => Found::Content(content),
            Found::Nothing => Found::Nothing,
            Found::Rejected(reason) => Found::Rejected(reason),
        }
    }

    /// Verifies the file of `entry`, whose content `each` sees, and gives what `take` makes of the file
    /// and the length of the content.
    fn read<T>(
        &self,
        entry: Entry<'_>,
        take: impl FnOnce(File, u64) -> io::Result<T>,
        each: impl FnMut(&[u8]),
    ) -> Found<T> {
        let read = || {
            let file = File::open(self.path(entry))?;
            let length = match self.verify(entry, &file, each)? {
                Ok(length) => length,
                Err(reason) => return Ok(Found::Rejected(reason.into())),
            };
            // The time of last use, for `trim`. Reading was the point, so a failure is no matter.
            let _ = file.set_modified(SystemTime::now());
            take(file, length).map(Found::Content)
        };
        match read() {
            Ok(Found::Rejected(reason)) => {
                self.remove(entry);
                Found::Rejected(reason)
            }
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(error) => {
                // Too many open files, for example: nothing is wrong with this one.
                tracing::warn!(%error, "a file of the compile cache could not be read");
                Found::Nothing
            }
        }
    }

    /// The length of the content, or why it is worth nothing.
    fn verify(
        &self,
        entry: Entry<'_>,
        mut file: &File,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Result<u64, &'static str>> {
        let size = file.metadata()?.len();
        if size > self.max_file_bytes + SEAL_BYTES as u64 {
            return Ok(Err("larger than any can be"));
        }
        let Some(length) = size.checked_sub(SEAL_BYTES as u64) else {
            return Ok(Err("shorter than any can be"));
        };
        let mut hasher = self.hasher(entry);
        let mut rest = file.take(length);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = rest.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
            each(&chunk[..read]);
        }
        let mut seal = [0; SEAL_BYTES];
        file.read_exact(&mut seal)?;
        let (hash, magic) = seal.split_at(blake3::OUT_LEN);
        // Blake3's own comparison takes the same time wherever the difference is.
        let ours = |hash: blake3::Hash| hash == hasher.finalize();
        let verified = magic == MAGIC && blake3::Hash::from_slice(hash).is_ok_and(ours);
        let reason = "damaged, of another format, or not written by this server";
        Ok(verified.then_some(length).ok_or(reason))
    }

    /// Keeps `content` for the next time, and deletes what was not used for longest if there is too
    /// much. Gives the file; none for what alone is larger than the whole cache and is not kept.
    pub(super) fn write(&self, entry: Entry<'_>, content: &[u8]) -> io::Result<Option<File>> {
        if content.len() as u64 + SEAL_BYTES as u64 > self.max_bytes {
            return Ok(None);
        }
        let mut file = self.temporary()?;
        file.write_all(content)?;
        file.write_all(self.hasher(entry).update(content).finalize().as_bytes())?;
        file.write_all(MAGIC)?;
        file.as_file().sync_all()?;
        let file = file.persist(self.path(entry)).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()?;
        self.trim()?;
        Ok(Some(file))
    }

    /// Deletes a file that turned out to be of no use.
    pub(super) fn remove(&self, entry: Entry<'_>) {
        let _ = fs::remove_file(self.path(entry));
    }

    /// Where `entry` is.
    fn path(&self, Entry { hash, finding }: Entry<'_>) -> PathBuf {
        let Finding { extension, .. } = finding;
        self.dir.join(format!("{}-{}.{extension}", hex::encode(hash), finding.short()))
    }

    /// Only who has the key can make it. Over the name as well, so that no file stands for another.
    fn hasher(&self, entry: Entry<'_>) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC).update(&entry.hash).update(&entry.finding.fingerprint);
        hasher
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
            if path.extension().is_some_and(|it| it == Finding::CODE || it == Finding::NAMES) {
                // What it takes of the disk: a small file takes a block too.
                files.push((metadata.modified()?, metadata.blocks() * 512, path));
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

/// A kind of finding, and everything on which it depends beside the upload.
pub(super) struct Finding {
    extension: &'static str,
    fingerprint: [u8; 32],
}

impl Finding {
    const CODE: &str = "cwasm";
    const NAMES: &str = "names";

    /// Code compiled for `engine`, with so much debug information: wasmtime's version and target, the
    /// processor's abilities, all settings that shape them, and what makes components of core modules.
    pub(super) fn code(engine: &Engine, debug_bytes: u64) -> Self {
        let mut fingerprint = Fingerprint::default();
        engine.precompile_compatibility_hash().hash(&mut fingerprint);
        debug_bytes.hash(&mut fingerprint);
        adapt::VERSION.hash(&mut fingerprint);
        Self { extension: Self::CODE, fingerprint: fingerprint.into_bytes() }
    }

    /// What inspection told: of another build of `exe`, or within other bounds, it may tell otherwise.
    pub(super) fn names(exe: &Path, bounds: &Structure) -> Self {
        let mut fingerprint = Fingerprint::default();
        match fs::metadata(exe) {
            Ok(file) => (file.len(), file.mtime(), file.mtime_nsec()).hash(&mut fingerprint),
            // Replaced while it runs, for example. Then nothing is found, and nobody finds ours.
            Err(_) => rand::random::<u128>().hash(&mut fingerprint),
        }
        format!("{bounds:?}").hash(&mut fingerprint);
        Self { extension: Self::NAMES, fingerprint: fingerprint.into_bytes() }
    }

    /// Enough of it for a file's name; the whole is in the file's hash.
    fn short(&self) -> String {
        hex::encode(&self.fingerprint[..8])
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
