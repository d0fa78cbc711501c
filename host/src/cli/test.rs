//! `handoff test`: runs the tests of a component in this process, without server and store.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::component::{Cache, ProgramArgs, Reader, open_component};
use super::exit::{Exit, Failure, counts_as_failure};
use super::failures::{MAX_TOLD, to_tell, write_failure, write_more};
use super::progress::Progress;
use super::reports::{ReportOrder, write_report};
use super::request::{PolicyArgs, RequestArgs};
use super::run::course;
use super::signals::Interrupts;
use super::terminal::safe_line;
use super::watch::TICK;
use super::{Output, Surroundings, steps};
use crate::compile::Upload;
use crate::config::{self, Config, SettingArgs};
use crate::model::{Attempt, Run, RunEvent, RunId, Step, SuiteId, SuiteVersion, plan};
use crate::report::Format;
use crate::runner::{HeadlessOrder, headless};
use crate::telemetry::{self, LogSettings};

/// How many events may wait to be shown.
const EVENTS_AHEAD: usize = 1024;

#[derive(Args)]
pub(super) struct TestArgs {
    /// The component, or a test program for WASI
    file: PathBuf,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    program: ProgramArgs,
    /// List the tests that would run, and end
    #[arg(long)]
    list: bool,
    /// Show what passing tests wrote too
    #[arg(short, long)]
    verbose: bool,
    /// Write a report: junit=PATH, json=PATH, go-test=PATH or tap=PATH
    #[arg(long = "report", value_name = "FORM=PATH")]
    reports: Vec<ReportOrder>,
    /// Write the files that the tests keep into this directory
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Take the sandbox's limits and other settings from this handoff.toml
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How to write the result; with `json` the course goes to standard error
    #[arg(short, long, default_value = "human")]
    output: Output,
}

impl TestArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let config = self.config(surroundings)?;
        let component = open_component(&self.file)?;
        let cache = Cache::open(&surroundings.environment)?;
        if self.list {
            return self.show_list(&config, &cache, component).await;
        }
        let policy = self.policy.policy(&surroundings.environment)?;
        config.validate_policy(&policy).context("use the policy").map_err(Failure::usage)?;
        let cancel = CancellationToken::new();
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let ((teller, steps), size) = (watch::channel(Step::default()), component.size()?);
        let (request, dir, stop) = (self.request.request(), cache.dir.clone(), cancel.clone());
        // In a task of its own, so that what guests compute does not hold up what is shown.
        let run = tokio::spawn(headless(HeadlessOrder {
            component,
            introduction: self.program.introduction(&self.file),
            request,
            policy,
            sandbox: config.sandbox,
            compile: config.compile,
            runner: config.runner,
            cache_dir: dir,
            cancel: stop,
            steps: teller,
            events: sender,
        }));
        steps::show(steps, surroundings.err, size).await?;
        let (run, stopped) = match self.follow(run, events, cancel, surroundings).await? {
            Some(ended) => ended,
            None => return Ok(Exit::Interrupted),
        };
        if let Some(dir) = &self.artifacts {
            write_artifacts(dir, &run)?;
        }
        for report in &self.reports {
            report.write(&run)?;
        }
        if self.output == Output::Json {
            write_report(Format::Json, &run, &mut BufWriter::new(io::stdout()))?;
        }
        Ok(match Exit::of_run(&run, self.request.fail_on_flaky) {
            Exit::Interrupted if stopped => Exit::TestsFailed,
            exit => exit,
        })
    }

    /// The server's settings apply here too, as far as they are given by name: a `handoff.toml` that
    /// happens to be here is the server's.
    fn config(&self, surroundings: &Surroundings) -> Result<Config, Failure> {
        let flags = SettingArgs { file: self.settings.clone(), ..SettingArgs::default() };
        let loaded = config::load_named(&flags, &surroundings.environment)?;
        let log = match loaded.sources.contains_key("log.level") {
            true => loaded.config.log.clone(),
            false => LogSettings::quiet(),
        };
        telemetry::init(&log, surroundings.err.color);
        Ok(loaded.config)
    }

    /// Shows the run to its end. None if it was interrupted twice; true if the first failure stopped
    /// it.
    async fn follow(
        &self,
        run: tokio::task::JoinHandle<Result<Run, crate::runner::HeadlessError>>,
        mut events: mpsc::Receiver<RunEvent>,
        cancel: CancellationToken,
        surroundings: &Surroundings,
    ) -> Result<Option<(Run, bool)>, Failure> {
        let mut interrupts = Interrupts::listen()?;
        let (out, look) = course(self.output, surroundings);
        let mut progress = Progress::new(out, look, self.verbose, Instant::now());
        let mut tick = tokio::time::interval(TICK);
        let (mut interrupted, mut stopped) = (false, false);
        loop {
            tokio::select! {
                event = events.recv() => {
                    // The sender goes with the run.
                    let Some(event) = event else { break };
                    progress.event(&event, Instant::now())?;
                    if self.request.fail_fast && counts_as_failure(progress.run(), &event.kind) {
                        stopped = true;
                        cancel.cancel();
                    }
                }
                _ = tick.tick() => progress.tick(Instant::now())?,
                () = interrupts.next() => {
                    if interrupted {
                        progress.erase()?;
                        return Ok(None);
                    }
                    interrupted = true;
                    cancel.cancel();
                }
            }
        }
        progress.erase()?;
        let run = run.await.context("run the tests").map_err(Failure::platform)??;
        let suite = run.spec.suite.name.as_str();
        let all = to_tell(&run);
        for failed in all.iter().take(MAX_TOLD) {
            for attempt in &failed.attempts {
                write_failure(progress.out(), look, suite, failed, attempt)?;
            }
        }
        write_more(progress.out(), all.len())?;
        progress.summary()?;
        Ok(Some((run, stopped && !interrupted)))
    }

    /// The names of the tests that would run, one a line.
    async fn show_list(
        &self,
        config: &Config,
        cache: &Cache,
        component: Upload,
    ) -> Result<Exit, Failure> {
        let reader = Reader::new(config, cache)?;
        let inspection = reader.inspect(component.clone()).await?;
        let introduction = self.program.introduction(&self.file);
        let described = reader.describe(component, &inspection, &introduction).await?;
        let namespace = described.namespace.unwrap_or_else(crate::model::Name::default_namespace);
        let version = SuiteVersion {
            suite: SuiteId { namespace, name: described.name },
            digest: inspection.digest,
            description: described.description,
            imports: Vec::new(),
            size_bytes: inspection.size_bytes,
            created_at: jiff::Timestamp::now(),
            program: described.program,
        };
        let request = self.request.request();
        let (bounds, limits) = (&config.runner.bounds, &config.sandbox.limits);
        let planned = plan(&version, request, bounds, limits, RunId::new(), 1, version.created_at);
        let spec = planned.map_err(crate::runner::HeadlessError::Plan)?;
        let mut out = BufWriter::new(io::stdout());
        match self.output {
            Output::Json => {
                let named =
                    |name: &str| spec.tests.iter().any(|t| t.name == name && t.skip.is_none());
                let tests = version.description.tests.iter().filter(|test| named(&test.name));
                writeln!(out, "{:#}", serde_json::json!(tests.collect::<Vec<_>>()))?;
            }
            Output::Human => {
                for test in spec.tests.iter().filter(|test| test.skip.is_none()) {
                    writeln!(out, "{}", safe_line(&test.name))?;
                }
            }
        }
        out.flush()?;
        Ok(Exit::Passed)
    }
}

