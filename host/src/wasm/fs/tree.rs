//! Files and directories in memory: the rules, without WASI.
//!
//! A [`Node`] lives for as long as a directory lists it or a descriptor holds it, so an unlinked file
//! that is still open keeps its content and its share of the [`Space`]. There are no links: the tree
//! is a tree, `..` is where one came from, and nothing leads out of the directory a path starts at.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use crate::model::Limit;
use crate::wasm::limits::LimitsHit;

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// The longest name of a file or directory, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Why something cannot be done; the names are those of POSIX and WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CrossDevice,
    Exist,
    InsufficientMemory,
    InsufficientSpace,
    Invalid,
    IsDirectory,
    NameTooLong,
    NoEntry,
    NotDirectory,
    NotEmpty,
    NotPermitted,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

/// What the files of one tree may take, and what they take.
pub(super) struct Space {
    max_bytes: u64,
    max_nodes: u64,
    bytes: AtomicU64,
    nodes: AtomicU64,
    next_id: AtomicU64,
    hits: LimitsHit,
}

impl Space {
    /// An empty space for so many bytes in so many files and directories.
    pub(super) fn new(max_bytes: u64, max_files: u64, hits: LimitsHit) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            // The root is one more.
            max_nodes: max_files.saturating_add(1),
            bytes: AtomicU64::new(0),
            nodes: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            hits,
        })
    }

    /// A space for what is bounded by others, whose numbers are no scratch file's.
    pub(super) fn of_fixtures() -> Arc<Self> {
        Arc::new(Self {
            max_bytes: u64::MAX,
            max_nodes: u64::MAX,
            bytes: AtomicU64::new(0),
            nodes: AtomicU64::new(0),
            next_id: AtomicU64::new(1 << 48),
            hits: LimitsHit::default(),
        })
    }

    fn take(&self, used: &AtomicU64, more: u64, max: u64, limit: Limit) -> Result<()> {
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|_| {
            self.hits.hit(limit);
            Fault::InsufficientSpace
        })
    }

    fn take_bytes(&self, more: u64) -> Result<()> {
        self.take(&self.bytes, more, self.max_bytes, Limit::ScratchBytes)
    }

    fn give_bytes(&self, less: u64) {
        self.bytes.fetch_sub(less, Ordering::Relaxed);
    }
}

/// A file or a directory.
pub(crate) struct Node {
    /// Unique among those that a guest sees.
    pub(super) id: u64,
    space: Arc<Space>,
    times: Mutex<Times>,
    content: Content,
}

enum Content {
    File(Mutex<Vec<u8>>),
    Dir(Mutex<Dir>),
}

#[derive(Default)]
struct Dir {
    entries: BTreeMap<String, Arc<Node>>,
    /// Dangling for the root.
    parent: Weak<Node>,
    /// Removed while somebody holds it: nothing can be made in it any more.
    removed: bool,
}

/// When a node was last read, written and changed, as far as anybody keeps account: reading does not
/// change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
}

/// What kind of node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// How to open a path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    /// Make a file if there is nothing.
    pub(super) create: bool,
    /// With `create`: fail if there is something.
    pub(super) exclusive: bool,
    /// Fail if it is no directory.
    pub(super) directory: bool,
    /// Cut the file to nothing.
    pub(super) truncate: bool,
}

/// Where a path leads: to an entry of a directory, which may or may not be there, or, for a path that
/// ends in `.` or `..`, to a directory itself.
enum Place<'a> {
    Entry { dir: Arc<Node>, name: &'a str, must_be_dir: bool },
    Itself(Arc<Node>),
}

impl Node {
    /// An empty tree.
    pub(super) fn root(space: &Arc<Space>) -> Result<Arc<Self>> {
        Self::new(space, Content::Dir(Mutex::default()))
    }

    fn new(space: &Arc<Space>, content: Content) -> Result<Arc<Self>> {
        space.take(&space.nodes, 1, space.max_nodes, Limit::ScratchFiles)?;
        let now = SystemTime::now();
        Ok(Arc::new(Self {
            id: space.next_id.fetch_add(1, Ordering::Relaxed),
            space: space.clone(),
            times: Mutex::new(Times { accessed: now, modified: now, changed: now }),
            content,
        }))
    }

