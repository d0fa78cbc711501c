//! `wasi:filesystem` told in terms of the tree: flags, descriptors and error codes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, IoError};

use super::bindings::preopens;
use super::bindings::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Filesize,
    Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use super::stream::{MAX_PIECE_BYTES, Reader, Writer};
use super::tree::{Fault, Kind, Node, Open};
use super::{FsView, Mount, SCRATCH_PATH};

/// An open file or directory.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Descriptor {
    node: Arc<Node>,
    read: bool,
    /// Opened for writing; of a file only.
    write: bool,
    /// Whether anything may be changed from here on down, metadata included.
    mutable: bool,
}

/// A directory being listed. It remembers the last name only, so that its cost does not grow with
/// the directory.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Listing {
    dir: Arc<Node>,
    last: Option<String>,
}

/// What the guest is told, or, when the host is at fault, a trap.
pub(crate) enum FsError {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

type FsResult<T> = Result<T, FsError>;

impl From<ErrorCode> for FsError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<Fault> for FsError {
    fn from(fault: Fault) -> Self {
        Self::Code(fault.into())
    }
}

impl From<ResourceTableError> for FsError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<Fault> for ErrorCode {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::CrossDevice => Self::CrossDevice,
            Fault::Exist => Self::Exist,
            Fault::InsufficientMemory => Self::InsufficientMemory,
            Fault::InsufficientSpace => Self::InsufficientSpace,
            Fault::Invalid => Self::Invalid,
            Fault::IsDirectory => Self::IsDirectory,
            Fault::NameTooLong => Self::NameTooLong,
            Fault::NoEntry => Self::NoEntry,
            Fault::NotDirectory => Self::NotDirectory,
            Fault::NotEmpty => Self::NotEmpty,
            Fault::NotPermitted => Self::NotPermitted,
        }
    }
}

impl Descriptor {
    fn readable(&self) -> Result<&Arc<Node>, ErrorCode> {
        if self.read { Ok(&self.node) } else { Err(ErrorCode::BadDescriptor) }
    }

    fn writable(&self) -> Result<&Arc<Node>, ErrorCode> {
        if self.write { Ok(&self.node) } else { Err(ErrorCode::BadDescriptor) }
    }

    fn changeable(&self) -> Result<&Arc<Node>, ErrorCode> {
        if self.mutable { Ok(&self.node) } else { Err(ErrorCode::ReadOnly) }
    }
}

impl FsView<'_> {
    fn open(&self, fd: &Resource<Descriptor>) -> FsResult<&Descriptor> {
        Ok(self.table.get(fd)?)
    }

    /// Hands the guest a new resource. That it has too many is its own mistake, which it can report.
    fn give<T: Send + 'static>(&mut self, resource: T) -> FsResult<Resource<T>> {
        self.table.push(resource).map_err(|error| match error {
            ResourceTableError::Full => {
                self.ctx.hit_handles();
                ErrorCode::InsufficientMemory.into()
            }
            other => FsError::Trap(other.into()),
        })
    }
}

impl preopens::Host for FsView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let mut directories = Vec::new();
        // First, because Go takes the first for its working directory.
        if let Some(Mount { path, files }) = &self.ctx.fixtures {
            directories.push((files.root().clone(), path.clone(), false));
        }
        // Without room for even the root there is no scratch directory.
        if let Ok(node) = self.ctx.scratch() {
            directories.push((node, SCRATCH_PATH.to_owned(), true));
        }
        let open = |(node, path, mutable)| {
            let descriptor = Descriptor { node, read: true, write: false, mutable };
            Ok((self.table.push(descriptor)?, path))
        };
        directories.into_iter().map(open).collect()
    }
}

impl Host for FsView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        match error {
            FsError::Code(code) => Ok(code),
            FsError::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }
}

