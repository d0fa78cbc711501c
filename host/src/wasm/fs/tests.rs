//! The scratch directory as a guest meets it: through the host traits.

use futures::executor::block_on;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

use super::bindings::preopens::Host as _;
use super::bindings::types::{
    Advice, DescriptorFlags, ErrorCode, Host as _, HostDescriptor as _,
    HostDirectoryEntryStream as _, NewTimestamp, OpenFlags, PathFlags,
};
use super::wasi::{Descriptor, FsError};
use super::*;

struct Guest {
    ctx: FsCtx,
    table: ResourceTable,
    hits: LimitsHit,
}

impl Guest {
    fn new(limits: Limits) -> Self {
        let hits = LimitsHit::default();
        Self { ctx: FsCtx::new(&limits, None, hits.clone()), table: ResourceTable::new(), hits }
    }

    fn fs(&mut self) -> FsView<'_> {
        FsView { ctx: &mut self.ctx, table: &mut self.table }
    }

    fn root(&mut self) -> Resource<Descriptor> {
        let [(root, path)] = self.fs().get_directories().unwrap().try_into().unwrap();
        assert_eq!(path, "/tmp");
        root
    }

    fn open(
        &mut self,
        base: &Resource<Descriptor>,
        path: &str,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Resource<Descriptor>, ErrorCode> {
        let base = again(base);
        code(self.fs().open_at(base, PathFlags::empty(), path.into(), how, flags))
    }

    fn create(&mut self, path: &str) -> Resource<Descriptor> {
        let root = self.root();
        let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
        self.open(&root, path, OpenFlags::CREATE, flags).unwrap()
    }
}

fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn code<T>(result: Result<T, FsError>) -> Result<T, ErrorCode> {
    result.map_err(|error| match error {
        FsError::Code(code) => code,
        FsError::Trap(error) => panic!("a trap: {error}"),
    })
}

#[test]
fn streams_write_append_and_read() {
    let mut guest = Guest::new(Limits::default());
    let file = guest.create("f");
    let writer = code(guest.fs().write_via_stream(again(&file), 2)).unwrap();
    let writer = guest.table.get_mut(&writer).unwrap();
    assert!(writer.check_write().unwrap() > 0);
    writer.write("ab".into()).unwrap();
    block_on(writer.blocking_write_and_flush("cd".into())).unwrap();
    let appender = code(guest.fs().append_via_stream(again(&file))).unwrap();
    guest.table.get_mut(&appender).unwrap().write("ef".into()).unwrap();
    let reader = code(guest.fs().read_via_stream(again(&file), 1)).unwrap();
    let reader = guest.table.get_mut(&reader).unwrap();
    assert_eq!(reader.read(3).unwrap(), "\0ab");
    assert_eq!(block_on(reader.blocking_read(99)).unwrap(), "cdef");
    assert!(matches!(reader.read(1), Err(StreamError::Closed)));
    assert_eq!(code(guest.fs().read(file, u64::MAX, 6)).unwrap(), (b"ef".to_vec(), false));
}

#[test]
fn a_full_stream_tells_its_error_code_and_goes_on_when_there_is_room() {
    let mut guest = Guest::new(Limits { scratch_bytes: 4, ..Limits::default() });
    let file = guest.create("f");
    let writer = code(guest.fs().append_via_stream(again(&file))).unwrap();
    let writer = guest.table.get_mut(&writer).unwrap();
    writer.write("1234".into()).unwrap();
    let Err(StreamError::LastOperationFailed(error)) = writer.write("5".into()) else {
        panic!("no error");
    };
    let error = guest.table.push(error).unwrap();
    let told = guest.fs().filesystem_error_code(error).unwrap();
    assert_eq!(told, Some(ErrorCode::InsufficientSpace));
    assert_eq!(guest.hits.take(), [Limit::ScratchBytes]);
    code(guest.fs().set_size(again(&file), 0)).unwrap();
    assert_eq!(code(guest.fs().write(file, b"1234".to_vec(), 0)), Ok(4));
}

#[test]
fn a_descriptor_does_what_it_was_opened_for() {
    let mut guest = Guest::new(Limits::default());
    guest.create("f");
    let root = guest.root();
    let (read, write) = (DescriptorFlags::READ, DescriptorFlags::WRITE);
    let reader = guest.open(&root, "f", OpenFlags::empty(), read).unwrap();
    let writer = guest.open(&root, "f", OpenFlags::empty(), write).unwrap();
    assert_eq!(code(guest.fs().get_flags(again(&reader))), Ok(read));
    assert_eq!(code(guest.fs().get_flags(again(&writer))), Ok(write));
    let denied = Err(ErrorCode::BadDescriptor);
    assert_eq!(code(guest.fs().write(again(&reader), vec![1], 0)), denied);
    assert_eq!(code(guest.fs().set_size(again(&reader), 1)), Err(ErrorCode::BadDescriptor));
    assert_eq!(code(guest.fs().read(writer, 1, 0)), Err(ErrorCode::BadDescriptor));
    let is_directory = Err(ErrorCode::IsDirectory);
    assert_eq!(code(guest.fs().read(again(&root), 1, 0)).map(drop), is_directory);
    assert_eq!(guest.open(&root, ".", OpenFlags::empty(), write).map(drop), is_directory);
    assert_eq!(code(guest.fs().stat_at(reader, PathFlags::empty(), "x".into())).map(drop), {
        Err(ErrorCode::NotDirectory)
    });
}

