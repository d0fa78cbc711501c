//! The rules of the tree, without WASI.

use super::*;

fn tree(max_bytes: u64, max_files: u64) -> (Arc<Node>, LimitsHit) {
    let hits = LimitsHit::default();
    (Node::root(&Space::new(max_bytes, max_files, hits.clone())).unwrap(), hits)
}

fn create(root: &Arc<Node>, path: &str) -> Result<Arc<Node>> {
    root.open(path, Open { create: true, exclusive: true, ..Open::default() })
}

fn names(dir: &Node) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while let Some((name, _)) = dir.entry_after(names.last().map(String::as_str)).unwrap() {
        names.push(name);
    }
    names
}

fn fault<T>(result: Result<T>) -> Fault {
    result.err().unwrap()
}

#[test]
fn a_file_is_written_read_cut_and_extended() {
    let (root, _) = tree(100, 10);
    let file = create(&root, "f").unwrap();
    file.write(0, b"hello").unwrap();
    file.append(b" world").unwrap();
    file.write(6, b"W").unwrap();
    assert_eq!(file.read(0, 100).unwrap(), b"hello World");
    assert_eq!(file.read(6, 2).unwrap(), b"Wo");
    assert_eq!(file.read(11, 1).unwrap(), b"");
    assert_eq!(file.read(u64::MAX, usize::MAX).unwrap(), b"");
    file.write(13, b"!").unwrap();
    assert_eq!(file.read(10, 10).unwrap(), b"d\0\0!");
    file.set_size(2).unwrap();
    file.set_size(4).unwrap();
    assert_eq!(root.find("f").unwrap().read(0, 9).unwrap(), b"he\0\0");
    root.open("f", Open { truncate: true, ..Open::default() }).unwrap();
    assert_eq!(file.size(), 0);
}

#[test]
fn bytes_are_bounded_and_come_back() {
    let (root, hits) = tree(10, 10);
    let file = create(&root, "f").unwrap();
    file.write(0, b"12345678").unwrap();
    assert_eq!(fault(file.append(b"901")), Fault::InsufficientSpace);
    assert_eq!(file.read(0, 99).unwrap(), b"12345678");
    assert_eq!(hits.take(), [Limit::ScratchBytes]);
    for (offset, data) in [(u64::MAX, "x"), (1 << 40, "x"), (10, "x"), (u64::MAX - 1, "xx")] {
        assert_eq!(fault(file.write(offset, data.as_bytes())), Fault::InsufficientSpace);
    }
    assert_eq!(fault(file.set_size(u64::MAX)), Fault::InsufficientSpace);
    assert_eq!(file.write(u64::MAX, b""), Ok(()));
    assert_eq!(file.size(), 8);
    // An open file keeps its share after it is unlinked.
    root.unlink("f").unwrap();
    let other = create(&root, "g").unwrap();
    assert_eq!(fault(other.write(0, b"123")), Fault::InsufficientSpace);
    assert_eq!(file.read(0, 2).unwrap(), b"12");
    drop(file);
    other.write(0, b"1234567890").unwrap();
    other.set_size(1).unwrap();
    create(&root, "h").unwrap().write(0, b"123456789").unwrap();
}

#[test]
fn what_is_reserved_stays_near_what_is_counted() {
    let (root, _) = tree(1 << 20, 10);
    let file = create(&root, "f").unwrap();
    for _ in 0..1024 {
        file.append(&[7; 1000]).unwrap();
    }
    let bytes = file.bytes().unwrap();
    assert!(bytes.capacity() <= bytes.len() + bytes.len() / 8 + 1000, "{}", bytes.capacity());
}

#[test]
fn files_are_bounded_and_come_back() {
    let (root, hits) = tree(10, 2);
    root.create_dir("d").unwrap();
    create(&root, "d/f").unwrap();
    assert_eq!(fault(create(&root, "g")), Fault::InsufficientSpace);
    assert_eq!(fault(root.create_dir("e")), Fault::InsufficientSpace);
    assert_eq!(hits.take(), [Limit::ScratchFiles]);
    assert_eq!(names(&root), ["d"]);
    root.unlink("d/f").unwrap();
    create(&root, "g").unwrap();
    assert_eq!(fault(create(&root, "h")), Fault::InsufficientSpace);
}