    pub(super) fn kind(&self) -> Kind {
        match self.content {
            Content::File(_) => Kind::File,
            Content::Dir(_) => Kind::Directory,
        }
    }

    /// The file's size; 0 for a directory.
    pub(super) fn size(&self) -> u64 {
        self.bytes().map_or(0, |bytes| bytes.len() as u64)
    }

    pub(super) fn times(&self) -> Times {
        *lock(&self.times)
    }

    /// Sets the times that are given.
    pub(super) fn set_times(&self, accessed: Option<SystemTime>, modified: Option<SystemTime>) {
        let mut times = lock(&self.times);
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = SystemTime::now();
    }

    fn touch(&self) {
        let mut times = lock(&self.times);
        times.modified = SystemTime::now();
        times.changed = times.modified;
    }

    fn dir(&self) -> Result<MutexGuard<'_, Dir>> {
        match &self.content {
            Content::Dir(dir) => Ok(lock(dir)),
            Content::File(_) => Err(Fault::NotDirectory),
        }
    }

    fn bytes(&self) -> Result<MutexGuard<'_, Vec<u8>>> {
        match &self.content {
            Content::File(bytes) => Ok(lock(bytes)),
            Content::Dir(_) => Err(Fault::IsDirectory),
        }
    }
}

/// What can be done with a file.
impl Node {
    /// Up to `length` bytes from `offset`; none at the end of the file and beyond.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let bytes = self.bytes()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    /// Writes all of `data` at `offset`, or nothing. What lies between the end of the file and
    /// `offset` becomes zeroes, and is counted.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut bytes = self.bytes()?;
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(Fault::InsufficientSpace)?;
        if end > bytes.len() as u64 {
            self.resize(&mut bytes, end)?;
        }
        // It fits: the file is at least `end` long by now.
        let start = end as usize - data.len();
        bytes[start..end as usize].copy_from_slice(data);
        drop(bytes);
        self.touch();
        Ok(())
    }

    /// Writes all of `data` at the end, or nothing.
    pub(super) fn append(&self, data: &[u8]) -> Result<()> {
        let end = self.bytes()?.len() as u64;
        self.write(end, data)
    }

    /// Cuts the file, or makes it longer by zeroes.
    pub(super) fn set_size(&self, size: u64) -> Result<()> {
        let mut bytes = self.bytes()?;
        self.resize(&mut bytes, size)?;
        drop(bytes);
        self.touch();
        Ok(())
    }

    fn resize(&self, bytes: &mut Vec<u8>, size: u64) -> Result<()> {
        let old = bytes.len();
        let Some(more) = size.checked_sub(old as u64) else {
            // Smaller than a `usize`, as the old size is.
            bytes.truncate(size as usize);
            bytes.shrink_to_fit();
            self.space.give_bytes((old - bytes.len()) as u64);
            return Ok(());
        };
        self.space.take_bytes(more)?;
        // A little more than asked for, so that many small writes are not as many copies; not twice
        // as much, since what is reserved is not counted.
        let reserve = more.max(old as u64 / 8).min(self.space.max_bytes);
        let reserved = usize::try_from(reserve).is_ok_and(|more| {
            more <= bytes.capacity() - old || bytes.try_reserve_exact(more).is_ok()
        });
        if !reserved {
            self.space.give_bytes(more);
            return Err(Fault::InsufficientMemory);
        }
        bytes.resize(old + more as usize, 0);
        Ok(())
    }
}

/// What can be done with a directory and a path in it.
impl Node {
    /// What is at `path`.
    pub(super) fn find(self: &Arc<Self>, path: &str) -> Result<Arc<Self>> {
        match self.place(path)? {
            Place::Itself(node) => Ok(node),
            Place::Entry { dir, name, must_be_dir } => {
                let node = dir.entry(name)?.ok_or(Fault::NoEntry)?;
                if must_be_dir && node.kind() != Kind::Directory {
                    return Err(Fault::NotDirectory);
                }
                Ok(node)
            }
        }
    }

