//! Fixtures: an archive of a directory, for whoever has no archive. The same files make the same bytes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tar::{Builder, EntryType, Header};
use zstd::stream::write::Encoder;

use crate::wasm::settings::FixtureSettings;

/// The level of zstd: quick.
const LEVEL: i32 = 3;

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something cannot be read.
    #[error("read the fixtures {path}: {source}", path = path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is nothing that can be in an archive.
    #[error("archive the fixture {path}: it {problem}", path = path.display())]
    Refused {
        /// What.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The directory is not meant.
    #[error(
        "archive the fixtures {path}: there are more than {limit} {of} below it: give a directory with \
         what the tests need alone, or an archive",
        path = path.display()
    )]
    TooMuch {
        /// The directory.
        path: PathBuf,
        /// How much there may be.
        limit: u64,
        /// Of what.
        of: &'static str,
    },
}

/// The archive in a file as it is, or one of all that is below a directory, within these bounds.
pub fn pack(path: &Path, bounds: &FixtureSettings) -> Result<Bytes, PackError> {
    let failed = |source| PackError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.is_file() {
        return fs::read(path).map(Bytes::from).map_err(failed);
    }
    let root = fs::canonicalize(path).map_err(failed)?;
    let encoder = Encoder::new(Vec::new(), LEVEL).map_err(failed)?;
    let mut packing = Packing {
        archive: Builder::new(encoder),
        root: &root,
        given: path,
        bounds,
        files: 0,
        bytes: 0,
    };
    packing.directory(&root)?;
    let archive = packing.archive.into_inner().and_then(Encoder::finish);
    archive.map(Bytes::from).map_err(failed)
}

struct Packing<'a> {
    archive: Builder<Encoder<'static, Vec<u8>>>,
    root: &'a Path,
    /// The root as it was given.
    given: &'a Path,
    bounds: &'a FixtureSettings,
    files: u64,
    bytes: u64,
}

impl Packing<'_> {
    /// Everything below a directory, by name. As deep as paths are long, which the system bounds.
    fn directory(&mut self, directory: &Path) -> Result<(), PackError> {
        let failed = |source| PackError::Read { path: directory.to_owned(), source };
        let entries: io::Result<Vec<_>> =
            fs::read_dir(directory).map_err(failed)?.map(|entry| Ok(entry?.path())).collect();
        let mut paths = entries.map_err(failed)?;
        paths.sort();
        for path in paths {
            self.count(1, 0)?;
            let failed = |source| PackError::Read { path: path.clone(), source };
            let kind = fs::symlink_metadata(&path).map_err(failed)?.file_type();
            if kind.is_dir() {
                self.append(&path, EntryType::Directory, 0, &mut io::empty())?;
                self.directory(&path)?;
            } else if kind.is_file() || (kind.is_symlink() && self.leads_to_a_file(&path)) {
                let mut file = File::open(&path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                self.count(0, size)?;
                self.append(&path, EntryType::Regular, size, &mut file)?;
            } else {
                let problem = if kind.is_symlink() {
                    "is a link to something else than a file of the same directory"
                } else {
                    "is neither a file nor a directory"
                };
                return Err(PackError::Refused { path, problem });
            }
        }
        Ok(())
    }

    /// Whether a link stands for a file that is archived anyway.
    fn leads_to_a_file(&self, link: &Path) -> bool {
        fs::canonicalize(link).is_ok_and(|to| to.starts_with(self.root) && to.is_file())
    }

    fn append(
        &mut self,
        path: &Path,
        kind: EntryType,
        size: u64,
        content: &mut dyn io::Read,
    ) -> Result<(), PackError> {
        let name = path.strip_prefix(self.root).unwrap_or(path);
        if name.to_str().is_none() {
            let problem = "has a name that is not UTF-8";
            return Err(PackError::Refused { path: path.to_owned(), problem });
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        // A file that grew meanwhile must not run into the next.
        let appended = self.archive.append_data(&mut header, name, io::Read::take(content, size));
        appended.map_err(|source| PackError::Read { path: path.to_owned(), source })
    }

    fn count(&mut self, files: u64, bytes: u64) -> Result<(), PackError> {
        (self.files, self.bytes) = (self.files + files, self.bytes.saturating_add(bytes));
        let FixtureSettings { files, unpacked_bytes, .. } = *self.bounds;
        let too_much =
            |limit, of| Err(PackError::TooMuch { path: self.given.to_owned(), limit, of });
        if self.files > files {
            return too_much(files, "files and directories");
        }
        if self.bytes > unpacked_bytes {
            return too_much(unpacked_bytes, "bytes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::archive::{FixtureContents, measure, unpack};
    use super::*;

    fn packed(directory: &Path) -> Result<Bytes, String> {
        pack(directory, &FixtureSettings::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_directory_becomes_an_archive_and_the_same_files_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a").join("x".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("größe"), "12 cm").unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        symlink(deep.join("größe"), dir.path().join("link")).unwrap();
        let archive = packed(dir.path()).unwrap();
        assert_eq!(packed(dir.path()).unwrap(), archive);
        let settings = FixtureSettings::default();
        let (root, contents) = unpack(&archive, &settings).unwrap();
        assert_eq!(contents, FixtureContents { files: 5, bytes: 10 });
        assert_eq!(measure(&archive, &settings).unwrap(), contents);
        for file in ["link".to_owned(), format!("a/{}/größe", "x".repeat(120))] {
            assert_eq!(root.find(&file).unwrap().read(0, 100).unwrap(), b"12 cm");
        }
        assert!(root.find("empty").unwrap().entry_after(None).unwrap().is_none());
        // An archive is taken as it is.
        let file = dir.path().join("a.tar.zst");
        fs::write(&file, &archive).unwrap();
        assert_eq!(packed(&file).unwrap(), archive);
    }

    #[test]
    fn what_cannot_be_archived_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(packed(&dir.path().join("none")).unwrap_err().starts_with("read the fixtures"));
        symlink("/", dir.path().join("out")).unwrap();
        let told = packed(dir.path()).unwrap_err();
        assert!(told.contains("out: it is a link to something else"), "{told}");
        fs::remove_file(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("a"), "123").unwrap();
        let bounds = FixtureSettings { files: 1, unpacked_bytes: 2, ..FixtureSettings::default() };
        let told = pack(dir.path(), &bounds).unwrap_err().to_string();
        assert!(told.contains("more than 2 bytes"), "{told}");
        fs::write(dir.path().join("b"), "").unwrap();
        let bounds = FixtureSettings { files: 1, ..FixtureSettings::default() };
        let told = pack(dir.path(), &bounds).unwrap_err().to_string();
        assert!(told.contains("more than 1 files and directories"), "{told}");
    }
}
