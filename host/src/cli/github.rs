//! GitHub Actions: failures as annotations, the step's summary, its outputs.
//!
//! The forms are those of GitHub's page "Workflow commands for GitHub Actions". How many annotations a
//! step may have is in its page "Actions limits": ten errors and ten warnings.

mod summary;

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::When;
use super::exit::{Exit, Failure};
use super::failures::Failed;
use super::terminal::{safe, safe_line};
use crate::config::Environment;
use crate::model::{Attempt, Location, Run, RunId, Stage, TestStatus, short};

pub(crate) use summary::Details;

/// How many annotations of one kind a step has.
const MAX_ANNOTATIONS: usize = 10;
/// The longest message of an annotation, and the longest title.
const MESSAGE_BYTES: usize = 4 << 10;
const TITLE_BYTES: usize = 200;

/// The step that we run in.
#[derive(Debug)]
pub(crate) struct GitHub {
    /// Ends a stop of commands. Drawn anew by each process and shown to no guest.
    word: String,
    /// The checkout.
    workspace: Option<PathBuf>,
    /// The file for the step's summary.
    summary: Option<PathBuf>,
    /// The file for the step's outputs.
    outputs: Option<PathBuf>,
}

/// What annotations a run gets.
#[derive(Default)]
struct Annotations {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl GitHub {
    /// The step that the environment tells of, if we run in one.
    pub(crate) fn of(when: When, environment: &Environment) -> Option<Self> {
        let is_there = environment.get("GITHUB_ACTIONS") == Some("true");
        let path = |name| environment.get(name).map(PathBuf::from);
        let step = || Self {
            word: format!("handoff-{:032x}", rand::random::<u128>()),
            workspace: path("GITHUB_WORKSPACE"),
            summary: path("GITHUB_STEP_SUMMARY"),
            outputs: path("GITHUB_OUTPUT"),
        };
        match when {
            When::Never => None,
            When::Auto => is_there.then(step),
            When::Always => Some(step()),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::of(When::Always, &Environment::default()).unwrap()
    }

    /// The word that ends a stop of commands.
    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    /// The annotations of a run: commands, one a line.
    pub(crate) fn annotations(&self, run: &Run, failed: &[Failed<'_>]) -> Vec<String> {
        let mut all = Annotations::default();
        for part in failed {
            let Some(attempt) = part.attempts.last() else { continue };
            let (kind, list) = match is_error(run, &part.stage) {
                true => ("error", &mut all.errors),
                false => ("warning", &mut all.warnings),
            };
            list.push(self.annotation(kind, run, part, attempt));
        }
        let Annotations { errors, warnings } = all;
        bounded("error", "failed", errors)
            .chain(bounded("warning", "failed softly or was flaky", warnings))
            .collect()
    }

    fn annotation(&self, kind: &str, run: &Run, part: &Failed<'_>, attempt: &Attempt) -> String {
        let flaky = matches!(&part.stage, Stage::Test(name)
            if run.test(name).is_some_and(|test| test.status == TestStatus::Passed));
        let more = if flaky { ", flaky" } else { "" };
        let cause = attempt.cause.map_or(attempt.status.as_str(), |cause| cause.as_str());
        let title = format!("{} {} ({cause}{more})", run.spec.suite.name, part.name());
        let message = attempt.message.as_deref().unwrap_or("it has no message");
        let mut message = short(&safe(message, false), MESSAGE_BYTES);
        let mut properties = Vec::new();
        if let Some(location) = &attempt.location {
            match self.in_checkout(&location.file) {
                Some(file) => properties = place(&file, location),
                None => message += &format!("\nat {}:{}", safe_line(&location.file), location.line),
            }
        }
        properties.push(("title", short(&title, TITLE_BYTES)));
        command(kind, &properties, &message)
    }

    /// The file's path in the checkout; none if it is not there.
    fn in_checkout(&self, file: &str) -> Option<String> {
        let workspace = self.workspace.as_ref()?.canonicalize().ok()?;
        // Tools name files from where they were started, which is often below the checkout's root.
        let starts = [workspace.clone(), std::env::current_dir().ok()?];
        starts.iter().find_map(|start| below(&workspace, &start.join(file)))
    }

    /// Appends a run to the step's summary. Of what cannot be written, only a word is told: the run's
    /// result stands.
    pub(crate) fn sum_up(&self, run: &Run, details: &[Details]) {
        if let Some(path) = &self.summary {
            note("the step's summary", summary::append(path, run, details));
        }
    }

    /// Sets the output `verdict` of the step.
    pub(crate) fn tell_verdict(&self, exit: Exit) {
        self.output("verdict", exit.as_str());
    }

    /// Sets the output `run-id` of the step.
    pub(crate) fn tell_run(&self, run: RunId) {
        self.output("run-id", run);
    }

    /// Sets an output of the step to a value of one line.
    fn output(&self, name: &str, value: impl Display) {
        let Some(path) = &self.outputs else { return };
        let file = OpenOptions::new().append(true).create(true).open(path);
        note("the step's outputs", file.and_then(|mut file| writeln!(file, "{name}={value}")));
    }
}

/// A command that failed, as an annotation.
pub(crate) fn failure(failure: &Failure) -> String {
    let message = short(&safe(&failure.to_string(), false), MESSAGE_BYTES);
    command("error", &[("title", "handoff".to_owned())], &message)
}

/// Text as a command's value.
pub(crate) fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn command(kind: &str, properties: &[(&str, String)], message: &str) -> String {
    let properties: Vec<_> =
        properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
    format!("::{kind} {}::{}", properties.join(","), data(message))
}

fn place(file: &str, location: &Location) -> Vec<(&'static str, String)> {
    let mut properties = vec![("file", file.to_owned()), ("line", location.line.to_string())];
    properties.extend(location.column.map(|column| ("col", column.to_string())));
    properties
}

/// As many as a step may have; the last stands for the rest.
fn bounded(
    kind: &str,
    what: &str,
    mut commands: Vec<String>,
) -> impl Iterator<Item = String> + use<> {
    if let Some(more @ 1..) = commands.len().checked_sub(MAX_ANNOTATIONS) {
        commands.truncate(MAX_ANNOTATIONS - 1);
        let message = format!("{} more {what}; the step's summary and its log have them", more + 1);
        commands.push(command(kind, &[("title", "handoff".to_owned())], &message));
    }
    commands.into_iter()
}

/// Whether a part of a run with failed attempts fails the run.
fn is_error(run: &Run, stage: &Stage) -> bool {
    let Stage::Test(name) = stage else { return true };
    run.test(name).is_none_or(|test| test.status != TestStatus::Passed && !test.soft)
}

/// The path of a file from a directory that it is below, links followed.
fn below(directory: &Path, file: &Path) -> Option<String> {
    let file = file.canonicalize().ok().filter(|file| file.is_file())?;
    Some(file.strip_prefix(directory).ok()?.to_str()?.to_owned())
}

fn note(what: &str, written: io::Result<()>) {
    if let Err(error) = written {
        super::warn(&format!("warning: failed to write {what}: {error}"));
    }
}

#[cfg(test)]
mod tests;