    /// Opens what is at `path`, or makes it.
    pub(super) fn open(self: &Arc<Self>, path: &str, how: Open) -> Result<Arc<Self>> {
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(Fault::Invalid);
        }
        let node = match self.find(path) {
            Err(Fault::NoEntry) if how.create => return self.create_file(path),
            found => found?,
        };
        if how.create && how.exclusive {
            return Err(Fault::Exist);
        }
        if how.directory && node.kind() != Kind::Directory {
            return Err(Fault::NotDirectory);
        }
        if how.truncate {
            node.set_size(0)?;
        }
        Ok(node)
    }

    fn create_file(self: &Arc<Self>, path: &str) -> Result<Arc<Self>> {
        self.create_file_of(path, Vec::new())
    }

    /// Makes a file that has these bytes from the start.
    pub(super) fn create_file_of(
        self: &Arc<Self>,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let (dir, name) = match self.place(path)? {
            Place::Entry { must_be_dir: true, .. } => return Err(Fault::IsDirectory),
            Place::Entry { dir, name, .. } => (dir, name),
            Place::Itself(_) => return Err(Fault::NoEntry),
        };
        let length = bytes.len() as u64;
        self.space.take_bytes(length)?;
        let added = dir.add(name, || Ok(Content::File(Mutex::new(bytes))));
        added.inspect_err(|_| self.space.give_bytes(length))
    }

    /// Makes a directory.
    pub(super) fn create_dir(self: &Arc<Self>, path: &str) -> Result<()> {
        let Place::Entry { dir, name, .. } = self.place(path)? else {
            return Err(Fault::Exist);
        };
        let parent = Arc::downgrade(&dir);
        dir.add(name, || Ok(Content::Dir(Mutex::new(Dir { parent, ..Dir::default() })))).map(drop)
    }

    /// Removes a file.
    pub(super) fn unlink(self: &Arc<Self>, path: &str) -> Result<()> {
        let Place::Entry { dir, name, .. } = self.place(path)? else {
            return Err(Fault::IsDirectory);
        };
        if self.find(path)?.kind() == Kind::Directory {
            return Err(Fault::IsDirectory);
        }
        dir.dir()?.entries.remove(name);
        dir.touch();
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(self: &Arc<Self>, path: &str) -> Result<()> {
        let Place::Entry { dir, name, .. } = self.place(path)? else {
            return Err(Fault::Invalid);
        };
        self.find(path)?.mark_removed()?;
        dir.dir()?.entries.remove(name);
        dir.touch();
        Ok(())
    }

    /// Moves what is at `path` to `new_path` in `new_base`, in place of what is there if it is of the
    /// same kind and, a directory, empty.
    pub(super) fn rename(
        self: &Arc<Self>,
        path: &str,
        new_base: &Arc<Self>,
        new_path: &str,
    ) -> Result<()> {
        if !Arc::ptr_eq(&self.space, &new_base.space) {
            return Err(Fault::CrossDevice);
        }
        let (
            Place::Entry { dir, name, .. },
            Place::Entry { dir: new_dir, name: new_name, must_be_dir },
        ) = (self.place(path)?, new_base.place(new_path)?)
        else {
            return Err(Fault::Invalid);
        };
        let node = self.find(path)?;
        if must_be_dir && node.kind() != Kind::Directory {
            return Err(Fault::NotDirectory);
        }
        if new_dir.is_within(&node) {
            return Err(Fault::Invalid);
        }
        if new_dir.dir()?.removed {
            return Err(Fault::NoEntry);
        }
        if let Some(old) = new_dir.entry(new_name)? {
            match (node.kind(), old.kind()) {
                _ if Arc::ptr_eq(&node, &old) => return Ok(()),
                (Kind::Directory, Kind::Directory) => old.mark_removed()?,
                (Kind::File, Kind::File) => {}
                (Kind::Directory, Kind::File) => return Err(Fault::NotDirectory),
                (Kind::File, Kind::Directory) => return Err(Fault::IsDirectory),
            }
        }
        dir.dir()?.entries.remove(name);
        if let Ok(mut moved) = node.dir() {
            moved.parent = Arc::downgrade(&new_dir);
        }
        new_dir.dir()?.entries.insert(new_name.to_owned(), node);
        dir.touch();
        new_dir.touch();
        Ok(())
    }

    /// The first entry after `name`, or the very first, in the order of their names.
    pub(super) fn entry_after(&self, name: Option<&str>) -> Result<Option<(String, Kind)>> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        let dir = self.dir()?;
        let next = dir.entries.range::<str, _>((start, Bound::Unbounded)).next();
        Ok(next.map(|(name, node)| (name.clone(), node.kind())))
    }

    fn entry(&self, name: &str) -> Result<Option<Arc<Self>>> {
        Ok(self.dir()?.entries.get(name).cloned())
    }

    fn add(&self, name: &str, content: impl FnOnce() -> Result<Content>) -> Result<Arc<Self>> {
        let mut dir = self.dir()?;
        if dir.entries.contains_key(name) {
            return Err(Fault::Exist);
        }
        if dir.removed {
            return Err(Fault::NoEntry);
        }
        let node = Self::new(&self.space, content()?)?;
        dir.entries.insert(name.to_owned(), node.clone());
        drop(dir);
        self.touch();
        Ok(node)
    }

    fn mark_removed(&self) -> Result<()> {
        let mut dir = self.dir()?;
        if !dir.entries.is_empty() {
            return Err(Fault::NotEmpty);
        }
        dir.removed = true;
        Ok(())
    }

    /// Whether it is `other` or somewhere below it.
    fn is_within(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = Some(self.clone());
        while let Some(node) = at {
            if Arc::ptr_eq(&node, other) {
                return true;
            }
            at = node.dir().ok().and_then(|dir| dir.parent.upgrade());
        }
        false
    }

    /// Walks the path up to its last name.
    fn place<'a>(self: &Arc<Self>, path: &'a str) -> Result<Place<'a>> {
        self.dir().map(drop)?;
        if path.is_empty() {
            return Err(Fault::NoEntry);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(Fault::NameTooLong);
        }
        if path.starts_with('/') {
            return Err(Fault::NotPermitted);
        }
        if path.contains('\0') {
            return Err(Fault::Invalid);
        }
        let trimmed = path.trim_end_matches('/');
        let (way, name) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
        // From where the path starts to where it is; `..` goes back, and never past the start.
        let mut walked = vec![self.clone()];
        for step in way.split('/') {
            self.step(&mut walked, step)?;
        }
        let here = walked.last().unwrap_or(self).clone();
        here.dir().map(drop)?;
        if matches!(name, "." | "..") {
            self.step(&mut walked, name)?;
            return Ok(Place::Itself(walked.last().unwrap_or(self).clone()));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(Fault::NameTooLong);
        }
        Ok(Place::Entry { dir: here, name, must_be_dir: trimmed.len() < path.len() })
    }

    fn step(self: &Arc<Self>, walked: &mut Vec<Arc<Self>>, step: &str) -> Result<()> {
        let here = walked.last().unwrap_or(self);
        match step {
            "" | "." => here.dir().map(drop),
            ".." if walked.len() == 1 => Err(Fault::NotPermitted),
            ".." => {
                here.dir().map(drop)?;
                walked.pop();
                Ok(())
            }
            name if name.len() > MAX_NAME_BYTES => Err(Fault::NameTooLong),
            name => {
                let next = here.entry(name)?.ok_or(Fault::NoEntry)?;
                walked.push(next);
                Ok(())
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.space.nodes.fetch_sub(1, Ordering::Relaxed);
        match &mut self.content {
            Content::File(bytes) => {
                let bytes = bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
                self.space.give_bytes(bytes.len() as u64);
            }
            // One after the other instead of one inside the other: a guest can nest directories
            // deeper than the host's stack would bear.
            Content::Dir(dir) => {
                let mut pending = take_entries(dir);
                while let Some(node) = pending.pop() {
                    if let Some(mut node) = Arc::into_inner(node)
                        && let Content::Dir(dir) = &mut node.content
                    {
                        pending.append(&mut take_entries(dir));
                    }
                }
            }
        }
    }
}

fn take_entries(dir: &mut Mutex<Dir>) -> Vec<Arc<Node>> {
    let dir = dir.get_mut().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut dir.entries).into_values().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
