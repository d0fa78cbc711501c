//! `handoff test`: runs the tests of a component in this process, without server and store.

mod artifacts;
mod list;
mod watched;

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::artifacts::write_artifacts;
use self::watched::Watched;
use super::component::{Cache, ProgramArgs, open_component};
use super::course::{self, Course};
use super::ending::Ending;
use super::excerpt::shortened;
use super::exit::{Exit, Failure};
use super::failures::{MAX_TOLD, to_tell};
use super::progress::Progress;
use super::reports::{self, ReportOrder, write_report};
use super::request::{PolicyArgs, RequestArgs};
use super::signals::Interrupts;
use super::terminal::{Look, Style, safe_line};
use super::watch::TICK;
use super::{Output, Surroundings, steps};
use crate::compile::Upload;
use crate::config::{self, Config, SettingArgs};
use crate::model::{Policy, Run, RunEvent, Step};
use crate::report::Format;
use crate::runner::{HeadlessError, HeadlessOrder, headless};
use crate::telemetry::{self, LogSettings};
use crate::wasm::pack;

/// How many events may wait to be shown.
const EVENTS_AHEAD: usize = 1024;

#[derive(Args)]
pub(super) struct TestArgs {
    /// The component, or a test program for WASI
    file: PathBuf,
    #[command(flatten)]
    request: RequestArgs,
    /// Run it again and again, setup and teardown included, until a run fails; --repeat says how often
    /// at most
    #[arg(long, conflicts_with_all = ["list", "watch"], help_heading = "Execution")]
    until_failure: bool,
    /// Run it again whenever the file or one of its fixtures changes, until Ctrl-C
    #[arg(long, conflicts_with = "list", help_heading = "Execution")]
    watch: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    program: ProgramArgs,
    /// Bring these files along, which the tests find at `/`: a directory, or a tar archive
    #[arg(long, value_name = "PATH")]
    fixtures: Option<PathBuf>,
    /// List the tests that would run, and end
    #[arg(long, conflicts_with_all = ["reports", "artifacts"])]
    list: bool,
    /// Show what passing tests wrote too
    #[arg(short, long)]
    verbose: bool,
    /// Write a report: junit=PATH, json=PATH, go-test=PATH or tap=PATH; to `-`, which is standard output,
    /// the course goes to standard error
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

/// What all runs of one command have in common.
struct Session<'a> {
    args: &'a TestArgs,
    config: Config,
    cache: Cache,
    policy: Policy,
    surroundings: &'a Surroundings,
}

/// A run that was shown to its end.
struct Ended {
    run: Run,
    exit: Exit,
    /// Whether somebody stopped it by a signal.
    interrupted: bool,
}

/// A run under way.
struct UnderWay {
    run: JoinHandle<Result<Run, HeadlessError>>,
    events: mpsc::Receiver<RunEvent>,
    /// Stops it; teardown still runs.
    cancel: CancellationToken,
}

impl TestArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let config = self.config(surroundings)?;
        let cache = Cache::open(&surroundings.environment)?;
        if self.list {
            let introduction = self.program.introduction(&self.file);
            let component = open_component(&self.file, &config.compile)?;
            let request = self.request.request();
            list::show(&config, &cache, component, &introduction, request, self.output).await?;
            return Ok(Exit::Passed);
        }
        let policy = self.policy.policy(&surroundings.environment)?;
        config.validate_policy(&policy).context("use the policy").map_err(Failure::usage)?;
        reports::check(&self.reports, self.output)?;
        self.check_watched()?;
        let session = Session { args: &self, config, cache, policy, surroundings };
        let interrupts = Interrupts::listen()?;
        match (self.watch, self.until_failure) {
            (true, _) => session.watch(interrupts).await,
            (_, true) => session.until_failure(interrupts).await,
            _ => session.once(interrupts).await,
        }
    }

    /// Fails if what it writes would be a change of what it watches.
    fn check_watched(&self) -> Result<(), Failure> {
        let Some(watched) = self.fixtures.as_deref().filter(|_| self.watch) else { return Ok(()) };
        let watched = std::path::absolute(watched)?;
        let written = self.reports.iter().filter_map(ReportOrder::file);
        for path in written.chain(self.artifacts.as_deref()) {
            if std::path::absolute(path)?.starts_with(&watched) {
                let (path, watched) = (path.display(), watched.display());
                let told = format!(
                    "{path} is within {watched}, which --watch watches: write it elsewhere"
                );
                return Err(Failure::told(Exit::Usage, told));
            }
        }
        Ok(())
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
}

