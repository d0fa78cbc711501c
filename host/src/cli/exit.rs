//! How a command ends: the exit codes, and the errors that lead to them.

use std::fmt;
use std::process::ExitCode;

use crate::compile::CompileError;
use crate::config::ConfigError;
use crate::model::{PlanError, Run, RunStatus, TestStatus};
use crate::runner::HeadlessError;
use crate::wasm::{DescribeError, FixturesError, PackError};

/// What a command's exit code says. The numbers are part of the interface: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it should; a run passed.
    Passed,
    /// A test failed.
    TestsFailed,
    /// All passed, some only when tried again, and that was asked to count (`--fail-on-flaky`).
    Flaky,
    /// Nothing matched, so nothing was run.
    NoTests,
    /// The command line, or a file it names, is wrong; or the server refused what was asked, and would
    /// again.
    Usage,
    /// The server could not be reached, lets us not in, or cannot do it at present.
    Server,
    /// The platform itself is at fault.
    Platform,
    /// The run took longer than the command was willing to wait.
    WaitedTooLong,
    /// Somebody stopped it.
    Interrupted,
}

impl Exit {
    /// The word for it, as other programs read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::TestsFailed => "failed",
            Self::Flaky => "flaky",
            Self::NoTests => "no-tests",
            Self::Usage => "usage",
            Self::Server => "server",
            Self::Platform => "error",
            Self::WaitedTooLong => "waited-too-long",
            Self::Interrupted => "cancelled",
        }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::TestsFailed => 100,
            Self::Flaky => 101,
            Self::NoTests => 4,
            Self::Usage => 2,
            Self::Server => 96,
            Self::Platform => 102,
            Self::WaitedTooLong => 103,
            Self::Interrupted => 130,
        }
    }

    /// What a run that ended means. A run whose tests were all skipped passed.
    pub(crate) fn of_run(run: &Run, fail_on_flaky: bool) -> Self {
        match run.status {
            RunStatus::Passed if fail_on_flaky && run.counts().flaky > 0 => Self::Flaky,
            RunStatus::Passed => Self::Passed,
            RunStatus::Failed => Self::TestsFailed,
            RunStatus::Cancelled => Self::Interrupted,
            RunStatus::Error | RunStatus::Queued | RunStatus::Running => Self::Platform,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A command that could not do its work: what to tell, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What to tell; see the `Display` of this.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// A message that stands alone.
    pub(crate) fn told(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, error: Sentence(message.into()).into() }
    }

    /// The command line, or a file it names, is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// The server could not be reached, or used.
    pub(crate) fn server(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Server, error: error.into() }
    }

    /// The platform itself is at fault.
    pub(crate) fn platform(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Platform, error: error.into() }
    }

    /// Whether the server heard what was asked and refused it.
    pub(crate) fn is_refusal(&self) -> bool {
        self.error.is::<Refused>()
    }

    /// Whether the reader of our output went away, as in `handoff runs | head`.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let error = self.error.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The server's answer is that it does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// A message that stands alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

/// Errors are fragments that read after "failed to"; messages that stand alone are written as they are.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.error;
        if !(error.is::<Sentence>() || error.is::<Refused>() || error.is::<PlanError>()) {
            f.write_str("failed to ")?;
        }
        // A cause that its own error already quotes is not told twice.
        let mut told = self.error.to_string();
        f.write_str(&told)?;
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            if !told.contains(&cause) {
                write!(f, ": {cause}")?;
                told = cause;
            }
        }
        Ok(())
    }
}

/// Output that cannot be written, a directory that cannot be made.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::platform(anyhow::Error::new(error).context("do input or output"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<HeadlessError> for Failure {
    fn from(error: HeadlessError) -> Self {
        match error {
            HeadlessError::Compile(error) => error.into(),
            HeadlessError::Describe(error) => error.into(),
            HeadlessError::Plan(error @ PlanError::NothingMatches(..)) => {
                Self { exit: Exit::NoTests, error: error.into() }
            }
            HeadlessError::Plan(error) => Self::usage(error),
            error @ HeadlessError::NoArguments => Self::usage(error),
            HeadlessError::Fixtures(error) => error.into(),
            error => Self::platform(error),
        }
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Host(_) | CompileError::Unread(_) | CompileError::Busy => {
                Self::platform(error)
            }
            // The component is at fault, and that is a file that the command line names.
            error => Self::usage(error),
        }
    }
}

impl From<DescribeError> for Failure {
    fn from(error: DescribeError) -> Self {
        match error {
            DescribeError::Host(_) | DescribeError::Busy(_) => Self::platform(error),
            error => Self::usage(error),
        }
    }
}

impl From<FixturesError> for Failure {
    fn from(error: FixturesError) -> Self {
        match error {
            FixturesError::Host(_) => Self::platform(error),
            error => Self::usage(error),
        }
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        Self::usage(error)
    }
}

/// Whether a test's end is worth telling in full at the end.
pub(crate) fn is_worth_telling(status: TestStatus) -> bool {
    matches!(status, TestStatus::Failed | TestStatus::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    #[test]
    fn a_run_ends_the_command_by_its_verdict() {
        let mut run = sample::finished();
        for (status, expected) in [
            (RunStatus::Failed, 100),
            (RunStatus::Error, 102),
            (RunStatus::Cancelled, 130),
            (RunStatus::Running, 102),
        ] {
            run.status = status;
            assert_eq!(Exit::of_run(&run, true).code(), expected, "{status:?}");
        }
        run.status = RunStatus::Passed;
        assert_eq!(Exit::of_run(&run, false).code(), 0);
        assert_eq!(Exit::of_run(&run, true).code(), 101);
    }

    #[test]
    fn what_matches_nothing_is_told_apart_from_what_is_wrong() {
        let nothing = PlanError::NothingMatches("the filter \"x\"".into(), "\"a\"".into());
        assert_eq!(Failure::from(HeadlessError::Plan(nothing)).exit.code(), 4);
        let wrong = PlanError::Filter("(".into());
        assert_eq!(Failure::from(HeadlessError::Plan(wrong)).exit.code(), 2);
        let host = HeadlessError::Sandbox(anyhow::anyhow!("no memory"));
        assert_eq!(Failure::from(host).exit.code(), 102);
        assert_eq!(Exit::Server.code(), 96);
        assert_eq!(Exit::WaitedTooLong.code(), 103);
    }

    #[test]
    fn a_reader_that_went_away_is_known() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::from(gone).is_broken_pipe());
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!Failure::from(full).is_broken_pipe());
    }

    #[test]
    fn a_message_that_stands_alone_is_told_as_it_is() {
        assert_eq!(Failure::told(Exit::Usage, "there is none").to_string(), "there is none");
        let nothing = PlanError::Filter("(".into());
        let told = Failure::from(HeadlessError::Plan(nothing)).to_string();
        assert_eq!(told, "the filter is not a regular expression: (");
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow::anyhow!("connection refused");
        let failure = Failure::server(inner.context("reach the server"));
        assert_eq!(failure.to_string(), "failed to reach the server: connection refused");
        let inner = anyhow::anyhow!("connection refused");
        let failure = Failure::server(inner.context("reach it (connection refused)"));
        assert_eq!(failure.to_string(), "failed to reach it (connection refused)");
    }
}
