//! The command line: `handoff`, one file a command.
//!
//! Commands that talk to a server do so over its HTTP interface alone, as any other client; `test`
//! runs a suite in this process, without server and store.

mod cancel;
mod clear;
mod client;
mod completions;
mod component;
mod course;
mod ending;
mod excerpt;
mod exit;
mod failures;
mod github;
mod health;
mod inspect;
mod logs;
mod marks;
mod new;
mod plugin_try;
mod plugins;
mod policy;
mod progress;
mod reports;
mod request;
mod retention;
mod retry;
mod run;
mod runs;
#[cfg(test)]
mod sample;
mod schedules;
mod serve;
mod settings;
mod signals;
mod sse;
mod statistics;
mod steps;
mod suites;
mod terminal;
mod test;
mod told;
mod transfer;
mod triggers;
mod turn;
mod upload;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Environment;
use exit::{Exit, Failure};
use github::GitHub;
use terminal::Look;

/// The hidden command by which the server starts its compiling child.
const COMPILE_WORKER: &str = "compile-worker";

/// Runs end-to-end tests, written as WebAssembly components, against deployed systems
#[derive(Parser)]
#[command(name = "handoff", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    /// When to use colours; `auto` is on a terminal, unless NO_COLOR or CI is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: When,
    /// When to write annotations, groups and the step's summary for GitHub Actions; `auto` is when
    /// GITHUB_ACTIONS is true
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    github: When,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 passed, 100 tests failed, 101 flaky (with --fail-on-flaky), 4 no test ran, 2 usage, or the
server refused what was asked, 96 could not reach or use the server (it is away, too busy or at fault, or
lets you not in), 102 platform error, 103 waited too long, 130 interrupted";

#[derive(Subcommand)]
enum Command {
    /// Run the tests of a component here, without a server
    Test(Box<test::TestArgs>),
    /// Start the server
    Serve(serve::ServeArgs),
    /// Tell whether a server takes work
    Health(health::HealthArgs),
    /// Upload a component to a server
    Upload(upload::UploadArgs),
    /// Start a run on a server and follow it
    Run(Box<run::RunArgs>),
    /// List runs, or show one
    Runs(runs::RunsArgs),
    /// Let suites run by themselves
    #[command(subcommand)]
    Schedules(schedules::SchedulesCommand),
    /// Let other systems start runs by webhooks
    #[command(subcommand)]
    Triggers(triggers::TriggersCommand),
    /// Let components act on what happens to runs
    #[command(subcommand)]
    Plugins(plugins::PluginsCommand),
    /// Show what the tests of a run wrote
    Logs(logs::LogsArgs),
    /// Stop a run
    Cancel(cancel::CancelArgs),
    /// Try the failed tests of a run again
    Retry(retry::RetryArgs),
    /// Take a run, a test of it or an attempt out of the statistics
    Clear(clear::ClearArgs),
    /// Show what a server keeps and what it takes, and say how long runs are kept
    Retention(Box<retention::RetentionArgs>),
    /// Write everything that a server keeps to a file, to move or back it up
    Export(transfer::ExportArgs),
    /// Give a server what another exported
    Import(transfer::ImportArgs),
    /// Keep a run, whatever its age
    Pin(retention::PinArgs),
    /// Let a run be forgotten in its time again
    Unpin(retention::UnpinArgs),
    /// List the suites of a server
    Suites(suites::SuitesArgs),
    /// Show what the results of a suite, or of one of its tests, come to
    Stats(statistics::StatsArgs),
    /// List the tests that are flaky, or find out whether one is mended
    Flaky(statistics::FlakyArgs),
    /// Show or set what a suite may do
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Mute or disable tests, or expect them to fail
    #[command(subcommand)]
    Marks(marks::MarksCommand),
    /// Show what a component exports and imports, and what it could reach
    Inspect(inspect::InspectArgs),
    /// Make a new suite or plugin that builds and runs
    New(new::NewArgs),
    /// Show the server's settings and where each comes from, as a handoff.toml
    Config(settings::ConfigArgs),
    /// Print the completions for a shell
    Completions(completions::CompletionsArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// How a result is written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    // For people.
    #[default]
    Human,
    // As the server's JSON.
    Json,
}

/// What every command may need to know of its surroundings.
struct Surroundings {
    environment: Environment,
    /// How standard output looks.
    out: Look,
    /// How standard error looks.
    err: Look,
    /// The step of GitHub Actions that we run in.
    github: Option<GitHub>,
}

/// The body of `main`.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|argument| argument == COMPILE_WORKER) {
        return crate::compile::worker_main();
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that cannot be printed was asked for by somebody who went away.
            _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Passed.into() };
        }
    };
    let surroundings = Surroundings::new(cli.color, cli.github);
    let tells_verdict =
        matches!(cli.command, Command::Test(_) | Command::Run(_) | Command::Retry(_));
    let result = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let result = runtime.block_on(cli.command.run(&surroundings));
            // What is still blocked must not hold up somebody who pressed Ctrl-C twice.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) if failure.is_broken_pipe() && !tells_verdict => Exit::Passed,
        Err(failure) => {
            surroundings.tell(&failure);
            failure.exit
        }
    };
    if let Some(github) = surroundings.github.filter(|_| tells_verdict) {
        github.tell_verdict(exit);
    }
    exit.into()
}

