//! Archives as they come, and as somebody makes them who means no good.

use std::io::Write;

use tar::{Builder, Header};

use super::*;

/// An archive of entries, each written as it is: the `tar` crate would refuse most of these names.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        let name = name.as_ref();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        self.append(&mut header, content);
        self
    }

    fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, content)
    }

    fn append(&mut self, header: &mut Header, content: &[u8]) {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn told(archive: &[u8], bounds: &FixtureSettings) -> String {
    let measured = measure(archive, bounds).unwrap_err();
    let unpacked = unpack(archive, bounds).err().unwrap();
    assert_eq!(unpacked.to_string(), measured.to_string());
    measured.to_string()
}

#[track_caller]
fn assert_refused(archive: &[u8], words: &str) {
    let told = told(archive, &FixtureSettings::default());
    assert!(told.contains(words), "{told}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_archive_is_read_as_it_is_and_compressed() {
    let tar = Tar::default()
        .entry(EntryType::Directory, "./", b"")
        .entry(EntryType::Directory, "./data/", b"")
        .entry(EntryType::XGlobalHeader, "pax_global_header", b"19 comment=abcdefg\n")
        .file("data/a.txt", b"one")
        .file("./data//deep/b", b"")
        .entry(EntryType::Regular, "old/", b"")
        .end();
    let expected = FixtureContents { files: 5, bytes: 3 };
    let zstd = zstd::bulk::compress(&tar, 19).unwrap();
    for archive in [tar.clone(), gzip(&tar), zstd] {
        let (root, contents) = unpack(&archive, &FixtureSettings::default()).unwrap();
        assert_eq!(contents, expected);
        assert_eq!(measure(&archive, &FixtureSettings::default()).unwrap(), expected);
        assert_eq!(root.find("data/a.txt").unwrap().read(0, 10).unwrap(), b"one");
        assert_eq!(root.find("data/deep/b").unwrap().size(), 0);
        assert_eq!(root.find("old").unwrap().kind(), Kind::Directory);
    }
}

#[test]
fn long_names_are_read_whole() {
    let name = format!("{}/{}", "d".repeat(200), "ö".repeat(100));
    let mut gnu = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    gnu.append_data(&mut header, &name, &b"x"[..]).unwrap();
    let pax = format!("path={name}\n");
    // The length of a record counts its own digits.
    let pax = format!("{} {pax}", pax.len() + 4);
    let pax = Tar::default().entry(EntryType::XHeader, "x", pax.as_bytes()).file("cut", b"x").end();
    for archive in [gnu.into_inner().unwrap(), pax] {
        let (root, _) = unpack(&archive, &FixtureSettings::default()).unwrap();
        assert_eq!(root.find(&name).unwrap().read(0, 10).unwrap(), b"x");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (name, words) in [
        (&b"../a"[..], "leads out of its directory"),
        (b"a/../../b", "leads out of its directory"),
        (b"/etc/passwd", "is an absolute path"),
        (b"a\nb", "control characters"),
        (b"\xff", "not UTF-8"),
    ] {
        assert_refused(&Tar::default().file(name, b"").end(), words);
    }
    // A long name comes by another way.
    let long = Tar::default().entry(EntryType::GNULongName, "x", b"../../a\0");
    assert_refused(&long.file("a", b"").end(), "\"../../a");
}

#[test]
fn what_is_neither_file_nor_directory_is_refused() {
    for (kind, words) in [
        (EntryType::Symlink, "is a link"),
        (EntryType::Link, "is a link"),
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a device"),
        (EntryType::new(b'V'), "of a kind that is not known"),
    ] {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_link_name("/etc/passwd").unwrap();
        header.set_path("a").unwrap();
        header.set_size(0);
        let mut tar = Tar::default();
        tar.append(&mut header, b"");
        assert_refused(&tar.end(), words);
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_path("a").unwrap();
    header.set_size(0);
    // A file of 8 EiB in no bytes at all.
    header.as_gnu_mut().unwrap().realsize = *b"777777777777";
    header.as_gnu_mut().unwrap().sparse[0].offset = *b"777777777777";
    let mut tar = Tar::default();
    tar.append(&mut header, b"");
    assert_refused(&tar.end(), "sparse file");
}

#[test]
fn no_name_stands_for_two_things() {
    let twice = Tar::default().file("a/b", b"1").file("./a//b", b"2");
    assert_refused(&twice.end(), "\"a/b\" is there twice");
    let below = Tar::default().file("a", b"").file("a/b", b"");
    assert_refused(&below.end(), "\"a\" is a file and a directory");
    let above = Tar::default().file("a/b", b"").file("a", b"");
    assert_refused(&above.end(), "\"a\" is there twice");
    let directory = Tar::default().file("a", b"").entry(EntryType::Directory, "a/", b"");
    assert_refused(&directory.end(), "\"a\" is a file and a directory");
    let nameless = Tar::default().file("./", b"x");
    assert_refused(&nameless.end(), "is there twice");
}

#[test]
fn what_is_no_archive_is_told() {
    assert_refused(b"", "has no files");
    assert_refused(&[0; 1024], "has no files");
    assert_refused(&Tar::default().entry(EntryType::Directory, "./", b"").end(), "has no files");
    assert_refused(b"PK\x03\x04 and so on", "send a tar archive");
    assert_refused(&[b'x'; 2048], "send a tar archive");
    assert_refused(&gzip(&[b'x'; 2048]), "send a tar archive");
    let tar = Tar::default().file("a", &[1; 2000]).end();
    assert_refused(&tar[..1000], "breaks off");
    assert_refused(&tar[..300], "read the fixtures");
    let packed = gzip(&tar);
    assert_refused(&packed[..packed.len() / 2], "read the fixtures");
    let packed = zstd::bulk::compress(&tar, 1).unwrap();
    assert_refused(&packed[..packed.len() / 2], "read the fixtures");
}

#[test]
fn a_bomb_costs_no_more_than_the_bounds_allow() {
    let bounds = FixtureSettings { unpacked_bytes: 1 << 20, ..FixtureSettings::default() };
    let zeroes = Tar::default().file("a", &vec![0; 2 << 20]).end();
    for archive in [zeroes.clone(), gzip(&zeroes), zstd::bulk::compress(&zeroes, 19).unwrap()] {
        assert!(told(&archive, &bounds).contains("`sandbox.fixtures.unpacked_bytes`"));
    }
    // In sum, and without the bytes that it says.
    let halves = Tar::default().file("a", &vec![0; 600 << 10]).file("b", &vec![0; 600 << 10]);
    assert!(told(&halves.end(), &bounds).contains("1048576 are allowed"));
    let mut header = Header::new_gnu();
    header.set_path("a").unwrap();
    header.set_size(1 << 60);
    let mut tar = Tar::default();
    tar.append(&mut header, b"");
    assert!(told(&tar.end(), &bounds).contains("are allowed"));
    // A name or a directory that would take it all.
    for kind in [EntryType::GNULongName, EntryType::XHeader, EntryType::XGlobalHeader] {
        let name = Tar::default().entry(kind, "x", &vec![b'a'; 1 << 20]).file("a", b"").end();
        assert_refused(&gzip(&name), "header is too large");
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_path("a").unwrap();
    header.set_size(1 << 19);
    let mut tar = Tar::default();
    tar.append(&mut header, &vec![0; 1 << 19]);
    assert_refused(&tar.file("b", b"").end(), "header is too large");
    // zstd would take as much memory as its window.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&zeroes).unwrap();
    assert_refused(&encoder.finish().unwrap(), "read the fixtures");
}

#[test]
fn there_are_bounds_on_files_and_on_paths() {
    let bounds =
        FixtureSettings { files: 3, path_bytes: 10, depth: 3, ..FixtureSettings::default() };
    let fits = Tar::default().file("a/b/c", b"").end();
    assert_eq!(measure(&fits, &bounds).unwrap().files, 3);
    for (archive, setting) in [
        (Tar::default().file("a/b/c", b"").file("d", b""), "files"),
        (Tar::default().file("a/b/c/d", b""), "depth"),
        (Tar::default().file("a/234567890", b""), "path_bytes"),
    ] {
        let archive = archive.end();
        assert!(told(&archive, &bounds).contains(&format!("`sandbox.fixtures.{setting}`")));
        let bound = measure(&archive, &bounds).unwrap_err().bound().unwrap();
        assert_eq!(bound, format!("sandbox.fixtures.{setting}"));
    }
    let long = Tar::default().entry(EntryType::GNULongName, "x", &[b'a'; 256]).file("a", b"");
    assert_refused(&long.end(), "more than 255 bytes");
    let deep = "a/".repeat(40);
    let deep = Tar::default().file(deep.trim_end_matches('/'), b"").end();
    assert_refused(&deep, "40 steps, 32 are allowed");
}
