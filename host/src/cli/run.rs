//! `handoff run`: starts a run on a server, follows it, and ends as it ends.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::client::{Client, ServerArgs, read};
use super::course::Course;
use super::exit::{Exit, Failure};
use super::progress::{Facts, Progress};
use super::reports::ReportOrder;
use super::request::{RequestArgs, body, duration};
use super::signals::Interrupts;
use super::watch::Watch;
use super::{Output, Surroundings};
use crate::http::views::RunSummaryView;
use crate::model::{Digest, SuiteId};

#[derive(Args)]
pub(super) struct RunArgs {
    /// The suite: `namespace/name`, or a name in the namespace `default`
    suite: SuiteId,
    #[command(flatten)]
    request: RequestArgs,
    /// The version, in place of the newest upload
    #[arg(long, value_name = "sha256:…")]
    version: Option<Digest>,
    /// Only start the run: print its id and end
    #[arg(long, conflicts_with_all = ["wait", "reports", "fail_fast", "max_failures", "fail_on_flaky"])]
    detach: bool,
    /// Wait at most so long; the run goes on, and the exit code is 103
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// Write a report: junit=PATH, json=PATH, go-test=PATH or tap=PATH
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
        let mut interrupts = Interrupts::listen()?;
        let client = Client::new(&self.server)?;
        let mut request = self.request.request();
        request.version = self.version;
        request.initiated_by = surroundings.user().map(Into::into);
        let (namespace, name) = (self.suite.namespace.as_str(), self.suite.name.as_str());
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
        let (mut out, look) = Course::of(self.output, surroundings);
        out.group(&self.suite.to_string())?;
        let watch = Watch {
            client: &client,
            run: run.id,
            look,
            failure_limit: self.request.failure_limit(),
            fail_on_flaky: self.request.fail_on_flaky,
            patience: self.wait,
            user: surroundings.user(),
            github: surroundings.github.as_ref(),
        };
        let progress = Progress::new(out, look, false, Instant::now());
        let progress = progress.with_facts(facts);
        let exit = watch.to_the_end(client.follow(run.id, 0), progress, &mut interrupts).await?;
        for report in &self.reports {
            report.fetch(&client, run.id).await?;
        }
        if self.output == Output::Json {
            let json: Value = client.get(&["runs", &run.id.to_string()], &[]).await?;
            writeln!(io::stdout(), "{json:#}")?;
        }
        Ok(exit)
    }
}