#[test]
fn a_directory_opened_without_more_words_can_be_written_in() {
    let mut guest = Guest::new(Limits::default());
    let root = guest.root();
    code(guest.fs().create_directory_at(again(&root), "d".into())).unwrap();
    let dir = guest.open(&root, "d", OpenFlags::DIRECTORY, DescriptorFlags::READ).unwrap();
    let write = DescriptorFlags::WRITE;
    let file = guest.open(&dir, "f", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, write).unwrap();
    let listing = code(guest.fs().read_directory(again(&dir))).unwrap();
    let first = code(guest.fs().read_directory_entry(again(&listing))).unwrap().unwrap();
    assert_eq!(first.name, "f");
    assert!(code(guest.fs().read_directory_entry(listing)).unwrap().is_none());
    // One file has one identity, by whatever way it is reached; the hash is its inode number.
    let same = guest.open(&root, "d/f", OpenFlags::empty(), DescriptorFlags::READ).unwrap();
    assert!(guest.fs().is_same_object(again(&file), again(&same)).unwrap());
    assert!(!guest.fs().is_same_object(again(&file), again(&dir)).unwrap());
    let hash = |hash: super::bindings::types::MetadataHashValue| (hash.lower, hash.upper);
    let before = hash(code(guest.fs().metadata_hash(again(&file))).unwrap());
    code(guest.fs().write(file, vec![1], 0)).unwrap();
    let path = (PathFlags::empty(), "d/f".to_owned());
    let after = hash(code(guest.fs().metadata_hash_at(again(&root), path.0, path.1)).unwrap());
    assert_eq!(before, after);
    code(guest.fs().rename_at(again(&dir), "f".into(), again(&root), "g".into())).unwrap();
    code(guest.fs().remove_directory_at(again(&root), "d".into())).unwrap();
    code(guest.fs().unlink_file_at(root, "g".into())).unwrap();
}

#[test]
fn what_is_not_offered_is_an_error_and_what_means_nothing_succeeds() {
    let mut guest = Guest::new(Limits::default());
    let (root, file) = (guest.root(), guest.create("f"));
    let unsupported = Err(ErrorCode::Unsupported);
    assert_eq!(code(guest.fs().symlink_at(again(&root), "f".into(), "l".into())), unsupported);
    let linked =
        guest.fs().link_at(again(&root), PathFlags::empty(), "f".into(), again(&root), "l".into());
    assert_eq!(code(linked), unsupported);
    assert_eq!(code(guest.fs().readlink_at(root, "f".into())), Err(ErrorCode::Invalid));
    code(guest.fs().sync(again(&file))).unwrap();
    code(guest.fs().sync_data(again(&file))).unwrap();
    code(guest.fs().advise(file, 0, u64::MAX, Advice::Random)).unwrap();
}

#[test]
fn hostile_times_are_errors() {
    let mut guest = Guest::new(Limits::default());
    let file = guest.create("f");
    let at = |seconds, nanoseconds| NewTimestamp::Timestamp(Datetime { seconds, nanoseconds });
    for bad in [at(u64::MAX, u32::MAX), at(u64::MAX, 0)] {
        let set = guest.fs().set_times(again(&file), NewTimestamp::NoChange, bad);
        assert_eq!(code(set), Err(ErrorCode::Overflow));
    }
    let set = guest.fs().set_times(again(&file), NewTimestamp::Now, at(5, 1_500_000_000));
    code(set).unwrap();
    let stat = code(guest.fs().stat(file)).unwrap();
    let modified = stat.data_modification_timestamp.unwrap();
    assert_eq!((modified.seconds, modified.nanoseconds), (6, 500_000_000));
}

#[test]
fn a_guest_with_too_many_handles_is_told_so() {
    let mut guest = Guest::new(Limits::default());
    let root = guest.root();
    guest.table.set_max_capacity(1);
    let opened = guest.open(&root, ".", OpenFlags::empty(), DescriptorFlags::READ);
    assert_eq!(opened.map(drop), Err(ErrorCode::InsufficientMemory));
    assert_eq!(guest.hits.take(), [Limit::Handles]);
}
