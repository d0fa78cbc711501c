//! `handoff retry`: tries the failed tests of a run again, and follows that.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::Surroundings;
use super::client::{Client, ServerArgs, read};
use super::course::Course;
use super::exit::{Exit, Failure};
use super::progress::{Facts, Progress};
use super::signals::Interrupts;
use super::watch::Watch;
use crate::http::views::RunSummaryView;

#[derive(Args)]
pub(super) struct RetryArgs {
    /// The run: an id, or a suite and a number such as `hello#12`
    run: String,
    /// Only ask for it
    #[arg(long)]
    detach: bool,
    /// End with code 101 if a test passed only when it was tried again
    #[arg(long)]
    fail_on_flaky: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl RetryArgs {
    pub(super) async fn run(self, surroundings: &Surroundings) -> Result<Exit, Failure> {
        let mut interrupts = Interrupts::listen()?;
        let client = Client::new(&self.server)?;
        let json: Value = client.run(&self.run).await?;
        let facts: Facts = read(json.clone())?;
        let run: RunSummaryView = read(json)?;
        let (out, look) = Course::of(false, surroundings);
        let mut progress = Progress::new(out, look, false, Instant::now()).with_facts(facts);
        let mut last = 0;
        // What happened before is part of the run and no news. A run that has not ended would not stop
        // telling; the server refuses to retry it.
        if run.status.is_terminal() && !self.detach {
            let mut past = client.follow(run.id, 0);
            while let Some(event) = past.recv().await {
                let event = event?;
                last = event.seq;
                progress.replay(&event);
            }
        }
        let id = run.id.to_string();
        let body = json!({ "initiated_by": surroundings.user() });
        client.create::<Value>(&["runs", &id, "retry"], &body).await?;
        if self.detach {
            return Ok(Exit::Passed);
        }
        let watch = Watch {
            client: &client,
            run: run.id,
            look,
            fail_on_flaky: self.fail_on_flaky,
            patience: None,
            user: surroundings.user(),
            github: surroundings.github.as_ref(),
        };
        watch.to_the_end(client.follow(run.id, last), progress, &mut interrupts).await
    }
}