impl Session<'_> {
    async fn once(&self, mut interrupts: Interrupts) -> Result<Exit, Failure> {
        let component = open_component(&self.args.file, &self.config.compile)?;
        let fixtures = self.fixtures()?;
        let never = std::pin::pin!(std::future::pending());
        match self.run(component, fixtures, &mut interrupts, never).await? {
            Some(ended) => self.keep(&ended),
            None => Ok(Exit::Interrupted),
        }
    }

    /// The archive of its files, if it has any.
    fn fixtures(&self) -> Result<Option<Bytes>, Failure> {
        let path = self.args.fixtures.as_deref();
        Ok(path.map(|path| pack(path, &self.config.sandbox.fixtures)).transpose()?)
    }

    /// Runs it until a run does not pass, or was stopped, or all were made. What is kept is of the last.
    async fn until_failure(&self, mut interrupts: Interrupts) -> Result<Exit, Failure> {
        let most = self.args.request.repeat;
        if most == Some(0) {
            return Err(Failure::told(Exit::Usage, "--repeat is 0: say at least 1"));
        }
        let component = open_component(&self.args.file, &self.config.compile)?;
        let fixtures = self.fixtures()?;
        for number in 1_u64.. {
            let all = most.map(|most| format!(" of {most}")).unwrap_or_default();
            self.say("Run", &format!("{number}{all}"))?;
            let never = std::pin::pin!(std::future::pending());
            let (component, fixtures) = (component.clone(), fixtures.clone());
            let ended = self.run(component, fixtures, &mut interrupts, never).await?;
            let Some(ended) = ended else { break };
            // A run may have been over when it was asked to stop.
            if ended.interrupted {
                return self.keep(&ended).map(|_| Exit::Interrupted);
            }
            let is_last = most.is_some_and(|most| number >= u64::from(most));
            if ended.exit != Exit::Passed || is_last {
                return self.keep(&ended);
            }
        }
        Ok(Exit::Interrupted)
    }

    /// Runs it whenever its file or its fixtures change. A change stops a run under way.
    async fn watch(&self, mut interrupts: Interrupts) -> Result<Exit, Failure> {
        let mut file = Watched::new(&self.args.file, self.args.fixtures.as_deref());
        loop {
            let component = tokio::select! {
                component = file.next() => component,
                () = interrupts.next() => return Ok(Exit::Interrupted),
            };
            let result = match component.and_then(|it| Ok((it, self.fixtures()?))) {
                Ok((component, fixtures)) => {
                    let change = std::pin::pin!(file.change());
                    let component = component.into();
                    let ended = self.run(component, fixtures, &mut interrupts, change).await;
                    ended.and_then(|ended| match ended {
                        Some(ended) => self.keep(&ended).map(|_| ended.interrupted),
                        None => Ok(true),
                    })
                }
                Err(failure) => Err(failure),
            };
            match result {
                Ok(true) => return Ok(Exit::Interrupted),
                Ok(false) => {}
                Err(failure) if failure.is_broken_pipe() => return Err(failure),
                // The next change may well mend it.
                Err(failure) => self.surroundings.tell(&failure),
            }
            self.say("Watching", &self.args.file.display().to_string())?;
        }
    }

    /// Runs a component and shows that to its end. It is stopped when `stop` completes, and by the first
    /// signal; none if there was a second.
    async fn run(
        &self,
        component: Upload,
        fixtures: Option<Bytes>,
        interrupts: &mut Interrupts,
        stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Ended>, Failure> {
        let (mut out, look) = self.course();
        out.group(&format!("handoff test {}", self.args.file.display()))?;
        let mut progress = Progress::new(out, look, self.args.verbose, Instant::now());
        let size = component.size().context("read the component").map_err(Failure::usage)?;
        let (mut under_way, steps) = self.start(component, fixtures);
        tokio::select! {
            biased;
            shown = steps::show(steps, self.surroundings.err, size) => shown?,
            // Nothing has begun that a teardown would clean up after.
            () = interrupts.next() => {
                under_way.cancel.cancel();
                return Ok(None);
            }
        }
        let Some(stopped) = self.follow(&mut under_way, &mut progress, interrupts, stop).await?
        else {
            return Ok(None);
        };
        let run = under_way.run.await.context("run the tests").map_err(Failure::platform)??;
        let github = self.surroundings.github.as_ref();
        let mut ending = Ending::of(&run, &mut progress, look, github)?;
        let failed = to_tell(&run);
        for failed in failed.iter().take(MAX_TOLD) {
            let mut failed = failed.clone();
            for attempt in &mut failed.attempts {
                *attempt = Cow::Owned(shortened(attempt, "a report (--report) has them"));
            }
            ending.failure(progress.out(), &failed)?;
        }
        ending.sum_up(&mut progress, &failed)?;
        let exit = Exit::of_run(&run, self.args.request.fail_on_flaky);
        ending.conclude(progress.out(), &failed)?;
        Ok(Some(Ended { exit, interrupted: stopped == Stop::BySignal, run }))
    }

    fn start(
        &self,
        component: Upload,
        fixtures: Option<Bytes>,
    ) -> (UnderWay, watch::Receiver<Step>) {
        let cancel = CancellationToken::new();
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let (teller, steps) = watch::channel(Step::default());
        let mut request = self.args.request.request();
        if self.args.until_failure {
            // Counts whole runs then.
            request.repeat = None;
        }
        // In a task of its own, so that what guests compute does not hold up what is shown.
        let run = tokio::spawn(headless(HeadlessOrder {
            component,
            introduction: self.args.program.introduction(&self.args.file),
            request,
            policy: self.policy.clone(),
            fixtures,
            sandbox: self.config.sandbox.clone(),
            compile: self.config.compile.clone(),
            runner: self.config.runner.clone(),
            cache_dir: self.cache.dir.clone(),
            cancel: cancel.clone(),
            steps: teller,
            events: sender,
        }));
        (UnderWay { run, events, cancel }, steps)
    }

    /// Shows a run to its end and tells what stopped it. None if it was interrupted twice.
    async fn follow(
        &self,
        under_way: &mut UnderWay,
        progress: &mut Progress<Course>,
        interrupts: &mut Interrupts,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Stop>, Failure> {
        let mut tick = tokio::time::interval(TICK);
        let mut stopped = Stop::Not;
        loop {
            tokio::select! {
                event = under_way.events.recv() => {
                    // The sender goes with the run.
                    let Some(event) = event else { return Ok(Some(stopped)) };
                    progress.event(&event, Instant::now())?;
                }
                _ = tick.tick() => progress.tick(Instant::now())?,
                () = &mut stop, if stopped < Stop::ByChange => {
                    stopped = Stop::ByChange;
                    under_way.cancel.cancel();
                }
                () = interrupts.next() => {
                    if stopped == Stop::BySignal {
                        progress.erase()?;
                        return Ok(None);
                    }
                    stopped = Stop::BySignal;
                    under_way.cancel.cancel();
                }
            }
        }
    }

    /// Writes all that is to be kept of a run. The exit code is that of its result.
    fn keep(&self, Ended { run, exit, .. }: &Ended) -> Result<Exit, Failure> {
        if let Some(dir) = &self.args.artifacts {
            write_artifacts(dir, run)?;
        }
        for report in &self.args.reports {
            report.write(run)?;
        }
        if self.args.output == Output::Json {
            let mut out = course::result();
            write_report(Format::Json, run, &mut out)?;
            out.flush()?;
        }
        Ok(*exit)
    }

    fn course(&self) -> (Course, Look) {
        let takes_stdout = reports::take_stdout(&self.args.reports, self.args.output);
        Course::of(takes_stdout, self.surroundings)
    }

    /// A line between runs.
    fn say(&self, label: &str, text: &str) -> io::Result<()> {
        let (mut out, look) = self.course();
        let label = look.paint(Style::Good, &format!("{label:>12}"));
        writeln!(out, "{label} {}", safe_line(text))?;
        out.flush()
    }
}

/// What stopped a run; what comes later counts more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Nothing: it ended by itself.
    Not,
    /// The file changed.
    ByChange,
    /// Somebody asked for it.
    BySignal,
}
