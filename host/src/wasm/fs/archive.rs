//! Fixtures: from an archive, which anybody may have made, to a tree of files that a guest reads.
//!
//! A tar archive, as it is or compressed by gzip or zstd, with regular files and directories in it and
//! nothing else. It is read as a stream, with an allowance for each step, so that whatever it expands to
//! costs no more than the bounds say. Nothing of it ever comes near a disk.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use tar::{Archive, Entry, EntryType};

use super::tree::{Fault, Kind, MAX_NAME_BYTES, Node, Space};
use crate::wasm::settings::FixtureSettings;

/// What the headers of one file may take, its long name and other extensions included.
const HEADER_BYTES: u64 = 64 << 10;

/// What zstd may keep in memory to read an archive: 8 MiB, enough for everything up to level 19.
const ZSTD_WINDOW_LOG: u32 = 23;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How much of a name is told.
const TOLD_CHARS: usize = 200;

/// What is in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixtureContents {
    /// Files and directories, those without an entry of their own included.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("read the fixtures: {0}; send a tar archive, as it is or compressed by gzip or zstd")]
    Unreadable(String),
    /// There is nothing in it.
    #[error("read the fixtures: the archive has no files")]
    Empty,
    /// It has something in it that cannot be.
    #[error("read the fixtures: {name:?} {problem}")]
    Entry {
        /// Its name, as far as it can be shown.
        name: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// It goes beyond a bound.
    #[error(
        "read the fixtures: {what}, {limit} are allowed (setting `sandbox.fixtures.{setting}`)"
    )]
    TooMuch {
        /// What there is too much of.
        what: String,
        /// How much there may be.
        limit: u64,
        /// The setting's name.
        setting: &'static str,
    },
}

impl ArchiveError {
    /// The setting that it went beyond, as metrics name it.
    pub fn bound(&self) -> Option<&'static str> {
        match self {
            Self::TooMuch { setting: "unpacked_bytes", .. } => {
                Some("sandbox.fixtures.unpacked_bytes")
            }
            Self::TooMuch { setting: "files", .. } => Some("sandbox.fixtures.files"),
            Self::TooMuch { setting: "path_bytes", .. } => Some("sandbox.fixtures.path_bytes"),
            Self::TooMuch { setting: "depth", .. } => Some("sandbox.fixtures.depth"),
            _ => None,
        }
    }
}

type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// Reads an archive to its end and keeps nothing of it.
pub(crate) fn measure(archive: &[u8], bounds: &FixtureSettings) -> Result<FixtureContents> {
    walk(archive, bounds, |_, _, content| io::copy(content, &mut io::sink()).map_err(unreadable))
}

/// The files of an archive as a tree.
pub(crate) fn unpack(
    archive: &[u8],
    bounds: &FixtureSettings,
) -> Result<(Arc<Node>, FixtureContents)> {
    // The walk keeps the bounds; what they do not allow never comes here.
    let space = Space::of_fixtures();
    let no_room = |_: Fault| ArchiveError::Unreadable("there is no memory for it".to_owned());
    let root = Node::root(&space).map_err(no_room)?;
    let contents = walk(archive, bounds, |path, kind, content| match kind {
        Kind::Directory => root.create_dir(path).map(|()| 0).map_err(no_room),
        Kind::File => {
            let mut bytes = Vec::new();
            let length = content.read_to_end(&mut bytes).map_err(unreadable)?;
            bytes.shrink_to_fit();
            root.create_file_of(path, bytes).map_err(no_room)?;
            Ok(length as u64)
        }
    })?;
    Ok((root, contents))
}

/// Gives each directory, parents first and once, and each file to `take`, which says how many bytes it
/// found.
fn walk(
    archive: &[u8],
    bounds: &FixtureSettings,
    mut take: impl FnMut(&str, Kind, &mut dyn Read) -> Result<u64>,
) -> Result<FixtureContents> {
    let allowance = Rc::new(Cell::new(HEADER_BYTES));
    let mut archive =
        Archive::new(Allowed { from: decompressed(archive)?, left: allowance.clone() });
    let mut seen = Seen { bounds, kinds: BTreeMap::new() };
    let mut bytes: u64 = 0;
    let mut entries = archive.entries().map_err(unreadable)?;
    loop {
        allowance.set(HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(unreadable)?;
        let Some(kind) = kind(&entry)? else {
            // Remarks on the archive as a whole, as git makes them.
            continue;
        };
        let (path, size) = (path(&entry, bounds)?, entry.size());
        bytes = bytes.saturating_add(size);
        if bytes > bounds.unpacked_bytes {
            let what = "its files have more bytes than may be".to_owned();
            return Err(too_much(what, bounds.unpacked_bytes, "unpacked_bytes"));
        }
        for directory in seen.add(&path, kind)? {
            take(directory, Kind::Directory, &mut io::empty())?;
        }
        if kind == Kind::File {
            allowance.set(size);
            if take(&path, kind, &mut entry)? != size {
                return Err(ArchiveError::Unreadable("it breaks off".to_owned()));
            }
        }
    }
    if seen.kinds.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(FixtureContents { files: seen.kinds.len() as u64, bytes })
}

fn decompressed(archive: &[u8]) -> Result<Box<dyn Read + '_>> {
    if archive.starts_with(GZIP) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(archive)));
    }
    if archive.starts_with(ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(archive).map_err(unreadable)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(unreadable)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(archive))
}