#[test]
fn paths_stay_below_where_they_start() {
    let (root, _) = tree(10, 10);
    root.create_dir("a").unwrap();
    root.create_dir("a/b").unwrap();
    create(&root, "a/f").unwrap();
    for out in ["..", "../x", "a/../..", "a/../../a", "/", "/tmp", "./../x"] {
        assert_eq!(fault(root.find(out)), Fault::NotPermitted, "{out}");
        assert_eq!(fault(create(&root, out)), Fault::NotPermitted, "{out}");
    }
    let a = root.find("a").unwrap();
    assert_eq!(fault(a.find("..")), Fault::NotPermitted);
    for (path, same) in [(".", "a/.."), ("a", "a/b/.."), ("a//b/", "./a/./b"), ("a", "a/b/../.")] {
        assert!(Arc::ptr_eq(&root.find(path).unwrap(), &root.find(same).unwrap()), "{same}");
    }
    for no_dir in ["a/f/", "a/f/.", "a/f/..", "a/f/x"] {
        assert_eq!(fault(root.find(no_dir)), Fault::NotDirectory, "{no_dir}");
    }
    assert_eq!(fault(root.find("")), Fault::NoEntry);
    assert_eq!(fault(root.find("a/x/../b")), Fault::NoEntry);
    assert_eq!(fault(root.find("a\0b")), Fault::Invalid);
    assert_eq!(fault(create(&root, &"x".repeat(256))), Fault::NameTooLong);
    assert_eq!(fault(root.find(&"a/../".repeat(1000))), Fault::NameTooLong);
    create(&root, &"ü".repeat(127)).unwrap();
}

#[test]
fn opening_minds_what_is_there() {
    let (root, _) = tree(10, 10);
    root.create_dir("d").unwrap();
    create(&root, "f").unwrap();
    let open = |path, how| root.open(path, how).map(|node| node.kind());
    let (create, directory, truncate) = (
        Open { create: true, ..Open::default() },
        Open { directory: true, ..Open::default() },
        Open { truncate: true, ..Open::default() },
    );
    assert_eq!(open("f", create), Ok(Kind::File));
    assert_eq!(open("g", create), Ok(Kind::File));
    assert_eq!(open("g", Open { exclusive: true, ..create }), Err(Fault::Exist));
    assert_eq!(open("h/", create), Err(Fault::IsDirectory));
    assert_eq!(open("x/h", create), Err(Fault::NoEntry));
    assert_eq!(open("h", Open::default()), Err(Fault::NoEntry));
    assert_eq!(open("d", directory), Ok(Kind::Directory));
    assert_eq!(open("f", directory), Err(Fault::NotDirectory));
    assert_eq!(open("d", truncate), Err(Fault::IsDirectory));
    assert_eq!(open("d", Open { directory: true, ..create }), Err(Fault::Invalid));
}

#[test]
fn removing_minds_what_is_there() {
    let (root, _) = tree(10, 10);
    root.create_dir("d").unwrap();
    create(&root, "d/f").unwrap();
    assert_eq!(fault(root.create_dir("d")), Fault::Exist);
    assert_eq!(fault(root.create_dir("d/f")), Fault::Exist);
    assert_eq!(fault(root.create_dir(".")), Fault::Exist);
    assert_eq!(fault(root.remove_dir("d")), Fault::NotEmpty);
    assert_eq!(fault(root.remove_dir("d/f")), Fault::NotDirectory);
    assert_eq!(fault(root.remove_dir(".")), Fault::Invalid);
    assert_eq!(fault(root.remove_dir("x")), Fault::NoEntry);
    assert_eq!(fault(root.unlink("d")), Fault::IsDirectory);
    assert_eq!(fault(root.unlink("d/f/")), Fault::NotDirectory);
    root.unlink("d/f").unwrap();
    let held = root.find("d").unwrap();
    root.remove_dir("d/").unwrap();
    assert_eq!(fault(create(&held, "f")), Fault::NoEntry);
    assert_eq!(fault(held.create_dir("e")), Fault::NoEntry);
    assert_eq!(names(&root), Vec::<String>::new());
}

