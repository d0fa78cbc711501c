//! Where the course of a run is written.
//!
//! In GitHub Actions whatever a step writes is searched for commands, and a line of a guest that begins
//! with `::` or has `##[` anywhere would be one: it could mark the step, mask words of the log or set an
//! output. So commands are stopped while anything but our own is written, by a word that no guest knows.

use std::io::{self, BufWriter, Write};

use super::Surroundings;
use super::github::{GitHub, data};
use super::terminal::Look;

/// A stream whose reader may leave, as in `handoff test FILE | head`: from then on nothing is written, and
/// nothing fails. The run goes on to its teardown, and the exit code is that of its result.
pub(crate) struct MayLeave<W>(Option<W>);

impl<W: Write> MayLeave<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self(Some(stream))
    }

    fn unless_left<T>(
        &mut self,
        left: T,
        work: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.0.as_mut().map(work) {
            None => Ok(left),
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.0 = None;
                Ok(left)
            }
            Some(done) => done,
        }
    }
}

impl<W: Write> Write for MayLeave<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_left(bytes.len(), |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_left((), W::flush)
    }
}

/// Standard output, for the result of a run in one piece.
pub(crate) fn result() -> BufWriter<MayLeave<io::Stdout>> {
    BufWriter::new(MayLeave::new(io::stdout()))
}

/// A stream for the course of a run.
pub(crate) struct Course {
    out: BufWriter<Box<dyn Write>>,
    /// The word that ends a stop of commands; none outside of GitHub Actions.
    word: Option<String>,
    /// Whether commands are stopped.
    is_stopped: bool,
    /// Whether a folded part was begun and not ended.
    in_group: bool,
}

impl Course {
    /// Standard output, unless that is taken by the run's result; and how it looks.
    pub(crate) fn of(stdout_is_taken: bool, surroundings: &Surroundings) -> (Self, Look) {
        let (stream, look): (Box<dyn Write>, _) = match stdout_is_taken {
            false => (Box::new(MayLeave::new(io::stdout())), surroundings.out),
            true => (Box::new(MayLeave::new(io::stderr())), surroundings.err),
        };
        (Self::on(stream, surroundings.github.as_ref()), look)
    }

    fn on(stream: Box<dyn Write>, github: Option<&GitHub>) -> Self {
        let word = github.map(|github| github.word().to_owned());
        // A line taken away and drawn again in one write does not flicker.
        Self { out: BufWriter::new(stream), word, is_stopped: false, in_group: false }
    }

    /// Begins a part that is shown folded, in GitHub Actions.
    pub(crate) fn group(&mut self, title: &str) -> io::Result<()> {
        self.in_group = true;
        self.command(&format!("::group::{}", data(title)))
    }

    /// Ends it, if one was begun.
    pub(crate) fn end_group(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_group) { self.command("::endgroup::") } else { Ok(()) }
    }

    /// Writes a command, in GitHub Actions. What was written before ends in a line break.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<()> {
        if self.word.is_none() {
            return Ok(());
        }
        self.go_on()?;
        writeln!(self.out, "{command}")
    }

    fn go_on(&mut self) -> io::Result<()> {
        match &self.word {
            Some(word) if std::mem::take(&mut self.is_stopped) => writeln!(self.out, "::{word}::"),
            _ => Ok(()),
        }
    }
}

impl Write for Course {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(word) = &self.word
            && !std::mem::replace(&mut self.is_stopped, true)
        {
            writeln!(self.out, "::stop-commands::{word}")?;
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        // Who reads it may be gone, and the commands of later programs of the step with them.
        _ = self.end_group().and_then(|()| self.go_on()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(github: Option<&GitHub>) -> String {
        let shared = Shared::default();
        let mut course = Course::on(Box::new(shared.clone()), github);
        course.group("one\ntwo").unwrap();
        writeln!(course, "   ::error::of a guest").unwrap();
        writeln!(course, "##[add-mask]e").unwrap();
        course.end_group().unwrap();
        course.end_group().unwrap();
        course.command("::warning::ours").unwrap();
        course.group("three").unwrap();
        writeln!(course, "::set-output name=a::b").unwrap();
        drop(course);
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn what_a_guest_writes_is_no_command_and_ours_are() {
        let github = GitHub::for_tests();
        let word = github.word();
        let expected = format!(
            "::group::one%0Atwo\n\
             ::stop-commands::{word}\n   ::error::of a guest\n##[add-mask]e\n::{word}::\n\
             ::endgroup::\n::warning::ours\n::group::three\n\
             ::stop-commands::{word}\n::set-output name=a::b\n::{word}::\n::endgroup::\n"
        );
        assert_eq!(written(Some(&github)), expected);
        assert_ne!(word, GitHub::for_tests().word(), "each process draws its own");
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        struct Failing(io::ErrorKind, usize);

        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                assert_eq!(self.1, 1, "nothing is written after the first failure");
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(self.0.into())
            }
        }

        let mut left = MayLeave::new(Failing(io::ErrorKind::BrokenPipe, 0));
        assert!(
            left.write_all(b"a").is_ok() && left.write_all(b"b").is_ok() && left.flush().is_ok()
        );
        assert!(MayLeave::new(Failing(io::ErrorKind::BrokenPipe, 0)).flush().is_ok());
        assert!(MayLeave::new(Failing(io::ErrorKind::StorageFull, 0)).write_all(b"a").is_err());
    }

    #[test]
    fn elsewhere_nothing_is_added() {
        let plain = "   ::error::of a guest\n##[add-mask]e\n::set-output name=a::b\n";
        assert_eq!(written(None), plain);
    }
}