/// Reads no more than it is allowed to.
struct Allowed<R> {
    from: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !into.is_empty() {
            return Err(io::Error::other("a file's header is too large"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let read = self.from.read(&mut into[..most])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

/// What an entry is; none if it is nothing that a guest would see.
fn kind(entry: &Entry<'_, impl Read>) -> Result<Option<Kind>> {
    let problem = match entry.header().entry_type() {
        // Before there were types, a directory was told by its name.
        EntryType::Regular if entry.size() == 0 && entry.path_bytes().ends_with(b"/") => {
            return Ok(Some(Kind::Directory));
        }
        EntryType::Regular | EntryType::Continuous => return Ok(Some(Kind::File)),
        EntryType::Directory => return Ok(Some(Kind::Directory)),
        EntryType::XGlobalHeader => return Ok(None),
        EntryType::Symlink | EntryType::Link => {
            "is a link, and there are none here: put the file in its place (`tar --dereference \
             --hard-dereference`)"
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => "is a device, and no file",
        EntryType::GNUSparse => "is kept as a sparse file: make the archive without `--sparse`",
        _ => "is of a kind that is not known here: archive files and directories only",
    };
    Err(refused(&entry.path_bytes(), problem))
}

/// An entry's path, without `.` and empty steps.
fn path(entry: &Entry<'_, impl Read>, bounds: &FixtureSettings) -> Result<String> {
    let bytes = entry.path_bytes();
    let refuse = |problem| refused(&bytes, problem);
    let text = str::from_utf8(&bytes).map_err(|_| refuse("is a name that is not UTF-8"))?;
    if text.starts_with('/') {
        return Err(refuse("is an absolute path: archive paths that start at the directory"));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse("has control characters in its name"));
    }
    let steps: Vec<_> = text.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
    if steps.contains(&"..") {
        return Err(refuse("leads out of its directory: archive paths without `..`"));
    }
    if steps.iter().any(|step| step.len() > MAX_NAME_BYTES) {
        return Err(refuse("has a name of more than 255 bytes"));
    }
    if steps.len() as u64 > bounds.depth {
        let what = format!("{:?} has {} steps", told(&bytes), steps.len());
        return Err(too_much(what, bounds.depth, "depth"));
    }
    let path = steps.join("/");
    if path.len() as u64 > bounds.path_bytes {
        let what = format!("{:?} is a path of {} bytes", told(&bytes), path.len());
        return Err(too_much(what, bounds.path_bytes, "path_bytes"));
    }
    Ok(path)
}

/// What there is so far.
struct Seen<'a> {
    bounds: &'a FixtureSettings,
    kinds: BTreeMap<String, Kind>,
}

impl Seen<'_> {
    /// Adds something, and gives the directories that are new with it, in order.
    fn add<'p>(&mut self, path: &'p str, kind: Kind) -> Result<Vec<&'p str>> {
        let mut new = Vec::new();
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        // The directory that everything is in has an entry of its own in most archives.
        let own = Some(path).filter(|path| kind == Kind::Directory && !path.is_empty());
        for directory in parents.chain(own) {
            match self.kinds.get(directory) {
                Some(Kind::Directory) => {}
                Some(Kind::File) => {
                    return Err(refused(directory.as_bytes(), "is a file and a directory"));
                }
                None => {
                    self.insert(directory, Kind::Directory)?;
                    new.push(directory);
                }
            }
        }
        if kind == Kind::File {
            if path.is_empty() || self.kinds.contains_key(path) {
                return Err(refused(path.as_bytes(), "is there twice"));
            }
            self.insert(path, kind)?;
        }
        Ok(new)
    }

    fn insert(&mut self, path: &str, kind: Kind) -> Result<()> {
        if self.kinds.len() as u64 >= self.bounds.files {
            let what = "it has more files and directories than may be".to_owned();
            return Err(too_much(what, self.bounds.files, "files"));
        }
        self.kinds.insert(path.to_owned(), kind);
        Ok(())
    }
}

fn unreadable(error: io::Error) -> ArchiveError {
    ArchiveError::Unreadable(error.to_string().chars().take(TOLD_CHARS).collect())
}

fn refused(name: &[u8], problem: &'static str) -> ArchiveError {
    ArchiveError::Entry { name: told(name), problem }
}

fn too_much(what: String, limit: u64, setting: &'static str) -> ArchiveError {
    ArchiveError::TooMuch { what, limit, setting }
}

fn told(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(TOLD_CHARS).collect()
}

#[cfg(test)]
mod tests;