impl HostDescriptor for FsView<'_> {
    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        at: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let file = file(self.open(&fd)?.readable()?)?;
        self.give(Box::new(Reader { file, at }))
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        at: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = file(self.open(&fd)?.writable()?)?;
        self.give(Box::new(Writer { file, at: Some(at) }))
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = file(self.open(&fd)?.writable()?)?;
        self.give(Box::new(Writer { file, at: None }))
    }

    fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        _: Filesize,
        _: Filesize,
        _: Advice,
    ) -> FsResult<()> {
        match self.open(&fd)?.node.kind() {
            Kind::File => Ok(()),
            Kind::Directory => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.open(&fd).map(drop)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.open(&fd).map(drop)
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        let descriptor = self.open(&fd)?;
        let directory = descriptor.node.kind() == Kind::Directory;
        let flags = [
            (DescriptorFlags::READ, descriptor.read),
            (DescriptorFlags::WRITE, descriptor.write),
            (DescriptorFlags::MUTATE_DIRECTORY, directory && descriptor.mutable),
        ];
        let set = flags.into_iter().filter(|(_, set)| *set);
        Ok(set.fold(DescriptorFlags::empty(), |all, (flag, _)| all | flag))
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(self.open(&fd)?.node.kind().into())
    }

    fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        Ok(file(self.open(&fd)?.writable()?)?.set_size(size)?)
    }

    fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (time(accessed)?, time(modified)?);
        self.open(&fd)?.changeable()?.set_times(accessed, modified);
        Ok(())
    }

    fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_PIECE_BYTES);
        let bytes = self.open(&fd)?.readable()?.read(offset, length)?;
        let end = bytes.is_empty();
        Ok((bytes, end))
    }

    fn write(
        &mut self,
        fd: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        file(self.open(&fd)?.writable()?)?.write(offset, &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<Listing>> {
        let dir = self.open(&fd)?.node.clone();
        if dir.kind() == Kind::File {
            return Err(ErrorCode::NotDirectory.into());
        }
        self.give(Listing { dir, last: None })
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.open(&fd)?.changeable()?.create_dir(&path)?)
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        Ok(stat(&self.open(&fd)?.node))
    }

    fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        _: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        Ok(stat(&*self.open(&fd)?.node.find(&path)?))
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (time(accessed)?, time(modified)?);
        self.open(&fd)?.changeable()?.find(&path)?.set_times(accessed, modified);
        Ok(())
    }

    fn link_at(
        &mut self,
        _: Resource<Descriptor>,
        _: PathFlags,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        Err(ErrorCode::Unsupported.into())
    }

    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let base = self.open(&fd)?;
        let how = Open {
            create: how.contains(OpenFlags::CREATE),
            exclusive: how.contains(OpenFlags::EXCLUSIVE),
            directory: how.contains(OpenFlags::DIRECTORY),
            truncate: how.contains(OpenFlags::TRUNCATE),
        };
        let write = flags.contains(DescriptorFlags::WRITE);
        let change = flags.contains(DescriptorFlags::MUTATE_DIRECTORY);
        if (write || change || how.create || how.truncate) && !base.mutable {
            return Err(ErrorCode::ReadOnly.into());
        }
        let there = base.node.find(&path).map(|node| node.kind());
        if write && there == Ok(Kind::Directory) {
            return Err(ErrorCode::IsDirectory.into());
        }
        let node = base.node.open(&path, how)?;
        // Opened for neither is opened for reading, as in wasmtime-wasi. Languages do not ask for the
        // right to change a directory when they open one: it comes with the parent's.
        let read = flags.contains(DescriptorFlags::READ) || !write;
        let descriptor = Descriptor { node, read, write, mutable: base.mutable };
        self.give(descriptor)
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.open(&fd)?.node.find(&path)?;
        // What is there is no link.
        Err(ErrorCode::Invalid.into())
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.open(&fd)?.changeable()?.remove_dir(&path)?)
    }

    fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let new_base = self.open(&new_fd)?.changeable()?;
        Ok(self.open(&fd)?.changeable()?.rename(&path, new_base, &new_path)?)
    }

    fn symlink_at(&mut self, _: Resource<Descriptor>, _: String, _: String) -> FsResult<()> {
        Err(ErrorCode::Unsupported.into())
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.open(&fd)?.changeable()?.unlink(&path)?)
    }

    fn is_same_object(
        &mut self,
        fd: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        Ok(Arc::ptr_eq(&self.table.get(&fd)?.node, &self.table.get(&other)?.node))
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        Ok(hash(&self.open(&fd)?.node))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        _: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        Ok(hash(&*self.open(&fd)?.node.find(&path)?))
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for FsView<'_> {
    fn read_directory_entry(
        &mut self,
        listing: Resource<Listing>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = self.table.get_mut(&listing)?;
        let Some((name, kind)) = listing.dir.entry_after(listing.last.as_deref())? else {
            return Ok(None);
        };
        listing.last = Some(name.clone());
        Ok(Some(DirectoryEntry { type_: kind.into(), name }))
    }

    fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}

impl From<Kind> for DescriptorType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::RegularFile,
            Kind::Directory => Self::Directory,
        }
    }
}

fn file(node: &Arc<Node>) -> Result<Arc<Node>, ErrorCode> {
    match node.kind() {
        Kind::File => Ok(node.clone()),
        Kind::Directory => Err(ErrorCode::IsDirectory),
    }
}

fn stat(node: &Node) -> DescriptorStat {
    let times = node.times();
    DescriptorStat {
        type_: node.kind().into(),
        link_count: 1,
        size: node.size(),
        data_access_timestamp: datetime(times.accessed),
        data_modification_timestamp: datetime(times.modified),
        status_change_timestamp: datetime(times.changed),
    }
}

/// wasi-libc makes the inode number of it, so it must not change with the content.
fn hash(node: &Node) -> MetadataHashValue {
    MetadataHashValue { lower: node.id, upper: 0 }
}

fn datetime(time: SystemTime) -> Option<Datetime> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
}

fn time(new: NewTimestamp) -> Result<Option<SystemTime>, ErrorCode> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(SystemTime::now())),
        // Each step may overflow with a hostile value, where `Duration::new` would panic.
        NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }) => Duration::from_secs(seconds)
            .checked_add(Duration::from_nanos(u64::from(nanoseconds)))
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
            .map(Some)
            .ok_or(ErrorCode::Overflow),
    }
}