/// Writes the files of all attempts as `DIR/<test>/<round>-<attempt>-<number>-<name>`.
fn write_artifacts(dir: &Path, run: &Run) -> Result<(), Failure> {
    let stages = [("(setup)", &run.setup), ("(teardown)", &run.teardown)];
    let tests = run.tests.iter().map(|test| (test.name.as_str(), &test.attempts));
    for (test, attempts) in stages.into_iter().chain(tests) {
        for (attempt, artifact, path) in paths(&dir.join(file_name(test)), attempts) {
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let written = written.and_then(|()| std::fs::write(&path, &artifact.content));
            let told = || format!("write an artifact of attempt {attempt} to {}", path.display());
            written.with_context(told).map_err(Failure::platform)?;
        }
    }
    Ok(())
}

fn paths<'a>(
    dir: &'a Path,
    attempts: &'a [Attempt],
) -> impl Iterator<Item = (u32, &'a crate::model::Artifact, PathBuf)> {
    attempts.iter().flat_map(move |attempt| {
        (1..).zip(&attempt.artifacts).map(move |(number, artifact): (u32, _)| {
            let name = file_name(&artifact.name);
            let (round, tried) = (attempt.round, attempt.number);
            (tried, artifact, dir.join(format!("{round}-{tried}-{number}-{name}")))
        })
    })
}

/// A guest's text as one harmless part of a path. Two texts may become the same.
fn file_name(text: &str) -> String {
    const LONGEST: usize = 100;
    let safe = |c: char| if c.is_alphanumeric() || "-_.() ".contains(c) { c } else { '_' };
    let mut name: String = text.chars().take(LONGEST).map(safe).collect();
    while name.len() > 2 * LONGEST {
        name.pop();
    }
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{EventKind, Stage};

    #[test]
    fn a_guest_cannot_choose_where_its_files_go() {
        for (text, expected) in [
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("", "_"),
            ("/", "_"),
            (".", "_."),
            ("a\0b\nc", "a_b_c"),
            ("log in (größe)", "log in (größe)"),
        ] {
            assert_eq!(file_name(text), expected);
        }
        assert!(file_name(&"日".repeat(1000)).len() <= 255);
    }

    #[test]
    fn artifacts_of_all_attempts_are_written_apart() {
        let mut events = crate::cli::sample::events();
        let content = Bytes::from_static(b"x");
        let artifact = crate::model::Artifact {
            name: "../shot.png".into(),
            media_type: "image/png".into(),
            size_bytes: 1,
            digest: crate::model::Digest::of(&content),
            content,
        };
        for event in &mut events {
            if let EventKind::AttemptFinished { stage: Stage::Test(name), attempt } =
                &mut event.kind
                && name == "is flaky"
            {
                attempt.artifacts = vec![artifact.clone(), artifact.clone()];
            }
        }
        let run = Run::fold(&events).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_artifacts(dir.path(), &run).unwrap();
        let written = std::fs::read_dir(dir.path().join("is flaky")).unwrap();
        let mut names: Vec<_> =
            written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "1-1-1-_.._shot.png",
                "1-1-2-_.._shot.png",
                "1-2-1-_.._shot.png",
                "1-2-2-_.._shot.png"
            ]
        );
    }
}