#[test]
fn renaming_moves_and_replaces_like_with_like() {
    let (root, _) = tree(10, 20);
    for dir in ["a", "b", "a/c", "full"] {
        root.create_dir(dir).unwrap();
    }
    create(&root, "f").unwrap().write(0, b"f").unwrap();
    create(&root, "full/x").unwrap();
    let rename = |from: &str, to: &str| root.rename(from, &root, to);
    assert_eq!(rename("f", "a/c/g"), Ok(()));
    assert_eq!(root.find("a/c/g").unwrap().read(0, 9).unwrap(), b"f");
    assert_eq!(rename("f", "g"), Err(Fault::NoEntry));
    assert_eq!(rename("a", "a"), Ok(()));
    assert_eq!(rename("a", "a/c/a"), Err(Fault::Invalid));
    assert_eq!(rename("a", "a/a"), Err(Fault::Invalid));
    assert_eq!(rename("a", "full"), Err(Fault::NotEmpty));
    assert_eq!(rename("a", "full/x"), Err(Fault::NotDirectory));
    assert_eq!(rename("full/x", "a"), Err(Fault::IsDirectory));
    assert_eq!(rename("full/x", "y/"), Err(Fault::NotDirectory));
    assert_eq!(rename(".", "y"), Err(Fault::Invalid));
    assert_eq!(rename("a", "b"), Ok(()));
    assert_eq!(names(&root), ["b", "full"]);
    // What was moved knows where it is now.
    assert_eq!(rename("full", "b/c/full"), Ok(()));
    let full = root.find("b/c/full").unwrap();
    assert_eq!(root.rename("b", &full, "b"), Err(Fault::Invalid));
    let (other, _) = tree(10, 10);
    assert_eq!(root.rename("b", &other, "b"), Err(Fault::CrossDevice));
}

#[test]
fn a_directory_can_be_listed_while_it_changes() {
    let (root, _) = tree(10, 10);
    for name in ["c", "a", "b"] {
        create(&root, name).unwrap();
    }
    assert_eq!(names(&root), ["a", "b", "c"]);
    assert_eq!(root.entry_after(Some("a")).unwrap(), Some(("b".into(), Kind::File)));
    root.unlink("b").unwrap();
    assert_eq!(root.entry_after(Some("b")).unwrap(), Some(("c".into(), Kind::File)));
    assert_eq!(fault(root.find("a").unwrap().entry_after(None)), Fault::NotDirectory);
}

#[test]
fn a_tree_deeper_than_the_stack_can_be_dropped() {
    let (root, _) = tree(10, 200_000);
    let mut at = root.clone();
    for _ in 0..100_000 {
        at.create_dir("d").unwrap();
        at = at.find("d").unwrap();
    }
    assert!(at.is_within(&root));
    let space = root.space.clone();
    drop((at, root));
    assert_eq!(space.nodes.load(Ordering::Relaxed), 0);
}

#[test]
fn times_follow_changes_and_can_be_set() {
    let (root, _) = tree(10, 10);
    let file = create(&root, "f").unwrap();
    let then = SystemTime::UNIX_EPOCH;
    file.set_times(Some(then), Some(then));
    assert_eq!((file.times().accessed, file.times().modified), (then, then));
    file.write(0, b"x").unwrap();
    assert_eq!(file.times().accessed, then);
    assert!(file.times().modified > then && file.times().changed > then);
    root.set_times(None, Some(then));
    create(&root, "g").unwrap();
    assert!(root.times().modified > then);
}
