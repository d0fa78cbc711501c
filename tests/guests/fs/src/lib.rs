//! Files in the scratch directory, and attempts to leave it.

use handoff_sdk::{Context, Result, ensure, ensure_eq};
use std::fs;
use std::path::Path;

handoff_sdk::suite! { name: "fs" }

#[handoff_sdk::test]
fn writes_and_reads() -> Result {
    fs::write("/tmp/a.txt", "one\ntwo")?;
    ensure_eq!(fs::read_to_string("/tmp/a.txt")?, "one\ntwo");
    ensure_eq!(fs::metadata("/tmp/a.txt")?.len(), 7);
    Ok(())
}

#[handoff_sdk::test]
fn appends_seeks_and_truncates() -> Result {
    use std::io::{Read, Seek, SeekFrom, Write};
    fs::write("/tmp/a", "abc")?;
    fs::OpenOptions::new().append(true).open("/tmp/a")?.write_all(b"def")?;
    let mut file = fs::OpenOptions::new().read(true).write(true).open("/tmp/a")?;
    file.seek(SeekFrom::Start(2))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    ensure_eq!(rest, "cdef");
    file.seek(SeekFrom::Start(10))?;
    file.write_all(b"z")?;
    ensure_eq!(fs::read("/tmp/a")?, b"abcdef\0\0\0\0z");
    file.set_len(1)?;
    ensure_eq!(fs::read("/tmp/a")?, b"a");
    Ok(())
}

#[handoff_sdk::test]
fn lists_directories() -> Result {
    fs::create_dir_all("/tmp/d/e")?;
    fs::write("/tmp/d/f", "")?;
    let mut names: Vec<_> = fs::read_dir("/tmp/d")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    ensure_eq!(names, ["e", "f"]);
    ensure!(fs::metadata("/tmp/d/e")?.is_dir());
    Ok(())
}

#[handoff_sdk::test]
fn renames_and_removes() -> Result {
    fs::write("/tmp/a", "a")?;
    fs::create_dir("/tmp/d")?;
    fs::rename("/tmp/a", "/tmp/d/b")?;
    ensure!(!Path::new("/tmp/a").exists());
    ensure_eq!(fs::read("/tmp/d/b")?, b"a");
    ensure!(fs::remove_dir("/tmp/d").is_err(), "REMOVED A FULL DIRECTORY");
    fs::remove_file("/tmp/d/b")?;
    fs::remove_dir("/tmp/d")?;
    ensure!(fs::read_dir("/tmp")?.next().is_none());
    Ok(())
}

#[handoff_sdk::test]
fn gets_errors_for_what_is_not_there() -> Result {
    use std::io::ErrorKind::{AlreadyExists, NotFound};
    ensure_eq!(fs::read("/tmp/none").err().map(|e| e.kind()), Some(NotFound));
    ensure_eq!(fs::remove_file("/tmp/none").err().map(|e| e.kind()), Some(NotFound));
    ensure_eq!(fs::write("/tmp/none/a", "").err().map(|e| e.kind()), Some(NotFound));
    fs::create_dir("/tmp/d")?;
    ensure_eq!(fs::create_dir("/tmp/d").err().map(|e| e.kind()), Some(AlreadyExists));
    ensure!(fs::write("/tmp/d", "").is_err(), "WROTE TO A DIRECTORY");
    Ok(())
}

/// Each must fail, as an error and not as a trap.
#[handoff_sdk::test]
fn cannot_leave_the_scratch_directory(cx: &Context) -> Result {
    let mut escaped = Vec::new();
    for path in [
        "/etc/passwd",
        "/tmp/../etc/passwd",
        "/tmp/../../etc/passwd",
        "/tmp/./../../../../../../etc/passwd",
        "/tmp//../etc/passwd",
        "../etc/passwd",
        "etc/passwd",
        "/proc/self/environ",
        "/",
        "/..",
        "",
    ] {
        cx.part(&format!("reading {path:?}"), || -> Result {
            if fs::read(path).is_ok() || fs::read_dir(path).is_ok_and(|_| path != "/tmp") {
                escaped.push(path);
                handoff_sdk::bail!("ESCAPED BY {path:?}");
            }
            Ok(())
        });
    }
    for path in ["/escaped", "/tmp/../escaped", "/etc/escaped"] {
        cx.part(&format!("writing {path:?}"), || -> Result {
            if fs::write(path, "").is_ok() || fs::create_dir(path).is_ok() {
                escaped.push(path);
                handoff_sdk::bail!("ESCAPED BY {path:?}");
            }
            Ok(())
        });
    }
    ensure!(escaped.is_empty(), "ESCAPED BY {escaped:?}");
    Ok(())
}

/// Whether links may be made is up to the host; they must not lead out.
#[handoff_sdk::test]
fn cannot_leave_by_renaming_or_linking() -> Result {
    fs::write("/tmp/a", "a")?;
    ensure!(fs::rename("/tmp/a", "/tmp/../../a").is_err(), "ESCAPED BY RENAMING");
    ensure!(fs::hard_link("/tmp/a", "/tmp/../../b").is_err(), "ESCAPED BY A HARD LINK");
    ensure!(fs::read("/tmp/a/../../etc/passwd").is_err(), "ESCAPED THROUGH A FILE");
    ensure_eq!(fs::read("/tmp/a")?, b"a");
    Ok(())
}

#[handoff_sdk::test]
fn paths_inside_may_go_up_and_down() -> Result {
    fs::create_dir_all("/tmp/a/b")?;
    fs::write("/tmp/a/b/../c", "c")?;
    ensure_eq!(fs::read("/tmp/a/./c")?, b"c");
    Ok(())
}
