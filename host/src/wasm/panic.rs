//! Finds a language's panic or uncaught exception in what a guest wrote to stderr: a trap itself
//! never carries the message.

use crate::model::{Failure, Location, LogLine, Source};

/// The last panic or uncaught exception on stderr.
pub(super) fn find(log: &[LogLine]) -> Option<Failure> {
    let lines: Vec<&str> =
        log.iter().filter(|l| l.source == Source::Stderr).map(|l| l.text.as_str()).collect();
    // The last one counts: the earlier ones were caught.
    (0..lines.len()).rev().find_map(|at| {
        let (line, rest) = (lines[at], &lines[at + 1..]);
        rust(line, rest).or_else(|| python(line, rest)).or_else(|| go(line)).or_else(|| c(line))
    })
}

/// The last line on stderr that says something.
pub(super) fn last_words(log: &[LogLine]) -> Option<&str> {
    let mut lines = log.iter().rev().filter(|line| line.source == Source::Stderr);
    lines.find(|line| !line.text.trim().is_empty()).map(|line| line.text.as_str())
}

/// `thread 'main' (1) panicked at src/lib.rs:10:5:`, and the message on the next lines.
fn rust(line: &str, rest: &[&str]) -> Option<Failure> {
    let (before, place) = line.split_once(" panicked at ")?;
    if !before.starts_with("thread ") {
        return None;
    }
    let mut parts = place.trim_end_matches(':').rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let file = parts.next()?.to_owned();
    let message = rest.iter().take_while(|l| !l.starts_with("note: ")).copied();
    let message = message.collect::<Vec<_>>().join("\n").trim_end().to_owned();
    Some(Failure { message, location: Some(Location { file, line, column: Some(column) }) })
}

/// `Traceback (most recent call last):`, frames, and the exception on the first line that is not
/// indented.
fn python(line: &str, rest: &[&str]) -> Option<Failure> {
    if line != "Traceback (most recent call last):" {
        return None;
    }
    let end = rest.iter().position(|line| !line.starts_with(' ') && !line.is_empty())?;
    let location = rest[..end].iter().rev().find_map(|line| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let line = rest.split(',').next()?.parse().ok()?;
        Some(Location { file: file.to_owned(), line, column: None })
    });
    Some(Failure { message: rest[end].to_owned(), location })
}

/// `panic: message` or `fatal error: message`, and the goroutines after it.
fn go(line: &str) -> Option<Failure> {
    let message = line.strip_prefix("panic: ").or_else(|| line.strip_prefix("fatal error: "))?;
    Some(Failure { message: message.to_owned(), location: None })
}

/// `Assertion failed: x == 1 (test.c: check: 12)`
fn c(line: &str) -> Option<Failure> {
    let (message, place) = line.strip_prefix("Assertion failed: ")?.rsplit_once(" (")?;
    let mut parts = place.strip_suffix(')')?.rsplitn(3, ": ");
    let line = parts.next()?.parse().ok()?;
    let file = parts.last()?.to_owned();
    let message = format!("assertion failed: {message}");
    Some(Failure { message, location: Some(Location { file, line, column: None }) })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    type Place = (String, u32, Option<u32>);

    fn found(stderr: &str) -> Option<(String, Option<Place>)> {
        let line = |text: &str| LogLine {
            at: Timestamp::UNIX_EPOCH,
            source: Source::Stderr,
            text: text.into(),
        };
        let log: Vec<_> = stderr.lines().map(line).collect();
        let failure = find(&log)?;
        Some((failure.message, failure.location.map(|l| (l.file, l.line, l.column))))
    }

    #[test]
    fn a_rust_panic_is_found_with_all_of_its_message() {
        let stderr = "\nthread '<unnamed>' (1) panicked at src/lib.rs:10:5:\n\
            assertion `left == right` failed: totals\n  left: 1\n right: 2\n\
            note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        let message = "assertion `left == right` failed: totals\n  left: 1\n right: 2";
        let place = ("src/lib.rs".to_owned(), 10, Some(5));
        assert_eq!(found(stderr), Some((message.into(), Some(place))));
        let older = "thread 'a' panicked at C:\\x.rs:1:2:\nboom";
        assert_eq!(found(older), Some(("boom".into(), Some(("C:\\x.rs".into(), 1, Some(2))))));
    }

    #[test]
    fn other_languages_say_it_their_way() {
        let python = "Traceback (most recent call last):\n  File \"app.py\", line 7, in run\n    \
            check()\n  File \"lib.py\", line 3, in check\n    assert x == 1\nAssertionError: no\n";
        assert_eq!(
            found(python),
            Some(("AssertionError: no".into(), Some(("lib.py".into(), 3, None))))
        );
        let go = "panic: runtime error: index out of range [3] with length 2\n\ngoroutine 1 [running]:\nmain.main()";
        assert_eq!(
            found(go),
            Some(("runtime error: index out of range [3] with length 2".into(), None))
        );
        let c = "Assertion failed: x == (1) (a.c: check: 12)";
        assert_eq!(
            found(c),
            Some(("assertion failed: x == (1)".into(), Some(("a.c".into(), 12, None))))
        );
    }

    #[test]
    fn other_text_is_no_panic() {
        for text in
            ["", "the cat panicked at x", "thread 'a' panicked at nowhere", "Traceback", "panic!"]
        {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_panic_counts() {
        let stderr = "thread 'a' panicked at a.rs:1:1:\none\nthread 'a' panicked at b.rs:2:2:\ntwo";
        assert_eq!(found(stderr).unwrap().0, "two");
    }
}
