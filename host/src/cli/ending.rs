//! What is told when a run has ended, the same for one on a server and one without.

use std::io;

use super::course::Course;
use super::failures::{Failed, write_failure, write_more};
use super::github::{Details, GitHub};
use super::progress::Progress;
use super::terminal::Look;
use crate::model::Run;

/// The end of a run while it is told.
pub(crate) struct Ending<'a> {
    run: &'a Run,
    look: Look,
    github: Option<&'a GitHub>,
    /// What was told of each failure, for GitHub Actions.
    details: Vec<Details>,
}

impl<'a> Ending<'a> {
    /// Begins when the course has been shown.
    pub(crate) fn of(
        run: &'a Run,
        progress: &mut Progress<Course>,
        look: Look,
        github: Option<&'a GitHub>,
    ) -> io::Result<Self> {
        progress.erase()?;
        progress.out().end_group()?;
        Ok(Self { run, look, github, details: Vec::new() })
    }

    /// Tells of a failure in full.
    pub(crate) fn failure(&mut self, out: &mut Course, failed: &Failed<'_>) -> io::Result<()> {
        let suite = self.run.spec.suite.name.as_str();
        out.group(&format!("{suite} {}", failed.name()))?;
        for attempt in &failed.attempts {
            write_failure(out, self.look, suite, failed, attempt)?;
        }
        if self.github.is_some() {
            self.details.push(Details::of(suite, failed));
        }
        out.end_group()
    }

    /// Sums up a run with these failures.
    pub(crate) fn sum_up(
        &self,
        progress: &mut Progress<Course>,
        failed: &[Failed<'_>],
    ) -> io::Result<()> {
        write_more(progress.out(), failed.len())?;
        progress.summary()
    }

    /// Tells GitHub Actions how it ended.
    pub(crate) fn conclude(self, out: &mut Course, failed: &[Failed<'_>]) -> io::Result<()> {
        let Some(github) = self.github else { return Ok(()) };
        for annotation in github.annotations(self.run, failed) {
            out.command(&annotation)?;
        }
        github.sum_up(self.run, &self.details);
        Ok(())
    }
}
