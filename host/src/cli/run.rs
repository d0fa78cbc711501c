//! `handoff run`: starts a run on a server, follows it, and ends as it ends.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::client::{Client, ServerArgs, read};
use super::course::{self, Course};
use super::exit::{Exit, Failure};
use super::progress::{Facts, Progress};
use super::reports::{self, ReportOrder};
use super::request::{RequestArgs, body, duration};
use super::signals::Interrupts;
use super::turn::TurnArgs;
use super::watch::Watch;
use super::{Output, Surroundings};
use crate::http::views::RunSummaryView;
use crate::model::{Digest, SuiteId};

#[derive(Args)]
pub(super) struct RunArgs {
    /// The suite: `namespace/name`, or a name in the namespace `default`
    suite: SuiteId,
    /// Run this suite too, after it, whatever came of it; may be given more than once
    #[arg(
        long,
        value_name = "SUITE",
        conflicts_with_all = ["detach", "reports", "output", "version"]
    )]
    also: Vec<SuiteId>,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    turn: TurnArgs,
    /// The version, in place of the newest upload
    #[arg(long, value_name = "sha256:…")]
    version: Option<Digest>,
    /// Only start the run: print its id and end
    #[arg(long, conflicts_with_all = ["wait", "reports", "fail_on_flaky"])]
    detach: bool,
    /// Wait at most so long; the run goes on, and the exit code is 103
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// Write a report: junit=PATH, json=PATH, go-test=PATH or tap=PATH; to `-`, which is standard output,
    /// the course goes to standard error
    #[arg(long = "report", value_name = "FORM=PATH", id = "reports")]
    reports: Vec<ReportOrder>,
    /// How to write the result; with `json` the course goes to standard error
    #[arg(short, long, default_value = "human")]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

impl RunArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        reports::check(&self.reports, self.output)?;
        let mut interrupts = Interrupts::listen()?;
        let client = Client::new(&self.server)?;
        if self.also.is_empty() {
            return self.run_suite(&self.suite, &client, &mut interrupts, surroundings).await;
        }
        let mut first = Exit::Passed;
        for suite in std::iter::once(&self.suite).chain(&self.also) {
            let ended = self.run_suite(suite, &client, &mut interrupts, surroundings).await;
            let exit = ended.unwrap_or_else(|failure| {
                surroundings.tell(&failure);
                failure.exit
            });
            if exit == Exit::Interrupted {
                return Ok(exit);
            }
            if first == Exit::Passed {
                first = exit;
            }
        }
        Ok(first)
    }

    async fn run_suite(
        &self,
        suite: &SuiteId,
        client: &Client,
        interrupts: &mut Interrupts,
        surroundings: &Surroundings,
    ) -> Result<Exit, Failure> {
        let mut request = self.request.request();
        request.version = self.version;
        self.turn.apply(&mut request);
        request.initiated_by = surroundings.user().map(Into::into);
        let (namespace, name) = (suite.namespace.as_str(), suite.name.as_str());
        let (path, body) = (["suites", namespace, name, "runs"], body(&request));
        let created = client.create(&path, &body);
        let json: Value = tokio::select! {
            json = created => json?,
            () = interrupts.next() => return Ok(Exit::Interrupted),
        };
        let run: RunSummaryView = read(json.clone())?;
        let facts: Facts = read(json.clone())?;
        if let Some(github) = &surroundings.github {
            github.tell_run(run.id);
        }
        if self.detach {
            let mut out = io::stdout();
            match self.output {
                Output::Human => writeln!(out, "{}", run.id)?,
                Output::Json => writeln!(out, "{json:#}")?,
            }
            return Ok(Exit::Passed);
        }
        let (mut out, look) =
            Course::of(reports::take_stdout(&self.reports, self.output), surroundings);
        out.group(&suite.to_string())?;
        let watch = Watch {
            client,
            run: run.id,
            look,
            fail_on_flaky: self.request.fail_on_flaky,
            patience: self.wait,
            user: surroundings.user(),
            github: surroundings.github.as_ref(),
        };
        let progress = Progress::new(out, look, false, Instant::now());
        let progress = progress.with_facts(facts);
        let exit = watch.to_the_end(client.follow(run.id, 0), progress, interrupts).await?;
        for report in &self.reports {
            report.fetch(client, run.id).await?;
        }
        if self.output == Output::Json {
            let json: Value = client.get(&["runs", &run.id.to_string()], &[]).await?;
            let mut out = course::result();
            writeln!(out, "{json:#}")?;
            out.flush()?;
        }
        Ok(exit)
    }
}