/// Writes a line to standard error. That nobody could read it is no reason to end otherwise.
fn warn(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

impl Surroundings {
    fn new(color: When, github: When) -> Self {
        let environment = Environment::of_process();
        let look = |look: Look| match color {
            When::Auto => look,
            When::Always => Look { color: true, ..look },
            When::Never => Look { color: false, ..look },
        };
        let out = look(Look::of(&io::stdout(), &environment));
        let err = look(Look::of(&io::stderr(), &environment));
        let github = GitHub::of(github, &environment);
        Self { environment, out, err, github }
    }

    /// Tells why a command failed.
    fn tell(&self, failure: &Failure) {
        if self.github.is_some() {
            return warn(&github::failure(failure));
        }
        let label = self.err.paint(terminal::Style::Bad, "error");
        warn(&format!("{label}: {}", terminal::safe(&failure.to_string(), false)));
    }

    /// Who asks, as a server is told.
    fn user(&self) -> Option<&str> {
        self.environment.get("USER")
    }
}

impl Command {
    async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        match self {
            Self::Test(args) => args.run(surroundings).await,
            Self::Serve(args) => args.run(surroundings).await,
            Self::Health(args) => args.run(surroundings).await,
            Self::Upload(args) => args.run(surroundings).await,
            Self::Run(args) => args.run(surroundings).await,
            Self::Runs(args) => args.run(surroundings).await,
            Self::Schedules(command) => command.run(surroundings).await,
            Self::Triggers(command) => command.run(surroundings).await,
            Self::Plugins(command) => command.run(surroundings).await,
            Self::Logs(args) => args.run(surroundings).await,
            Self::Cancel(args) => args.run(surroundings).await,
            Self::Retry(args) => args.run(surroundings).await,
            Self::Clear(args) => args.run(surroundings).await,
            Self::Retention(args) => args.run().await,
            Self::Export(args) => args.run().await,
            Self::Import(args) => args.run().await,
            Self::Pin(args) => args.run(surroundings).await,
            Self::Unpin(args) => args.run().await,
            Self::Suites(args) => args.run(surroundings).await,
            Self::Stats(args) => args.run(surroundings).await,
            Self::Flaky(args) => args.run(surroundings).await,
            Self::Policy(command) => command.run(surroundings).await,
            Self::Marks(command) => command.run(surroundings).await,
            Self::Inspect(args) => args.run(surroundings).await,
            Self::New(args) => args.run(surroundings),
            Self::Config(args) => args.run(surroundings),
            Self::Completions(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_holds_together() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
